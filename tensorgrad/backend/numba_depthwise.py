"""Convolution of every channel by a filter of its own (depthwise) in float32, a register of channels at a time.

Images are (H, W, C), weights (KH, KW, C): a tap multiplies neighbouring channels by neighbouring weights, no products of
matrices. Every result is summed in a register and written once. C is a multiple of LANES.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, ld, st


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
        for j in range(columns):
            for c in range(0, channels, LANES):
                total = bc(np.float32(0)) if bias == 0 else ld(bias + c * 4)
                for k in range(kh):
                    h = i * sh + k * dh - top
                    if 0 <= h < height:
                        for l in range(kw):
                            v = j * sw + l * dw - left
                            if 0 <= v < width:
                                place = image + ((h * width + v) * channels + c) * 4
                                total = fma(ld(place), ld(w + ((k * kw + l) * channels + c) * 4), total)
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
        for v in range(width):
            for c in range(0, channels, LANES):
                total = bc(np.float32(0))
                for k in range(kh):
                    i = h + top - k * dh
                    if i >= 0 and i % sh == 0 and i // sh < rows:
                        for l in range(kw):
                            j = v + left - l * dw
                            if j >= 0 and j % sw == 0 and j // sw < columns:
                                place = image + ((i // sh * columns + j // sw) * channels + c) * 4
                                total = fma(ld(place), ld(w + ((k * kw + l) * channels + c) * 4), total)
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
