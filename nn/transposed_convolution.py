"""Transposed convolution of lines, images and volumes: the input gradient of a convolution, as a map of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend.windows import extent
from tensorgrad.errors import ShapeError
from tensorgrad.nn.arguments import several, whole
from tensorgrad.nn.convolution_functions import Settings, check_bias, check_operands, check_settings, finish
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.convolution import Conv2dInputGrad
from tensorgrad.ops.windows import WindowsSum
from tensorgrad.tensor import Tensor


class _Axis(NamedTuple):
    """One axis of a transposed convolution: the convolution it is the transpose of runs over `length` with this padding, and
    `beyond` more values that it never reads follow."""

    length: int
    before: int
    after: int
    beyond: int


def _transposed_axis(size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int) -> _Axis:
    """Of the (size - 1) stride + extent values that the windows reach, `padding` are cut off on both sides and then
    `output_padding` are given back on the right, where there is nothing left to give back as zeros.

    >>> _transposed_axis(size=4, kernel=3, stride=2, padding=1, output_padding=1, dilation=1)
    _Axis(length=8, before=1, after=0, beyond=0)
    """
    reached = (size - 1) * stride + extent(kernel, dilation)
    length = reached - 2 * padding + output_padding
    missing = output_padding - padding
    # fewer than a stride of them change nothing for the convolution: it leaves them out by itself
    beyond = missing if missing >= stride else 0
    return _Axis(length - beyond, padding, max(-missing, 0), beyond)


def _conv_transpose(
    operation: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Tensor:
    check_operands(operation, count, input, weight, bias, transposed=True)
    w_shape, number = weight.array.shape, whole(operation, "groups", groups)
    check_bias(operation, weight, bias, w_shape[1] * number)
    steps, spread = several(operation, "stride", stride, count), several(operation, "dilation", dilation, count)
    cut, more = (
        several(operation, "padding", padding, count),
        several(operation, "output_padding", output_padding, count),
    )
    check_settings(operation, w_shape[2:], Settings(steps, tuple((n, n) for n in cut), spread, number))
    one = input.array.ndim == count + 1
    x = shapes.unsqueeze(input, 0) if one else input
    x_shape = x.array.shape
    if x_shape[1] != w_shape[0] or x_shape[1] % number:
        raise ShapeError(
            f"{operation}: got input {x_shape} with {x_shape[1]} channels, weight {w_shape} and groups={number}; the "
            "weight's first size must be the number of channels, and groups divide it"
        )
    for extra, step, space in zip(more, steps, spread):
        if not 0 <= extra < max(step, space):
            raise ShapeError(
                f"{operation}: output_padding is {more}; it must be smaller than stride {steps} or dilation {spread}"
            )
    axes = [_transposed_axis(*numbers) for numbers in zip(x_shape[2:], w_shape[2:], steps, cut, more, spread)]
    if min(axis.length + axis.beyond for axis in axes) < 1 or min(x_shape[2:]) < 1:
        raise ShapeError(
            f"{operation}: input {x_shape} and weight {w_shape} with padding {cut} leave nothing; use less padding"
        )
    settings = Settings(steps, tuple((axis.before, axis.after) for axis in axes), spread, number)
    z = (_spread_image, _spread_line, _spread_image, _spread_volume)[count](x, weight, settings, axes)
    if any(axis.beyond for axis in axes):
        z = shapes.Pad(((0, 0), (0, 0), *((0, axis.beyond) for axis in axes)), 0.0)(z)
    return finish(z, bias, one)


def _spread_image(x: Tensor, w: Tensor, settings: Settings, axes: list[_Axis]) -> Tensor:
    return Conv2dInputGrad((axes[0].length, axes[1].length), *settings.of_images())(x, w)


def _spread_line(x: Tensor, w: Tensor, settings: Settings, axes: list[_Axis]) -> Tensor:
    z = Conv2dInputGrad((1, axes[0].length), *settings.of_images())(shapes.unsqueeze(x, 2), shapes.unsqueeze(w, 2))
    return shapes.squeeze(z, 2)


def _spread_volume(x: Tensor, w: Tensor, settings: Settings, axes: list[_Axis]) -> Tensor:
    samples, channels, depth, rows, columns = x.array.shape
    _, features, deep, *plane = w.array.shape
    size = (axes[1].length, axes[2].length)
    x = shapes.reshape(shapes.transpose(x, 1, 2), samples * depth, channels, rows, columns)
    w = shapes.reshape(w, channels, features * deep, *plane)
    z = Conv2dInputGrad(size, *settings.of_images())(x, w)
    z = shapes.reshape(z, samples, depth, features * settings.groups, deep, *size)
    z = shapes.permute(z, 0, 2, 1, 4, 5, 3)  # (N, O, D, OH, OW, KD)
    axis = axes[0]
    padded = axis.before + axis.length + axis.after
    z = WindowsSum((2,), (padded,), settings.stride[:1], settings.dilation[:1])(z)
    return z[:, :, axis.before : padded - axis.after] if axis.before or axis.after else z


@under_autocast
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """conv_transpose2d of lines: input (N, C, L) or (C, L), weight (C, O / groups, K)."""
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@under_autocast
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Every value spreads the filter, times itself: the map that takes conv2d's gradient to its input.

    input           (N, C, H, W), or (C, H, W) for one image
    weight          (C, O / groups, KH, KW)
    bias            (O)
    padding         cut off on all sides of the result
    output_padding  rows and columns given back at the bottom and right, fewer than stride or dilation: the sizes between
                    which the convolution, rounding down, does not tell

    Returns (N, O, OH, OW), OH = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1, OW likewise. Zeiler et
    al., Deconvolutional Networks, 2010; Dumoulin & Visin, A guide to convolution arithmetic, 2016.

    >>> import tensorgrad
    >>> conv_transpose2d(tensorgrad.tensor([[[1.0, 2.0]]]), tensorgrad.ones(1, 1, 1, 3), stride=2)
    tensor([[[1., 1., 3., 2., 2.]]])
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@under_autocast
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """conv_transpose2d of volumes: input (N, C, D, H, W) or (C, D, H, W), weight (C, O / groups, KD, KH, KW)."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
