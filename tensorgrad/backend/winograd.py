"""3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3) on the kernels of numba_winograd.py, whose text says what that is."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_winograd as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import address, images_of, to_channels_last
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.numba_simd import lanes
from tensorgrad.backend.numba_tile import tables
from tensorgrad.backend.windows import Pair

Array = np.ndarray[Any, Any]

#: Bytes of transformed tiles that are worked on at once, about a second-level cache.
TILES_BYTES = 5 << 18
#: Bytes of transformed weights from which on they are read only once, and of tiles that may be kept for that.
LARGE_WEIGHT, MOST_TILES = 1 << 20, 1 << 25


def _tiles(outputs: Pair) -> Pair:
    """Rows and columns of tiles."""
    return -(-outputs[0] // 4), -(-outputs[1] // 4)


def _by_steps(images: int, channels: int, features: int, outputs: Pair) -> bool:
    """Whether all tiles are transformed, then multiplied, then transformed back."""
    down, across = _tiles(outputs)
    tiles_bytes = 144 * images * down * across * (channels + features)
    return 144 * channels * features > LARGE_WEIGHT and tiles_bytes <= MOST_TILES


def _rows_at_once(channels: int, features: int, outputs: Pair, images: int) -> int:
    """Rows of tiles worked on at once; where weights are large, tiles may be as large."""
    down, across = _tiles(outputs)
    room = max(TILES_BYTES, 144 * channels * features)
    rows = max(1, min(down, room // (144 * across * (channels + features))))
    while images * -(-down // rows) < 2 * team.shares() and rows > 1:
        rows = -(-rows // 2)
    return rows


def _scratch_of_whole(rows: int, across: int, channels: int, features: int) -> Array:
    frame = (4 * rows + 2) * (4 * across + 2) * channels
    tiles = 36 * rows * across * (channels + features)
    return aligned((team.threads(), code.SCRATCH // 4 + frame + tiles), np.float32)


def _tile_scratch() -> Array:
    return aligned((team.threads(), code.SCRATCH // 4), np.float32)


def correlate(x: Array, w: Array, bias: Array | None, padding: Pair, outputs: Pair) -> Array:
    """z[n, o, i, j] = bias[o] + sum x[n, c, i + k - top, j + l - left] w[k, l, c, o]; w (3, 3, C, O) of any strides."""
    if x.strides[1] != 4:
        x = to_channels_last(x)
    images, channels, height, width = x.shape
    features = w.shape[3]
    u = aligned((36, channels * features), np.float32)
    settings = [address(w), *w.strides, channels, features, address(u), address(scratch := _tile_scratch())]
    team.run(code.weights, settings, channels, channels * features >= 1 << 11)
    z = images_of((images, features, *outputs))
    zn, _, zh, zw = z.strides
    xn, _, xh, xw = x.strides
    down, across = _tiles(outputs)
    if not _by_steps(images, channels, features, outputs):
        rows = _rows_at_once(channels, features, outputs, images)
        scratch = _scratch_of_whole(rows, across, channels, features)
        settings = [
            address(tables()), address(x), xn, xh, xw, height, width, channels, *padding,
            address(u), address(bias), address(z), zn, zh, zw, *outputs, features, rows, address(scratch), scratch.strides[0],
        ]  # fmt: skip
        team.run(code.whole, settings, images * -(-down // rows))
        return z
    v = _transformed(x, padding, outputs)
    tiles = images * down * across
    m = aligned((36, tiles, features), np.float32)
    settings = [address(tables()), address(v), address(u), address(m), tiles, channels, features]
    team.run(code.products, settings, 36 * -(-features // (2 * lanes())))
    settings = [
        address(m), address(bias), address(z), zn, zh, zw, *outputs, features, down, across, tiles, address(scratch),
    ]  # fmt: skip
    team.run(code.outputs, settings, images * down)
    return z


def _transformed(x: Array, padding: Pair, outputs: Pair) -> Array:
    """B^T x B of all tiles."""
    images, channels, height, width = x.shape
    down, across = _tiles(outputs)
    tiles = images * down * across
    v = aligned((36, tiles, channels), np.float32)
    scratch = aligned((team.threads(), code.SCRATCH // 4 + 6 * (4 * across + 2) * channels), np.float32)
    xn, _, xh, xw = x.strides
    settings = [
        address(x), xn, xh, xw, height, width, channels, *padding, address(v), down, across, tiles, address(scratch),
        scratch.strides[0],
    ]  # fmt: skip
    team.run(code.inputs, settings, images * down)
    return v


def weight_grad(dz: Array, x: Array, padding: Pair) -> Array:
    """dw (O, C, 3, 3) of <dz, x * w>."""
    x, dz = (array if array.strides[1] == 4 else to_channels_last(array) for array in (x, dz))
    images, channels, height, width = x.shape
    features, outputs = dz.shape[1], dz.shape[2:]
    down, across = _tiles(outputs)
    xn, _, xh, xw = x.strides
    zn, _, zh, zw = dz.strides
    scratch = _tile_scratch()
    if 144 * channels * features > LARGE_WEIGHT:
        parts = 1
        s = aligned((1, 36, channels, features), np.float32)
        of_image = 144 * down * across * (channels + features)
        at_once = max(1, MOST_TILES // of_image)
        for first in range(0, images, at_once):
            some = slice(first, first + at_once)
            count = len(x[some])
            v = _transformed(x[some], padding, outputs)
            tiles = count * down * across
            d = aligned((36, tiles, features), np.float32)
            settings = [
                address(d), address(dz[some]), zn, zh, zw, *outputs, features, down, across, tiles, address(scratch),
            ]  # fmt: skip
            team.run(code.cotangents, settings, count * down)
            settings = [
                address(tables()), address(v), address(d), address(s), tiles, channels, features, int(first > 0),
            ]  # fmt: skip
            team.run(code.sums, settings, 36 * -(-channels // code.BLOCK))
    else:
        rows = _rows_at_once(channels, features, outputs, images)
        items = images * -(-down // rows)
        parts = min(team.shares(), items)
        s = aligned((parts, 36, channels, features), np.float32)
        of_whole = _scratch_of_whole(rows, across, channels, features)
        settings = [
            address(tables()), address(x), xn, xh, xw, height, width, channels, *padding,
            address(s), 0, address(dz), zn, zh, zw, *outputs, features, rows, address(of_whole), of_whole.strides[0],
        ]  # fmt: skip
        team.run(code.whole_sums, settings, items, True, parts)
    dw = aligned((features, channels, 3, 3), np.float32)
    settings = [address(s), parts, channels, features, address(dw), address(scratch)]
    team.run(code.weight_grads, settings, channels, channels * features >= 1 << 11)
    return dw
