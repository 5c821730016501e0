"""Products with something added (addmm and its kind), products of several matrices, Kronecker and cross products."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DtypeError, ShapeError
from tensorgrad.ops.broadcasting import broadcast_tensors, broadcast_to
from tensorgrad.ops.indexing import Slice
from tensorgrad.ops.joining import cat
from tensorgrad.ops.matmul import bmm, mm, mv, outer, same_dtype
from tensorgrad.ops.operands import cast, one_dim
from tensorgrad.ops.shape import permute, reshape, squeeze, unsqueeze
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "chain_matmul",
    "cross",
    "kron",
    "tensordot",
]


def _added(operation: str, x: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta x + alpha product, with x broadcast; with beta = 0 x does not count, not even its nan."""
    dtype = product.array.dtype
    if x.array.dtype != dtype:
        raise DtypeError(f"{operation}: got dtypes {x.dtype} and {dtype}; they must be the same, use .to(dtype)")
    if not is_floating(dtype):
        alpha, beta = int(alpha), int(beta)  # as PyTorch does
    scaled = product if alpha == 1 else cast(product * alpha, dtype)
    wide = x if x.array.shape == product.array.shape else broadcast_to(x, product.array.shape)
    if beta == 0:
        return scaled
    return (wide if beta == 1 else cast(wide * beta, dtype)) + scaled


@under_autocast
def addmm(x: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha mat1 mat2

    >>> import tensorgrad
    >>> ones = tensorgrad.ones(2, 2)
    >>> tensorgrad.addmm(ones, ones, ones).tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """
    return _added("addmm", x, mm(mat1, mat2), beta, alpha)


@under_autocast
def addmv(x: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha mat vec"""
    return _added("addmv", x, mv(mat, vec), beta, alpha)


@under_autocast
def addr(x: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha vec1 vec2^T"""
    return _added("addr", x, outer(vec1, vec2), beta, alpha)


@under_autocast
def baddbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha (the products of two stacks of matrices)"""
    return _added("baddbmm", x, bmm(batch1, batch2), beta, alpha)


@under_autocast
def addbmm(x: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta x + alpha (the sum of the products of two stacks of matrices)"""
    total = bmm(batch1, batch2).sum(0)
    return _added("addbmm", x, cast(total, batch1.dtype), beta, alpha)


@under_autocast
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The products of a and b summed over pairs of dimensions: the last `dims` of a with the first of b, or two lists of them.

    >>> import tensorgrad
    >>> tensorgrad.tensordot(tensorgrad.ones(2, 3), tensorgrad.ones(3, 4), 1).shape
    (2, 4)
    """
    a, b = same_dtype("tensordot", a, b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.array.ndim, b.array.ndim):
            raise ShapeError(
                f"tensordot: got dims {dims} for shapes {a.shape} and {b.shape}; it must be from 0 to their number"
            )
        over_a, over_b = list(range(a.array.ndim - dims, a.array.ndim)), list(range(dims))
    else:
        over_a = [one_dim("tensordot", d, a.array.ndim) for d in _listed(dims[0])]
        over_b = [one_dim("tensordot", d, b.array.ndim) for d in _listed(dims[1])]
    if len(over_a) != len(over_b):
        raise ShapeError(f"tensordot: got {len(over_a)} dims of a and {len(over_b)} of b; they come in pairs")
    for i, j in zip(over_a, over_b):
        n, m = a.array.shape[i], b.array.shape[j]
        if n != m and 1 not in (n, m):
            raise ShapeError(f"tensordot: got sizes {n} and {m} in dims {i} of a and {j} of b; they must be equal")
        if n == 1 != m:
            b = b.sum(j, True)
        elif m == 1 != n:
            a = a.sum(i, True)
    free_a = [d for d in range(a.array.ndim) if d not in over_a]
    free_b = [d for d in range(b.array.ndim) if d not in over_b]
    together = 1
    for i in over_a:
        together *= a.array.shape[i]
    sizes_a, sizes_b = [a.array.shape[d] for d in free_a], [b.array.shape[d] for d in free_b]
    rows = reshape(permute(a, *free_a, *over_a), (_count(sizes_a), together)) if a.array.ndim else reshape(a, 1, 1)
    columns = reshape(permute(b, *over_b, *free_b), (together, _count(sizes_b))) if b.array.ndim else reshape(b, 1, 1)
    return reshape(mm(rows, columns), (*sizes_a, *sizes_b))


def _listed(dims: Any) -> Sequence[int]:
    return [dims] if isinstance(dims, int) else list(dims)


def _count(sizes: Sequence[int]) -> int:
    return functools.reduce(lambda a, b: a * b, sizes, 1)


def kron(x: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: every value of x times all of other, side by side.

    >>> import tensorgrad
    >>> tensorgrad.kron(tensorgrad.tensor([1, 2]), tensorgrad.tensor([1, 1]))
    tensor([1, 1, 2, 2])
    """
    ndim = max(x.array.ndim, other.array.ndim)
    shape_x = (1,) * (ndim - x.array.ndim) + x.array.shape
    shape_y = (1,) * (ndim - other.array.ndim) + other.array.shape
    apart = reshape(x, [n for size in shape_x for n in (size, 1)]) * reshape(
        other, [n for size in shape_y for n in (1, size)]
    )
    return reshape(apart, [n * m for n, m in zip(shape_x, shape_y)])


@under_autocast
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices, in the order of multiplications that needs the fewest; the first and last may be vectors.

    >>> import tensorgrad
    >>> tensorgrad.linalg.multi_dot([tensorgrad.ones(2, 3), tensorgrad.ones(3, 1), tensorgrad.ones(1, 4)]).shape
    (2, 4)
    """
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot: got {len(tensors)} Tensors; it needs at least two")
    xs = same_dtype("multi_dot", *tensors)
    row, column = xs[0].array.ndim == 1, xs[-1].array.ndim == 1
    xs[0] = unsqueeze(xs[0], 0) if row else xs[0]
    xs[-1] = unsqueeze(xs[-1], 1) if column else xs[-1]
    for x in xs:
        if x.array.ndim != 2:
            raise ShapeError(
                f"multi_dot: got a Tensor of shape {x.shape}; it takes matrices, the first and last may be vectors"
            )
    for x, y in zip(xs, xs[1:]):
        if x.array.shape[1] != y.array.shape[0]:
            raise ShapeError(f"multi_dot: got neighbours of shapes {x.shape} and {y.shape}, which do not fit together")
    z = _multiplied(xs)
    z = squeeze(z, 1) if column else z
    return squeeze(z, 0) if row else z


def _multiplied(xs: Sequence[Tensor]) -> Tensor:
    """By the cheapest order (Cormen et al., Introduction to Algorithms, 15.2)."""
    sizes = [x.array.shape[0] for x in xs] + [xs[-1].array.shape[1]]
    # (start, stop) -> the number of multiplications for xs[start:stop], and before which factor to cut
    best = {(start, start + 1): (0, start) for start in range(len(xs))}
    for length in range(2, len(xs) + 1):
        for start in range(len(xs) - length + 1):
            stop = start + length
            best[start, stop] = min(
                (best[start, cut][0] + best[cut, stop][0] + sizes[start] * sizes[cut] * sizes[stop], cut)
                for cut in range(start + 1, stop)
            )
    return _product(xs, best, 0, len(xs))


def _product(xs: Sequence[Tensor], best: dict[tuple[int, int], tuple[int, int]], start: int, stop: int) -> Tensor:
    """The product of xs[start:stop]. A function within another that calls itself would hold xs until the garbage is collected."""
    if stop - start == 1:
        return xs[start]
    cut = best[start, stop][1]
    return mm(_product(xs, best, start, cut), _product(xs, best, cut, stop))


@under_autocast
def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices, as `linalg.multi_dot`, or the one that is given."""
    xs = list(matrices[0]) if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)) else list(matrices)
    for x in xs:
        if x.array.ndim != 2:
            raise ShapeError(f"chain_matmul: got a Tensor of shape {x.shape}; it takes matrices")
    return xs[0] if len(xs) == 1 else multi_dot(xs)


@under_autocast
def cross(x: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross products of vectors of length 3 along `dim` (the first dimension of that length unless named).

    >>> import tensorgrad
    >>> tensorgrad.cross(tensorgrad.tensor([1, 0, 0]), tensorgrad.tensor([0, 1, 0]))
    tensor([0, 0, 1])
    """
    if x.array.ndim != other.array.ndim:
        raise ShapeError(f"cross: got shapes {x.shape} and {other.shape}; they need equally many dimensions")
    if dim is None:
        found = [d for d, n in enumerate(x.array.shape) if n == 3]
        if not found:
            raise ShapeError(f"cross: got shape {x.shape}; no dimension has length 3")
        dim = found[0]
    at = one_dim("cross", dim, x.array.ndim)
    if x.array.shape[at] != 3 or other.array.shape[at] != 3:
        raise ShapeError(f"cross: got shapes {x.shape} and {other.shape}; dim {dim} must have length 3 in both")
    x, other = broadcast_tensors(x, other)

    def turned(y: Tensor, first: int) -> Tensor:
        """The three values from number `first` on, going round."""
        front = (slice(None),) * at
        return cat([Slice((*front, slice(first, None)))(y), Slice((*front, slice(None, first)))(y)], at)

    return turned(x, 1) * turned(other, 2) - turned(x, 2) * turned(other, 1)


def vector_cross(x: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of length 3 along `dim`."""
    return cross(x, other, dim)


@under_autocast
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sums of the products of x and y along `dim`, the other dimensions broadcast."""
    x, y = same_dtype("vecdot", x, y)
    x, y = broadcast_tensors(x, y)
    return (x * y).sum(dim, dtype=x.dtype)
