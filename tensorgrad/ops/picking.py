"""Picking slices, masked values and values of the flat Tensor by index, and putting them back."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, int64, is_floating
from tensorgrad.errors import DimensionError, DtypeError, OperandError, ShapeError
from tensorgrad.ops.broadcasting import broadcast_to, common_shape
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.indexing import Gather, Index, Overwrite, ScatterAdd, Slice, Unslice, beside
from tensorgrad.ops.operands import cast, one_dim, scalar_like
from tensorgrad.ops.scatter import Scattered, at_least_1d, corner
from tensorgrad.ops.shape import reshape
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "narrow",
    "nonzero",
    "put",
    "select",
    "take",
]


def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of x along `dim` at the places in `index`, a vector.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 2.0, 3.0]).index_select(0, tensorgrad.tensor([2, 0]))
    tensor([3., 1.])
    """
    at = one_dim("index_select", dim, x.array.ndim)
    places = check_places("index_select", index, x)
    backend_of(x.array).check_index("index_select", places, x.array.shape[at] if x.array.ndim else 1, DimensionError)
    if not x.array.ndim:
        return Gather((places,))(Slice((None,))(x)).reshape(())
    return Gather((*(slice(None),) * at, places))(x)


def check_places(operation: str, index: Any, x: Tensor) -> Any:
    """The array of a vector of whole numbers (a single one will do), on x's device."""
    if not isinstance(index, Tensor):
        raise OperandError(f"{operation}: got an index that is a {type(index).__name__}; it must be a Tensor")
    if index.array.ndim > 1:
        raise DimensionError(f"{operation}: got an index of shape {index.shape}; it must be a vector")
    if index.array.dtype.kind not in "iu":
        raise ShapeError(f"{operation}: got an index of dtype {index.dtype}; it must be int64")
    return beside(operation, x, index.array.reshape(-1))


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """x[index] along `dim`, without that dimension; a view."""
    if not x.array.ndim:
        raise DimensionError("select: got a 0-d Tensor; it holds one number")
    at, place = one_dim("select", dim, x.array.ndim), int(index)
    length = x.array.shape[at]
    if not -length <= place < length:
        raise DimensionError(f"select: got index {place} for dim {dim} of a Tensor of shape {x.shape}")
    return Slice((*(slice(None),) * at, place))(x)


def narrow(x: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`length` values from `start` on along `dim`; a view.

    >>> import tensorgrad
    >>> tensorgrad.arange(5).narrow(0, 1, 3)
    tensor([1, 2, 3])
    """
    if not x.array.ndim:
        raise ShapeError("narrow: got a 0-d Tensor; it holds one number")
    if isinstance(start, Tensor) and (start.array.ndim or start.array.dtype.kind not in "iu"):
        raise ShapeError(f"narrow: got a start of {start.dtype} and shape {start.shape}; it must be one whole number")
    at, first = one_dim("narrow", dim, x.array.ndim), int(start)
    size = x.array.shape[at]
    if length < 0:
        raise ShapeError(f"narrow: got length {length}; it must not be negative")
    if not -size <= first <= size:
        raise DimensionError(f"narrow: got start {first}; dim {dim} has {size} values")
    first += size if first < 0 else 0
    if first + length > size:
        raise ShapeError(f"narrow: got start {first} and length {length}; dim {dim} has {size} values")
    return Slice((*(slice(None),) * at, slice(first, first + length)))(x)


def nonzero(x: Tensor, *, as_tuple: bool = False) -> Any:
    """Where x is not zero (true): a Tensor (count, dimensions), or a tuple of vectors that can index x.

    >>> import tensorgrad
    >>> tensorgrad.tensor([0, 3, 4]).nonzero()
    tensor([[1],
            [2]])
    """
    backend = backend_of(x.array)
    array = x.array if x.array.ndim or not as_tuple else x.array.reshape(1)
    if not array.ndim:
        count = int(x.item() != 0)
        return Tensor(backend.zeros((count, 0), int64))
    places = tuple(backend.nonzero(array))
    return tuple(Tensor(place) for place in places) if as_tuple else Tensor(backend.stack(places, 1))


def _slices(operation: str, x: Tensor, dim: int, index: Tensor, source: Any) -> tuple[Tensor, tuple[Any, ...], Any]:
    """x and source with at least one dimension, and the index of the slices along dim."""
    at = one_dim(operation, dim, x.array.ndim)
    if (
        isinstance(index, Tensor)
        and index.array.ndim == 1
        and index.array.dtype.kind == "i"
        and index.array.itemsize < 4
    ):
        raise DtypeError(f"{operation}: got an index of dtype {index.dtype}; it must be int64 (or int32)")
    places = check_places(operation, index, x)
    wide = at_least_1d(x)
    backend_of(places).check_index(operation, places, wide.array.shape[at], DimensionError)
    if isinstance(source, Tensor):
        source = at_least_1d(source)
        if source.array.dtype != x.array.dtype:
            raise DtypeError(
                f"{operation}: got source of dtype {source.dtype} for a Tensor of {x.dtype}; they must be equal"
            )
        wanted = (*wide.array.shape[:at], places.size, *wide.array.shape[at + 1 :])
        if source.array.shape != wanted:
            of_index_copy = operation == "index_copy" and source.array.ndim != wide.array.ndim
            raise (DimensionError if of_index_copy else ShapeError)(
                f"{operation}: got source of shape {source.shape}; for an index of {places.size} it must be {wanted}"
            )
    return wide, (*(slice(None),) * at, places.copy()), source


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """x, with alpha times the slices of source added to those at `index` along dim; repeated indices add up.

    >>> import tensorgrad
    >>> tensorgrad.zeros(3).index_add(0, tensorgrad.tensor([0, 0]), tensorgrad.ones(2))
    tensor([2., 0., 0.])
    """
    wide, places, source = _slices("index_add", x, dim, index, source)
    sums = ScatterAdd(places, wide.array.shape)(source)
    return reshape(wide + (sums if alpha == 1 else cast(sums * alpha, x.array.dtype)), x.array.shape)


@under_autocast
def index_copy(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """x, with the slices of source in place of those at `index` along dim."""
    wide, places, source = _slices("index_copy", x, dim, index, source)
    return reshape(Scattered(places)(wide, source), x.array.shape)


def index_fill(x: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """x, with one number in the slices at `index` along dim; gradients flow to it if it is a Tensor."""
    if isinstance(value, Tensor) and value.array.ndim:
        raise ShapeError(f"index_fill: got a value of shape {value.shape}; it must be one number")
    wide, places, _ = _slices("index_fill", x, dim, index, None)
    number = cast(value if isinstance(value, Tensor) else scalar_like(value, x), x.array.dtype)
    filled = backend_of(x.array).zeros(wide.array.shape, bool_)
    filled[places] = True
    return reshape(where(Tensor(filled), number, wide), x.array.shape)


@under_autocast
def index_put(x: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """x, but z[indices] = values (broadcast), or += with accumulate, where repeated indices add up; None stands for ':'.

    >>> import tensorgrad
    >>> ones = tensorgrad.ones(2)
    >>> tensorgrad.zeros(2).index_put((tensorgrad.tensor([1, 1]),), ones, accumulate=True)
    tensor([0., 2.])
    """
    if not isinstance(indices, (tuple, list)):
        raise OperandError(f"index_put: got indices that are a {type(indices).__name__}; give a tuple of Tensors")
    if values.array.dtype != x.array.dtype:
        raise DimensionError(
            f"index_put: got values of dtype {values.dtype} for a Tensor of {x.dtype}; they must be equal"
        )
    found = Index("index_put", x, tuple(slice(None) if part is None else part for part in indices))
    part = found.part(x)  # a view where single numbers are among the indices
    shape = part.array.shape if found.arrays is None else part.array[found.arrays].shape
    values = values if values.array.shape == shape else broadcast_to(values, shape)
    if found.arrays is not None and accumulate:
        values = ScatterAdd(found.arrays, part.array.shape)(values)
    elif found.arrays is not None:
        values = Scattered(found.arrays)(part, values)
    if part is x:
        return x + values if accumulate else values
    return x + Unslice(found.basic, x.array.shape)(values) if accumulate else Overwrite(Slice(found.basic))(x, values)


# masks


def _mask(operation: str, mask: Any) -> Tensor:
    if not isinstance(mask, Tensor) or mask.array.dtype.kind != "b":
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DtypeError(f"{operation}: got a mask of {got}; it must be a bool Tensor, compare first (x != 0)")
    return mask


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor:
    """x, with one number where mask (broadcast) is true; gradients flow to it if it is a Tensor.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, -2.0])
    >>> x.masked_fill(x < 0, 0)
    tensor([1., 0.])
    """
    if isinstance(value, Tensor) and value.array.ndim:
        raise ShapeError(f"masked_fill: got a value of shape {value.shape}; it must be one number")
    fraction = is_floating(value.array.dtype) if isinstance(value, Tensor) else isinstance(value, float)
    if fraction and not is_floating(x.array.dtype):
        raise DtypeError(f"masked_fill: got the value {value!r}, which does not fit into a Tensor of {x.dtype}")
    number = cast(value, x.array.dtype) if isinstance(value, Tensor) else scalar_like(value, x)
    return where(_mask("masked_fill", mask), number, x)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The values of x where mask is true, one after the other; both broadcast."""
    shape = common_shape("masked_select", [x, _mask("masked_select", mask)])
    x, mask = (at_least_1d(y if y.array.shape == shape else broadcast_to(y, shape)) for y in (x, mask))
    return Gather(tuple(backend_of(mask.array).nonzero(mask.array)))(x)


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """x, with the first values of source, in order, in the places where mask (broadcast) is true."""
    if source.array.dtype != x.array.dtype:
        raise DtypeError(
            f"masked_scatter: got source of dtype {source.dtype} for a Tensor of {x.dtype}; they must be equal"
        )
    shape = common_shape("masked_scatter", [x, _mask("masked_scatter", mask)])
    x, mask = (at_least_1d(y if y.array.shape == shape else broadcast_to(y, shape)) for y in (x, mask))
    places = tuple(backend_of(mask.array).nonzero(mask.array))
    count = places[0].size
    if count > source.array.size:
        raise ShapeError(f"masked_scatter: the mask is true in {count} places, source has {source.array.size} values")
    return reshape(Scattered(places)(x, corner(reshape(source, -1), (count,))), shape)


# x as if it were flat


def _flat(operation: str, x: Tensor, index: Tensor) -> Any:
    """An index into the flattened x, counted from the front."""
    if not isinstance(index, Tensor) or index.array.dtype != int64:
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise DtypeError(f"{operation}: got an index of {got}; it must be an int64 Tensor")
    if index.array.size and not x.array.size:
        raise DimensionError(f"{operation}: the Tensor has no values to take")
    size = x.array.size
    backend = backend_of(index.array)
    backend.check_index(operation, index.array + size, 2 * size, DimensionError)
    return backend.where(index.array < 0, index.array + size, index.array)


def take(x: Tensor, index: Tensor) -> Tensor:
    """The values of x, as if it were flat, at `index`; of the shape of index."""
    places = _flat("take", x, index)
    return reshape(Gather((places.reshape(-1),))(reshape(x, -1)), index.array.shape)


def put(x: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """x, but as if it were flat, source in the places `index` (added to what is there with accumulate)."""
    if source.array.dtype != x.array.dtype:
        raise DtypeError(f"put: got source of dtype {source.dtype} for a Tensor of {x.dtype}; they must be equal")
    if source.array.size != index.array.size:
        raise ShapeError(
            f"put: got {index.array.size} indices and {source.array.size} values; they must be equally many"
        )
    places, flat, values = (_flat("put", x, index).reshape(-1),), reshape(x, -1), reshape(source, -1)
    z = flat + ScatterAdd(places, flat.array.shape)(values) if accumulate else Scattered(places)(flat, values)
    return reshape(z, x.array.shape)
