"""Convolution layers, and padding of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.backend.windows import Padding, conv2d_output_size, same_padding
from tensorgrad.creation import empty
from tensorgrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from tensorgrad.nn import init
from tensorgrad.nn.arguments import IntOrPair, Pair, at_least, one_of, pair, whole
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.arithmetic import add
from tensorgrad.ops.convolution import Conv2d as Conv2dPrimitive
from tensorgrad.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def read_padding(operation: str, padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Padding:
    """(top, bottom, left, right) from one number, two, 'valid' or 'same'."""
    if isinstance(padding, str):
        one_of(operation, "padding", padding, ("same", "valid"))
        if padding == "valid":
            return 0, 0, 0, 0
        if stride != (1, 1):
            raise ShapeError(f"{operation}: padding='same' keeps the size only with stride 1; got stride {stride}")
        return same_padding(kernel, dilation)
    rows, columns = pair(operation, "padding", padding)
    return rows, rows, columns, columns


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: str | IntOrPair = 0,
    dilation: IntOrPair = 1,
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
    x_shape, w_shape = _check_operands(input, weight, bias)
    steps, spread = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
    border = read_padding("conv2d", padding, w_shape[2:], steps, spread)
    count = whole("conv2d", "groups", groups)
    one = len(x_shape) == 3
    conv2d_output_size((1, *x_shape) if one else x_shape, w_shape, steps, border, spread, count)
    z = Conv2dPrimitive(steps, border, spread, count)(shapes.unsqueeze(input, 0) if one else input, weight)
    if bias is not None:
        z = add(z, shapes.reshape(bias, -1, 1, 1))  # (O) -> (O, 1, 1)
    return shapes.squeeze(z, 0) if one else z


def _check_operands(input: Any, weight: Any, bias: Any) -> tuple[tuple[int, ...], Any]:
    """The shapes of input and weight, where they and their dtypes can be a convolution's."""
    for name, x in (("input", input), ("weight", weight), ("bias", bias)):
        if not isinstance(x, Tensor) and not (x is None and name == "bias"):
            raise OperandError(f"conv2d: {name} is a {type(x).__name__}; it must be a Tensor")
    x_shape, w_shape = input.array.shape, weight.array.shape
    if len(w_shape) != 4:
        raise ShapeError(f"conv2d: weight has shape {w_shape}; it must be (O, C / groups, KH, KW)")
    if len(x_shape) not in (3, 4):
        raise ShapeError(f"conv2d: input has shape {x_shape}; it must be (N, C, H, W), or (C, H, W) for one image")
    if input.array.dtype != weight.array.dtype:
        raise DtypeError(
            f"conv2d: input is {input.dtype} and weight {weight.dtype}; they must be the same, use .to(dtype)"
        )
    if bias is not None and (bias.array.shape != w_shape[:1] or bias.array.dtype != weight.array.dtype):
        raise ShapeError(
            f"conv2d: bias has shape {bias.shape} and dtype {bias.dtype}; a weight of shape {w_shape} and dtype "
            f"{weight.dtype} needs ({w_shape[0]},) of the same dtype"
        )
    return x_shape, w_shape


class Conv2d(Module):
    """z[n, o] = b[o] + sum over c of x[n, c] * w[o, c]; see `tensorgrad.nn.functional.conv2d`.

    in_channels, out_channels  C and O; weight is (O, C / groups, KH, KW)
    kernel_size, stride, padding, dilation  a number or (rows, columns); padding also 'same' or 'valid'
    groups        this many convolutions side by side
    bias          whether b is added
    padding_mode  'zeros', 'reflect', 'replicate' or 'circular'

    Weight and bias start evenly in +-1 / sqrt(fan_in), fan_in = KH KW C / groups.

    >>> import tensorgrad
    >>> layer = Conv2d(1, 6, 5)
    >>> layer(tensorgrad.ones(2, 1, 32, 32)).shape
    (2, 6, 28, 28)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: str | IntOrPair = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels = at_least("Conv2d", "in_channels", in_channels, 0)
        self.out_channels = at_least("Conv2d", "out_channels", out_channels, 0)
        self.groups = at_least("Conv2d", "groups", groups, 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ArgumentError(
                    f"Conv2d: {name} is {channels} and groups {groups}; {name} must be divisible by groups"
                )
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride = pair("Conv2d", "stride", stride)
        self.dilation = pair("Conv2d", "dilation", dilation)
        self.padding_mode: str = one_of("Conv2d", "padding_mode", padding_mode, PADDING_MODES)
        for name, numbers in (("kernel_size", self.kernel_size), ("stride", self.stride), ("dilation", self.dilation)):
            if min(numbers) < 1:
                raise ArgumentError(f"Conv2d: {name} is {numbers}; each number must be at least 1")
        if padding == "same" and self.stride != (1, 1):
            raise ArgumentError(f"Conv2d: padding='same' keeps the size only with stride 1; got stride {self.stride}")
        border = read_padding("Conv2d", padding, self.kernel_size, self.stride, self.dilation)
        if min(border) < 0:
            raise ArgumentError(f"Conv2d: padding is {padding}; it must not be negative")
        self.padding: str | Pair = padding if isinstance(padding, str) else (border[0], border[2])
        top, bottom, left, right = border
        self._border = (left, right, top, bottom)  # in the order of functional.pad
        self.weight = Parameter(
            empty(out_channels, in_channels // groups, *self.kernel_size, device=device, dtype=dtype)
        )
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.layer_defaults_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            return conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        padded = pad(input, self._border, self.padding_mode)
        return conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input inside a border, its widths given from the last dimension backwards.

    pad    (left, right), (left, right, top, bottom), ...: two numbers a dimension; negative ones crop
    mode   what fills the border: 'constant' (`value`, 0 unless given), 'reflect' (mirrored, the edge not repeated),
           'replicate' (the edge's value), 'circular' (from the other end)

    >>> import tensorgrad
    >>> pad(tensorgrad.tensor([[1.0, 2.0, 3.0]]), (2, 1), "reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    one_of("pad", "mode", mode, ("constant", "reflect", "replicate", "circular"))
    if not isinstance(input, Tensor):
        raise OperandError(f"pad: input is a {type(input).__name__}; it must be a Tensor")
    numbers = [whole("pad", "pad", n) for n in pad]
    if len(numbers) % 2 or len(numbers) > 2 * input.array.ndim:
        raise ShapeError(
            f"pad: got {len(numbers)} widths for a Tensor of shape {input.shape}; give two a dimension, for the last "
            "ones first"
        )
    widths = [(0, 0)] * input.array.ndim
    for i in range(len(numbers) // 2):
        widths[-1 - i] = (numbers[2 * i], numbers[2 * i + 1])
    for dim, (before, after) in enumerate(widths):
        if input.array.shape[dim] + before + after < 0:
            raise ShapeError(
                f"pad: widths {before}, {after} take more than dimension {dim} of a Tensor of shape {input.shape} has"
            )
    if mode == "constant":
        return _pad_constant(input, widths, 0.0 if value is None else value)
    if value is not None and value != 0:
        raise ArgumentError(f"pad: value is {value}; mode {mode!r} takes none")
    z = input
    for dim, (before, after) in enumerate(widths):
        if before or after:
            z = _pad_from_itself(z, dim, before, after, mode)
    return z


def _pad_constant(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    if any(before < 0 or after < 0 for before, after in widths):
        x = x[tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, widths))]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    return shapes.Pad(tuple(widths), value)(x)


def _pad_from_itself(x: Tensor, dim: int, before: int, after: int, mode: str) -> Tensor:
    """A border along one dimension made of slices of x itself."""
    n = x.array.shape[dim]
    if before < 0 or after < 0:
        x = _along(x, dim, slice(max(-before, 0), n - max(-after, 0)))
        before, after, n = max(before, 0), max(after, 0), x.array.shape[dim]
    most = {"reflect": n - 1, "circular": n, "replicate": before + after if n else 0}[mode]
    if max(before, after) > most:
        raise ShapeError(
            f"pad: a border of {before}, {after} in mode {mode!r} along dimension {dim} of a Tensor of shape "
            f"{x.shape}; it can be at most {most} wide there"
        )
    if mode == "circular":
        first, last = _along(x, dim, slice(n - before, n)), _along(x, dim, slice(0, after))
    elif mode == "reflect":
        first = _along(x, dim, slice(before, 0, -1))
        last = _along(x, dim, slice(n - 2, n - 2 - after if n - 2 - after >= 0 else None, -1))
    else:
        first, last = _repeated(x, dim, 0, before), _repeated(x, dim, n - 1, after)
    parts = [part for part, width in ((first, before), (x, 1), (last, after)) if width]
    return shapes.cat(parts, dim) if len(parts) > 1 else x


def _along(x: Tensor, dim: int, part: slice) -> Tensor:
    return x[(slice(None),) * dim + (part,)]


def _repeated(x: Tensor, dim: int, at: int, times: int) -> Tensor:
    edge = _along(x, dim, slice(at, at + 1))
    return shapes.expand(edge, *(times if d == dim else -1 for d in range(x.array.ndim)))
