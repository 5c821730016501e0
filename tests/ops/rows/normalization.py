"""Rows: normalisation."""

from __future__ import annotations

import numpy as np
from backend import oracles  # tests/backend/oracles.py
from ops.rows.table import channels_last, reseed, row, signed, strided

from tensorgrad.primitive import tape

reseed(__name__)

EPS = 1e-3
for _note, _shape in [("images", (3, 2, 2, 2)), ("vectors", (4, 3)), ("sequences", (2, 2, 3))]:
    row(
        "BatchNorm",
        _note,
        lambda x, w, b: tape.batch_norm(x, w, b, EPS),
        [signed(*_shape), signed(_shape[1]), signed(_shape[1])],
        lambda x, w, b: oracles.batch_norm(x, w, b, EPS)[0],
        oracle=lambda torch, x, w, b: torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, EPS),
    )
row(
    "BatchNorm",
    "plain",
    lambda x: tape.batch_norm(x, None, None, EPS),
    [signed(3, 2, 2)],
    lambda x: oracles.batch_norm(x, None, None, EPS)[0],
    oracle=lambda torch, x: torch.nn.functional.batch_norm(x, None, None, None, None, True, 0.1, EPS),
)
row(
    "BatchNorm",
    "channels-last",
    lambda x, w, b: tape.batch_norm(x, w, b, EPS),
    [channels_last(signed(2, 3, 2, 2)), signed(3), signed(3)],
    lambda x, w, b: oracles.batch_norm(x, w, b, EPS)[0],
)
for _note, _x in [
    ("images", signed(3, 2, 2, 2)),
    ("vectors", signed(4, 2)),
    ("channels-last", channels_last(signed(2, 2, 2, 2))),
]:
    row(
        "BatchNormRelu",
        _note,
        lambda x, w, b: tape.batch_norm_relu(x, w, b, EPS),
        [_x, signed(2), signed(2)],
        lambda x, w, b: np.maximum(oracles.batch_norm(x, w, b, EPS)[0], 0),
        oracle=lambda torch, x, w, b: torch.relu(torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, EPS)),
    )
for _note, _shape in [("images", (3, 2, 2, 2)), ("vectors", (4, 3))]:
    row(
        "Normalize",
        _note,
        lambda x, m, s, w, b: tape.normalize(x, m, s, w, b),
        [signed(*_shape), *(signed(_shape[1]) for _ in range(4))],
        lambda x, m, s, w, b: ((x.swapaxes(1, -1) - m) * s * w + b).swapaxes(1, -1),
    )
row(
    "Normalize",
    "plain",
    lambda x, m, s: tape.normalize(x, m, s, None, None),
    [channels_last(signed(2, 3, 2, 2)), signed(3), signed(3)],
    lambda x, m, s: ((x.swapaxes(1, -1) - m) * s).swapaxes(1, -1),
)


def _layer_norm(x, w=1.0, b=0.0, count=1):
    last = tuple(range(x.ndim - count, x.ndim))
    return (x - x.mean(axis=last, keepdims=True)) / np.sqrt(x.var(axis=last, keepdims=True) + EPS) * w + b


for _note, _x, _count in [
    ("last", signed(3, 4), 1),
    ("two", signed(2, 3, 2), 2),
    ("all", signed(2, 3), 2),
    ("strided", strided(signed(2, 3)), 1),
]:
    row(
        "LayerNorm",
        _note,
        lambda x, w, b, c=_count: tape.layer_norm(x, w, b, c, EPS),
        [_x, signed(*_x.shape[-_count:]), signed(*_x.shape[-_count:])],
        lambda x, w, b, c=_count: _layer_norm(x, w, b, c),
        oracle=lambda torch, x, w, b: torch.nn.functional.layer_norm(x, w.shape, w, b, EPS),
    )
row("LayerNorm", "no-weight", lambda x: tape.layer_norm(x, None, None, 1, EPS), [signed(3, 4)], _layer_norm)


def _group_norm(x, w=None, b=None, groups=2):
    lines = x.reshape(len(x), groups, -1)
    z = (lines - lines.mean(axis=2, keepdims=True)) / np.sqrt(lines.var(axis=2, keepdims=True) + EPS)
    z = z.reshape(x.shape).swapaxes(1, -1)
    return (z if w is None else z * w + b).swapaxes(1, -1)


for _note, _x, _count in [
    ("images", signed(2, 4, 2, 2), 2),
    ("channels-last", channels_last(signed(2, 4, 2, 1)), 2),
    ("instances", signed(2, 2, 3), 2),
    ("vectors", signed(2, 4), 1),
]:
    row(
        "GroupNorm",
        _note,
        lambda x, w, b, g=_count: tape.group_norm(x, w, b, g, EPS),
        [_x, signed(_x.shape[1]), signed(_x.shape[1])],
        lambda x, w, b, g=_count: _group_norm(x, w, b, g),
        oracle=lambda torch, x, w, b, g=_count: torch.nn.functional.group_norm(x, g, w, b, EPS),
    )
row("GroupNorm", "no-weight", lambda x: tape.group_norm(x, None, None, 2, EPS), [signed(2, 4, 2)], _group_norm)


def _rms_norm(x, w=1.0, count=1):
    last = tuple(range(x.ndim - count, x.ndim))
    return x / np.sqrt((x * x).mean(axis=last, keepdims=True) + EPS) * w


for _note, _x, _count in [
    ("last", signed(3, 4), 1),
    ("two", signed(2, 3, 2), 2),
    ("all", signed(2, 3), 2),
    ("strided", strided(signed(2, 3)), 1),
]:
    row(
        "RmsNorm",
        _note,
        lambda x, w, c=_count: tape.rms_norm(x, w, c, EPS),
        [_x, signed(*_x.shape[-_count:])],
        lambda x, w, c=_count: _rms_norm(x, w, c),
        oracle=lambda torch, x, w: torch.nn.functional.rms_norm(x, w.shape, w, EPS),
    )
row("RmsNorm", "no-weight", lambda x: tape.rms_norm(x, None, 1, EPS), [signed(3, 4)], _rms_norm)
