"""unfold and fold: the patches of images as columns, and columns summed back into images."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.windows import output_length
from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.nn.arguments import several
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.windows import Windows, WindowsSum
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]


def _settings(operation: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Sizes, ...]:
    """Kernel, dilation, padding and stride, each (rows, columns)."""
    numbers = []
    for name, value, least in (
        ("kernel_size", kernel_size, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        both = several(operation, name, value, 2)
        if min(both) < least:
            raise ShapeError(f"{operation}: {name} is {both}; each number must be at least {least}")
        numbers.append(both)
    return tuple(numbers)


def _counts(operation: str, size: Sizes, kernel: Sizes, spread: Sizes, border: Sizes, steps: Sizes) -> Sizes:
    """How many windows fit, as (rows, columns)."""
    counts = tuple(
        output_length(n, k, step, pad, pad, space, False)
        for n, k, step, pad, space in zip(size, kernel, steps, border, spread)
    )
    if min(counts) < 1:
        raise ShapeError(
            f"{operation}: no window of {kernel} with dilation {spread} fits into an image of {size} with padding {border}"
        )
    return counts


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of images as columns: (N, C, H, W) -> (N, C KH KW, L), or without N, L the number of windows.

    A convolution is its matrix product with the weight as a matrix.

    >>> import tensorgrad
    >>> unfold(tensorgrad.tensor([[[1.0, 2.0, 3.0]]]), (1, 2))
    tensor([[1., 2.],
            [2., 3.]])
    """
    kernel, spread, border, steps = _settings("unfold", kernel_size, dilation, padding, stride)
    if not isinstance(input, Tensor):
        raise OperandError(f"unfold: input is a {type(input).__name__}; it must be a Tensor")
    one = input.array.ndim == 3
    if input.array.ndim not in (3, 4) or 0 in input.array.shape[-3:]:
        raise ShapeError(f"unfold: input has shape {input.shape}; it must be (N, C, H, W), or (C, H, W) for one image")
    x = shapes.unsqueeze(input, 0) if one else input
    counts = _counts("unfold", x.array.shape[2:], kernel, spread, border, steps)
    if border != (0, 0):
        x = shapes.Pad(((0, 0), (0, 0), (border[0], border[0]), (border[1], border[1])), 0.0)(x)
    z = Windows((2, 3), kernel, steps, spread)(x)  # (N, C, OH, OW, KH, KW)
    samples, channels = x.array.shape[:2]
    z = shapes.permute(z, 0, 1, 4, 5, 2, 3)
    # windows share places of the input: the columns are a copy of their own
    z = shapes.reshape(shapes.Contiguous()(z), samples, channels * kernel[0] * kernel[1], counts[0] * counts[1])
    return shapes.squeeze(z, 0) if one else z


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns added up where they came from: (N, C KH KW, L) -> (N, C, H, W), or without N; the transpose of unfold.

    output_size  H and W

    >>> import tensorgrad
    >>> fold(tensorgrad.tensor([[1.0, 2.0], [2.0, 3.0]]), (1, 3), (1, 2))
    tensor([[[1., 4., 3.]]])
    """
    kernel, spread, border, steps = _settings("fold", kernel_size, dilation, padding, stride)
    size = several("fold", "output_size", output_size, 2)
    if not isinstance(input, Tensor):
        raise OperandError(f"fold: input is a {type(input).__name__}; it must be a Tensor")
    one = input.array.ndim == 2
    area = kernel[0] * kernel[1]
    if input.array.ndim not in (2, 3) or not input.array.shape[-2] or input.array.shape[-2] % area:
        raise ShapeError(f"fold: input has shape {input.shape}; it must be (N, C {area}, L), or without N")
    counts = _counts("fold", size, kernel, spread, border, steps)
    x = shapes.unsqueeze(input, 0) if one else input
    samples, rows, columns = x.array.shape
    if columns != counts[0] * counts[1]:
        raise ShapeError(
            f"fold: input has shape {input.shape} with {columns} columns; output_size {size} with kernel_size {kernel}, "
            f"dilation {spread}, padding {border} and stride {steps} has {counts[0]} * {counts[1]} windows"
        )
    x = shapes.reshape(x, samples, rows // area, *kernel, *counts)
    x = shapes.permute(x, 0, 1, 4, 5, 2, 3)
    padded = tuple(n + 2 * pad for n, pad in zip(size, border))
    z = WindowsSum((2, 3), padded, steps, spread)(x)
    if border != (0, 0):
        z = z[:, :, border[0] : border[0] + size[0], border[1] : border[1] + size[1]]
    return shapes.squeeze(z, 0) if one else z


class Unfold(Module):
    """The windows of images as columns; see `tensorgrad.nn.functional.unfold`."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """Columns added up into images; see `tensorgrad.nn.functional.fold`."""

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, {super().extra_repr()}"
