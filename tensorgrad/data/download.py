"""Fetch a file from one of several addresses: resumed where it stopped, checked, and there entirely or not at all."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

_CHUNK = 1 << 16

#: Called with the bytes that are there, and with how many there will be, if the server says so.
Watch = Callable[[int, int | None], object]


class DownloadError(RuntimeError):
    """No address delivered the file; the text says what happened at each."""


def download(
    urls: Sequence[str],
    target: Path,
    verify: Callable[[Path], object],
    max_bytes: int,
    timeout: float = 30.0,
    hint: str = "",
    watch: Watch | None = None,
) -> None:
    """Fetch `target` from the first address whose file `verify` accepts; a target that is there already stays.

    The bytes go to `target` + '.part'. If the connection breaks, they stay there and the next attempt, in this call or
    a later one, asks for the rest. A complete file is flushed to the disk, goes through `verify`, and only then takes
    the name `target`. What verify refuses is deleted; had it been pieced together, the same address is asked once more
    from the start.

    urls: http(s) addresses, tried in turn. verify: raises ValueError for a wrong file.
    max_bytes: a longer answer is refused. timeout: seconds without any answer. hint: what to do instead, for the error.
    watch: told how much is there, as it comes.
    Raises DownloadError if no address delivers; OSError if the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_name(f".{target.name}.lock")):
        if target.exists():
            return  # another process was faster
        part = target.with_name(target.name + ".part")
        failures: list[str] = []
        for url in urls:
            if _fetch(url, part, verify, max_bytes, timeout, failures, watch):
                os.replace(part, target)
                _flush_folder(target.parent)
                return
    attempts = "\n".join(f"  {failure}" for failure in failures)
    raise DownloadError(f"could not download {target.name}:\n{attempts}" + (f"\n{hint}" if hint else ""))


def _fetch(
    url: str,
    part: Path,
    verify: Callable[[Path], object],
    max_bytes: int,
    timeout: float,
    failures: list[str],
    watch: Watch | None,
) -> bool:
    """At most two attempts at one address: the second goes on where the first broke off, or starts from nothing."""
    for _ in range(2):
        before = part.stat().st_size if part.exists() else 0
        try:
            resumed = _receive(url, part, max_bytes, timeout, watch)
        except _WrongAnswer as error:
            failures.append(f"{url}: {error}")
            return False
        except _BrokenOff as error:
            failures.append(f"{url}: {error}")
            if part.stat().st_size > before:
                continue
            return False
        try:
            verify(part)
            return True
        except ValueError as error:
            failures.append(f"{url}: {error}")
            part.unlink()
            if not resumed:
                return False
    return False


class _WrongAnswer(Exception):
    """The server answered, with something that cannot be used."""


class _BrokenOff(Exception):
    """The connection failed, at once or on the way. Errors of the disk are not among these."""


def _receive(url: str, part: Path, max_bytes: int, timeout: float, watch: Watch | None) -> bool:
    """Bring `part` to its full length; returns whether it was pieced together from two answers."""
    with part.open("ab") as file:
        have = file.seek(0, os.SEEK_END)
        headers = {"User-Agent": "tensorgrad", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and have:
                    return True  # nothing after what we have: it is complete, or verify will find out
                raise _WrongAnswer(f"the server answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOff(str(getattr(error, "reason", error))) from error
        with answer:
            if have and not _continues(answer, have):
                file.truncate(0)  # the server sends the whole file
                have = 0
            _store(answer, file, have, max_bytes, watch)
            file.flush()
            os.fsync(file.fileno())
    return have > 0


def _continues(answer: http.client.HTTPResponse, have: int) -> bool:
    """Whether the answer is the part that begins at byte `have`."""
    if answer.status != 206:
        return False
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != have:
        raise _WrongAnswer(
            f"asked for the bytes from {have}, got Content-Range {answer.headers.get('Content-Range')!r}"
        )
    return True


def _store(answer: http.client.HTTPResponse, file: IO[bytes], have: int, max_bytes: int, watch: Watch | None) -> None:
    length = answer.headers.get("Content-Length")
    expected = have + int(length) if length is not None and length.isdigit() else None
    if expected is not None and expected > max_bytes:
        raise _WrongAnswer(f"announces {expected} bytes; at most {max_bytes} are accepted")
    while chunk := _read(answer):
        have += len(chunk)
        if have > max_bytes:
            file.truncate(0)
            raise _WrongAnswer(f"sends more than the {max_bytes} bytes that are accepted")
        file.write(chunk)
        if watch is not None:
            watch(have, expected)
    if expected is not None and have < expected:
        raise _BrokenOff(f"the connection ended after {have} of {expected} bytes")


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOff(f"the connection broke ({error})") from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold `path` locked, waiting for another process that does; the system lets go of it however a process ends."""
    with path.open("a+b") as file:
        _acquire(file)
        yield


def _acquire(file: IO[bytes]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
                return
            except OSError as error:
                if error.errno != errno.EDEADLK:  # what it raises after ten seconds of waiting
                    raise
    fcntl.flock(file, fcntl.LOCK_EX)


def _flush_folder(folder: Path) -> None:
    """Make a renaming last through a power cut, where the system lets a folder be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
