"""Convolution on a GPU without cuDNN: columns made by one launch and multiplied by cuBLAS, or direct sums for few channels a group,
by the kernels of cuda_convolution.cu."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend.convolution import ConvolutionKernels, Geometry
from tensorgrad.backend.cuda_kernels import MOST_BLOCKS, MOST_ELEMENTS, CompiledKernels, blocks_for, contiguous
from tensorgrad.backend.cuda_pooling import windows
from tensorgrad.backend.windows import Padding, Pair, conv2d_output_size

Array = Any

#: Channels and features of a group up to which the sums are made directly: as matrices they would be a few rows only.
FEW = 4
NO_PADDING = (0, 0, 0, 0)


class CudaConvolutionKernels(CompiledKernels, ConvolutionKernels):
    """See ConvolutionKernels. All strides, paddings, dilations and groups."""

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        shape = (x.shape[0], w.shape[0], *outputs)
        if not self._directly(x.shape, shape, groups, x, w):
            return super().conv2d(x, w, stride, padding, dilation, groups)
        z = self.xp.empty(shape, x.dtype)
        struct = windows(x.shape[2:], outputs, w.shape[2:], stride, padding, dilation)
        given = contiguous(x), contiguous(w), z, z.size, *_depths(x.shape[1], w.shape[0], groups), struct
        self.launch("convolution", "convolve", x, blocks_for(z.size), *given)
        return z

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        shape = (dz.shape[0], w.shape[1] * groups, *input_size)
        if not self._directly(shape, dz.shape, groups, dz, w):
            return super().conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups)
        dx = self.xp.empty(shape, dz.dtype)
        struct = windows(tuple(input_size), dz.shape[2:], w.shape[2:], stride, padding, dilation)
        given = contiguous(dz), contiguous(w), dx, dx.size, *_depths(shape[1], w.shape[0], groups), struct
        self.launch("convolution", "convolve_back", dz, blocks_for(dx.size), *given)
        return dx

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        shape = (dz.shape[1], x.shape[1] // groups, *kernel_size)
        if not self._directly(x.shape, dz.shape, groups, dz, x) or math.prod(shape) > MOST_BLOCKS:
            return super().conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups)
        dw = self.xp.empty(shape, dz.dtype)
        struct = windows(x.shape[2:], dz.shape[2:], tuple(kernel_size), stride, padding, dilation)
        given = contiguous(dz), contiguous(x), dw, x.shape[0], *_depths(x.shape[1], dz.shape[1], groups), struct
        self.launch("convolution", "convolve_weight", dz, dw.size, *given)
        return dw

    def _directly(self, x: tuple[int, ...], z: tuple[int, ...], groups: int, *arrays: Array) -> bool:
        few = groups > 1 and x[1] <= FEW * groups and z[1] <= FEW * groups
        return few and self.takes(*arrays) and 0 < math.prod(x) < MOST_ELEMENTS and 0 < math.prod(z) < MOST_ELEMENTS

    # the two ways between images and columns, which the products in ConvolutionKernels use

    def _columns(self, x: Array, kernel: Pair, geometry: Geometry, outputs: Pair, groups: int) -> Array:
        if tuple(kernel) == (1, 1) and tuple(outputs) == tuple(x.shape[2:]) and geometry[1] == NO_PADDING:
            return contiguous(x).reshape(x.shape[0], groups, -1, outputs[0] * outputs[1])
        shape = (*x.shape[:2], *kernel, *outputs)
        if not self.takes(x) or math.prod(shape) >= MOST_ELEMENTS:
            return super()._columns(x, kernel, geometry, outputs, groups)
        columns = self.xp.empty(shape, x.dtype)
        struct = windows(x.shape[2:], tuple(outputs), tuple(kernel), *geometry)
        self.launch(
            "convolution", "to_columns", x, blocks_for(columns.size), contiguous(x), columns, columns.size, struct
        )
        return columns.reshape(x.shape[0], groups, -1, outputs[0] * outputs[1])

    def _from_columns(self, dcolumns: Array, dx: Array, geometry: Geometry) -> None:
        if not self.takes(dcolumns, dx) or not dx.flags.c_contiguous:
            super()._from_columns(dcolumns, dx, geometry)
            return
        struct = windows(dx.shape[2:], dcolumns.shape[4:], dcolumns.shape[2:4], *geometry)
        self.launch("convolution", "from_columns", dx, blocks_for(dx.size), contiguous(dcolumns), dx, dx.size, struct)


def _depths(channels: int, features: int, groups: int) -> tuple[int, int, int, int]:
    return channels, features, channels // groups, features // groups
