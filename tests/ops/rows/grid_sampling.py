"""Rows: looking up at the places of a grid, beside a loop over places, axes and pixels."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from ops.rows.table import channels_last, reseed, row, signed, strided, whole

from tensorgrad.primitive import tape

reseed(__name__)


def _places(lengths: tuple[int, ...], *outputs: int) -> np.ndarray:
    """A grid for images of these lengths, some places outside, none near a pixel, a mirror or half way between two pixels."""
    columns = []
    for n in reversed(lengths):
        pixel = whole(n + 4, *outputs) - 2 + np.where(whole(2, *outputs) > 0, 0.3, -0.2)
        columns.append((2 * pixel + 1) / n - 1)
    return np.stack(columns, axis=-1)


def _pixel(place: float, n: int, padding: str, align: bool) -> float:
    at = (place + 1) * (n - 1) / 2 if align else ((place + 1) * n - 1) / 2
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
        while high > low and not low <= at <= high:
            at = 2 * low - at if at < low else 2 * high - at
    return at if padding == "zeros" else min(max(at, 0.0), n - 1.0)


def _looked_up(x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align: bool) -> np.ndarray:
    lengths = x.shape[2:]
    z = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    for where in np.ndindex(*grid.shape[:-1]):
        places = [_pixel(place, n, padding, align) for place, n in zip(grid[where][::-1], lengths)]
        if mode == "nearest":
            corners = [(tuple(int(np.round(at)) for at in places), 1.0)]
        else:
            corners = []
            for steps in product((0, 1), repeat=len(lengths)):
                corner = tuple(int(np.floor(at)) + step for at, step in zip(places, steps))
                corners.append((corner, np.prod([1 - abs(at - i) for at, i in zip(places, corner)])))
        for corner, weight in corners:
            if all(0 <= i < n for i, n in zip(corner, lengths)):
                z[(where[0], slice(None), *where[1:])] += weight * x[(where[0], slice(None), *corner)]
    return z


IMAGE, VOLUME = signed(2, 2, 3, 4), signed(1, 2, 3, 2, 4)
CASES: list[tuple[str, np.ndarray, np.ndarray, tuple[Any, ...]]] = [
    *(
        (f"{mode}-{padding}-{align}", IMAGE, _places((3, 4), 2, 2, 3), (mode, padding, align))
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for align in (False, True)
    ),
    ("volume", VOLUME, _places((3, 2, 4), 1, 2, 1, 2), ("bilinear", "reflection", False)),
    ("volume-nearest", VOLUME, _places((3, 2, 4), 1, 2, 1, 2), ("nearest", "zeros", False)),
    ("one-pixel", signed(1, 1, 1, 3), _places((1, 3), 1, 1, 4), ("bilinear", "reflection", True)),
    ("strided", strided(IMAGE), strided(_places((3, 4), 2, 1, 3)), ("bilinear", "zeros", False)),
    ("channels-last", channels_last(IMAGE), _places((3, 4), 2, 1, 3), ("bilinear", "border", False)),
]
for _note, _x, _grid, _settings in CASES:
    row(
        "GridSample",
        _note,
        lambda x, grid, s=_settings: tape.grid_sample(x, grid, *s),
        [_x, _grid],
        lambda x, grid, s=_settings: _looked_up(x, grid, *s),
        oracle=lambda torch, x, grid, s=_settings: torch.nn.functional.grid_sample(x, grid, *s),
    )
