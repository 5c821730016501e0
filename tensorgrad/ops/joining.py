"""Joining Tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import promote_types
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.ops.broadcasting import expand
from tensorgrad.ops.operands import as_tensor, cast, one_dim
from tensorgrad.ops.shape import permute, reshape
from tensorgrad.primitive import Linear
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "cartesian_prod",
    "cat",
    "column_stack",
    "dstack",
    "hstack",
    "meshgrid",
    "stack",
    "vstack",
]


class Concatenate(Linear):
    """z = the xs one after the other along dim        dz = the dxs likewise"""

    __slots__ = ("dim", "lengths")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs: Any) -> Any:
        self.lengths = [x.shape[self.dim] for x in xs]
        return backend_of(xs[0]).concatenate(xs, self.dim)

    def vjp(self, dz: Any) -> Any:
        backend = backend_of(dz)
        front = (slice(None),) * self.dim
        parts, start = [], 0
        for length in self.lengths:
            parts.append(backend.getitem(dz, (*front, slice(start, start + length))))
            start += length
        return tuple(parts)


class Stack(Linear):
    """z[..., i, ...] = x_i along a new dim        dz likewise of the dxs"""

    __slots__ = ("count", "dim")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs: Any) -> Any:
        self.count = len(xs)
        return backend_of(xs[0]).stack(xs, self.dim)

    def vjp(self, dz: Any) -> Any:
        front = (slice(None),) * self.dim
        return tuple(backend_of(dz).getitem(dz, (*front, i)) for i in range(self.count))


def _same_dtype(operation: str, xs: Sequence[Tensor], refusal: type[Exception] = ShapeError) -> list[Tensor]:
    """The Tensors to be joined, in their common dtype."""
    if isinstance(xs, Tensor) or not isinstance(xs, (list, tuple)):
        raise OperandError(f"{operation}: got a {type(xs).__name__}; it takes a list of Tensors")
    if not xs:
        raise refusal(f"{operation}: got an empty list; it needs at least one Tensor")
    for x in xs:
        if not isinstance(x, Tensor):
            raise OperandError(f"{operation}: got a list with a {type(x).__name__}; it takes Tensors")
    found = [as_tensor(operation, x) for x in xs]
    dtype = found[0].array.dtype
    for x in found[1:]:
        dtype = promote_types(dtype, x.array.dtype)
    return [cast(x, dtype) for x in found]


@under_autocast
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The Tensors one after the other along an existing dimension; those of shape (0,) are left out, as in PyTorch.

    >>> import tensorgrad
    >>> tensorgrad.cat([tensorgrad.zeros(2, 1), tensorgrad.ones(2, 2)], dim=1)
    tensor([[0., 1., 1.],
            [0., 1., 1.]])
    """
    xs = _same_dtype("cat", tensors, ArgumentError)
    for place, x in enumerate(xs):
        if not x.array.ndim:
            raise ShapeError(f"cat: Tensor {place} has no dimensions; use stack")
    full = [x for x in xs if x.array.shape != (0,)] or xs[:1]
    at = one_dim("cat", dim, full[0].array.ndim)
    wanted = full[0].array.shape
    for x in full[1:]:
        shape = x.array.shape
        if len(shape) != len(wanted) or any(n != m for d, (n, m) in enumerate(zip(shape, wanted)) if d != at):
            raise ShapeError(f"cat: got shapes {wanted} and {shape}; all sizes but that of dim {dim} must be equal")
    return Concatenate(at)(*full)


@under_autocast
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    xs = _same_dtype("stack", tensors)
    for x in xs[1:]:
        if x.array.shape != xs[0].array.shape:
            raise ShapeError(f"stack: got shapes {xs[0].shape} and {x.shape}; they must be equal")
    return Stack(one_dim("stack", dim, xs[0].array.ndim + 1))(*xs)


def atleast_1d(*tensors: Any) -> Any:
    """The Tensor (or a tuple of each of several) with at least one dimension."""
    return _each(tensors, lambda x: reshape(x, 1) if not x.array.ndim else x)


def atleast_2d(*tensors: Any) -> Any:
    """The Tensor (or a tuple of each of several) with at least two dimensions, new ones in front."""
    return _each(tensors, lambda x: reshape(x, 1, -1) if x.array.ndim < 2 else x)


def atleast_3d(*tensors: Any) -> Any:
    """The Tensor (or a tuple of each of several) with at least three dimensions: (n,) -> (1, n, 1), (n, m) -> (n, m, 1)."""

    def of_one(x: Tensor) -> Tensor:
        if x.array.ndim < 2:
            return reshape(x, 1, -1, 1)
        return reshape(x, *x.array.shape, 1) if x.array.ndim == 2 else x

    return _each(tensors, of_one)


def _each(tensors: tuple[Any, ...], function: Callable[[Tensor], Tensor]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
        return tuple(function(x) for x in tensors)
    return function(tensors[0]) if len(tensors) == 1 else tuple(function(x) for x in tensors)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The Tensors side by side: along the first dimension of vectors, else along the second."""
    xs = [atleast_1d(x) for x in _same_dtype("hstack", tensors)]
    return cat(xs, 0 if xs[0].array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The Tensors on top of each other: along the first dimension, vectors being rows."""
    return cat([atleast_2d(x) for x in _same_dtype("vstack", tensors)], 0)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The Tensors one behind the other: along the third dimension."""
    return cat([atleast_3d(x) for x in _same_dtype("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The Tensors side by side along the second dimension, vectors being columns."""
    columns = [reshape(x, -1, 1) if x.array.ndim < 2 else x for x in _same_dtype("column_stack", tensors)]
    return cat(columns, 1)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Grids of the coordinates: for vectors of lengths n, m, ... as many Tensors of shape (n, m, ...); 'xy' exchanges the first two.

    >>> import tensorgrad
    >>> tensorgrad.meshgrid(tensorgrad.arange(2), tensorgrad.arange(3))[1]
    tensor([[0, 1, 2],
            [0, 1, 2]])
    """
    xs = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise ShapeError(f"meshgrid: got indexing {indexing!r}; it is 'ij' or 'xy'")
    if not xs:
        raise ShapeError("meshgrid: got no Tensors; it needs at least one")
    for x in xs:
        if x.array.ndim > 1 or x.array.dtype != xs[0].array.dtype:
            raise ShapeError(
                f"meshgrid: got {x.dtype} of shape {x.shape}; all must be vectors of one dtype, {xs[0].dtype}"
            )
    shape = tuple(x.array.size for x in xs)
    grids = []
    for place, x in enumerate(xs):
        grid = expand(reshape(x, *(1,) * place, -1, *(1,) * (len(xs) - place - 1)), shape)
        grids.append(permute(grid, 1, 0, *range(2, len(xs))) if indexing == "xy" and len(xs) > 1 else grid)
    return tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one value of each vector: (n m ..., count), or the vector itself if there is one."""
    for x in tensors:
        if x.array.ndim != 1:
            raise ShapeError(f"cartesian_prod: got shape {x.shape}; it takes vectors")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(grid, -1) for grid in meshgrid(*tensors)], 1)
