"""Pooling with compiled kernels: numba_points.py in vector registers where it can, the loops of numba_pooling.py elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.backend.windows import Padding, Pair, pool2d_output_size, tap_distances

Array = np.ndarray[Any, Any]


class FastPoolingKernels(NumpyPoolingKernels):
    """Pooling without dilation: see numba_pooling.py. Results have the memory order of the input."""

    def max_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
    ) -> tuple[Array, Array]:
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
        if dilation != (1, 1) or kernel_size[0] * kernel_size[1] > 256 or not compiled.takes(x):
            return super().max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
        if _in_registers(x):
            from tensorgrad.backend import points

            return points.largest(x, kernel_size, stride, padding, outputs)
        if _in_registers(_exchanged(x)):
            from tensorgrad.backend import points

            z, winners = points.largest(_exchanged(x), kernel_size, stride, padding, outputs)
            return _exchanged(z), _exchanged(winners)
        from tensorgrad.backend import numba_pooling as loops

        images, channels = x.shape[:2]
        before = padding[0], padding[2]
        last = compiled.channels_last(x)
        source = _images(x, last)
        z = np.empty((len(source), *outputs, source.shape[3]), x.dtype)
        winners = np.empty(z.shape, np.uint8)
        if last:
            settings = source, z, winners, kernel_size, stride, before
            compiled.each(loops.max_points, settings, len(z), x.size * kernel_size[0])
        else:
            planes = source[..., 0], z[..., 0], winners[..., 0]
            inside = 2 * outputs[0] <= x.shape[2] and 2 * outputs[1] <= x.shape[3]
            if kernel_size == stride == (2, 2) and padding == (0, 0, 0, 0) and inside:
                compiled.each(loops.max_planes_2x2, planes, len(z), x.size)
            else:
                compiled.each(loops.max_planes, (*planes, kernel_size, stride, before), len(z), x.size * kernel_size[0])
        return _of_images(z, images, channels, last), _of_images(winners, images, channels, last)

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
        if dilation != (1, 1) or winners.dtype != np.uint8 or not compiled.takes(dz):
            return super().max_pool2d_scatter(dz, winners, input_size, kernel_size, stride, padding, dilation)
        if _in_registers(dz) and _in_registers(winners, np.uint8):
            from tensorgrad.backend import points

            return points.to_winners(dz, winners, input_size, kernel_size, stride, padding)
        if dz.dtype == np.float32 and _in_registers(_exchanged(winners), np.uint8):
            from tensorgrad.backend import batch, points

            cotangents, winning = _exchanged(batch.to_batch_last(dz)), _exchanged(winners)
            return _exchanged(points.to_winners(cotangents, winning, input_size, kernel_size, stride, padding))
        from tensorgrad.backend import numba_pooling as loops

        images, channels = dz.shape[:2]
        last = compiled.channels_last(winners)
        cotangents = _images(dz, last)
        dx = np.empty((len(cotangents), *input_size, cotangents.shape[3]), dz.dtype)
        distances = tap_distances(1, kernel_size, (1, 1), input_size[0], input_size[1])
        settings = cotangents, _images(winners, last), dx.reshape(len(dx), -1), distances, input_size[1], stride
        compiled.each(loops.scatter, (*settings, (padding[0], padding[2])), len(dx), dx.size)
        return _of_images(dx, images, channels, last)

    def max_pool2d_gather(
        self, dx: Array, winners: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        if dilation != (1, 1) or winners.dtype != np.uint8 or not compiled.takes(dx):
            return super().max_pool2d_gather(dx, winners, kernel_size, stride, padding, dilation)
        from tensorgrad.backend import numba_pooling as loops

        images, channels, height, width = dx.shape
        last = compiled.channels_last(winners)
        tangents, winning = _images(dx, last), _images(winners, last)
        dz = np.empty(winning.shape, dx.dtype)
        distances = tap_distances(1, kernel_size, (1, 1), height, width)
        settings = tangents.reshape(len(tangents), -1), winning, dz, distances, width, stride
        compiled.each(loops.gather, (*settings, (padding[0], padding[2])), len(dz), dx.size)
        return _of_images(dz, images, channels, last)

    def _window_sums(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> Array:
        if kernel != x.shape[2:] and compiled.takes(x) and _in_registers(_exchanged(x)):
            from tensorgrad.backend import points

            return _exchanged(points.sums(_exchanged(x), kernel, stride, padding, outputs))
        # where rows of one channel are what lies side by side, NumPy is as fast
        if kernel == x.shape[2:] or not compiled.channels_last(x) or not compiled.takes(x):
            return super()._window_sums(x, kernel, stride, padding, outputs)
        if _in_registers(x):
            from tensorgrad.backend import points

            return points.sums(x, kernel, stride, padding, outputs)
        from tensorgrad.backend import numba_pooling as loops

        source = _images(x, channels_last=True)
        z = np.empty((len(source), *outputs, source.shape[3]), x.dtype)
        settings = source, z, kernel, stride, (padding[0], padding[2])
        compiled.each(loops.sums_of_points, settings, len(z), x.size * kernel[0])
        return z.transpose(0, 3, 1, 2)

    def _window_spreads(self, dz: Array, input_size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
        if kernel != input_size and compiled.takes(dz) and _may_be_batch_last(dz):
            from tensorgrad.backend import batch, points

            cotangents = _exchanged(batch.to_batch_last(dz))
            return _exchanged(points.spreads(cotangents, input_size, kernel, stride, padding))
        if kernel == input_size or not compiled.channels_last(dz) or not compiled.takes(dz):
            return super()._window_spreads(dz, input_size, kernel, stride, padding)
        if _in_registers(dz):
            from tensorgrad.backend import points

            return points.spreads(dz, input_size, kernel, stride, padding)
        from tensorgrad.backend import numba_pooling as loops

        source = _images(dz, channels_last=True)
        dx = np.empty((len(source), *input_size, source.shape[3]), dz.dtype)
        settings = source, dx, kernel, stride, (padding[0], padding[2])
        compiled.each(loops.spreads_of_points, settings, len(dx), dx.size * kernel[0])
        return dx.transpose(0, 3, 1, 2)


def _in_registers(x: Array, dtype: Any = np.float32) -> bool:
    """Whether x can be taken a register of channels at a time; that the loops take its like is known."""
    if x.dtype != dtype:
        return False
    from tensorgrad.backend import points

    return points.takes(x)


def _may_be_batch_last(dz: Array) -> bool:
    """Whether dz is batch last, or planes behind layers that most likely are: few channels, the images in whole registers.

    What comes back through a Flatten is planes, whatever went into it.
    """
    if _in_registers(_exchanged(dz)):
        return True
    from tensorgrad.backend.numba_simd import lanes

    in_planes = dz.dtype == np.float32 and dz.flags.c_contiguous
    return in_planes and 1 < dz.shape[1] <= lanes() and dz.shape[0] % lanes() == 0


def _exchanged(x: Array) -> Array:
    """x (N, C, H, W) as (C, N, H, W), a view: channels-last memory then is what batch-last memory was."""
    return x.transpose(1, 0, 2, 3)


def _images(x: Array, channels_last: bool) -> Array:
    """x (N, C, H, W) as contiguous (N, H, W, C), or, where channels are not last, as (N * C, H, W, 1)."""
    if channels_last:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    images, channels, height, width = x.shape
    return np.ascontiguousarray(x).reshape(images * channels, height, width, 1)


def _of_images(z: Array, images: int, channels: int, channels_last: bool) -> Array:
    """What `_images` gave -> (N, C, H, W)."""
    return z.transpose(0, 3, 1, 2) if channels_last else z.reshape(images, channels, *z.shape[1:3])
