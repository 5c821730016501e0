"""Pooling on a GPU: one launch each, by the kernels of cuda_pooling.cu."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy

from tensorgrad.backend.cuda_kernels import CompiledKernels, blocks_for, contiguous
from tensorgrad.backend.pooling import PoolingKernels, winner_dtype
from tensorgrad.backend.windows import Padding, Pair, pool2d_output_size

Array = Any


@functools.lru_cache(4096)
def windows(
    size: Pair, outputs: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, counts: bool = False,
    divisor: int = 0,
) -> numpy.ndarray:  # fmt: skip
    """The struct Windows of cuda_pooling.cu."""
    top, bottom, left, right = padding
    numbers = (*size, *outputs, *kernel, *stride, top, left, *dilation, bottom, right, int(counts), divisor)
    return numpy.array(numbers, numpy.int32).view(f"V{4 * len(numbers)}")  # one value, as CuPy takes its size


class CudaPoolingKernels(CompiledKernels, PoolingKernels):
    """Max and average pooling with their adjoints; see PoolingKernels."""

    def max_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
    ) -> tuple[Array, Array]:
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
        shape = (*x.shape[:2], *outputs)
        if not self.takes(x) or not math.prod(shape) < 1 << 30:
            return super().max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
        xp = self.xp
        z, winners = xp.empty(shape, x.dtype), xp.empty(shape, winner_dtype(xp, kernel_size))
        struct = windows(x.shape[2:], outputs, kernel_size, stride, padding, dilation)
        self.launch(
            "pooling", _named("max_pool", winners), x, blocks_for(z.size), contiguous(x), z, winners, z.size, struct
        )
        return z, winners

    def max_pool2d_scatter(
        self, dz: Array, winners: Array, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:  # fmt: skip
        dx_size = math.prod((*dz.shape[:2], *input_size))
        if not self.takes(dz) or not 0 < dx_size < 1 << 30:
            return super().max_pool2d_scatter(dz, winners, input_size, kernel_size, stride, padding, dilation)
        dx = self.xp.empty((*dz.shape[:2], *input_size), dz.dtype)
        struct = windows(tuple(input_size), dz.shape[2:], kernel_size, stride, padding, dilation)
        arrays = contiguous(dz), contiguous(winners), dx
        self.launch("pooling", _named("max_scatter", winners), dz, blocks_for(dx.size), *arrays, dx.size, struct)
        return dx

    def max_pool2d_gather(
        self, dx: Array, winners: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        if not self.takes(dx) or not winners.size:
            return super().max_pool2d_gather(dx, winners, kernel_size, stride, padding, dilation)
        dz = self.xp.empty(winners.shape, dx.dtype)
        struct = windows(dx.shape[2:], winners.shape[2:], kernel_size, stride, padding, dilation)
        arrays = contiguous(dx), contiguous(winners), dz
        self.launch("pooling", _named("max_gather", winners), dx, blocks_for(dz.size), *arrays, dz.size, struct)
        return dz

    def avg_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool, count_include_pad: bool,
        divisor_override: int | None,
    ) -> Array:  # fmt: skip
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, (1, 1), ceil_mode, "avg_pool2d")
        shape = (*x.shape[:2], *outputs)
        if not self.takes(x) or not math.prod(shape) < 1 << 30 or divisor_override == 0:
            return super().avg_pool2d(
                x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
            )  # fmt: skip
        z = self.xp.empty(shape, x.dtype)
        struct = windows(
            x.shape[2:], outputs, kernel_size, stride, padding, (1, 1), count_include_pad, divisor_override or 0
        )
        self.launch("pooling", "avg_pool", x, blocks_for(z.size), contiguous(x), z, z.size, struct)
        return z

    def avg_pool2d_input_grad(
        self, dz: Array, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, ceil_mode: bool,
        count_include_pad: bool, divisor_override: int | None,
    ) -> Array:  # fmt: skip
        dx_size = math.prod((*dz.shape[:2], *input_size))
        if not self.takes(dz) or not 0 < dx_size < 1 << 30 or divisor_override == 0:
            return super().avg_pool2d_input_grad(
                dz, input_size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
            )
        dx = self.xp.empty((*dz.shape[:2], *input_size), dz.dtype)
        struct = windows(
            tuple(input_size),
            dz.shape[2:],
            kernel_size,
            stride,
            padding,
            (1, 1),
            count_include_pad,
            divisor_override or 0,
        )
        self.launch("pooling", "avg_spread", dz, blocks_for(dx.size), contiguous(dz), dx, dx.size, struct)
        return dx


def _named(kernel: str, winners: Array) -> str:
    """The kernel for winners of one byte or of four."""
    return f"{kernel}_{'bytes' if winners.dtype.itemsize == 1 else 'ints'}"
