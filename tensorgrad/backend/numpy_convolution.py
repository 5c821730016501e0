"""Convolution on NumPy arrays, fast: im2col in blocks that stay in cache, in the memory order that copies fastest.

What is done differently from convolution.py, and why:

- Memory is channels-last. Results are NHWC buffers seen as (N, C, H, W). In an NHWC input one row of a window is a single
  run of KW * C numbers, so im2col is a few long copies instead of many short ones.
- Blocks. Columns are made for a block of images, or of rows of one image, small enough to be read back from cache by
  the matrix product. Scratch memory is allocated anew by each call, so nothing stale can leak in and threads share nothing.
- Tiles. With few features the product would be too thin for BLAS (LeNet's first layer has 6). `tile` neighbouring
  outputs of a row then share one longer window, and the weight is repeated, shifted, for each of them (`_tiled_weight`):
  more arithmetic, but 2-3 times faster.
- A stride of 1 makes the input gradient a convolution of dz with the rotated kernel; other strides add columns back.
- 1x1 kernels, kernels as large as the input, and one channel a group (depthwise) need no columns at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.windows import Padding, Pair, chunks, conv2d_output_size, extent, reach, taps

Array = np.ndarray[Any, Any]

#: Elements of one block of columns; 1 MB of float32, about a core's second-level cache.
BLOCK_ELEMENTS = 1 << 18
#: Rows of a block at least, so that a matrix product is worth its call.
BLOCK_ROWS = 256


class NumpyConvolutionKernels(ConvolutionKernels):
    """conv2d and its two adjoints on NumPy arrays."""

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        if x.dtype == np.float16:
            wide = self.conv2d(x.astype(np.float32), w.astype(np.float32), stride, padding, dilation, groups)
            return wide.astype(np.float16)
        if groups == 1:
            return _conv2d(x, w, stride, padding, dilation, outputs)
        if w.shape[1] == 1:
            return _depthwise(x, w, stride, padding, dilation, outputs)
        z = channels_last((x.shape[0], w.shape[0], *outputs), x.dtype)
        for inputs, features in _groups(groups, w):
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
            return _depthwise_input_grad(dz, w, input_size, stride, padding, dilation)
        dx = channels_last((dz.shape[0], w.shape[1] * groups, *input_size), dz.dtype)
        for inputs, features in _groups(groups, w):
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
            return _depthwise_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        dw = np.empty((dz.shape[1], x.shape[1] // groups, *kernel_size), dz.dtype)
        for inputs, features in _groups(groups, dw):
            dw[features] = _conv2d_weight_grad(dz[:, features], x[:, inputs], kernel_size, stride, padding, dilation)
        return dw


def channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised (N, C, H, W) whose memory is NHWC."""
    images, channels, height, width = shape
    return np.empty((images, height, width, channels), dtype).transpose(0, 3, 1, 2)


def is_channels_last(x: Array) -> bool:
    """Whether the memory of x (N, C, H, W) is one NHWC block."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def _groups(groups: int, w: Array) -> Iterator[tuple[slice, slice]]:
    """(input channels, features) of every group, for w (O, C / groups, KH, KW)."""
    depth, features = w.shape[1], w.shape[0] // groups
    for group in range(groups):
        yield slice(group * depth, (group + 1) * depth), slice(group * features, (group + 1) * features)


# one group


def _conv2d(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    features, kernel = w.shape[0], w.shape[2:]
    if padding == (0, 0, 0, 0):
        if kernel == x.shape[2:]:
            return (_flat(x) @ _flat(w).T).reshape(-1, features, 1, 1)
        if kernel == (1, 1):
            return _pointwise(x[:, :, :: stride[0], :: stride[1]], w[:, :, 0, 0])
    return _correlate(x, w, stride, dilation, (padding[0], padding[2]), outputs)


def _conv2d_input_grad(dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    channels, kernel = w.shape[1], w.shape[2:]
    if padding == (0, 0, 0, 0):
        if kernel == input_size:
            return (_flat(dz) @ _flat(w)).reshape(-1, channels, *input_size)
        if kernel == (1, 1):
            dx = _pointwise(dz, w[:, :, 0, 0].T)
            return dx if dx.shape[2:] == input_size else _spread(dx, input_size, stride)
    if stride == (1, 1):
        # dx[i] = sum_k w[k] dz[i + top - k dilation]: with k counted from the other end, a window that starts
        # (KH - 1) * dilation - top before i
        rotated = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        before = (extent(kernel[0], dilation[0]) - 1 - padding[0], extent(kernel[1], dilation[1]) - 1 - padding[2])
        return _correlate(dz, rotated, (1, 1), dilation, before, input_size)
    return _add_columns_back(dz, w, input_size, stride, padding, dilation)


def _conv2d_weight_grad(
    dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    features, channels = dz.shape[1], x.shape[1]
    if padding == (0, 0, 0, 0):
        if kernel == x.shape[2:]:
            return (_flat(dz).T @ _flat(x)).reshape(features, channels, *kernel)
        if kernel == (1, 1):
            return _pointwise_weight_grad(dz, x[:, :, :: stride[0], :: stride[1]])
    outputs = dz.shape[2:]
    tile = _tile(features, kernel, stride, dilation, outputs)
    dz_rows = dz.transpose(0, 2, 3, 1)
    width = (tile - 1) * stride[1] + kernel[1]
    tiled = np.zeros((tile * features, kernel[0] * width * channels), dz.dtype)
    for images, rows, columns in _columns(x, kernel, stride, dilation, (padding[0], padding[2]), outputs, tile):
        # (tile*O, block) @ (block, KH*width*C)
        tiled += dz_rows[images, rows].reshape(columns.shape[0], -1).T @ columns
    shifted = tiled.reshape(tile, features, kernel[0], width, channels)
    dw = np.zeros((features, kernel[0], kernel[1], channels), dz.dtype)
    for place in range(tile):
        start = place * stride[1]
        dw += shifted[place, :, :, start : start + kernel[1]]
    return np.ascontiguousarray(dw.transpose(0, 3, 1, 2))


def _correlate(x: Array, w: Array, stride: Pair, dilation: Pair, before: Pair, outputs: Pair) -> Array:
    """z[i] = sum_k w[k] x[i * stride - before + k * dilation], x being 0 outside of itself; `before` may be negative.

    x (N, C, H, W), w (O, C, KH, KW) -> z (N, O, *outputs), channels-last.
    """
    features, channels, *_ = w.shape
    kernel = w.shape[2:]
    tile = _tile(features, kernel, stride, dilation, outputs)
    weight = _tiled_weight(w, tile, stride[1])
    z = np.empty((x.shape[0], *outputs, features), x.dtype)
    for images, rows, columns in _columns(x, kernel, stride, dilation, before, outputs, tile):
        # (block, KH*width*C) @ (KH*width*C, tile*O)
        np.matmul(columns, weight, out=z[images, rows].reshape(columns.shape[0], -1))
    return z.transpose(0, 3, 1, 2)


def _tile(features: int, kernel: Pair, stride: Pair, dilation: Pair, outputs: Pair) -> int:
    """How many neighbouring outputs of a row are computed as one: 1 unless there are too few features for BLAS."""
    if dilation[1] != 1:
        return 1
    for tile in (8, 7, 6, 5, 4, 3, 2):
        wasteful = (tile - 1) * stride[1] >= kernel[1]
        if outputs[1] % tile == 0 and tile * features <= 32 and not wasteful:
            return tile
    return 1


def _tiled_weight(w: Array, tile: int, stride: int) -> Array:
    """(O, C, KH, KW) -> (KH * width * C, tile * O): column block t holds w moved t * stride to the right, else zeros."""
    features, channels, height, kernel_width = w.shape
    if tile == 1:
        return np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(features, -1).T
    width = (tile - 1) * stride + kernel_width
    weight = np.zeros((tile, features, height, width, channels), w.dtype)
    for place in range(tile):
        start = place * stride
        weight[place, :, :, start : start + kernel_width] = w.transpose(0, 2, 3, 1)
    return weight.reshape(tile * features, -1).T


def _columns(
    x: Array, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, outputs: Pair, tile: int
) -> Iterator[tuple[slice, slice, Array]]:
    """im2col, block by block: (images, output rows, columns), where columns (n * rows * OW / tile, KH * width * C).

    A block is several whole images, or some rows of one, so that its outputs lie side by side in an NHWC result.
    """
    images, channels, height, width = x.shape
    tiles = outputs[1] // tile
    window = kernel[0], (tile - 1) * stride[1] + kernel[1]
    depth = window[0] * window[1] * channels
    # the part of the padded input that some window reads
    spans = (
        (outputs[0] - 1) * stride[0] + extent(kernel[0], dilation[0]),
        (outputs[1] - 1) * stride[1] + extent(kernel[1], dilation[1]),
    )
    block = max(BLOCK_ROWS, BLOCK_ELEMENTS // max(1, depth))
    block_images = max(1, block // (outputs[0] * tiles))
    block_rows = outputs[0] if block_images > 1 else max(1, min(outputs[0], block // tiles))

    inside = before == (0, 0) and spans[0] <= height and spans[1] <= width and (x.strides[1] == x.itemsize or channels == 1)
    if not inside:
        rows, input_rows = reach(height, spans[0], 1, -before[0])
        across, input_across = reach(width, spans[1], 1, -before[1])
        padded = np.zeros((min(images, block_images), *spans, channels), x.dtype)
    buffer = np.empty(min(images, block_images) * block_rows * tiles * depth, x.dtype)
    for some in chunks(images, block_images):
        count = some.stop - some.start
        source = x[some].transpose(0, 2, 3, 1)
        if not inside:
            padded[:count, rows, across] = source[:, input_rows, input_across]
            source = padded[:count]
        for block_of_rows in chunks(outputs[0], block_rows):
            shape = (count, block_of_rows.stop - block_of_rows.start, tiles, *window, channels)
            strides = source.strides
            windows = as_strided(
                source[:, block_of_rows.start * stride[0] :],
                shape,
                (
                    strides[0],
                    strides[1] * stride[0],
                    strides[2] * stride[1] * tile,
                    strides[1] * dilation[0],
                    strides[2] * dilation[1],
                    strides[3],
                ),
            )
            size = shape[0] * shape[1] * tiles
            columns = buffer[: size * depth].reshape(shape)
            np.copyto(columns, windows)
            yield some, block_of_rows, columns.reshape(size, depth)


def _add_columns_back(
    dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    """The input gradient for any stride: dcolumns = w^T dz, added to where the windows lay."""
    images, features, *outputs = dz.shape
    channels, kernel = w.shape[1], w.shape[2:]
    windows = list(taps(input_size, kernel, stride, padding, dilation, tuple(outputs)))
    weight = np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(features, -1)
    dx = np.zeros((images, *input_size, channels), dz.dtype)
    for some in chunks(images, BLOCK_ELEMENTS // (weight.shape[1] * outputs[0] * outputs[1])):
        rows = dz[some].transpose(0, 2, 3, 1).reshape(-1, features)
        dcolumns = (rows @ weight).reshape(-1, *outputs, *kernel, channels)
        for tap in windows:
            dx[some, tap.input_rows, tap.input_columns] += dcolumns[:, tap.rows, tap.columns, tap.row, tap.column]
    return dx.transpose(0, 3, 1, 2)


# kernels that need no columns


def _flat(x: Array) -> Array:
    """(N, C, H, W) -> (N, C * H * W)."""
    return x.reshape(x.shape[0], -1)


def _pointwise(x: Array, w: Array) -> Array:
    """z[n, o] = sum_c w[o, c] x[n, c] at every point, in the memory order of x. w (O, C)."""
    images, channels, height, width = x.shape
    if x.flags.c_contiguous:
        return np.matmul(w, x.reshape(images, channels, -1)).reshape(images, -1, height, width)
    rows = x.transpose(0, 2, 3, 1).reshape(-1, channels)
    return (rows @ w.T).reshape(images, height, width, -1).transpose(0, 3, 1, 2)


def _pointwise_weight_grad(dz: Array, x: Array) -> Array:
    """dw[o, c] = sum over images and points of dz[n, o] x[n, c], as (O, C, 1, 1)."""
    features, channels = dz.shape[1], x.shape[1]
    if dz.flags.c_contiguous and x.flags.c_contiguous:
        dz_points = dz.reshape(dz.shape[0], features, -1)
        x_points = x.reshape(x.shape[0], channels, -1)
        dw = np.zeros((features, channels), dz.dtype)
        for dz_image, x_image in zip(dz_points, x_points):
            dw += dz_image @ x_image.T
    else:
        dw = dz.transpose(0, 2, 3, 1).reshape(-1, features).T @ x.transpose(0, 2, 3, 1).reshape(-1, channels)
    return dw.reshape(features, channels, 1, 1)


def _spread(dx: Array, input_size: Pair, stride: Pair) -> Array:
    """The values of dx at every stride-th point of a larger plane, zero between."""
    images, channels = dx.shape[:2]
    wide = np.zeros((images, *input_size, channels), dx.dtype).transpose(0, 3, 1, 2)
    wide[:, :, :: stride[0], :: stride[1]][:, :, : dx.shape[2], : dx.shape[3]] = dx
    return wide


# one input channel a group: w is (C * m, 1, KH, KW), feature c * m + i reads channel c


def _depthwise(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    images, channels = x.shape[:2]
    factors = w.transpose(2, 3, 0, 1).reshape(*w.shape[2:], channels, -1)
    z = np.zeros((images, *outputs, *factors.shape[2:]), x.dtype)
    source = x.transpose(0, 2, 3, 1)[..., None]
    windows = list(taps(x.shape[2:], w.shape[2:], stride, padding, dilation, outputs))
    for image in range(images):
        for tap in windows:
            seen = source[image, tap.input_rows, tap.input_columns]
            z[image, tap.rows, tap.columns] += seen * factors[tap.row, tap.column]
    return z.reshape(images, *outputs, -1).transpose(0, 3, 1, 2)


def _depthwise_input_grad(
    dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    images, features, *outputs = dz.shape
    windows = list(taps(input_size, w.shape[2:], stride, padding, dilation, tuple(outputs)))
    raise NotImplementedError


def _depthwise_weight_grad(
    dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> Array:
    raise NotImplementedError
