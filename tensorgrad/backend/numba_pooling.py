"""Pooling loops. What they compute is defined in pooling.py; winners are the one-byte numbers of taps described there.

Arrays come in one of two memory orders: *planes* (N * C, H, W), where the innermost loops run along a row of outputs, or
*points* (N, H, W, C), where they run over the channels of one output. Nothing branches in them, so they become vector
instructions: a better value is taken by selection.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled

Array = np.ndarray[Any, Any]


@compiled
def max_planes(
    x: Array, z: Array, winners: Array, kernel: Any, stride: Any, before: Any, start: int, stop: int
) -> None:
    """Max pooling of the planes start .. stop: x (P, H, W) -> z, winners (P, OH, OW); `before` is (top, left) padding.

    A row of x is first split by its columns' remainders modulo the stride, after which every tap reads neighbours:
    column j * stride + offset lies at split[offset % stride, j + offset // stride].
    """
    _, height, width = x.shape
    _, rows, columns = z.shape
    step = stride[1]
    split = np.empty((step, width // step + 1), x.dtype)
    for plane in range(start, stop):
        for i in range(rows):
            best, winner = z[plane, i], winners[plane, i]
            top = i * stride[0] - before[0]
            first_row, last_row = max(0, -top), min(kernel[0], height - top)
            for j in range(columns):
                best[j] = -np.inf
                winner[j] = first_row * kernel[1] + max(0, before[1] - j * step)
            for k in range(first_row, last_row):
                row = x[plane, top + k]
                for remainder in range(step):
                    for j in range((width - remainder + step - 1) // step):
                        split[remainder, j] = row[j * step + remainder]
                for l in range(kernel[1]):
                    offset = l - before[1]
                    # the outputs whose tap lies inside the row: 0 <= j * step + offset < width
                    first, last = max(0, -(offset // step)), min(columns, (width - 1 - offset) // step + 1)
                    values, shift = split[offset % step], offset // step
                    number = np.uint8(k * kernel[1] + l)
                    for j in range(first, last):
                        at = np.uint64(j)  # unsigned, so that nothing is to be done for negative indices
                        value = values[np.uint64(j + shift)]
                        better = (value > best[at]) | (value != value)
                        best[at] = value if better else best[at]
                        winner[at] = number if better else winner[at]


@compiled
def max_planes_2x2(x: Array, z: Array, winners: Array, start: int, stop: int) -> None:
    """The same for windows of 2 x 2 with a stride of 2 and no padding, in one pass."""
    _, rows, columns = z.shape
    for plane in range(start, stop):
        for i in range(rows):
            upper, lower = x[plane, 2 * i], x[plane, 2 * i + 1]
            best, winner = z[plane, i], winners[plane, i]
            for j in range(columns):
                value, number = upper[2 * j], np.uint8(0)
                for_right = (upper[2 * j + 1] > value) | (upper[2 * j + 1] != upper[2 * j + 1])
                value, number = (upper[2 * j + 1], np.uint8(1)) if for_right else (value, number)
                for_left = (lower[2 * j] > value) | (lower[2 * j] != lower[2 * j])
                value, number = (lower[2 * j], np.uint8(2)) if for_left else (value, number)
                for_last = (lower[2 * j + 1] > value) | (lower[2 * j + 1] != lower[2 * j + 1])
                value, number = (lower[2 * j + 1], np.uint8(3)) if for_last else (value, number)
                best[j], winner[j] = value, number


@compiled
def max_points(
    x: Array, z: Array, winners: Array, kernel: Any, stride: Any, before: Any, start: int, stop: int
) -> None:
    """Max pooling of the images start .. stop: x (N, H, W, C) -> z, winners (N, OH, OW, C)."""
    _, height, width, channels = x.shape
    _, rows, columns, _ = z.shape
    for n in range(start, stop):
        for i in range(rows):
            top = i * stride[0] - before[0]
            first_row, last_row = max(0, -top), min(kernel[0], height - top)
            for j in range(columns):
                left = j * stride[1] - before[1]
                first_column, last_column = max(0, -left), min(kernel[1], width - left)
                best, winner = z[n, i, j], winners[n, i, j]
                best[:] = -np.inf
                winner[:] = first_row * kernel[1] + first_column
                for k in range(first_row, last_row):
                    for l in range(first_column, last_column):
                        values = x[n, top + k, left + l]
                        number = np.uint8(k * kernel[1] + l)
                        for c in range(channels):
                            better = (values[c] > best[c]) | (values[c] != values[c])
                            best[c] = values[c] if better else best[c]
                            winner[c] = number if better else winner[c]


@compiled
def scatter(
    dz: Array, winners: Array, dx: Array, distances: Array, width: int, stride: Any, before: Any, start: int, stop: int
) -> None:
    """dx = 0, then dx[winner's place] += dz, for the images start .. stop.

    dz, winners (N, OH, OW, C), dx (N, H * W * C); distances[t] counts points from a window's first element to its tap t.
    Planes are images of one channel.
    """
    _, rows, columns, channels = dz.shape
    for n in range(start, stop):
        plane = dx[n]
        plane[:] = 0
        for i in range(rows):
            for j in range(columns):
                begin = (i * stride[0] - before[0]) * width + j * stride[1] - before[1]
                for c in range(channels):
                    plane[(begin + distances[winners[n, i, j, c]]) * channels + c] += dz[n, i, j, c]


@compiled
def gather(
    dx: Array, winners: Array, dz: Array, distances: Array, width: int, stride: Any, before: Any, start: int, stop: int
) -> None:
    """dz = dx[winner's place], the adjoint of `scatter`, with the same arguments."""
    _, rows, columns, channels = dz.shape
    for n in range(start, stop):
        plane = dx[n]
        for i in range(rows):
            for j in range(columns):
                begin = (i * stride[0] - before[0]) * width + j * stride[1] - before[1]
                for c in range(channels):
                    dz[n, i, j, c] = plane[(begin + distances[winners[n, i, j, c]]) * channels + c]


@compiled
def _add(values: Array, sums: Array) -> None:
    """sums += values, both one line."""
    for j in range(len(sums)):
        sums[j] += values[j]


@compiled
def sums_of_points(x: Array, z: Array, kernel: Any, stride: Any, before: Any, start: int, stop: int) -> None:
    """z = the sum of every window: down the rows of x into one line, then along it. x (N, H, W, C), z (N, OH, OW, C)."""
    _, height, width, channels = x.shape
    _, rows, columns, _ = z.shape
    line = np.empty((width, channels), x.dtype)
    for n in range(start, stop):
        for i in range(rows):
            top = i * stride[0] - before[0]
            line[:] = 0
            for h in range(max(0, top), min(height, top + kernel[0])):
                _add(x[n, h].reshape(-1), line.reshape(-1))
            for j in range(columns):
                left = j * stride[1] - before[1]
                z[n, i, j, :] = 0
                for w in range(max(0, left), min(width, left + kernel[1])):
                    _add(line[w], z[n, i, j])


@compiled
def spreads_of_points(dz: Array, dx: Array, kernel: Any, stride: Any, before: Any, start: int, stop: int) -> None:
    """The adjoint of `sums_of_points`: dz of an output is added to all elements of its window."""
    _, height, width, channels = dx.shape
    _, rows, columns, _ = dz.shape
    line = np.empty((width, channels), dz.dtype)
    for n in range(start, stop):
        dx[n, :, :, :] = 0
        for i in range(rows):
            line[:] = 0
            for j in range(columns):
                left = j * stride[1] - before[1]
                for w in range(max(0, left), min(width, left + kernel[1])):
                    _add(dz[n, i, j], line[w])
            top = i * stride[0] - before[0]
            for h in range(max(0, top), min(height, top + kernel[0])):
                _add(line.reshape(-1), dx[n, h].reshape(-1))
