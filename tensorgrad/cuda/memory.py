"""A GPU's memory: what arrays hold, what CuPy's pool keeps, and the most that was held at a time."""

from __future__ import annotations

import threading
from typing import Any

from tensorgrad.backend import backend_for
from tensorgrad.cuda.devices import DeviceLike, on_device


class _Peaks(threading.local):
    """The watchers of this thread, by the GPU's number. CuPy's hooks see the allocations of one thread."""

    def __init__(self) -> None:
        self.watchers: dict[int, Any] = {}


_peaks = _Peaks()


def _pool() -> Any:
    return backend_for("cuda").xp.get_default_memory_pool()


def memory_allocated(device: DeviceLike = None) -> int:
    """Bytes that arrays on a GPU hold now."""
    with on_device(device):
        return int(_pool().used_bytes())


def memory_reserved(device: DeviceLike = None) -> int:
    """Bytes that CuPy's pool has taken from a GPU, in use or kept for later."""
    with on_device(device):
        return int(_pool().total_bytes())


def reset_peak_memory_stats(device: DeviceLike = None) -> None:
    """From now on max_memory_allocated counts what arrays made by this thread hold; every allocation is watched for it."""
    found = on_device(device)
    number = int(found.id)
    watcher = _peaks.watchers.get(number)
    if watcher is None:
        watcher = _peaks.watchers[number] = _watcher(number)
        watcher.__enter__()
    watcher.used = watcher.peak = memory_allocated(number)


def max_memory_allocated(device: DeviceLike = None) -> int:
    """The most bytes that arrays have held at a time since reset_peak_memory_stats was called in this thread.

    Before any such call, what the pool has taken: it never gives back by itself, so this is at least as much. Nothing is
    watched by default, since that would make every allocation slower.
    """
    watcher = _peaks.watchers.get(int(on_device(device).id))
    return memory_reserved(device) if watcher is None else max(watcher.peak, memory_allocated(device))


def max_memory_reserved(device: DeviceLike = None) -> int:
    """The most bytes that the pool has taken from a GPU since it was last emptied."""
    return memory_reserved(device)


def _watcher(number: int) -> Any:
    """CuPy's hook on allocations, which keeps count for one GPU."""

    class Watcher(backend_for("cuda").xp.cuda.MemoryHook):  # type: ignore[misc]
        name = f"tensorgrad's peak on cuda:{number}"  # CuPy takes no two of one name
        used = 0
        peak = 0

        def malloc_postprocess(self, **what: Any) -> None:
            if what["device_id"] == number:
                self.used += what["mem_size"]
                self.peak = max(self.peak, self.used)

        def free_postprocess(self, **what: Any) -> None:
            if what["device_id"] == number:
                self.used -= what["mem_size"]

    return Watcher()


def empty_cache() -> None:
    """Give the memory that the pools keep unused back to the GPU and the host."""
    xp = backend_for("cuda").xp
    xp.get_default_memory_pool().free_all_blocks()
    xp.get_default_pinned_memory_pool().free_all_blocks()


def mem_get_info(device: DeviceLike = None) -> tuple[int, int]:
    """Bytes free on a GPU, and its bytes in all."""
    with on_device(device):
        free, total = backend_for("cuda").xp.cuda.runtime.memGetInfo()
        return int(free), int(total)
