"""Rows: pooling: kernel, stride, padding, then dilation and ceil_mode, or what divides."""

from __future__ import annotations

from typing import Any

import numpy as np
from backend import oracles  # tests/backend/oracles.py
from ops.rows.table import apart, reseed, row, signed, whole

from tensorgrad.primitive import tape

reseed(__name__)

MAX_POOLINGS = [
    ("tiles", (2, 2, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)),
    ("overlap", (1, 2, 5, 4), ((3, 2), (1, 1), (0, 0, 0, 0), (1, 1), False)),
    ("padded", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False)),
    ("ceil", (1, 1, 5, 5), ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), True)),
    ("dilation", (1, 1, 5, 5), ((2, 2), (1, 2), (0, 0, 0, 0), (2, 2), False)),
]


def _max_pool2d(x: np.ndarray, settings: Any) -> np.ndarray:
    return oracles.max_pool2d(x, *settings)[0]


def _taps_to_indices(winners: np.ndarray, settings: Any, width: int) -> np.ndarray:
    """Each winner, a tap's number, as h * W + w in the plane of the input; for windows without padding."""
    kernel, stride, _, dilation = settings[:4]
    indices = np.zeros(winners.shape, np.int64)
    for place in np.ndindex(winners.shape):
        k, l = divmod(int(winners[place]), kernel[1])
        indices[place] = (place[2] * stride[0] + k * dilation[0]) * width + place[3] * stride[1] + l * dilation[1]
    return indices


for _note, _shape, _settings in MAX_POOLINGS:
    row(
        "MaxPool2d",
        _note,
        lambda x, s=_settings: tape.max_pool2d(x, *s),
        [apart(*_shape)],
        lambda x, s=_settings: _max_pool2d(x, s),
        oracle=lambda torch, x, s=_settings: torch.nn.functional.max_pool2d(x, s[0], s[1], s[2][0], s[3], s[4]),
    )
    if _note in ("overlap", "dilation"):
        _size = oracles.output_size(_shape, *_settings)
        _winners = whole(_settings[0][0] * _settings[0][1], *_shape[:2], *_size).astype(np.uint8)
        row(
            "MaxPool2dScatter",
            _note,
            lambda x, w, n=_shape[2:], s=_settings: tape.max_pool2d_scatter(x, w, n, *s[:4]),
            [signed(*_winners.shape), _winners],
            lambda x, w, n=_shape[2:], s=_settings: oracles.max_pool2d_scatter(x, _taps_to_indices(w, s, n[1]), n),
        )
        row(
            "MaxPool2dGather",
            _note,
            lambda x, w, s=_settings: tape.max_pool2d_gather(x, w, *s[:4]),
            [signed(*_shape), _winners],
            lambda x, w, s=_settings: oracles.max_pool2d_gather(x, _taps_to_indices(w, s, x.shape[3])),
        )

AVG_POOLINGS = [
    ("tiles", (1, 2, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), False, True, None)),
    ("overlap", (1, 1, 4, 5), ((2, 3), (1, 2), (0, 0, 0, 0), False, True, None)),
    ("padded", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), False, True, None)),
    ("inside-only", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), False, False, None)),
    ("ceil", (1, 1, 6, 6), ((3, 3), (2, 2), (1, 1, 1, 1), True, True, None)),
    ("divisor", (1, 1, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), False, True, 3)),
]
for _note, _shape, _settings in AVG_POOLINGS:
    _size = oracles.output_size(_shape, *_settings[:3], (1, 1), _settings[3])
    row(
        "AvgPool2d",
        _note,
        lambda x, s=_settings: tape.avg_pool2d(x, *s),
        [signed(*_shape)],
        lambda x, s=_settings: oracles.avg_pool2d(x, *s),
        oracle=lambda torch, x, s=_settings: torch.nn.functional.avg_pool2d(x, s[0], s[1], s[2][0], s[3], s[4], s[5]),
    )
    row(
        "AvgPool2dInputGrad",
        _note,
        lambda dz, n=_shape[2:], s=_settings: tape.avg_pool2d_input_grad(dz, n, *s),
        [signed(*_shape[:2], *_size)],
        lambda dz, n=_shape[2:], s=_settings: oracles.avg_pool2d_input_grad(dz, n, *s),
    )


def _unpool(x: np.ndarray, index: np.ndarray, length: int) -> np.ndarray:
    z = np.zeros((x.shape[0], length))
    for place in np.ndindex(x.shape):
        z[place[0], index[place]] = x[place]
    return z


_places = np.array([[4, 0, 3], [1, 5, 2]])
row(
    "MaxUnpool",
    "rows",
    lambda x, i: tape.max_unpool(x, i, 6),
    [signed(2, 3), _places],
    lambda x, i: _unpool(x, i, 6),
)
