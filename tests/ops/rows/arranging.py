"""Rows: flipping, rolling, repeating."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)

row("Flip", "first", lambda x: x.flip(0), [signed(3, 2)], lambda x: x[::-1])
row("Flip", "both", lambda x: x.flip(0, -1), [strided(signed(3, 2))], lambda x: x[::-1, ::-1])
row("Flip", "none", lambda x: x.flip(1), [signed(2, 0)], lambda x: x)
row("Flip", "fliplr", tg.fliplr, [signed(2, 3)], np.fliplr)
row("Flip", "flipud", tg.flipud, [signed(2, 3)], np.flipud)
for _k in (1, 2, 3, -1):
    row("Flip", f"rot90-{_k}", lambda x, k=_k: x.rot90(k), [signed(2, 3)], lambda x, k=_k: np.rot90(x, k))
row("BroadcastTo", "repeat", lambda x: x.repeat(2, 1, 3), [signed(2, 2)], lambda x: np.tile(x, (2, 1, 3)))
row("BroadcastTo", "tile", lambda x: x.tile(2), [signed(2, 2)], lambda x: np.tile(x, 2))
row(
    "BroadcastTo",
    "repeat_interleave",
    lambda x: x.repeat_interleave(2, 1),
    [signed(2, 2)],
    lambda x: np.repeat(x, 2, 1),
)
row(
    "Gather",
    "repeat_interleave",
    lambda x, n: x.repeat_interleave(n, 0),
    [signed(3, 2), np.array([2, 0, 1])],
    lambda x, n: np.repeat(x, n, 0),
)
