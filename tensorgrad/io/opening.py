"""Opening a file to read it, without waiting for one that is none, and reading it into an array."""

from __future__ import annotations

import errno
import os
import stat
from typing import IO, Any

import numpy


def opened(path: str | os.PathLike[str]) -> IO[bytes]:
    """The file at `path`, opened for reading bytes.

    Raises OSError where it cannot be read, and where it is a pipe, a socket or a device: a name in a folder or an archive
    from a stranger may be one, whose reader would wait for ever, or read without end.
    """
    kind = os.stat(path).st_mode
    if not stat.S_ISDIR(kind):  # of a folder, open says so itself
        _refuse_others(kind, path)
    file = open(path, "rb", opener=_without_waiting)
    try:
        _refuse_others(os.fstat(file.fileno()).st_mode, path)  # should it have been put there in between
    except OSError:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_others(kind: int, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "this is a pipe, a socket or a device, not a file", os.fspath(path))


def fill(file: Any, values: numpy.ndarray) -> bool:
    """Read as many bytes as the array of bytes has, into it; False where the file ends before."""
    target = memoryview(values)  # type: ignore[arg-type]  # before Python 3.12 only the interpreter knows buffers
    filled = 0
    while filled < len(target):
        got = file.readinto(target[filled:])
        if not got:
            return False
        filled += got
    return True
