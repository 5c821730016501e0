"""Number types: NumPy's dtype objects under PyTorch's names, and PyTorch's rules for mixing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorgrad.errors import DtypeError

float16 = half = np.dtype("float16")
float32 = np.dtype("float32")
float64 = double = np.dtype("float64")
uint8 = np.dtype("uint8")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = long = np.dtype("int64")
bool_ = np.dtype("bool")

DType = np.dtype[Any]

_default = float32

# bool < integer < floating: a 0-d Tensor or a number changes the result only if its category is higher.
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def get_default_dtype() -> DType:
    """The dtype of floating-point Tensors made from Python numbers (float32 unless set)."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that `get_default_dtype` returns; it must be a floating-point one."""
    global _default
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise DtypeError(f"set_default_dtype: got {dtype}; only floating-point types can be the default")
    _default = dtype


def is_floating(dtype: DType) -> bool:
    """Whether values of this dtype can carry a gradient."""
    return dtype.kind == "f"


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floating point."""
    try:
        return _CATEGORY[dtype.kind]
    except KeyError:
        raise DtypeError(f"dtype {dtype} is not one of tensorgrad's: bool, integers and floating point") from None


def promote_types(a: DType, b: DType) -> DType:
    """The dtype of a + b for arrays of dtypes a and b, as in PyTorch: a float beats any integer as it is.

    >>> promote_types(int64, float32)
    dtype('float32')
    """
    if a == b:
        return a
    rank_a, rank_b = category(a), category(b)
    if rank_a == rank_b:
        return np.promote_types(a, b)
    return a if rank_a > rank_b else b


def dtype_of_number(number: bool | int | float) -> DType:
    """The dtype a Python number has when it decides: bool, int64 or the default floating-point type."""
    if isinstance(number, bool):
        return bool_
    return int64 if isinstance(number, int) else _default


def result_type(arrays: Iterable[tuple[DType, int]], numbers: Iterable[bool | int | float]) -> DType:
    """The common dtype of arrays, given as (dtype, ndim), and Python numbers.

    Arrays with dimensions decide; 0-d arrays, then numbers, count only if their category is higher.
    """
    groups: list[list[DType]] = [[], [], [dtype_of_number(n) for n in numbers]]
    for dtype, ndim in arrays:
        groups[0 if ndim else 1].append(dtype)
    result: DType | None = None
    for group in groups:
        if not group:
            continue
        common = group[0]
        for dtype in group[1:]:
            common = promote_types(common, dtype)
        if result is None or category(common) > category(result):
            result = common
    assert result is not None, "result_type needs at least one operand"
    return result
