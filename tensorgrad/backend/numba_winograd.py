"""Winograd's F(4 x 4, 3 x 3): a 3 x 3 convolution with a stride of 1 with 36 products for 16 outputs instead of 144.

A *tile* is 6 x 6 inputs and the 4 x 4 outputs they give. With the matrices of A. Lavin and S. Gray, "Fast Algorithms for
Convolutional Neural Networks", 2015,

    z = A^T [ (G w G^T) . (B^T x B) ] A        dw = G^T [ (B^T x B) . (A dz A^T) ] G

where . multiplies place by place, once for every pair of channel and feature: for all tiles at once 36 products
of matrices, which numba_tile.py computes. Transformed arrays are (36, tiles, channels); weights (36, panels, C, width).

The points behind the matrices are 0, 1, -1, 2, -2 and infinity; the fractions in G cost about a digit: errors are some
1e-5 of the largest output, ten times those of the direct sum. Channels and features are multiples of LANES.

A kernel of whole convolutions does all three steps for a few rows of tiles at a time, so that they stay in cache; where
weights are so large that reading them again and again would cost more, each step is a kernel over all tiles.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba
from tensorgrad.backend.numba_tile import across, along, frame

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, gather, get, ld, put, st

    WIDTH = LANES * 4  # bytes of a register
    PANEL = 2 * LANES
    SCRATCH = 36 * WIDTH  # bytes for one tile of one register of channels
#: Rows of dw whose products are made one after the other.
BLOCK = 48


@inline
def _bt(source, target, ss, ts):  # type: ignore[no-untyped-def]
    """Six registers -> B^T of them; the strides ss and ts in bytes."""
    four, minus_five, two = bc(np.float32(4)), bc(np.float32(-5)), bc(np.float32(2))
    a, b, c = ld(source), ld(source + ss), ld(source + 2 * ss)
    d, e, f = ld(source + 3 * ss), ld(source + 4 * ss), ld(source + 5 * ss)
    p, q, r, s = e - four * c, d - four * b, e - c, two * (d - b)
    st(target, fma(four, a, fma(minus_five, c, e)))
    st(target + ts, p + q)
    st(target + 2 * ts, p - q)
    st(target + 3 * ts, r + s)
    st(target + 4 * ts, r - s)
    st(target + 5 * ts, fma(four, b, fma(minus_five, d, f)))


@inline
def _at(source, ss):  # type: ignore[no-untyped-def]
    """Six registers -> A^T of them, four."""
    two, four, eight = bc(np.float32(2)), bc(np.float32(4)), bc(np.float32(8))
    b, c, d, e = ld(source + ss), ld(source + 2 * ss), ld(source + 3 * ss), ld(source + 4 * ss)
    p, q, r, s = b + c, b - c, d + e, d - e
    return ld(source) + p + r, fma(two, s, q), fma(four, r, p), fma(eight, s, q) + ld(source + 5 * ss)


@inline
def _a(a, b, c, d, target, ts):  # type: ignore[no-untyped-def]
    """Four registers -> A of them, six."""
    two, four, eight = bc(np.float32(2)), bc(np.float32(4)), bc(np.float32(8))
    p, q, r, s = a + c, b + d, fma(four, c, a), fma(eight, d, two * b)
    st(target, a)
    st(target + ts, p + q)
    st(target + 2 * ts, p - q)
    st(target + 3 * ts, r + s)
    st(target + 4 * ts, r - s)
    st(target + 5 * ts, d)


@inline
def _g(a, b, c, target, ts):  # type: ignore[no-untyped-def]
    """Three registers -> G of them, six."""
    quarter, sixth = bc(np.float32(1 / 4)), bc(np.float32(1 / 6))
    twelfth, of_24 = bc(np.float32(1 / 12)), bc(np.float32(1 / 24))
    p, q, r = a + c, fma(of_24, a, sixth * c), twelfth * b
    zero = bc(np.float32(0))
    st(target, quarter * a)
    st(target + ts, zero - sixth * (p + b))
    st(target + 2 * ts, sixth * (b - p))
    st(target + 3 * ts, q + r)
    st(target + 4 * ts, q - r)
    st(target + 5 * ts, c)


@inline
def _gt(a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    """Six registers -> G^T of them, three."""
    quarter, sixth = bc(np.float32(1 / 4)), bc(np.float32(1 / 6))
    twelfth, of_24 = bc(np.float32(1 / 12)), bc(np.float32(1 / 24))
    p, q, r, s = b + c, c - b, d + e, d - e
    return fma(quarter, a, of_24 * r - sixth * p), fma(sixth, q, twelfth * s), fma(sixth, r - p, f)


@kernel
def weights(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """w (3, 3, C, O) of any strides -> G w G^T. Items: channels."""
    w, wi, wj, wc, wo, channels, features, result = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    )  # fmt: skip
    scratch = arg(a, 8) + thread * SCRATCH
    size = channels * features * 4
    for c in range(start, stop):
        for o in range(0, features, LANES):
            first = o // PANEL * PANEL
            width = min(PANEL, features - first)
            target = result + (first * channels + c * width + o - first) * 4
            source = w + c * wc + o * wo
            for j in range(3):
                if wo == 4:
                    p, q, r = ld(source + j * wj), ld(source + j * wj + wi), ld(source + j * wj + 2 * wi)
                else:
                    p = gather(source + j * wj, wo)
                    q = gather(source + j * wj + wi, wo)
                    r = gather(source + j * wj + 2 * wi, wo)
                _g(p, q, r, scratch + j * WIDTH, 3 * WIDTH)
            for i in range(6):
                row = scratch + i * 3 * WIDTH
                _g(ld(row), ld(row + WIDTH), ld(row + 2 * WIDTH), target + i * 6 * size, size)


@inline
def _inputs(source, tile_rows, tiles_in_row, channels, v, all_tiles, first_tile, scratch):  # type: ignore[no-untyped-def]
    """A frame (4 tile_rows + 2, 4 tiles_in_row + 2, C) -> B^T x B of its tiles, from first_tile on in v (36, all_tiles, C)."""
    line = (4 * tiles_in_row + 2) * channels * 4
    size = all_tiles * channels * 4
    tile = first_tile
    for i in range(tile_rows):
        for j in range(tiles_in_row):
            corner = source + 4 * i * line + 4 * j * channels * 4
            target = v + tile * channels * 4
            for c in range(0, channels * 4, WIDTH):
                for k in range(6):
                    _bt(corner + k * channels * 4 + c, scratch + k * WIDTH, line, 6 * WIDTH)
                for k in range(6):
                    _bt(scratch + k * 6 * WIDTH, target + k * 6 * size + c, WIDTH, size)
            tile += 1


@inline
def _outputs(m, all_tiles, first_tile, tile_rows, tiles_in_row, features, z, zh, zw, rows, columns, bias, scratch):  # type: ignore[no-untyped-def]
    """A^T m A of some tiles, with the bias, into rows x columns points of z; tiles beyond them are cut off."""
    size = all_tiles * features * 4
    tile = first_tile
    for i in range(tile_rows):
        height = min(4, rows - 4 * i)
        for j in range(tiles_in_row):
            width = min(4, columns - 4 * j)
            source = m + tile * features * 4
            corner = z + 4 * i * zh + 4 * j * zw
            for o in range(0, features * 4, WIDTH):
                for k in range(6):
                    p, q, r, s = _at(source + k * size + o, 6 * size)
                    place = scratch + k * WIDTH
                    st(place, p)
                    st(place + 6 * WIDTH, q)
                    st(place + 12 * WIDTH, r)
                    st(place + 18 * WIDTH, s)
                for k in range(height):
                    p, q, r, s = _at(scratch + k * 6 * WIDTH, WIDTH)
                    if bias != 0:
                        b = ld(bias + o)
                        p, q, r, s = p + b, q + b, r + b, s + b
                    place = corner + k * zh + o
                    st(place, p)
                    if width > 1:
                        st(place + zw, q)
                    if width > 2:
                        st(place + 2 * zw, r)
                    if width > 3:
                        st(place + 3 * zw, s)
            tile += 1


@inline
def _cotangents(dz, zh, zw, rows, columns, tile_rows, tiles_in_row, features, d, all_tiles, first_tile, scratch):  # type: ignore[no-untyped-def]
    """4 x 4 tiles of dz, zero beyond its rows and columns -> A dz A^T, from first_tile on in d (36, all_tiles, O)."""
    size = all_tiles * features * 4
    zero = bc(np.float32(0))
    tile = first_tile
    for i in range(tile_rows):
        height = min(4, rows - 4 * i)
        for j in range(tiles_in_row):
            width = min(4, columns - 4 * j)
            corner = dz + 4 * i * zh + 4 * j * zw
            target = d + tile * features * 4
            for o in range(0, features * 4, WIDTH):
                for k in range(4):
                    place = corner + k * zw + o
                    inside = k < width
                    p = ld(place) if inside else zero
                    q = ld(place + zh) if inside and height > 1 else zero
                    r = ld(place + 2 * zh) if inside and height > 2 else zero
                    s = ld(place + 3 * zh) if inside and height > 3 else zero
                    _a(p, q, r, s, scratch + k * WIDTH, 4 * WIDTH)
                for k in range(6):
                    row = scratch + k * 4 * WIDTH
                    _a(
                        ld(row),
                        ld(row + WIDTH),
                        ld(row + 2 * WIDTH),
                        ld(row + 3 * WIDTH),
                        target + k * 6 * size + o,
                        size,
                    )
            tile += 1


@inline
def _products(tables, v, u, m, e, tiles, channels, features, first_panel, last_panel):  # type: ignore[no-untyped-def]
    """m[e] (tiles, O) = v[e] (tiles, C) u[e] (C, O) for some panels."""
    for q in range(first_panel, last_panel):
        o = q * PANEL
        width = min(PANEL, features - o)
        vectors = width // LANES
        across(tables, vectors, tiles, v + e * tiles * channels * 4, u + (e * features + o) * channels * 4,
               m + (e * tiles * features + o) * 4, 1, channels, 0, channels * 4, 0, width * 4, features * 4, 0)  # fmt: skip


@kernel
def whole(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x * w + bias, all steps. Items: (N, rows_at_once rows of tiles)."""
    tables, x, xn, xh, xw, height, width, channels, top, left = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9)
    )  # fmt: skip
    u, bias, z, zn, zh, zw, rows, columns, features, rows_at_once = (
        arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18), arg(a, 19)
    )  # fmt: skip
    scratch = arg(a, 20) + thread * arg(a, 21)
    across_row, down = (columns + 3) // 4, (rows + 3) // 4
    blocks = (down + rows_at_once - 1) // rows_at_once
    framed = scratch + SCRATCH
    v = framed + (4 * rows_at_once + 2) * (4 * across_row + 2) * channels * 4
    m = v + 36 * rows_at_once * across_row * channels * 4
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * rows_at_once
        some = min(rows_at_once, down - first)
        tiles = some * across_row
        frame(
            x + n * xn,
            xh,
            xw,
            4,
            height,
            width,
            channels,
            4 * first - top,
            -left,
            4 * some + 2,
            4 * across_row + 2,
            framed,
        )
        _inputs(framed, some, across_row, channels, v, tiles, 0, scratch)
        for e in range(36):
            _products(tables, v, u, m, e, tiles, channels, features, 0, (features + PANEL - 1) // PANEL)
        _outputs(m, tiles, 0, some, across_row, features, z + n * zn + 4 * first * zh, zh, zw, rows - 4 * first, columns,
                 bias, scratch)  # fmt: skip


@kernel
def inputs(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """B^T x B of all tiles, (36, tiles, C). Items: (N, row of tiles)."""
    x, xn, xh, xw, height, width, channels, top, left = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    v, down, across_row, all_tiles, scratch = (
        arg(a, 9),
        arg(a, 10),
        arg(a, 11),
        arg(a, 12),
        arg(a, 13) + thread * arg(a, 14),
    )
    framed = scratch + SCRATCH
    for item in range(start, stop):
        n, i = item // down, item % down
        frame(x + n * xn, xh, xw, 4, height, width, channels, 4 * i - top, -left, 6, 4 * across_row + 2, framed)
        _inputs(framed, 1, across_row, channels, v, all_tiles, item * across_row, scratch)


@kernel
def products(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """m = v u for all tiles. Items: (36, panels)."""
    tables, v, u, m, tiles, channels, features = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    )  # fmt: skip
    panels = (features + PANEL - 1) // PANEL
    for item in range(start, stop):
        q = item % panels
        _products(tables, v, u, m, item // panels, tiles, channels, features, q, q + 1)


@kernel
def outputs(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = A^T m A + bias of all tiles. Items: (N, row of tiles)."""
    m, bias, z, zn, zh, zw, rows, columns, features, down, across_row, all_tiles = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10),
        arg(a, 11)
    )  # fmt: skip
    scratch = arg(a, 12) + thread * SCRATCH
    for item in range(start, stop):
        n, i = item // down, item % down
        _outputs(m, all_tiles, item * across_row, 1, across_row, features, z + n * zn + 4 * i * zh, zh, zw, rows - 4 * i,
                 columns, bias, scratch)  # fmt: skip


@kernel
def cotangents(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """A dz A^T of all tiles, (36, tiles, O). Items: (N, row of tiles)."""
    d, dz, zn, zh, zw, rows, columns, features, down, across_row, all_tiles = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10)
    )  # fmt: skip
    scratch = arg(a, 11) + thread * SCRATCH
    for item in range(start, stop):
        n, i = item // down, item % down
        _cotangents(dz + n * zn + 4 * i * zh, zh, zw, rows - 4 * i, columns, 1, across_row, features, d, all_tiles,
                    item * across_row, scratch)  # fmt: skip


@inline
def _sums(tables, v, d, s, e, tiles, channels, features, first, last, add):  # type: ignore[no-untyped-def]
    """s[e] (C, O) (+)= v[e]^T d[e] for the channels first .. last."""
    for o in range(0, features, PANEL):
        along(tables, min(PANEL, features - o) // LANES, last - first, v + (e * tiles * channels + first) * 4,
              d + (e * tiles * features + o) * 4, s + ((e * channels + first) * features + o) * 4, 1, tiles, 0,
              channels * 4, 0, features * 4, features * 4, add)  # fmt: skip


@kernel
def sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """s = v^T d over all tiles, (36, C, O). Items: (36, BLOCK channels)."""
    tables, v, d, s, tiles, channels, features, again = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    )  # fmt: skip
    blocks = (channels + BLOCK - 1) // BLOCK
    for item in range(start, stop):
        first = item % blocks * BLOCK
        _sums(tables, v, d, s, item // blocks, tiles, channels, features, first, min(channels, first + BLOCK), again)


@kernel
def whole_sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """s[part] = v^T d over the tiles of this part, all steps. Items: (N, rows_at_once rows of tiles)."""
    tables, x, xn, xh, xw, height, width, channels, top, left = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9)
    )  # fmt: skip
    s, dz, zn, zh, zw, rows, columns, features, rows_at_once = (
        arg(a, 10), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18), arg(a, 19)
    )  # fmt: skip
    scratch = arg(a, 20) + thread * arg(a, 21)
    across_row, down = (columns + 3) // 4, (rows + 3) // 4
    blocks = (down + rows_at_once - 1) // rows_at_once
    framed = scratch + SCRATCH
    v = framed + (4 * rows_at_once + 2) * (4 * across_row + 2) * channels * 4
    d = v + 36 * rows_at_once * across_row * channels * 4
    s += part * 36 * channels * features * 4
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * rows_at_once
        some = min(rows_at_once, down - first)
        tiles = some * across_row
        frame(
            x + n * xn,
            xh,
            xw,
            4,
            height,
            width,
            channels,
            4 * first - top,
            -left,
            4 * some + 2,
            4 * across_row + 2,
            framed,
        )
        _inputs(framed, some, across_row, channels, v, tiles, 0, scratch)
        _cotangents(dz + n * zn + 4 * first * zh, zh, zw, rows - 4 * first, columns, some, across_row, features, d, tiles, 0,
                    scratch)  # fmt: skip
        for e in range(36):
            for c in range(0, channels, BLOCK):
                _sums(
                    tables,
                    v,
                    d,
                    s,
                    e,
                    tiles,
                    channels,
                    features,
                    c,
                    min(channels, c + BLOCK),
                    0 if item == start else 1,
                )


@kernel
def weight_grads(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dw (O, C, 3, 3) = G^T (the sum of all parts of s) G. Items: channels."""
    s, parts, channels, features, dw = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    scratch = arg(a, 5) + thread * SCRATCH
    size = channels * features * 4
    for c in range(start, stop):
        for o in range(0, features, LANES):
            source = s + (c * features + o) * 4
            for number in range(1, parts):
                for e in range(36):
                    place = source + e * size
                    st(place, ld(place) + ld(place + number * 36 * size))
            for j in range(6):
                place = source + j * size
                p, q, r = _gt(ld(place), ld(place + 6 * size), ld(place + 12 * size), ld(place + 18 * size),
                              ld(place + 24 * size), ld(place + 30 * size))  # fmt: skip
                st(scratch + j * WIDTH, p)
                st(scratch + (6 + j) * WIDTH, q)
                st(scratch + (12 + j) * WIDTH, r)
            for i in range(3):
                row = scratch + i * 6 * WIDTH
                p, q, r = _gt(ld(row), ld(row + WIDTH), ld(row + 2 * WIDTH), ld(row + 3 * WIDTH), ld(row + 4 * WIDTH),
                              ld(row + 5 * WIDTH))  # fmt: skip
                st(row, p)
                st(row + WIDTH, q)
                st(row + 2 * WIDTH, r)
            for f in range(LANES):
                line = dw + ((o + f) * channels + c) * 36
                for t in range(9):
                    put(line + t * 4, get(scratch + (t // 3 * 6 + t % 3) * WIDTH + f * 4))
