"""Rows: broadcasting."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed

import tensorgrad as tg

reseed(__name__)

for _note, _from, _to in [
    ("lead", (3,), (2, 3)),
    ("ones", (2, 1), (2, 3)),
    ("0d", (), (2, 2)),
    ("none", (1, 3), (0, 3)),
]:
    row(
        "BroadcastTo",
        _note,
        lambda x, to=_to: tg.broadcast_to(x, to),
        [signed(*_from)],
        lambda x, to=_to: x + np.zeros(to),
        oracle=lambda torch, x, to=_to: torch.broadcast_to(x, to),
    )
row("BroadcastTo", "expand", lambda x: x.expand(2, -1), [signed(1, 3)], lambda x: np.concatenate([x, x]))
