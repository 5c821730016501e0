"""Pooling that is neither the maximum nor the mean: sums, norms, means weighted by distance, and over channels."""

from __future__ import annotations

from typing import Any

from tensorgrad.creation import tensor
from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.pooling_functions import Windows, avg_pool2d, mean_of_windows
from tensorgrad.ops import elementwise, reduction
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.convolution import Conv2d
from tensorgrad.tensor import Tensor


def sum_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
) -> Tensor:
    """The sum of every window: avg_pool2d with divisor 1.

    >>> import tensorgrad
    >>> sum_pool2d(tensorgrad.ones(1, 2, 2), 2)
    tensor([[[4.]]])
    """
    return avg_pool2d(input, kernel_size, stride, padding, ceil_mode, divisor_override=1)


def _lp_pool(
    operation: str, count: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    windows = Windows(operation, input, count, kernel_size, stride, 0, 1, ceil_mode)
    mean = mean_of_windows(operation, input**norm_type, windows, True, None)
    size = 1
    for n in windows.kernel:
        size *= n
    # the root has no derivative at 0: there the gradient is 0, as that of a norm is
    zero = mean.detach() == 0
    root = (elementwise.where(zero, 1.0, mean) * size) ** (1.0 / norm_type)
    return elementwise.where(zero, 0.0, root)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x^p)^(1/p) over every window of (N, C, L) or (C, L); see lp_pool2d."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x^p)^(1/p) over every window, p = norm_type: 1 is the sum, 2 the L2 norm.

    A window that ceil_mode lets hang over counts as if its missing values were the mean of the others, as in PyTorch.

    >>> import tensorgrad
    >>> lp_pool2d(tensorgrad.tensor([[[3.0, 4.0]]]), 2, (1, 2))
    tensor([[[5.]]])
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """(sum of x^p)^(1/p) over every window of (N, C, D, H, W) or (C, D, H, W); see lp_pool2d."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


def distance_pool2d(input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The mean of every window, weighted by the distance d of each value from the window's centre: 1 / (1 + d).

    input, kernel_size, stride, padding  as in avg_pool2d; the padding's zeros count

    >>> import tensorgrad
    >>> distance_pool2d(tensorgrad.tensor([[[0.0, 4.0, 0.0]]]), (1, 3))
    tensor([[[2.]]])
    """
    windows = Windows("distance_pool2d", input, 2, kernel_size, stride, padding)
    kernel, steps, border, spread = windows.of_planes()
    rows, columns = ([abs(i - (n - 1) / 2) for i in range(n)] for n in kernel)
    weights = [[1.0 / (1.0 + (r * r + c * c) ** 0.5) for c in columns] for r in rows]
    total = sum(map(sum, weights))
    w = tensor([[[[v / total for v in line] for line in weights]]], dtype=input.dtype, device=input.device)
    x = windows.planes(input)
    samples, channels, *lengths = x.array.shape
    z = Conv2d(steps, border, spread, 1)(shapes.reshape(x, samples * channels, 1, *lengths), w)
    return windows.back(shapes.reshape(z, samples, channels, *z.array.shape[2:]), ())


def maxout(input: Tensor, pieces: int) -> Tensor:
    """The largest of every `pieces` neighbouring channels: (N, C, ...) -> (N, C / pieces, ...). Goodfellow et al., 2013.

    Of equal values the first takes the whole gradient. Behind a layer that turns or shifts what it looks for from channel
    to channel, the result does not change with that turn or shift.

    >>> import tensorgrad
    >>> maxout(tensorgrad.tensor([[1.0, 5.0, 2.0, 0.0]]), 2)
    tensor([[5., 2.]])
    """
    if not isinstance(input, Tensor):
        raise OperandError(f"maxout: input is a {type(input).__name__}; it must be a Tensor")
    number = at_least("maxout", "pieces", pieces, 1)
    if input.array.ndim < 2 or input.array.shape[1] % number:
        raise ShapeError(
            f"maxout: input has shape {input.shape}; it must be (N, C, ...), C divisible by pieces {number}"
        )
    samples, channels, *lengths = input.array.shape
    return reduction.max(shapes.reshape(input, samples, channels // number, number, *lengths), 2)[0]
