"""Order: sorting, the k largest, medians, quantiles, unique values and places in a sorted sequence."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, int64, is_floating
from tensorgrad.errors import DimensionError, DtypeError, ShapeError
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.indexing import Slice
from tensorgrad.ops.logic import isnan
from tensorgrad.ops.operands import cast, one_dim
from tensorgrad.ops.reduction import Chosen, Extreme, chosen
from tensorgrad.ops.scatter import gather
from tensorgrad.ops.shape import movedim, reshape, squeeze
from tensorgrad.ops.unary import ceil, floor
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "argsort",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "sort",
    "topk",
]


class Argsort(Primitive):
    """z = the places that put x in order along dim, equal values keeping theirs, nan the largest: no derivative"""

    __slots__ = ("descending", "dim")
    differentiable = False

    def __init__(self, dim: int, descending: bool) -> None:
        self.dim = dim
        self.descending = descending

    def forward(self, x: Any) -> Any:
        return backend_of(x).argsort(x, self.dim, self.descending)


class Topk(Primitive):
    """z = the places of the k largest (or smallest) of x along dim, best first: no derivative"""

    __slots__ = ("dim", "k", "largest")
    differentiable = False

    def __init__(self, k: int, dim: int, largest: bool) -> None:
        self.k = k
        self.dim = dim
        self.largest = largest

    def forward(self, x: Any) -> Any:
        return backend_of(x).topk(x, self.k, self.dim, self.largest)


class Median(Extreme):
    """z = the middle value, the lower of two; nan if there is one        dz = mean of dx over the values equal to it"""

    __slots__ = ("skips_nan",)

    def __init__(self, dim: tuple[int, ...], keepdim: bool, skips_nan: bool) -> None:
        super().__init__(dim, keepdim)
        self.skips_nan = skips_nan

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        backend = backend_of(x)
        flat = backend.reshape(x, (-1,))
        place = place_of_median(flat, 0, self.skips_nan)
        return backend.reshape(backend.take_along_axis(flat, place, 0), ())


def place_of_median(x: Any, dim: int, skips_nan: bool) -> Any:
    """Where in the array x the middle value along dim stands, the lower of two; a nan, or the middle of the others."""
    backend = backend_of(x)
    order = backend.argsort(x, dim, False)
    nans = backend.sum(backend.cast(x != x, int64), (dim,), True)
    count = x.shape[dim]
    middle = (count - 1 - nans) // 2
    if skips_nan:
        middle = backend.maximum(middle, 0)  # of nothing but nan, nan
    else:
        middle = backend.where(nans > 0, count - nans, middle)  # the first nan
    return backend.take_along_axis(order, middle, dim)


def sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Chosen:
    """The values of x in order along `dim`, and where they stood. nan counts as the largest; equal values keep their order.

    >>> import tensorgrad
    >>> tensorgrad.tensor([3.0, 1.0, 2.0]).sort()
    Chosen(values=tensor([1., 2., 3.]), indices=tensor([1, 2, 0]))
    """
    at = one_dim("sort", dim, x.array.ndim)
    if not x.array.ndim:
        return Chosen(x.clone(), Tensor(backend_of(x.array).zeros((), int64)))
    indices = Argsort(at, descending)(x)
    return Chosen(backend_of(x).take_along_axis(x, indices, at), indices)


def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The places that put x in order along `dim`; equal values keep theirs."""
    at = one_dim("argsort", dim, x.array.ndim)
    found: Tensor = Argsort(at, descending)(x) if x.array.ndim else Tensor(backend_of(x.array).zeros((), int64))
    return found


def msort(x: Tensor) -> Tensor:
    """The values of x in order along its first dimension."""
    return sort(x, 0).values


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Chosen:
    """The k largest (smallest) values along `dim`, best first, and where they stand.

    >>> import tensorgrad
    >>> tensorgrad.tensor([3.0, 1.0, 2.0]).topk(2)
    Chosen(values=tensor([3., 2.]), indices=tensor([0, 2]))
    """
    at = one_dim("topk", dim, x.array.ndim)
    if not 0 <= k <= (x.array.shape[at] if x.array.ndim else 1):
        raise ShapeError(f"topk: got k {k}; dim {dim} of a Tensor of shape {x.shape} has not so many values")
    if not x.array.ndim:
        return sort(x) if k else Chosen(reshape(x, 1)[:0], Tensor(backend_of(x.array).zeros((0,), int64)))
    indices = Topk(k, at, largest)(x)
    return Chosen(backend_of(x).take_along_axis(x, indices, at), indices)


def kthvalue(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Chosen:
    """The k-th smallest value along `dim` (the smallest is the first), and where it stands."""
    at = one_dim("kthvalue", dim, x.array.ndim)
    if x.array.ndim and not x.array.shape[at]:
        raise DimensionError(f"kthvalue: got shape {x.shape}; dim {dim} has no values")
    if not 1 <= k <= (x.array.shape[at] if x.array.ndim else 1):
        raise ShapeError(f"kthvalue: got k {k}; dim {dim} of a Tensor of shape {x.shape} has not so many values")
    if not x.array.ndim:
        return sort(x)
    place = Slice((*(slice(None),) * at, slice(k - 1, k)))(Argsort(at, False)(x))
    return chosen(x, place, at, keepdim)


def median(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle value of all, the lower of two; with `dim`, a named pair (values, indices) along it. nan if there is one.

    >>> import tensorgrad
    >>> tensorgrad.tensor([4.0, 1.0, 3.0, 2.0]).median()
    tensor(2.)
    """
    return _median("median", x, dim, keepdim, False)


def nanmedian(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """As `median`, of the values that are not nan."""
    return _median("nanmedian", x, dim, keepdim, True)


def _median(operation: str, x: Tensor, dim: int | None, keepdim: bool, skips_nan: bool) -> Any:
    if dim is None:
        if not x.array.size:
            return Tensor(backend_of(x.array).full((), float("nan"), x.dtype)) if is_floating(x.dtype) else x.sum()
        return Median(tuple(range(x.array.ndim)), False, skips_nan)(x)
    at = one_dim(operation, dim, x.array.ndim)
    if not x.array.ndim:
        return sort(x)
    if not x.array.shape[at]:
        raise DimensionError(f"{operation}: got shape {x.shape}; dim {dim} has no values")
    return chosen(x, Tensor(place_of_median(x.array, at, skips_nan)), at, keepdim)


def mode(x: Tensor, dim: int = -1, keepdim: bool = False) -> Chosen:
    """The most frequent value along `dim`, the smallest of several, and where it stands last.

    >>> import tensorgrad
    >>> tensorgrad.tensor([3, 1, 3, 2]).mode()
    Chosen(values=tensor(3), indices=tensor(2))
    """
    at = one_dim("mode", dim, x.array.ndim)
    if not x.array.ndim:
        return sort(x)
    if not x.array.shape[at]:
        raise DimensionError(f"mode: got shape {x.shape}; dim {dim} has no values")
    backend, front, count = backend_of(x.array), (slice(None),) * at, x.array.shape[at]
    order = backend.argsort(x.array, at, False)
    values = backend.take_along_axis(x.array, order, at)
    places = backend.arange(0, count, 1, int64).reshape((-1,) + (1,) * (x.array.ndim - at - 1))
    if count > 1:
        new = values[(*front, slice(1, None))] != values[(*front, slice(None, -1))]
        first = backend.ones(values[(*front, slice(0, 1))].shape, bool_)
        starts = backend.where(backend.concatenate([first, new], at), places, 0)
        run = places - backend.accumulate(starts, at, "maximum")  # how many equal values stand before
    else:
        run = backend.zeros_like(order)
    best = backend.argmax(run, at)[(*front, None)]  # the end of the first longest run of equal values
    return chosen(x, Tensor(backend.take_along_axis(order, best, at)), at, keepdim)


INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


@under_autocast
def quantile(
    x: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The value below which a part q (from 0 to 1) of the values along `dim` lies; between two values as `interpolation` says.

    With a vector q the result has its length as the first dimension.

    >>> import tensorgrad
    >>> tensorgrad.tensor([0.0, 1.0, 2.0, 3.0]).quantile(0.5)
    tensor(1.5000)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, False)


@under_autocast
def nanquantile(
    x: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """As `quantile`, of the values that are not nan."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, True)


def _quantile(
    operation: str, x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skips_nan: bool
) -> Tensor:
    backend = backend_of(x.array)
    if not is_floating(x.array.dtype) or x.array.dtype.itemsize < 4:
        raise DtypeError(f"{operation}: got dtype {x.dtype}; it must be float32 or float64")
    if interpolation not in INTERPOLATIONS:
        raise ShapeError(f"{operation}: got interpolation {interpolation!r}; it is one of {', '.join(INTERPOLATIONS)}")
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise ShapeError(f"{operation}: got q {q}; it must be from 0 to 1")
        q = Tensor(backend.full((), q, x.dtype))
    if q.array.ndim > 1 or q.array.dtype != x.array.dtype:
        raise ShapeError(
            f"{operation}: got q of {q.dtype} and shape {q.shape}; it must be a number or a vector of {x.dtype}"
        )
    at = 0 if dim is None else one_dim(operation, dim, x.array.ndim)
    shape = (1,) * x.array.ndim if dim is None else tuple(1 if d == at else n for d, n in enumerate(x.array.shape))
    rows = reshape(x, -1) if dim is None or not x.array.ndim else movedim(x, at, -1)
    if not rows.array.size:
        raise ShapeError(f"{operation}: got shape {x.shape}; there is no quantile of no values")
    values = sort(rows, -1).values  # (..., n), nan last
    nans = cast(isnan(values), x.dtype).sum(-1, True)
    highest = rows.array.shape[-1] - 1 - (nans if skips_nan else 0)
    ranks = reshape(q, -1) * highest  # (..., quantiles)
    ranks = where(ranks < 0, 0.0, ranks)  # of nothing but nan
    if not skips_nan:
        ranks = where(nans > 0, float(rows.array.shape[-1] - 1), ranks)  # a nan, which is last, is the result
    z = _between(values, ranks, interpolation)
    z = movedim(z, -1, 0)  # (quantiles, ...)
    if keepdim:
        z = reshape(z, (z.array.shape[0], *shape))
    return z if q.array.ndim else squeeze(z, 0)


def _between(values: Tensor, ranks: Tensor, interpolation: str) -> Tensor:
    """The values at `ranks`, which may lie between two places, along the last dimension."""

    def value_at(place: Tensor) -> Tensor:
        index = cast(place.detach(), int64)
        return gather(values, -1, index.expand(*values.shape[:-1], index.shape[-1]).contiguous())

    if interpolation == "nearest":
        return value_at(ranks.round())
    if interpolation == "lower":
        return value_at(floor(ranks))
    if interpolation == "higher":
        return value_at(ceil(ranks))
    below, above = value_at(floor(ranks)), value_at(ceil(ranks))
    weight = 0.5 if interpolation == "midpoint" else ranks - floor(ranks)
    between = below + (above - below) * weight
    return where(below == above, below, between)  # also where both are infinite
