"""Sums, means, extremes and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DtypeError, ShapeError
from tensorgrad.ops.arithmetic import divide
from tensorgrad.ops.elementwise import sqrt, where
from tensorgrad.ops.operands import cast, dims, one_dim, put_on_tape
from tensorgrad.primitive import Linear, Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "max",
    "mean",
    "min",
    "std",
    "sum",
    "var",
]

Dims = int | Sequence[int] | None


class Extremes(NamedTuple):
    """What `max` and `min` find along one dimension: the extremes, and where they stand."""

    values: Tensor
    indices: Tensor


def _kept(shape: tuple[int, ...], dim: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with the reduced dimensions as ones."""
    return tuple(1 if axis in dim else n for axis, n in enumerate(shape))


def _count(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    count = 1
    for axis in dim:
        count *= shape[axis] if shape else 1
    return count


class Reduction(Primitive):
    """A map that reduces `dim`, a tuple of dimensions, keeping them as ones if `keepdim`."""

    __slots__ = ("dim", "keepdim", "shape")
    shape: tuple[int, ...]

    def __init__(self, dim: tuple[int, ...], keepdim: bool) -> None:
        self.dim = dim
        self.keepdim = keepdim

    def spread(self, z: Any) -> Any:
        """A result (or its cotangent) with the reduced dimensions back as ones."""
        return backend_of(z).reshape(z, _kept(self.shape, self.dim))


class Sum(Reduction, Linear):
    """z = sum of x over dim        dz = sum of dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).sum(x, self.dim, self.keepdim)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).broadcast_to(self.spread(dz), self.shape)


class Mean(Reduction, Linear):
    """z = sum of x over dim / n        dz = mean of dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).mean(x, self.dim, self.keepdim)

    def vjp(self, dz: Any) -> Any:
        count = _count(self.shape, self.dim)
        return backend_of(dz).broadcast_to(self.spread(dz) / count if count else self.spread(dz), self.shape)


class Extreme(Reduction):
    """The largest or smallest value; the tied share the gradient evenly."""

    __slots__ = ()

    def share(self, x: Any, out: Any) -> Any:
        """1/k at the k tied extremes of each group, else 0."""
        backend = backend_of(x)
        tied = backend.cast(x == self.spread(out), x.dtype)
        return tied / backend.sum(tied, self.dim, True)

    def jvp(self, dx: Any, x: Any, out: Any) -> Any:
        return backend_of(dx).sum(dx * self.share(x, out), self.dim, self.keepdim)

    def vjp(self, dz: Any, x: Any, out: Any) -> Any:
        return self.spread(dz) * self.share(x, out)


class Amax(Extreme):
    """z = max of x over dim        dz = mean of dx over the tied maxima"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).amax(x, self.dim, self.keepdim)


class Amin(Extreme):
    """z = min of x over dim        dz = mean of dx over the tied minima"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).amin(x, self.dim, self.keepdim)


class Argmax(Primitive):
    """z = index of the first maximum along dim: no derivative"""

    __slots__ = ("dim", "keepdim")
    differentiable = False

    def __init__(self, dim: int | None, keepdim: bool) -> None:
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, x: Any) -> Any:
        return backend_of(x).argmax(x, axis=self.dim, keepdims=self.keepdim)


class Argmin(Argmax):
    """z = index of the first minimum along dim: no derivative"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).argmin(x, axis=self.dim, keepdims=self.keepdim)


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over `dim` (all dimensions unless named); integers and Booleans sum to int64.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=1)
    tensor([3., 7.])
    """
    if dtype is not None:
        x = cast(x, dtype)
    elif not is_floating(x.array.dtype):
        x = cast(x, "int64")
    return Sum(dims("sum", dim, x.array.ndim), keepdim)(x)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over `dim` (all dimensions unless named)."""
    if dtype is not None:
        x = cast(x, dtype)
    if not is_floating(x.array.dtype):
        raise DtypeError(f"mean: got dtype {x.dtype}; it needs floating point, use .float() or pass dtype")
    over = dims("mean", dim, x.array.ndim)
    if _count(x.array.shape, over) == 0:
        return divide(Sum(over, keepdim)(x), 0.0)  # nan, without NumPy's warning
    return Mean(over, keepdim)(x)


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest value over `dim`; the tied share the gradient evenly."""
    return _extreme("amax", Amax, x, dim, keepdim)


def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest value over `dim`; the tied share the gradient evenly."""
    return _extreme("amin", Amin, x, dim, keepdim)


def _extreme(operation: str, kind: type[Extreme], x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    over = dims(operation, dim, x.array.ndim)
    if x.array.size == 0 and _count(x.array.shape, over) == 0:
        raise ShapeError(f"{operation}: got shape {x.shape}; there is no extreme of no values (over dim {over})")
    return kind(over, keepdim)(x)


def max(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest value of all; with `dim`, a named pair (values, indices) along it, the first of the tied taking the gradient.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1.0, 5.0], [7.0, 7.0]]).max(dim=1)
    Extremes(values=tensor([5., 7.]), indices=tensor([1, 0]))
    """
    return amax(x) if dim is None else _along("max", x, argmax(x, dim, True), dim, keepdim)


def min(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest value of all; with `dim`, a named pair (values, indices) along it, the first of the tied taking the gradient."""
    return amin(x) if dim is None else _along("min", x, argmin(x, dim, True), dim, keepdim)


def _along(operation: str, x: Tensor, index: Tensor, dim: int, keepdim: bool) -> Extremes:
    if not x.array.ndim:
        return Extremes(amax(x), index)
    values: Tensor = backend_of(x).take_along_axis(x, index, one_dim(operation, dim, x.array.ndim))
    return Extremes(values, index) if keepdim else Extremes(values.squeeze(dim), index.squeeze(dim))


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first maximum along `dim`, or into the flattened Tensor."""
    return Argmax(None if dim is None else one_dim("argmax", dim, x.array.ndim), keepdim)(x)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first minimum along `dim`, or into the flattened Tensor."""
    return Argmin(None if dim is None else one_dim("argmin", dim, x.array.ndim), keepdim)(x)


def var(x: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> Tensor:
    """The variance over `dim`: sum of (x - mean)^2 / (n - correction).

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 2.0, 3.0]).var()
    tensor(1.)
    """
    over = dims("var", dim, x.array.ndim)
    centred = x - mean(x, over, True)
    count = _count(x.array.shape, over)
    below = count - correction if count > correction else 0
    total = Sum(over, keepdim)(centred * centred)
    return divide(total, below) if below else divide(total, 0.0)


def std(x: Tensor, dim: Dims = None, *, correction: float = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation over `dim`: the square root of `var`."""
    variance = var(x, dim, correction=correction, keepdim=keepdim)
    flat = variance == 0  # there the slope of the root is infinite; as in PyTorch the gradient is 0
    return where(flat, 0.0, sqrt(where(flat, 1.0, variance)))


def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all values are true (not zero)."""
    return amin(cast(x, "bool"), dim, keepdim) if x.array.size else Tensor(backend_of(x.array).ones((), "bool"))


def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any value is true (not zero)."""
    return amax(cast(x, "bool"), dim, keepdim) if x.array.size else Tensor(backend_of(x.array).zeros((), "bool"))


def _sum_on_tape(x: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    return Sum(dims("sum", axis, x.array.ndim), keepdims)(x) if axis != () else x


put_on_tape(sum=_sum_on_tape)
