"""Convolution of every channel by a filter of its own (depthwise) in float32, a register of channels at a time.

Images are (H, W, C), weights (KH, KW, C): a tap multiplies neighbouring channels by neighbouring weights, no products of
matrices. Every result is summed in a register and written once. C is a multiple of LANES.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, ld, st


@inline
def _taps_inside(begin, dilation, taps, size):  # type: ignore[no-untyped-def]
    """The first tap of a window that lies inside, and the first one behind: 0 <= begin + tap dilation < size."""
    first = min(taps, max(0, -(begin // dilation)))  # the least tap with begin + tap dilation >= 0
    return first, max(first, min(taps, (size - begin + dilation - 1) // dilation))


@inline
def _taps_that_see(place, stride, dilation, taps):  # type: ignore[no-untyped-def]
    """The windows j with j stride + tap dilation = place: the first such tap, how far on the next one is, its j, and how far
    back the next one's is. (`taps` and a j of 0 where no tap sees it.)"""
    common, other = stride, dilation
    while other:
        common, other = other, common % other
    for tap in range(min(taps, stride)):
        if (place - tap * dilation) % stride == 0:
            return tap, stride // common, (place - tap * dilation) // stride, dilation // common
    return taps, 1, 0, 1


@kernel
def forward(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x * w + bias. Items: (N, row of outputs)."""
    x, w, bias, z, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    kh, kw, sh, sw, dh, dw, top, left = (
        arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16)
    )  # fmt: skip
    for item in range(start, stop):
        image, i = x + item // rows * height * width * channels * 4, item % rows
        k0, k1 = _taps_inside(i * sh - top, dh, kh, height)
        for j in range(columns):
            l0, l1 = _taps_inside(j * sw - left, dw, kw, width)
            first = image + ((i * sh + k0 * dh - top) * width + j * sw + l0 * dw - left) * channels * 4
            for c in range(0, channels, LANES):
                total = bc(np.float32(0)) if bias == 0 else ld(bias + c * 4)
                row = first + c * 4
                for k in range(k0, k1):
                    place, tap = row, w + ((k * kw + l0) * channels + c) * 4
                    for _ in range(l0, l1):
                        total = fma(ld(place), ld(tap), total)
                        place += dw * channels * 4
                        tap += channels * 4
                    row += dh * width * channels * 4
                st(z + ((item * columns + j) * channels + c) * 4, total)


@kernel
def backward(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx: every place asks the windows that see it. Items: (N, row of x)."""
    dz, w, dx, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    kh, kw, sh, sw, dh, dw, top, left = (
        arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16)
    )  # fmt: skip
    for item in range(start, stop):
        image, h = dz + item // height * rows * columns * channels * 4, item % height
        k0, k_step, i0, i_step = _taps_that_see(h + top, sh, dh, kh)
        for v in range(width):
            l0, l_step, j0, j_step = _taps_that_see(v + left, sw, dw, kw)
            for c in range(0, channels, LANES):
                total = bc(np.float32(0))
                i = i0
                for k in range(k0, kh, k_step):
                    if 0 <= i < rows:
                        j = j0
                        for l in range(l0, kw, l_step):
                            if 0 <= j < columns:
                                place = image + ((i * columns + j) * channels + c) * 4
                                total = fma(ld(place), ld(w + ((k * kw + l) * channels + c) * 4), total)
                            j -= j_step
                    i -= i_step
                st(dx + ((item * width + v) * channels + c) * 4, total)


@kernel
def weights(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dw[part] (KH, KW, C) over this part. Items: (N, row of outputs)."""
    x, dz, result, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    kh, kw, sh, sw, dh, dw, top, left = (
        arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16)
    )  # fmt: skip
    result += part * kh * kw * channels * 4
    for t in range(0, kh * kw * channels, LANES):
        st(result + t * 4, bc(np.float32(0)))
    for item in range(start, stop):
        image, i = x + item // rows * height * width * channels * 4, item % rows
        line = dz + item * columns * channels * 4
        for k in range(kh):
            h = i * sh + k * dh - top
            if 0 <= h < height:
                for l in range(kw):
                    for c in range(0, channels, LANES):
                        target = result + ((k * kw + l) * channels + c) * 4
                        total = ld(target)
                        for j in range(columns):
                            v = j * sw + l * dw - left
                            if 0 <= v < width:
                                place = image + ((h * width + v) * channels + c) * 4
                                total = fma(ld(place), ld(line + (j * channels + c) * 4), total)
                        st(target, total)
