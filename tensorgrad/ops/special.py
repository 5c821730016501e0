"""The special functions that tensorgrad offers in tensorgrad.special alone."""

from __future__ import annotations

import math

from tensorgrad.ops.pointwise import binary, floating, unary
from tensorgrad.ops.unary import erfc, erfinv
from tensorgrad.tensor import Tensor

_ROOT_HALF = math.sqrt(0.5)

erfcx = unary(
    "Erfcx",
    "z = e^(x^2) erfc x",
    "dz = (2 x z - 2 / sqrt(pi)) dx",
    lambda b, d, x, out: d * (2 * x * out - 2 / math.sqrt(math.pi)),
)
entr = unary("Entr", "z = -x log x, 0 at 0, -inf below", "dz = -(log x + 1) dx", lambda b, d, x: d * (-b.log(x) - 1))
log_ndtr = unary(
    "LogNdtr",
    "z = log of the normal distribution function at x, exact where that is tiny",
    "dz = sqrt(2 / pi) / erfcx(-x / sqrt 2) dx",
    lambda b, d, x: b.divide(d * math.sqrt(2 / math.pi), b.erfcx(-x * _ROOT_HALF)),
)
xlog1py = binary(
    "Xlog1py",
    "z = x log(1 + y), 0 where x = 0 and y is not nan",
    "dz = log(1 + y) dx + x / (1 + y) dy",
    lambda b, d, x, y: d * b.where((x == 0) & (y <= -1), 0.0, b.log1p(b.where((x == 0) & (y <= -1), 0.0, y))),
    lambda b, d, x, y: d * b.divide(x, y + 1),
    real=True,
    numbers="both",
)


def ndtr(input: Tensor) -> Tensor:
    """The normal distribution function: the probability of a value below x.

    >>> import tensorgrad
    >>> tensorgrad.special.ndtr(tensorgrad.tensor([0.0]))
    tensor([0.5000])
    """
    return erfc(floating("ndtr", input) * -_ROOT_HALF) * 0.5


def ndtri(input: Tensor) -> Tensor:
    """The x with ndtr(x) = p."""
    return erfinv(floating("ndtri", input) * 2 - 1) * math.sqrt(2)
