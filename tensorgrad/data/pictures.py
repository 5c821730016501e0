"""Reading image files by Pillow, from a folder or a zip archive, with nothing trusted that they claim."""

from __future__ import annotations

import errno
import io
import lzma
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from tensorgrad.data.transforms import pillow
from tensorgrad.io.opening import opened

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# the readers that those files need, and no others: some of Pillow's start programs
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 1 << 26  # 67 million, 200 MB in colour
# A few bytes can claim millions of pixels of one colour, and get them: so many are given to every file, 2048 x 2048, and
# beyond them only so many for each of its bytes. A photograph has less than ten, a drawing less than twenty.
ROOM = 1 << 22
PIXELS_PER_BYTE = 32
MAX_SCANS = 100  # of a JPEG, each of which goes over all the pixels again; a progressive one has ten or so
# numbers in a field of a TIFF: of its strips or tiles, say, each of which takes Pillow memory and time
MAX_FIELD = 1 << 16
MAX_FILE_BYTES = 64 << 20
_CHUNK = 1 << 20
# the ways in which zipfile fails on archives that are damaged, or made to fail it
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OverflowError,
    LookupError,
)


class PictureError(OSError):
    """An image file that cannot be read; the text names the file and says why."""


def read_picture(path: str | Path | IO[bytes], mode: str | None = "RGB", name: str | None = None) -> Any:
    """Read an image file as a Pillow image.

    path: the file, or one that is open. mode: Pillow's, to convert to; None leaves it. name: of an open file, for errors.
    Raises FileNotFoundError, and PictureError for a file that is no image, is damaged or cut off, or claims to have
    more than `MAX_PIXELS` pixels, or more than `ROOM` and yet more than `PIXELS_PER_BYTE` for each byte it has.
    """
    image_module = pillow.library()
    where = str(path) if name is None else name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", image_module.DecompressionBombWarning)  # our own limit is the stricter one
        file: Any = _opened(path) if isinstance(path, (str, Path)) else path
        with file:
            try:
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
                _check_pixels(*_webp_size(file.read(30)), size)  # Pillow would ask for their memory on opening already
                file.seek(0)
                _check_pixels(*_tiff_tile(file), size)
                file.seek(0)
                image = image_module.open(file, formats=_FORMATS)
                _check_pixels(image.width, image.height, size)
                if image.format in ("JPEG", "MPO"):
                    _check_scans(file)
                image.load()
                return image if mode is None or image.mode == mode else image.convert(mode)
            except MemoryError:
                raise
            except Exception as error:  # a reader fails in many ways on a file made to fail it
                raise PictureError(f"{where}: cannot be read as an image ({error or type(error).__name__})") from error


def _opened(path: str | Path) -> IO[bytes]:
    try:
        return opened(path)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise PictureError(f"{path}: cannot be read as an image ({error.strerror})") from error


def _check_pixels(width: int, height: int, size: int) -> None:
    """Refuse a file of `size` bytes that claims more pixels than such a file should have."""
    pixels = width * height
    if pixels > MAX_PIXELS:
        raise PictureError(f"has {width} x {height} pixels; at most {MAX_PIXELS} are accepted")
    if pixels > max(ROOM, PIXELS_PER_BYTE * size):
        raise PictureError(
            f"has {width} x {height} pixels in {size} bytes; at most {PIXELS_PER_BYTE} for each byte are accepted; save it "
            "with less compression, or smaller"
        )


def _webp_size(start: bytes) -> tuple[int, int]:
    """(width, height) that a WebP file begins by telling; (0, 0) for other files. (RFC 9649, sections 2.5 to 2.7.)"""
    if len(start) < 30 or start[:4] != b"RIFF" or start[8:12] != b"WEBP":
        return 0, 0
    if start[12:16] == b"VP8X":
        return 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    if start[12:16] == b"VP8L":  # 14 bits each, behind a byte of signature
        sizes = int.from_bytes(start[21:25], "little")
        return 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF)
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def _tiff_tile(file: IO[bytes]) -> tuple[int, int]:
    """(width, height) of the tiles that a TIFF is made of, each of which is unpacked whole, however small the picture is;
    (0, 0) where there are none. Refuses fields of very many numbers. (TIFF, revision 6.0, Adobe 1992, sections 2 and 15.)"""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 16:
        return 0, 0
    version, first, first_of_big = struct.unpack(f"{order}HIQ", start[2:8] + start[8:16])
    count, entry = {42: ("H", "HHI4s"), 43: ("Q", "HHQ8s")}.get(version, ("", ""))
    if not count:
        return 0, 0
    file.seek(min(first_of_big if version == 43 else first, 1 << 62))
    size = struct.calcsize(f"={count}")
    (fields,) = struct.unpack(f"{order}{count}", file.read(size).ljust(size, b"\0"))
    length = struct.calcsize(f"={entry}")
    table = file.read(length * min(fields, MAX_FIELD))
    tile = {322: 0, 323: 0}
    for at in range(0, len(table) - length + 1, length):
        tag, kind, numbers, value = struct.unpack_from(f"{order}{entry}", table, at)
        if numbers > MAX_FIELD and kind not in (1, 2, 6, 7):  # bytes and texts are read at once
            raise PictureError(f"has a field of {numbers} numbers; at most {MAX_FIELD} are accepted")
        if tag in tile:
            (tile[tag],) = struct.unpack_from(order + {3: "H", 16: "Q"}.get(kind, "I"), value.ljust(8, b"\0"))
    return tile[322], tile[323]


def _check_scans(file: IO[bytes]) -> None:
    """Refuse a JPEG of very many scans, which are a few bytes each and take the time of a whole picture."""
    here = file.tell()
    file.seek(0)
    scans, last = 0, b""
    while chunk := file.read(_CHUNK):
        scans += (last + chunk).count(b"\xff\xda")  # in the pixels' own bytes a 0 follows each 255
        last = chunk[-1:]
    file.seek(here)
    if scans > MAX_SCANS:
        raise PictureError(f"has {scans} scans; at most {MAX_SCANS} are accepted")


class Archive:
    """The files of a zip archive, read by name.

    A copy, and a worker process, opens the archive anew: a forked one would share the place in the file with its parent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._process = 0

    def _opened(self) -> zipfile.ZipFile:
        if self._process != os.getpid():
            self.close()
        if self._zip is None:
            self._process = os.getpid()
            try:
                self._zip = zipfile.ZipFile(self.path)
            except _ZIP_ERRORS as error:
                raise PictureError(f"{self.path}: is no zip archive, or a damaged one ({error})") from error
        return self._zip

    def __copy__(self) -> Archive:
        return Archive(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_zip": None, "_process": 0}

    def names(self) -> list[str]:
        """Of all files, sorted."""
        return sorted(name for name in self._opened().namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        """The bytes of one file. No more memory is taken than MAX_FILE_BYTES, whatever the archive claims."""
        content = bytearray()
        try:
            with self._opened().open(name) as file:
                # in pieces: asked for more at once, it makes room for as much as the archive claims to hold
                while len(content) <= MAX_FILE_BYTES and (piece := file.read(_CHUNK)):
                    content += piece
        except _ZIP_ERRORS as error:
            raise PictureError(f"{self.path}: {name} is damaged or packed in an unknown way ({error})") from error
        if len(content) > MAX_FILE_BYTES:
            raise PictureError(f"{self.path}: {name} has more than {MAX_FILE_BYTES} bytes")
        return bytes(content)

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def __del__(self) -> None:
        self.close()


def picture_in(content: bytes, name: str) -> Any:
    """The Pillow image, in colour, in the bytes of a file."""
    return read_picture(io.BytesIO(content), name=name)
