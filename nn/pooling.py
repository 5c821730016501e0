"""Pooling layers: the largest or the mean value of every window."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.backend.windows import Padding, pool2d_output_size
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.nn.arguments import IntOrPair, Pair, pair, whole
from tensorgrad.nn.module import Module
from tensorgrad.ops import pooling as primitives
from tensorgrad.ops import shape as shapes
from tensorgrad.tensor import Tensor


def _window(
    operation: str, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Padding, Pair]:
    """The settings in the kernels' form, checked against the input's shape."""
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    shape = input.array.shape
    if len(shape) not in (3, 4):
        raise ShapeError(f"{operation}: input has shape {shape}; it must be (N, C, H, W), or (C, H, W) for one image")
    kernel = pair(operation, "kernel_size", kernel_size)
    steps = kernel if stride is None or stride == () else pair(operation, "stride", stride)
    rows, columns = pair(operation, "padding", padding)
    border = (rows, rows, columns, columns)
    spread = pair(operation, "dilation", dilation)
    four = shape if len(shape) == 4 else (1, *shape)
    pool2d_output_size(four, kernel, steps, border, spread, ceil_mode, operation)
    return kernel, steps, border, spread


def max_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window; of equal ones the first takes the whole gradient.

    input      (N, C, H, W), or (C, H, W) for one image
    stride     by default kernel_size, so that windows do not overlap
    padding    counts as -inf; at most half of what the window spans
    ceil_mode  let the last windows hang over the right and bottom, so that nothing is left out
    return_indices  also give the winners' places, as int64 indices into the H W values of their channel

    >>> import tensorgrad
    >>> max_pool2d(tensorgrad.arange(16.0).reshape(1, 4, 4), 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    kernel, steps, border, spread = _window("max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode)
    one = input.array.ndim == 3
    x = shapes.unsqueeze(input, 0) if one else input
    pool = primitives.MaxPool2d(kernel, steps, border, spread, bool(ceil_mode))
    z = pool(x)
    z = shapes.squeeze(z, 0) if one else z
    if not return_indices:
        return z
    indices = backend_of(x.array).max_pool2d_indices(pool.winners, x.array.shape[2:], kernel, steps, border, spread)
    return z, Tensor(indices[0] if one else indices)


def avg_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window.

    input, stride, ceil_mode  as in max_pool2d
    padding            zeros, at most half of the window
    count_include_pad  whether the padding counts in the divisor; what ceil_mode adds never does
    divisor_override   divide every sum by this instead

    >>> import tensorgrad
    >>> avg_pool2d(tensorgrad.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), (1, 2), ceil_mode=True)
    tensor([[[1.5000, 3.5000, 5.0000]]])
    """
    kernel, steps, border, _ = _window("avg_pool2d", input, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and whole("avg_pool2d", "divisor_override", divisor_override) == 0:
        raise ArgumentError("avg_pool2d: divisor_override is 0; it must not be zero")
    one = input.array.ndim == 3
    x = shapes.unsqueeze(input, 0) if one else input
    z = primitives.AvgPool2d(kernel, steps, border, bool(ceil_mode), bool(count_include_pad), divisor_override)(x)
    return shapes.squeeze(z, 0) if one else z


class MaxPool2d(Module):
    """The largest value of every window; see `tensorgrad.nn.functional.max_pool2d`.

    >>> import tensorgrad
    >>> MaxPool2d(2)(tensorgrad.ones(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of every window; see `tensorgrad.nn.functional.avg_pool2d`.

    >>> import tensorgrad
    >>> AvgPool2d(2)(tensorgrad.ones(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
