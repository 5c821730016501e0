"""The NumPy backend with loops compiled by Numba, the extra `fast`.

A kernel here decides whether one of the loops in numba_*.py computes its case, prepares memory for it, and shares its work
among the threads of parallel.py; every other case, and every array too small to be worth it, goes on to the NumPy
kernel it overrides. What is decided depends on shapes, strides and dtypes alone, so a program computes the same
numbers every time it runs, and results do not depend on the number of threads.

Numba is imported when a loop is first needed, never by `import tensorgrad`. `TENSORGRAD_FAST=0` in the environment switches
all of this off; `why_not()` says why loops are not used, and `loops_in_use()` which ones are.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.cpu import CPU, CPUBackend
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels, _Blocks
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.backend.parallel import share
from tensorgrad.backend.windows import Padding, Pair, chunks, conv2d_output_size, extent, pool2d_output_size

Array = np.ndarray[Any, Any]

#: Elements of an array from which on a loop is worth importing Numba for.
FAST_ELEMENTS = 1 << 12
#: Additions or comparisons, about 0.3 ms of them, from which on threads are worth their start.
SHARED_OPERATIONS = 1 << 20
#: Parts that the images of a weight gradient are summed in, before the parts are added up; more threads find no work.
GRADIENT_PARTS = 16
#: Channels times features up to which loops are faster than matrix products: where z or dx, and where dw is computed.
THIN, THIN_GRADIENT = 48, 256
#: Below this many channels planes are the better memory order for what comes next: loops over channels would be too short.
FEW = 8


@functools.cache
def why_not() -> str | None:
    """Why the loops are not used, or None where they are (or will be, once an array is large enough)."""
    if os.environ.get("TENSORGRAD_FAST", "1") == "0":
        return "TENSORGRAD_FAST is 0"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed; install the extra fast: pip install 'tapegrad[fast]'"
    return None


@functools.cache
def _numba_works() -> bool:
    """Import Numba. One that is installed but does not import, or must not compile, costs a warning and no more."""
    if why_not() is not None:
        return False
    try:
        from numba.core import config  # "numba.config" is made at run time, where a type checker does not see it
    except Exception as error:  # a Numba too old for this NumPy or Python raises errors of many kinds
        warnings.warn(f"Numba does not import, so kernels run on NumPy alone: {error}", RuntimeWarning, stacklevel=2)
        return False
    return not getattr(config, "DISABLE_JIT", 0)


def loops_in_use() -> list[str]:
    """The loops compiled or read from the cache so far, as 'numba_pooling.scatter'."""
    found = []
    for file in ("convolution", "elementwise", "normalization", "pooling"):
        module = sys.modules.get(f"tensorgrad.backend.numba_{file}")
        for name, loop in sorted(vars(module).items()) if module is not None else ():
            if getattr(loop, "signatures", None):
                found.append(f"numba_{file}.{name}")
    return found


def _takes(*arrays: Array) -> bool:
    """Whether the loops take these arrays: of one dtype, float32 or float64, and the first is large enough."""
    dtype = arrays[0].dtype
    return (
        arrays[0].size >= FAST_ELEMENTS
        and (dtype == np.float32 or dtype == np.float64)
        and all(array.dtype == dtype for array in arrays)
        and all(array.size for array in arrays)
        and _numba_works()
    )


class FastConvolutionKernels(NumpyConvolutionKernels):
    """Convolution of few channels with a stride of 1: see numba_convolution.py. Results are (N, C, H, W) in memory."""

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        if not (_thin(w.shape, outputs, stride, groups, THIN) and _takes(x, w)):
            return super().conv2d(x, w, stride, padding, dilation, groups)
        return _correlate(x, w, padding, dilation, outputs)

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        # dx is a convolution of dz with the kernel turned by 180 degrees; see the same step in numpy_convolution.py
        beyond = [extent(size, step) - 1 for size, step in zip(w.shape[2:], dilation)]
        around = beyond[0] - padding[0], beyond[0] - padding[1], beyond[1] - padding[2], beyond[1] - padding[3]
        if not (_thin(w.shape, input_size, stride, groups, THIN) and min(around) >= 0 and _takes(dz, w)):
            dx = super().conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups)
            return np.ascontiguousarray(dx) if dx.shape[1] < FEW and _takes(dx) else dx
        rotated = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return _correlate(dz, rotated, around, dilation, input_size)

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        w_shape = dz.shape[1], x.shape[1] // groups, *kernel_size
        if not (_thin(w_shape, dz.shape[2:], stride, groups, THIN_GRADIENT) and _takes(x, dz)):
            return super().conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups)
        dw = _correlate_grad(dz, x, w_shape, padding, dilation)
        if np.isfinite(dw).all():
            return dw
        # the wrapped columns multiply zeros with whatever is there; where that may be an infinity, take the plain way
        return ConvolutionKernels.conv2d_weight_grad(self, dz, x, kernel_size, stride, padding, dilation, groups)


def _thin(w_shape: tuple[int, ...], outputs: Pair, stride: Pair, groups: int, most: int) -> bool:
    """Whether loops are faster than matrix products: few channels, and rows that lose little to wrapped columns."""
    if stride != (1, 1) or groups != 1 or w_shape[2:] == (1, 1):
        return False
    return w_shape[0] * w_shape[1] <= most and w_shape[3] <= outputs[1]


def _distances(channels: int, kernel: Pair, dilation: Pair, height: int, pitch: int) -> Array:
    """How far each tap (channel, row, column) lies from the first in a frame of planes of height * pitch -> (T,)."""
    planes = np.arange(channels) * (height * pitch)
    rows = np.arange(kernel[0]) * (dilation[0] * pitch)
    columns = np.arange(kernel[1]) * dilation[1]
    return (planes[:, None, None] + rows[:, None] + columns).ravel()


def _correlate(x: Array, w: Array, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    """z[n, o] = sum_k w[o, k] x[n, ... + k] with a stride of 1; x (N, C, H, W), w (O, C, KH, KW) -> z (N, O, OH, OW)."""
    from tensorgrad.backend import numba_convolution as loops

    images, channels = x.shape[:2]
    features, kernel = w.shape[0], w.shape[2:]
    height, pitch = x.shape[2] + padding[0] + padding[1], x.shape[3] + padding[2] + padding[3]
    weight = np.zeros((_whole_groups(features, loops.FEATURES), w[0].size), w.dtype)
    weight[:features] = w.reshape(features, -1)
    distances = _distances(channels, kernel, dilation, height, pitch)
    source = np.ascontiguousarray(x)
    z = np.empty((images, features, *outputs), x.dtype)

    def work(start: int, stop: int) -> None:
        frame = np.zeros((channels, height, pitch), x.dtype)
        sums = np.empty((loops.FEATURES, max(loops.LINE, pitch)), x.dtype)
        loops.correlate(source, weight, distances, z, frame, padding[0], padding[2], sums, start, stop)

    share(images, work, z.size * len(distances) >= 4 * SHARED_OPERATIONS)
    return z


def _correlate_grad(dz: Array, x: Array, w_shape: tuple[int, ...], padding: Padding, dilation: Pair) -> Array:
    """dw of <dz, _correlate(x, w)>: (O, C, KH, KW)."""
    from tensorgrad.backend import numba_convolution as loops

    images, channels = x.shape[:2]
    features, kernel = w_shape[0], w_shape[2:]
    height, pitch = x.shape[2] + padding[0] + padding[1], x.shape[3] + padding[2] + padding[3]
    distances = _distances(channels, kernel, dilation, height, pitch)  # type: ignore[arg-type]
    source, cotangents = np.ascontiguousarray(x), np.ascontiguousarray(dz)
    groups = list(chunks(images, -(-images // GRADIENT_PARTS)))
    sums = np.zeros((len(groups), _whole_groups(features, loops.FEATURES), len(distances)), x.dtype)

    def work(start: int, stop: int) -> None:
        frame = np.zeros((channels, height, pitch), x.dtype)
        lines = np.zeros((sums.shape[1], dz.shape[2] * pitch), x.dtype)
        for number in range(start, stop):
            some = groups[number]
            settings = frame, padding[0], padding[2], lines, some.start, some.stop
            loops.correlate_grad(cotangents, source, distances, sums[number], *settings)

    share(len(groups), work, dz.size * len(distances) >= 4 * SHARED_OPERATIONS)
    return sums.sum(axis=0)[:features].reshape(w_shape)


def _whole_groups(count: int, size: int) -> int:
    """The least multiple of size that is not less than count."""
    return -(-count // size) * size


class FastPoolingKernels(NumpyPoolingKernels):
    """Pooling without dilation: see numba_pooling.py. Results have the memory order of the input."""

    def max_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
    ) -> tuple[Array, Array]:
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
        if dilation != (1, 1) or kernel_size[0] * kernel_size[1] > 256 or not _takes(x):
            return super().max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
        from tensorgrad.backend import numba_pooling as loops

        images, channels = x.shape[:2]
        before = padding[0], padding[2]
        last = _channels_last(x)
        source = _images(x, last)
        z = np.empty((len(source), *outputs, source.shape[3]), x.dtype)
        winners = np.empty(z.shape, np.uint8)
        if last:
            settings = source, z, winners, kernel_size, stride, before
            _each(loops.max_points, settings, len(z), x.size * kernel_size[0])
        else:
            planes = source[..., 0], z[..., 0], winners[..., 0]
            inside = 2 * outputs[0] <= x.shape[2] and 2 * outputs[1] <= x.shape[3]
            if kernel_size == stride == (2, 2) and padding == (0, 0, 0, 0) and inside:
                _each(loops.max_planes_2x2, planes, len(z), x.size)
            else:
                _each(loops.max_planes, (*planes, kernel_size, stride, before), len(z), x.size * kernel_size[0])
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
        if dilation != (1, 1) or winners.dtype != np.uint8 or not _takes(dz):
            return super().max_pool2d_scatter(dz, winners, input_size, kernel_size, stride, padding, dilation)
        from tensorgrad.backend import numba_pooling as loops

        images, channels = dz.shape[:2]
        last = _channels_last(winners)
        cotangents = _images(dz, last)
        dx = np.empty((len(cotangents), *input_size, cotangents.shape[3]), dz.dtype)
        distances = _distances(1, kernel_size, (1, 1), input_size[0], input_size[1])
        settings = cotangents, _images(winners, last), dx.reshape(len(dx), -1), distances, input_size[1], stride
        _each(loops.scatter, (*settings, (padding[0], padding[2])), len(dx), dx.size)
        return _of_images(dx, images, channels, last)

    def max_pool2d_gather(
        self, dx: Array, winners: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        if dilation != (1, 1) or winners.dtype != np.uint8 or not _takes(dx):
            return super().max_pool2d_gather(dx, winners, kernel_size, stride, padding, dilation)
        from tensorgrad.backend import numba_pooling as loops

        images, channels, height, width = dx.shape
        last = _channels_last(winners)
        tangents, winning = _images(dx, last), _images(winners, last)
        dz = np.empty(winning.shape, dx.dtype)
        distances = _distances(1, kernel_size, (1, 1), height, width)
        settings = tangents.reshape(len(tangents), -1), winning, dz, distances, width, stride
        _each(loops.gather, (*settings, (padding[0], padding[2])), len(dz), dx.size)
        return _of_images(dz, images, channels, last)

    def _window_sums(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> Array:
        # where rows of one channel are what lies side by side, NumPy is as fast
        if kernel == x.shape[2:] or not _channels_last(x) or not _takes(x):
            return super()._window_sums(x, kernel, stride, padding, outputs)
        from tensorgrad.backend import numba_pooling as loops

        source = _images(x, channels_last=True)
        z = np.empty((len(source), *outputs, source.shape[3]), x.dtype)
        settings = source, z, kernel, stride, (padding[0], padding[2])
        _each(loops.sums_of_points, settings, len(z), x.size * kernel[0])
        return z.transpose(0, 3, 1, 2)

    def _window_spreads(self, dz: Array, input_size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
        if kernel == input_size or not _channels_last(dz) or not _takes(dz):
            return super()._window_spreads(dz, input_size, kernel, stride, padding)
        from tensorgrad.backend import numba_pooling as loops

        source = _images(dz, channels_last=True)
        dx = np.empty((len(source), *input_size, source.shape[3]), dz.dtype)
        settings = source, dx, kernel, stride, (padding[0], padding[2])
        _each(loops.spreads_of_points, settings, len(dx), dx.size * kernel[0])
        return dx.transpose(0, 3, 1, 2)


def _channels_last(x: Array) -> bool:
    """Whether the channels of x (N, C, H, W) lie closer together in memory than the points of a row."""
    return x.shape[1] > 1 and abs(x.strides[1]) < abs(x.strides[3])


def _images(x: Array, channels_last: bool) -> Array:
    """x (N, C, H, W) as contiguous (N, H, W, C), or, where channels are not last, as (N * C, H, W, 1)."""
    if channels_last:
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    images, channels, height, width = x.shape
    return np.ascontiguousarray(x).reshape(images * channels, height, width, 1)


def _of_images(z: Array, images: int, channels: int, channels_last: bool) -> Array:
    """What `_images` gave -> (N, C, H, W)."""
    return z.transpose(0, 3, 1, 2) if channels_last else z.reshape(images, channels, *z.shape[1:3])


def _each(loop: Callable[..., None], arguments: tuple[Any, ...], count: int, operations: int) -> None:
    """loop(*arguments, start, stop) over range(count), shared among threads if there are enough operations."""
    share(count, lambda start, stop: loop(*arguments, start, stop), operations >= SHARED_OPERATIONS)


class FastNormalizationKernels(NumpyNormalizationKernels):
    """Batch normalisation in one pass over memory for the statistics, and one for what is made of them."""

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if not _takes(x):
            return super().batch_norm(x, weight, bias, eps)
        from tensorgrad.backend import numba_normalization as loops

        channels = x.shape[1]
        blocks = _Blocks(x)
        values = blocks.view(x)
        loop, parts = _parts(loops, blocks, loops.moments_of_rows, loops.moments_of_planes)
        means, squares = np.empty(parts), np.empty(parts)
        _each(loop, (values, means, squares), len(means), x.size)
        counts = _counts(values, parts, loops.BLOCK)
        # the variance of all is the mean of the parts' variances and the variance of the parts' means
        mean = _by_channel(counts * means, channels) / (x.size // channels)
        between = counts * (means - np.tile(mean, parts[1] // channels)) ** 2
        var = (_by_channel(squares, channels) + _by_channel(between, channels)) / (x.size // channels)
        inv_std = (1 / np.sqrt(var + eps)).astype(x.dtype)
        mean = mean.astype(x.dtype)
        return self.normalize(x, mean, inv_std, weight, bias), mean, var.astype(x.dtype), inv_std

    def batch_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        if not _takes(x, dz):
            return super().batch_norm_grad(dz, x, weight, mean, inv_std)
        from tensorgrad.backend import numba_normalization as loops

        channels = x.shape[1]
        count = x.size // channels
        blocks = _Blocks(x)
        values, cotangents = blocks.view(x), blocks.view(dz)
        loop, parts = _parts(loops, blocks, loops.products_of_rows, loops.products_of_planes)
        sums, products = np.empty(parts), np.empty(parts)
        centre = _vector(mean, blocks, x.dtype)
        _each(loop, (cotangents, values, centre, sums, products), len(sums), x.size)
        db, dw = _by_channel(sums, channels), _by_channel(products, channels) * inv_std
        scale = inv_std if weight is None else inv_std * weight
        # dx = scale * (dz - db / count - (x - mean) * inv_std * dw / count)
        vectors = [_vector(vector, blocks, x.dtype) for vector in (inv_std * dw / count, db / count, scale)]
        dx = np.empty(values.shape, x.dtype)
        loop = loops.gradient_of_rows if blocks.channels_last else loops.gradient_of_planes
        _each(loop, (cotangents, values, centre, *vectors, dx), len(dx), x.size)
        dtype = mean.dtype if weight is None else weight.dtype
        return blocks.back(dx), dw.astype(dtype), db.astype(dtype)

    def normalize(self, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None) -> Array:
        if not _takes(x):
            return super().normalize(x, mean, inv_std, weight, bias)
        from tensorgrad.backend import numba_normalization as loops

        blocks = _Blocks(x)
        values = blocks.view(x)
        scale = inv_std if weight is None else inv_std * weight
        shift = np.zeros(x.shape[1], x.dtype) if bias is None else bias
        vectors = [_vector(vector, blocks, x.dtype) for vector in (mean, scale, shift)]
        y = np.empty(values.shape, x.dtype)
        loop = loops.normalize_rows if blocks.channels_last else loops.normalize_planes
        _each(loop, (values, *vectors, y), len(y), x.size)
        return blocks.back(y)


def _parts(loops: Any, blocks: _Blocks, of_rows: Any, of_planes: Any) -> tuple[Any, tuple[int, int]]:
    """The loop over this memory order, and how many sums it takes: (blocks, K) of rows, (N, C) of planes."""
    if blocks.channels_last:
        return of_rows, (-(-blocks.shape[0] // loops.BLOCK), blocks.shape[1])
    return of_planes, blocks.shape[:2]  # type: ignore[return-value]


def _counts(values: Array, parts: tuple[int, int], block: int) -> Any:
    """How many values each part has, to be broadcast against the parts."""
    if values.ndim == 3:
        return values.shape[2]
    counts = np.full((parts[0], 1), block)
    counts[-1] = len(values) - (parts[0] - 1) * block
    return counts


def _by_channel(sums: Array, channels: int) -> Array:
    """The sums of all parts -> (C,); in a row of several points the channels repeat."""
    return sums.sum(axis=0).reshape(-1, channels).sum(axis=0)


def _vector(values: Array, blocks: _Blocks, dtype: Any) -> Array:
    """(C,) as contiguous values for a row, repeated as often as the row has points, or for the planes as they are."""
    return np.tile(values.astype(dtype), blocks.repeat)


class FastBackend(FastConvolutionKernels, FastPoolingKernels, FastNormalizationKernels, CPUBackend):
    """Kernels on numpy.ndarray, compiled ones where there are any."""

    def relu_grad(self, dz: Array, z: Array) -> Array:
        values = _line(z)
        if values is None or dz.shape != z.shape or not _takes(z, dz):
            return super().relu_grad(dz, z)
        from tensorgrad.backend import numba_elementwise as loops

        dx = np.empty_like(z)
        if dz.strides == z.strides:
            cotangents = _line(dz)
        else:  # in the memory order of z
            np.copyto(dx, dz)
            cotangents = _line(dx)
        _each(loops.relu_grad, (cotangents, values, _line(dx)), z.size, z.size // 2)
        return dx


def _line(x: Array) -> Array | None:
    """The numbers of x in the order they have in memory, a view; None where they do not lie side by side."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return x.transpose(0, 2, 3, 1).reshape(-1)
    return None


def cpu_backend() -> CPUBackend:
    """The backend for NumPy's arrays: with compiled loops where Numba is installed, without them elsewhere."""
    return FastBackend(np) if why_not() is None else CPU
