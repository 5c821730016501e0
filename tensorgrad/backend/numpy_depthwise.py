"""Convolutions of NumPy arrays with one input channel a group: feature c * m + i reads channel c alone.

w is (C * m, 1, KH, KW). Nothing is laid out in columns: every element of the kernel adds its product to the whole plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.parallel import share
from tensorgrad.backend.windows import Padding, Pair, taps

Array = np.ndarray[Any, Any]

#: Multiplications one by one from which on threads are worth their start.
SHARED_MULTIPLICATIONS = 1 << 20


def depthwise(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    """z[n, c m + i] = the correlation of x[n, c] with w[c m + i]; x (N, C, H, W) -> (N, C m, OH, OW)."""
    images, channels = x.shape[:2]
    kernel = w.shape[2:]
    factors = w[:, 0].transpose(1, 2, 0).reshape(*kernel, channels, -1)  # (KH, KW, C, m)
    z = np.zeros((images, *outputs, channels, factors.shape[3]), x.dtype)
    windows = list(taps(x.shape[2:], kernel, stride, padding, dilation, outputs))

    def work(start: int, stop: int) -> None:
        for image in range(start, stop):
            source = np.ascontiguousarray(x[image].transpose(1, 2, 0))[..., None]  # (H, W, C, 1)
            for tap in windows:
                seen = source[tap.input_rows, tap.input_columns]
                z[image, tap.rows, tap.columns] += seen * factors[tap.row, tap.column]

    share(images, work, z.size * len(windows) >= SHARED_MULTIPLICATIONS)
    return z.reshape(images, *outputs, w.shape[0]).transpose(0, 3, 1, 2)


def depthwise_input_grad(
    dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, channels: int
) -> Array:
    """dx of <dz, depthwise(x, w)>: (N, C, *input_size)."""
    images, features, *outputs = dz.shape
    kernel = w.shape[2:]
    factors = w[:, 0].transpose(1, 2, 0).reshape(*kernel, channels, -1)  # (KH, KW, C, m)
    dx = np.zeros((images, *input_size, channels), dz.dtype)
    windows = list(taps(input_size, kernel, stride, padding, dilation, dz.shape[2:]))

    def work(start: int, stop: int) -> None:
        for image in range(start, stop):
            source = np.ascontiguousarray(dz[image].transpose(1, 2, 0)).reshape(*outputs, channels, -1)
            for tap in windows:
                part = source[tap.rows, tap.columns] * factors[tap.row, tap.column]
                part = part.sum(axis=3) if features > channels else part[..., 0]
                dx[image, tap.input_rows, tap.input_columns] += part

    share(images, work, dz.size * len(windows) >= SHARED_MULTIPLICATIONS)
    return dx.transpose(0, 3, 1, 2)


def depthwise_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """dw of <dz, depthwise(x, w)>: (C m, 1, KH, KW)."""
    images, features, *outputs = dz.shape
    channels = x.shape[1]
    dz_last = np.ascontiguousarray(dz.transpose(0, 2, 3, 1)).reshape(images, *outputs, channels, -1)
    x_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    windows = list(taps(x.shape[2:], kernel, stride, padding, dilation, dz.shape[2:]))
    dw = np.zeros((*kernel, channels, features // channels), dz.dtype)

    def work(start: int, stop: int) -> None:
        for tap in windows[start:stop]:
            seen = x_last[:, tap.input_rows, tap.input_columns]
            for i in range(dw.shape[3]):
                cotangent = dz_last[:, tap.rows, tap.columns, :, i]
                np.einsum("nhwc,nhwc->c", cotangent, seen, out=dw[tap.row, tap.column, :, i])

    share(len(windows), work, dz.size * len(windows) >= SHARED_MULTIPLICATIONS)
    return np.ascontiguousarray(dw.reshape(*kernel, 1, features).transpose(3, 2, 0, 1))
