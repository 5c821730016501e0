"""Pooling layers: one value for every window. Lines count as images of one row, volumes are pooled plane by plane."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.backend.windows import pool2d_output_size
from tensorgrad.dtypes import float64, is_floating
from tensorgrad.errors import DtypeError, OperandError, ShapeError
from tensorgrad.nn.arguments import several, whole
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.indexing import TakeAlongAxis
from tensorgrad.ops.operands import cast
from tensorgrad.ops.pooling import AvgPool2d, MaxPool2d
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]

_LAYOUTS = {1: "L", 2: "H, W", 3: "D, H, W"}
_SAMPLES = {1: "line", 2: "image", 3: "volume"}


class Windows:
    """The windows of one pooling: its settings checked against the input, a number for each dimension that is pooled."""

    def __init__(
        self,
        operation: str,
        input: Any,
        count: int,
        kernel_size: Any,
        stride: Any,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> None:
        if not isinstance(input, Tensor):
            raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
        if input.array.ndim not in (count + 1, count + 2):
            raise ShapeError(
                f"{operation}: input has shape {input.shape}; it must be (N, C, {_LAYOUTS[count]}), or (C, "
                f"{_LAYOUTS[count]}) for one {_SAMPLES[count]}"
            )
        self.count = count
        self.kernel = several(operation, "kernel_size", kernel_size, count)
        # () is PyTorch's way to leave the stride out
        self.stride = self.kernel if stride is None or stride == () else several(operation, "stride", stride, count)
        self.padding = several(operation, "padding", padding, count)
        self.dilation = several(operation, "dilation", dilation, count)
        self.ceil_mode = bool(ceil_mode)
        self.one = input.array.ndim == count + 1
        lengths = input.array.shape[-count:]
        if 0 in input.array.shape[-count - 1 :]:
            raise ShapeError(f"{operation}: input has shape {input.shape}; only the number of samples may be 0")
        plane = lengths[-2:] if count > 1 else (1, *lengths)
        kernel, steps, border, spread = self.of_planes()
        pool2d_output_size((1, 1, *plane), kernel, steps, border, spread, self.ceil_mode, operation)
        if count == 3:
            kernel, steps, border, spread = self.of_depth()
            pool2d_output_size((1, 1, lengths[0], 1), kernel, steps, border, spread, self.ceil_mode, operation)

    def _of_rows(self, axes: tuple[int, ...]) -> Any:
        """Kernel, stride, padding and dilation along these axes, in the kernels' form for images."""
        kernel, stride, padding, dilation = (
            tuple(numbers[axis] for axis in axes) for numbers in (self.kernel, self.stride, self.padding, self.dilation)
        )
        if len(axes) == 1:
            kernel, stride, padding, dilation = (1, *kernel), (1, *stride), (0, *padding), (1, *dilation)
        return kernel, stride, (padding[0], padding[0], padding[1], padding[1]), dilation

    def of_planes(self) -> Any:
        """The settings along the last two axes (the one axis of a line)."""
        return self._of_rows((0,) if self.count == 1 else (self.count - 2, self.count - 1))

    def of_depth(self) -> Any:
        """The settings along the depth, the planes lying in one row each: (N, C, D, H W)."""
        kernel, stride, padding, dilation = self._of_rows((0,))
        return kernel[::-1], stride[::-1], padding[2:] + padding[:2], dilation[::-1]

    def planes(self, x: Tensor) -> Tensor:
        """(N, C, L) -> (N, C, 1, L); (N, C, D, H, W) -> (N, C D, H, W)"""
        if self.count == 2:
            return shapes.unsqueeze(x, 0) if self.one else x
        samples, channels, *lengths = (1, *x.array.shape) if self.one else x.array.shape
        if self.count == 1:
            return shapes.reshape(x, samples, channels, 1, lengths[0])
        return shapes.reshape(x, samples, channels * lengths[0], *lengths[1:])

    def stacked(self, z: Tensor, x: Tensor) -> Tensor:
        """(N, C D, OH, OW) -> (N, C, D, OH OW)"""
        channels, depth = x.array.shape[-4:-2]
        return shapes.reshape(z, z.array.shape[0], channels, depth, z.array.shape[2] * z.array.shape[3])

    def back(self, z: Tensor, plane: Sizes) -> Tensor:
        """The result with the dimensions that the input had; `plane` is the size of a volume's planes."""
        shape = z.array.shape
        if self.count == 3:
            shape = (*shape[:3], *plane)
        elif self.count == 1:
            shape = (*shape[:2], shape[3])
        shape = shape[1:] if self.one else shape
        return z if shape == z.array.shape else shapes.reshape(z, *shape)


def _max_pool(operation: str, input: Any, windows: Windows, return_indices: bool) -> Any:
    if not is_floating(input.dtype):  # the kernels' padding is -inf
        found = _max_pool(operation, _as_floating(operation, input), windows, True)
        z = cast(found[0], input.dtype)
        return (z, found[1]) if return_indices else z
    x = windows.planes(input)
    z, indices = _max_of_planes(x, windows.of_planes(), windows.ceil_mode, return_indices)
    plane = z.array.shape[2:]
    if windows.count == 3:
        z, deep = _max_of_planes(windows.stacked(z, input), windows.of_depth(), windows.ceil_mode, return_indices)
        if return_indices:  # of the winning depth, the winner in its plane
            indices = windows.stacked(indices, input)
            columns = indices.array.shape[3]
            flat = shapes.flatten(deep, 2)
            # a window that dilation and padding keep out of the input altogether has no winner
            indices = TakeAlongAxis(2)(shapes.flatten(indices, 2), flat.clamp(max=indices.array.shape[2] * columns - 1))
            area = input.array.shape[-2] * input.array.shape[-1]
            indices = shapes.reshape(_depth_of(flat, columns) * area + indices, *deep.array.shape)
    z = windows.back(z, plane)
    return (z, windows.back(indices, plane)) if return_indices else z


def _depth_of(flat: Tensor, columns: int) -> Tensor:
    """Indices into (D, columns) -> the depth."""
    return Tensor(flat.array // columns)


def _max_of_planes(x: Tensor, settings: Any, ceil_mode: bool, return_indices: bool) -> tuple[Tensor, Any]:
    kernel, steps, border, spread = settings
    pool = MaxPool2d(kernel, steps, border, spread, ceil_mode)
    z = pool(x)
    if not return_indices:
        return z, None
    return z, Tensor(backend_of(x.array).max_pool2d_indices(pool.winners, x.array.shape[2:], *settings))


def _as_floating(operation: str, input: Tensor) -> Tensor:
    """Whole numbers as float64, which holds them up to 2^53."""
    if input.array.dtype.kind == "b":
        raise DtypeError(f"{operation}: input is of bool; it takes numbers, use .float()")
    return cast(input, float64)


def mean_of_windows(
    operation: str, input: Any, windows: Windows, count_include_pad: bool, divisor_override: int | None
) -> Tensor:
    """A mean over a box is a mean of means, along the edges too: the divisor is a product of one for each axis."""
    if divisor_override is not None and whole(operation, "divisor_override", divisor_override) == 0:
        raise ShapeError(f"{operation}: divisor_override is 0; it must not be zero")
    if not is_floating(input.dtype):  # rounded towards 0; a mean that is whole but for rounding stays whole
        mean = mean_of_windows(operation, _as_floating(operation, input), windows, count_include_pad, divisor_override)
        return cast(mean + mean.sign() * 1e-6, input.dtype)
    kernel, stride, padding, _ = windows.of_planes()
    divisor = divisor_override if windows.count < 3 or divisor_override is None else 1
    pool = AvgPool2d(kernel, stride, padding, windows.ceil_mode, bool(count_include_pad), divisor)
    z = pool(windows.planes(input))
    plane = z.array.shape[2:]
    if windows.count == 3:
        kernel, stride, padding, _ = windows.of_depth()
        pool = AvgPool2d(kernel, stride, padding, windows.ceil_mode, bool(count_include_pad), divisor_override)
        z = pool(windows.stacked(z, input))
    return windows.back(z, plane)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window of (N, C, L) or (C, L); see max_pool2d."""
    windows = Windows("max_pool1d", input, 1, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", input, windows, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
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
    windows = Windows("max_pool2d", input, 2, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", input, windows, return_indices)


@under_autocast
def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of every window of (N, C, D, H, W) or (C, D, H, W); see max_pool2d.

    First of every plane, then of those along the depth: of equal values the first in reading order wins.
    """
    windows = Windows("max_pool3d", input, 3, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool3d", input, windows, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window of (N, C, L) or (C, L); see avg_pool2d."""
    windows = Windows("avg_pool1d", input, 1, kernel_size, stride, padding, 1, ceil_mode)
    return mean_of_windows("avg_pool1d", input, windows, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
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
    windows = Windows("avg_pool2d", input, 2, kernel_size, stride, padding, 1, ceil_mode)
    return mean_of_windows("avg_pool2d", input, windows, count_include_pad, divisor_override)


@under_autocast
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W); see avg_pool2d."""
    windows = Windows("avg_pool3d", input, 3, kernel_size, stride, padding, 1, ceil_mode)
    return mean_of_windows("avg_pool3d", input, windows, count_include_pad, divisor_override)
