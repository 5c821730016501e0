"""Rows: products."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg
from tensorgrad.primitive import tape

reseed(__name__)

MATRICES = [
    ("matrices", (2, 3), (3, 4)),
    ("row", (3,), (3, 2)),
    ("column", (2, 3), (3,)),
    ("stacks", (2, 2, 3), (2, 3, 2)),
    ("left-stack", (2, 2, 3), (3, 2)),
    ("right-stack", (2, 3), (2, 3, 2)),
    ("broadcast-stacks", (2, 1, 2, 3), (3, 3, 1)),
    ("row-stack", (3,), (2, 3, 2)),
    ("stack-column", (2, 2, 3), (3,)),
    ("empty-inside", (2, 0), (0, 3)),
    ("empty-outside", (0, 2), (2, 3)),
]
for _note, _shape_x, _shape_y in MATRICES:
    row(
        "Matmul",
        _note,
        tg.matmul,
        [signed(*_shape_x), signed(*_shape_y)],
        lambda x, y: _product(x, y),
        oracle=lambda torch, x, y: x @ y,
    )
row("Matmul", "strided", tg.matmul, [strided(signed(2, 3)), strided(signed(3, 2))], lambda x, y: _product(x, y))
row("Matmul", "twice", lambda x: x @ x, [signed(2, 2)], lambda x: _product(x, x))


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sum_j x_ij y_jk by broadcasting, a single vector as one row or one column."""
    left = x[None] if x.ndim == 1 else x
    right = y[:, None] if y.ndim == 1 else y
    z = (left[..., :, :, None] * right[..., None, :, :]).sum(-2)
    z = z[..., 0] if y.ndim == 1 else z
    return z[..., 0] if x.ndim == 1 and y.ndim == 1 else z[..., 0, :] if x.ndim == 1 else z


for _note, _shape in [("rows", (2, 3)), ("vector", (3,)), ("stack", (2, 2, 3)), ("empty", (0, 3))]:
    row(
        "InnerProduct",
        _note,
        tape.inner_product,
        [signed(*_shape), signed(4, 3)],
        lambda x, w: (x[..., None, :] * w).sum(-1),
        oracle=lambda torch, x, w: torch.nn.functional.linear(x, w),
    )
    row(
        "InnerProductBias",
        _note,
        tape.inner_product_bias,
        [signed(*_shape), signed(4, 3), signed(4)],
        lambda x, w, b: (x[..., None, :] * w).sum(-1) + b,
        oracle=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
    )
