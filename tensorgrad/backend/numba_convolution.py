"""Convolution with a stride of 1 and few channels as plain loops over flat images: no columns are ever made.

An image with its padding is one long line of numbers, its *frame*: C planes of height * pitch numbers. In a line every
tap (channel, kernel row, kernel column) is a distance, the same for all outputs: with a stride of 1,

    z[o, i * pitch + j] = sum_t w[o, t] * frame[i * pitch + j + distance[t]]

so the innermost loops run over hundreds of numbers side by side, which is what vector instructions want. What they compute for
the columns j >= OW, where windows wrap around into the next row, is thrown away.

Loops take FEATURES features and TAPS taps at once: every number loaded is used several times while it is in a register.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled, compiled_for_sums

Array = np.ndarray[Any, Any]

#: The features a loop makes at once; weights are padded with zeros to a multiple of it.
FEATURES = 3
TAPS = 4
#: Numbers of a line worked on at once, so that the sums stay in the first-level cache.
LINE = 1024


@compiled
def _fill_frame(image: Array, frame: Array, top: int, left: int) -> None:
    """The image (C, H, W) into the inside of the frame (C, height, pitch); its border stays as it is, zero."""
    channels, height, width = image.shape
    for c in range(channels):
        for h in range(height):
            for p in range(width):
                frame[c, top + h, left + p] = image[c, h, p]


@compiled
def correlate(
    x: Array,
    w: Array,
    distances: Array,
    z: Array,
    frame: Array,
    above: int,
    left: int,
    sums: Array,
    start: int,
    stop: int,
) -> None:
    """z[n, o, i, j] = sum_t w[o, t] * frame_of_x[n][i * pitch + j + distances[t]] for the images start .. stop.

    x (N, C, H, W), w (features and padding, T), z (N, features, OH, OW); frame (C, height, pitch) of zeros, into which
    x goes `above` rows down and `left` columns right; sums (FEATURES, at least pitch) is scratch.
    """
    _, features, rows, columns = z.shape
    pitch = frame.shape[2]
    taps = len(distances)
    rows_at_once = min(rows, sums.shape[1] // pitch)
    for n in range(start, stop):
        _fill_frame(x[n], frame, above, left)
        for top in range(0, rows, rows_at_once):
            height = min(rows_at_once, rows - top)
            length = (height - 1) * pitch + columns
            line = frame.reshape(-1)[top * pitch :]
            z0, z1, z2 = sums[0, :length], sums[1, :length], sums[2, :length]
            for o in range(0, features, FEATURES):
                z0[:] = 0
                z1[:] = 0
                z2[:] = 0
                for t in range(0, taps - TAPS + 1, TAPS):
                    x0, x1 = line[distances[t] :], line[distances[t + 1] :]
                    x2, x3 = line[distances[t + 2] :], line[distances[t + 3] :]
                    w00, w01, w02, w03 = w[o, t], w[o, t + 1], w[o, t + 2], w[o, t + 3]
                    w10, w11, w12, w13 = w[o + 1, t], w[o + 1, t + 1], w[o + 1, t + 2], w[o + 1, t + 3]
                    w20, w21, w22, w23 = w[o + 2, t], w[o + 2, t + 1], w[o + 2, t + 2], w[o + 2, t + 3]
                    for p in range(length):
                        z0[p] += w00 * x0[p] + w01 * x1[p] + w02 * x2[p] + w03 * x3[p]
                        z1[p] += w10 * x0[p] + w11 * x1[p] + w12 * x2[p] + w13 * x3[p]
                        z2[p] += w20 * x0[p] + w21 * x1[p] + w22 * x2[p] + w23 * x3[p]
                for t in range(taps - taps % TAPS, taps):
                    x0 = line[distances[t] :]
                    w00, w10, w20 = w[o, t], w[o + 1, t], w[o + 2, t]
                    for p in range(length):
                        z0[p] += w00 * x0[p]
                        z1[p] += w10 * x0[p]
                        z2[p] += w20 * x0[p]
                for feature in range(o, min(o + FEATURES, features)):
                    for row in range(height):
                        for column in range(columns):
                            z[n, feature, top + row, column] = sums[feature - o, row * pitch + column]


@compiled_for_sums
def correlate_grad(
    dz: Array,
    x: Array,
    distances: Array,
    dw: Array,
    frame: Array,
    above: int,
    left: int,
    lines: Array,
    start: int,
    stop: int,
) -> None:
    """dw[o, t] += sum_{n, i, j} dz[n, o, i, j] * frame_of_x[n][i * pitch + j + distances[t]] for the images start .. stop.

    dz (N, features, OH, OW), dw (features and padding, T), x and frame as in `correlate`; lines (features and padding,
    OH * pitch), of zeros, takes a dz, so that its rows are as long as the frame's.
    """
    _, features, rows, columns = dz.shape
    pitch = frame.shape[2]
    taps = len(distances)
    # the last row ends with its last output: what would wrap there lies outside of the frame
    length = (rows - 1) * pitch + columns
    flat = frame.reshape(-1)
    zero = dw.dtype.type(0)
    for n in range(start, stop):
        _fill_frame(x[n], frame, above, left)
        for o in range(features):
            for i in range(rows):
                for j in range(columns):
                    lines[o, i * pitch + j] = dz[n, o, i, j]
        for o in range(0, features, FEATURES):
            dz0, dz1, dz2 = lines[o], lines[o + 1], lines[o + 2]
            for t in range(0, taps - TAPS + 1, TAPS):
                x0, x1 = flat[distances[t] :], flat[distances[t + 1] :]
                x2, x3 = flat[distances[t + 2] :], flat[distances[t + 3] :]
                s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = s20 = s21 = s22 = s23 = zero
                for p in range(length):
                    s00 += dz0[p] * x0[p]
                    s01 += dz0[p] * x1[p]
                    s02 += dz0[p] * x2[p]
                    s03 += dz0[p] * x3[p]
                    s10 += dz1[p] * x0[p]
                    s11 += dz1[p] * x1[p]
                    s12 += dz1[p] * x2[p]
                    s13 += dz1[p] * x3[p]
                    s20 += dz2[p] * x0[p]
                    s21 += dz2[p] * x1[p]
                    s22 += dz2[p] * x2[p]
                    s23 += dz2[p] * x3[p]
                dw[o, t] += s00
                dw[o, t + 1] += s01
                dw[o, t + 2] += s02
                dw[o, t + 3] += s03
                dw[o + 1, t] += s10
                dw[o + 1, t + 1] += s11
                dw[o + 1, t + 2] += s12
                dw[o + 1, t + 3] += s13
                dw[o + 2, t] += s20
                dw[o + 2, t + 1] += s21
                dw[o + 2, t + 2] += s22
                dw[o + 2, t + 3] += s23
            for t in range(taps - taps % TAPS, taps):
                x0 = flat[distances[t] :]
                s00 = s10 = s20 = zero
                for p in range(length):
                    s00 += dz0[p] * x0[p]
                    s10 += dz1[p] * x0[p]
                    s20 += dz2[p] * x0[p]
                dw[o, t] += s00
                dw[o + 1, t] += s10
                dw[o + 2, t] += s20
