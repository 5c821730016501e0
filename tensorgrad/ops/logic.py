"""Comparisons, truths, bits: operations whose results are Boolean or whole numbers and have no derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of, without_warnings
from tensorgrad.dtypes import get_default_dtype, is_floating
from tensorgrad.errors import DtypeError, RangeError
from tensorgrad.ops.operands import as_tensor, cast, scalar_like, tensors
from tensorgrad.ops.pointwise import named, refuse_numbers
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "allclose",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "eq",
    "equal",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "lcm",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
    "signbit",
]


class Compare(Primitive):
    """z = x <relation> y, a Boolean: no derivative"""

    __slots__ = ("relation",)
    differentiable = False

    def __init__(self, relation: str) -> None:
        self.relation = relation

    def forward(self, x: Any, y: Any) -> Any:
        return getattr(backend_of(x), self.relation)(x, y)


class Logical(Primitive):
    """z = x <connective> y of truths, where what is not 0 is true: no derivative"""

    __slots__ = ("connective",)
    differentiable = False

    def __init__(self, connective: str) -> None:
        self.connective = connective

    def forward(self, *xs: Any) -> Any:
        return getattr(backend_of(xs[0]), self.connective)(*xs)


class WholeNumbers(Primitive):
    """z = x <operation> y of whole numbers, or of their bits: no derivative"""

    __slots__ = ("operation",)
    differentiable = False

    def __init__(self, operation: str) -> None:
        self.operation = operation

    def forward(self, *xs: Any) -> Any:
        return getattr(backend_of(xs[0]), self.operation)(*xs)


def _comparison(name: str, relation: str) -> Callable[[Any, Any], Tensor]:
    def compare(input: Any, other: Any) -> Tensor:
        x, y = input, other
        if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.array.dtype is y.array.dtype):
            if y is None or isinstance(y, (str, list, tuple, dict)):
                return NotImplemented
            refuse_numbers(name, x, y, "right")
            x, y = tensors(name, x, y, wrap=False)
        return Compare(relation)(x, y)

    text = f"Whether x is {relation.replace('_', ' ')} to y, element by element, as a Boolean Tensor."
    return named(compare, name, text.replace("less to", "less than").replace("greater to", "greater than"))  # type: ignore[no-any-return]


eq = _comparison("eq", "equal")
ne = not_equal = _comparison("ne", "not_equal")
lt = less = _comparison("lt", "less")
le = less_equal = _comparison("le", "less_equal")
gt = greater = _comparison("gt", "greater")
ge = greater_equal = _comparison("ge", "greater_equal")


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two Tensors have the same shape and the same values: one Python bool.

    >>> import tensorgrad
    >>> tensorgrad.equal(tensorgrad.tensor([1, 2]), tensorgrad.tensor([1, 2]))
    True
    """
    x, y = as_tensor("equal", input), as_tensor("equal", other)
    return x.shape == y.shape and bool(eq(x, y).all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |x - y| <= atol + rtol |y|, element by element; infinities are close to themselves only.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0])
    >>> tensorgrad.isclose(x, x + 1e-7)
    tensor([True, True])
    """
    x, y = as_tensor("isclose", input).detach(), as_tensor("isclose", other).detach()
    if x.dtype != y.dtype:
        raise DtypeError(f"isclose: got dtypes {x.dtype} and {y.dtype}; convert one with .to(dtype)")
    if rtol < 0 or atol < 0:
        raise RangeError(f"isclose: got rtol={rtol}, atol={atol}; they are not negative")
    close = eq(x, y)
    if equal_nan:
        close = close | (isnan(x) & isnan(y))
    if not is_floating(x.dtype):
        x, y = cast(x, get_default_dtype()), cast(y, get_default_dtype())
    with without_warnings():  # inf - inf
        apart = abs(x - y)
        return close | (isfinite(apart) & (apart <= atol + rtol * abs(y)))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all values of x and y are close (see isclose): one Python bool."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def _connective(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    def connect(input: Tensor, other: Tensor) -> Tensor:
        return Logical(name)(as_tensor(name, input), as_tensor(name, other))

    return named(connect, name, f"x {name[8:]} y, where what is not 0 is true; as a Boolean Tensor.")  # type: ignore[no-any-return]


logical_and = _connective("logical_and")
logical_or = _connective("logical_or")
logical_xor = _connective("logical_xor")


def _question(name: str, text: str) -> Callable[[Tensor], Tensor]:
    def ask(input: Tensor) -> Tensor:
        return Logical(name)(as_tensor(name, input))

    return named(ask, name, text)  # type: ignore[no-any-return]


logical_not = _question("logical_not", "Whether x is 0 or False.")
isnan = _question("isnan", "Whether a value is nan.")
isinf = _question("isinf", "Whether a value is infinite.")
isfinite = _question("isfinite", "Whether a value is neither infinite nor nan.")


def isposinf(input: Tensor) -> Tensor:
    """Whether a value is +infinity."""
    return isinf(input) & gt(input, 0)


def isneginf(input: Tensor) -> Tensor:
    """Whether a value is -infinity."""
    return isinf(input) & lt(input, 0)


def isreal(input: Tensor) -> Tensor:
    """Whether a value is a real number: all of them are."""
    x = as_tensor("isreal", input)
    return eq(x, x) | isnan(x)


def signbit(input: Tensor) -> Tensor:
    """Whether a value is negative; -0.0 is."""
    x = as_tensor("signbit", input)
    return Logical("signbit")(x) if is_floating(x.array.dtype) else lt(x, 0)


def _of_whole_numbers(name: str, text: str, bools: bool = True, numbers: str = "both") -> Callable[[Any, Any], Tensor]:
    kinds = "biu" if bools else "iu"

    def compute(input: Any, other: Any) -> Tensor:
        refuse_numbers(name, input, other, numbers)
        x, y = tensors(name, input, other)
        dtype = (x if isinstance(x, Tensor) else y).array.dtype
        if dtype.kind not in kinds:
            raise DtypeError(f"{name}: got dtype {dtype}; it takes whole numbers{' and Booleans' if bools else ''}")
        return WholeNumbers(name)(x if isinstance(x, Tensor) else scalar_like(x, y), y)

    return named(compute, name, text)  # type: ignore[no-any-return]


bitwise_and = _of_whole_numbers("bitwise_and", "The bits that both x and y have; of Booleans, both.")
bitwise_or = _of_whole_numbers("bitwise_or", "The bits that x or y has; of Booleans, either.")
bitwise_xor = _of_whole_numbers("bitwise_xor", "The bits that one of x and y has; of Booleans, either but not both.")
bitwise_left_shift = _of_whole_numbers("bitwise_left_shift", "x 2^y by moving bits.", False)
bitwise_right_shift = _of_whole_numbers("bitwise_right_shift", "x / 2^y, rounded down, by moving bits.", False)
gcd = _of_whole_numbers("gcd", "The greatest common divisor.", False, "none")
lcm = _of_whole_numbers("lcm", "The least common multiple.", False, "none")


def bitwise_not(input: Tensor) -> Tensor:
    """The bits that x does not have; of Booleans, their opposite."""
    x = as_tensor("bitwise_not", input)
    if x.array.dtype.kind not in "biu":
        raise DtypeError(f"bitwise_not: got dtype {x.dtype}; it takes whole numbers and Booleans")
    return WholeNumbers("bitwise_not")(x)
