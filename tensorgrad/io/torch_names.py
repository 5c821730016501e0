"""The names a PyTorch file may use, and what each stands for here. Nothing of PyTorch, or of the file, is called."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.io.errors import CheckpointError, ForbiddenError
from tensorgrad.io.unpickle import Built, Unfinished, brief, is_safe_key

#: Number types by PyTorch's names; bfloat16 is the upper half of a float32, which it becomes here.
BFLOAT16 = "bfloat16"
_DTYPES: dict[str, Any] = {
    "float16": numpy.dtype("<f2"),
    "float32": numpy.dtype("<f4"),
    "float64": numpy.dtype("<f8"),
    "bfloat16": BFLOAT16,
    "uint8": numpy.dtype("u1"),
    "uint16": numpy.dtype("<u2"),
    "uint32": numpy.dtype("<u4"),
    "uint64": numpy.dtype("<u8"),
    "int8": numpy.dtype("i1"),
    "int16": numpy.dtype("<i2"),
    "int32": numpy.dtype("<i4"),
    "int64": numpy.dtype("<i8"),
    "bool": numpy.dtype("?"),
}
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f(2|4|8|16))")  # what NumPy calls the dtypes of numbers in a pickle
_MOST = 1 << 63  # sizes and places are below
_STORAGES = {
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
}


class Kind:
    """A number type, named in the file as a dtype or as the type of a storage."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype = _DTYPES[name]
        self.size = 2 if self.dtype == BFLOAT16 else self.dtype.itemsize

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _ordered(*items: Any) -> dict[Any, Any]:
    """OrderedDict() and OrderedDict([[key, value], ...])"""
    if not items:
        return {}
    (pairs,) = items
    found: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not _is_name(pair[0]):
            raise CheckpointError("load: an OrderedDict is made of something that is no list of pairs")
        found[pair[0]] = pair[1]
    return found


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, (list, tuple)) or not all(is_safe_key(x) for x in items):
        raise ForbiddenError("load: a set holds something other than texts and numbers below 2^61")
    return set(items)


def _is_name(key: Any) -> bool:
    return isinstance(key, (str, int)) and is_safe_key(key)


def is_count(n: Any) -> bool:
    """Whether it is a whole number that can count values: products of those beyond could take for ever."""
    return type(n) is int and 0 <= n < _MOST


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    return tuple(numbers) if isinstance(numbers, (list, tuple)) else (numbers,)


def _device(kind: Any, index: Any = None) -> str:
    if not isinstance(kind, str) or not (index is None or is_count(index)):
        raise CheckpointError(f"load: a device is described as {brief((kind, index))}; it is damaged")
    return kind if index is None else f"{kind}:{index}"


def _encoded(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes for Python 2's pickles."""
    if not isinstance(text, str) or encoding != "latin1":
        raise CheckpointError("load: bytes are encoded in an unknown way")
    return text.encode("latin1")


# NumPy's scalars and arrays, as checkpoints hold for accuracies and random states


class _NumpyDtype(Unfinished):
    """numpy.dtype(text), whose byte order comes by BUILD."""

    def __init__(self, text: Any, *_: Any) -> None:
        super().__init__()
        if not isinstance(text, str) or not _NUMBERS.fullmatch(text):
            raise ForbiddenError(f"load: an array has the dtype {brief(text)}; it must be numbers")
        self.dtype = numpy.dtype(text)

    def finish(self, state: Any) -> _NumpyDtype:
        order: Any = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        if order not in ("<", ">", "|", "="):
            raise CheckpointError("load: an array has an unknown order of bytes")
        self.dtype = self.dtype.newbyteorder(order)
        return self


def _numbers(dtype: Any, raw: Any) -> numpy.ndarray:
    if not isinstance(dtype, _NumpyDtype) or not isinstance(raw, bytes) or len(raw) % dtype.dtype.itemsize:
        raise CheckpointError("load: an array's bytes do not fit its dtype")
    values = numpy.frombuffer(raw, dtype.dtype)
    return values.astype(dtype.dtype.newbyteorder("="))


def _numpy_scalar(dtype: Any, raw: Any) -> Any:
    values = _numbers(dtype, raw)
    if values.size != 1:
        raise CheckpointError("load: a number's bytes do not fit its dtype")
    return values[0]


class _NumpyArray(Unfinished):
    """An array whose shape, dtype and bytes come by BUILD."""

    def finish(self, state: Any) -> numpy.ndarray:
        if not isinstance(state, tuple) or len(state) != 5:
            raise CheckpointError("load: an array is described in an unknown way")
        _, shape, dtype, is_fortran, raw = state
        values = _numbers(dtype, raw)
        if not isinstance(shape, tuple) or not all(is_count(n) for n in shape) or len(shape) > 32:
            raise CheckpointError(f"load: an array has the shape {brief(shape)}")
        count = 1
        for n in shape:
            count *= n
        if count != values.size:
            raise CheckpointError(f"load: an array of shape {shape} comes with {values.size} numbers")
        return values.reshape(shape, order="F" if is_fortran else "C")


def _reconstructed(*_: Any) -> _NumpyArray:
    return _NumpyArray()


def names(
    tensor: Callable[..., Any], tensor_of_kind: Callable[..., Any], parameter: Callable[..., Any]
) -> dict[str, Any]:
    """The list, with the three functions that make Tensors of storages."""
    found: dict[str, Any] = {f"torch {name}": Kind(name) for name in _DTYPES}
    for storage, name in _STORAGES.items():
        found[f"torch {storage}"] = found[f"torch.cuda {storage}"] = Kind(name)
    found["torch.storage UntypedStorage"] = found["torch UntypedStorage"] = Kind("uint8")
    calls: dict[str, Callable[..., Any]] = {
        "torch._utils _rebuild_tensor": tensor,
        "torch._utils _rebuild_tensor_v2": tensor,
        "torch._utils _rebuild_tensor_v3": tensor_of_kind,
        "torch._utils _rebuild_parameter": parameter,
        "torch._utils _rebuild_parameter_with_state": parameter,
        "torch Size": _size,
        "torch device": _device,
        "collections OrderedDict": _ordered,
        "__builtin__ set": _set,
        "builtins set": _set,
        "_codecs encode": _encoded,
        "numpy dtype": _NumpyDtype,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        calls[f"{module} scalar"] = _numpy_scalar
        calls[f"{module} _reconstruct"] = _reconstructed
    found["numpy ndarray"] = numpy.ndarray.__name__  # only an argument of _reconstruct
    return found | {name: Built(name.replace(" ", "."), call) for name, call in calls.items()}
