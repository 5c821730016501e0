"""Rows: slices and masked values by index."""

from __future__ import annotations

import numpy as np
from ops.rows.table import mask, reseed, row, signed

import tensorgrad as tg

reseed(__name__)

PLACES = np.array([2, 0, 2])
ONCE = np.array([2, 0])


def _added(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = x.copy()
    for i, place in enumerate(PLACES):
        z[place] += y[i]
    return z


row(
    "ScatterAdd",
    "index_add",
    lambda x, i, y: x.index_add(0, i, y),
    [signed(3, 2), PLACES, signed(3, 2)],
    lambda x, i, y: _added(x, y),
    oracle=lambda torch, x, i, y: x.index_add(0, i, y),
)
row(
    "ScatterAdd",
    "index_add-alpha",
    lambda x, i, y: x.index_add(0, i, y, alpha=-2),
    [signed(3), PLACES, signed(3)],
    lambda x, i, y: _added(x, -2 * y),
)
row(
    "Scattered",
    "index_copy",
    lambda x, i, y: x.index_copy(1, i, y),
    [signed(2, 3), ONCE, signed(2, 2)],
    lambda x, i, y: np.stack([y[:, 1], x[:, 1], y[:, 0]], 1),
    oracle=lambda torch, x, i, y: x.index_copy(1, i, y),
)
row(
    "Where",
    "index_fill",
    lambda x, i, y: x.index_fill(0, i, y),
    [signed(3, 2), PLACES, signed()],
    lambda x, i, y: np.array([[y, y], x[1], [y, y]]),
    oracle=lambda torch, x, i, y: x.index_fill(0, i, y),
)
row(
    "Scattered",
    "index_put",
    lambda x, i, y: x.index_put((None, i), y),
    [signed(2, 3), ONCE, signed(2)],
    lambda x, i, y: np.array([[y[1], r[1], y[0]] for r in x]),
)
row(
    "ScatterAdd",
    "index_put",
    lambda x, i, y: x.index_put((i,), y, accumulate=True),
    [signed(3), PLACES, signed(3)],
    lambda x, i, y: _added(x, y),
)
row(
    "Where",
    "masked_fill",
    lambda x, m, y: x.masked_fill(m, y),
    [signed(2, 3), mask(3), signed()],
    lambda x, m, y: np.where(m, y, x),
    oracle=lambda torch, x, m, y: x.masked_fill(m, y),
)
row("Gather", "masked_select", tg.masked_select, [signed(2, 3), mask(2, 3)], lambda x, m: x[m])
row(
    "Scattered",
    "masked_scatter",
    tg.masked_scatter,
    [signed(4), np.array([True, False, True, False]), signed(3)],
    lambda x, m, y: np.array([y[0], x[1], y[1], x[3]]),
)
row("Gather", "take", tg.take, [signed(2, 3), np.array([[-1, 0]])], lambda x, i: np.array([[x[1, 2], x[0, 0]]]))
row(
    "Scattered",
    "put",
    tg.put,
    [signed(2, 2), np.array([3, 0]), signed(2)],
    lambda x, i, y: np.array([[y[1], x[0, 1]], [x[1, 0], y[0]]]),
)
row(
    "ScatterAdd",
    "put",
    lambda x, i, y: tg.put(x, i, y, True),
    [signed(3), PLACES, signed(3)],
    lambda x, i, y: _added(x, y),
)
