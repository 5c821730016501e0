"""Rows: sliding windows and their sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import reseed, row, signed

from tensorgrad.primitive import tape

reseed(__name__)

Sizes = tuple[int, ...]


def _counts(shape: Sizes, dims: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    counts = list(shape)
    for dim, size, step, spread in zip(dims, kernel, stride, dilation):
        counts[dim] = len(range(0, shape[dim] - (size - 1) * spread, step))
    return (*counts, *kernel)


def _pairs(shape: Sizes, dims: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """Every place among the windows with the place in x that it looks at."""
    for place in np.ndindex(_counts(shape, dims, kernel, stride, dilation)):
        source = list(place[: len(shape)])
        for dim, tap, step, spread in zip(dims, place[len(shape) :], stride, dilation):
            source[dim] = source[dim] * step + tap * spread
        yield place, tuple(source)


def _windows(x: np.ndarray, *settings: Sizes) -> np.ndarray:
    z = np.zeros(_counts(x.shape, *settings))
    for place, source in _pairs(x.shape, *settings):
        z[place] = x[source]
    return z


def _windows_sum(dz: np.ndarray, shape: Sizes, *settings: Sizes) -> np.ndarray:
    x = np.zeros(shape)
    for place, source in _pairs(shape, *settings):
        x[source] += dz[place]
    return x


CASES = [
    ("overlap", (2, 5), ((1,), (3,), (1,), (1,))),
    ("stride-rest", (6, 2), ((0,), (2,), (3,), (1,))),
    ("dilation", (1, 7), ((1,), (3,), (2,), (2,))),
    ("plane", (2, 4, 3), ((1, 2), (2, 2), (2, 1), (1, 1))),
    ("single", (2, 3), ((1,), (1,), (1,), (1,))),
]
for _note, _shape, _settings in CASES:
    row(
        "Windows",
        _note,
        lambda x, s=_settings: tape.windows(x, *s),
        [signed(*_shape)],
        lambda x, s=_settings: _windows(x, *s),
    )
    _lengths = tuple(_shape[dim] for dim in _settings[0])
    row(
        "WindowsSum",
        _note,
        lambda x, n=_lengths, s=_settings: tape.windows_sum(x, s[0], n, *s[2:]),
        [signed(*_counts(_shape, *_settings))],
        lambda x, n=_shape, s=_settings: _windows_sum(x, n, *s),
    )
