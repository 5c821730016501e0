"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tensorgrad.errors import TensorgradError

# what says that somebody holds it; anything else says that this file system has no locks
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class FolderInUse(TensorgradError, RuntimeError):
    """Another process works in the folder."""


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[bool]:
    """Inside, no other process that asks gets the folder; gives False where the file system has no locks.

    The system lets go of it when the process ends, however it ends. Raises FolderInUse where another one has it.

    >>> import tempfile
    >>> with locked(tempfile.mkdtemp()) as sure:
    ...     sure
    True
    """
    handle, mark = _opened(folder)
    try:
        try:
            _take(handle)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FolderInUse(
                    f"another run is at work in {os.fspath(folder)}; wait until it is done, stop it, or choose another folder"
                ) from None
            yield False
        else:
            yield True
    finally:
        os.close(handle)
        if mark is not None:
            with contextlib.suppress(OSError):  # Windows: another one has opened it by now
                mark.unlink()


if os.name == "posix":
    import fcntl

    def _opened(folder: str | os.PathLike[str]) -> tuple[int, Path | None]:
        """A folder can be locked itself, so that nothing is left in it."""
        return os.open(folder, os.O_RDONLY), None

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

else:  # pragma: no cover
    import msvcrt

    def _opened(folder: str | os.PathLike[str]) -> tuple[int, Path | None]:
        mark = Path(folder, ".lock")
        return os.open(mark, os.O_RDWR | os.O_CREAT), mark

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
