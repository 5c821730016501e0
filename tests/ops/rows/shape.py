"""Rows: shapes."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

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
row("Pad", "zeros", lambda x: tape.pad(x, ((1, 0), (0, 2)), 0.0), [signed(2, 3)], lambda x: np.pad(x, ((1, 0), (0, 2))))
row(
    "Pad",
    "value",
    lambda x: tape.pad(x, ((0, 0), (1, 1)), -2.0),
    [signed(2, 1)],
    lambda x: np.pad(x, ((0, 0), (1, 1)), constant_values=-2.0),
)
