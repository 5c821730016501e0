"""What a Tensor says of itself, and how it becomes one of another type."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad import dtypes
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import DType, is_floating
from tensorgrad.errors import GraphError, OperandError
from tensorgrad.ops.operands import as_tensor, cast, result_of
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = ["is_complex", "is_floating_point", "is_nonzero", "is_tensor", "numel", "result_type"]

#: The names of PyTorch's classes of Tensors.
CLASSES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "uint8": "ByteTensor",
    "int8": "CharTensor",
    "int16": "ShortTensor",
    "int32": "IntTensor",
    "int64": "LongTensor",
    "bool": "BoolTensor",
}


def is_tensor(obj: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether its numbers are floating point."""
    return is_floating(as_tensor("is_floating_point", input).array.dtype)


def is_complex(input: Tensor) -> bool:
    """Whether its numbers are complex: they never are."""
    as_tensor("is_complex", input)
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether its one value is not 0."""
    return bool(as_tensor("is_nonzero", input))


def numel(input: Tensor) -> int:
    """How many values it holds."""
    return int(as_tensor("numel", input).array.size)


def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype that an operation of the two (Tensors or numbers) has.

    >>> import tensorgrad
    >>> result_type(tensorgrad.tensor([1, 2]), 1.0)
    dtype('float32')
    """
    return result_of("result_type", [tensor1, tensor2])


def is_signed(self: Tensor) -> bool:
    """Whether its numbers can be negative."""
    return bool(self.array.dtype.kind not in "bu")


def is_same_size(self: Tensor, other: Tensor) -> bool:
    """Whether the other Tensor has the same shape."""
    return self.array.shape == other.array.shape


def is_cuda(self: Tensor) -> bool:
    """Whether it lives on a GPU."""
    return self.device.type == "cuda"


def is_cpu(self: Tensor) -> bool:
    """Whether it lives in the host's memory."""
    return self.device.type == "cpu"


def get_device(self: Tensor) -> int:
    """The number of its GPU, -1 on the CPU."""
    return -1 if is_cpu(self) else self.device.index or 0


def data_ptr(self: Tensor) -> int:
    """The address of its first value."""
    return int(backend_of(self.array).address(self.array))


def storage_offset(self: Tensor) -> int:
    """How many values lie in memory before its first one, counted from the start of the Tensor that it is a view of."""
    base = self
    while base.extra is not None and base.extra.view is not None:
        base = base.extra.view[0]
    return (data_ptr(self) - data_ptr(base)) // self.itemsize


def detach_(self: Tensor) -> Tensor:
    """Cut this Tensor off from the tape; returns self."""
    if self.extra is not None and self.extra.view is not None:
        raise GraphError("detach_: this Tensor is a view of another; use .detach()")
    self.node = None
    self.tracked = False
    return self


def to_type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without an argument the name of its class, as 'tensorgrad.FloatTensor'; else its values in that dtype.

    >>> import tensorgrad
    >>> tensorgrad.ones(2).type(), tensorgrad.ones(2).type(tensorgrad.int64)
    ('tensorgrad.FloatTensor', tensor([1, 1]))
    """
    if dtype is None:
        place = "" if is_cpu(self) else f"{self.device.type}."
        return f"tensorgrad.{place}{CLASSES[str(self.dtype)]}"
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        found = [name for name, of_class in CLASSES.items() if of_class == dtype.rpartition(".")[2]]
        if not found:
            raise OperandError(f"type: got {dtype!r}; the classes are {', '.join(CLASSES.values())}")
        dtype = dtypes.bfloat16 if found[0] == "bfloat16" else found[0]
    return cast(self, dtype)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Its values in the dtype, and on the device, of another Tensor."""
    return self.to(other)


def conversion_to(name: str) -> Any:
    """The method that gives its values in the dtype of that name."""

    def convert(self: Tensor) -> Tensor:
        return cast(self, getattr(dtypes, name) if name == "bfloat16" else numpy.dtype(name))

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"Its values as {name}."
    return convert


FACTS: dict[str, Any] = {
    "is_complex": is_complex,
    "is_nonzero": is_nonzero,
    "is_signed": is_signed,
    "is_same_size": is_same_size,
    "get_device": get_device,
    "data_ptr": data_ptr,
    "storage_offset": storage_offset,
    "nelement": numel,
    "ndimension": Tensor.dim,
    "detach_": detach_,
    "type": to_type,
    "type_as": type_as,
}
CONVERSIONS: dict[str, Any] = {
    method: conversion_to(name)
    for method, name in {
        "bool": "bool",
        "byte": "uint8",
        "char": "int8",
        "short": "int16",
        "int": "int32",
        "long": "int64",
        "half": "float16",
        "bfloat16": "bfloat16",
        "float": "float32",
        "double": "float64",
    }.items()
}
PROPERTIES: dict[str, Any] = {"is_cuda": property(is_cuda), "is_cpu": property(is_cpu)}
