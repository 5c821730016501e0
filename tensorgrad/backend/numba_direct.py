"""Convolutions and matrix products in float32 as sums over windows that are read where they lie: no columns are made.

Images are (H, W, C), so the KW * C numbers of a window's row are adjacent, and the micro-kernel of numba_tile.py sums over KH such
rows. Only where windows reach into padding are the rows they see copied into a *frame*, with zeros around, in each
thread's scratch memory, some rows at a time, so that it stays in cache. Weights are packed into panels of two
registers of features, (panel, KH, KW, C, features of the panel), the last one possibly narrower.

The input gradient is the same computation with the weights turned round and features and channels exchanged
(for a stride of 2 once for every remainder of the place modulo 2); the weight gradient runs along the outputs instead.
All strides are in bytes.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba
from tensorgrad.backend.numba_tile import ROWS_OF_SCRATCH, along, copy, frame, panel

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, add, arg, gather, get, ld, put, st, turn

    PANEL = 2 * LANES
#: Rows of a weight gradient whose tiles are made one after the other, so that what they read stays in cache.
BLOCK = 48


@kernel
def pack(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """w (G, T, C, O) of any strides -> packed (G, panels, T, C, width), columns beyond O zero. Items: (G, panel, 16 channels)."""
    w, wg, wt, wc, wo, taps, channels, features, packed = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    scratch = arg(a, 9) + thread * LANES * LANES * 4
    in_rows = wo != 4 and wc == taps * 4 and (wt == 4 or taps == 1)  # as a layer's weights lie: (O, C, T)
    blocks, panels = (channels + 15) // 16, (features + PANEL - 1) // PANEL
    whole = (features + LANES - 1) // LANES * LANES
    for item in range(start, stop):
        g, q, block = item // blocks // panels, item // blocks % panels, item % blocks
        first = q * PANEL
        width = PANEL if features - first > LANES else LANES
        used = min(width, features - first)
        target = packed + (g * whole + first) * taps * channels * 4
        first_channel, last_channel = block * 16, min(channels, block * 16 + 16)
        if in_rows:  # blocks of LANES features and LANES numbers (channel, tap) of theirs, while all are there
            begin, end = first_channel * taps, last_channel * taps
            turned = begin + (end - begin) // LANES * LANES
            for v in range(0, used // LANES * LANES, LANES):
                for u in range(begin, turned, LANES):
                    turn(w + g * wg + (first + v) * wo + u * 4, wo, scratch, LANES * 4)
                    for k in range(LANES):
                        c, t = (u + k) // taps, (u + k) % taps
                        st(target + ((t * channels + c) * width + v) * 4, ld(scratch + k * LANES * 4))
        for c in range(first_channel, last_channel):
            for t in range(taps):
                if in_rows and used == width and c * taps + t < turned:
                    continue
                source = w + g * wg + t * wt + c * wc + first * wo
                line = target + (t * channels + c) * width * 4
                for v in range(0, width, LANES):
                    if v + LANES <= used:
                        if wo == 4:
                            st(line + v * 4, ld(source + v * 4))
                        else:
                            st(line + v * 4, gather(source + v * wo, wo))
                    else:
                        for o in range(v, v + LANES):
                            put(line + o * 4, get(source + o * wo) if o < used else np.float32(0))


@kernel
def frames(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """Whole images with a border of zeros: x (N, H, W, C) of any strides -> (N, rows, columns, C). Items: (N, row)."""
    x, xn, xh, xw, xc, height, width, channels = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    )  # fmt: skip
    top, left, rows, columns, target = arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12)
    for item in range(start, stop):
        n, row = item // rows, item % rows
        line = target + item * columns * channels * 4
        frame(x + n * xn, xh, xw, xc, height, width, channels, row - top, -left, 1, columns, line)


@kernel
def product(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (M, O) = x (M, K) packed (K, O) + bias. Items: (rows_at_once rows, panels_at_once panels)."""
    tables, x, xr, rows, depth, w, bias, z, zr, features = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9)
    )  # fmt: skip
    rows_at_once, panels_at_once, scratch = arg(a, 10), arg(a, 11), arg(a, 12)
    scratch += thread * (ROWS_OF_SCRATCH * PANEL * 4)
    panels = (features + PANEL - 1) // PANEL
    groups = (panels + panels_at_once - 1) // panels_at_once
    for item in range(start, stop):
        first_row, first_panel = item // groups * rows_at_once, item % groups * panels_at_once
        some = min(rows_at_once, rows - first_row)
        for q in range(first_panel, min(panels, first_panel + panels_at_once)):
            o = q * PANEL
            width = min(PANEL, features - o)
            of_panel = 0 if bias == 0 else bias + o * 4
            weights = w + o * depth * 4
            panel(tables, width, some, x + first_row * xr, weights, z + first_row * zr + o * 4, 1, depth, 0, xr, 0,
                  of_panel, zr, 0, scratch)  # fmt: skip


@kernel
def convolve(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z[n, i, j, o] = bias[o] + sum x[n, i sh + k dh - top, j sw + l dw - left, c] w[k, l, c, o], in groups.

    Items: (images_at_once images, rows_at_once rows of outputs, panels_at_once panels of every group).
    """
    tables, x, xn, xh, xw, xc = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    images, height, width, channels, groups = arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10)
    top, left, sh, sw, dh, dw, kh, kw = (
        arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18)
    )  # fmt: skip
    w, bias, z, zn, zh, zw, rows, columns, features = (
        arg(a, 19), arg(a, 20), arg(a, 21), arg(a, 22), arg(a, 23), arg(a, 24), arg(a, 25), arg(a, 26), arg(a, 27)
    )  # fmt: skip
    images_at_once, rows_at_once, panels_at_once = arg(a, 28), arg(a, 29), arg(a, 30)
    in_place, scratch = arg(a, 31), arg(a, 32) + thread * arg(a, 33)
    line_of_frame = (columns - 1) * sw + (kw - 1) * dw + 1
    ragged = scratch
    scratch += ROWS_OF_SCRATCH * PANEL * 4
    panels = (features + PANEL - 1) // PANEL
    whole = (features + LANES - 1) // LANES * LANES
    row_blocks = (rows + rows_at_once - 1) // rows_at_once
    panel_blocks = (panels + panels_at_once - 1) // panels_at_once
    depth = kh * kw * channels
    for item in range(start, stop):
        first_panel = item % panel_blocks * panels_at_once
        first_row = item // panel_blocks % row_blocks * rows_at_once
        first_image = item // panel_blocks // row_blocks * images_at_once
        last_row = min(rows, first_row + rows_at_once)
        if in_place:
            source, yn, yh, yw = x + first_image * xn + (first_row * sh - top) * xh - left * xw, xn, xh, xw
        else:  # one image at once
            seen = (last_row - first_row - 1) * sh + (kh - 1) * dh + 1
            yn, yw = 0, groups * channels * 4
            source, yh = scratch, line_of_frame * yw
            frame(x + first_image * xn, xh, xw, xc, height, width, groups * channels, first_row * sh - top, -left,
                  seen, line_of_frame, scratch)  # fmt: skip
        merged = dw == 1 and yw == channels * 4
        calls = 1 if merged else kw
        run = kw * channels if merged else channels
        for g in range(groups):
            for q in range(first_panel, min(panels, first_panel + panels_at_once)):
                o = q * PANEL
                used = min(PANEL, features - o)
                line = (LANES if used <= LANES else PANEL) * 4
                weights = w + (g * whole + o) * depth * 4
                of_panel = 0 if bias == 0 else bias + (g * whole + o) * 4
                for n in range(first_image, min(images, first_image + images_at_once)):
                    for i in range(first_row, last_row):
                        window = source + (n - first_image) * yn + (i - first_row) * sh * yh + g * channels * 4
                        target = z + n * zn + i * zh + (g * features + o) * 4
                        for l in range(calls):
                            panel(tables, used, columns, window + l * dw * yw, weights + l * channels * line, target, kh, run,
                                  dh * yh, sw * yw, kw * channels * line, of_panel if l == 0 else 0, zw,
                                  0 if l == 0 else 1, ragged)  # fmt: skip


@inline
def _gradient_of_rows(tables, source, yh, yw, dz, zh, zw, dw, first, last, kernel_row, kernel_column, rows, columns, sh, sw, dh,  # type: ignore[no-untyped-def]
                      dwn, kw, channels, features, whole, add_to):  # fmt: skip
    """dw[k, l, first .. last, :] (+)= sum over some rows of outputs of x[window row, first .. last] dz[output, :]."""
    window = source + kernel_row * dh * yh + kernel_column * dwn * yw + first * 4
    for o in range(0, whole, PANEL):
        vectors = 1 if whole - o <= LANES else 2
        target = dw + ((kernel_row * kw + kernel_column) * channels + first) * whole * 4 + o * 4
        along(tables, vectors, last - first, window, dz + o * 4, target, rows, columns, sh * yh, sw * yw, zh, zw,
              whole * 4, add_to)  # fmt: skip


@kernel
def gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dw[part] (G, KH, KW, C, O to whole registers) = the weight gradient over this part. Items: (N, rows_at_once rows)."""
    tables, x, xn, xh, xw, xc = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    height, width, channels, groups = arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10)
    top, left, sh, sw, dh, dwn, kh, kw = (
        arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18)
    )  # fmt: skip
    dw, dz, zn, zh, zw, rows, columns, whole = (
        arg(a, 19), arg(a, 21), arg(a, 22), arg(a, 23), arg(a, 24), arg(a, 25), arg(a, 26), arg(a, 27)
    )  # fmt: skip
    rows_at_once, in_place, scratch = arg(a, 29), arg(a, 31), arg(a, 32) + thread * arg(a, 33)
    line_of_frame = (columns - 1) * sw + (kw - 1) * dwn + 1
    scratch += ROWS_OF_SCRATCH * PANEL * 4
    row_blocks = (rows + rows_at_once - 1) // rows_at_once
    depth = kh * kw * channels
    dw += part * groups * depth * whole * 4
    for item in range(start, stop):
        n, first_row = item // row_blocks, item % row_blocks * rows_at_once
        some = min(rows_at_once, rows - first_row)
        if in_place:
            source, yh, yw = x + n * xn + (first_row * sh - top) * xh - left * xw, xh, xw
        else:
            seen = (some - 1) * sh + (kh - 1) * dh + 1
            yw = groups * channels * 4
            source, yh = scratch, line_of_frame * yw
            frame(x + n * xn, xh, xw, xc, height, width, groups * channels, first_row * sh - top, -left, seen,
                  line_of_frame, scratch)  # fmt: skip
        merged = dwn == 1 and yw == channels * 4
        calls = 1 if merged else kw
        run = kw * channels if merged else channels
        for g in range(groups):
            for k in range(kh):
                for l in range(calls):
                    for first in range(0, run, BLOCK):
                        _gradient_of_rows(
                            tables, source + g * channels * 4, yh, yw, dz + n * zn + first_row * zh + g * whole * 4, zh, zw,
                            dw + g * depth * whole * 4, first, min(run, first + BLOCK), k, l, some, columns, sh, sw, dh, dwn,
                            kw, channels, whole, whole, 0 if item == start else 1)  # fmt: skip


@kernel
def gradient_by_tiles(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The weight gradient over all images, where dw is large: items are (G, KH, KW or 1, BLOCK rows of dw); x read in place."""
    tables, x, xn, xh, xw = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    images, channels, scratch = arg(a, 6), arg(a, 9), arg(a, 32) + thread * arg(a, 33)
    top, left, sh, sw, dh, dwn, kh, kw = (
        arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18)
    )  # fmt: skip
    dw, dz, zn, zh, zw, rows, columns, whole = (
        arg(a, 19), arg(a, 21), arg(a, 22), arg(a, 23), arg(a, 24), arg(a, 25), arg(a, 26), arg(a, 27)
    )  # fmt: skip
    merged = dwn == 1 and xw == channels * 4
    calls = 1 if merged else kw
    run = kw * channels if merged else channels
    blocks = (run + BLOCK - 1) // BLOCK
    depth = kh * kw * channels
    for item in range(start, stop):
        first = item % blocks * BLOCK
        l, k, g = item // blocks % calls, item // blocks // calls % kh, item // blocks // calls // kh
        last = min(run, first + BLOCK)
        if arg(
            a, 30
        ):  # points of x lie far apart, often in the same few places of the cache: side by side they stay in it
            for point in range(columns):
                copy(
                    scratch + point * (last - first) * 4, x + point * sw * xw + (g * channels + first) * 4, last - first
                )
            _gradient_of_rows(
                tables, scratch - first * 4, 0, (last - first) * 4, dz + g * whole * 4, zh, zw, dw + g * depth * whole * 4,
                first, last, k, l, 1, columns, 1, 1, 1, 1, kw, channels, whole, whole, 0)  # fmt: skip
            continue
        for n in range(images):
            source = x + n * xn - top * xh - left * xw + g * channels * 4
            _gradient_of_rows(
                tables, source, xh, xw, dz + n * zn + g * whole * 4, zh, zw, dw + g * depth * whole * 4, first,
                min(run, first + BLOCK), k, l, rows, columns, sh, sw, dh, dwn, kw, channels, whole, whole,
                0 if n == 0 else 1)  # fmt: skip


@kernel
def unpack(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The sum of all parts (parts, G, T, C, O to whole registers) -> dw (G, O, C, T). Items: (G, C)."""
    source, parts, groups, taps, channels, whole, features, dw, scratch = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    scratch += thread * taps * LANES * 4
    size = groups * taps * channels * whole * 4
    for item in range(start, stop):
        g, c = item // channels, item % channels
        for first in range(0, whole, LANES):
            for t in range(taps):
                place = source + (((g * taps + t) * channels + c) * whole + first) * 4
                total = ld(place)
                for number in range(1, parts):
                    total = add(total, ld(place + number * size))
                st(scratch + t * LANES * 4, total)
            for o in range(min(LANES, features - first)):
                line = dw + (((g * features + first + o) * channels + c) * taps) * 4
                for t in range(taps):
                    put(line + t * 4, get(scratch + (t * LANES + o) * 4))
