"""Running sums, products and extremes along one dimension."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64, is_floating
from tensorgrad.errors import RangeError, ShapeError
from tensorgrad.ops.joining import cat
from tensorgrad.ops.logic import not_equal
from tensorgrad.ops.operands import cast, one_dim
from tensorgrad.ops.picking import narrow
from tensorgrad.ops.recurrence import affine_scan, running_products
from tensorgrad.ops.reduction import Chosen
from tensorgrad.primitive import Linear, Primitive, check_floating
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "diff",
    "logcumsumexp",
]


def _reversed(x: Any, dim: int) -> Any:
    return backend_of(x).flip(x, dim)


def _shifted(x: Any, dim: int, by: int) -> Any:
    """x moved by one place towards the end (by = 1) or the front (by = -1) of dim; the value at that edge comes twice."""
    backend = backend_of(x)
    front = (slice(None),) * dim
    if by > 0:
        parts = [backend.getitem(x, (*front, slice(None, 1))), backend.getitem(x, (*front, slice(None, -1)))]
    else:
        parts = [backend.getitem(x, (*front, slice(1, None))), backend.getitem(x, (*front, slice(-1, None)))]
    return backend.concatenate(parts, dim)


class Cumsum(Linear):
    """z_i = x_0 + ... + x_i along dim        dz_i = dx_0 + ... + dx_i"""

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).cumsum(x, self.dim)

    def vjp(self, dz: Any) -> Any:
        return _reversed(backend_of(dz).cumsum(_reversed(dz, self.dim), self.dim), self.dim)


class Cumprod(Primitive):
    """z_i = x_0 ... x_i along dim        dz_i = x_i dz_{i-1} + z_{i-1} dx_i

    The cotangent of x_i is z_{i-1} s_i with s_i = dz_i + x_{i+1} s_{i+1}: neither rule divides, so zeros are values like others.
    """

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).cumprod(x, self.dim)

    def jvp(self, dx: Any, x: Any) -> Any:
        return affine_scan(x, running_products(x, self.dim) * dx, self.dim)

    def vjp(self, dz: Any, x: Any) -> Any:
        if not x.shape[self.dim]:
            return dz
        following = _shifted(x, self.dim, -1)  # the last plays no part
        sums = affine_scan(_reversed(following, self.dim), _reversed(dz, self.dim), self.dim)
        return running_products(x, self.dim) * _reversed(sums, self.dim)


class Logcumsumexp(Primitive):
    """z_i = log(e^{x_0} + ... + e^{x_i}) along dim        dz_i = e^{x_i - z_i} dx_i + e^{z_{i-1} - z_i} dz_{i-1}

    All factors are at most 1. Where z is still -inf (nothing but -inf so far) they are 0, as are those of an infinite z
    for all that is finite.
    """

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).accumulate(x, self.dim, "logaddexp")

    @staticmethod
    def _ratio(x: Any, z: Any) -> Any:
        """e^(x - z), 0 where both are -inf."""
        backend = backend_of(x)
        nothing = z == -float("inf")
        return backend.where(nothing, 0.0, backend.exp(x - backend.where(nothing, 0.0, z)))

    def jvp(self, dx: Any, x: Any, out: Any) -> Any:
        if not x.shape[self.dim]:
            return dx
        before = _shifted(out, self.dim, 1)  # the first plays no part
        return affine_scan(self._ratio(before, out), self._ratio(x, out) * dx, self.dim)

    def vjp(self, dz: Any, x: Any, out: Any) -> Any:
        if not x.shape[self.dim]:
            return dz
        ratio = self._ratio(out, _shifted(out, self.dim, -1))  # the last plays no part
        sums = affine_scan(_reversed(ratio, self.dim), _reversed(dz, self.dim), self.dim)
        return self._ratio(x, out) * _reversed(sums, self.dim)


class PlaceOfExtreme(Primitive):
    """z_i = where the largest ('maximum') or smallest ('minimum') of x_0 ... x_i stands, the last of the tied: no derivative"""

    __slots__ = ("dim", "extreme")
    differentiable = False

    def __init__(self, dim: int, extreme: str) -> None:
        self.dim = dim
        self.extreme = extreme

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        so_far = backend.accumulate(x, self.dim, self.extreme)
        places = backend.arange(0, x.shape[self.dim], 1, int64).reshape((-1,) + (1,) * (x.ndim - self.dim - 1))
        reached = (x == so_far) | (x != x)  # nan, once met, stays the extreme
        return backend.accumulate(backend.where(reached, places, 0), self.dim, "maximum")


def _summable(x: Tensor, dtype: Any) -> Tensor:
    if dtype is not None:
        return cast(x, dtype)
    return x if is_floating(x.array.dtype) else cast(x, int64)


@under_autocast
def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The sums of the values up to each one along `dim`; integers and Booleans sum to int64.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 2.0, 3.0]).cumsum(0)
    tensor([1., 3., 6.])
    """
    at, x = one_dim("cumsum", dim, x.array.ndim), _summable(x, dtype)
    return Cumsum(at)(x) if x.array.ndim else x.clone()


@under_autocast
def cumprod(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The products of the values up to each one along `dim`; integers and Booleans give int64.

    >>> import tensorgrad
    >>> tensorgrad.tensor([2.0, 3.0, 4.0]).cumprod(0)
    tensor([ 2.,  6., 24.])
    """
    at, x = one_dim("cumprod", dim, x.array.ndim), _summable(x, dtype)
    return Cumprod(at)(x) if x.array.ndim else x.clone()


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """log(e^{x_0} + ... + e^{x_i}) along `dim`, without overflow."""
    check_floating("logcumsumexp", x)
    at = one_dim("logcumsumexp", dim, x.array.ndim)
    return Logcumsumexp(at)(x) if x.array.ndim else x.clone()


def cummax(x: Tensor, dim: int) -> Chosen:
    """The largest value up to each one along `dim`, and where it stands (the last of the tied).

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 3.0, 2.0]).cummax(0).values
    tensor([1., 3., 3.])
    """
    return _running_extreme("cummax", x, dim, "maximum")


def cummin(x: Tensor, dim: int) -> Chosen:
    """The smallest value up to each one along `dim`, and where it stands (the last of the tied)."""
    return _running_extreme("cummin", x, dim, "minimum")


def _running_extreme(operation: str, x: Tensor, dim: int, extreme: str) -> Chosen:
    at = one_dim(operation, dim, x.array.ndim)
    if not x.array.ndim:
        return Chosen(x.clone(), Tensor(backend_of(x.array).zeros((), int64)))
    indices = PlaceOfExtreme(at, extreme)(x)
    return Chosen(backend_of(x).take_along_axis(x, indices, at), indices)


def diff(x: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """x[i + 1] - x[i] along `dim`, n times over; of Booleans, whether they differ.

    prepend, append  what is put before and behind x first

    >>> import tensorgrad
    >>> diff(tensorgrad.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if not x.array.ndim:
        raise ShapeError("diff: the Tensor has no dimensions; it must have one to take differences along")
    at = one_dim("diff", dim, x.array.ndim)
    if n < 0:
        raise RangeError(f"diff: n is {n}; it must not be negative")
    parts = [part for part in (prepend, x, append) if part is not None]
    z = cat(parts, at) if len(parts) > 1 and n else x
    for _ in range(min(n, z.array.shape[at])):
        length = max(z.array.shape[at] - 1, 0)
        after, before = narrow(z, at, z.array.shape[at] - length, length), narrow(z, at, 0, length)
        z = not_equal(after, before) if z.array.dtype.kind == "b" else after - before
    return z if n else x.clone()
