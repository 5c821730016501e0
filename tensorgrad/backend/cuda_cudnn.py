"""Convolution on a GPU by cuDNN where it is installed and takes the case; all else goes on to kernels of our own.

Arrays whose channels lie last in memory stay so: cuDNN's fastest kernels for float16 want them there.
"""

from __future__ import annotations

from typing import Any

from tensorgrad import determinism
from tensorgrad.backend.cuda_convolution import CudaConvolutionKernels
from tensorgrad.backend.cuda_kernels import contiguous
from tensorgrad.backend.cudnn_graphs import DATA_TYPES, Cudnn, Problem
from tensorgrad.backend.windows import Padding, Pair, conv2d_output_size
from tensorgrad.backends import cudnn as switches

Array = Any


class CudnnKernels(CudaConvolutionKernels):
    """conv2d, conv2d_bias, conv2d_bias_relu and the two gradients; see ConvolutionKernels."""

    #: None over an array module that is not CuPy.
    cudnn: Cudnn | None

    @property
    def rectifies_convolutions(self) -> bool:  # type: ignore[override]
        return self.cudnn is not None and self.cudnn.usable

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        shapes = x.shape, w.shape, (x.shape[0], w.shape[0], *outputs)
        z = self._by_cudnn("z", shapes, (x, w), stride, padding, dilation)
        return super().conv2d(x, w, stride, padding, dilation, groups) if z is None else z

    def conv2d_bias(
        self, x: Array, w: Array, bias: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        shapes = x.shape, w.shape, (x.shape[0], w.shape[0], *outputs)
        z = self._by_cudnn("z", shapes, (x, w, bias), stride, padding, dilation)
        return super().conv2d_bias(x, w, bias, stride, padding, dilation, groups) if z is None else z

    def conv2d_bias_relu(
        self, x: Array, w: Array, bias: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        shapes = x.shape, w.shape, (x.shape[0], w.shape[0], *outputs)
        z = self._by_cudnn("z", shapes, (x, w, bias), stride, padding, dilation, relu=True)
        return super().conv2d_bias_relu(x, w, bias, stride, padding, dilation, groups) if z is None else z

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        shapes = (dz.shape[0], w.shape[1] * groups, *input_size), w.shape, dz.shape
        dx = self._by_cudnn("dx", shapes, (dz, w), stride, padding, dilation)
        return super().conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups) if dx is None else dx

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        shapes = x.shape, (dz.shape[1], x.shape[1] // groups, *kernel_size), dz.shape
        dw = self._by_cudnn("dw", shapes, (dz, x), stride, padding, dilation)
        if dw is None:
            return super().conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups)
        return contiguous(dw)

    def _by_cudnn(
        self, result: str, shapes: tuple[tuple[int, ...], ...], arrays: tuple[Array, ...], stride: Pair, padding: Padding,
        dilation: Pair, relu: bool = False,
    ) -> Array | None:  # fmt: skip
        if self.cudnn is None or not self.cudnn.usable:
            return None
        first = arrays[0]
        if first.dtype.name not in DATA_TYPES or any(x.dtype != first.dtype or not x.size for x in arrays):
            return None
        last = channels_last(first)
        x, w, z = (tuple(shape) for shape in shapes)
        window = (stride[0], stride[1]), padding, (dilation[0], dilation[1])
        settings = switches.allow_tf32, switches.deterministic or determinism.state.enabled, switches.benchmark
        device = int(first.device.id)
        problem = Problem(result, first.dtype.name, x, w, z, *window, len(arrays) == 3, last, *settings, device, relu)
        return self.cudnn.compute(problem, *(_laid_out(x, last) for x in arrays))


def channels_last(x: Array) -> bool:
    """Whether an (N, C, H, W) lies in memory as (N, H, W, C), and not as it is anyway."""
    return not x.flags.c_contiguous and bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def _laid_out(x: Array, last: bool) -> Array:
    """x with its channels last in memory or in its own order, copied where it is not; a bias as (1, O, 1, 1)."""
    if x.ndim == 1:
        return contiguous(x).reshape(1, -1, 1, 1)
    if not last:
        return contiguous(x)
    return contiguous(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
