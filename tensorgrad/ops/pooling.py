"""Pooling: the largest or the mean value of every window."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64
from tensorgrad.primitive import Linear, Primitive
from tensorgrad.tensor import Tensor

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right


class MaxPool2d(Primitive):
    """z = max of x over each window        dz = dx at the window's winner

    The first of tied values wins. The winners are fixed by x, so the rules are linear: jvp gathers at the winners, vjp
    scatters to them, adding up where windows overlap.
    """

    __slots__ = ("ceil_mode", "dilation", "input_size", "kernel_size", "padding", "stride", "winners")
    state = ("winners",)

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, x: Any) -> Any:
        self.input_size = tuple(x.shape[2:])
        z, self.winners = backend_of(x).max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return z

    def jvp(self, dx: Any) -> Any:
        return backend_of(dx).max_pool2d_gather(
            dx, self.winners, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).max_pool2d_scatter(
            dz, self.winners, self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )


class MaxPool2dScatter(Primitive):
    """z = 0 but for each window's x added at its winner        dz likewise of dx"""

    __slots__ = ("dilation", "input_size", "kernel_size", "padding", "stride")

    def __init__(self, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> None:
        self.input_size = input_size
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation

    def forward(self, x: Any, winners: Any) -> Any:
        return backend_of(x).max_pool2d_scatter(
            x, winners, self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def jvp(self, dx: Any, _: Any, winners: Any) -> Any:
        return backend_of(dx).max_pool2d_scatter(
            dx, winners, self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def vjp(self, dz: Any, winners: Any) -> Any:
        return (
            backend_of(dz).max_pool2d_gather(dz, winners, self.kernel_size, self.stride, self.padding, self.dilation),
            None,
        )


class MaxPool2dGather(Primitive):
    """z = x at each window's winner        dz = dx there"""

    __slots__ = ("dilation", "input_size", "kernel_size", "padding", "stride")

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation

    def forward(self, x: Any, winners: Any) -> Any:
        self.input_size = tuple(x.shape[2:])
        return backend_of(x).max_pool2d_gather(x, winners, self.kernel_size, self.stride, self.padding, self.dilation)

    def jvp(self, dx: Any, _: Any, winners: Any) -> Any:
        return backend_of(dx).max_pool2d_gather(dx, winners, self.kernel_size, self.stride, self.padding, self.dilation)

    def vjp(self, dz: Any, winners: Any) -> Any:
        return (
            backend_of(dz).max_pool2d_scatter(
                dz, winners, self.input_size, self.kernel_size, self.stride, self.padding, self.dilation
            ),
            None,
        )


class MaxUnpool(Primitive):
    """z[r, index[r, j]] = x[r, j], 0 elsewhere, in rows of `length`        dz = dx there, adding up

    Windows that share their largest value have the same index and the same x, which z holds once. The rules take each of
    them for its own, as PyTorch does.
    """

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = length

    def forward(self, x: Any, index: Any) -> Any:
        backend = backend_of(x)
        z = backend.zeros((x.shape[0], self.length), x.dtype)
        z[backend.arange(0, x.shape[0], 1, int64).reshape(-1, 1), index] = x
        return z

    def jvp(self, dx: Any, _: Any, index: Any) -> Any:
        return backend_of(dx).put_along_axis(dx, index, 1, self.length)

    def vjp(self, dz: Any, index: Any) -> Any:
        return backend_of(dz).take_along_axis(dz, index, 1), None


class AvgPool2d(Linear):
    """z = sum of x over each window / divisor        dz likewise of dx"""

    __slots__ = (
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
        "input_size",
        "kernel_size",
        "padding",
        "stride",
    )

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def window(self) -> tuple[Any, ...]:
        """The settings in the kernels' order."""
        return (
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def forward(self, x: Any) -> Any:
        self.input_size = tuple(x.shape[2:])
        return backend_of(x).avg_pool2d(x, *self.window())

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).avg_pool2d_input_grad(dz, self.input_size, *self.window())


class AvgPool2dInputGrad(AvgPool2d):
    """z = each window's x / divisor, added to every place it covers        dz likewise of dx"""

    __slots__ = ()

    def __init__(
        self,
        input_size: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        self.input_size = input_size

    def forward(self, x: Any) -> Any:
        return backend_of(x).avg_pool2d_input_grad(x, self.input_size, *self.window())

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).avg_pool2d(dz, *self.window())


def max_pool2d(x: Tensor, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool) -> Tensor:
    """Max pooling with all settings spelled out; `tensorgrad.nn.functional.max_pool2d` takes the usual short forms."""
    return MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode)(x)
