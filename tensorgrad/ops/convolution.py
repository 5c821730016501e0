"""Convolution, one trilinear form seen from three sides.

    <dz, x * w> = sum over n, o, p of dz[n, o, p] sum over c, k of w[o, c, k] x[n, c, p stride + k dilation - padding]

Fix two of dz, x and w, and what multiplies the third is one of three maps: the convolution x * w itself, its input gradient
(the lectures' full convolution with the rotated filter) and its weight gradient. The form is the same whichever is fixed, so
each map is bilinear, and its cotangents are the other two.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.primitive import Bilinear
from tensorgrad.tensor import Tensor

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right


class Conv2d(Bilinear):
    """z = x * w        dz = dx * w + x * dw

    x (N, C, H, W), w (O, C / groups, KH, KW), z (N, O, OH, OW): a cross-correlation, the filter is not turned round.
    """

    __slots__ = ("dilation", "groups", "input_size", "kernel_size", "padding", "stride")

    def __init__(self, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def forward(self, x: Any, w: Any) -> Any:
        self.input_size, self.kernel_size = tuple(x.shape[2:]), tuple(w.shape[2:])
        return backend_of(x).conv2d(x, w, self.stride, self.padding, self.dilation, self.groups)

    def vjp_x(self, dz: Any, w: Any) -> Any:
        return backend_of(dz).conv2d_input_grad(
            dz, w, self.input_size, self.stride, self.padding, self.dilation, self.groups
        )

    def vjp_y(self, dz: Any, x: Any) -> Any:
        return backend_of(dz).conv2d_weight_grad(
            dz, x, self.kernel_size, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2dInputGrad(Bilinear):
    """z = the x that <dz, x * w> multiplies, bilinear in dz and w"""

    __slots__ = ("dilation", "groups", "input_size", "kernel_size", "padding", "stride")

    def __init__(self, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
        self.input_size = input_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def forward(self, dz: Any, w: Any) -> Any:
        self.kernel_size = tuple(w.shape[2:])
        return backend_of(dz).conv2d_input_grad(
            dz, w, self.input_size, self.stride, self.padding, self.dilation, self.groups
        )

    def vjp_x(self, g: Any, w: Any) -> Any:
        return backend_of(g).conv2d(g, w, self.stride, self.padding, self.dilation, self.groups)

    def vjp_y(self, g: Any, dz: Any) -> Any:
        return backend_of(g).conv2d_weight_grad(
            dz, g, self.kernel_size, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2dWeightGrad(Bilinear):
    """z = the w that <dz, x * w> multiplies, bilinear in dz and x"""

    __slots__ = ("dilation", "groups", "input_size", "kernel_size", "padding", "stride")

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def forward(self, dz: Any, x: Any) -> Any:
        self.input_size = tuple(x.shape[2:])
        return backend_of(dz).conv2d_weight_grad(
            dz, x, self.kernel_size, self.stride, self.padding, self.dilation, self.groups
        )

    def vjp_x(self, g: Any, x: Any) -> Any:
        return backend_of(g).conv2d(x, g, self.stride, self.padding, self.dilation, self.groups)

    def vjp_y(self, g: Any, dz: Any) -> Any:
        return backend_of(g).conv2d_input_grad(
            dz, g, self.input_size, self.stride, self.padding, self.dilation, self.groups
        )


def conv2d(x: Tensor, w: Tensor, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Tensor:
    """x * w with all settings spelled out; `tensorgrad.nn.functional.conv2d` takes the usual short forms."""
    return Conv2d(stride, padding, dilation, groups)(x, w)
