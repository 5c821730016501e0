"""Rows: probabilities."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg
from tensorgrad.ops.loss import CrossEntropy

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


def _cross_entropy(x: np.ndarray, target: np.ndarray, ignored: int, reduction: str) -> np.ndarray:
    counted = np.flatnonzero(target != ignored)
    losses = np.zeros(len(x))
    for n in counted:
        losses[n] = np.log(np.exp(x[n]).sum()) - x[n, target[n]]
    return np.asarray({"none": losses, "sum": losses.sum(), "mean": losses.sum() / len(counted)}[reduction])


for _note, _target, _ignored in [
    ("all", [2, 0, 1, 2], -100),
    ("some", [1, -1, 2, -1], -1),
    ("one-class", [0, 0], -100),
]:
    for _reduction in ("none", "sum", "mean"):
        row(
            "CrossEntropy",
            f"{_note}-{_reduction}",
            lambda x, t, i=_ignored, r=_reduction: CrossEntropy(i, r)(x, t),
            [signed(len(_target), 1 if _note == "one-class" else 3), np.array(_target)],
            lambda x, t, i=_ignored, r=_reduction: _cross_entropy(x, t, i, r),
            oracle=lambda torch, x, t, i=_ignored, r=_reduction: torch.nn.functional.cross_entropy(
                x, t, ignore_index=i, reduction=r
            ),
        )
row(
    "CrossEntropy",
    "strided",
    lambda x, t: CrossEntropy(-100, "none")(x, t),
    [strided(signed(2, 3)), np.array([2, 1])],
    lambda x, t: _cross_entropy(x, t, -100, "none"),
)
row(
    "CrossEntropy",
    "empty",
    lambda x, t: CrossEntropy(-100, "sum")(x, t),
    [signed(0, 3), np.zeros(0, np.int64)],
    lambda x, t: np.zeros(()),
)
