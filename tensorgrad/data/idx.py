"""Reader of IDX files, the format of MNIST, plain or gzipped.

Layout: two zero bytes, a byte for the type of the numbers, a byte for how many dimensions, the dimensions as 32-bit
big-endian integers, then the numbers, big-endian, last dimension fastest. (Y. LeCun, C. Cortes, C. Burges: The MNIST
database of handwritten digits, section on file formats.)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from tensorgrad.io.opening import opened

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 32  # of a NumPy array before version 2
_CHUNK = 1 << 20
_ROOM = 16 << 20  # bytes that any gzipped file may unpack to
_MOST_PACKED = 50  # and beyond that, how many times its size; MNIST's labels pack to half, its images to a fifth


class IdxError(ValueError):
    """A file that is not what it should be; the text names the file, what it has and what it needs."""


def read_idx(path: str | Path, max_bytes: int = 1 << 31, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file into a NumPy array in the machine's own byte order.

    path: the file, plain or gzipped (told by its first bytes, not by its name).
    max_bytes: most bytes of numbers to accept. No more than this, and no more than the file really has, is ever held
        in memory, whatever the header or a gzip stream claims; a gzipped file may have 16 MB or 50 times its size.
    sha256: digest that the uncompressed bytes must have.

    Raises IdxError if the header is wrong, if the file holds fewer or more bytes than the header declares, or if the
    digest differs.
    """
    path = Path(path)
    with opened(path) as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            return _read(raw, path, max_bytes, sha256)
        try:
            size = raw.seek(0, io.SEEK_END)
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as unzipped:
                return _read(unzipped, path, min(max_bytes, max(_ROOM, _MOST_PACKED * size)), sha256)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise IdxError(f"{path}: the gzip stream is damaged or cut off ({error}); fetch the file again") from error


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, max_bytes: int, sha256: str | None) -> np.ndarray:
    header = _take(file, 4)
    if len(header) < 4:
        raise IdxError(f"{path}: has {len(header)} bytes; an IDX header needs at least 4")
    zeros, code, dimensions = struct.unpack(">HBB", header)
    if zeros != 0 or code not in DTYPES:
        raise IdxError(
            f"{path}: begins with {header.hex(' ')}; an IDX file begins with 00 00, then a type "
            f"({', '.join(f'{known:02x}' for known in DTYPES)}), then the number of dimensions"
        )
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise IdxError(f"{path}: declares {dimensions} dimensions; needed 1 to {MAX_DIMENSIONS}")
    sizes = _take(file, 4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise IdxError(f"{path}: ends within its header: {4 + len(sizes)} bytes, needed {4 + 4 * dimensions}")
    shape = struct.unpack(f">{dimensions}I", sizes)
    dtype = np.dtype(DTYPES[code])
    declared = math.prod(shape) * dtype.itemsize
    if declared > max_bytes:
        raise IdxError(
            f"{path}: declares shape {shape} of {dtype.name}, {declared} bytes; at most {max_bytes} are accepted"
        )

    numbers = _take(file, declared)
    if len(numbers) < declared:
        raise IdxError(
            f"{path}: holds {len(numbers)} bytes of numbers; its shape {shape} of {dtype.name} needs {declared}"
        )
    if file.read(1):
        raise IdxError(f"{path}: goes on after the {declared} bytes that its shape {shape} of {dtype.name} needs")
    if sha256 is not None:
        digest = hashlib.sha256(header + sizes)
        digest.update(numbers)
        if digest.hexdigest() != sha256:
            raise IdxError(f"{path}: sha256 of the uncompressed bytes is {digest.hexdigest()}, needed {sha256}")
    try:
        array = np.frombuffer(numbers, dtype).reshape(shape)  # writable: a bytearray is its memory
    except ValueError as error:  # a 0 among sizes whose product NumPy cannot count
        raise IdxError(f"{path}: declares shape {shape}, which no array has ({error})") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _take(file: IO[bytes] | gzip.GzipFile, size: int) -> bytearray:
    """Up to `size` bytes. Memory grows with what really arrives, not with what was declared."""
    taken = bytearray()
    while len(taken) < size:
        chunk = file.read(min(_CHUNK, size - len(taken)))
        if not chunk:
            break
        taken += chunk
    return taken
