"""Rows: order."""

from __future__ import annotations

import numpy as np
from ops.rows.table import apart, reseed, row, strided

import tensorgrad as tg

reseed(__name__)

row("Argsort", "up", tg.argsort, [apart(2, 5)], lambda x: np.argsort(x, -1))
row("Argsort", "down", lambda x: tg.argsort(x, 0, True), [apart(4, 2)], lambda x: np.argsort(-x, 0))
row(
    "Argsort",
    "ties",
    lambda x: tg.argsort(x, descending=True, stable=True),
    [np.array([1.0, 2.0, 1.0, 2.0, np.nan])],
    lambda x: np.array([4, 1, 3, 0, 2]),
)
row("Topk", "all", lambda x: x.topk(5).indices, [apart(2, 5)], lambda x: np.argsort(-x, -1))
row("Topk", "few", lambda x: x.topk(2, 0).indices, [apart(20, 2)], lambda x: np.argsort(-x, 0)[:2])
row("Topk", "smallest", lambda x: x.topk(2, 1, False)[1], [strided(apart(2, 20))], lambda x: np.argsort(x, 1)[:, :2])
row(
    "Topk",
    "nan",
    lambda x: x.topk(1).indices,
    [np.array([1.0, 9.0, np.nan, 4.0, 5.0, 6.0, 7.0, 8.0, 3.0])],
    lambda x: np.array([2]),
)
row(
    "TakeAlongAxis",
    "sort",
    lambda x: x.sort(1).values,
    [strided(apart(2, 5))],
    lambda x: np.sort(x, 1),
    oracle=lambda torch, x: x.sort(1)[0],
)
row("TakeAlongAxis", "msort", tg.msort, [apart(4, 2)], lambda x: np.sort(x, 0))
row("TakeAlongAxis", "topk", lambda x: x.topk(2, 0)[0], [apart(4, 2)], lambda x: np.sort(x, 0)[:-3:-1])
row(
    "TakeAlongAxis",
    "smallest",
    lambda x: x.topk(2, largest=False).values,
    [apart(5)],
    lambda x: np.sort(x)[:2],
    oracle=lambda torch, x: x.topk(2, largest=False)[0],
)
row("TakeAlongAxis", "kthvalue", lambda x: x.kthvalue(2, 0)[0], [apart(4, 2)], lambda x: np.sort(x, 0)[1])
row("TakeAlongAxis", "median", lambda x: x.median(1)[0], [apart(2, 4)], lambda x: np.sort(x, 1)[:, 1])
row("TakeAlongAxis", "mode", lambda x: x.mode(0)[0], [apart(3, 2)], lambda x: x.min(0))
row("Median", "odd", tg.median, [apart(3, 3)], np.median, oracle=lambda torch, x: x.median())
row("Median", "even", tg.median, [apart(4)], lambda x: np.sort(x)[1], oracle=lambda torch, x: x.median())
row("Median", "nan", tg.nanmedian, [apart(5)], np.median)
for _q, _interpolation in [(0.3, "linear"), (0.6, "lower"), (0.6, "higher"), (0.5, "midpoint")]:
    row(
        "TakeAlongAxis",
        f"quantile-{_q}-{_interpolation}",
        lambda x, q=_q, i=_interpolation: x.quantile(q, 1, interpolation=i),
        [apart(2, 5)],
        lambda x, q=_q, i=_interpolation: np.quantile(x, q, 1, method=i),
        oracle=lambda torch, x, q=_q, i=_interpolation: x.quantile(q, 1, interpolation=i),
    )
