"""Unique values, and places in a sorted sequence."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, float64, int32, int64
from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.ops.operands import one_dim
from tensorgrad.ops.shape import movedim
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "bucketize",
    "searchsorted",
    "unique",
    "unique_consecutive",
]


def unique(
    x: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different values of x in order; with `dim` the different slices along it. They have no derivative.

    Beside them, if asked for: where each value of x is found among them, and how often each occurs.

    >>> import tensorgrad
    >>> tensorgrad.tensor([3, 1, 3]).unique(return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _different("unique", x, dim, True, return_inverse, return_counts)


def unique_consecutive(
    x: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The values of x (or its slices along `dim`) without those equal to the one before; the rest as `unique`."""
    return _different("unique_consecutive", x, dim, False, return_inverse, return_counts)


def _different(operation: str, x: Tensor, dim: int | None, in_order: bool, inverse: bool, counts: bool) -> Any:
    backend = backend_of(x.array)
    if dim is None:
        slices, rows = x.array.reshape(-1), x.array.reshape(-1, 1)
    else:
        at = one_dim(operation, dim, x.array.ndim)
        slices = movedim(x, at, 0).array if x.array.ndim else x.array.reshape(1)
        if not slices.size and slices.shape[0] and not all(slices.shape[1:]):
            raise ShapeError(f"{operation}: got shape {x.shape}; its slices along dim {dim} have no values")
        rows = slices.reshape(slices.shape[0], -1) if slices.size else slices.reshape(0, 1)
    count = rows.shape[0]
    order = backend.order_of_rows(rows) if in_order else backend.arange(0, count, 1, int64)
    ordered = rows[order]
    new = backend.concatenate([backend.ones((min(count, 1),), bool_), (ordered[1:] != ordered[:-1]).any(axis=1)], 0)
    (starts,) = backend.nonzero(new)
    found = slices[order[starts]]
    if dim is not None and x.array.ndim:
        found = backend.copy(movedim(Tensor(found), 0, at).array)
    results = [Tensor(found)]
    if inverse:
        places = backend.zeros((count,), int64)
        places[order] = backend.cumsum(backend.cast(new, int64), 0) - 1
        results.append(Tensor(places.reshape(x.array.shape) if dim is None else places))
    if counts:
        ends = backend.concatenate([starts[1:], backend.full((min(count, 1),), count, int64)], 0)
        results.append(Tensor(ends - starts))
    return results[0] if len(results) == 1 else tuple(results)


def searchsorted(
    sorted_sequence: Tensor,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values belong in a sequence that is in order along its last dimension: before equal values, or after them if `right`.

    A sequence of several dimensions serves the values of the same leading dimensions; a vector serves all. `sorter` gives
    the order of one that is not sorted.

    >>> import tensorgrad
    >>> tensorgrad.searchsorted(tensorgrad.tensor([1.0, 3.0, 5.0]), tensorgrad.tensor([3.0, 4.0]))
    tensor([1, 2])
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ShapeError(
            f"searchsorted: got side {side!r} and right={right}; side is 'left' or 'right', and must not contradict"
        )
    backend = backend_of(sorted_sequence.array)
    if not isinstance(values, Tensor):
        if not isinstance(values, (bool, int, float)):
            raise OperandError(
                f"searchsorted: got values that are a {type(values).__name__}; give a Tensor or a number"
            )
        values = Tensor(backend.full((), values, sorted_sequence.dtype if isinstance(values, int) else float64))
    sequence, wanted = sorted_sequence.array, values.array
    if sequence.ndim == 0:
        raise ShapeError("searchsorted: the sequence has no dimensions; it must have at least one")
    if sequence.ndim > 1 and sequence.shape[:-1] != wanted.shape[:-1]:
        raise ShapeError(
            f"searchsorted: got a sequence of shape {sequence.shape} and values of shape {wanted.shape}; all sizes but the last must "
            "be equal"
        )
    if sorter is not None:
        if sorter.array.shape != sequence.shape or sorter.array.dtype != int64:
            raise ShapeError(
                f"searchsorted: got a sorter of {sorter.dtype} and shape {sorter.shape}; int64 of {sequence.shape}"
            )
        backend.check_index("searchsorted", sorter.array, sequence.shape[-1], ShapeError)
        sequence = backend.take_along_axis(sequence, sorter.array, -1)
    rows = sequence.reshape(-1, sequence.shape[-1]) if sequence.size else sequence.reshape(1, 0)
    columns = wanted.reshape(1, -1) if sequence.ndim == 1 or not wanted.size else wanted.reshape(rows.shape[0], -1)
    found = backend.searchsorted(rows, columns, "right" if right or side == "right" else "left")
    return Tensor(backend.cast(found.reshape(wanted.shape), int32 if out_int32 else int64))


def bucketize(x: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """In which of the parts between `boundaries`, a vector in order, each value lies; a boundary belongs to the left one.

    With `right` it belongs to the right one.

    >>> import tensorgrad
    >>> tensorgrad.bucketize(tensorgrad.tensor([0.5, 1.0, 2.5]), tensorgrad.tensor([1.0, 2.0]))
    tensor([0, 0, 2])
    """
    if boundaries.array.ndim != 1:
        raise ShapeError(f"bucketize: got boundaries of shape {boundaries.shape}; they must be a vector")
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)
