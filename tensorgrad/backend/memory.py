"""Memory that is freed stays with the process, for the next array; and arrays that begin at a cache line.

Training allocates and frees arrays of megabytes at every operation. glibc's malloc gives such memory back to the system at
once, and the next array pays for it again, page by page, at its first touch: LeNet's first convolution takes three times
as long (1.2 ms instead of 0.4 ms, 517 page faults a call).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any

import numpy as np


class _Spare(threading.local):
    """The array whose memory the next kernel may write its result to, because nobody will read it again; see nn/chain.py."""

    array: Any = None


spare = _Spare()

# The parameters' numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

#: Free memory at the end of the heap beyond which it goes back to the system, and the size from which an array has
#: pages of its own, which always go back.
KEPT_BYTES = 1 << 30
OWN_PAGES_BYTES = 1 << 28


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; True where it does: on Linux with glibc.

    A choice made in the environment (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_, GLIBC_TUNABLES) is left alone.
    """
    chosen = "MALLOC_TRIM_THRESHOLD_" in os.environ or "MALLOC_MMAP_THRESHOLD_" in os.environ
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_M_MMAP_THRESHOLD, OWN_PAGES_BYTES))


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised contiguous array that begins at a multiple of 64 bytes, so that no vector register is loaded from two
    cache lines.

    Raises MemoryError, naming shape and bytes, where there is no memory for it.
    """
    kind = np.dtype(dtype)
    count = 1
    for size in shape:
        count *= size
    bytes_needed = count * kind.itemsize
    try:
        memory = np.empty(bytes_needed + 64, np.uint8)
    except MemoryError:
        raise MemoryError(
            f"no memory for an array of shape {shape} and dtype {kind} ({bytes_needed / 2**20:,.0f} MiB); "
            "use a smaller batch, or record less (no_grad)"
        ) from None
    start = -memory.__array_interface__["data"][0] % 64
    return memory[start : start + bytes_needed].view(kind).reshape(shape)
