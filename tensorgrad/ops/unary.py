"""Functions of one number, each a line: its formula, its derivative, and the derivative applied to d.

(For the derivative at a pole or kink, multiplication and division follow IEEE 754, as in PyTorch.)
"""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError
from tensorgrad.ops.operands import as_tensor, put_on_tape
from tensorgrad.ops.pointwise import floating, unary
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "deg2rad",
    "erf",
    "erfc",
    "erfinv",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "frac",
    "log",
    "log1p",
    "log2",
    "log10",
    "positive",
    "rad2deg",
    "reciprocal",
    "round",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
]

# powers, exponentials, logarithms
sqrt = unary("Sqrt", "z = sqrt x", "dz = dx / 2z, infinite at 0", lambda b, d, out: b.divide(d, 2 * out))
exp2 = unary("Exp2", "z = 2^x", "dz = z ln 2 dx", lambda b, d, out: d * (out * math.log(2)))
expm1 = unary("Expm1", "z = e^x - 1", "dz = (z + 1) dx", lambda b, d, out: d * (out + 1))
log = unary("Log", "z = log x", "dz = dx / x", lambda b, d, x: b.divide(d, x))
log1p = unary("Log1p", "z = log(1 + x)", "dz = dx / (1 + x)", lambda b, d, x: b.divide(d, 1 + x))
log2 = unary("Log2", "z = log x / log 2", "dz = dx / (x log 2)", lambda b, d, x: b.divide(d, x * math.log(2)))
log10 = unary("Log10", "z = log x / log 10", "dz = dx / (x log 10)", lambda b, d, x: b.divide(d, x * math.log(10)))
reciprocal = unary("Reciprocal", "z = 1 / x", "dz = -z^2 dx", lambda b, d, out: -d * (out * out))
rsqrt = unary("Rsqrt", "z = 1 / sqrt x", "dz = -z^3 / 2 dx", lambda b, d, out: d * (-0.5 * (out * out * out)))

# trigonometric and hyperbolic functions and their inverses
sin = unary("Sin", "z = sin x", "dz = cos x dx", lambda b, d, x: d * b.cos(x))
cos = unary("Cos", "z = cos x", "dz = -sin x dx", lambda b, d, x: d * -b.sin(x))
tan = unary("Tan", "z = tan x", "dz = (1 + z^2) dx", lambda b, d, out: d * (1 + out * out))
asin = unary("Asin", "z = arcsin x", "dz = dx / sqrt(1 - x^2)", lambda b, d, x: b.divide(d, b.sqrt(1 - x * x)))
acos = unary("Acos", "z = arccos x", "dz = -dx / sqrt(1 - x^2)", lambda b, d, x: b.divide(-d, b.sqrt(1 - x * x)))
atan = unary("Atan", "z = arctan x", "dz = dx / (1 + x^2)", lambda b, d, x: b.divide(d, 1 + x * x))
sinh = unary("Sinh", "z = sinh x", "dz = cosh x dx", lambda b, d, x: d * b.cosh(x))
cosh = unary("Cosh", "z = cosh x", "dz = sinh x dx", lambda b, d, x: d * b.sinh(x))
tanh = unary("Tanh", "z = tanh x", "dz = (1 - z^2) dx", lambda b, d, out: d * (1 - out * out))
asinh = unary("Asinh", "z = arsinh x", "dz = dx / sqrt(x^2 + 1)", lambda b, d, x: b.divide(d, b.sqrt(x * x + 1)))
acosh = unary("Acosh", "z = arcosh x", "dz = dx / sqrt(x^2 - 1)", lambda b, d, x: b.divide(d, b.sqrt(x * x - 1)))
atanh = unary("Atanh", "z = artanh x", "dz = dx / (1 - x^2)", lambda b, d, x: b.divide(d, 1 - x * x))

# of statistics
sigmoid = unary("Sigmoid", "z = 1 / (1 + e^-x)", "dz = z (1 - z) dx", lambda b, d, out: d * (out * (1 - out)))
erf = unary(
    "Erf",
    "z = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x",
    "dz = 2 / sqrt(pi) e^(-x^2) dx",
    lambda b, d, x: d * (b.exp(-x * x) * (2 / math.sqrt(math.pi))),
)
erfc = unary(
    "Erfc",
    "z = 1 - erf x, exact where it is tiny",
    "dz = -2 / sqrt(pi) e^(-x^2) dx",
    lambda b, d, x: d * (b.exp(-x * x) * (-2 / math.sqrt(math.pi))),
)
erfinv = unary(
    "Erfinv",
    "z with erf z = x",
    "dz = sqrt(pi) / 2 e^(z^2) dx",
    lambda b, d, out: d * (b.exp(out * out) * (math.sqrt(math.pi) / 2)),
)


def _sinc_along(b: Any, d: Any, x: Any) -> Any:
    away = b.where(x == 0, 1.0, x)
    angle = away * math.pi
    return b.where(x == 0, 0.0, d * b.divide(angle * b.cos(angle) - b.sin(angle), angle * away))


sinc = unary("Sinc", "z = sin(pi x) / (pi x), 1 at 0", "dz = (cos(pi x) - z) / x dx, 0 at 0", _sinc_along)

arccos, arcsin, arctan, arccosh, arcsinh, arctanh = acos, asin, atan, acosh, asinh, atanh


class Step(Primitive):
    """z = floor x, ceil x, trunc x, or the sign of x        dz = 0"""

    __slots__ = ("kernel",)

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def forward(self, x: Any) -> Any:
        return getattr(backend_of(x), self.kernel)(x)

    def jvp(self, dx: Any) -> Any:
        return backend_of(dx).zeros_like(dx)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).zeros_like(dz)


class ToDecimals(Primitive):
    """z = x rounded to `decimals` decimals, halves to the even digit        dz = 0"""

    __slots__ = ("decimals",)

    def __init__(self, decimals: int) -> None:
        self.decimals = decimals

    def forward(self, x: Any) -> Any:
        return backend_of(x).round(x, self.decimals)

    def jvp(self, dx: Any) -> Any:
        return backend_of(dx).zeros_like(dx)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).zeros_like(dz)


def _whole(operation: str, input: Tensor) -> Tensor | None:
    """A copy of whole numbers, which rounding leaves as they are; None for others."""
    x = as_tensor(operation, input)
    if x.array.dtype.kind == "b":
        raise DtypeError(f"{operation}: got dtype bool; Booleans are not rounded, convert with .float() or .int()")
    return x.clone() if x.array.dtype.kind in "iu" else None


def floor(input: Tensor) -> Tensor:
    """The greatest whole number up to x; the gradient is 0."""
    whole = _whole("floor", input)
    return Step("floor")(as_tensor("floor", input)) if whole is None else whole


def ceil(input: Tensor) -> Tensor:
    """The least whole number from x on; the gradient is 0."""
    whole = _whole("ceil", input)
    return Step("ceil")(as_tensor("ceil", input)) if whole is None else whole


def trunc(input: Tensor) -> Tensor:
    """x without its decimals; the gradient is 0."""
    whole = _whole("trunc", input)
    return Step("trunc")(as_tensor("trunc", input)) if whole is None else whole


fix = trunc


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """x rounded to `decimals` decimals (negative: to tens, hundreds), halves to the even digit; the gradient is 0.

    >>> import tensorgrad
    >>> tensorgrad.round(tensorgrad.tensor([0.5, 1.5, -2.7]))
    tensor([ 0.,  2., -3.])
    """
    whole = _whole("round", input)
    if whole is not None and decimals:
        raise DtypeError(
            f"round: got dtype {input.dtype} and decimals={decimals}; whole numbers have none, use .float()"
        )
    return ToDecimals(decimals)(as_tensor("round", input)) if whole is None else whole


def frac(input: Tensor) -> Tensor:
    """What x has behind the point: x - trunc(x)."""
    x = as_tensor("frac", input)
    if x.array.dtype.kind in "biu":
        raise DtypeError(f"frac: got dtype {x.dtype}; whole numbers have no decimals")
    return x - Step("trunc")(x)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; the gradient is 0."""
    x = as_tensor("sign", input)
    return x.clone() if x.array.dtype.kind == "b" else Step("sign")(x)


sgn = sign


def positive(input: Tensor) -> Tensor:
    """x itself; Booleans are refused."""
    x = as_tensor("positive", input)
    if x.array.dtype.kind == "b":
        raise DtypeError("positive: got dtype bool; convert with .int() first")
    return x


def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians: x pi / 180."""
    return floating("deg2rad", input) * (math.pi / 180)


def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees: x 180 / pi."""
    return floating("rad2deg", input) * (180 / math.pi)


def _step(kernel: str) -> Any:
    return lambda x: Step(kernel)(x)


put_on_tape(floor=_step("floor"), ceil=_step("ceil"), trunc=_step("trunc"))
put_on_tape(sign=_step("sign"))
