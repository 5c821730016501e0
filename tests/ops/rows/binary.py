"""Rows: functions of two numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ops.rows.arithmetic import PAIRS
from ops.rows.table import between, positive, reseed, row, signed, strided, tenths

import tensorgrad as tg

reseed(__name__)


def by_number(function: Any) -> Any:
    """A function of two Python numbers, number by number."""

    def apply(x: Any, y: Any) -> Any:
        x, y = np.broadcast_arrays(x, y)
        return np.vectorize(function, otypes=[float])(x, y) if x.size else np.zeros(x.shape)

    return apply


def far_apart(*shape: int) -> np.ndarray:
    """4.1 to 4.9"""
    return np.asarray(4.5 + tenths(*shape) * 0.8)


def step(*shape: int) -> np.ndarray:
    """1.7, of which 4.1 to 4.9 are 2.4 to 2.9"""
    return np.full(shape, 1.7)


for _name, _function, _expected, _left, _right in [
    ("Atan2", tg.atan2, by_number(math.atan2), signed, signed),
    ("Hypot", tg.hypot, lambda x, y: np.sqrt(x * x + y * y), signed, signed),
    ("Logaddexp", tg.logaddexp, lambda x, y: np.log(np.exp(x) + np.exp(y)), signed, signed),
    ("Logaddexp2", tg.logaddexp2, lambda x, y: np.log(2**x + 2**y) / math.log(2), signed, signed),
    ("Fmax", tg.fmax, np.maximum, tenths, between),
    ("Fmin", tg.fmin, np.minimum, tenths, between),
    ("Fmod", tg.fmod, by_number(math.fmod), far_apart, step),
    ("Remainder", tg.remainder, by_number(lambda a, b: a % b), far_apart, step),
    ("Copysign", tg.copysign, by_number(math.copysign), signed, signed),
    ("Xlogy", tg.xlogy, lambda x, y: x * np.log(y), signed, positive),
]:

    def _oracle(torch: Any, x: Any, y: Any, name: str = _name.lower()) -> Any:
        return getattr(torch, name)(x, y)

    for _note, _shape_x, _shape_y in PAIRS:
        row(_name, _note, _function, [_left(*_shape_x), _right(*_shape_y)], _expected, oracle=_oracle)
    row(_name, "strided", _function, [strided(_left(2, 3)), strided(_right(2, 3))], _expected)

row("Fmod", "signs", tg.fmod, [np.array([-4.0, 4.0, -4.0]), np.array([3.0, -3.0, -3.0])], by_number(math.fmod))
row(
    "Remainder",
    "signs",
    tg.remainder,
    [np.array([-4.0, 4.0, -4.0]), np.array([3.0, -3.0, -3.0])],
    by_number(lambda a, b: a % b),
)
row("Remainder", "operator", lambda x: x % 1.7, [far_apart(3)], lambda x: x % 1.7)
row(
    "Remainder",
    "operator-left",
    lambda x: 4.0 % x,
    [np.array([1.5, -1.7])],
    lambda x: by_number(lambda a, b: a % b)(4, x),
)
row("Xlogy", "zero", tg.xlogy, [np.zeros(3), np.array([0.5, 1.0, 2.0])], lambda x, y: 0 * y)
for _note, _function, _expected in [
    ("floor", lambda x, y: x // y, by_number(lambda a, b: a // b)),
    ("trunc", lambda x, y: tg.div(x, y, rounding_mode="floor"), by_number(lambda a, b: math.floor(a / b))),
]:
    row("Steps", _note, _function, [far_apart(2, 3), step(3)], _expected)
row(
    "Heaviside",
    "values",
    tg.heaviside,
    [np.array([-1.0, 0.0, 2.0]), np.array([5.0])],
    lambda x, y: np.array([0.0, 5, 1]),
)
