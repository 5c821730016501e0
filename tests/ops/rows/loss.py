"""Rows: probabilities."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)


def _logsumexp(x: np.ndarray, dim: int, keepdims: bool) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=dim, keepdims=keepdims))


for _note, _shape, _dim in [
    ("last", (2, 3), -1),
    ("first", (3, 2), 0),
    ("middle", (2, 3, 2), 1),
    ("one", (3, 1), 1),
    ("vector", (3,), 0),
]:
    row(
        "LogSoftmax",
        _note,
        lambda x, d=_dim: tg.log_softmax(x, d),
        [signed(*_shape)],
        lambda x, d=_dim: x - _logsumexp(x, d, True),
        oracle=lambda torch, x, d=_dim: torch.log_softmax(x, d),
    )
    row(
        "Softmax",
        _note,
        lambda x, d=_dim: tg.softmax(x, d),
        [signed(*_shape)],
        lambda x, d=_dim: np.exp(x) / np.exp(x).sum(axis=d, keepdims=True),
        oracle=lambda torch, x, d=_dim: torch.softmax(x, d),
    )
    for _keepdim in (False, True):
        row(
            "Logsumexp",
            f"{_note}-keep" if _keepdim else _note,
            lambda x, d=_dim, k=_keepdim: tg.logsumexp(x, d, k),
            [signed(*_shape)],
            lambda x, d=_dim, k=_keepdim: _logsumexp(x, d, k),
            oracle=lambda torch, x, d=_dim, k=_keepdim: torch.logsumexp(x, d, k),
        )
row(
    "LogSoftmax",
    "strided",
    lambda x: tg.log_softmax(x, 1),
    [strided(signed(2, 3))],
    lambda x: x - _logsumexp(x, 1, True),
)
