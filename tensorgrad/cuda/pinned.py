"""The host's memory pinned for a GPU: it stays where it is, so the GPU fetches it by itself while the host goes on."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_for, stored
from tensorgrad.errors import DeviceError


def why_not_pinned() -> str | None:
    """Why memory cannot be pinned for a GPU here, or None if it can."""
    try:
        backend_for("cuda")
    except DeviceError as error:
        return str(error)
    return None


def pinned_copy(x: numpy.ndarray) -> numpy.ndarray:
    """A copy in pinned memory, its values in the order of its dimensions. Raises DeviceError without a GPU."""
    memory = backend_for("cuda").xp.cuda.alloc_pinned_memory(max(x.nbytes, 1))
    copy: numpy.ndarray = numpy.ndarray(x.shape, x.dtype, buffer=memory)
    copy[...] = x
    return stored(copy)  # type: ignore[no-any-return]


def is_pinned(x: Any) -> bool:
    """Whether an array of the host's lies in pinned memory."""
    if not isinstance(x, numpy.ndarray) or not x.size or why_not_pinned() is not None:
        return False
    pinned_memory = backend_for("cuda").xp.cuda.pinned_memory
    return bool(pinned_memory.is_memory_pinned(x.__array_interface__["data"][0]))


def wait_for_copies() -> None:
    """Wait until the current stream has fetched what it was told to."""
    backend_for("cuda").xp.cuda.get_current_stream().synchronize()
