"""Rows: functions with the user's own rules."""

from __future__ import annotations

from ops.rows.table import reseed, row, signed

from tensorgrad.autograd import Function

reseed(__name__)


class _Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dz

    @staticmethod
    def jvp(ctx, dx):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dx


for _shape in [(), (3,), (2, 2), (0, 2)]:
    row("FunctionCall", "x".join(map(str, _shape)) or "0d", _Cube.apply, [signed(*_shape)], lambda x: x**3)
