"""Triangles, diagonals, windows and other strided views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64, is_floating
from tensorgrad.errors import ShapeError
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.indexing import Unslice
from tensorgrad.ops.operands import one_dim
from tensorgrad.ops.shape import movedim, unsqueeze
from tensorgrad.ops.windows import Windows
from tensorgrad.primitive import View
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "as_strided",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "trace",
    "tril",
    "triu",
]


class Diagonal(View):
    """z = the diagonal of the last two dimensions, `offset` places above the main one        dz = that of dx"""

    __slots__ = ("offset", "shape")

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        rows, columns = x.shape[-2:]
        row, column = max(-self.offset, 0), max(self.offset, 0)
        length = max(min(rows - row, columns - column), 0)
        corner = x[..., row:, column:]
        strides = (*x.strides[:-2], x.strides[-2] + x.strides[-1])
        return backend_of(x).as_strided(corner, (*x.shape[:-2], length), strides)

    def vjp(self, dz: Any) -> Any:
        # in the flat matrix the places of a diagonal are columns + 1 apart
        backend = backend_of(dz)
        rows, columns = self.shape[-2:]
        start = self.offset if self.offset >= 0 else -self.offset * columns
        stop = start + dz.shape[-1] * (columns + 1)
        flat = (*self.shape[:-2], rows * columns)
        placed = backend.unslice(dz, (..., slice(start, min(stop, rows * columns), columns + 1)), flat)
        return backend.reshape(placed, self.shape)


class AsStrided(View):
    """z = x's values, which lie in order, at offset + sum of (index * stride)        dz = those of dx

    The cotangents of a value that z shows several times add up.
    """

    __slots__ = ("offset", "places", "shape", "source", "strides")

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
        self.shape = shape
        self.strides = strides
        self.offset = offset

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        self.source = x.shape
        flat = backend.reshape(x, (-1,))
        places = backend.arange(0, flat.size, 1, int64)[self.offset :]
        self.places = backend.as_strided(places, self.shape, tuple(n * places.itemsize for n in self.strides))
        return backend.as_strided(flat[self.offset :], self.shape, tuple(n * x.itemsize for n in self.strides))

    def vjp(self, dz: Any) -> Any:
        backend = backend_of(dz)
        return backend.reshape(backend.scatter_add(dz, (self.places,), (math.prod(self.source),)), self.source)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, which becomes the last dimension; a view.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1, 2], [3, 4]]).diagonal()
    tensor([1, 4])
    """
    a, b = _two_dims("diagonal", dim1, dim2, x.array.ndim)
    return Diagonal(offset)(movedim(x, (a, b), (-2, -1)))


def _two_dims(operation: str, dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    a, b = one_dim(operation, dim1, ndim), one_dim(operation, dim2, ndim)
    if a == b:
        raise ShapeError(f"{operation}: got dimension {dim1} twice; it needs two different ones")
    return a, b


def diag_embed(x: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension of x on their diagonals and zeros elsewhere.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1, 2]).diag_embed()
    tensor([[1, 0],
            [0, 2]])
    """
    a, b = _two_dims("diag_embed", dim1, dim2, x.array.ndim + 1)
    length = x.array.shape[-1]
    size = length + abs(offset)
    wide = Unslice((..., slice(0, length)), (*x.array.shape[:-1], size))(x)
    # below the diagonal the columns count the values, above it the rows
    values = unsqueeze(wide, -1) if offset >= 0 else unsqueeze(wide, -2)
    rows, columns = _coordinates(x, size, size)
    matrices = where(columns - rows == offset, values, _nothing(x))
    return movedim(matrices, (-2, -1), (a, b))


def diag(x: Tensor, diagonal: int = 0) -> Tensor:
    """Of a matrix its diagonal (a view), of a vector the matrix with that diagonal."""
    if x.array.ndim == 1:
        return diag_embed(x, diagonal)
    if x.array.ndim != 2:
        raise ShapeError(f"diag: got shape {x.shape}; it takes a vector or a matrix")
    return Diagonal(diagonal)(x)


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all values of x on its diagonal."""
    return diag_embed(x.reshape(-1), offset)


@under_autocast
def trace(x: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if x.array.ndim != 2:
        raise ShapeError(f"trace: got shape {x.shape}; it takes a matrix")
    return Diagonal(0)(x).sum()


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """x, with zeros above the diagonal (of the last two dimensions; `diagonal` places above the main one).

    >>> import tensorgrad
    >>> tensorgrad.tensor([[1, 2], [3, 4]]).tril()
    tensor([[1, 0],
            [3, 4]])
    """
    return _triangle("tril", x, lambda above: above <= diagonal)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """x, with zeros below the diagonal (of the last two dimensions; `diagonal` places above the main one)."""
    return _triangle("triu", x, lambda above: above >= diagonal)


def _triangle(operation: str, x: Tensor, inside: Any) -> Tensor:
    if x.array.ndim < 2:
        raise ShapeError(f"{operation}: got shape {x.shape}; it needs at least two dimensions")
    rows, columns = _coordinates(x, *x.array.shape[-2:])
    return where(inside(columns - rows), x, _nothing(x))


def _coordinates(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """The numbers of the rows (rows, 1) and of the columns (columns,), beside x."""
    backend = backend_of(x.array)
    return (
        Tensor(backend.arange(0, rows, 1, int64).reshape(rows, 1)),
        Tensor(backend.arange(0, columns, 1, int64)),
    )


def _nothing(x: Tensor) -> Any:
    """Zero, as a number of a kind that leaves the dtype alone."""
    return 0.0 if is_floating(x.array.dtype) else False if x.array.dtype.kind == "b" else 0


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of `size` values along a dimension, `step` apart; the places within them are a new last dimension. A view.

    >>> import tensorgrad
    >>> tensorgrad.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    at = one_dim("unfold", dimension, x.array.ndim)
    length = x.array.shape[at] if x.array.ndim else 1
    if not 0 <= size <= length:
        raise ShapeError(f"unfold: got size {size}; it must be from 0 to {length}, the length of the dimension")
    if step <= 0:
        raise ShapeError(f"unfold: got step {step}; it must be positive")
    if not x.array.ndim:
        return x.reshape(1)[:size]
    z: Tensor = Windows((at,), (size,), (step,), (1,))(x)
    return z


def as_strided(x: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """The values at storage_offset + sum of (index * stride) in the memory of x, whose values must lie in order.

    Refused for a view of a part, whose memory is its base's: there reshape, permute, unfold and diagonal say what is meant.
    """
    shape, strides, offset = tuple(size), tuple(stride), storage_offset or 0
    base = x
    while base.extra is not None and base.extra.view is not None:
        base = base.extra.view[0]
    if not x.is_contiguous() or (base.array.size != x.array.size and storage_offset is not None):
        raise NotImplementedError(
            f"as_strided: got a view of shape {x.shape} and strides {x.stride()}; it needs a Tensor whose values lie in order, take "
            ".contiguous(), or use permute, unfold or diagonal"
        )
    if len(shape) != len(strides):
        raise ShapeError(f"as_strided: got {len(shape)} sizes and {len(strides)} strides; they must be equally many")
    if any(n < 0 for n in (*shape, *strides, offset)):
        raise ShapeError(
            f"as_strided: got size {shape}, stride {strides}, storage_offset {offset}; none may be negative"
        )
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
    if math.prod(shape) and last >= x.array.size:
        raise ShapeError(
            f"as_strided: place {last} is outside of the {x.array.size} values of a Tensor of shape {x.shape}"
        )
    return AsStrided(shape, strides, offset)(x)
