"""Sums, products, means, extremes and truths over dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, int64, is_floating
from tensorgrad.errors import DimensionError, DtypeError, ShapeError
from tensorgrad.ops.arithmetic import divide
from tensorgrad.ops.elementwise import maximum, minimum, where
from tensorgrad.ops.logic import isnan, logical_not, not_equal
from tensorgrad.ops.operands import as_tensor, cast, dims, one_dim, put_on_tape
from tensorgrad.ops.recurrence import products_of_others
from tensorgrad.primitive import Linear, Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "max",
    "mean",
    "min",
    "nanmean",
    "nansum",
    "prod",
    "sum",
]

Dims = int | Sequence[int] | None


class Chosen(NamedTuple):
    """What `max`, `sort`, `topk` and their kind find along one dimension: values, and where they stand."""

    values: Tensor
    indices: Tensor


class Bounds(NamedTuple):
    """What `aminmax` finds."""

    min: Tensor
    max: Tensor


def _kept(shape: tuple[int, ...], dim: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with the reduced dimensions as ones."""
    return tuple(1 if axis in dim else n for axis, n in enumerate(shape))


def count_of(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    """How many values stand in `dim` together."""
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
        count = count_of(self.shape, self.dim)
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


class All(Reduction):
    """z = whether all of x over dim are true: no derivative"""

    __slots__ = ()
    differentiable = False

    def forward(self, x: Any) -> Any:
        return backend_of(x).all(x, self.dim, self.keepdim)


class Any_(Reduction):
    """z = whether any of x over dim is true: no derivative"""

    __slots__ = ()
    differentiable = False

    def forward(self, x: Any) -> Any:
        return backend_of(x).any(x, self.dim, self.keepdim)


class Prod(Reduction):
    """z = product of x over dim        dz = sum over i of (the product of the others) dx_i"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).prod(x, self.dim, self.keepdim)

    def jvp(self, dx: Any, x: Any) -> Any:
        return backend_of(dx).sum(dx * products_of_others(x, self.dim), self.dim, self.keepdim)

    def vjp(self, dz: Any, x: Any) -> Any:
        return self.spread(dz) * products_of_others(x, self.dim)


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


@under_autocast
def sum(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over `dim` (all dimensions unless named); integers and Booleans sum to int64.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=1)
    tensor([3., 7.])
    """
    if dtype is not None:
        x = cast(x, dtype)
    elif not is_floating(x.array.dtype):
        x = cast(x, int64)
    return Sum(dims("sum", dim, x.array.ndim), keepdim)(x)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over `dim` (all dimensions unless named)."""
    if dtype is not None:
        x = cast(x, dtype)
    if not is_floating(x.array.dtype):
        raise DtypeError(f"mean: got dtype {x.dtype}; it needs floating point, use .float() or pass dtype")
    over = dims("mean", dim, x.array.ndim)
    if count_of(x.array.shape, over) == 0:
        return divide(Sum(over, keepdim)(x), 0.0)  # nan, without NumPy's warning
    return Mean(over, keepdim)(x)


def nansum(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over `dim` with nan counting as 0."""
    return sum(_without_nan(x), dim, keepdim, dtype=dtype)


def nanmean(x: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean over `dim` of the values that are not nan.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, float("nan"), 3.0]).nanmean()
    tensor(2.)
    """
    if not is_floating(x.array.dtype):
        raise DtypeError(f"nanmean: got dtype {x.dtype}; it needs floating point, use .float()")
    return divide(nansum(x, dim, keepdim, dtype=dtype), sum(logical_not(isnan(x)), dim, keepdim))


def _without_nan(x: Tensor) -> Tensor:
    return where(isnan(x), 0.0, x) if is_floating(x.array.dtype) else x


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest value over `dim`; the tied share the gradient evenly."""
    return _extreme("amax", Amax, x, dim, keepdim)


def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest value over `dim`; the tied share the gradient evenly."""
    return _extreme("amin", Amin, x, dim, keepdim)


def aminmax(x: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Bounds:
    """The smallest and the largest value along `dim` (of all unless named), as a named pair (min, max)."""
    return Bounds(
        _extreme("aminmax", Amin, x, dim, keepdim),
        _extreme("aminmax", Amax, x, dim, keepdim),
    )


def _extreme(operation: str, kind: type[Extreme], x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    over = dims(operation, dim, x.array.ndim)
    if not x.array.size and count_of(x.array.shape, over) == 0:
        refusal = ShapeError if dim is None or dim == () else DimensionError
        raise refusal(f"{operation}: got shape {x.shape}; there is no extreme of no values (over dim {over})")
    return kind(over, keepdim)(x)


def max(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest value of all; with `dim`, a named pair (values, indices) along it; with a Tensor in its place, `maximum`.

    Along a dimension the value that is pointed at takes the gradient; of all values, the tied share it evenly.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1.0, 5.0], [7.0, 7.0]]).max(dim=1)
    Chosen(values=tensor([5., 7.]), indices=tensor([1, 0]))
    """
    if isinstance(dim, Tensor):
        return maximum(as_tensor("max", x), dim)
    return _extreme("max", Amax, x, None, False) if dim is None else _along("max", x, argmax, dim, keepdim)


def min(x: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest value of all; with `dim`, a named pair (values, indices) along it; with a Tensor in its place, `minimum`."""
    if isinstance(dim, Tensor):
        return minimum(as_tensor("min", x), dim)
    return _extreme("min", Amin, x, None, False) if dim is None else _along("min", x, argmin, dim, keepdim)


def _along(operation: str, x: Tensor, find: Any, dim: int, keepdim: bool) -> Chosen:
    at = one_dim(operation, dim, x.array.ndim)
    if x.array.ndim and not x.array.shape[at]:
        raise DimensionError(f"{operation}: got shape {x.shape}; there is no extreme of no values (along dim {dim})")
    return chosen(x, find(x, at, True), at, keepdim)


def chosen(x: Tensor, indices: Tensor, dim: int, keepdim: bool) -> Chosen:
    """The values at `indices` (with a length of 1 along dim), which take the gradient."""
    if not x.array.ndim:
        return Chosen(x.clone(), indices.reshape(()))
    values: Tensor = backend_of(x).take_along_axis(x, indices, dim)
    return Chosen(values, indices) if keepdim else Chosen(values.squeeze(dim), indices.squeeze(dim))


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first maximum along `dim`, or into the flattened Tensor."""
    return _argument("argmax", Argmax, x, dim, keepdim)


def argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first minimum along `dim`, or into the flattened Tensor."""
    return _argument("argmin", Argmin, x, dim, keepdim)


def _argument(operation: str, kind: type[Argmax], x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    at = None if dim is None else one_dim(operation, dim, x.array.ndim)
    if not x.array.size and (at is None or not x.array.shape[at]):
        raise DimensionError(f"{operation}: got shape {x.shape}; there is no extreme of no values")
    return kind(at if x.array.ndim else None, keepdim)(x)


@under_autocast
def prod(x: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product of all values, or along `dim`; zeros get their gradient too, to every order.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([0.0, 2.0, 3.0], requires_grad=True)
    >>> x.prod().backward()
    >>> x.grad
    tensor([6., 0., 0.])
    """
    if dtype is not None:
        x = cast(x, dtype)
    elif not is_floating(x.array.dtype):
        x = cast(x, int64)
    over = None if dim is None else one_dim("prod", dim, x.array.ndim)
    return cast(Prod(dims("prod", over, x.array.ndim), keepdim)(x), x.dtype)  # NumPy multiplies Booleans as integers


def count_nonzero(x: Tensor, dim: Dims = None) -> Tensor:
    """How many values over `dim` are not 0."""
    return sum(x if x.array.dtype.kind == "b" else not_equal(x, 0), dim)


def all(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all values over `dim` are true (not zero); as bool, but for uint8, as in PyTorch."""
    return _truth("all", All, x, dim, keepdim)


def any(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any value over `dim` is true (not zero); as bool, but for uint8, as in PyTorch."""
    return _truth("any", Any_, x, dim, keepdim)


def _truth(operation: str, kind: type[Reduction], x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    over = () if isinstance(dim, (tuple, list)) and not dim else dims(operation, dim, x.array.ndim)
    found: Tensor = kind(over, keepdim)(cast(x, bool_))
    return cast(found, "uint8") if x.array.dtype == "uint8" else found


def _sum_on_tape(x: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
    return Sum(dims("sum", axis, x.array.ndim), keepdims)(x) if axis != () else x


put_on_tape(sum=_sum_on_tape)
