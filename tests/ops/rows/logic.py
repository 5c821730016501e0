"""Rows: comparisons, truths, bits."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from ops.rows.table import reseed, row

import tensorgrad as tg

reseed(__name__)

for _function, _python in [
    (tg.eq, operator.eq),
    (tg.ne, operator.ne),
    (tg.lt, operator.lt),
    (tg.le, operator.le),
    (tg.gt, operator.gt),
    (tg.ge, operator.ge),
]:
    row(
        "Compare",
        _python.__name__,
        _function,
        [np.array([[1.0, 2.0, 3.0]]), np.array([[2.0], [1.0]])],
        lambda x, y, python=_python: np.array([[python(a, b) for a in (1.0, 2.0, 3.0)] for b in (2.0, 1.0)]),
    )
row("Compare", "number", lambda x: x > 0, [np.array([-1.0, 0.0, 2.0])], lambda x: np.array([False, False, True]))
row("Compare", "empty", tg.eq, [np.zeros((0, 3)), np.zeros(3)], lambda x, y: np.zeros((0, 3), bool))

_TRUE, _MIXED = np.array([True, True, False, False]), np.array([2.0, 0.0, -1.0, 0.0])
for _name, _found in [
    ("logical_and", [True, False, False, False]),
    ("logical_or", [True, True, True, False]),
    ("logical_xor", [False, True, True, False]),
]:
    row("Logical", _name, getattr(tg, _name), [_TRUE, _MIXED], lambda x, y, found=_found: np.array(found))
_ODD = np.array([0.0, -0.0, 1.0, -2.0, np.nan, np.inf, -np.inf])
for _name, _found in [
    ("logical_not", [1, 1, 0, 0, 0, 0, 0]),
    ("isnan", [0, 0, 0, 0, 1, 0, 0]),
    ("isinf", [0, 0, 0, 0, 0, 1, 1]),
    ("isposinf", [0, 0, 0, 0, 0, 1, 0]),
    ("isneginf", [0, 0, 0, 0, 0, 0, 1]),
    ("isfinite", [1, 1, 1, 1, 0, 0, 0]),
    ("isreal", [1, 1, 1, 1, 1, 1, 1]),
    ("signbit", [0, 1, 0, 1, 0, 0, 1]),
]:
    row("Logical", _name, getattr(tg, _name), [_ODD], lambda x, found=_found: np.array(found, bool))

_X, _Y = np.array([12, -7, 5, 0]), np.array([10, 3, 1, 4])
for _name, _python in [
    ("bitwise_and", operator.and_),
    ("bitwise_or", operator.or_),
    ("bitwise_xor", operator.xor),
    ("bitwise_left_shift", operator.lshift),
    ("bitwise_right_shift", operator.rshift),
]:

    def _each(x: Any, y: Any, python: Any = _python) -> Any:
        return np.array([python(a, b) for a, b in zip(x.tolist(), y.tolist())])

    row("WholeNumbers", _name, getattr(tg, _name), [_X, _Y], _each)
    row("WholeNumbers", f"{_name}-operator", _python, [_X, _Y], _each)
row("WholeNumbers", "not", operator.invert, [_X], lambda x: -x - 1)
row("WholeNumbers", "not-of-truths", operator.invert, [_TRUE], lambda x: np.array([False, False, True, True]))
row("WholeNumbers", "number", lambda x: x & 6, [_X], lambda x: np.array([4, 0, 4, 0]))
row("WholeNumbers", "gcd", tg.gcd, [_X, _Y], lambda x, y: np.array([2, 1, 1, 4]))
row("WholeNumbers", "lcm", tg.lcm, [_X, _Y], lambda x, y: np.array([60, 21, 5, 0]))
