"""Functions with kinks, and choices between elements; Exp stands written out what the lines in unary.py stand for."""

from __future__ import annotations

import math
from typing import Any

import numpy

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import finfo, is_floating, result_type
from tensorgrad.errors import ArgumentError, DtypeError, OperandError
from tensorgrad.ops.logic import isfinite, isnan
from tensorgrad.ops.operands import as_tensor, cast, put_on_tape, scalar_like, tensors
from tensorgrad.ops.pointwise import both, floating, pointwise, refuse_bool
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "absolute",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "exp",
    "logit",
    "maximum",
    "minimum",
    "nan_to_num",
    "relu",
    "where",
]


class Exp(Primitive):
    """z = e^x        dz = z dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).exp(x)

    def jvp(self, dx: Any, out: Any) -> Any:
        return out * dx

    def vjp(self, dz: Any, out: Any) -> Any:
        return out * dz


class Relu(Primitive):
    """z = max(x, 0)        dz = dx where z > 0, else 0 (also at the kink)"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).relu(x)

    def jvp(self, dx: Any, out: Any) -> Any:
        return backend_of(dx).relu_grad(dx, out)

    def vjp(self, dz: Any, out: Any) -> Any:
        return backend_of(dz).relu_grad(dz, out)


class Abs(Primitive):
    """z = |x|        dz = sign(x) dx, 0 at 0"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).abs(x)

    def jvp(self, dx: Any, x: Any) -> Any:
        return dx * backend_of(x).sign(x)

    def vjp(self, dz: Any, x: Any) -> Any:
        return dz * backend_of(x).sign(x)


class Clamp(Primitive):
    """z = min(max(x, low), high)        dz = dx where low <= x <= high, else 0"""

    __slots__ = ("high", "low")

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low = low
        self.high = high

    def forward(self, x: Any) -> Any:
        return backend_of(x).clamp(x, self.low, self.high)

    def inside(self, x: Any) -> Any:
        """Where the gradient passes."""
        if self.low is None:
            return x <= self.high
        return x >= self.low if self.high is None else (x >= self.low) & (x <= self.high)

    def jvp(self, dx: Any, x: Any) -> Any:
        return backend_of(dx).where(self.inside(x), dx, 0.0)

    def vjp(self, dz: Any, x: Any) -> Any:
        return backend_of(dz).where(self.inside(x), dz, 0.0)


class Maximum(Primitive):
    """z = max(x, y)        dz = dx where x > y, dy where x < y, their mean at a tie"""

    __slots__ = ()
    broadcasts = True

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).maximum(x, y)

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any) -> Any:
        where = backend_of(dx).where
        return where(x == y, (dx + dy) / 2, where(x > y, dx, dy))

    def vjp(self, dz: Any, x: Any, y: Any) -> Any:
        where = backend_of(dz).where
        tied = where(x == y, dz / 2, 0.0)
        return where(x > y, dz, tied), where(x < y, dz, tied)


class Minimum(Primitive):
    """z = min(x, y)        dz = dx where x < y, dy where x > y, their mean at a tie"""

    __slots__ = ()
    broadcasts = True

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).minimum(x, y)

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any) -> Any:
        where = backend_of(dx).where
        return where(x == y, (dx + dy) / 2, where(x < y, dx, dy))

    def vjp(self, dz: Any, x: Any, y: Any) -> Any:
        where = backend_of(dz).where
        tied = where(x == y, dz / 2, 0.0)
        return where(x < y, dz, tied), where(x > y, dz, tied)


ClampMin = pointwise(
    "ClampMin",
    "z = max(x, low)",
    "dz = dx where x >= low, else dlow",
    lambda self, x, low: backend_of(x).maximum(x, low),
    lambda b, d, x, low: b.where(x >= low, d, 0.0),
    lambda b, d, x, low: b.where(x < low, d, 0.0),
)
ClampMax = pointwise(
    "ClampMax",
    "z = min(x, high)",
    "dz = dx where x <= high, else dhigh",
    lambda self, x, high: backend_of(x).minimum(x, high),
    lambda b, d, x, high: b.where(x <= high, d, 0.0),
    lambda b, d, x, high: b.where(x > high, d, 0.0),
)
ClampBetween = pointwise(
    "ClampBetween",
    "z = min(max(x, low), high)",
    "dz = dx where low <= x <= high, dhigh where x or low is above high, else dlow",
    lambda self, x, low, high: backend_of(x).minimum(backend_of(x).maximum(x, low), high),
    lambda b, d, x, low, high: b.where((x >= low) & (x <= high), d, 0.0),
    lambda b, d, x, low, high: b.where((low < high) & (x < low), d, 0.0),
    lambda b, d, x, low, high: b.where((high < low) | (x > high), d, 0.0),
)
Logit = pointwise(
    "Logit",
    "z = log(x / (1 - x))",
    "dz = dx / (x (1 - x)), nan outside of [0, 1]",
    lambda self, x: backend_of(x).log(backend_of(x).divide(x, 1 - x)),
    lambda b, d, x: b.where((x < 0) | (x > 1), math.nan, b.divide(d, x * (1 - x))),
)


class Where(Primitive):
    """z = x where condition, else y        dz = dx where condition, else dy

    The branch not taken gets a true zero, whatever stands in it (nan too).
    """

    __slots__ = ()
    broadcasts = True

    def forward(self, condition: Any, x: Any, y: Any) -> Any:
        return backend_of(condition).where(condition, x, y)

    def jvp(self, _: Any, dx: Any, dy: Any, condition: Any) -> Any:
        dx = 0.0 if dx is None else dx
        return backend_of(condition).where(condition, dx, 0.0 if dy is None else dy)

    def vjp(self, dz: Any, condition: Any) -> Any:
        where = backend_of(dz).where
        wants_x, wants_y = self.parents[1], self.parents[2]
        return (
            None,
            None if wants_x is None else where(condition, dz, 0.0),
            None if wants_y is None else where(condition, 0.0, dz),
        )


@under_autocast
def exp(input: Tensor) -> Tensor:
    """e^x

    >>> import tensorgrad
    >>> tensorgrad.exp(tensorgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return Exp()(floating("exp", input))


def relu(input: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    x = as_tensor("relu", input)
    refuse_bool("relu", x, "convert with .float() or .int()")
    return Relu()(x)


def absolute(input: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    x = as_tensor("absolute", input)
    refuse_bool("absolute", x, "it has no sign")
    return Abs()(x)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x brought into [min, max], numbers or Tensors; at a bound the gradient passes to x, beyond it to a bound that is a
    Tensor.

    >>> import tensorgrad
    >>> tensorgrad.clamp(tensorgrad.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    given = [bound for bound in (min, max) if bound is not None]
    if not given:
        raise ArgumentError("clamp: got neither min nor max; give at least one")
    if any(isinstance(bound, Tensor) for bound in given):
        if not all(isinstance(bound, Tensor) for bound in given):
            raise OperandError("clamp: one bound is a Tensor and the other a number; give two of a kind")
        values = tensors("clamp", input, *given)
        bounded = ClampBetween() if len(given) == 2 else ClampMax() if min is None else ClampMin()
        return bounded(*values)  # type: ignore[no-any-return]
    low, high = (bound.item() if isinstance(bound, numpy.generic) else bound for bound in (min, max))
    x = as_tensor("clamp", input)
    if not is_floating(x.array.dtype):
        x = tensors("clamp", x, *[bound for bound in (low, high) if bound is not None])[0]
    return Clamp(low, high)(x)


clip = clamp


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """max(x, min); at the bound the gradient passes to x."""
    return clamp(input, min=min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """min(x, max); at the bound the gradient passes to x."""
    return clamp(input, max=max)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with `eps`, x is first brought into [eps, 1 - eps]."""
    x = floating("logit", input)
    z: Tensor = Logit()(x if eps is None else clamp(x, eps, 1 - eps))
    return z


def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with finite numbers for nan (0 unless named) and the infinities (the dtype's extremes); their gradient is 0.

    >>> import tensorgrad
    >>> tensorgrad.nan_to_num(tensorgrad.tensor([float("nan"), 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor("nan_to_num", input)
    if not is_floating(x.array.dtype):
        return x.clone()
    limits = finfo(x.array.dtype)
    given = (0.0, limits.max, limits.min)
    nans, highest, lowest = (
        scalar_like(usual if chosen is None else chosen, x) for chosen, usual in zip((nan, posinf, neginf), given)
    )
    return where(isfinite(x), x, where(isnan(x), nans, where(x > 0, highest, lowest)))


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of x and y, element by element; a tie shares the gradient evenly."""
    return Maximum()(*both("maximum", input, other, numbers="none"))


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of x and y, element by element; a tie shares the gradient evenly."""
    return Minimum()(*both("minimum", input, other, numbers="none"))


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """x where condition, else y, broadcast. Of a condition alone: where it is true, as `nonzero(as_tuple=True)`.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([-1.0, 2.0])
    >>> tensorgrad.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    condition = as_tensor("where", condition)
    x, y = input, other
    if x is None and y is None:
        backend = backend_of(condition.array)
        return tuple(Tensor(place) for place in backend.nonzero(condition.array.reshape(condition.shape or (1,))))
    if condition.array.dtype.kind != "b":
        raise DtypeError(f"where: condition has dtype {condition.dtype}; it must be bool, compare first (x != 0)")
    if isinstance(x, (bool, int, float)) and isinstance(y, (bool, int, float)):
        x = Tensor(backend_of(condition.array).full((), x, result_type([], [x, y])))
    x, y = tensors("where", x, y)
    return Where()(condition, x, y)


def _relu_grad(dz: Tensor, out: Tensor) -> Tensor:
    return where(out > 0, dz, 0.0)


def _zeros_like(x: Tensor) -> Tensor:
    return Tensor(backend_of(x.array).zeros_like(x.array))


put_on_tape(relu_grad=_relu_grad, zeros_like=_zeros_like, cast=cast, where=where)
