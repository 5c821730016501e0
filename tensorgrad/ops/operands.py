"""What stands beside a Tensor in an operation: numbers, arrays, Tensors of another dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_for, backend_of, is_array
from tensorgrad.dtypes import DType, category, is_floating, result_type
from tensorgrad.errors import DimensionError, OperandError, ShapeError
from tensorgrad.primitive import Primitive, tape
from tensorgrad.tensor import Tensor

Number = bool | int | float


class Cast(Primitive):
    """z = x in another floating-point type        dz = dx in that type"""

    __slots__ = ("dtype", "source")

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        self.source = x.dtype
        return backend_of(x).cast(x, self.dtype)

    def jvp(self, dx: Any) -> Any:
        return backend_of(dx).cast(dx, self.dtype)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).cast(dz, self.source)


class Round(Primitive):
    """z = x in an integer or boolean type: no derivative"""

    __slots__ = ("dtype",)
    differentiable = False

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        return backend_of(x).cast(x, self.dtype)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """x with numbers of another type; x itself where it has that type."""
    dtype = numpy.dtype(dtype)
    if x.array.dtype == dtype:
        return x
    category(dtype)  # refuses what is not a number type of ours
    return Cast(dtype)(x) if is_floating(dtype) and is_floating(x.array.dtype) else Round(dtype)(x)


def tensors(operation: str, *values: Any, floating: bool = False, wrap: bool = True) -> list[Any]:
    """The operands of an elementwise operation, brought to one dtype by PyTorch's rules.

    A Python or NumPy number stays a number, of a kind that changes no dtype (NumPy's np.float64 is weak here, as in PyTorch);
    an array becomes a Tensor. With `floating`, integers become the default floating-point type, as in division. A whole
    number that the dtype cannot hold is wrapped around, unless told not to.
    """
    if len(values) == 2:  # the usual case, x * 2.0, needs no look at dtypes
        x, y = values
        if type(y) in (float, int) and isinstance(x, Tensor) and x.array.dtype.kind == "f":
            return [x, float(y)]
    operands = [_operand(operation, value) for value in values]
    dtype = _common(operation, operands)
    if floating and not is_floating(dtype):
        dtype = result_type([(dtype, 1)], [0.5])
    return [cast(x, dtype) if isinstance(x, Tensor) else _number(x, dtype, wrap) for x in operands]


def _operand(operation: str, value: Any) -> Any:
    if isinstance(value, numpy.generic):
        value = value.item()
    return value if isinstance(value, (bool, int, float)) else as_tensor(operation, value)


def result_of(operation: str, values: Sequence[Any]) -> DType:
    """The dtype that Tensors, arrays and numbers have in common; at least one must not be a number."""
    return _common(operation, [_operand(operation, value) for value in values])


def _common(operation: str, operands: list[Any]) -> DType:
    arrays = [(x.array.dtype, x.array.ndim) for x in operands if isinstance(x, Tensor)]
    if not arrays:
        raise OperandError(f"{operation}: got only numbers; one operand must be a Tensor")
    return result_type(arrays, [x for x in operands if not isinstance(x, Tensor)])


def _number(value: Number, dtype: DType, wrap: bool) -> Number:
    """A Python number of the kind of `dtype`, so that NumPy keeps the dtype."""
    if is_floating(dtype):
        return float(value)
    if wrap and dtype.kind in "iu" and not 0 <= value < 128:
        least = numpy.iinfo(dtype).min
        return (int(value) - least) % (1 << 8 * dtype.itemsize) + least
    return value


def as_tensor(operation: str, value: Any) -> Tensor:
    """A Tensor as it is, an array wrapped; anything else is refused in the operation's name."""
    if isinstance(value, Tensor):
        return value
    if is_array(value):
        return Tensor(value)
    raise OperandError(f"{operation}: got a {type(value).__name__}; it takes Tensors, arrays and numbers")


def scalar_like(value: Number, x: Tensor) -> Tensor:
    """A number as a 0-d Tensor of x's dtype and device, for operations that need an array on that side."""
    return Tensor(backend_for(x.device).full((), value, x.array.dtype))


def one_dim(operation: str, dim: Any, ndim: int) -> int:
    """A dimension counted from the front."""
    if isinstance(dim, Tensor):
        dim = int(dim)
    if not isinstance(dim, (int, numpy.integer)) or isinstance(dim, bool):
        raise OperandError(f"{operation}: dim is a {type(dim).__name__}; give a whole number")
    room = max(ndim, 1)
    if not -room <= dim < room:
        raise DimensionError(f"{operation}: got dim {dim}; a Tensor of {ndim} dimensions has {-room} to {room - 1}")
    return int(dim) % room


def dims(operation: str, dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Dimensions counted from the front, in order; None (and the empty list, as in PyTorch's sum) means all."""
    if dim is None:
        return tuple(range(ndim))
    if type(dim) is int and -ndim <= dim < ndim:  # the usual case
        return (dim % ndim,)
    given = [dim] if isinstance(dim, (int, numpy.integer, Tensor)) else list(dim)
    if not given:
        return tuple(range(ndim))
    found = [one_dim(operation, d, ndim) for d in given]
    if len(set(found)) != len(found):
        raise ShapeError(f"{operation}: got dim {tuple(given)}; a dimension appears twice")
    return tuple(sorted(found)) if ndim else ()


def put_on_tape(**functions: Any) -> None:
    """Name composed operations for `backend_of(tensor)`."""
    for name, function in functions.items():
        setattr(tape, name, function)
