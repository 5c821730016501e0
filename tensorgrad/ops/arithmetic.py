"""Addition, subtraction, multiplication, division, powers and signs."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DtypeError
from tensorgrad.ops.operands import as_tensor, scalar_like, tensors
from tensorgrad.primitive import Bilinear, Linear, Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "add",
    "divide",
    "multiply",
    "negative",
    "power",
    "square",
    "subtract",
]

#: Numbers from which on an addition is handed to the backend, which may have more than one thread for it.
LARGE = 1 << 16


class Add(Linear):
    """z = x + y        dz = dx + dy"""

    __slots__ = ()
    broadcasts = True

    def forward(self, x: Any, y: Any) -> Any:
        return x + y if x.size < LARGE else backend_of(x).add(x, y)

    def jvp(self, dx: Any, dy: Any) -> Any:
        return dx if dy is None else self.again(dx, dy)  # dy is None for a number

    def vjp(self, dz: Any) -> Any:
        return dz, dz


class Subtract(Linear):
    """z = x - y        dz = dx - dy"""

    __slots__ = ()
    broadcasts = True

    def forward(self, x: Any, y: Any) -> Any:
        return x - y

    def jvp(self, dx: Any, dy: Any) -> Any:
        return dx if dy is None else self.again(dx, dy)

    def vjp(self, dz: Any) -> Any:
        return dz, -dz if self.parents[1] is not None else None


class Multiply(Bilinear):
    """z = x y        dz = dx y + x dy"""

    __slots__ = ()
    broadcasts = True

    def forward(self, x: Any, y: Any) -> Any:
        return x * y

    def vjp_x(self, dz: Any, y: Any) -> Any:
        return dz * y

    def vjp_y(self, dz: Any, x: Any) -> Any:
        return dz * x


class Divide(Primitive):
    """z = x / y        dz = (dx - z dy) / y"""

    __slots__ = ()
    broadcasts = True
    missing_tangents = True

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).divide(x, y)

    def _record(self, inputs: Any, arrays: Any, parents: Any, out: Any) -> None:
        Primitive._record(self, inputs, arrays, parents, out)
        if parents[1] is None:
            self.saved[0] = None  # only the cotangent of y needs x

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any) -> Any:
        divide = backend_of(y if dx is None else dx).divide
        if dy is None:
            return divide(dx, y)
        along_y = -divide(x, y) * dy
        return divide(along_y if dx is None else dx + along_y, y)

    def vjp(self, dz: Any, x: Any, y: Any) -> Any:
        divide = backend_of(dz).divide
        dx = divide(dz, y)
        return dx, -dx * divide(x, y) if self.parents[1] is not None else None


class Power(Primitive):
    """z = x^y        dz = y x^(y-1) dx + z log(x) dy

    y x^(y-1) is 0 where y = 0, and z log(x) is 0 where x = 0 <= y, their limits.
    """

    __slots__ = ()
    broadcasts = True
    missing_tangents = True

    def forward(self, x: Any, y: Any) -> Any:
        return backend_of(x).power(x, y)

    def _record(self, inputs: Any, arrays: Any, parents: Any, out: Any) -> None:
        Primitive._record(self, inputs, arrays, parents, out)
        if parents[1] is None:
            self.saved[2] = None  # only the cotangent of y needs z

    @staticmethod
    def slope_x(x: Any, y: Any) -> Any:
        """dz/dx"""
        backend = backend_of(x)
        if isinstance(y, (int, float)):
            return y * backend.power(x, y - 1) if y != 0 else backend.zeros_like(x)
        zero = y == 0
        return backend.where(zero, 0.0, y * backend.power(x, backend.where(zero, 1.0, y - 1)))

    @staticmethod
    def slope_y(x: Any, y: Any, out: Any) -> Any:
        """dz/dy"""
        backend = backend_of(x)
        flat = (x == 0) & (y >= 0)
        return backend.where(flat, 0.0, out * backend.log(backend.where(flat, 1.0, x)))

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any, out: Any) -> Any:
        if dy is None:
            return dx * self.slope_x(x, y)
        along_y = dy * self.slope_y(x, y, out)
        return along_y if dx is None else dx * self.slope_x(x, y) + along_y

    def vjp(self, dz: Any, x: Any, y: Any, out: Any) -> Any:
        wants_x, wants_y = self.parents
        return (
            None if wants_x is None else dz * self.slope_x(x, y),
            None if wants_y is None else dz * self.slope_y(x, y, out),
        )


class Negative(Linear):
    """z = -x        dz = -dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).negative(x)

    def vjp(self, dz: Any) -> Any:
        return -dz


# The functions. Their first line is the hot path: two Tensors of one dtype need no further look.


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """x + alpha y, element by element, broadcast.

    >>> import tensorgrad
    >>> tensorgrad.add(tensorgrad.tensor([1.0, 2.0]), 1)
    tensor([2., 3.])
    """
    x, y = input, other
    if alpha != 1:
        y = _scaled(x, y, alpha)
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype:
        return Add().of_two(x, y)
    x, y = tensors("add", x, y)
    if not isinstance(x, Tensor):
        x, y = y, x
    return Add()(x, y)


def _scaled(x: Any, y: Any, alpha: float) -> Any:
    """alpha y; as in PyTorch, whole numbers are not scaled by a fraction."""
    if isinstance(alpha, float) and not any(is_floating(v.array.dtype) for v in (x, y) if isinstance(v, Tensor)):
        if not isinstance(y, float):
            raise DtypeError(f"add, subtract: got whole numbers and alpha={alpha}; alpha must be a whole number too")
    return multiply(y, alpha) if isinstance(y, Tensor) else y * alpha


def subtract(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """x - alpha y, element by element, broadcast."""
    x, y = input, other
    if alpha != 1:
        y = _scaled(x, y, alpha)
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype:
        return Subtract().of_two(x, y)
    x, y = tensors("subtract", x, y)
    if not isinstance(x, Tensor):
        x = scalar_like(x, y)
    return Subtract()(x, y)


def multiply(input: Any, other: Any) -> Tensor:
    """x y, element by element, broadcast."""
    x, y = input, other
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype:
        return Multiply().of_two(x, y)
    x, y = tensors("multiply", x, y)
    if not isinstance(x, Tensor):
        x, y = y, x
    return Multiply()(x, y)


def divide(input: Any, other: Any) -> Tensor:
    """x / y, element by element, broadcast; integers give the default floating-point type."""
    x, y = input, other
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype and x.array.dtype.kind == "f":
        return Divide().of_two(x, y)
    x, y = tensors("divide", x, y, floating=True)
    if not isinstance(x, Tensor):
        x = scalar_like(x, y)
    return Divide()(x, y)


@under_autocast
def power(input: Any, exponent: Any) -> Tensor:
    """x^y, element by element, broadcast."""
    x, y = tensors("power", input, exponent)
    if isinstance(y, int) and y < 0 and x.array.dtype.kind in "iu":
        raise DtypeError(f"power: got whole numbers and the exponent {y}; use x.float() for negative powers")
    if not isinstance(x, Tensor):
        x = scalar_like(x, y)
    return Power()(x, y)


def negative(input: Tensor) -> Tensor:
    """-x"""
    return Negative()(as_tensor("negative", input))


@under_autocast
def square(input: Tensor) -> Tensor:
    """x^2"""
    x = as_tensor("square", input)
    return power(x, 2) if x.array.dtype.kind == "b" else Multiply()(x, x)
