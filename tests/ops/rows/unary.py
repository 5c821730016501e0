"""Rows: functions of one number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ops.rows.table import apart, positive, reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)


def inside(*shape: int) -> np.ndarray:
    """Of magnitude 0.2 to 0.8, either sign."""
    return np.asarray(signed(*shape) / 2)


def beyond_one(*shape: int) -> np.ndarray:
    """1.5 to 3."""
    return np.asarray(positive(*shape) + 1)


def by_number(function: Any) -> Any:
    """A function of the module math, number by number."""
    return lambda x: np.vectorize(function, otypes=[float])(x).reshape(x.shape) if x.size else x


ROWS = [
    ("Sqrt", tg.sqrt, np.sqrt, positive),
    ("Exp2", tg.exp2, lambda x: 2**x, signed),
    ("Expm1", tg.expm1, lambda x: np.exp(x) - 1, signed),
    ("Log", tg.log, np.log, positive),
    ("Log1p", tg.log1p, lambda x: np.log(1 + x), positive),
    ("Log2", tg.log2, lambda x: np.log(x) / math.log(2), positive),
    ("Log10", tg.log10, lambda x: np.log(x) / math.log(10), positive),
    ("Reciprocal", tg.reciprocal, lambda x: 1 / x, signed),
    ("Rsqrt", tg.rsqrt, lambda x: x**-0.5, positive),
    ("Sin", tg.sin, np.sin, signed),
    ("Cos", tg.cos, np.cos, signed),
    ("Tan", tg.tan, lambda x: np.sin(x) / np.cos(x), inside),
    ("Asin", tg.asin, by_number(math.asin), inside),
    ("Acos", tg.acos, by_number(math.acos), inside),
    ("Atan", tg.atan, by_number(math.atan), signed),
    ("Sinh", tg.sinh, lambda x: (np.exp(x) - np.exp(-x)) / 2, signed),
    ("Cosh", tg.cosh, lambda x: (np.exp(x) + np.exp(-x)) / 2, signed),
    ("Tanh", tg.tanh, lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1), signed),
    ("Asinh", tg.asinh, lambda x: np.log(x + np.sqrt(x * x + 1)), signed),
    ("Acosh", tg.acosh, lambda x: np.log(x + np.sqrt(x * x - 1)), beyond_one),
    ("Atanh", tg.atanh, lambda x: np.log((1 + x) / (1 - x)) / 2, inside),
    ("Sigmoid", tg.sigmoid, lambda x: 1 / (1 + np.exp(-x)), signed),
    ("Erf", tg.erf, by_number(math.erf), signed),
    ("Erfc", tg.erfc, by_number(math.erfc), signed),
    ("Sinc", tg.sinc, lambda x: np.sin(math.pi * x) / (math.pi * x), signed),
]

for _name, _function, _numpy, _values in ROWS:

    def _oracle(torch: Any, x: Any, name: str = _name.lower()) -> Any:
        return getattr(torch, name)(x)

    for _shape in [(), (3,), (2, 1, 3), (0, 2)]:
        row(_name, "x".join(map(str, _shape)) or "0d", _function, [_values(*_shape)], _numpy, oracle=_oracle)
    row(_name, "strided", _function, [strided(_values(2, 3))], _numpy)

row("Sigmoid", "far", tg.sigmoid, [np.array([-800.0, -30.0, 30.0, 800.0])], lambda x: np.array([0, np.exp(-30), 1, 1]))
row("Erf", "far", tg.erf, [np.array([-30.0, -5.0, -2.0, 2.0, 5.0, 30.0])], by_number(math.erf))
row("Erfc", "far", tg.erfc, [np.array([-30.0, -5.0, -2.0, 2.0, 3.9])], by_number(math.erfc))
row("Erfinv", "back", lambda x: tg.erfinv(tg.erf(x)), [signed(2, 3)], lambda x: x)
row(
    "Erfinv",
    "worked",  # from tables of the normal distribution: erf(0.4769...) = 1/2, erf(1.3859...) = 0.95
    tg.erfinv,
    [np.array([0.5, -0.95, 0.1])],
    lambda x: np.array([0.4769362762044699, -1.3859038243496777, 0.08885599049425769]),
    oracle=lambda torch, x: torch.erfinv(x),
)
row("Expm1", "near-zero", tg.expm1, [np.array([1e-9, -1e-9])], lambda x: x + x * x / 2, step=1e-12, rtol=1e-3)

for _name, _function in [("floor", tg.floor), ("ceil", tg.ceil), ("trunc", tg.trunc), ("sign", tg.sign)]:
    _python = {
        "floor": math.floor,
        "ceil": math.ceil,
        "trunc": math.trunc,
        "sign": lambda v: float(v > 0) - float(v < 0),
    }[_name]
    for _shape in [(), (2, 3), (0, 2)]:
        _note = f"{_name}-{'x'.join(map(str, _shape)) or '0d'}"
        row("Step", _note, _function, [3 * apart(*_shape)], by_number(_python))
    row("Step", f"{_name}-strided", _function, [strided(3 * apart(2, 3))], by_number(_python))
row("Step", "frac", tg.frac, [3 * apart(2, 3)], lambda x: x - by_number(math.trunc)(x))
for _decimals in (0, 2, -1):
    row(
        "ToDecimals",
        str(_decimals),
        lambda x, d=_decimals: tg.round(x, decimals=d),
        [7 * apart(2, 3) + 0.0017],
        lambda x, d=_decimals: np.vectorize(lambda v: round(v, d))(x),
    )
