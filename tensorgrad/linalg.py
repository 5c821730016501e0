"""torch.linalg as far as it needs no decomposition: norms, products, diagonals."""

from tensorgrad.ops.diagonals import diagonal as _diagonal
from tensorgrad.ops.matmul import matmul
from tensorgrad.ops.norm import matrix_norm, vector_norm
from tensorgrad.ops.norm import matrix_or_vector_norm as norm
from tensorgrad.ops.products import multi_dot, vecdot
from tensorgrad.ops.products import vector_cross as cross
from tensorgrad.tensor import Tensor

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_norm",
    "multi_dot",
    "norm",
    "vecdot",
    "vector_norm",
]


def diagonal(x: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """As tensorgrad.diagonal, of the last two dimensions unless others are named; a view."""
    return _diagonal(x, offset, dim1, dim2)
