"""Flipping, rolling and repeating values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import DimensionError, OperandError, ShapeError
from tensorgrad.ops.broadcasting import broadcast_to
from tensorgrad.ops.indexing import Slice
from tensorgrad.ops.joining import cat
from tensorgrad.ops.operands import dims as counted_dims
from tensorgrad.ops.operands import one_dim
from tensorgrad.ops.picking import index_select
from tensorgrad.ops.shape import ravel, reshape, sizes, transpose, unsqueeze
from tensorgrad.primitive import Linear
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "flip",
    "fliplr",
    "flipud",
    "repeat_interleave",
    "roll",
    "rot90",
    "tile",
]


class Flip(Linear):
    """z = x in reverse order along dims, in memory of its own        dz = dx in reverse order"""

    __slots__ = ("dims",)

    def __init__(self, dims: int | tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        return backend.copy(backend.flip(x, self.dims))

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).flip(dz, self.dims)


def flip(x: Tensor, *dims: Any) -> Tensor:
    """A copy of x in reverse order along `dims`.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1, 2], [3, 4]]).flip(0)
    tensor([[3, 4],
            [1, 2]])
    """
    over = sizes("flip", dims)
    return Flip(counted_dims("flip", over, x.array.ndim) if over else ())(x)


def fliplr(x: Tensor) -> Tensor:
    """A copy of x in reverse order along its second dimension."""
    if x.array.ndim < 2:
        raise ShapeError(f"fliplr: got shape {x.shape}; it needs at least two dimensions")
    return Flip((1,))(x)


def flipud(x: Tensor) -> Tensor:
    """A copy of x in reverse order along its first dimension."""
    if x.array.ndim < 1:
        raise ShapeError("flipud: got a 0-d Tensor; it needs at least one dimension")
    return Flip((0,))(x)


def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """x with its values moved by `shifts` along `dims`, those that fall off the end coming back at the front.

    Without dims x is rolled as if it were flat.

    >>> import tensorgrad
    >>> tensorgrad.arange(4).roll(1)
    tensor([3, 0, 1, 2])
    """
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    if not moves:
        raise ShapeError("roll: got no shifts; it needs at least one")
    if dims is None or (not isinstance(dims, int) and not dims):
        if len(moves) != 1:
            raise ShapeError(f"roll: got {len(moves)} shifts and no dims; give as many dims")
        return reshape(_rolled(ravel(x), moves[0], 0), x.shape)
    over = [dims] if isinstance(dims, int) else list(dims)
    if len(over) != len(moves):
        raise ShapeError(f"roll: got {len(moves)} shifts and {len(over)} dims; they must be equally many")
    if not x.array.ndim:
        raise DimensionError(f"roll: got dims {dims}; a 0-d Tensor has none")
    for move, dim in zip(moves, over):
        x = _rolled(x, move, one_dim("roll", dim, x.array.ndim))
    return x


def _rolled(x: Tensor, shift: int, dim: int) -> Tensor:
    length = x.array.shape[dim]
    cut = length - shift % length if length else 0
    front = (slice(None),) * dim
    return cat([Slice((*front, slice(cut, None)))(x), Slice((*front, slice(None, cut)))(x)], dim)


def rot90(x: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """x turned by k right angles in the plane of two dimensions, from the first towards the second.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1, 2], [3, 4]]).rot90()
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2 or x.array.ndim < 2:
        raise ShapeError(
            f"rot90: got dims {tuple(dims)} for a Tensor of shape {x.shape}; it turns in the plane of two dimensions"
        )
    a, b = (one_dim("rot90", dim, x.array.ndim) for dim in dims)
    if a == b:
        raise ShapeError(
            f"rot90: got dims {tuple(dims)} for a Tensor of shape {x.shape}; it needs two different dimensions"
        )
    if k % 4 == 1:
        return transpose(flip(x, b), a, b)
    if k % 4 == 2:
        return flip(x, a, b)
    return transpose(flip(x, a), a, b) if k % 4 == 3 else x.clone()


def repeat(x: Tensor, *repeats: Any) -> Tensor:
    """A copy of x that holds it so many times along each dimension; more repeats than dimensions add dimensions in front.

    >>> import tensorgrad
    >>> tensorgrad.arange(2).repeat(2, 2)
    tensor([[0, 1, 0, 1],
            [0, 1, 0, 1]])
    """
    if not repeats:
        raise OperandError("repeat: got no repeats; give one for each dimension")
    times = sizes("repeat", repeats)
    lead = len(times) - x.array.ndim
    if lead < 0:
        raise ShapeError(
            f"repeat: got repeats {times} for a Tensor of shape {x.shape}; it needs one for each dimension"
        )
    if any(n < 0 for n in times):
        raise ShapeError(f"repeat: got repeats {times}; they must not be negative")
    shape = (1,) * lead + x.array.shape
    apart = reshape(x, *[n for size in shape for n in (1, size)])  # (n, m) -> (1, n, 1, m)
    together = broadcast_to(apart, [n for time, size in zip(times, shape) for n in (time, size)])
    z = reshape(together, [time * size for time, size in zip(times, shape)])
    return z.clone() if z.array.size and backend_of(z.array).may_share_memory(z.array, x.array) else z


def tile(x: Tensor, *dims: Any) -> Tensor:
    """As `repeat`, but with fewer repeats than dimensions those count for the last ones."""
    times = sizes("tile", dims)
    return repeat(x, (1,) * (x.array.ndim - len(times)) + times) if x.array.ndim or times else x.clone()


def repeat_interleave(
    x: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each value (slice along `dim`) so many times, its copies side by side; without dim x counts as flat.

    With a single Tensor of whole numbers, the indices 0, 1, ... each so many times.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1, 2]).repeat_interleave(tensorgrad.tensor([1, 3]))
    tensor([1, 2, 2, 2])
    """
    if repeats is None:
        return _repeated_places(x)
    if dim is None:
        x, dim = ravel(x), 0
    at = one_dim("repeat_interleave", dim, x.array.ndim)
    x = x if x.array.ndim else reshape(x, 1)
    length = x.array.shape[at]
    if isinstance(repeats, Tensor) and repeats.array.size == 1:
        repeats = int(repeats)
    if isinstance(repeats, int):
        if repeats < 0:
            raise ShapeError(f"repeat_interleave: got repeats {repeats}; it must not be negative")
        shape = x.array.shape
        wide = broadcast_to(unsqueeze(x, at + 1), (*shape[: at + 1], repeats, *shape[at + 1 :]))
        z = reshape(wide, (*shape[:at], length * repeats, *shape[at + 1 :]))
        return z.clone() if repeats == 1 else z
    if repeats.array.ndim > 1 or repeats.array.size != length:
        raise ShapeError(
            f"repeat_interleave: got repeats of shape {repeats.shape}; it needs one number for each of {length}"
        )
    places = _repeated_places(repeats)
    if output_size is not None and output_size != places.array.size:
        raise ShapeError(f"repeat_interleave: got output_size {output_size}; the repeats add up to {places.array.size}")
    return index_select(x, at, places)


def _repeated_places(repeats: Tensor) -> Tensor:
    """0, 1, ... each as often as `repeats` says. The length of the result is known to the host alone, so it is made there."""
    if repeats.array.ndim != 1 or repeats.array.dtype.kind not in "iu":
        raise ShapeError(
            f"repeat_interleave: got repeats of {repeats.dtype} and shape {repeats.shape}; they are a vector of whole numbers"
        )
    backend = backend_of(repeats.array)
    counts = backend.to_host(repeats.array)
    if (counts < 0).any():
        raise ShapeError("repeat_interleave: a repeat is negative")
    places = numpy.repeat(numpy.arange(len(counts), dtype=repeats.array.dtype), counts)
    return Tensor(backend.from_host(places, repeats.device))
