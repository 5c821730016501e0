"""DLPack: Tensors on the memory of other libraries' arrays, and theirs on ours."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_for, backend_of
from tensorgrad.device import Device
from tensorgrad.errors import DeviceError, DtypeError, GraphError, OperandError
from tensorgrad.ops.transfer import to_device
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = ["from_dlpack"]

#: The devices of DLPack that we know, by its numbers (dlpack.h): CPU, CUDA, host memory pinned by CUDA, and memory that both see.
DEVICES = {1: "cpu", 2: "cuda", 3: "cpu", 13: "cuda"}


def from_dlpack(ext_tensor: Any, *, device: str | Device | None = None, copy: bool | None = None) -> Tensor:
    """A Tensor on the memory of anything that speaks DLPack (a PyTorch tensor, a CuPy or NumPy array, ...).

    With `copy=True`, or where it has to move to `device`, on memory of its own.

    >>> import numpy, tensorgrad
    >>> tensorgrad.from_dlpack(numpy.array([1.0, 2.0], dtype="float32"))
    tensor([1., 2.])
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise OperandError(f"from_dlpack: got a {type(ext_tensor).__name__}, which has no __dlpack__")
    if isinstance(ext_tensor, Tensor):
        z = ext_tensor.detach()
    else:
        number, index = (int(part) for part in ext_tensor.__dlpack_device__())
        if number not in DEVICES:
            raise DeviceError(
                f"from_dlpack: the array is on DLPack's device {number}; we know the CPU (1) and CUDA (2)"
            )
        place = Device(DEVICES[number], index if DEVICES[number] == "cuda" else None)
        backend = backend_for(place)
        with backend.on(place):
            z = Tensor(backend.from_dlpack(ext_tensor)).shared_with_numpy()
    moved = z if device is None else to_device(z, device)
    if copy is False and moved is not z:
        raise OperandError(f"from_dlpack: copy=False, but the array has to move to '{device}'")
    return moved.clone() if copy and moved is z else moved


def dlpack(self: Tensor, **settings: Any) -> Any:
    """The memory of this Tensor as a DLPack capsule, for another library."""
    if self.tracked:
        raise GraphError("__dlpack__: this Tensor requires grad; use .detach()")
    if self.array.dtype.kind == "V":
        raise DtypeError("__dlpack__: NumPy cannot hand out bfloat16; use .float()")
    if isinstance(self.array, numpy.ndarray):
        self.storage.lend(self.array)
    return backend_of(self.array).to_dlpack(self.array, **settings)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """Where DLPack says it lives: (1, 0) for the CPU."""
    kind, index = self.array.__dlpack_device__()
    return int(kind), int(index)
