"""Taking Tensors apart: the pieces are views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64
from tensorgrad.errors import DimensionError, OperandError, ShapeError
from tensorgrad.ops.indexing import Slice
from tensorgrad.ops.operands import one_dim
from tensorgrad.primitive import View
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "chunk",
    "dsplit",
    "hsplit",
    "split",
    "split_with_sizes",
    "tensor_split",
    "unbind",
    "vsplit",
]


class Unbind(View):
    """z_i = x[..., i, ...] along dim, one result each        dz_i = dx[..., i, ...]"""

    __slots__ = ("dim", "shape")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        front = (slice(None),) * self.dim
        return tuple(x[(*front, i, ...)] for i in range(x.shape[self.dim]))

    def alone(self, position: int) -> View:
        return Slice((*(slice(None),) * self.dim, position))

    def vjp(self, dzs: Any) -> Any:
        some = next(dz for dz in dzs if dz is not None)
        backend = backend_of(some)
        parts = [backend.zeros_like(some) if dz is None else dz for dz in dzs]
        parts += [backend.zeros_like(some)] * (self.shape[self.dim] - len(parts))
        return backend.stack(parts, self.dim)


class Split(View):
    """z_i = the next lengths[i] of x along dim, one result each        dz_i = those of dx"""

    __slots__ = ("dim", "lengths", "shape")

    def __init__(self, dim: int, lengths: tuple[int, ...]) -> None:
        self.dim = dim
        self.lengths = lengths

    def pieces(self) -> list[tuple[Any, ...]]:
        """The index of every result in x."""
        found, start = [], 0
        for length in self.lengths:
            found.append((*(slice(None),) * self.dim, slice(start, start + length)))
            start += length
        return found

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return tuple(x[index] for index in self.pieces())

    def alone(self, position: int) -> View:
        return Slice(self.pieces()[position])

    def vjp(self, dzs: Any) -> Any:
        some = next(dz for dz in dzs if dz is not None)
        backend = backend_of(some)
        nothing = (*(slice(None),) * self.dim, slice(0, 0))
        parts = []
        for dz, length in zip([*dzs, *[None] * (len(self.lengths) - len(dzs))], self.lengths):
            shape = (*self.shape[: self.dim], length, *self.shape[self.dim + 1 :])
            parts.append(backend.unslice(backend.getitem(some, nothing), nothing, shape) if dz is None else dz)
        return backend.concatenate(parts, self.dim)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along `dim`, as views."""
    if not x.array.ndim:
        raise DimensionError("unbind: a 0-d Tensor has no slices")
    found: tuple[Tensor, ...] = Unbind(one_dim("unbind", dim, x.array.ndim))(x)
    return found


def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """x in pieces of `split_size` along `dim` (the last may be shorter), or of the lengths listed; views.

    >>> import tensorgrad
    >>> [part.tolist() for part in tensorgrad.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    """
    if not isinstance(split_size_or_sections, int):
        return split_with_sizes(x, split_size_or_sections, dim)
    at, size = _cut_dim("split", x, dim), split_size_or_sections
    length = x.array.shape[at]
    if size < 0 or (size == 0 and length):
        raise ShapeError(f"split: got size {size}; it must be positive for a dimension of length {length}")
    count = max(-(-length // size), 1) if size else 1
    lengths = [size] * (count - 1)
    return _pieces(x, at, [*lengths, length - size * (count - 1)])


def split_with_sizes(x: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """x in pieces of these lengths along `dim`; views."""
    at = _cut_dim("split_with_sizes", x, dim)
    lengths = [int(n) for n in split_sizes]
    if sum(lengths) != x.array.shape[at] or any(n < 0 for n in lengths):
        raise ShapeError(
            f"split_with_sizes: got sizes {lengths}; they must add up to {x.array.shape[at]}, the size of dim {dim}"
        )
    return _pieces(x, at, lengths)


def _pieces(x: Tensor, dim: int, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = Split(dim, tuple(lengths))(x)
    return found


def _cut_dim(operation: str, x: Tensor, dim: int) -> int:
    if not x.array.ndim:
        raise ShapeError(f"{operation}: a 0-d Tensor cannot be cut into pieces")
    return one_dim(operation, dim, x.array.ndim)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """x in at most `chunks` pieces of equal length along `dim` (the last may be shorter); views."""
    at = _cut_dim("chunk", x, dim)
    if chunks <= 0:
        raise ShapeError(f"chunk: got {chunks} chunks; there must be at least one")
    length = x.array.shape[at]
    if not length:
        return _pieces(x, at, [0] * chunks)
    return split(x, -(-length // chunks), at)


def tensor_split(x: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """x in so many pieces along `dim`, the first ones longer by one where needed; or cut before each of the indices. Views."""
    at = _cut_dim("tensor_split", x, dim)
    length = x.array.shape[at]
    if isinstance(indices_or_sections, Tensor):
        if indices_or_sections.array.ndim > 1 or indices_or_sections.array.dtype != int64:
            raise ShapeError(
                f"tensor_split: got {indices_or_sections.dtype} of shape {indices_or_sections.shape}; it takes int64 of at "
                "most one dimension"
            )
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count <= 0:
            raise ShapeError(f"tensor_split: got {count} sections; there must be at least one")
        return _pieces(x, at, [length // count + (i < length % count) for i in range(count)])
    marks = [slice(None, int(i)).indices(length)[1] for i in indices_or_sections]
    starts, stops = [0, *marks], [*marks, length]
    if all(start <= stop for start, stop in zip(starts, stops)):
        return _pieces(x, at, [stop - start for start, stop in zip(starts, stops)])
    front = (slice(None),) * at
    return tuple(Slice((*front, slice(start, stop)))(x) for start, stop in zip(starts, stops))


def _split_along(operation: str, x: Tensor, how: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if isinstance(how, str) or not (isinstance(how, (int, Tensor)) or hasattr(how, "__iter__")):
        raise OperandError(f"{operation}: got a {type(how).__name__}; it takes a whole number or a list of them")
    if x.array.ndim < least:
        raise ShapeError(f"{operation}: got shape {x.shape}; it needs at least {least} dimension(s)")
    if isinstance(how, int) and (how <= 0 or x.array.shape[dim] % how):
        raise ShapeError(
            f"{operation}: got {how} sections; they must divide {x.array.shape[dim]}, the size of dim {dim}"
        )
    return tensor_split(x, how, dim)


def hsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along its second dimension (a vector along its only one), as `tensor_split`; sections must be equal."""
    return _split_along("hsplit", x, indices_or_sections, 1 if x.array.ndim > 1 else 0, 1)


def vsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along its first dimension, as `tensor_split`; sections must be equal."""
    return _split_along("vsplit", x, indices_or_sections, 0, 2)


def dsplit(x: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along its third dimension, as `tensor_split`; sections must be equal."""
    return _split_along("dsplit", x, indices_or_sections, 2, 3)
