"""Memory that is freed stays with the process, for the next array; and arrays that begin at a cache line.

Training allocates and frees arrays of megabytes at every operation. glibc's malloc gives such memory back to the system at
once, and the next array pays for it again, page by page, at its first touch: LeNet's first convolution takes three times
as long (1.2 ms instead of 0.4 ms, 517 page faults a call).
"""

from __future__ import annotations

import ctypes
import math
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


#: Where an array object holds the address of its numbers: behind what all objects of Python begin with.
_OF_DATA = object.__basicsize__
_word_at = ctypes.c_size_t.from_address


def _read_address(x: np.ndarray[Any, Any]) -> int:
    """Where the numbers of x begin, from the array object itself: a sixth of the time that asking it takes."""
    return _word_at(id(x) + _OF_DATA).value


def _asked_address(x: np.ndarray[Any, Any]) -> int:
    return int(x.__array_interface__["data"][0])


def _agree() -> bool:
    """Whether both ways give the same for this Python and this NumPy; reading is of CPython and its objects only."""
    if sys.implementation.name != "cpython":
        return False
    arrays = [np.empty(n, np.uint8)[n // 3 :] for n in (3, 64, 5000)]
    return all(_read_address(x) == _asked_address(x) for x in arrays)


#: Where the numbers of a NumPy array begin.
address_of = _read_address if _agree() else _asked_address


#: Bytes of an array up to which one pass of loads from two cache lines each costs less than aligning it.
FEW_BYTES = 1 << 17


def unset(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised contiguous array for one pass of a kernel; a large one is `aligned`."""
    if math.prod(shape) * dtype.itemsize <= FEW_BYTES:
        return np.empty(shape, dtype)
    return aligned(shape, dtype)


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised contiguous array that begins at a multiple of 64 bytes, so that no vector register is loaded from two
    cache lines.

    Raises MemoryError, naming shape and bytes, where there is no memory for it.
    """
    kind = np.dtype(dtype)
    bytes_needed = math.prod(shape) * kind.itemsize
    try:
        memory = np.empty(bytes_needed + 64, np.uint8)
    except MemoryError:
        raise MemoryError(
            f"no memory for an array of shape {shape} and dtype {kind} ({bytes_needed / 2**20:,.0f} MiB); "
            "use a smaller batch, or record less (no_grad)"
        ) from None
    return np.ndarray(shape, kind, memory, -address_of(memory) % 64)
