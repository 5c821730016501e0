"""Convolution of lines, images and volumes.

All of it is the convolution of images in tensorgrad.ops.convolution. A line is an image of one row. For a volume, what the
windows see along the depth becomes more channels:

    x (N, C, D, H, W) -> (N OD, C KD, H, W)        w (O, C, KD, KH, KW) -> (O, C KD, KH, KW)
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend.windows import extent
from tensorgrad.errors import DtypeError, OperandError, ShapeError
from tensorgrad.mode import mode
from tensorgrad.nn.arguments import one_of, several, whole
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.arithmetic import add
from tensorgrad.ops.convolution import Conv2d, Conv2dBias, Conv2dBiasRelu
from tensorgrad.ops.windows import Windows
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]
Border = tuple[tuple[int, int], ...]  # for each axis the width before and after

_LAYOUTS = {1: "L", 2: "H, W", 3: "D, H, W"}
_SAMPLES = {1: "line", 2: "image", 3: "volume"}
_KERNELS = {1: "K", 2: "KH, KW", 3: "KD, KH, KW"}


class Settings(NamedTuple):
    """Of a convolution, a number for each axis."""

    stride: Sizes
    border: Border
    dilation: Sizes
    groups: int

    @functools.lru_cache(maxsize=1024)  # noqa: B019  (what it keeps alive are a few numbers)
    def of_images(self) -> tuple[Any, ...]:
        """Those of the last two axes, in the kernels' form; a line gets a row."""
        stride, border, dilation = self.stride[-2:], self.border[-2:], self.dilation[-2:]
        if len(stride) == 1:
            stride, border, dilation = (1, *stride), ((0, 0), *border), (1, *dilation)
        return stride, (*border[0], *border[1]), dilation, self.groups


def read_padding(operation: str, padding: Any, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Border:
    """(before, after) of each axis, from one number, one an axis, 'valid' or 'same'.

    >>> read_padding("conv1d", "same", (4,), (1,), (1,))
    ((1, 2),)
    """
    if not isinstance(padding, str):
        return tuple((n, n) for n in several(operation, "padding", padding, len(kernel)))
    one_of(operation, "padding", padding, ("same", "valid"))
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if max(stride) > 1:
        raise ShapeError(f"{operation}: padding='same' keeps the size only with stride 1; got stride {stride}")
    room = [extent(size, spread) - 1 for size, spread in zip(kernel, dilation)]
    return tuple((n // 2, n - n // 2) for n in room)


def check_operands(operation: str, count: int, input: Any, weight: Any, bias: Any, transposed: bool = False) -> None:
    """Refuse what cannot be the operands of a convolution over `count` axes."""
    for name, x in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(x, Tensor) and not (x is None and name == "bias"):
            raise OperandError(f"{operation}: {name} is a {type(x).__name__}; it must be a Tensor")
    layout = "(C, O / groups, " if transposed else "(O, C / groups, "
    if weight.array.ndim != count + 2:
        raise ShapeError(f"{operation}: weight has shape {weight.shape}; it must be {layout}{_KERNELS[count]})")
    if input.array.ndim not in (count + 1, count + 2):
        raise ShapeError(
            f"{operation}: input has shape {input.shape}; it must be (N, C, {_LAYOUTS[count]}), or (C, "
            f"{_LAYOUTS[count]}) for one {_SAMPLES[count]}"
        )
    if input.array.dtype != weight.array.dtype:
        raise DtypeError(
            f"{operation}: input is {input.dtype} and weight {weight.dtype}; they must be the same, use .to(dtype)"
        )


def check_bias(operation: str, weight: Tensor, bias: Tensor | None, features: int) -> None:
    if bias is not None and (bias.array.shape != (features,) or bias.array.dtype != weight.array.dtype):
        raise ShapeError(
            f"{operation}: bias has shape {bias.shape} and dtype {bias.dtype}; a weight of shape {weight.shape} and "
            f"dtype {weight.dtype} needs ({features},) of the same dtype"
        )


def check_settings(operation: str, kernel: Sizes, settings: Settings) -> None:
    for name, numbers in (("kernel_size", kernel), ("stride", settings.stride), ("dilation", settings.dilation)):
        if min(numbers) < 1:
            raise ShapeError(f"{operation}: {name} is {numbers}; each number must be at least 1")
    if min(min(pair) for pair in settings.border) < 0:
        raise ShapeError(f"{operation}: padding is {settings.border}; it must not be negative")
    if settings.groups < 1:
        raise ShapeError(f"{operation}: groups is {settings.groups}; it must be at least 1")


def _check_fit(operation: str, x_shape: Sizes, w_shape: Sizes, settings: Settings) -> None:
    """Refuse channels that do not go together, and windows that do not fit."""
    channels, features, groups = x_shape[1], w_shape[0], settings.groups
    if channels % groups or features % groups:
        raise ShapeError(
            f"{operation}: groups is {groups}; it must divide the {channels} input channels and the {features} output "
            "channels"
        )
    if w_shape[1] * groups != channels:
        raise ShapeError(
            f"{operation}: weight {w_shape} with groups={groups} needs an input of {w_shape[1] * groups} channels; got "
            f"input {x_shape} with {channels}"
        )
    spans = tuple(extent(size, spread) for size, spread in zip(w_shape[2:], settings.dilation))
    padded = tuple(n + sum(pair) for n, pair in zip(x_shape[2:], settings.border))
    if any(span > room for span, room in zip(spans, padded)):
        raise ShapeError(
            f"{operation}: the window spans {spans} and does not fit into the padded input of {padded} (input {x_shape}, "
            f"padding {settings.border}); use a larger input, more padding or a smaller kernel"
        )


def finish(z: Tensor, bias: Tensor | None, one: bool) -> Tensor:
    """With the bias; without the dimension of samples if there is only `one`; its values in order."""
    if bias is not None:
        z = add(z, shapes.reshape(bias, -1, *(1,) * (z.array.ndim - 2)))  # (O) -> (O, 1, ...)
    if one:
        z = shapes.squeeze(z, 0)
    return shapes.contiguous(z) if z.array.ndim != 4 else z


def _conv(
    operation: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Tensor:
    check_operands(operation, count, input, weight, bias)
    w_shape = weight.array.shape
    check_bias(operation, weight, bias, w_shape[0])
    one = input.array.ndim == count + 1
    x = shapes.unsqueeze(input, 0) if one else input
    given = stride, padding, dilation, groups
    known = all(type(value) is int or (type(value) is tuple and set(map(type, value)) == {int}) for value in given)
    # True is 1 and 2.0 is 2 to a cache, so it only knows whole numbers and pairs of them
    read = _read_settings if known else _read_settings.__wrapped__
    settings = read(operation, count, x.array.shape, w_shape, *given)
    return finish((_images, _lines, _images, _volumes)[count](x, weight, bias, settings), None, one)


@functools.lru_cache(maxsize=1024)
def _read_settings(
    operation: str, count: int, x_shape: Sizes, w_shape: Sizes, stride: Any, padding: Any, dilation: Any, groups: Any
) -> Settings:
    """A number for each axis, checked against the shapes."""
    steps, spread = several(operation, "stride", stride, count), several(operation, "dilation", dilation, count)
    border = read_padding(operation, padding, w_shape[2:], steps, spread)
    settings = Settings(steps, border, spread, whole(operation, "groups", groups))
    check_settings(operation, w_shape[2:], settings)
    _check_fit(operation, x_shape, w_shape, settings)
    return settings


def _images(x: Tensor, w: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
    if bias is None:
        return Conv2d(*settings.of_images())(x, w)
    if mode.relu_follows is not None:  # both at once: see nn/chain.py, which asks afterwards
        mode.relu_follows = None
        return Conv2dBiasRelu(*settings.of_images())(x, w, bias)
    return Conv2dBias(*settings.of_images())(x, w, bias)


def _lines(x: Tensor, w: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
    return shapes.squeeze(_images(shapes.unsqueeze(x, 2), shapes.unsqueeze(w, 2), bias, settings), 2)


def _volumes(x: Tensor, w: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
    if settings.border[0] != (0, 0):
        x = shapes.Pad(((0, 0), (0, 0), settings.border[0], (0, 0), (0, 0)), 0.0)(x)
    features, channels, deep, *plane = w.array.shape
    x = Windows((2,), (deep,), settings.stride[:1], settings.dilation[:1])(x)  # (N, C, OD, H, W, KD)
    samples, all_channels, depth, rows, columns, _ = x.array.shape
    x = shapes.permute(x, 0, 2, 1, 5, 3, 4)
    x = shapes.reshape(x, samples * depth, all_channels * deep, rows, columns)
    z = _images(x, shapes.reshape(w, features, channels * deep, *plane), bias, settings)
    z = shapes.reshape(z, samples, depth, features, *z.array.shape[2:])
    return shapes.transpose(z, 1, 2)


@under_autocast
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """conv2d of lines: input (N, C, L) or (C, L), weight (O, C / groups, K).

    >>> import tensorgrad
    >>> conv1d(tensorgrad.tensor([[1.0, 2.0, 4.0]]), tensorgrad.tensor([[[-1.0, 1.0]]]))
    tensor([[1., 2.]])
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@under_autocast
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """z[n, o] = b[o] + sum over c of x[n, c] * w[o, c]: cross-correlation, the filter is not turned round.

    input     (N, C, H, W), or (C, H, W) for one image
    weight    (O, C / groups, KH, KW)
    bias      (O)
    stride, dilation  a number or (rows, columns)
    padding   zeros around the input: a number, (rows, columns), 'valid' for none, or 'same' to keep the size (stride
              1; what cannot be split evenly goes to the right and bottom)
    groups    this many convolutions side by side, each of its share of the channels

    Returns (N, O, OH, OW), OH = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1, OW likewise. Raises
    ShapeError where the shapes and settings do not go together.

    >>> import tensorgrad
    >>> conv2d(tensorgrad.ones(1, 3, 32, 32), tensorgrad.ones(6, 3, 5, 5)).shape
    (1, 6, 28, 28)
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@under_autocast
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """conv2d of volumes: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW).

    >>> import tensorgrad
    >>> conv3d(tensorgrad.ones(1, 3, 8, 16, 16), tensorgrad.ones(6, 3, 3, 5, 5)).shape
    (1, 6, 6, 12, 12)
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
