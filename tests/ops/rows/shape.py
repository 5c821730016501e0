"""Rows: shapes."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg
from tensorgrad.primitive import tape

reseed(__name__)

for _note, _function, _numpy, _shape in [
    ("flat", lambda x: x.reshape(-1), lambda x: x.reshape(-1), (2, 3)),
    ("split", lambda x: x.reshape(3, 2), lambda x: x.reshape(3, 2), (2, 3)),
    ("to-0d", lambda x: x.reshape(()), lambda x: x.reshape(()), (1, 1)),
    ("from-0d", lambda x: x.reshape(1, 1), lambda x: x.reshape(1, 1), ()),
    ("unsqueeze", lambda x: x.unsqueeze(1), lambda x: x[:, None], (2, 3)),
    ("squeeze", lambda x: x.squeeze(), lambda x: x[0, :, 0], (1, 3, 1)),
    ("flatten", lambda x: x.flatten(1), lambda x: x.reshape(2, 6), (2, 3, 2)),
    ("view", lambda x: x.view(6), lambda x: x.reshape(6), (2, 3)),
    ("empty", lambda x: x.reshape(3, 0), lambda x: x.reshape(3, 0), (0, 2)),
]:
    row("Reshape", _note, _function, [signed(*_shape)], _numpy)
row("Reshape", "copied", lambda x: x.reshape(6), [strided(signed(2, 3))], lambda x: x.reshape(6))
row("Transpose", "permute", lambda x: x.permute(2, 0, 1), [signed(2, 3, 4)], lambda x: np.moveaxis(x, 2, 0))
row("Transpose", "transpose", lambda x: x.transpose(0, -1), [signed(2, 3)], lambda x: np.swapaxes(x, 0, -1))
row("Transpose", "T", lambda x: x.T, [signed(2, 3)], lambda x: x.T)
row("Transpose", "0d", lambda x: x.T, [signed()], lambda x: x)
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
row("Unbind", "first", tg.unbind, [signed(3, 2)], lambda x: [x[0], x[1], x[2]])
row("Unbind", "last", lambda x: tg.unbind(x, -1), [signed(2, 2)], lambda x: [x[:, 0], x[:, 1]])
row("Unbind", "unused", lambda x: tg.unbind(x)[1], [signed(3, 2)], lambda x: x[1])
row("Unbind", "values", tg.unbind, [signed(2)], lambda x: [x[0], x[1]])
row("Unbind", "iteration", lambda x: tuple(x), [signed(2, 2)], lambda x: [x[0], x[1]])
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
row("Stack", "first", lambda *xs: tg.stack(xs), [signed(2), signed(2)], lambda x, y: np.array([x, y]))
row("Stack", "last", lambda *xs: tg.stack(xs, -1), [signed(2), signed(2)], lambda x, y: np.array([x, y]).T)
row("Stack", "0d", lambda *xs: tg.stack(xs), [signed(), signed(), signed()], lambda *xs: np.array(xs))
row("Pad", "zeros", lambda x: tape.pad(x, ((1, 0), (0, 2)), 0.0), [signed(2, 3)], lambda x: np.pad(x, ((1, 0), (0, 2))))
row(
    "Pad",
    "value",
    lambda x: tape.pad(x, ((0, 0), (1, 1)), -2.0),
    [signed(2, 1)],
    lambda x: np.pad(x, ((0, 0), (1, 1)), constant_values=-2.0),
)
