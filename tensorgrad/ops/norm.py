"""Lengths of vectors and sizes of matrices, and distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.ops.elementwise import absolute, where
from tensorgrad.ops.logic import not_equal
from tensorgrad.ops.operands import cast, dims
from tensorgrad.ops.reduction import Dims, Reduction, amax, amin, count_of
from tensorgrad.ops.reduction import sum as sum_of
from tensorgrad.ops.shape import unsqueeze
from tensorgrad.primitive import Primitive, check_floating
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "cdist",
    "dist",
    "norm",
]

infinity = float("inf")


class Length(Reduction):
    """z = sqrt(sum of x^2 over dim)        dz = sum of x dx / z, 0 where z is 0"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).length(x, self.dim, self.keepdim)

    @staticmethod
    def _inverse(z: Any) -> Any:
        """1 / z, 0 where that is infinite."""
        backend = backend_of(z)
        zero = z == 0
        return backend.where(zero, 0.0, backend.reciprocal(backend.where(zero, 1.0, z)))

    def jvp(self, dx: Any, x: Any, out: Any) -> Any:
        return backend_of(dx).sum(x * dx, self.dim, self.keepdim) * self._inverse(out)

    def vjp(self, dz: Any, x: Any, out: Any) -> Any:
        return x * self.spread(dz * self._inverse(out))


class MeanOfSquares(Primitive):
    """z = sum of x^2 over all n values / n        dz = 2 sum of x dx / n"""

    __slots__ = ("shape",)

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        self.shape = x.shape
        total = backend.sum_of_squares(x, self._all(), False)
        return backend.cast(backend.divide(total, float(x.size)), x.dtype)

    def _all(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape)))

    def jvp(self, dx: Any, x: Any) -> Any:
        return backend_of(dx).mean(x * dx, self._all(), False) * 2.0

    def vjp(self, dz: Any, x: Any) -> Any:
        return x * (dz * (2.0 / max(1, math.prod(self.shape))))


@under_autocast
def vector_norm(x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(sum over dim of |x|^ord)^(1 / ord); the largest |x| for inf, the smallest for -inf, the count of nonzero x for 0.

    Where the gradient of the norm has no limit (at x = 0) it is 0, as in PyTorch.

    >>> import tensorgrad
    >>> tensorgrad.linalg.vector_norm(tensorgrad.tensor([3.0, -4.0]))
    tensor(5.)
    """
    if dtype is not None:
        x = cast(x, dtype)
    check_floating("vector_norm", x)
    return _norm("vector_norm", x, float(ord), dim, keepdim)


def _norm(operation: str, x: Tensor, p: float, dim: Dims, keepdim: bool) -> Tensor:
    over = dims(operation, dim, x.array.ndim)
    if not count_of(x.array.shape, over) and (p < 0 or p == infinity):
        raise ShapeError(f"{operation}: got shape {x.shape}; there is no norm of order {p} of no values")
    if abs(p) == infinity:
        return (amax if p > 0 else amin)(absolute(x), over or None, keepdim)
    if p == 0:
        return cast(cast(not_equal(x, 0), x.dtype).sum(over or None, keepdim), x.dtype) + (x * 0.0).sum(
            over or None, keepdim
        )
    if p == 1:
        return sum_of(absolute(x), over or None, keepdim)
    if p == 2:
        return Length(over, keepdim)(x)
    empty = x == 0
    powers = where(empty, 0.0 if p > 0 else infinity, absolute(where(empty, 1.0, x)) ** p)
    total = sum_of(powers, over or None, keepdim)
    zero = total == 0
    return where(zero, 0.0 if p > 0 else infinity, where(zero, 1.0, total) ** (1 / p))


@under_autocast
def norm(x: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of order p over `dim`, as `linalg.vector_norm`; 'fro' is the order 2.

    >>> import tensorgrad
    >>> tensorgrad.tensor([[3.0, 0.0], [0.0, 4.0]]).norm()
    tensor(5.)
    """
    if p == "nuc":
        raise NotImplementedError("norm: p='nuc' needs singular values, which tensorgrad does not compute")
    if isinstance(p, str) and p != "fro":
        raise ShapeError(f"norm: got p {p!r}; it is a number or 'fro'")
    return vector_norm(x, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@under_autocast
def matrix_norm(
    x: Tensor, ord: Any = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of the matrices in two dimensions: 'fro', or 1 and inf (-1, -inf): the largest (smallest) sum of |column| or |row|."""
    if dtype is not None:
        x = cast(x, dtype)
    check_floating("matrix_norm", x)
    if x.array.ndim < 2:
        raise ShapeError(f"matrix_norm: got shape {x.shape}; it needs at least two dimensions")
    if isinstance(dim, int) or len(dim) != 2:
        raise ShapeError(f"matrix_norm: got dim {dim}; a matrix has two dimensions")
    row, column = ((d + x.array.ndim) % x.array.ndim for d in dim)
    dims("matrix_norm", tuple(dim), x.array.ndim)  # refuses what is out of range or comes twice
    if ord == "fro":
        return _norm("matrix_norm", x, 2, (row, column), keepdim)
    if ord in (2, -2, "nuc"):
        raise NotImplementedError(f"matrix_norm: ord={ord!r} needs singular values, which tensorgrad does not compute")
    if ord not in (1, -1, infinity, -infinity):
        raise (ArgumentError if isinstance(ord, str) else ShapeError)(
            f"matrix_norm: got ord {ord!r}; it is 'fro', 1, -1, inf or -inf"
        )
    summed, chosen = (row, column) if abs(ord) == 1 else (column, row)
    sums = sum_of(absolute(x), summed, True)
    nothing = ord > 0 and not x.array.shape[chosen]
    z = sum_of(sums, chosen, True) if nothing else (amax if ord > 0 else amin)(sums, chosen, True)
    return z if keepdim else z.squeeze((row, column))


def matrix_or_vector_norm(
    x: Tensor, ord: Any = None, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """linalg.norm: of all values if ord is None; else of vectors (one dim) or matrices (two).

    >>> import tensorgrad
    >>> tensorgrad.linalg.norm(tensorgrad.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    tensor(6.)
    """
    if dim is None and ord is not None and x.array.ndim not in (1, 2):
        raise ShapeError(f"linalg.norm: got shape {x.shape} and ord {ord!r}; without dim it takes vectors and matrices")
    of_matrices = x.array.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if dim is not None and not isinstance(dim, int) and len(dim) > 2:
        raise ShapeError(f"linalg.norm: got dim {dim}; it takes one dimension or two")
    if ord is not None and of_matrices:
        return matrix_norm(x, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)  # type: ignore[arg-type]
    if isinstance(ord, str):
        raise ShapeError(f"linalg.norm: got ord {ord!r} for vectors; it is for matrices, two dimensions")
    return vector_norm(x, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@under_autocast
def dist(x: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of order p of x - other."""
    return vector_norm(x - other, p)


@under_autocast
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The distances of order p between all rows of x1 (..., n, d) and x2 (..., m, d): (..., n, m).

    Computed from the differences, whatever `compute_mode` says: a product of matrices would lose the digits of near rows.

    >>> import tensorgrad
    >>> tensorgrad.cdist(tensorgrad.tensor([[0.0, 0.0]]), tensorgrad.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[5., 0.]])
    """
    if x1.array.ndim < 2 or x2.array.ndim < 2 or x1.array.shape[-1] != x2.array.shape[-1]:
        raise ShapeError(f"cdist: got shapes {x1.shape} and {x2.shape}; it takes (..., n, d) and (..., m, d)")
    if p < 0:
        raise ShapeError(f"cdist: got p {p}; it must not be negative")
    apart = unsqueeze(x1, -2) - unsqueeze(x2, -3)
    if not apart.array.shape[-1]:
        return apart.sum(-1)
    return _norm("cdist", apart, float(p), -1, False)
