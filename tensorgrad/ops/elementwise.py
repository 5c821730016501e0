"""Functions of one element, choices between elements, and comparisons."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import get_default_dtype, is_floating, result_type
from tensorgrad.errors import ArgumentError
from tensorgrad.ops.operands import as_tensor, cast, put_on_tape, scalar_like, tensors
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "absolute",
    "clamp",
    "cos",
    "equal",
    "exp",
    "greater",
    "greater_equal",
    "isfinite",
    "isnan",
    "less",
    "less_equal",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "maximum",
    "minimum",
    "not_equal",
    "relu",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "tanh",
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


class Log(Primitive):
    """z = log x        dz = dx / x"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).log(x)

    def jvp(self, dx: Any, x: Any) -> Any:
        return backend_of(dx).divide(dx, x)

    def vjp(self, dz: Any, x: Any) -> Any:
        return backend_of(dz).divide(dz, x)


class Sqrt(Primitive):
    """z = sqrt x        dz = dx / 2z, infinite at 0"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).sqrt(x)

    def jvp(self, dx: Any, out: Any) -> Any:
        return backend_of(dx).divide(dx, 2 * out)

    def vjp(self, dz: Any, out: Any) -> Any:
        return backend_of(dz).divide(dz, 2 * out)


class Sin(Primitive):
    """z = sin x        dz = cos x dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).sin(x)

    def jvp(self, dx: Any, x: Any) -> Any:
        return dx * backend_of(x).cos(x)

    def vjp(self, dz: Any, x: Any) -> Any:
        return dz * backend_of(x).cos(x)


class Cos(Primitive):
    """z = cos x        dz = -sin x dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).cos(x)

    def jvp(self, dx: Any, x: Any) -> Any:
        return -dx * backend_of(x).sin(x)

    def vjp(self, dz: Any, x: Any) -> Any:
        return -dz * backend_of(x).sin(x)


class Tanh(Primitive):
    """z = tanh x        dz = (1 - z^2) dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).tanh(x)

    def jvp(self, dx: Any, out: Any) -> Any:
        return dx * (1 - out * out)

    def vjp(self, dz: Any, out: Any) -> Any:
        return dz * (1 - out * out)


class Sigmoid(Primitive):
    """z = 1 / (1 + e^-x)        dz = z (1 - z) dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).sigmoid(x)

    def jvp(self, dx: Any, out: Any) -> Any:
        return dx * (out * (1 - out))

    def vjp(self, dz: Any, out: Any) -> Any:
        return dz * (out * (1 - out))


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


class Sign(Primitive):
    """z = -1, 0 or 1        dz = 0"""

    __slots__ = ()
    differentiable = False

    def forward(self, x: Any) -> Any:
        return backend_of(x).sign(x)


class Compare(Primitive):
    """z = x <relation> y, a Boolean: no derivative"""

    __slots__ = ("relation",)
    differentiable = False

    def __init__(self, relation: str) -> None:
        self.relation = relation

    def forward(self, x: Any, y: Any) -> Any:
        return getattr(backend_of(x), self.relation)(x, y)


class Logical(Primitive):
    """z = x <connective> y of Booleans: no derivative"""

    __slots__ = ("connective",)
    differentiable = False

    def __init__(self, connective: str) -> None:
        self.connective = connective

    def forward(self, *xs: Any) -> Any:
        return getattr(backend_of(xs[0]), self.connective)(*xs)


def _floating(operation: str, x: Any) -> Tensor:
    """Functions of real numbers take integers as numbers of the default floating-point type."""
    x = as_tensor(operation, x)
    return x if is_floating(x.array.dtype) else cast(x, get_default_dtype())


def exp(x: Tensor) -> Tensor:
    """e^x

    >>> import tensorgrad
    >>> tensorgrad.exp(tensorgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return Exp()(_floating("exp", x))


def log(x: Tensor) -> Tensor:
    """The natural logarithm; -inf at 0, nan below."""
    return Log()(_floating("log", x))


def sqrt(x: Tensor) -> Tensor:
    """The square root; nan below 0."""
    return Sqrt()(_floating("sqrt", x))


def sin(x: Tensor) -> Tensor:
    """The sine of x in radians."""
    return Sin()(_floating("sin", x))


def cos(x: Tensor) -> Tensor:
    """The cosine of x in radians."""
    return Cos()(_floating("cos", x))


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return Tanh()(_floating("tanh", x))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow for any x."""
    return Sigmoid()(_floating("sigmoid", x))


def relu(x: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return Relu()(as_tensor("relu", x))


def absolute(x: Tensor) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return Abs()(as_tensor("absolute", x))


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return Sign()(as_tensor("sign", x))


def clamp(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """x brought into [min, max]; at a bound the gradient passes, as in PyTorch.

    >>> import tensorgrad
    >>> tensorgrad.clamp(tensorgrad.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ArgumentError("clamp: got neither min nor max; give at least one")
    for bound in (min, max):
        if isinstance(bound, Tensor):
            raise ArgumentError("clamp: a bound is a Tensor; use maximum(x, min) and minimum(x, max)")
    min, max = (bound.item() if isinstance(bound, numpy.generic) else bound for bound in (min, max))
    floats = any(isinstance(bound, float) for bound in (min, max))
    return Clamp(min, max)(_floating("clamp", x) if floats else x)


def _both_tensors(operation: str, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    x, y = tensors(operation, x, y)
    if not isinstance(x, Tensor):
        x = scalar_like(x, y)
    if not isinstance(y, Tensor):
        y = scalar_like(y, x)
    return x, y


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of x and y, element by element; a tie shares the gradient evenly."""
    return Maximum()(*_both_tensors("maximum", x, y))


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of x and y, element by element; a tie shares the gradient evenly."""
    return Minimum()(*_both_tensors("minimum", x, y))


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    """x where condition, else y, broadcast.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([-1.0, 2.0])
    >>> tensorgrad.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    condition = as_tensor("where", condition)
    if isinstance(x, (bool, int, float)) and isinstance(y, (bool, int, float)):
        x = Tensor(backend_of(condition.array).full((), x, result_type([], [x, y])))
    x, y = tensors("where", x, y)
    if condition.array.dtype.kind != "b":
        raise ArgumentError(f"where: condition has dtype {condition.dtype}; it must be bool, compare first (x != 0)")
    return Where()(condition, x, y)


def _comparison(relation: str) -> Any:
    def compare(x: Any, y: Any) -> Tensor:
        if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype):
            if y is None or isinstance(y, (str, list, tuple, dict)):
                return NotImplemented
            x, y = tensors(relation, x, y)
        return Compare(relation)(x, y)

    compare.__name__ = compare.__qualname__ = relation
    compare.__doc__ = f"Whether x is {relation.replace('_', ' ')} to y, element by element, as a Boolean Tensor."
    return compare


equal = _comparison("equal")
not_equal = _comparison("not_equal")
less = _comparison("less")
less_equal = _comparison("less_equal")
greater = _comparison("greater")
greater_equal = _comparison("greater_equal")


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """x and y, both of them."""
    return Logical("logical_and")(x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """x or y, or both."""
    return Logical("logical_or")(x, y)


def logical_not(x: Tensor) -> Tensor:
    """not x"""
    return Logical("logical_not")(x)


def isnan(x: Tensor) -> Tensor:
    """Whether a value is nan."""
    return Logical("isnan")(x)


def isfinite(x: Tensor) -> Tensor:
    """Whether a value is neither infinite nor nan."""
    return Logical("isfinite")(x)


def _relu_grad(dz: Tensor, out: Tensor) -> Tensor:
    return where(out > 0, dz, 0.0)


def _zeros_like(x: Tensor) -> Tensor:
    return Tensor(backend_of(x.array).zeros_like(x.array))


put_on_tape(relu_grad=_relu_grad, zeros_like=_zeros_like, cast=cast, where=where)
