"""Winograd's F(4 x 4, 3 x 3): a 3 x 3 convolution with a stride of 1 with 36 products for 16 outputs instead of 144.

A *tile* is 6 x 6 inputs and the 4 x 4 outputs they give. With the matrices of A. Lavin and S. Gray, "Fast Algorithms for
Convolutional Neural Networks", 2015,

    z = A^T [ (G w G^T) . (B^T x B) ] A        dw = G^T [ (B^T x B) . (A dz A^T) ] G

where . multiplies place by place, once for every pair of channel and feature: for all tiles at once 36 products
of matrices, which numba_tile.py computes; the way there and back is numba_winograd_tiles.py. Transformed arrays are
(36, tiles, channels); weights (36, panels, C, width).

The points behind the matrices are 0, 1, -1, 2, -2 and infinity; the fractions in G cost about a digit: errors are some
1e-5 of the largest output, ten times those of the direct sum. Channels and features are multiples of LANES.

A kernel of whole convolutions does all three steps for a few rows of tiles at a time, so that they stay in cache; where
weights are so large that reading them again and again would cost more, each step is a kernel over all tiles.
"""

from __future__ import annotations

from tensorgrad.backend.numba_simd import inline, kernel, numba
from tensorgrad.backend.numba_tile import across, along, frame
from tensorgrad.backend.numba_winograd_tiles import cotangents_of, g_of, gt_of, inputs_of, outputs_of

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, gather, get, ld, put, st

    WIDTH = LANES * 4  # bytes of a register
    PANEL = 2 * LANES
    SCRATCH = 36 * WIDTH  # bytes for one tile of one register of channels
#: Rows of dw whose products are made one after the other.
BLOCK = 48


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
                g_of(p, q, r, scratch + j * WIDTH, 3 * WIDTH)
            for i in range(6):
                row = scratch + i * 3 * WIDTH
                g_of(ld(row), ld(row + WIDTH), ld(row + 2 * WIDTH), target + i * 6 * size, size)


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
        frame(x + n * xn, xh, xw, 4, height, width, channels, 4 * first - top, -left, 4 * some + 2, 4 * across_row + 2,
              framed)  # fmt: skip
        inputs_of(framed, some, across_row, channels, v, tiles, 0, scratch)
        for e in range(36):
            _products(tables, v, u, m, e, tiles, channels, features, 0, (features + PANEL - 1) // PANEL)
        outputs_of(m, tiles, 0, some, across_row, features, z + n * zn + 4 * first * zh, zh, zw, rows - 4 * first, columns,
                 bias, scratch)  # fmt: skip


@kernel
def inputs(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """B^T x B of all tiles, (36, tiles, C). Items: (N, row of tiles)."""
    x, xn, xh, xw, height, width, channels, top, left = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    v, down, across_row, all_tiles = arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12)
    scratch = arg(a, 13) + thread * arg(a, 14)
    framed = scratch + SCRATCH
    for item in range(start, stop):
        n, i = item // down, item % down
        frame(x + n * xn, xh, xw, 4, height, width, channels, 4 * i - top, -left, 6, 4 * across_row + 2, framed)
        inputs_of(framed, 1, across_row, channels, v, all_tiles, item * across_row, scratch)


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
        outputs_of(m, all_tiles, item * across_row, 1, across_row, features, z + n * zn + 4 * i * zh, zh, zw, rows - 4 * i,
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
        cotangents_of(dz + n * zn + 4 * i * zh, zh, zw, rows - 4 * i, columns, 1, across_row, features, d, all_tiles,
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
        frame(x + n * xn, xh, xw, 4, height, width, channels, 4 * first - top, -left, 4 * some + 2, 4 * across_row + 2,
              framed)  # fmt: skip
        inputs_of(framed, some, across_row, channels, v, tiles, 0, scratch)
        cotangents_of(dz + n * zn + 4 * first * zh, zh, zw, rows - 4 * first, columns, some, across_row, features, d, tiles, 0,
                      scratch)  # fmt: skip
        for e in range(36):
            for c in range(0, channels, BLOCK):
                last, add = min(channels, c + BLOCK), 0 if item == start else 1
                _sums(tables, v, d, s, e, tiles, channels, features, c, last, add)


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
                p, q, r = gt_of(ld(place), ld(place + 6 * size), ld(place + 12 * size), ld(place + 18 * size),
                                ld(place + 24 * size), ld(place + 30 * size))  # fmt: skip
                st(scratch + j * WIDTH, p)
                st(scratch + (6 + j) * WIDTH, q)
                st(scratch + (12 + j) * WIDTH, r)
            for i in range(3):
                row = scratch + i * 6 * WIDTH
                p, q, r = gt_of(ld(row), ld(row + WIDTH), ld(row + 2 * WIDTH), ld(row + 3 * WIDTH), ld(row + 4 * WIDTH),
                                ld(row + 5 * WIDTH))  # fmt: skip
                st(row, p)
                st(row + WIDTH, q)
                st(row + 2 * WIDTH, r)
            for f in range(LANES):
                line = dw + ((o + f) * channels + c) * 36
                for t in range(9):
                    put(line + t * 4, get(scratch + (t // 3 * 6 + t % 3) * WIDTH + f * 4))
