"""Max unpooling: values put back where max pooling found them, zeros elsewhere. Zeiler et al., 2011."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import int64
from tensorgrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from tensorgrad.nn.arguments import several
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.pooling import MaxUnpool
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]


def _output_size(
    operation: str, lengths: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, wanted: Sequence[int] | None
) -> Sizes:
    """The size pooling started from, as far as the settings tell; `wanted` may be less than a stride away from it."""
    usual = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(lengths, kernel, stride, padding))
    if wanted is None:
        return usual
    sizes = tuple(wanted)[-len(lengths) :]
    if len(wanted) not in (len(lengths), len(lengths) + 1, len(lengths) + 2):
        raise ArgumentError(f"{operation}: output_size is {tuple(wanted)}; it must have {len(lengths)} sizes")
    if any(not n - s < size < n + s for n, s, size in zip(usual, stride, sizes)):
        raise ArgumentError(
            f"{operation}: output_size is {sizes}; it must be less than the stride {stride} away from {usual}"
        )
    return sizes


def _max_unpool(
    operation: str,
    count: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Sequence[int] | None,
) -> Tensor:
    for name, x in (("input", input), ("indices", indices)):
        if not isinstance(x, Tensor):
            raise OperandError(f"{operation}: {name} is a {type(x).__name__}; it must be a Tensor")
    if indices.array.dtype != int64:
        raise DtypeError(f"{operation}: indices are {indices.dtype}; they must be int64, as max pooling gives them")
    if input.array.ndim not in (count + 1, count + 2) or input.array.shape != indices.array.shape:
        raise ShapeError(
            f"{operation}: input has shape {input.shape} and indices {indices.shape}; they must be alike, of {count + 2} "
            f"dimensions, or {count + 1} for one sample"
        )
    kernel = several(operation, "kernel_size", kernel_size, count)
    steps = kernel if stride is None else several(operation, "stride", stride, count)
    border = several(operation, "padding", padding, count)
    size = _output_size(operation, input.array.shape[-count:], kernel, steps, border, output_size)
    room = 1
    for n in size:
        room *= n
    _check_indices(operation, indices, room, size)
    lead = input.array.shape[:-count]
    rows = 1
    for n in lead:
        rows *= n
    values = shapes.reshape(input, rows, -1 if rows else 0)
    z = MaxUnpool(room)(values, Tensor(indices.array.reshape(values.array.shape)))
    return shapes.reshape(z, *lead, *size)


def _check_indices(operation: str, indices: Tensor, room: int, size: Sizes) -> None:
    """On the CPU; elsewhere, looking would wait for the device."""
    if indices.device.type != "cpu" or not indices.array.size:
        return
    low, high = int(indices.array.min()), int(indices.array.max())
    if low < 0 or high >= room:
        raise ShapeError(
            f"{operation}: indices are from {low} to {high}; an output of {size} has places 0 to {room - 1}, give the "
            "output_size that pooling started from"
        )


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """max_unpool2d of lines: (N, C, L) or (C, L)."""
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@under_autocast
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The values of `input` at the places `indices` that max_pool2d found them at, zeros elsewhere.

    input, indices  (N, C, H, W) or (C, H, W), the second of int64
    kernel_size, stride, padding  those of the pooling: they tell the size of the result
    output_size     that size, where the pooling rounded it

    >>> import tensorgrad
    >>> from tensorgrad.nn.functional import max_pool2d
    >>> z, places = max_pool2d(tensorgrad.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
    >>> max_unpool2d(z, places, 2)
    tensor([[[0., 0.],
             [4., 0.]]])
    """
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@under_autocast
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """max_unpool2d of volumes: (N, C, D, H, W) or (C, D, H, W)."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


class _MaxUnpool(Module):
    """What the three share; `function` is the unpooling they call."""

    function: Any
    axes = 2

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        name = type(self).__name__
        self.kernel_size = several(name, "kernel_size", kernel_size, self.axes)
        self.stride = self.kernel_size if stride is None else several(name, "stride", stride, self.axes)
        self.padding = several(name, "padding", padding, self.axes)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        z: Tensor = type(self).function(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return z

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """The reverse of MaxPool1d; see `tensorgrad.nn.functional.max_unpool1d`."""

    function = staticmethod(max_unpool1d)
    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """The reverse of MaxPool2d, called with its result and its indices; see `tensorgrad.nn.functional.max_unpool2d`."""

    function = staticmethod(max_unpool2d)
    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """The reverse of MaxPool3d; see `tensorgrad.nn.functional.max_unpool3d`."""

    function = staticmethod(max_unpool3d)
    axes = 3
