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
- 1x1 kernels, kernels as large as the input, and one channel a group (depthwise) need no columns at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.parallel import product, share
from tensorgrad.backend.windows import Padding, Pair, chunks, conv2d_output_size, extent, reach, taps

Array = np.ndarray[Any, Any]

#: Elements of a block of columns: 1 MB of float32, about one core's second-level cache.
BLOCK_ELEMENTS = 1 << 18
#: Rows of a block at least, so that a matrix product is worth its call.
BLOCK_ROWS = 256
#: Multiplications from which on threads are worth their start (about 0.05 ms), in matrix products and one by one.
SHARED_PRODUCTS = 1 << 22
SHARED_MULTIPLICATIONS = 1 << 20


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
            return _depthwise(x, w, stride, padding, dilation, outputs)
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
            return _depthwise_input_grad(dz, w, input_size, stride, padding, dilation, groups)
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
            return _depthwise_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        dw = np.empty((dz.shape[1], x.shape[1] // groups, *kernel_size), dz.dtype)
        for inputs, features in _groups(groups, dw.shape):
            dw[features] = _conv2d_weight_grad(dz[:, features], x[:, inputs], kernel_size, stride, padding, dilation)
        return dw


def channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised (N, C, H, W) whose memory is NHWC."""
    images, channels, height, width = shape
    return np.empty((images, height, width, channels), dtype).transpose(0, 3, 1, 2)


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
            return product(_flat(x), _flat(w).T).reshape(x.shape[0], features, 1, 1)
        if kernel == [1, 1]:
            return _pointwise(x[:, :, :: stride[0], :: stride[1]], w[:, :, 0, 0])
    windows = _windows(features, w.shape[2:], stride, dilation, (padding[0], padding[2]), outputs)
    return _correlate(x, w, windows)


def _conv2d_input_grad(dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    features, channels, *_ = w.shape
    kernel, outputs = w.shape[2:], dz.shape[2:]
    if padding == (0, 0, 0, 0):
        if kernel == input_size:
            return product(_flat(dz), _flat(w)).reshape(dz.shape[0], channels, *input_size)
        if kernel == (1, 1):
            dx = _pointwise(dz, w[:, :, 0, 0].T)
            return dx if outputs == input_size else _spread(dx, input_size, stride)
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
        return _correlate(dz, rotated, _windows(channels, kernel, (1, 1), dilation, reversed_before, input_size))
    windows = _windows(features, kernel, stride, dilation, before, outputs, widest=96)
    return _add_columns_back(dz, w, input_size, windows)


def _conv2d_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    features, channels = dz.shape[1], x.shape[1]
    if padding == (0, 0, 0, 0):
        if kernel == x.shape[2:]:
            return product(_flat(dz).T, _flat(x)).reshape(features, channels, *kernel)
        if kernel == (1, 1):
            return _pointwise_weight_grad(dz, x[:, :, :: stride[0], :: stride[1]])
    return _correlate_grad(dz, x, _windows(features, kernel, stride, dilation, (padding[0], padding[2]), dz.shape[2:]))


# windows and tiles


class _Windows(NamedTuple):
    """Where windows lie: output i begins at i * stride - before, which may be anywhere; `tile` of a row are made as one."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    outputs: Pair
    tile: int

    @property
    def tiles(self) -> int:
        """Tiles in a row of outputs."""
        return self.outputs[1] // self.tile

    @property
    def tile_width(self) -> int:
        """The width of the window that holds the windows of a tile."""
        return self.kernel[1] + (self.tile - 1) * self.stride[1]

    @property
    def frame(self) -> Pair:
        """The size of the rectangle that holds all windows; it begins `before` the input."""
        return (
            (self.outputs[0] - 1) * self.stride[0] + extent(self.kernel[0], self.dilation[0]),
            (self.outputs[1] - 1) * self.stride[1] + extent(self.kernel[1], self.dilation[1]),
        )

    def blocks(self, channels: int) -> Pair:
        """(images, rows of outputs) to work on at once: whole images, or rows of a single one."""
        depth = channels * self.kernel[0] * self.tile_width
        block = max(BLOCK_ROWS, BLOCK_ELEMENTS // depth)
        images = max(1, block // (self.outputs[0] * self.tiles))
        return images, min(self.outputs[0], max(1, block // self.tiles))

    def worth_sharing(self, images: int, w: Array) -> bool:
        """Whether the work, with a weight of w's size, is large enough for threads."""
        return images * self.outputs[0] * self.outputs[1] * w.size >= SHARED_PRODUCTS


def _windows(
    features: int, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, outputs: Pair, widest: int = 32
) -> _Windows:
    """The windows in tiles of at most `widest` features, so that the matrix product is wide enough.

    A tile must not make more than about twice as many products as needed, and tiles must divide the row.
    """
    tile = 1
    for size in range(2, widest // features + 1):
        if dilation[1] == 1 and outputs[1] % size == 0 and (size - 1) * stride[1] <= kernel[1]:
            tile = size
    return _Windows(kernel, stride, dilation, before, outputs, tile)


def _tiled_weight(w: Array, windows: _Windows) -> Array:
    """w (O, C, KH, KW) -> (tile * O, KH * tile_width * C): once for every output of a tile, each time further right."""
    features, channels, *_ = w.shape
    height, width = windows.kernel
    if windows.tile == 1:
        return np.ascontiguousarray(w.transpose(0, 2, 3, 1)).reshape(features, -1)
    weight = np.zeros((windows.tile, features, height, windows.tile_width, channels), w.dtype)
    for place in range(windows.tile):
        left = place * windows.stride[1]
        weight[place, :, :, left : left + width] = w.transpose(0, 2, 3, 1)
    return weight.reshape(windows.tile * features, -1)


def _untiled_weight(tiled: Array, channels: int, windows: _Windows) -> Array:
    """The adjoint of `_tiled_weight`: (tile * O, KH * tile_width * C) -> (O, C, KH, KW), contiguous."""
    height, width = windows.kernel
    places = tiled.reshape(windows.tile, -1, height, windows.tile_width, channels)
    dw = places[0, :, :, :width]
    for place in range(1, windows.tile):
        left = place * windows.stride[1]
        dw = dw + places[place, :, :, left : left + width]
    return np.ascontiguousarray(dw.transpose(0, 3, 1, 2))


# the three maps through columns


def _correlate(x: Array, w: Array, windows: _Windows) -> Array:
    """z[i] = sum_k w[k] x[i * stride - before + k * dilation], x being 0 outside; x (N, C, H, W), w (O, C, KH, KW)."""
    weight = _tiled_weight(w, windows).T
    z = channels_last((x.shape[0], w.shape[0], *windows.outputs), x.dtype)

    def work(start: int, stop: int) -> None:
        part = z[start:stop].transpose(0, 2, 3, 1)
        for images, rows, columns in _columns(x[start:stop], windows):
            # (block, KH*width*C) @ (KH*width*C, tile*O), straight into the NHWC result
            np.matmul(columns, weight, out=part[images, rows].reshape(columns.shape[0], weight.shape[1]))

    share(x.shape[0], work, windows.worth_sharing(x.shape[0], w), matrix_products=True)
    return z


def _correlate_grad(dz: Array, x: Array, windows: _Windows) -> Array:
    """dw of <dz, _correlate(x, w)>: (O, C, KH, KW)."""
    features, channels = dz.shape[1], x.shape[1]
    shape = windows.tile * features, windows.kernel[0] * windows.tile_width * channels

    def part(start: int, stop: int) -> Array:
        cotangents = dz[start:stop].transpose(0, 2, 3, 1)
        total = np.zeros(shape, dz.dtype)
        product = np.empty(shape, dz.dtype)
        for images, rows, columns in _columns(x[start:stop], windows):
            # (tile*O, block) @ (block, KH*width*C)
            dz_rows = cotangents[images, rows].reshape(columns.shape[0], shape[0])
            total += np.matmul(dz_rows.T, columns, out=product)
        return total

    products = dz.size * channels * math.prod(windows.kernel)
    tiled = _sum_of_parts(x.shape[0], part, products >= SHARED_PRODUCTS)
    return _untiled_weight(tiled, channels, windows)


def _sum_of_parts(images: int, part: Callable[[int, int], Array], worthwhile: bool) -> Array:
    """The sum of part(start, stop) over ranges of images that threads share."""
    sums: dict[int, Array] = {}

    def work(start: int, stop: int) -> None:
        sums[start] = part(start, stop)

    share(images, work, worthwhile, matrix_products=True)
    # added up in the order of the images, whichever thread was first
    first, *others = sorted(sums)
    for other in others:
        sums[first] += sums[other]
    return sums[first]


def _add_columns_back(dz: Array, w: Array, input_size: Pair, windows: _Windows) -> Array:
    """dx of <dz, _correlate(x, w)>: the gradients of the columns, added back to where the windows lay in a frame."""
    images, channels = dz.shape[0], w.shape[1]
    weight = _tiled_weight(w, windows)
    dx = channels_last((images, channels, *input_size), dz.dtype)
    rows_in_frame, rows_in_dx = reach(input_size[0], windows.frame[0], 1, -windows.before[0])
    columns_in_frame, columns_in_dx = reach(input_size[1], windows.frame[1], 1, -windows.before[1])
    block_images, block_rows = windows.blocks(channels)

    def work(start: int, stop: int) -> None:
        part = dz[start:stop].transpose(0, 2, 3, 1)
        part_dx = dx[start:stop].transpose(0, 2, 3, 1)
        frame = np.empty((min(block_images, len(part)), *windows.frame, channels), dz.dtype)
        buffer = np.empty(len(frame) * block_rows * windows.tiles * weight.shape[1], dz.dtype)
        for some in chunks(len(part), block_images):
            block = part[some]
            sums = frame[: len(block)]
            sums[...] = 0
            for rows in chunks(windows.outputs[0], block_rows):
                # (block, tile*O) @ (tile*O, KH*width*C)
                dz_rows = block[:, rows].reshape(-1, weight.shape[0])
                dcolumns = buffer[: len(dz_rows) * weight.shape[1]].reshape(len(dz_rows), -1)
                np.matmul(dz_rows, weight, out=dcolumns)
                shape = len(block), -1, windows.tiles, windows.kernel[0], windows.tile_width, channels
                _add_windows(sums[:, rows.start * windows.stride[0] :], dcolumns.reshape(shape), windows)
            part_dx[some] = 0  # for what no window reaches
            part_dx[some, rows_in_dx, columns_in_dx] = sums[:, rows_in_frame, columns_in_frame]

    share(images, work, windows.worth_sharing(images, w), matrix_products=True)
    return dx


def _add_windows(frame: Array, dcolumns: Array, windows: _Windows) -> None:
    """Add dcolumns (n, rows, tiles, KH, width, C) to the frame (n, h, w, C): row by row of the window, and across either
    tile by tile or element by element, whichever takes longer runs."""
    rows, tiles = dcolumns.shape[1:3]
    width, step = windows.tile_width, windows.tile * windows.stride[1]
    by_tile = tiles <= 2 * width and windows.dilation[1] == 1
    for k in range(windows.kernel[0]):
        top = k * windows.dilation[0]
        band = frame[:, top : top + (rows - 1) * windows.stride[0] + 1 : windows.stride[0]]
        if by_tile:
            for tile in range(tiles):
                left = tile * step
                band[:, :, left : left + width] += dcolumns[:, :, tile, k]
        else:
            for element in range(width):
                left = element * windows.dilation[1]
                band[:, :, left : left + (tiles - 1) * step + 1 : step] += dcolumns[:, :, :, k, element]


def _columns(x: Array, windows: _Windows) -> Iterator[tuple[slice, slice, Array]]:
    """im2col block by block: (images, rows of outputs, columns), columns being (n * rows * tiles, KH * width * C).

    The next block overwrites the columns of the last. A block's outputs lie side by side in an NHWC array.
    """
    images, channels, height, width = x.shape
    depth = windows.kernel[0] * windows.tile_width * channels
    block_images, block_rows = windows.blocks(channels)
    block_images = min(block_images, images)
    in_place = (
        windows.before == (0, 0)
        and windows.frame[0] <= height
        and windows.frame[1] <= width
        and (channels == 1 or x.strides[1] == x.itemsize)
    )
    if not in_place:
        rows_in_frame, rows_in_x = reach(height, windows.frame[0], 1, -windows.before[0])
        columns_in_frame, columns_in_x = reach(width, windows.frame[1], 1, -windows.before[1])
        frame = np.zeros((block_images, *windows.frame, channels), x.dtype)
    buffer = np.empty(block_images * block_rows * windows.tiles * depth, x.dtype)
    for some in chunks(images, block_images):
        source = x[some].transpose(0, 2, 3, 1)
        if not in_place:
            frame[: len(source), rows_in_frame, columns_in_frame] = source[:, rows_in_x, columns_in_x]
            source = frame[: len(source)]
        for rows in chunks(windows.outputs[0], block_rows):
            seen = _view_windows(source[:, rows.start * windows.stride[0] :], rows.stop - rows.start, windows)
            columns = buffer[: seen.size].reshape(seen.shape)
            if seen.strides[4:] == columns.strides[4:]:
                np.copyto(_runs(columns), _runs(seen))
            else:
                np.copyto(columns, seen)
            yield some, rows, columns.reshape(-1, depth)


def _view_windows(source: Array, rows: int, windows: _Windows) -> Array:
    """The windows of the first `rows` rows of outputs: (n, h, w, C) -> (n, rows, tiles, KH, width, C), a view."""
    of_image, of_row, of_column, of_channel = source.strides
    shape = len(source), rows, windows.tiles, windows.kernel[0], windows.tile_width, source.shape[3]
    strides = (
        of_image,
        of_row * windows.stride[0],
        of_column * windows.stride[1] * windows.tile,
        of_row * windows.dilation[0],
        of_column * windows.dilation[1],
        of_channel,
    )
    return as_strided(source, shape, strides, writeable=False)


class _Runs:
    """Presents an array to NumPy, its last two axes, which lie side by side in memory, as single elements of many bytes."""

    def __init__(self, x: Array) -> None:
        self.x = x  # the memory is its own
        size = x.shape[-2] * x.shape[-1] * x.itemsize
        self.__array_interface__ = {
            "version": 3,
            "shape": x.shape[:-2],
            "strides": x.strides[:-2],
            "typestr": f"|V{size}",
            "data": (x.__array_interface__["data"][0], False),
        }


def _runs(x: Array) -> Array:
    """(..., width, C) -> (...) of elements that are runs of width * C numbers: short runs are copied twice as fast."""
    return np.asarray(_Runs(x))


# kernels that need no columns


def _flat(x: Array) -> Array:
    """(N, C, H, W) -> (N, C * H * W)."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])


def _rows(x: Array) -> Array:
    """(N, C, H, W) -> (N * H * W, C), without a copy where the memory is NHWC."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


def _pointwise(x: Array, w: Array) -> Array:
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


def _pointwise_weight_grad(dz: Array, x: Array) -> Array:
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

    dw = _sum_of_parts(images, part, x.size * features >= SHARED_PRODUCTS)
    return dw.reshape(features, channels, 1, 1)


def _spread(dx: Array, input_size: Pair, stride: Pair) -> Array:
    """The values of dx (N, C, h, w) on every stride-th point of a plane of input_size, zero between them."""
    images, channels = dx.shape[:2]
    wide = np.zeros((images, *input_size, channels), dx.dtype).transpose(0, 3, 1, 2)
    wide[:, :, :: stride[0], :: stride[1]] = dx
    return wide


# one input channel a group: feature c * m + i reads channel c alone; w is (C * m, 1, KH, KW)


def _depthwise(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
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


def _depthwise_input_grad(
    dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, channels: int
) -> Array:
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


def _depthwise_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
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
