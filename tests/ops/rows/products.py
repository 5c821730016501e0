"""Rows: products with something added, of several matrices, and by Einstein's summation."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed

import tensorgrad as tg

reseed(__name__)

for _name, _shapes, _numpy in [
    ("addmm", [(2, 4), (2, 3), (3, 4)], lambda x, a, b: a @ b),
    ("addmv", [(2,), (2, 3), (3,)], lambda x, a, b: a @ b),
    ("baddbmm", [(1, 4), (2, 2, 3), (2, 3, 4)], lambda x, a, b: a @ b),
    ("addbmm", [(2, 4), (2, 2, 3), (2, 3, 4)], lambda x, a, b: (a @ b).sum(0)),
]:
    row(
        "Matmul",
        _name,
        lambda x, a, b, name=_name: getattr(tg, name)(x, a, b, beta=0.5, alpha=2),
        [signed(*shape) for shape in _shapes],
        lambda x, a, b, f=_numpy: 0.5 * x + 2 * f(x, a, b),
        oracle=lambda torch, x, a, b, name=_name: getattr(torch, name)(x, a, b, beta=0.5, alpha=2),
    )
row("Dot", "dot", tg.dot, [signed(4), signed(4)], np.dot, oracle=lambda torch, x, y: torch.dot(x, y))
row("Dot", "at", lambda x, y: x @ y[::2], [signed(3), signed(6)], lambda x, y: x @ y[::2])
row("Dot", "none", tg.dot, [signed(0), signed(0)], np.dot)
row("Multiply", "addr", tg.addr, [signed(2, 3), signed(2), signed(3)], lambda x, a, b: x + np.outer(a, b))
row("Multiply", "kron", tg.kron, [signed(2, 2), signed(3)], np.kron)
row("Multiply", "vecdot", tg.linalg.vecdot, [signed(2, 3), signed(3)], lambda x, y: (x * y).sum(-1))
row(
    "Matmul",
    "multi_dot",
    lambda *xs: tg.linalg.multi_dot(xs),
    [signed(2), signed(2, 3), signed(3, 1), signed(1, 4)],
    lambda a, b, c, d: a @ b @ c @ d,
)
row("Matmul", "tensordot", lambda x, y: tg.tensordot(x, y, 2), [signed(2, 3, 4), signed(3, 4, 2)], np.tensordot)
row(
    "Matmul",
    "tensordot-lists",
    lambda x, y: tg.tensordot(x, y, ([0, 2], [1, 0])),
    [signed(2, 3, 4), signed(4, 2)],
    lambda x, y: np.tensordot(x, y, ([0, 2], [1, 0])),
)
for _primitive, _equation, _shapes in [
    ("Matmul", "ij,jk", [(2, 3), (3, 2)]),
    ("Matmul", "bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
    ("Matmul", "...i,...i->...", [(2, 3), (2, 3)]),
    ("Transpose", "...ij,kj->...ik", [(2, 2, 3), (2, 3)]),
    ("Diagonal", "ii->i", [(3, 3)]),
    ("Diagonal", "iij->j", [(2, 2, 3)]),
    ("Transpose", "ij->ji", [(2, 3)]),
    ("Transpose", "i,j,k->kji", [(2,), (3,), (2,)]),
    ("Matmul", "ij,jk,kl->il", [(2, 3), (3, 2), (2, 4)]),
    ("Matmul", "i,i", [(3,), (3,)]),
    ("Multiply", "bi,bi->bi", [(2, 3), (2, 3)]),
]:
    row(
        _primitive,
        f"einsum {_equation}",
        lambda *xs, e=_equation: tg.einsum(e, *xs),
        [signed(*shape) for shape in _shapes],
        lambda *xs, e=_equation: np.einsum(e, *xs),
        oracle=lambda torch, *xs, e=_equation: torch.einsum(e, *xs),
    )
row(
    "Matmul",
    "einsum lists",
    lambda x, y: tg.einsum(x, [0, 1], y, [1, ...], [..., 0]),
    [signed(2, 3), signed(3, 2)],
    lambda x, y: (x @ y).T,
)
