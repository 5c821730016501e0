"""Functions of each element that the array library would take several launches for, in one: CuPy's ElementwiseKernel."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.array import ArrayBackend

Array = Any

#: Our name -> what goes in, what comes out, the operation; T is the arrays' own dtype, CuPy broadcasts.
OPERATIONS = {
    "relu_grad": ("T dz, T z", "T dx", "dx = z > T(0) ? dz : T(0)"),
    "move_running": (
        "T old, T value, float64 momentum, float64 factor",
        "T moved",
        "moved = T(1.0 - momentum) * old + T(momentum) * (T(factor) * value)",
    ),
    "sigmoid": ("T x", "T z", "T e = exp(x > T(0) ? T(-x) : x); z = (x < T(0) ? e : T(1)) / (T(1) + e)"),
}


class CudaElementwiseKernels(ArrayBackend):
    """See ArrayBackend for what each computes."""

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        compiler = getattr(xp, "ElementwiseKernel", None)
        self.fused = {} if compiler is None else self.fuse(compiler)

    @staticmethod
    def fuse(compiler: Any) -> dict[str, Any]:
        return {name: compiler(*declared, name) for name, declared in OPERATIONS.items()}

    def relu_grad(self, dz: Array, z: Array) -> Array:
        if "relu_grad" not in self.fused or dz.dtype != z.dtype:
            return super().relu_grad(dz, z)
        return self.fused["relu_grad"](dz, z)

    def sigmoid(self, x: Array) -> Array:
        if "sigmoid" not in self.fused or x.dtype.kind != "f":
            return super().sigmoid(x)
        return self.fused["sigmoid"](x)

    def move_running(self, running: Array, value: Array, momentum: float, factor: float) -> None:
        if "move_running" not in self.fused or running.dtype != value.dtype:
            super().move_running(running, value, momentum, factor)
        else:
            self.fused["move_running"](running, value, momentum, factor, running)
