"""Write a file so that its name always stands for a whole one: the old one until the new one is safely on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some of your quota or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
}

_DRAFT = re.compile(r"\.[^.].*\.[0-9a-f]{8}\.replacing(\.[^.]*)?")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; when the block ends well, the file there takes the name `path`.

    Its bytes are flushed to the disk before that, and the folder after it, so that a power cut leaves the old file or
    the new one. When the block fails the temporary file is removed and `path` is as it was. A symbolic link is
    followed. An OSError is raised anew, of the same kind, and says which file was to be written and what to do.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "notes.txt")
    >>> with replacing(file) as draft:
    ...     _ = draft.write_text("whole")
    >>> file.read_text(), len(list(file.parent.iterdir()))
    ('whole', 1)
    """
    target = Path(os.path.realpath(path))
    # the same folder, for a renaming across disks would copy; the same suffix, which tells some writers the format
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.replacing{target.suffix}")
    renamed = False
    try:
        yield draft
        _flush(draft)
        os.replace(draft, target)
        renamed = True
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno is None:
            raise
        reason = os.strerror(error.errno)
        remedy = _REMEDIES.get(error.errno)
        advice = f"; {remedy}" if remedy else ""
        if renamed:
            text = f"the file is in its place, but its folder cannot be flushed to the disk: {reason}{advice}"
        else:
            kept = "; the file that was there is unchanged" if target.exists() else ""
            text = f"cannot write the file: {reason}{kept}{advice}"
        raise OSError(error.errno, text, os.fspath(path)) from error
    finally:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it has its name by now, or never was
            draft.unlink()


def remove_drafts(folder: str | os.PathLike[str]) -> None:
    """Take away the temporary files of a process that was killed while it wrote into the folder.

    Only for a folder that no other process writes to at the time.
    """
    for path in Path(folder).iterdir():
        if _DRAFT.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
