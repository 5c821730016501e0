"""Adaptive pooling: windows worked out from the size of the output."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.nn.arguments import whole
from tensorgrad.nn.function_module import FunctionModule
from tensorgrad.ops import reduction
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.indexing import TakeAlongAxis
from tensorgrad.ops.resampling import Resample, ResampleArgmax, adaptive_windows
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor


def _sizes(operation: str, input: Any, output_size: Any, count: int) -> tuple[int, ...]:
    """The lengths of the last `count` dimensions afterwards; None keeps one."""
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    check_floating(operation, input)
    if input.array.ndim not in (count + 1, count + 2):
        kind = ArgumentError if isinstance(output_size, (tuple, list)) and input.array.ndim <= count else ShapeError
        raise kind(
            f"{operation}: input has shape {input.shape}; it must have {count + 2} dimensions, (N, C, ...), or "
            f"{count + 1} for one sample"
        )
    lengths = input.array.shape[-count:]
    if 0 in input.array.shape[-count - 1 :]:
        raise ShapeError(f"{operation}: input has shape {input.shape}; only the number of samples may be 0")
    given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * count
    if len(given) != count:
        raise ShapeError(f"{operation}: output_size is {output_size}; it must be one whole number or {count}")
    sizes = tuple(
        length if size is None else whole(operation, "output_size", size) for length, size in zip(lengths, given)
    )
    if min(sizes) < 0:
        raise ShapeError(f"{operation}: output_size is {output_size}; it must not be negative")
    return sizes


def _adaptive_avg(operation: str, input: Any, output_size: Any, count: int) -> Tensor:
    """A mean over a box is a mean of means, so one dimension after the other."""
    sizes = _sizes(operation, input, output_size, count)
    first = input.array.ndim - count
    if set(sizes) == {1}:
        return reduction.mean(input, tuple(range(first, input.array.ndim)), True)
    z = input
    for dim, size in enumerate(sizes, first):
        if size != z.array.shape[dim]:
            z = Resample(dim, adaptive_windows(z.array.shape[dim], size))(z)
    return z if z is not input else shapes.clone(input)


def _adaptive_max(operation: str, input: Any, output_size: Any, count: int, return_indices: bool) -> Any:
    """One dimension after the other, the last one first: of equal values the first in reading order wins."""
    sizes = _sizes(operation, input, output_size, count)
    first = input.array.ndim - count
    z, indices, stride = input, None, 1
    for dim in reversed(range(first, input.array.ndim)):
        length = input.array.shape[dim]
        winners = ResampleArgmax(dim, adaptive_windows(length, sizes[dim - first]))(z)
        z = TakeAlongAxis(dim)(z, winners)
        before = 0 if indices is None else TakeAlongAxis(dim)(indices, winners)
        indices = winners * stride + before
        stride *= length
    return (z, indices) if return_indices else z


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The means over `output_size` windows that cover (N, C, L) or (C, L) evenly; see adaptive_avg_pool2d."""
    return _adaptive_avg("adaptive_avg_pool1d", input, output_size, 1)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means over windows that cover the image evenly, so many that the result has the given size.

    input        (N, C, H, W), or (C, H, W) for one image
    output_size  a number or (rows, columns); None keeps a size

    Along a dimension of length L with S outputs, window i runs from floor(i L / S) to ceil((i + 1) L / S), the end left out.

    >>> import tensorgrad
    >>> adaptive_avg_pool2d(tensorgrad.tensor([[[1.0, 2.0, 3.0, 4.0, 6.0]]]), (1, 2))
    tensor([[[2.0000, 4.3333]]])
    """
    return _adaptive_avg("adaptive_avg_pool2d", input, output_size, 2)


@under_autocast
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """As adaptive_avg_pool2d, of (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_avg("adaptive_avg_pool3d", input, output_size, 3)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of `output_size` windows that cover (N, C, L) or (C, L); see adaptive_max_pool2d."""
    return _adaptive_max("adaptive_max_pool1d", input, output_size, 1, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of the windows of adaptive_avg_pool2d; of equal ones the first takes the whole gradient.

    input, output_size  as in adaptive_avg_pool2d
    return_indices      also give the winners' places, as int64 indices into the H W values of their channel

    >>> import tensorgrad
    >>> adaptive_max_pool2d(tensorgrad.arange(16.0).reshape(1, 4, 4), 1, return_indices=True)
    (tensor([[[15.]]]), tensor([[[15]]]))
    """
    return _adaptive_max("adaptive_max_pool2d", input, output_size, 2, return_indices)


@under_autocast
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """As adaptive_max_pool2d, of (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_max("adaptive_max_pool3d", input, output_size, 3, return_indices)


class AdaptiveAvgPool1d(FunctionModule):
    function = adaptive_avg_pool1d


class AdaptiveAvgPool2d(FunctionModule):
    """The means over windows that cover the image evenly; see `tensorgrad.nn.functional.adaptive_avg_pool2d`.

    >>> import tensorgrad
    >>> AdaptiveAvgPool2d((6, 6))(tensorgrad.ones(1, 256, 7, 7)).shape
    (1, 256, 6, 6)
    """

    function = adaptive_avg_pool2d


class AdaptiveAvgPool3d(FunctionModule):
    function = adaptive_avg_pool3d


class AdaptiveMaxPool1d(FunctionModule):
    function = adaptive_max_pool1d
    hidden = ("return_indices",)


class AdaptiveMaxPool2d(FunctionModule):
    """The largest values of windows that cover the image; see `tensorgrad.nn.functional.adaptive_max_pool2d`.

    >>> import tensorgrad
    >>> AdaptiveMaxPool2d(1)(tensorgrad.ones(1, 256, 7, 7)).shape
    (1, 256, 1, 1)
    """

    function = adaptive_max_pool2d
    hidden = ("return_indices",)


class AdaptiveMaxPool3d(FunctionModule):
    function = adaptive_max_pool3d
    hidden = ("return_indices",)
