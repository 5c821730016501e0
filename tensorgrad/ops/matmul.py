"""Products of matrices."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import prod
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError, ShapeError
from tensorgrad.ops.operands import as_tensor, put_on_tape
from tensorgrad.ops.shape import reshape, squeeze, unsqueeze
from tensorgrad.primitive import Bilinear, Primitive, sum_to
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "bmm",
    "dot",
    "ger",
    "inner",
    "matmul",
    "mm",
    "mv",
    "outer",
    "vdot",
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


class Dot(Bilinear):
    """z = sum of x_i y_i for two vectors        dz = dx y + x dy"""

    __slots__ = ()

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).matmul(x, y)

    def vjp_x(self, dz: Any, y: Any) -> Any:
        return dz * y

    def vjp_y(self, dz: Any, x: Any) -> Any:
        return dz * x


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
        matmul = backend_of(dz).matmul
        rows = _rows(dz)
        return matmul(_turned(rows), _rows(x))


def _rows(x: Any) -> Any:
    """(..., m) -> (N, m), where m may be 0 too"""
    return backend_of(x).reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


class InnerProductBias(Primitive):
    """z = x w^T + b        dz = dx w^T + x dw^T + db

    As InnerProduct, and b (m) is added where z is made.
    """

    __slots__ = ()
    missing_tangents = True

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        return backend_of(x).inner_product_bias(x, w, b)

    def _record(self, inputs: Any, arrays: Any, parents: Any, out: Any) -> None:
        Primitive._record(self, inputs, arrays, parents, out)
        if parents[1] is None:
            self.saved[0] = None  # only the cotangent of w needs x
        if parents[0] is None:
            self.saved[1] = None

    def jvp(self, dx: Any, dw: Any, db: Any, x: Any, w: Any, out: Any) -> Any:
        backend = backend_of(out)
        dz = None if db is None else backend.broadcast_to(db, out.shape)
        for one, other in ((dx, w), (x, dw)):
            if one is not None and other is not None:
                part = backend.matmul(one, _turned(other))
                dz = part if dz is None else dz + part
        return dz

    def vjp(self, dz: Any, x: Any, w: Any) -> tuple[Any, Any, Any]:
        backend = backend_of(dz)
        rows = _rows(dz)
        return (
            backend.matmul(dz, w) if self.needs(0) else None,
            backend.matmul(_turned(rows), _rows(x)) if self.needs(1) else None,
            backend.sum(rows, (0,), False) if self.needs(2) else None,
        )


def same_dtype(operation: str, *tensors: Any) -> list[Tensor]:
    """The factors of a product, which must be Tensors of one dtype."""
    found = [as_tensor(operation, x) for x in tensors]
    for x in found[1:]:
        if x.array.dtype != found[0].array.dtype:
            raise DtypeError(
                f"{operation}: got dtypes {found[0].dtype} and {x.dtype}; they must be the same, use .to(dtype)"
            )
    return found


@under_autocast
def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The product of matrices, of stacks of them (leading dimensions broadcast), and of vectors.

    (n, m) @ (m, k) -> (n, k); a 1-d x is a row, a 1-d y a column, and the added dimension is dropped again.

    >>> import tensorgrad
    >>> (tensorgrad.ones(2, 3) @ tensorgrad.ones(3)).tolist()
    [3.0, 3.0]
    """
    x, y = same_dtype("matmul", x, y)
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
    if row and column:
        return Dot()(x, y)  # type: ignore[no-any-return]
    if row:
        x = unsqueeze(x, 0)
    if column:
        y = unsqueeze(y, 1)
    z = Matmul()(x, y)
    if column:
        return squeeze(z, -1)
    return squeeze(z, -2) if row else z


product: Callable[[Tensor, Tensor], Tensor] = inspect.unwrap(
    matmul
)  # in the dtype of what it is given, whatever region


def inner_product(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """x w^T, plus b (m) if given, for x (..., n) and w (m, n): (..., m)."""
    x, w = same_dtype("linear", x, w)
    if w.array.ndim != 2 or not x.array.ndim or x.array.shape[-1] != w.array.shape[1]:
        wanted = w.array.shape[1] if w.array.ndim == 2 else "in_features"
        raise ShapeError(
            f"linear: got an input of shape {x.shape} and a weight of shape {w.shape}; the last size of the input must be {wanted}, "
            "the weight (out_features, in_features)"
        )
    return InnerProduct()(x, w) if b is None else InnerProductBias()(x, w, b)


def _product(operation: str, x: Tensor, y: Tensor, dims: tuple[int, int]) -> Tensor:
    """matmul, of factors with these numbers of dimensions and no others."""
    x, y = same_dtype(operation, x, y)
    if (x.array.ndim, y.array.ndim) != dims:
        raise ShapeError(
            f"{operation}: got shapes {x.shape} and {y.shape}; it takes {dims[0]} and {dims[1]} dimensions"
        )
    if x.array.shape[-1] != y.array.shape[max(dims[1] - 2, 0)] or (
        dims[0] == 3 and x.array.shape[0] != y.array.shape[0]
    ):
        raise ShapeError(f"{operation}: got shapes {x.shape} and {y.shape}, which do not fit together")
    return product(x, y)


@under_autocast
def mm(x: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices: (n, m) and (m, k) -> (n, k)."""
    return _product("mm", x, mat2, (2, 2))


@under_autocast
def bmm(x: Tensor, mat2: Tensor) -> Tensor:
    """The products of two equally long stacks of matrices: (b, n, m) and (b, m, k) -> (b, n, k)."""
    return _product("bmm", x, mat2, (3, 3))


@under_autocast
def mv(x: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector: (n, m) and (m,) -> (n,)."""
    return _product("mv", x, vec, (2, 1))


@under_autocast
def dot(x: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' values."""
    return _product("dot", x, tensor, (1, 1))


@under_autocast
def vdot(x: Tensor, other: Tensor) -> Tensor:
    """As `dot`: there are no complex numbers to conjugate."""
    return _product("vdot", x, other, (1, 1))


def inner(x: Tensor, other: Tensor) -> Tensor:
    """The products of x and other summed over their last dimensions: (..., n) and (***, n) -> (..., ***)."""
    x, other = same_dtype("inner", x, other)
    if not x.array.ndim or not other.array.ndim:
        return x * other
    if x.array.shape[-1] != other.array.shape[-1]:
        raise ShapeError(f"inner: got shapes {x.shape} and {other.shape}; their last sizes must be equal")
    n, before, behind = x.array.shape[-1], x.array.shape[:-1], other.array.shape[:-1]
    rows, columns = reshape(x, prod(before), n), reshape(other, prod(behind), n)
    return reshape(matmul(rows, columns.T), (*before, *behind))


def outer(x: Tensor, vec2: Tensor) -> Tensor:
    """The products of every value of one vector with every value of another: (n,) and (m,) -> (n, m).

    >>> import tensorgrad
    >>> tensorgrad.outer(tensorgrad.tensor([1, 2]), tensorgrad.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    if x.array.ndim != 1 or vec2.array.ndim != 1:
        raise ShapeError(f"outer: got shapes {x.shape} and {vec2.shape}; it takes two vectors")
    return unsqueeze(x, 1) * unsqueeze(vec2, 0)


ger = outer


put_on_tape(matmul=product)  # it also takes vectors, which the rules above may meet
