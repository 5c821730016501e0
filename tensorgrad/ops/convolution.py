"""Convolution, one trilinear form seen from three sides.

    <dz, x * w> = sum over n, o, p of dz[n, o, p] sum over c, k of w[o, c, k] x[n, c, p stride + k dilation - padding]

Fix two of dz, x and w, and what multiplies the third is one of three maps: the convolution x * w itself, its input gradient
(the lectures' full convolution with the rotated filter) and its weight gradient. The form is the same whichever is fixed, so
each map is bilinear, and its cotangents are the other two.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.primitive import Bilinear, Primitive

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


class Conv2dBias(Primitive):
    """z = x * w + b        dz = dx * w + x * dw + db

    As Conv2d, and b (O) is added where z is made, which saves a pass over memory.
    """

    __slots__ = ("dilation", "groups", "input_size", "kernel_size", "padding", "stride")
    missing_tangents = True

    def __init__(self, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> None:
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        self.input_size, self.kernel_size = tuple(x.shape[2:]), tuple(w.shape[2:])
        return backend_of(x).conv2d_bias(x, w, b, self.stride, self.padding, self.dilation, self.groups)

    def _record(self, inputs: Any, arrays: Any, parents: Any, out: Any) -> None:
        Primitive._record(self, inputs, arrays, parents, out)
        if parents[1] is None:
            self.saved[0] = None  # only the cotangent of w needs x
        if parents[0] is None:
            self.saved[1] = None

    def jvp(self, dx: Any, dw: Any, db: Any, x: Any, w: Any, out: Any) -> Any:
        backend = backend_of(out)
        settings = self.stride, self.padding, self.dilation, self.groups
        dz = None if db is None else backend.broadcast_to(backend.reshape(db, (1, -1, 1, 1)), out.shape)
        for one, other in ((dx, w), (x, dw)):
            if one is not None and other is not None:
                part = backend.conv2d(one, other, *settings)
                dz = part if dz is None else dz + part
        return dz

    def vjp(self, dz: Any, x: Any, w: Any) -> tuple[Any, Any, Any]:
        backend = backend_of(dz)
        settings = self.stride, self.padding, self.dilation, self.groups
        return (
            backend.conv2d_input_grad(dz, w, self.input_size, *settings) if self.needs(0) else None,
            backend.conv2d_weight_grad(dz, x, self.kernel_size, *settings) if self.needs(1) else None,
            backend.sum(dz, (0, 2, 3), False) if self.needs(2) else None,
        )


class Conv2dBiasRelu(Conv2dBias):
    """z = max(x * w + b, 0)        dz = what Conv2dBias gives where z > 0, else 0

    Where a backend has it as one pass over memory (cuDNN), a Sequential takes it for a convolution with a ReLU behind it (nn/chain.py).
    """

    __slots__ = ()

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        self.input_size, self.kernel_size = tuple(x.shape[2:]), tuple(w.shape[2:])
        return backend_of(x).conv2d_bias_relu(x, w, b, self.stride, self.padding, self.dilation, self.groups)

    def jvp(self, dx: Any, dw: Any, db: Any, x: Any, w: Any, out: Any) -> Any:
        return backend_of(out).relu_grad(super().jvp(dx, dw, db, x, w, out), out)

    def vjp(self, dz: Any, x: Any, w: Any, out: Any) -> tuple[Any, Any, Any]:  # type: ignore[override]
        return super().vjp(backend_of(dz).relu_grad(dz, out), x, w)


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
