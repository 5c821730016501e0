"""Number types: NumPy's dtype objects under PyTorch's names, and PyTorch's rules for mixing them.

bfloat16 is the dtype of the package ml_dtypes (the extra `bfloat16`), imported when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorgrad.errors import DtypeError, OperandError

float16 = half = np.dtype("float16")
float32 = np.dtype("float32")  # tensorgrad.float
float64 = double = np.dtype("float64")
uint8 = np.dtype("uint8")
int8 = np.dtype("int8")
int16 = short = np.dtype("int16")
int32 = np.dtype("int32")  # tensorgrad.int
int64 = long = np.dtype("int64")
bool_ = np.dtype("bool")

DType = np.dtype[Any]

_default = float32

# bool < integer < floating: a 0-d Tensor or a number changes the result only if its category is higher.
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def __getattr__(name: str) -> Any:
    if name != "bfloat16":
        raise AttributeError(f"module 'tensorgrad.dtypes' has no attribute {name!r}")
    try:
        import ml_dtypes
    except ImportError as error:
        raise AttributeError(
            "bfloat16 needs the package ml_dtypes: install the extra, pip install 'tapegrad[bfloat16]', or use float16"
        ) from error
    return np.dtype(ml_dtypes.bfloat16)


def is_bfloat16(dtype: DType) -> bool:
    """Whether this is the dtype bfloat16 (which to NumPy is of kind V, like records)."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def get_default_dtype() -> DType:
    """The dtype of floating-point Tensors made from Python numbers (float32 unless set)."""
    return _default


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype that `get_default_dtype` returns; it must be a floating-point one."""
    global _default
    dtype = np.dtype(dtype)
    if not is_floating(dtype):
        raise DtypeError(f"set_default_dtype: got {dtype}; only floating-point types can be the default")
    _default = dtype


def is_floating(dtype: DType) -> bool:
    """Whether values of this dtype can carry a gradient."""
    return dtype.kind == "f" or is_bfloat16(dtype)


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floating point."""
    try:
        return _CATEGORY[dtype.kind]
    except KeyError:
        if is_bfloat16(dtype):
            return 2
        raise DtypeError(f"dtype {dtype} is not one of tensorgrad's: bool, integers and floating point") from None


def promote_types(type1: Any, type2: Any) -> DType:
    """The dtype of x + y for arrays of these dtypes, as in PyTorch: a float beats any integer as it is.

    >>> promote_types(int64, float32)
    dtype('float32')
    """
    a, b = np.dtype(type1), np.dtype(type2)
    if a == b:
        return a
    rank_a, rank_b = category(a), category(b)
    if rank_a == rank_b == 2 and (is_bfloat16(a) or is_bfloat16(b)):
        return float64 if float64 in (a, b) else float32  # beside float16, of which neither holds the other, float32
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


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a value of dtype `from_` may be written into an array of dtype `to`: not one of a lower category.

    >>> can_cast(float32, int64), can_cast(int64, float16)
    (False, True)
    """
    return category(np.dtype(from_)) <= category(np.dtype(to))


@dataclass(frozen=True)
class finfo:
    """What a floating-point dtype can hold: eps (from 1 to the next number), max, min, tiny (the least normal number).

    >>> finfo(float32).bits, finfo(float16).max
    (32, 65504.0)
    """

    dtype: str
    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float

    def __init__(self, type: Any = None) -> None:
        kind = _default if type is None else np.dtype(type)
        if not is_floating(kind):
            raise OperandError(f"finfo: got dtype {kind}; it takes a floating-point one, use iinfo for whole numbers")
        if is_bfloat16(kind):
            import ml_dtypes

            info: Any = ml_dtypes.finfo(kind)
        else:
            info = np.finfo(kind)
        values = {name: float(getattr(info, name)) for name in ("eps", "max", "min", "tiny", "smallest_normal")}
        values["resolution"] = 10.0 ** -int(info.precision)
        for name, value in {"dtype": str(kind), "bits": 8 * kind.itemsize, **values}.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class iinfo:
    """The range of a dtype of whole numbers.

    >>> iinfo(uint8).max
    255
    """

    dtype: str
    bits: int
    max: int
    min: int

    def __init__(self, type: Any) -> None:
        kind = np.dtype(type)
        if kind.kind not in "iu":
            raise OperandError(f"iinfo: got dtype {kind}; it takes one of whole numbers, use finfo for the others")
        info = np.iinfo(kind)
        for name, value in {"dtype": str(kind), "bits": info.bits, "max": int(info.max), "min": int(info.min)}.items():
            object.__setattr__(self, name, value)
