"""Activations that are primitives of their own: maps of each element by itself, with settings.

`formula(b, x)` is the value. The Jacobian is diagonal, so one method serves as jvp and vjp: `times_slope(b, d, x)` (or of `out`)
is d times the derivative. b is the backend of x or d, which may have either as one pass over memory (`value`, `along`).
Kinks take the side that PyTorch takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.ops.operands import put_on_tape
from tensorgrad.primitive import Primitive, alone, sum_to, tape
from tensorgrad.tensor import Tensor


class Activation(Primitive):
    """z = f(x), element by element. A subclass lists its settings in `__slots__` and gives formula and times_slope."""

    __slots__ = ()

    formula: Callable[..., Any]
    times_slope: Callable[..., Any]

    def __init__(self, *settings: Any) -> None:
        for name, value in zip(self.settings, settings):
            setattr(self, name, value)

    def __init_subclass__(cls) -> None:
        cls.forward = _forward
        super().__init_subclass__()
        cls.settings = tuple(cls.__slots__)  # type: ignore[arg-type]

    @classmethod
    def _positions(cls, rule: str, skip: int) -> tuple[int, ...]:
        names = list(inspect.signature(cls.times_slope).parameters)[3:]
        return tuple(-1 if name == "out" else 0 for name in names)

    def jvp(self, dx: Any, *kept: Any) -> Any:
        return backend_of(dx).along(alone(self), dx, *kept)

    def vjp(self, dz: Any, *kept: Any) -> Any:
        return backend_of(dz).along(alone(self), dz, *kept)


def _forward(self: Activation, x: Any) -> Any:
    return backend_of(x).value(alone(self), x)


class LeakyRelu(Activation):
    """z = x where x > 0, else slope x        dz = dx where x > 0, else slope dx"""

    __slots__ = ("slope",)

    slope: float

    def formula(self, b: Any, x: Any) -> Any:
        return b.where(x > 0, x, x * self.slope)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where(x > 0, d, d * self.slope)


class Prelu(Primitive):
    """z = x where x > 0, else w x        dz = dx where x > 0, else w dx + x dw

    w is (1), or (C) for dimension 1 of x. He et al. 2015.
    """

    __slots__ = ()
    missing_tangents = True

    def forward(self, x: Any, weight: Any) -> Any:
        return backend_of(x).prelu(x, weight)

    def jvp(self, dx: Any, dweight: Any, x: Any, weight: Any) -> Any:
        b, positive = backend_of(x), x > 0
        dz = 0.0 * x if dx is None else b.where(positive, dx, dx * _over_channels(weight, x))
        return dz if dweight is None else dz + b.where(positive, 0.0, x * _over_channels(dweight, x))

    def vjp(self, dz: Any, x: Any, weight: Any) -> Any:
        b = backend_of(dz)
        if isinstance(dz, Tensor):
            positive, slope = x > 0, _over_channels(weight, x)
            dx = b.where(positive, dz, dz * slope)
            dweight = b.reshape(sum_to(b.where(positive, 0.0, dz * x), slope.shape), weight.shape)
        else:
            dx, dweight = b.prelu_grad(dz, x, weight)
        return dx, dweight if self.needs(1) else None


def _over_channels(weight: Any, x: Any) -> Any:
    """(1) or (C), to be broadcast against x (N, C, ...)."""
    single = weight.shape == (1,)
    return backend_of(weight).reshape(weight, (1,) * x.ndim if single else (-1, *(1,) * (x.ndim - 2)))


class Threshold(Activation):
    """z = x where x > bound, else value        dz = dx where x > bound, else 0"""

    __slots__ = ("bound", "value")

    bound: float
    value: float

    def formula(self, b: Any, x: Any) -> Any:
        return b.where(x > self.bound, x, self.value)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where(x > self.bound, d, 0.0)


class Hardtanh(Activation):
    """z = x held between low and high        dz = dx strictly between them, else 0"""

    __slots__ = ("low", "high")  # noqa: RUF023 - in the order of the arguments

    low: float
    high: float

    def formula(self, b: Any, x: Any) -> Any:
        return b.clamp(x, self.low, self.high)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where((x > self.low) & (x < self.high), d, 0.0)


class Hardsigmoid(Activation):
    """z = x / 6 + 1/2 held between 0 and 1        dz = dx / 6 where -3 < x < 3, else 0"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return b.clamp(x + 3, 0, 6) / 6

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where((x > -3) & (x < 3), d / 6, 0.0)


class Hardswish(Activation):
    """z = x hardsigmoid(x)        dz = (x / 3 + 1/2) dx where -3 < x < 3, 0 to the left, dx to the right"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x * (b.clamp(x + 3, 0, 6) / 6)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where(x <= -3, 0.0, b.where(x < 3, d * (x / 3 + 0.5), d))


class Hardshrink(Activation):
    """z = x where |x| > bound, else 0        dz = dx where |x| > bound, else 0"""

    __slots__ = ("bound",)

    bound: float

    def formula(self, b: Any, x: Any) -> Any:
        return b.where((x >= -self.bound) & (x <= self.bound), 0.0, x)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where((x >= -self.bound) & (x <= self.bound), 0.0, d)


class Softshrink(Activation):
    """z = x moved towards 0 by bound, 0 where it would pass it        dz = dx where |x| > bound, else 0"""

    __slots__ = ("bound",)

    bound: float

    def formula(self, b: Any, x: Any) -> Any:
        return x - b.clamp(x, -self.bound, self.bound)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return b.where((x >= -self.bound) & (x <= self.bound), 0.0, d)


class Huber(Activation):
    """z = x^2 / 2 where |x| < delta, else delta (|x| - delta / 2)        dz = (x held between -delta and delta) dx"""

    __slots__ = ("delta",)

    delta: float

    def formula(self, b: Any, x: Any) -> Any:
        near = b.clamp(x, -self.delta, self.delta)
        return near * (x - near * 0.5)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return d * b.clamp(x, -self.delta, self.delta)


class Elu(Activation):
    """z = scale x where x > 0, else scale alpha (e^(rate x) - 1)        dz = scale dx, or scale alpha rate e^(rate x) dx"""

    __slots__ = ("alpha", "scale", "rate")  # noqa: RUF023 - in the order of the arguments

    alpha: float
    scale: float
    rate: float

    def formula(self, b: Any, x: Any) -> Any:
        below = b.expm1(b.clamp(x, None, 0) * self.rate) * (self.scale * self.alpha)
        return b.where(x > 0, x * self.scale, below)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        below = b.exp(b.where(x > 0, 0.0, x) * self.rate) * (self.scale * self.alpha * self.rate)
        return b.where(x > 0, d * self.scale, d * below)


class Softplus(Activation):
    """z = log(1 + e^(beta x)) / beta, x itself where beta x > bound        dz = sigmoid(beta x) dx, or dx"""

    __slots__ = ("beta", "bound")

    beta: float
    bound: float

    def formula(self, b: Any, x: Any) -> Any:
        t = x * self.beta
        return b.where(t > self.bound, x, (b.clamp(t, 0, None) + b.log1p(b.exp(-b.abs(t)))) / self.beta)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        t = x * self.beta
        return b.where(t > self.bound, d, d * b.sigmoid(t))


class Logsigmoid(Activation):
    """z = log(1 / (1 + e^-x))        dz = sigmoid(-x) dx"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return b.clamp(x, None, 0) - b.log1p(b.exp(-b.abs(x)))

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return d * b.sigmoid(-x)


class Softsign(Activation):
    """z = x / (1 + |x|)        dz = dx / (1 + |x|)^2"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x / (1 + b.abs(x))

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        scale = 1 + b.abs(x)
        return d / (scale * scale)


class Silu(Activation):
    """z = x s, s = sigmoid(x)        dz = s (1 + x (1 - s)) dx"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x * b.sigmoid(x)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        s = b.sigmoid(x)
        return d * (s * (1 + x * (1 - s)))


class Mish(Activation):
    """z = x t, t = tanh(log(1 + e^x))        dz = (t + x (1 - t^2) sigmoid(x)) dx"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x * _tanh_softplus(b, x)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        t = _tanh_softplus(b, x)
        return d * (t + x * (1 - t * t) * b.sigmoid(x))


def _tanh_softplus(b: Any, x: Any) -> Any:
    return b.tanh(-_logsigmoid(b, -x))


def _logsigmoid(b: Any, x: Any) -> Any:
    """log sigmoid(x) by kernels or on the tape."""
    return b.where(x > 0, 0.0, x) - b.log1p(b.exp(-b.abs(x)))


class Gelu(Activation):
    """z = x P, P = (1 + erf(x / sqrt 2)) / 2        dz = (P + x p) dx, p = e^(-x^2 / 2) / sqrt(2 pi)"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x * ((1 + b.erf(x * math.sqrt(0.5))) * 0.5)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        below = (1 + b.erf(x * math.sqrt(0.5))) * 0.5
        density = b.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return d * (below + x * density)


class GeluTanh(Activation):
    """z = x (1 + t) / 2, t = tanh u, u = sqrt(2 / pi) (x + 0.044715 x^3)        dz = ((1 + t) / 2 + x (1 - t^2) u' / 2) dx"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return x * ((1 + b.tanh(_gelu_angle(x))) * 0.5)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        t = b.tanh(_gelu_angle(x))
        slope = (1 + x * x * (3 * 0.044715)) * math.sqrt(2 / math.pi)
        return d * ((1 + t) * 0.5 + x * (1 - t * t) * slope * 0.5)


def _gelu_angle(x: Any) -> Any:
    return (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)


class FlooredLog(Activation):
    """z = max(log x, -100)        dz = dx / max(x, 1e-12): finite for x = 0 too, which probabilities can be"""

    __slots__ = ()

    def formula(self, b: Any, x: Any) -> Any:
        return b.clamp(b.log(x), -100, None)

    def times_slope(self, b: Any, d: Any, x: Any) -> Any:
        return d / b.clamp(x, 1e-12, None)


put_on_tape(along=lambda curve, d, *kept: curve.times_slope(tape, d, *kept))
