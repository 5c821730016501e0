"""The layers of convolution: weight, bias and settings kept, functions called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.backend.windows import extent
from tensorgrad.creation import empty
from tensorgrad.errors import ArgumentError
from tensorgrad.nn import convolution_functions as functions
from tensorgrad.nn import init, transposed_convolution
from tensorgrad.nn.arguments import at_least, one_of, several
from tensorgrad.nn.module import Module
from tensorgrad.nn.padding import PADDING_MODES, pad
from tensorgrad.nn.parameter import Parameter
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]


class _Convolution(Module):
    """What all six share: the settings, checked, and the parameters."""

    function: Any  # of tensorgrad.nn.convolution_functions
    axes = 2
    transposed = False
    weight: Parameter
    bias: Parameter | None

    def _prepare(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        self.in_channels = at_least(name, "in_channels", in_channels, 0)
        self.out_channels = at_least(name, "out_channels", out_channels, 0)
        self.groups = at_least(name, "groups", groups, 1)
        for what, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ArgumentError(
                    f"{name}: {what} is {channels} and groups {groups}; {what} must be divisible by groups"
                )
        self.kernel_size = several(name, "kernel_size", kernel_size, self.axes)
        self.stride = several(name, "stride", stride, self.axes)
        self.dilation = several(name, "dilation", dilation, self.axes)
        self.output_padding = several(name, "output_padding", output_padding, self.axes)
        self.padding_mode: str = one_of(name, "padding_mode", padding_mode, PADDING_MODES)
        for what, numbers in (("kernel_size", self.kernel_size), ("stride", self.stride), ("dilation", self.dilation)):
            if min(numbers) < 1:
                raise ArgumentError(f"{name}: {what} is {numbers}; each number must be at least 1")
        self.padding: str | Sizes = self._read_padding(name, padding)
        outer, inner = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(empty(outer, inner // groups, *self.kernel_size, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def _read_padding(self, name: str, padding: Any) -> str | Sizes:
        if isinstance(padding, str):
            one_of(name, "padding", padding, ("same", "valid"))
            if padding == "same" and max(self.stride) > 1:
                raise ArgumentError(
                    f"{name}: padding='same' keeps the size only with stride 1; got stride {self.stride}"
                )
            return padding
        numbers = several(name, "padding", padding, self.axes)
        if min(numbers) < 0:
            raise ArgumentError(f"{name}: padding is {padding}; it must not be negative")
        return numbers

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.layer_defaults_(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * self.axes:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self.axes:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self.axes:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._prepare(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        function = type(self).function
        z: Tensor
        if self.padding_mode == "zeros":
            z = function(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        else:
            padded = pad(input, self._border(), self.padding_mode)
            z = function(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return z

    def _border(self) -> list[int]:
        """The padding in the order of functional.pad."""
        pairs = functions.read_padding(type(self).__name__, self.padding, self.kernel_size, self.stride, self.dilation)
        return [width for pair in reversed(pairs) for width in pair]


class Conv1d(_Conv):
    """Convolution of (N, C, L); arguments as in Conv2d, see `tensorgrad.nn.functional.conv1d`."""

    function = staticmethod(functions.conv1d)
    axes = 1


class Conv2d(_Conv):
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

    function = staticmethod(functions.conv2d)
    axes = 2


class Conv3d(_Conv):
    """Convolution of (N, C, D, H, W); arguments as in Conv2d, see `tensorgrad.nn.functional.conv3d`."""

    function = staticmethod(functions.conv3d)
    axes = 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_mode != "zeros":
            raise ArgumentError(
                f"{type(self).__name__}: padding_mode is {padding_mode!r}; a transposed convolution cuts its padding "
                "off, so it can only be 'zeros'"
            )
        if isinstance(padding, str):
            raise ArgumentError(
                f"{type(self).__name__}: padding is {padding!r}; it must be a whole number or one an axis"
            )
        self._prepare(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        more = self.output_padding if output_size is None else self._padding_for(input, output_size)
        z: Tensor = type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation
        )
        return z

    def _padding_for(self, input: Tensor, output_size: Sequence[int]) -> Sizes:
        """The output_padding that gives a result of this size (of the last axes, or the whole shape)."""
        name, wanted = type(self).__name__, tuple(output_size)
        if len(wanted) == input.array.ndim:
            wanted = wanted[-self.axes :]
        if len(wanted) != self.axes:
            raise ArgumentError(
                f"{name}: output_size is {tuple(output_size)}; give {self.axes} sizes or the whole shape"
            )
        cuts: Any = self.padding
        least = [
            (n - 1) * step - 2 * cut + extent(kernel, spread)
            for n, step, cut, kernel, spread in zip(
                input.array.shape[-self.axes :], self.stride, cuts, self.kernel_size, self.dilation
            )
        ]
        more = tuple(size - low for size, low in zip(wanted, least))
        if any(not 0 <= extra < step for extra, step in zip(more, self.stride)):
            most = [low + step - 1 for low, step in zip(least, self.stride)]
            raise ArgumentError(
                f"{name}: output_size is {wanted}; for an input of shape {input.shape} it must be from {least} to {most}"
            )
        return more


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of (N, C, L); arguments as in ConvTranspose2d."""

    function = staticmethod(transposed_convolution.conv_transpose1d)
    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution, which makes images larger; see `tensorgrad.nn.functional.conv_transpose2d`.

    in_channels, out_channels  C and O; weight is (C, O / groups, KH, KW)
    kernel_size, stride, padding, output_padding, dilation  a number or (rows, columns)
    groups, bias  as in Conv2d

    Called with output_size, it chooses the output_padding that gives this size.

    >>> import tensorgrad
    >>> ConvTranspose2d(8, 4, 3, stride=2, padding=1)(tensorgrad.ones(1, 8, 7, 7), output_size=(14, 14)).shape
    (1, 4, 14, 14)
    """

    function = staticmethod(transposed_convolution.conv_transpose2d)
    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of (N, C, D, H, W); arguments as in ConvTranspose2d."""

    function = staticmethod(transposed_convolution.conv_transpose3d)
    axes = 3
