"""NumPy on the left: ndarray * t, np.float32(2) * t and np.add(a, t) all give a Tensor."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.errors import DeviceError
from tensorgrad.ops import arithmetic, elementwise, matmul
from tensorgrad.ops.operands import as_tensor
from tensorgrad.tensor import Tensor

_UFUNCS: dict[Any, Any] = {
    numpy.add: arithmetic.add,
    numpy.subtract: arithmetic.subtract,
    numpy.multiply: arithmetic.multiply,
    numpy.true_divide: arithmetic.divide,
    numpy.power: arithmetic.power,
    numpy.negative: arithmetic.negative,
    numpy.exp: elementwise.exp,
    numpy.log: elementwise.log,
    numpy.sqrt: elementwise.sqrt,
    numpy.sin: elementwise.sin,
    numpy.cos: elementwise.cos,
    numpy.tanh: elementwise.tanh,
    numpy.absolute: elementwise.absolute,
    numpy.sign: elementwise.sign,
    numpy.maximum: elementwise.maximum,
    numpy.minimum: elementwise.minimum,
    numpy.matmul: matmul.matmul,
    numpy.equal: elementwise.equal,
    numpy.not_equal: elementwise.not_equal,
    numpy.less: elementwise.less,
    numpy.less_equal: elementwise.less_equal,
    numpy.greater: elementwise.greater,
    numpy.greater_equal: elementwise.greater_equal,
    numpy.isnan: elementwise.isnan,
    numpy.isfinite: elementwise.isfinite,
}


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
    """What NumPy calls when a Tensor is among the operands of one of its functions."""
    function = _UFUNCS.get(ufunc)
    if function is None or method != "__call__" or settings:
        return NotImplemented
    if ufunc is numpy.matmul:
        inputs = tuple(as_tensor("matmul", x) for x in inputs)
    devices = {str(x.device) for x in inputs if isinstance(x, Tensor)}
    if any(isinstance(x, numpy.ndarray) for x in inputs) and devices - {"cpu"}:
        raise DeviceError(
            f"{ufunc.__name__}: got a NumPy array and a Tensor on '{devices.pop()}'; move one with .to(device)"
        )
    return function(*inputs)
