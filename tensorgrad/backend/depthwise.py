"""Depthwise convolution on the kernels of numba_depthwise.py: prepares their memory and shares their work."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_depthwise as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import SHARED_PRODUCTS, address, images_of, to_channels_last
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.rows import rows_of
from tensorgrad.backend.windows import Padding, Pair

Array = np.ndarray[Any, Any]


def _ordered(x: Array) -> Array:
    """x (N, C, H, W) in NHWC memory."""
    return x if rows_of(x) is not None else to_channels_last(x)


def _by_taps(w: Array) -> Array:
    """w (C, 1, KH, KW) -> (KH, KW, C), contiguous."""
    result = aligned((w.shape[2], w.shape[3], w.shape[0]), np.float32)
    result[...] = w[:, 0].transpose(1, 2, 0)
    return result


def _settings(x_shape: tuple[int, ...], z_shape: tuple[int, ...], kernel: Pair, *others: Pair) -> list[int]:
    sizes = [x_shape[2], x_shape[3], x_shape[1], z_shape[2], z_shape[3], *kernel]
    return sizes + [number for pair in others for number in pair]


def conv2d(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair
) -> Array:
    """z (N, C, OH, OW) = x (N, C, H, W) * w (C, 1, KH, KW) + bias."""
    x, taps = _ordered(x), _by_taps(w)
    z = images_of((x.shape[0], x.shape[1], *outputs))
    shift = None if bias is None else np.ascontiguousarray(bias)
    words = [address(x), address(taps), address(shift), address(z)]
    words += _settings(x.shape, z.shape, w.shape[2:], stride, dilation, (padding[0], padding[2]))  # type: ignore[arg-type]
    team.run(code.forward, words, len(x) * outputs[0], z.size * w[0].size >= SHARED_PRODUCTS)
    return z


def conv2d_input_grad(dz: Array, w: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """dx (N, C, H, W) of <dz, x * w>."""
    dz, taps = _ordered(dz), _by_taps(w)
    dx = images_of((dz.shape[0], dz.shape[1], *size))
    words = [address(dz), address(taps), 0, address(dx)]
    words += _settings(dx.shape, dz.shape, w.shape[2:], stride, dilation, (padding[0], padding[2]))  # type: ignore[arg-type]
    team.run(code.backward, words, len(dz) * size[0], dx.size * w[0].size >= SHARED_PRODUCTS)
    return dx


def conv2d_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """dw (C, 1, KH, KW) of <dz, x * w>."""
    dz, x = _ordered(dz), _ordered(x)
    items = len(x) * dz.shape[2]
    parts = min(team.shares(), items)
    sums = aligned((parts, *kernel, x.shape[1]), np.float32)
    words = [address(x), address(dz), 0, address(sums)]
    words += _settings(x.shape, dz.shape, kernel, stride, dilation, (padding[0], padding[2]))
    worthwhile = dz.size * kernel[0] * kernel[1] >= SHARED_PRODUCTS
    team.run(code.weights, words, items, worthwhile, parts)
    return np.ascontiguousarray(sums.sum(axis=0).transpose(2, 0, 1))[:, None]
