"""Rows: running sums, products and extremes."""

from __future__ import annotations

import numpy as np
from ops.rows.table import apart, reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)

for _name, _function, _numpy in [
    ("Cumsum", tg.cumsum, lambda x, d: np.cumsum(x, d)),
    ("Cumprod", tg.cumprod, lambda x, d: np.cumprod(x, d)),
    ("Logcumsumexp", tg.logcumsumexp, lambda x, d: np.log(np.cumsum(np.exp(x), d))),
]:
    for _note, _x, _dim in [
        ("vector", signed(7), 0),
        ("first", signed(3, 2), 0),
        ("last", signed(2, 5), -1),
        ("middle", signed(2, 4, 2), 1),
        ("one", signed(2, 1), 1),
        ("strided", strided(signed(4, 3)), 0),
        ("none", signed(2, 0), 1),
    ]:
        row(
            _name,
            _note,
            lambda x, f=_function, d=_dim: f(x, d),
            [_x],
            lambda x, f=_numpy, d=_dim: f(x, d),
            oracle=lambda torch, x, name=_name, d=_dim: getattr(torch, name.lower())(x, d),
        )
for _note, _values in [("zero", [2.0, 0.0, 3.0, -1.5]), ("zeros", [0.0, 2.0, 0.0, 0.0, 5.0])]:
    row(
        "Cumprod",
        _note,
        lambda x: x.cumprod(0),
        [np.array(_values)],
        np.cumprod,
        oracle=lambda torch, x: x.cumprod(0),
    )
row(
    "Logcumsumexp",
    "far",
    lambda x: x.logcumsumexp(0),
    [np.array([-1000.0, 3.0, 1000.0, 1000.5])],
    lambda x: np.array([-1000.0, 3.0, 1000.0, 1000 + np.log(1 + np.exp(0.5))]),
)
for _extreme, _function in [("maximum", tg.cummax), ("minimum", tg.cummin)]:
    row(
        "PlaceOfExtreme",
        _extreme,
        lambda x, f=_function: f(x, 1).indices,
        [apart(2, 6)],
        lambda x, e=_extreme: np.array(
            [[int(np.argmax(r[: i + 1]) if e == "maximum" else np.argmin(r[: i + 1])) for i in range(6)] for r in x]
        ),
    )
row(
    "PlaceOfExtreme",
    "ties",
    lambda x: tg.cummax(x, 0).indices,
    [np.array([1.0, 1.0, 0.0, 2.0, 2.0])],
    lambda x: np.array([0, 1, 1, 3, 4]),
)
row(
    "TakeAlongAxis",
    "cummax",
    lambda x: x.cummax(0).values,
    [apart(5, 2)],
    lambda x: np.maximum.accumulate(x, 0),
    oracle=lambda torch, x: x.cummax(0)[0],
)
row("TakeAlongAxis", "cummin", lambda x: x.cummin(0)[0], [apart(5)], np.minimum.accumulate)
