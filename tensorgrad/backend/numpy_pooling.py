"""Pooling on NumPy arrays, fast: a few images at a time, so that all steps but the first and the last stay in cache.

- Work goes on in the memory order of the input, (N, H, W, C) or (N, C, H, W), and results have it too.
- A tap's values are copied side by side first; every step after that runs over contiguous memory, which is
  where NumPy uses vector instructions.
- Nothing branches. Winners are bytes: better * number, kept by a maximum, because numbers only grow. A gradient is let
  through by a bit mask, all ones where the tap won: several times faster than `where`, and exact for inf and nan, for
  which a product with 0 would give nan.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensorgrad.backend.parallel import share
from tensorgrad.backend.pooling import PoolingKernels, first_taps, winner_dtype
from tensorgrad.backend.windows import Padding, Pair, Tap, chunks, extent, pool2d_output_size, reach, taps

Array = np.ndarray[Any, Any]

#: Elements in work at once: 256 kB of float32.
BLOCK_ELEMENTS = 1 << 16
#: Outputs times taps from which on threads are worth their start.
SHARED_ELEMENTS = 1 << 20


class NumpyPoolingKernels(PoolingKernels):
    """Pooling on NumPy arrays; meaning, layouts and errors are those of PoolingKernels."""

    def max_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
    ) -> tuple[Array, Array]:
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
        order = _MemoryOrder(x)
        source = order.view(x)
        z = np.empty(order.shape(x, outputs), x.dtype)
        winners = np.empty(z.shape, winner_dtype(np, kernel_size))
        first: Any = 0
        if padding != (0, 0, 0, 0):
            first = np.array(first_taps(kernel_size, stride, padding, dilation, outputs), winners.dtype)
            first = first[:, :, None] if order.channels_last else first
        windows = list(taps(x.shape[2:], kernel_size, stride, padding, dilation, outputs))

        def work(start: int, stop: int) -> None:
            blocks = list(_blocks(start, stop, z))
            shape = z[blocks[0]].shape if blocks else (0,)
            value, better, number = np.empty(shape, x.dtype), np.empty(shape, bool), np.empty(shape, winners.dtype)
            for some in blocks:
                winners[some] = first
                size = some.stop - some.start
                scratch = value[:size], better[:size], number[:size]
                _maxima(source[some], z[some], winners[some], windows, order, scratch)

        share(len(z), work, z.size * len(windows) >= SHARED_ELEMENTS)
        return order.back(z), order.back(winners)

    def max_pool2d_scatter(
        self,
        dz: Array,
        winners: Array,
        input_size: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
    ) -> Array:
        order = _MemoryOrder(winners)
        winning = order.view(winners)
        cotangents = np.ascontiguousarray(order.view(dz))
        dx = np.empty(order.shape(dz, input_size), dz.dtype)
        windows = list(taps(input_size, kernel_size, stride, padding, dilation, dz.shape[2:]))
        overlap = stride[0] < extent(kernel_size[0], dilation[0]) or stride[1] < extent(kernel_size[1], dilation[1])

        def work(start: int, stop: int) -> None:
            for some in _blocks(start, stop, cotangents):
                sums = dx[some]
                sums.fill(0)
                for tap in windows:
                    passed = _where_equal(winning[some], tap.number, cotangents[some])[order.at(tap.rows, tap.columns)]
                    reached = sums[order.at(tap.input_rows, tap.input_columns)]
                    if overlap:
                        reached += passed
                    else:
                        reached[...] = passed

        share(len(dx), work, dz.size * len(windows) >= SHARED_ELEMENTS)
        return order.back(dx)

    def max_pool2d_gather(
        self, dx: Array, winners: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        order = _MemoryOrder(winners)
        winning, tangents = order.view(winners), order.view(dx)
        dz = np.empty(winning.shape, dx.dtype)
        windows = list(taps(dx.shape[2:], kernel_size, stride, padding, dilation, winners.shape[2:]))

        def work(start: int, stop: int) -> None:
            for some in _blocks(start, stop, dz):
                dz[some] = 0
                for tap in windows:
                    outputs = order.at(tap.rows, tap.columns)
                    seen = tangents[some][order.at(tap.input_rows, tap.input_columns)]
                    chosen = _bits(dz[some][outputs])
                    chosen |= _bits(_where_equal(winning[some][outputs], tap.number, seen))

        share(len(dz), work, dz.size * len(windows) >= SHARED_ELEMENTS)
        return order.back(dz)

    def _window_sums(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> Array:
        order = _MemoryOrder(x)
        source = order.view(x)
        z = np.empty(order.shape(x, outputs), x.dtype)
        if kernel == x.shape[2:] and outputs == (1, 1):
            np.sum(source, axis=order.plane, keepdims=True, out=z)
            return order.back(z)
        rows, columns = order.plane

        def work(start: int, stop: int) -> None:
            for some in _blocks(start, stop, source):
                sums = np.empty(order.shape(x[some], (outputs[0], x.shape[3])), x.dtype)
                _sum_strips(source[some], sums, rows, kernel[0], stride[0], padding[0])
                _sum_strips(sums, z[some], columns, kernel[1], stride[1], padding[2])

        share(len(z), work, x.size * (kernel[0] + kernel[1]) >= SHARED_ELEMENTS)
        return order.back(z)

    def _window_spreads(self, dz: Array, input_size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
        order = _MemoryOrder(dz)
        source = order.view(dz)
        dx = np.empty(order.shape(dz, input_size), dz.dtype)
        rows, columns = order.plane

        def work(start: int, stop: int) -> None:
            for some in _blocks(start, stop, dx):
                spread = np.empty(order.shape(dz[some], (dz.shape[2], input_size[1])), dz.dtype)
                _spread_strips(source[some], spread, columns, kernel[1], stride[1], padding[2])
                _spread_strips(spread, dx[some], rows, kernel[0], stride[0], padding[0])

        share(len(dx), work, dx.size * (kernel[0] + kernel[1]) >= SHARED_ELEMENTS)
        return order.back(dx)


class _MemoryOrder:
    """Whether the channels of x (N, C, H, W) lie innermost in memory, and how to see arrays in that order."""

    def __init__(self, x: Array) -> None:
        self.channels_last = x.shape[1] > 1 and abs(x.strides[1]) < abs(x.strides[3])
        self.plane = (1, 2) if self.channels_last else (2, 3)

    def view(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, H, W, C) if channels_last."""
        return x.transpose(0, 2, 3, 1) if self.channels_last else x

    def back(self, x: Array) -> Array:
        """What `view` gave -> (N, C, H, W)."""
        return x.transpose(0, 3, 1, 2) if self.channels_last else x

    def shape(self, x: Array, size: Pair) -> tuple[int, ...]:
        """The shape, in this order, of an array with the images and channels of x (N, C, ...) and planes of `size`."""
        images, channels = x.shape[:2]
        return (images, *size, channels) if self.channels_last else (images, channels, *size)

    def at(self, rows: slice, columns: slice) -> tuple[slice, ...]:
        """The index of a part of the planes."""
        return (slice(None), rows, columns) if self.channels_last else (slice(None), slice(None), rows, columns)


def _blocks(start: int, stop: int, x: Array) -> Iterator[slice]:
    """Slices of the images start .. stop of x, each of about BLOCK_ELEMENTS."""
    of_an_image = max(1, x.size // max(1, len(x)))
    for some in chunks(stop - start, BLOCK_ELEMENTS // of_an_image):
        yield slice(start + some.start, start + some.stop)


def _maxima(
    x: Array, z: Array, winners: Array, windows: list[Tap], order: _MemoryOrder, scratch: tuple[Array, Array, Array]
) -> None:
    """Fill z with the greatest value of every window of x, and winners (which holds the first taps) with its tap."""
    value, better, number = scratch
    outputs = z.shape[order.plane[0]], z.shape[order.plane[1]]

    def see(tap: Tap) -> None:
        """value = the tap's value for every output, -inf where it lies in the padding."""
        if (tap.rows, tap.columns) != (slice(0, outputs[0]), slice(0, outputs[1])):
            value.fill(-np.inf)
        value[order.at(tap.rows, tap.columns)] = x[order.at(tap.input_rows, tap.input_columns)]

    def win(tap: Tap) -> None:
        """winners = the tap's number where it is better; no number there was larger."""
        if tap.number == 0:
            return
        np.multiply(better.view(np.uint8), winners.dtype.type(tap.number), out=number)
        np.maximum(winners, number, out=winners)

    z.fill(-np.inf)
    for tap in windows:
        see(tap)
        np.greater(value, z, out=better)
        np.maximum(value, z, out=z)
        win(tap)
    # a nan is greater than nothing, but wins: of several the last
    if np.isnan(z, out=better).any():
        for tap in windows:
            see(tap)
            np.isnan(value, out=better)
            win(tap)


def _bits(x: Array) -> Array:
    """The same memory as integers."""
    return x.view({2: np.int16, 4: np.int32, 8: np.int64}[x.itemsize])


def _where_equal(numbers: Array, number: int, x: Array) -> Array:
    """x where numbers == number, else 0."""
    bytes_of_ones = np.equal(numbers, number).view(np.int8)
    np.negative(bytes_of_ones, out=bytes_of_ones)
    mask = bytes_of_ones.astype(_bits(x).dtype)  # -1, all ones, keeps its sign
    return np.bitwise_and(_bits(x), mask, out=mask).view(x.dtype)


def _sum_strips(x: Array, z: Array, axis: int, kernel: int, stride: int, before: int) -> None:
    """z[i] = sum_k x[i * stride - before + k] along axis."""
    along = (slice(None),) * axis
    z.fill(0)
    for k in range(kernel):
        outputs, inputs = reach(x.shape[axis], z.shape[axis], stride, k - before)
        z[(*along, outputs)] += x[(*along, inputs)]


def _spread_strips(dz: Array, dx: Array, axis: int, kernel: int, stride: int, before: int) -> None:
    """dx[i * stride - before + k] += dz[i] for every k along axis: the adjoint of `_sum_strips`."""
    along = (slice(None),) * axis
    dx.fill(0)
    for k in range(kernel):
        outputs, inputs = reach(dx.shape[axis], dz.shape[axis], stride, k - before)
        dx[(*along, inputs)] += dz[(*along, outputs)]
