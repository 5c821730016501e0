"""Which kernels work on which arrays.

A backend is a set of kernels: arrays in, arrays out, no derivatives. `backend_of(x)` finds the one for a value by
its type, so the mathematics above never asks for a device. The tape registers itself here for Tensors under the same
names (see `tensorgrad.primitive`), which is why one rule serves arrays and Tensors alike.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.bfloat16 import BFloat16Array, BFloat16Backend, stored
from tensorgrad.backend.choice import choose, explain
from tensorgrad.backend.compiled import warmup
from tensorgrad.backend.fast import cpu_backend
from tensorgrad.backend.memory import keep_freed_memory
from tensorgrad.device import Device, as_device, replace_default_device
from tensorgrad.errors import DeviceError, OperandError
from tensorgrad.mode import mode

__all__ = [
    "ArrayBackend",
    "array_types",
    "backend_for",
    "backend_of",
    "choose",
    "explain",
    "is_array",
    "is_device_name",
    "register",
    "set_default_device",
    "stored",
    "warmup",
    "without_warnings",
]


class _ByType(dict[type, Any]):
    """Array type -> backend; a subclass of a known type is looked up once, then remembered."""

    def __missing__(self, kind: type) -> Any:
        for base in kind.__mro__[1:]:
            if base in self:
                backend = self[base]
                self[kind] = backend
                return backend
        if kind.__module__.partition(".")[0] == "cupy":
            backend_for("cuda")
            if kind in self:
                return self[kind]
        raise OperandError(
            f"no backend for a value of type {kind.__module__}.{kind.__qualname__}; pass a Tensor or a NumPy or CuPy array"
        )


_by_type = _ByType()
_by_device: dict[str, ArrayBackend] = {}
#: The types that count as arrays; scalars of NumPy are not among them, a Tensor always holds an array.
array_types: set[type] = set()


def register(backend: Any, *types: type, device: str | None = None) -> None:
    """Let `backend` serve values of these types and, if named, be the one that makes arrays on `device`."""
    for kind in types:
        _by_type[kind] = backend
    if device is not None:
        _by_device[device] = backend
        array_types.add(backend.array_type)


def backend_of(x: Any) -> Any:
    """The backend for x: NumPy's or CuPy's kernels for an array, the tape for a Tensor."""
    return _by_type[type(x)]


def is_array(x: Any) -> bool:
    """Whether x is an array of a registered backend (not a Tensor, not a number)."""
    return isinstance(x, tuple(array_types))


def _load_cuda() -> ArrayBackend:
    from tensorgrad.backend.cuda import load

    return load()


_loaders: dict[str, Callable[[], ArrayBackend]] = {"cuda": _load_cuda}


def is_device_name(name: str) -> bool:
    """Whether `name` ('cpu', 'cuda:1') names a device that a backend is known for, be it there or not."""
    kind = name.partition(":")[0]
    return kind in _by_device or kind in _loaders


def backend_for(device: str | Device | None) -> ArrayBackend:
    """The backend that makes arrays on `device`; raises DeviceError, saying what is missing, where it is not there."""
    chosen = as_device(device)
    if chosen.type not in _by_device:
        if chosen.type not in _loaders:
            known = sorted({*_by_device, *_loaders})
            raise DeviceError(f"device: got '{chosen}'; there are {', '.join(known)}")
        backend = _loaders[chosen.type]()
        register(backend, backend.array_type, device=chosen.type)
    backend = _by_device[chosen.type]
    backend.check_device(chosen)
    return backend if mode.recorder is None else mode.recorder.backend_for(backend)


def set_default_device(device: str | Device) -> None:
    """Make new Tensors on this device from now on; one that is not there is refused at once."""
    chosen = as_device(device)
    backend_for(chosen)
    replace_default_device(chosen)


def without_warnings() -> AbstractContextManager[Any]:
    """Inside, infinities and nan are values like others, and NumPy does not warn of them."""
    return _np.errstate(all="ignore")


import numpy as _np  # noqa: E402  (after the registry it fills)

keep_freed_memory()  # the next array takes it: a quarter less time for a training step
register(cpu_backend(), _np.ndarray, _np.generic, device="cpu")
register(BFloat16Backend(backend_for("cpu")), BFloat16Array)
array_types.add(BFloat16Array)
