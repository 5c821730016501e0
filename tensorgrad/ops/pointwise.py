"""What makes an operation that works on each element by itself: a formula and its derivative, one line each.

The Jacobian of such a map is diagonal, so that jvp and vjp multiply by the same numbers: one function serves both.
Written out, a line is a class like `tensorgrad.ops.elementwise.Exp`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tensorgrad.autocast_table import LISTED
from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import get_default_dtype, is_floating
from tensorgrad.errors import DtypeError, OperandError
from tensorgrad.ops.operands import as_tensor, cast, scalar_like, tensors
from tensorgrad.primitive import Primitive, alone
from tensorgrad.tensor import Tensor

Along = Callable[..., Any]


class Pointwise(Primitive):
    """A map of each element by itself.

    along: for each input the linear map of a tangent (or cotangent) d by the partial derivative: along(backend, d, *kept),
        its further parameters named after the inputs, or `out`, as the rules of a Primitive are.
    """

    __slots__ = ()
    missing_tangents = True
    along: tuple[Along, ...]

    @classmethod
    def _positions(cls, rule: str, skip: int) -> tuple[int, ...]:
        names = list(inspect.signature(cls.along[0]).parameters)[2:]
        return tuple(-1 if name == "out" else cls.inputs.index(name) for name in names)

    def jvp(self, *values: Any) -> Any:
        count = len(self.along)
        kept = values[count:]
        total = None
        for dx, along in zip(values[:count], self.along):
            if dx is not None:
                part = along(backend_of(dx), dx, *kept)
                total = part if total is None else total + part
        return total

    def times_slope(self, b: Any, d: Any, *kept: Any) -> Any:
        """d times the derivative of a function of one element, for `along` of the backend b."""
        return self.along[0](b, d, *kept)

    def vjp(self, dz: Any, *kept: Any) -> Any:
        backend = backend_of(dz)
        if len(self.along) == 1:
            return backend.along(alone(self), dz, *kept)
        return tuple(
            along(backend, dz, *kept) if self.needs(position) else None for position, along in enumerate(self.along)
        )


def pointwise(name: str, formula: str, derivative: str, forward: Callable[..., Any], *along: Along) -> Any:
    """The primitive class of that name: `forward(self, x)` or `forward(self, x, y)`, and a map along each input."""
    members = {
        "__doc__": f"{formula}        {derivative}",
        "__module__": __name__,
        "__slots__": (),
        "along": along,
        "broadcasts": len(along) > 1,
        "forward": forward,
    }
    return type(name, (Pointwise,), members)


def floating(operation: str, x: Any) -> Tensor:
    """Functions of real numbers take integers as numbers of the default floating-point type."""
    x = as_tensor(operation, x)
    return x if is_floating(x.array.dtype) else cast(x, get_default_dtype())


def both(operation: str, x: Any, y: Any, real: bool = False, numbers: str = "both") -> tuple[Tensor, Tensor]:
    """Two operands of one dtype, numbers as Tensors too; with `real`, of a floating-point one.

    numbers: where a number may stand, as in PyTorch: on 'both' sides, on the 'right' one, or on 'none'.
    """
    refuse_numbers(operation, x, y, numbers)
    x, y = tensors(operation, x, y, floating=real)
    if not isinstance(x, Tensor):
        x = scalar_like(x, y)
    if not isinstance(y, Tensor):
        y = scalar_like(y, x)
    return x, y


def unary(name: str, formula: str, derivative: str, along: Along) -> Callable[[Tensor], Tensor]:
    """The function z(x) of that name (LogNdtr -> log_ndtr), over the backend's kernel of that name.

    along(backend, d, x) or along(backend, d, out) is d times the derivative.
    """

    def forward(self: Any, x: Any) -> Any:
        return getattr(backend_of(x), self.name)(x)

    primitive = pointwise(name, formula, derivative, forward, along)

    def function(input: Tensor) -> Tensor:
        z: Tensor = primitive()(floating(primitive.name, input))
        return z

    return named(function, primitive.name, formula.removeprefix("z = "))  # type: ignore[no-any-return]


def binary(
    name: str, formula: str, derivative: str, along_x: Along, along_y: Along, real: bool = False, numbers: str = "none"
) -> Callable[[Any, Any], Tensor]:
    """The function z(x, y) of that name, broadcast; `real` and `numbers` are those of `both`."""

    def forward(self: Any, x: Any, y: Any) -> Any:
        return getattr(backend_of(x), self.name)(x, y)

    primitive = pointwise(name, formula, derivative, forward, along_x, along_y)

    def function(input: Any, other: Any) -> Tensor:
        z: Tensor = primitive()(*both(primitive.name, input, other, real, numbers))
        return z

    return named(function, primitive.name, formula.removeprefix("z = ") + ", broadcast.")  # type: ignore[no-any-return]


def named(function: Any, name: str, text: str) -> Any:
    """A made function under its public name, with its description; mixed precision knows it if it is in its table."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return under_autocast(function) if name in LISTED else function


def refuse_numbers(operation: str, x: Any, y: Any, numbers: str) -> None:
    """Refuse a Python number where PyTorch takes a Tensor."""
    if numbers != "both" and isinstance(x, (bool, int, float)):
        raise OperandError(f"{operation}: input is the number {x}; it must be a Tensor, use tensorgrad.tensor({x})")
    if numbers == "none" and isinstance(y, (bool, int, float)):
        raise OperandError(f"{operation}: other is the number {y}; it must be a Tensor, use tensorgrad.tensor({y})")


def refuse_bool(operation: str, x: Tensor, remedy: str) -> None:
    """Refuse Booleans, which have no numbers."""
    if x.array.dtype.kind == "b":
        raise DtypeError(f"{operation}: got dtype bool; {remedy}")
