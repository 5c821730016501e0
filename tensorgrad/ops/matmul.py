"""Products of matrices."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError, ShapeError
from tensorgrad.ops.operands import as_tensor, put_on_tape
from tensorgrad.ops.shape import squeeze, unsqueeze
from tensorgrad.primitive import Bilinear, sum_to
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "matmul",
]


def _turned(x: Any) -> Any:
    """x^T: the last two dimensions exchanged."""
    n = x.ndim
    return backend_of(x).transpose(x, (*range(n - 2), n - 1, n - 2))


class Matmul(Bilinear):
    """z = x y for (stacks of) matrices        dz = dx y + x dy

    z_ik = sum_j x_ij y_jk, so the cotangents are dz y^T and x^T dz, summed over broadcast stacks.
    """

    __slots__ = ("shape_x", "shape_y")

    def forward(self, x: Any, y: Any) -> Any:
        self.shape_x, self.shape_y = x.shape, y.shape
        return backend_of(x).matmul(x, y)

    def vjp_x(self, dz: Any, y: Any) -> Any:
        return sum_to(backend_of(dz).matmul(dz, _turned(y)), self.shape_x)

    def vjp_y(self, dz: Any, x: Any) -> Any:
        return sum_to(backend_of(dz).matmul(_turned(x), dz), self.shape_y)


class InnerProduct(Bilinear):
    """z = x w^T: each row of x against each row of w        dz = dx w^T + x dw^T

    x is (..., n), w is (m, n), z is (..., m): what a linear layer computes.
    """

    __slots__ = ()

    def forward(self, x: Any, w: Any) -> Any:
        backend = backend_of(x)
        return backend.matmul(x, backend.transpose(w, (1, 0)))

    def vjp_x(self, dz: Any, w: Any) -> Any:
        return backend_of(dz).matmul(dz, w)

    def vjp_y(self, dz: Any, x: Any) -> Any:
        backend = backend_of(dz)
        rows = backend.reshape(dz, (-1, dz.shape[-1]))  # (..., m) -> (N, m)
        return backend.matmul(_turned(rows), backend.reshape(x, (-1, x.shape[-1])))


def _same_kind(operation: str, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    x, y = as_tensor(operation, x), as_tensor(operation, y)
    if x.array.dtype is not y.array.dtype and x.array.dtype != y.array.dtype:
        raise DtypeError(f"{operation}: got dtypes {x.dtype} and {y.dtype}; they must be the same, use .to(dtype)")
    return x, y


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The product of matrices, of stacks of them (leading dimensions broadcast), and of vectors.

    (n, m) @ (m, k) -> (n, k); a 1-d x is a row, a 1-d y a column, and the added dimension is dropped again.

    >>> import tensorgrad
    >>> (tensorgrad.ones(2, 3) @ tensorgrad.ones(3)).tolist()
    [3.0, 3.0]
    """
    x, y = _same_kind("matmul", x, y)
    shape_x, shape_y = x.array.shape, y.array.shape
    if not shape_x or not shape_y:
        raise ShapeError(
            f"matmul: got shapes {shape_x} and {shape_y}; both need at least one dimension, use * for numbers"
        )
    if shape_x[-1] != shape_y[-2 if len(shape_y) > 1 else 0]:
        raise ShapeError(
            f"matmul: got shapes {shape_x} and {shape_y}; the last size of the first ({shape_x[-1]}) must be the second-last of the "
            f"second ({shape_y[-2 if len(shape_y) > 1 else 0]})"
        )
    row, column = len(shape_x) == 1, len(shape_y) == 1
    if row:
        x = unsqueeze(x, 0)
    if column:
        y = unsqueeze(y, 1)
    z = Matmul()(x, y)
    if column:
        z = squeeze(z, -1)
    return squeeze(z, -1 if column else -2) if row else z


def inner_product(x: Tensor, w: Tensor) -> Tensor:
    """x w^T for x (..., n) and w (m, n): (..., m)."""
    x, w = _same_kind("linear", x, w)
    if w.array.ndim != 2 or not x.array.ndim or x.array.shape[-1] != w.array.shape[1]:
        wanted = w.array.shape[1] if w.array.ndim == 2 else "in_features"
        raise ShapeError(
            f"linear: got an input of shape {x.shape} and a weight of shape {w.shape}; the last size of the input must be {wanted}, "
            "the weight (out_features, in_features)"
        )
    return InnerProduct()(x, w)


put_on_tape(matmul=matmul)  # it also takes vectors, which the rules above may meet
