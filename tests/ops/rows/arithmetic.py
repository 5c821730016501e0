"""Rows: arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import between, positive, reseed, row, signed, strided, tenths

import tensorgrad as tg
from tensorgrad.ops.arithmetic import power

reseed(__name__)

PAIRS = [
    ("same", (2, 3), (2, 3)),
    ("left-broadcast", (3,), (2, 3)),
    ("right-broadcast", (2, 3), (1,)),
    ("both-broadcast", (2, 1), (1, 3)),
    ("left-0d", (), (2, 2)),
    ("right-0d", (2, 2), ()),
    ("0d", (), ()),
    ("ones", (1, 1), (1,)),
    ("empty", (0, 3), (3,)),
]

for _name, _function, _numpy, _left, _right in [
    ("Add", tg.add, np.add, signed, signed),
    ("Subtract", tg.subtract, np.subtract, signed, signed),
    ("Multiply", tg.multiply, np.multiply, signed, signed),
    ("Divide", tg.divide, np.divide, signed, signed),
    ("Power", tg.power, np.power, positive, signed),
    ("Maximum", tg.maximum, np.maximum, tenths, between),
    ("Minimum", tg.minimum, np.minimum, tenths, between),
]:
    _torch = {"Power": "pow"}.get(_name, _name.lower())

    def _oracle(torch: Any, x: Any, y: Any, name: str = _torch) -> Any:
        return getattr(torch, name)(x, y)

    for _note, _shape_x, _shape_y in PAIRS:
        row(_name, _note, _function, [_left(*_shape_x), _right(*_shape_y)], _numpy, oracle=_oracle)
    row(_name, "strided", _function, [strided(_left(2, 3)), strided(_right(2, 3))], _numpy, oracle=_oracle)

row("Add", "number", lambda x: x + 2, [signed(3)], lambda x: x + 2)
row("Add", "number-left", lambda x: 2 + x, [signed(3)], lambda x: x + 2)
row("Add", "alpha", lambda x, y: tg.add(x, y, alpha=3), [signed(3), signed(3)], lambda x, y: x + 3 * y)
row("Add", "twice", lambda x: x + x, [signed(3)], lambda x: 2 * x)
row("Subtract", "number", lambda x: x - 2, [signed(3)], lambda x: x - 2)
row("Subtract", "number-left", lambda x: 2 - x, [signed(3)], lambda x: 2 - x)
row("Subtract", "twice", lambda x: x - x, [signed(3)], lambda x: 0 * x)
row("Multiply", "number", lambda x: x * 2.5, [signed(3)], lambda x: x * 2.5)
row("Multiply", "twice", lambda x: x * x, [signed(2, 2)], np.square)
row("Multiply", "square", tg.square, [signed(2, 2)], np.square)
row("Divide", "number", lambda x: x / 4, [signed(3)], lambda x: x / 4)
row("Divide", "number-left", lambda x: 4 / x, [signed(3)], lambda x: 4 / x)
row("Divide", "twice", lambda x: x / x, [signed(3)], lambda x: x / x)
row("Power", "square", lambda x: x**2, [signed(2, 3)], np.square, oracle=lambda torch, x: x**2)
row("Power", "cube", lambda x: x**3, [signed(3)], lambda x: x * x * x, oracle=lambda torch, x: x**3)
row("Power", "one", lambda x: x**1, [signed(3)], lambda x: x)
row("Power", "zero", lambda x: x**0, [signed(3)], np.ones_like, oracle=lambda torch, x: x**0)
row("Power", "half", lambda x: x**0.5, [positive(3)], np.sqrt)
row("Power", "minus-two", lambda x: x**-2, [signed(3)], lambda x: 1 / (x * x))
row("Power", "number-left", lambda x: 2**x, [signed(3)], lambda x: np.exp(x * np.log(2)), oracle=lambda torch, x: 2**x)
row("Power", "twice", lambda x: power(x, x), [positive(3)], lambda x: np.exp(x * np.log(x)))
row("Power", "whole-exponent", power, [signed(3), np.array([2, 3, 1])], np.power)
