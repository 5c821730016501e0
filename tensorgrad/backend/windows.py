"""The geometry of sliding windows, in plain integers: what convolution and pooling share.

One axis of length `size` is framed by `before` and `after` elements of padding. Output i reads the kernel's elements
k = 0 .. kernel-1 at the input positions

    i * stride - before + k * dilation

A *tap* is one element (kernel row, kernel column) of the window. For a given tap, the outputs whose position falls
inside the input are an unbroken range, so `taps` gives two rectangles of equal shape, one in the output and one in the
input, and the kernels copy or add between them: no padded copy of the input is ever needed.

Sizes, strides and dilations are pairs (rows, columns); padding is (top, bottom, left, right).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.errors import ShapeError

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


class Tap(NamedTuple):
    """One element of the window: its number in row-major order, its place in the kernel, the rectangle of outputs for
    which it lies inside the input, and the rectangle of the input it reads for them."""

    number: int
    row: int
    column: int
    rows: slice
    columns: slice
    input_rows: slice
    input_columns: slice


def extent(kernel: int, dilation: int) -> int:
    """The positions a window spans from its first element to its last.

    >>> extent(3, 2)
    5
    """
    return (kernel - 1) * dilation + 1


def output_length(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil_mode: bool) -> int:
    """The number of windows along one axis; unchecked, so it may be 0 or less where no window fits.

    The last window must fit into the padded input. With ceil_mode it may hang over the end, but it must start inside
    the input or its padding on the left: one that would start in the padding on the right is dropped.

    >>> output_length(5, kernel=2, stride=2, before=0, after=0, dilation=1, ceil_mode=False)
    2
    >>> output_length(5, kernel=2, stride=2, before=0, after=0, dilation=1, ceil_mode=True)
    3
    """
    room = size + before + after - extent(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    length = -(-room // stride) + 1
    if (length - 1) * stride >= size + before:
        length -= 1
    return length


def output_size(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool = False,
    operation: str = "window",
) -> Pair:
    """How many windows fit, as (rows, columns); `operation` is named in the errors.

    >>> output_size((32, 32), kernel=(5, 5), stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1))
    (28, 28)

    Raises ShapeError where a setting is out of range or not one window fits.
    """
    for name, pair in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(pair) < 1:
            raise ShapeError(f"{operation}: {name} is {pair}; each number must be at least 1")
    if min(padding) < 0:
        raise ShapeError(f"{operation}: padding is {padding} (top, bottom, left, right); none may be negative")
    top, bottom, left, right = padding
    rows = output_length(size[0], kernel[0], stride[0], top, bottom, dilation[0], ceil_mode)
    columns = output_length(size[1], kernel[1], stride[1], left, right, dilation[1], ceil_mode)
    if rows < 1 or columns < 1:
        spans = (extent(kernel[0], dilation[0]), extent(kernel[1], dilation[1]))
        padded = (size[0] + top + bottom, size[1] + left + right)
        raise ShapeError(
            f"{operation}: the window spans {spans} and does not fit into the padded input of {padded}"
            f" (input {size}, padding {padding}); use a larger input, more padding or a smaller kernel"
        )
    return rows, columns


@functools.lru_cache(maxsize=1024)
def conv2d_output_size(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Pair:
    """The (rows, columns) of conv2d for x (N, C, H, W) and w (O, C / groups, KH, KW).

    Raises ShapeError where the two shapes, groups and the windows do not go together.
    """
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ShapeError(
            f"conv2d: needs input (N, C, H, W) and weight (O, C / groups, KH, KW); got {x_shape} and {w_shape}"
        )
    channels, features = x_shape[1], w_shape[0]
    if channels < 1 or features < 1:
        raise ShapeError(f"conv2d: got input {x_shape} and weight {w_shape}; needs at least 1 channel and 1 feature")
    if groups < 1 or channels % groups or features % groups:
        raise ShapeError(
            f"conv2d: groups is {groups}; it must divide the {channels} input channels and the {features} output channels"
        )
    if w_shape[1] * groups != channels:
        raise ShapeError(
            f"conv2d: weight {w_shape} with groups={groups} needs an input of {w_shape[1] * groups} channels;"
            f" got input {x_shape} with {channels}"
        )
    return output_size(x_shape[2:], w_shape[2:], stride, padding, dilation, operation="conv2d")  # type: ignore[arg-type]


def pool2d_output_size(
    x_shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    ceil_mode: bool,
    operation: str,
) -> Pair:
    """The (rows, columns) of a pooling of x (N, C, H, W).

    Raises ShapeError as `output_size`, and where a pad is more than half of what the window spans: such a window would
    lie in the padding alone.
    """
    if len(x_shape) != 4:
        raise ShapeError(f"{operation}: needs an input (N, C, H, W); got {x_shape}")
    size = output_size(x_shape[2:], kernel, stride, padding, dilation, ceil_mode, operation)  # type: ignore[arg-type]
    spans = (extent(kernel[0], dilation[0]), extent(kernel[1], dilation[1]))
    if max(padding[:2]) > spans[0] // 2 or max(padding[2:]) > spans[1] // 2:
        raise ShapeError(
            f"{operation}: padding is {padding} (top, bottom, left, right), but may be at most half of the window's"
            f" span {spans}"
        )
    return size


def same_padding(kernel: Pair, dilation: Pair) -> Padding:
    """The padding with which a stride of 1 keeps the size; what cannot be split evenly goes to the bottom and right.

    >>> same_padding((3, 4), (1, 1))
    (1, 1, 1, 2)
    """
    rows = extent(kernel[0], dilation[0]) - 1
    columns = extent(kernel[1], dilation[1]) - 1
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def reach(size: int, outputs: int, stride: int, offset: int) -> tuple[slice, slice]:
    """For one element of the window: which outputs read inside the input, and where.

    Output i reads position i * stride + offset. The first slice holds the outputs with 0 <= position < size, the
    second their positions; both are empty where there are none.

    >>> reach(size=4, outputs=3, stride=2, offset=-1)
    (slice(1, 3, None), slice(1, 4, 2))
    """
    first = max(0, -(offset // stride))  # the least i with i * stride + offset >= 0
    last = min(outputs, -((offset - size) // stride))  # one past the greatest i with i * stride + offset < size
    if last <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


def taps(size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> Iterator[Tap]:
    """The window's elements in row-major order, without those that never meet the input.

    >>> for tap in taps((2, 2), kernel=(1, 2), stride=(1, 1), padding=(0, 0, 0, 1), dilation=(1, 1), outputs=(2, 2)):
    ...     print(tap.number, tap.columns, tap.input_columns)
    0 slice(0, 2, None) slice(0, 2, 1)
    1 slice(0, 1, None) slice(1, 2, 1)
    """
    top, _, left, _ = padding
    for row in range(kernel[0]):
        rows, input_rows = reach(size[0], outputs[0], stride[0], row * dilation[0] - top)
        if rows.start == rows.stop:
            continue
        for column in range(kernel[1]):
            columns, input_columns = reach(size[1], outputs[1], stride[1], column * dilation[1] - left)
            if columns.start == columns.stop:
                continue
            yield Tap(row * kernel[1] + column, row, column, rows, columns, input_rows, input_columns)


def chunks(count: int, size: int) -> Iterator[slice]:
    """range(count) in consecutive slices of at most `size` (at least 1), so that scratch memory stays bounded.

    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, size)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def tap_distances(channels: int, kernel: Pair, dilation: Pair, height: int, pitch: int) -> np.ndarray[Any, Any]:
    """How far each tap (channel, row, column) lies from the first in a frame of planes of height * pitch -> (T,)."""
    planes = np.arange(channels) * (height * pitch)
    rows = np.arange(kernel[0]) * (dilation[0] * pitch)
    columns = np.arange(kernel[1]) * dilation[1]
    return (planes[:, None, None] + rows[:, None] + columns).ravel()
