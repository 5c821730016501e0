"""Convolutions of NumPy arrays through columns: windows laid side by side, block by block, times the weight.

Three maps of one trilinear form: `correlate`, and its two adjoints `correlate_grad` (for the weight) and `add_columns_back`
(for the input). What blocks and tiles are for, says numpy_convolution.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgrad.backend.parallel import share, sum_of_parts
from tensorgrad.backend.windows import Pair, chunks, extent, reach

Array = np.ndarray[Any, Any]

#: Elements of a block of columns: 1 MB of float32, about one core's second-level cache.
BLOCK_ELEMENTS = 1 << 18
#: Rows of a block at least, so that a matrix product is worth its call.
BLOCK_ROWS = 256
#: Multiplications in matrix products from which on threads are worth their start, about 0.05 ms.
SHARED_PRODUCTS = 1 << 22


def channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised (N, C, H, W) whose memory is NHWC."""
    images, channels, height, width = shape
    return np.empty((images, height, width, channels), dtype).transpose(0, 3, 1, 2)


class Windows(NamedTuple):
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


def windows_in_tiles(
    features: int, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, outputs: Pair, widest: int = 32
) -> Windows:
    """The windows in tiles of at most `widest` features, so that the matrix product is wide enough.

    A tile must not make more than about twice as many products as needed, and tiles must divide the row.
    """
    tile = 1
    for size in range(2, widest // features + 1):
        if dilation[1] == 1 and outputs[1] % size == 0 and (size - 1) * stride[1] <= kernel[1]:
            tile = size
    return Windows(kernel, stride, dilation, before, outputs, tile)


def _tiled_weight(w: Array, windows: Windows) -> Array:
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


def _untiled_weight(tiled: Array, channels: int, windows: Windows) -> Array:
    """The adjoint of `_tiled_weight`: (tile * O, KH * tile_width * C) -> (O, C, KH, KW), contiguous."""
    height, width = windows.kernel
    places = tiled.reshape(windows.tile, -1, height, windows.tile_width, channels)
    dw = places[0, :, :, :width]
    for place in range(1, windows.tile):
        left = place * windows.stride[1]
        dw = dw + places[place, :, :, left : left + width]
    return np.ascontiguousarray(dw.transpose(0, 3, 1, 2))


def correlate(x: Array, w: Array, windows: Windows) -> Array:
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


def correlate_grad(dz: Array, x: Array, windows: Windows) -> Array:
    """dw of <dz, correlate(x, w)>: (O, C, KH, KW)."""
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
    tiled = sum_of_parts(x.shape[0], part, products >= SHARED_PRODUCTS)
    return _untiled_weight(tiled, channels, windows)


def add_columns_back(dz: Array, w: Array, input_size: Pair, windows: Windows) -> Array:
    """dx of <dz, correlate(x, w)>: the gradients of the columns, added back to where the windows lay in a frame."""
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


def _add_windows(frame: Array, dcolumns: Array, windows: Windows) -> None:
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


def _columns(x: Array, windows: Windows) -> Iterator[tuple[slice, slice, Array]]:
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


def _view_windows(source: Array, rows: int, windows: Windows) -> Array:
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
