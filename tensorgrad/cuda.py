"""torch.cuda's names: the GPUs that CuPy finds, their memory, and waiting for them.

Every function but is_available and device_count needs a GPU, and says what is missing without one.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from tensorgrad.backend import backend_for
from tensorgrad.device import Device, as_device
from tensorgrad.errors import DeviceError
from tensorgrad.random import manual_seed as _manual_seed

__all__ = [
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "synchronize",
]


def is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    return device_count() > 0


@functools.cache
def device_count() -> int:
    """How many GPUs CuPy finds; 0 without CuPy."""
    try:
        return int(backend_for("cuda").xp.cuda.runtime.getDeviceCount())
    except DeviceError:
        return 0


def _cuda() -> Any:
    """CuPy, or a DeviceError that says what is missing."""
    return backend_for("cuda").xp.cuda


def _on(device: int | str | Device | None) -> Any:
    """CuPy's device of that number or name; the present one for None."""
    cuda = _cuda()
    if device is None:
        return cuda.Device()
    number = device if isinstance(device, int) else as_device(device).index
    if number is not None and not 0 <= number < device_count():
        raise DeviceError(f"cuda: got device {device}; this machine has {device_count()} GPU(s), number 0 the first")
    return cuda.Device(number)


def current_device() -> int:
    """The number of the GPU that 'cuda' means."""
    return int(_cuda().Device().id)


def set_device(device: int | str | Device) -> None:
    """Let 'cuda' mean this GPU in this thread."""
    _on(device).use()


def device(device: int | str | Device) -> AbstractContextManager[Any]:
    """Inside, 'cuda' means this GPU."""
    found: AbstractContextManager[Any] = _on(device)
    return found


def get_device_name(device: int | str | Device | None = None) -> str:
    """The maker's name of a GPU."""
    name = _cuda().runtime.getDeviceProperties(_on(device).id)["name"]
    return str(name.decode() if isinstance(name, bytes) else name)


def synchronize(device: int | str | Device | None = None) -> None:
    """Wait until a GPU has done all it was given."""
    _on(device).synchronize()


def memory_allocated(device: int | str | Device | None = None) -> int:
    """Bytes that arrays on a GPU hold now."""
    with _on(device):
        return int(backend_for("cuda").xp.get_default_memory_pool().used_bytes())


def memory_reserved(device: int | str | Device | None = None) -> int:
    """Bytes that CuPy's pool has taken from a GPU, in use or kept for later."""
    with _on(device):
        return int(backend_for("cuda").xp.get_default_memory_pool().total_bytes())


def max_memory_allocated(device: int | str | Device | None = None) -> int:
    """The most bytes the pool has held since it was last emptied: CuPy counts what it took, not what arrays used."""
    return memory_reserved(device)


def reset_peak_memory_stats(device: int | str | Device | None = None) -> None:
    """Give back what the pool keeps unused, from which max_memory_allocated counts anew."""
    with _on(device):
        backend_for("cuda").xp.get_default_memory_pool().free_all_blocks()


def empty_cache() -> None:
    """Give the memory that the pools keep unused back to the GPU and the host."""
    xp = backend_for("cuda").xp
    xp.get_default_memory_pool().free_all_blocks()
    xp.get_default_pinned_memory_pool().free_all_blocks()


def mem_get_info(device: int | str | Device | None = None) -> tuple[int, int]:
    """Bytes free on a GPU, and its bytes in all."""
    with _on(device):
        free, total = _cuda().runtime.memGetInfo()
        return int(free), int(total)


def manual_seed(seed: int) -> None:
    """Seed everything random: one stream serves every device."""
    _manual_seed(seed)


manual_seed_all = manual_seed
