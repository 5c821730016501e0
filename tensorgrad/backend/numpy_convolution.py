"""Convolution on NumPy arrays, fast: im2col in blocks that stay in cache, in the memory order that copies fastest.

What is done differently from convolution.py, and why:

- Memory is channels-last. Results are NHWC buffers seen as (N, C, H, W). In an NHWC input one row of a window is a single
  run of KW * C numbers, so im2col is a few long copies instead of many short ones.
- Blocks. Columns are made for a few images, or for some rows of one image, few enough to be still in cache when the
  matrix product reads them. Every call allocates its own scratch, so nothing stale can leak in and threads share nothing.
- Tiles. With few features the product is too thin for BLAS (LeNet's first layer has 6). Some neighbouring outputs of a row
  then share one wider window, in which the kernel appears shifted for each of them: more arithmetic, and still
  twice as fast, since the columns get fewer and the product wider.
- With a stride of 1 the input gradient is a convolution of dz with the kernel rotated by 180 degrees; else columns of
  gradients are added back to where the windows lay.
- 1x1 kernels and kernels as large as the input (numpy_pointwise.py), and one channel a group (numpy_depthwise.py), need no
  columns at all.

Here a convolution is sent the way that suits it; numpy_columns.py is the one through columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.numpy_columns import (
    add_columns_back,
    channels_last,
    correlate,
    correlate_grad,
    windows_in_tiles,
)
from tensorgrad.backend.numpy_depthwise import depthwise, depthwise_input_grad, depthwise_weight_grad
from tensorgrad.backend.numpy_pointwise import flat, pointwise, pointwise_weight_grad, spread
from tensorgrad.backend.parallel import product
from tensorgrad.backend.windows import Padding, Pair, conv2d_output_size, extent

Array = np.ndarray[Any, Any]


class NumpyConvolutionKernels(ConvolutionKernels):
    """conv2d and its two adjoints on NumPy arrays; meaning, layouts and errors are those of ConvolutionKernels."""

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        if x.dtype == np.float16:
            wide = x.astype(np.float32), w.astype(np.float32)
            return self.conv2d(*wide, stride, padding, dilation, groups).astype(np.float16)
        if groups == 1:
            return _conv2d(x, w, stride, padding, dilation, outputs)
        if w.shape[1] == 1:
            return depthwise(x, w, stride, padding, dilation, outputs)
        z = channels_last((x.shape[0], w.shape[0], *outputs), x.dtype)
        for inputs, features in _groups(groups, w.shape):
            z[:, features] = _conv2d(x[:, inputs], w[features], stride, padding, dilation, outputs)
        return z

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        if dz.dtype == np.float16:
            wide = dz.astype(np.float32), w.astype(np.float32)
            return self.conv2d_input_grad(*wide, input_size, stride, padding, dilation, groups).astype(np.float16)
        if groups == 1:
            return _conv2d_input_grad(dz, w, input_size, stride, padding, dilation)
        if w.shape[1] == 1:
            return depthwise_input_grad(dz, w, input_size, stride, padding, dilation, groups)
        dx = channels_last((dz.shape[0], w.shape[1] * groups, *input_size), dz.dtype)
        for inputs, features in _groups(groups, w.shape):
            dx[:, inputs] = _conv2d_input_grad(dz[:, features], w[features], input_size, stride, padding, dilation)
        return dx

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        if dz.dtype == np.float16:
            wide = dz.astype(np.float32), x.astype(np.float32)
            return self.conv2d_weight_grad(*wide, kernel_size, stride, padding, dilation, groups).astype(np.float16)
        if groups == 1:
            return _conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        if groups == x.shape[1]:
            return depthwise_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        dw = np.empty((dz.shape[1], x.shape[1] // groups, *kernel_size), dz.dtype)
        for inputs, features in _groups(groups, dw.shape):
            dw[features] = _conv2d_weight_grad(dz[:, features], x[:, inputs], kernel_size, stride, padding, dilation)
        return dw


def _groups(groups: int, w_shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """(input channels, features) of every group, for w (O, C / groups, KH, KW)."""
    depth, features = w_shape[1], w_shape[0] // groups
    for group in range(groups):
        yield slice(group * depth, (group + 1) * depth), slice(group * features, (group + 1) * features)


# one group: choose the way


def _conv2d(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    features, _, *kernel = w.shape
    if padding == (0, 0, 0, 0):
        if tuple(kernel) == x.shape[2:]:
            return product(flat(x), flat(w).T).reshape(x.shape[0], features, 1, 1)
        if kernel == [1, 1]:
            return pointwise(x[:, :, :: stride[0], :: stride[1]], w[:, :, 0, 0])
    windows = windows_in_tiles(features, w.shape[2:], stride, dilation, (padding[0], padding[2]), outputs)
    return correlate(x, w, windows)


def _conv2d_input_grad(dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    features, channels, *_ = w.shape
    kernel, outputs = w.shape[2:], dz.shape[2:]
    if padding == (0, 0, 0, 0):
        if kernel == input_size:
            return product(flat(dz), flat(w)).reshape(dz.shape[0], channels, *input_size)
        if kernel == (1, 1):
            dx = pointwise(dz, w[:, :, 0, 0].T)
            return dx if outputs == input_size else spread(dx, input_size, stride)
    before = padding[0], padding[2]
    if stride == (1, 1) and 2 * input_size[0] * input_size[1] <= 3 * outputs[0] * outputs[1]:
        # From dx[p] = sum_k w[k] dz[p + before - k * dilation]: counting k from the kernel's other end, the window of p
        # begins at p + before - (kernel - 1) * dilation. (Without padding dz is so much smaller than dx that columns
        # of dz are fewer.)
        rotated = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        reversed_before = (
            extent(kernel[0], dilation[0]) - 1 - before[0],
            extent(kernel[1], dilation[1]) - 1 - before[1],
        )
        return correlate(dz, rotated, windows_in_tiles(channels, kernel, (1, 1), dilation, reversed_before, input_size))
    windows = windows_in_tiles(features, kernel, stride, dilation, before, outputs, widest=96)
    return add_columns_back(dz, w, input_size, windows)


def _conv2d_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    features, channels = dz.shape[1], x.shape[1]
    if padding == (0, 0, 0, 0):
        if kernel == x.shape[2:]:
            return product(flat(dz).T, flat(x)).reshape(features, channels, *kernel)
        if kernel == (1, 1):
            return pointwise_weight_grad(dz, x[:, :, :: stride[0], :: stride[1]])
    return correlate_grad(
        dz, x, windows_in_tiles(features, kernel, stride, dilation, (padding[0], padding[2]), dz.shape[2:])
    )
