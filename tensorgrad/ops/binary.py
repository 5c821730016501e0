"""Functions of two numbers, broadcast, each a line: its formula, its derivative, and the map along each input."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float64, is_floating
from tensorgrad.errors import ArgumentError, DtypeError
from tensorgrad.ops.arithmetic import add, divide, multiply, power, subtract
from tensorgrad.ops.operands import as_tensor, cast, put_on_tape, tensors
from tensorgrad.ops.pointwise import binary, both
from tensorgrad.ops.unary import trunc
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "addcdiv",
    "addcmul",
    "arctan2",
    "atan2",
    "copysign",
    "div",
    "float_power",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "heaviside",
    "hypot",
    "ldexp",
    "lerp",
    "logaddexp",
    "logaddexp2",
    "remainder",
    "rsub",
    "true_divide",
    "xlogy",
]

atan2 = binary(
    "Atan2",
    "z = the angle of the point (y, x)",
    "dz = (y dx - x dy) / (x^2 + y^2)",
    lambda b, d, x, y: b.divide(d * y, x * x + y * y),
    lambda b, d, x, y: b.divide(-d * x, x * x + y * y),
    real=True,
)
arctan2 = atan2
hypot = binary(
    "Hypot",
    "z = sqrt(x^2 + y^2)",
    "dz = (x dx + y dy) / z",
    lambda b, d, x, y, out: d * b.divide(x, out),
    lambda b, d, x, y, out: d * b.divide(y, out),
)
logaddexp = binary(
    "Logaddexp",
    "z = log(e^x + e^y)",
    "dz = sigmoid(x - y) dx + sigmoid(y - x) dy",
    lambda b, d, x, y: d * b.sigmoid(x - y),
    lambda b, d, x, y: d * b.sigmoid(y - x),
)
logaddexp2 = binary(
    "Logaddexp2",
    "z = log2(2^x + 2^y)",
    "dz = (2^x dx + 2^y dy) / (2^x + 2^y)",
    lambda b, d, x, y: d * b.sigmoid((x - y) * math.log(2)),
    lambda b, d, x, y: d * b.sigmoid((y - x) * math.log(2)),
)
fmax = binary(
    "Fmax",
    "z = max(x, y), the other one where one is nan",
    "dz = dx where x >= y or y is nan, else dy",
    lambda b, d, x, y: b.where((x >= y) | (y != y), d, 0.0),
    lambda b, d, x, y: b.where((x >= y) | (y != y), 0.0, d),
)
fmin = binary(
    "Fmin",
    "z = min(x, y), the other one where one is nan",
    "dz = dx where x <= y or y is nan, else dy",
    lambda b, d, x, y: b.where((x <= y) | (y != y), d, 0.0),
    lambda b, d, x, y: b.where((x <= y) | (y != y), 0.0, d),
)
fmod = binary(
    "Fmod",
    "z = x - y trunc(x / y), with the sign of x",
    "dz = dx - trunc(x / y) dy",
    lambda b, d, x, y: d + b.zeros_like(y),
    lambda b, d, x, y: -d * b.trunc(b.divide(x, y)),
    numbers="right",
)
remainder = binary(
    "Remainder",
    "z = x - y floor(x / y), with the sign of y",
    "dz = dx - floor(x / y) dy",
    lambda b, d, x, y: d + b.zeros_like(y),
    lambda b, d, x, y: -d * b.floor(b.divide(x, y)),
    numbers="both",
)
copysign = binary(
    "Copysign",
    "z = |x| with the sign of y",
    "dz = sign(x) sign(z) dx",
    lambda b, d, x, out: d * (b.sign(x) * b.sign(out)),
    lambda b, d, x, out: b.zeros_like(out),
    real=True,
    numbers="right",
)


def _log_or_zero(b: Any, x: Any, y: Any) -> Any:
    """log y, but 0 where x = 0 and y is no positive number."""
    nothing = (x == 0) & (y <= 0)
    return b.where(nothing, 0.0, b.log(b.where(nothing, 1.0, y)))


xlogy = binary(
    "Xlogy",
    "z = x log y, 0 where x = 0 and y is not nan",
    "dz = log y dx + x / y dy",
    lambda b, d, x, y: d * _log_or_zero(b, x, y),
    lambda b, d, x, y: d * b.divide(x, y),
    real=True,
    numbers="both",
)


class Steps(Primitive):
    """z = floor(x / y), or another function of x and y that is constant between jumps        dz = 0"""

    __slots__ = ("kernel",)
    broadcasts = True
    missing_tangents = True

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def forward(self, x: Any, y: Any) -> Any:
        return getattr(backend_of(x), self.kernel)(x, y)

    def jvp(self, dx: Any, dy: Any, out: Any) -> Any:
        return backend_of(out).zeros_like(out)

    def vjp(self, dz: Any) -> Any:
        zero = backend_of(dz).zeros_like(dz)
        return zero, zero


class Heaviside(Primitive):
    """z = 0 where x < 0, y where x = 0, 1 where x > 0: no derivative, as in PyTorch"""

    __slots__ = ()
    differentiable = False

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).heaviside(x, y).astype(x.dtype)


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 where x < 0, `values` where x = 0, 1 where x > 0."""
    x, y = as_tensor("heaviside", input), as_tensor("heaviside", values)
    if x.dtype != y.dtype:
        raise DtypeError(f"heaviside: got dtypes {x.dtype} and {y.dtype}; convert one with .to(dtype)")
    return Heaviside()(x, y)


def floor_divide(input: Any, other: Any) -> Tensor:
    """floor(x / y), broadcast; the gradient is 0.

    >>> import tensorgrad
    >>> tensorgrad.floor_divide(tensorgrad.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """
    return Steps("floor_divide")(*both("floor_divide", input, other))


def _trunc_divide(input: Any, other: Any) -> Tensor:
    x, y = both("div", input, other)
    if is_floating(x.array.dtype):
        return trunc(divide(x, y))
    quotient = Steps("floor_divide")(x, y)
    exact = quotient * y == x
    return quotient + ((quotient < 0) & ~exact).to(quotient.dtype)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """x / y, broadcast; with rounding_mode 'floor' or 'trunc' rounded down or towards 0, and whole numbers stay whole.

    >>> import tensorgrad
    >>> tensorgrad.div(tensorgrad.tensor([7, -7]), 2, rounding_mode="trunc")
    tensor([ 3, -3])
    """
    if rounding_mode is None:
        return divide(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ArgumentError(f"div: got rounding_mode={rounding_mode!r}; use None, 'floor' or 'trunc'")
    return _trunc_divide(input, other)


true_divide = divide


def rsub(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """y - alpha x, broadcast."""
    return subtract(other, as_tensor("rsub", input), alpha=alpha)


def float_power(input: Any, exponent: Any) -> Tensor:
    """x^y in float64, broadcast."""
    x, y = (cast(v, float64) if isinstance(v, Tensor) else v for v in tensors("float_power", input, exponent))
    return power(x, y)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """x 2^y, broadcast."""
    return multiply(input, power(2.0, as_tensor("ldexp", other)))


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """x + weight (end - x), broadcast; the weight a number or a Tensor.

    >>> import tensorgrad
    >>> tensorgrad.lerp(tensorgrad.tensor([0.0, 10.0]), tensorgrad.tensor([1.0, 20.0]), 0.5)
    tensor([ 0.5000, 15.0000])
    """
    x, y = as_tensor("lerp", input), as_tensor("lerp", end)
    others = [y, weight] if isinstance(weight, Tensor) else [y]
    if not is_floating(x.dtype) or any(other.dtype != x.dtype for other in others):
        raise DtypeError(
            f"lerp: got dtypes {', '.join(str(v.dtype) for v in [x, *others])}; all must be of one floating-point dtype"
        )
    return add(x, multiply(subtract(y, x), weight))


@under_autocast
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 tensor2, broadcast."""
    return add(input, multiply(tensor1, tensor2), alpha=value)


@under_autocast
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """x + value tensor1 / tensor2, broadcast; not of whole numbers, as in PyTorch."""
    if not is_floating(as_tensor("addcdiv", tensor1).dtype) and not is_floating(as_tensor("addcdiv", tensor2).dtype):
        raise DtypeError("addcdiv: tensor1 and tensor2 are whole numbers; convert one with .float()")
    return add(input, divide(tensor1, tensor2), alpha=value)


put_on_tape(floor_divide=floor_divide)
