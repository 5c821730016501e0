"""Convolution with compiled kernels; choice.py says which computes what."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import choice, compiled
from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.parallel import share
from tensorgrad.backend.windows import Padding, Pair, chunks, conv2d_output_size, extent, tap_distances

Array = np.ndarray[Any, Any]

#: Parts that the images of a weight gradient are summed in, before the parts are added up; more threads find no work.
GRADIENT_PARTS = 16
#: Below this many channels planes are the better memory order for what comes next: loops over channels would be too short.
FEW = 8


class FastConvolutionKernels(NumpyConvolutionKernels):
    """Convolution on the kernels that choice.py names. Results have NHWC memory, those of loops (N, C, H, W), of batch (C, H, W, N)."""

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        return self.conv2d_bias(x, w, None, stride, padding, dilation, groups)

    def conv2d_bias(
        self, x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        kernel = _kernel("forward", x, w, w.shape, outputs, stride, dilation, groups)
        if kernel == "direct":
            from tensorgrad.backend import direct

            return direct.conv2d(x, w, bias, stride, padding, dilation, groups, outputs)
        if kernel == "winograd":
            from tensorgrad.backend import winograd

            return winograd.correlate(x, w.transpose(2, 3, 1, 0), bias, (padding[0], padding[2]), outputs)
        if kernel == "depthwise":
            from tensorgrad.backend import depthwise

            return depthwise.conv2d(x, w, bias, stride, padding, dilation, outputs)
        if kernel == "batch":
            from tensorgrad.backend import batch

            return batch.conv2d(x, w, bias, stride, padding, dilation, outputs)
        if kernel == "loops":
            z = _correlate(x, w, padding, dilation, outputs)
        else:
            z = super().conv2d(x, w, stride, padding, dilation, groups)
        if bias is not None:
            z += bias.reshape(-1, 1, 1)
        return z

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        kernel = _kernel("input grad", dz, w, w.shape, input_size, stride, dilation, groups)
        if kernel == "direct":
            from tensorgrad.backend import direct

            return direct.conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups)
        if kernel == "depthwise":
            from tensorgrad.backend import depthwise

            return depthwise.conv2d_input_grad(dz, w, input_size, stride, padding, dilation)
        if kernel == "batch":
            from tensorgrad.backend import batch

            return batch.conv2d_input_grad(dz, w, input_size, padding, dilation)
        # dx is a convolution of dz with the kernel turned by 180 degrees; see the same step in numpy_convolution.py
        beyond = [extent(size, step) - 1 for size, step in zip(w.shape[2:], dilation)]
        around = beyond[0] - padding[0], beyond[0] - padding[1], beyond[1] - padding[2], beyond[1] - padding[3]
        if kernel == "winograd":
            from tensorgrad.backend import winograd

            turned = w[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
            return winograd.correlate(dz, turned, None, (around[0], around[2]), input_size)
        if kernel == "loops" and min(around) >= 0:
            return _correlate(dz, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), around, dilation, input_size)
        dx = super().conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups)
        return np.ascontiguousarray(dx) if dx.shape[1] < FEW and compiled.takes(dx) else dx

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        w_shape = dz.shape[1], x.shape[1] // groups, *kernel_size
        kernel = _kernel("weight grad", x, dz, w_shape, dz.shape[2:], stride, dilation, groups)  # type: ignore[arg-type]
        if kernel == "direct":
            from tensorgrad.backend import direct

            return direct.conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups)
        if kernel == "winograd":
            from tensorgrad.backend import winograd

            return winograd.weight_grad(dz, x, (padding[0], padding[2]))
        if kernel == "depthwise":
            from tensorgrad.backend import depthwise

            return depthwise.conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        if kernel == "batch":
            from tensorgrad.backend import batch

            return batch.conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation)
        if kernel == "numpy":
            return super().conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups)
        dw = _correlate_grad(dz, x, w_shape, padding, dilation)
        if np.isfinite(dw).all():
            return dw
        # the wrapped columns multiply zeros with whatever is there; where that may be an infinity, take the plain way
        return ConvolutionKernels.conv2d_weight_grad(self, dz, x, kernel_size, stride, padding, dilation, groups)


def _kernel(
    direction: str,
    x: Array,
    other: Array,
    w_shape: tuple[int, ...],
    outputs: Pair,
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> str:
    """The kernel for these arrays, the images first."""
    if not compiled.takes(x, other):
        return "numpy"
    from tensorgrad.backend.numba_simd import lanes

    memory = "channels last" if compiled.channels_last(x) else "planes"
    if x.strides[0] == x.itemsize or other.strides[0] == other.itemsize:
        memory = "batch last"
    return choice.kernel_for(direction, len(x), w_shape, outputs, x.dtype, stride, dilation, groups, lanes(), memory)


def _correlate(x: Array, w: Array, padding: Padding, dilation: Pair, outputs: Pair) -> Array:
    """z[n, o] = sum_k w[o, k] x[n, ... + k] with a stride of 1; x (N, C, H, W), w (O, C, KH, KW) -> z (N, O, OH, OW)."""
    from tensorgrad.backend import numba_convolution as loops

    images, channels = x.shape[:2]
    features, kernel = w.shape[0], w.shape[2:]
    height, pitch = x.shape[2] + padding[0] + padding[1], x.shape[3] + padding[2] + padding[3]
    weight = np.zeros((_whole_groups(features, loops.FEATURES), w[0].size), w.dtype)
    weight[:features] = w.reshape(features, -1)
    distances = tap_distances(channels, kernel, dilation, height, pitch)
    source = np.ascontiguousarray(x)
    z = np.empty((images, features, *outputs), x.dtype)

    def work(start: int, stop: int) -> None:
        frame = np.zeros((channels, height, pitch), x.dtype)
        sums = np.empty((loops.FEATURES, max(loops.LINE, pitch)), x.dtype)
        loops.correlate(source, weight, distances, z, frame, padding[0], padding[2], sums, start, stop)

    share(images, work, z.size * len(distances) >= 4 * compiled.SHARED_OPERATIONS)
    return z


def _correlate_grad(dz: Array, x: Array, w_shape: tuple[int, ...], padding: Padding, dilation: Pair) -> Array:
    """dw of <dz, _correlate(x, w)>: (O, C, KH, KW)."""
    from tensorgrad.backend import numba_convolution as loops

    images, channels = x.shape[:2]
    features, kernel = w_shape[0], w_shape[2:]
    height, pitch = x.shape[2] + padding[0] + padding[1], x.shape[3] + padding[2] + padding[3]
    distances = tap_distances(channels, kernel, dilation, height, pitch)  # type: ignore[arg-type]
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

    share(len(groups), work, dz.size * len(distances) >= 4 * compiled.SHARED_OPERATIONS)
    return sums.sum(axis=0)[:features].reshape(w_shape)


def _whole_groups(count: int, size: int) -> int:
    """The least multiple of size that is not less than count."""
    return -(-count // size) * size
