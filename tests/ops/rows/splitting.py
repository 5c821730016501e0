"""Rows: taking apart."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)

row("Unbind", "first", tg.unbind, [signed(3, 2)], lambda x: [x[0], x[1], x[2]])
row("Unbind", "last", lambda x: tg.unbind(x, -1), [signed(2, 2)], lambda x: [x[:, 0], x[:, 1]])
row("Unbind", "unused", lambda x: tg.unbind(x)[1], [signed(3, 2)], lambda x: x[1])
row("Unbind", "values", tg.unbind, [signed(2)], lambda x: [x[0], x[1]])
row("Unbind", "iteration", lambda x: tuple(x), [signed(2, 2)], lambda x: [x[0], x[1]])
for _note, _function, _numpy, _shape in [
    ("size", lambda x: x.split(2), lambda x: [x[:2], x[2:4], x[4:]], (5, 2)),
    ("sizes", lambda x: x.split([1, 0, 2], 1), lambda x: [x[:, :1], x[:, 1:1], x[:, 1:]], (2, 3)),
    ("chunk", lambda x: x.chunk(2, -1), lambda x: [x[:, :2], x[:, 2:]], (2, 3)),
    ("tensor_split", lambda x: x.tensor_split(2), lambda x: [x[:2], x[2:]], (3,)),
    ("marks", lambda x: x.tensor_split((1, 2)), lambda x: [x[:1], x[1:2], x[2:]], (4,)),
    ("hsplit", lambda x: x.hsplit(2), lambda x: np.hsplit(x, 2), (2, 4)),
    ("unused", lambda x: x.split(1)[1], lambda x: x[1:2], (3, 2)),
    ("empty", lambda x: x.chunk(2), lambda x: [x, x], (0, 2)),
]:
    row("Split", _note, _function, [signed(*_shape)], _numpy)
row("Split", "strided", lambda x: x.split(1, 1), [strided(signed(2, 2))], lambda x: [x[:, :1], x[:, 1:]])
