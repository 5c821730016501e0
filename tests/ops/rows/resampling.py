"""Rows: resampling along a dimension by a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import apart, reseed, row, signed

from tensorgrad.backend.resampling import Table
from tensorgrad.ops.resampling import adaptive_windows, mirrored, repeated, wrapped
from tensorgrad.primitive import tape

reseed(__name__)


def _matrix(table: Table) -> np.ndarray:
    """The table as a matrix (outputs, inputs)."""
    matrix = np.zeros((table.index.shape[1], table.inputs))
    for (k, o), i in np.ndenumerate(table.index):
        matrix[o, i] += 1.0 if table.weight is None else table.weight[k, o]
    return matrix


def _resample(x: np.ndarray, dim: int, table: Table) -> np.ndarray:
    return np.moveaxis(np.tensordot(_matrix(table), x, (1, dim)), 0, dim)


def _argmax(x: np.ndarray, dim: int, table: Table) -> Any:
    reached = np.moveaxis(x, dim, -1)[..., None, :]
    winners = np.where(_matrix(table) != 0, reached, -np.inf).argmax(-1)
    return np.moveaxis(winners, -1, dim)


TABLES = [
    ("windows", (2, 5), 1, adaptive_windows(5, 3)),
    ("windows-wider", (3, 2, 2), 0, adaptive_windows(3, 7)),
    ("windows-even", (2, 6, 2), 1, adaptive_windows(6, 3)),
    ("reflect", (2, 4), 1, mirrored(4, 3, 2)),
    ("reflect-crop", (4, 2), 0, mirrored(4, -1, 2)),
    ("replicate", (2, 3), 1, repeated(3, 4, 1)),
    ("circular", (3, 3, 2), 1, wrapped(3, 2, 3)),
    ("some-unused", (2, 4), 1, Table(np.array([[0, 0, 3], [1, 0, 3]]), np.array([[0.5, 1, 2], [-1, 0, 0.5]]), 4)),
]
for _note, _shape, _dim, _table in TABLES:
    row(
        "Resample",
        _note,
        lambda x, d=_dim, t=_table: tape.resample(x, d, t),
        [signed(*_shape)],
        lambda x, d=_dim, t=_table: _resample(x, d, t),
    )
    row(
        "ResampleArgmax",
        _note,
        lambda x, d=_dim, t=_table: tape.resample_argmax(x, d, t),
        [apart(*_shape)],
        lambda x, d=_dim, t=_table: _argmax(x, d, t),
    )
