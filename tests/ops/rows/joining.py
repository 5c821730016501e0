"""Rows: joining and taking apart."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed

import tensorgrad as tg

reseed(__name__)

row("Concatenate", "rows", lambda *xs: tg.cat(xs), [signed(1, 2), signed(2, 2)], lambda *xs: np.concatenate(xs))
row(
    "Concatenate",
    "columns",
    lambda *xs: tg.cat(xs, 1),
    [signed(2, 1), signed(2, 0), signed(2, 2)],
    lambda *xs: np.hstack(xs),
)
row("Concatenate", "one", lambda x: tg.cat([x]), [signed(3)], lambda x: x)
row("Concatenate", "twice", lambda x: tg.cat([x, x]), [signed(3)], lambda x: np.concatenate([x, x]))
row("Concatenate", "hstack", lambda *xs: tg.hstack(xs), [signed(2), signed()], lambda x, y: np.hstack([x, y]))
row("Concatenate", "vstack", lambda *xs: tg.vstack(xs), [signed(2), signed(1, 2)], lambda x, y: np.vstack([x, y]))
row("Concatenate", "dstack", lambda *xs: tg.dstack(xs), [signed(2), signed(1, 2)], lambda x, y: np.dstack([x, y]))
row(
    "Concatenate",
    "column_stack",
    lambda *xs: tg.column_stack(xs),
    [signed(2), signed(2, 2)],
    lambda x, y: np.column_stack([x, y]),
)
row("Concatenate", "roll", lambda x: x.roll((1, -1), (0, 1)), [signed(2, 3)], lambda x: np.roll(x, (1, -1), (0, 1)))
row("Concatenate", "roll-flat", lambda x: x.roll(4), [signed(2, 3)], lambda x: np.roll(x, 4))
row(
    "Concatenate",
    "cross",
    lambda x, y: tg.cross(x, y),
    [signed(2, 3), signed(2, 3)],
    np.cross,
    oracle=lambda torch, x, y: torch.cross(x, y, dim=1),
)
row("Stack", "first", lambda *xs: tg.stack(xs), [signed(2), signed(2)], lambda x, y: np.array([x, y]))
row("Stack", "last", lambda *xs: tg.stack(xs, -1), [signed(2), signed(2)], lambda x, y: np.array([x, y]).T)
row("Stack", "0d", lambda *xs: tg.stack(xs), [signed(), signed(), signed()], lambda *xs: np.array(xs))
row(
    "Stack",
    "cartesian_prod",
    tg.cartesian_prod,
    [signed(2), signed(3)],
    lambda x, y: np.array([[a, b] for a in x for b in y]),
    oracle=lambda torch, x, y: torch.cartesian_prod(x, y),
)
