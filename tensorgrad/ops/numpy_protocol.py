"""NumPy on the left: ndarray * t, np.float32(2) * t and np.add(a, t) all give a Tensor."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_for
from tensorgrad.dtypes import dtype_of_number
from tensorgrad.errors import DeviceError
from tensorgrad.ops import arithmetic, binary, elementwise, logic, matmul, unary
from tensorgrad.ops.operands import as_tensor
from tensorgrad.tensor import Tensor

#: NumPy's name -> our function.
_FUNCTIONS: dict[str, Any] = {
    "add": arithmetic.add,
    "subtract": arithmetic.subtract,
    "multiply": arithmetic.multiply,
    "true_divide": arithmetic.divide,
    "power": arithmetic.power,
    "float_power": binary.float_power,
    "negative": arithmetic.negative,
    "positive": unary.positive,
    "square": arithmetic.square,
    "exp": elementwise.exp,
    "absolute": elementwise.absolute,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "matmul": matmul.matmul,
    "equal": logic.eq,
    "left_shift": logic.bitwise_left_shift,
    "right_shift": logic.bitwise_right_shift,
    "invert": logic.bitwise_not,
    "mod": binary.remainder,
    "rint": unary.round,
    # the same name here and there
    **{
        name: getattr(unary, name)
        for name in (
            "arccos arccosh arcsin arcsinh arctan arctanh ceil cos cosh deg2rad exp2 expm1 floor log log10 log1p log2 "
            "rad2deg reciprocal sign sin sinh sqrt tan tanh trunc"
        ).split()
    },
    **{
        name: getattr(binary, name)
        for name in "arctan2 copysign floor_divide fmax fmin fmod heaviside hypot ldexp logaddexp logaddexp2".split()
    },
    **{
        name: getattr(logic, name)
        for name in (
            "bitwise_and bitwise_or bitwise_xor gcd greater greater_equal isfinite isinf isnan lcm less less_equal "
            "logical_and logical_not logical_or logical_xor not_equal signbit"
        ).split()
    },
}
#: PyTorch's functions of these names take no numbers, or none on the left; NumPy's do.
_ONLY_TENSORS = frozenset(
    "maximum minimum fmax fmin hypot arctan2 logaddexp logaddexp2 gcd lcm heaviside fmod copysign equal not_equal less "
    "less_equal greater greater_equal".split()
)
_UFUNCS: dict[Any, Any] = {getattr(numpy, name): function for name, function in _FUNCTIONS.items()}


_NUMBERS = (bool, int, float, numpy.generic)


def _as_tensor_beside(number: Any, x: Tensor) -> Tensor:
    number = number.item() if isinstance(number, numpy.generic) else number
    return Tensor(backend_for(x.device).full((), number, dtype_of_number(number)))


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """What NumPy calls when a Tensor is among the operands of one of its functions."""
    function = _UFUNCS.get(ufunc)
    if function is None or method != "__call__" or settings:
        return NotImplemented
    if ufunc is numpy.matmul:
        inputs = tuple(as_tensor("matmul", x) for x in inputs)
    if ufunc.__name__ in _ONLY_TENSORS and isinstance(inputs[0], _NUMBERS) + isinstance(inputs[1], _NUMBERS) == 1:
        x = next(x for x in inputs if isinstance(x, Tensor))
        inputs = tuple(_as_tensor_beside(value, x) if isinstance(value, _NUMBERS) else value for value in inputs)
    devices = {str(x.device) for x in inputs if isinstance(x, Tensor)}
    if any(isinstance(x, numpy.ndarray) for x in inputs) and devices - {"cpu"}:
        raise DeviceError(
            f"{ufunc.__name__}: got a NumPy array and a Tensor on '{devices.pop()}'; move one with .to(device)"
        )
    return function(*inputs)
