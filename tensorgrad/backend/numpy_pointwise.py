"""Convolutions of NumPy arrays that are a matrix product as they stand: 1 x 1 kernels, and kernels as large as the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numpy_columns import SHARED_PRODUCTS
from tensorgrad.backend.parallel import share, sum_of_parts
from tensorgrad.backend.windows import Pair

Array = np.ndarray[Any, Any]


def flat(x: Array) -> Array:
    """(N, C, H, W) -> (N, C * H * W)."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])


def _rows(x: Array) -> Array:
    """(N, C, H, W) -> (N * H * W, C), without a copy where the memory is NHWC."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def pointwise(x: Array, w: Array) -> Array:
    """z[n, o] = sum_c w[o, c] x[n, c] at every point, in the memory order of x. x (N, C, H, W), w (O, C)."""
    images, channels, height, width = x.shape
    if x.flags.c_contiguous:
        planes = x.reshape(images, channels, height * width)
        z = np.empty((images, w.shape[0], height * width), x.dtype)

        def work(start: int, stop: int) -> None:
            # (O, C) @ (n, C, H*W)
            np.matmul(w, planes[start:stop], out=z[start:stop])

        share(images, work, x.size * w.shape[0] >= SHARED_PRODUCTS, matrix_products=True)
        return z.reshape(images, w.shape[0], height, width)

    z_last = np.empty((images, height, width, w.shape[0]), x.dtype)

    def work_last(start: int, stop: int) -> None:
        # (n*H*W, C) @ (C, O)
        np.matmul(_rows(x[start:stop]), w.T, out=z_last[start:stop].reshape(-1, w.shape[0]))

    share(images, work_last, x.size * w.shape[0] >= SHARED_PRODUCTS, matrix_products=True)
    return z_last.transpose(0, 3, 1, 2)


def pointwise_weight_grad(dz: Array, x: Array) -> Array:
    """dw[o, c] = sum over images and points of dz[n, o] x[n, c], as (O, C, 1, 1)."""
    images, channels = x.shape[:2]
    features = dz.shape[1]
    planes = dz.flags.c_contiguous and x.flags.c_contiguous

    def part(start: int, stop: int) -> Array:
        if not planes:
            return _rows(dz[start:stop]).T @ _rows(x[start:stop])
        total = np.zeros((features, channels), dz.dtype)
        for image in range(start, stop):
            total += dz[image].reshape(features, -1) @ x[image].reshape(channels, -1).T
        return total

    dw = sum_of_parts(images, part, x.size * features >= SHARED_PRODUCTS)
    return dw.reshape(features, channels, 1, 1)


def spread(dx: Array, input_size: Pair, stride: Pair) -> Array:
    """The values of dx (N, C, h, w) on every stride-th point of a plane of input_size, zero between them."""
    images, channels = dx.shape[:2]
    wide = np.zeros((images, *input_size, channels), dx.dtype).transpose(0, 3, 1, 2)
    wide[:, :, :: stride[0], :: stride[1]] = dx
    return wide
