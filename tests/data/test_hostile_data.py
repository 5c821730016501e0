"""Pictures, archives and IDX files made to do harm in ways that damage at random does not find."""

import gzip
import io
import os
import struct
import tarfile
import time
import zlib
from typing import ClassVar

import damage
import numpy as np
import pytest

from tensorgrad.data import CIFAR10, CifarError, ImageFolder, PictureError
from tensorgrad.data.idx import IdxError, read_idx
from tensorgrad.data.pictures import read_picture

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")

# TIFF


def tiff(fields, data, order="<", big=False):
    """A TIFF of one directory: its fields are (tag, type, count, value), its numbers stand first."""
    head = 16 if big else 8
    entry, count, last = ("HHQQ", "Q", "Q") if big else ("HHII", "H", "I")
    start = {"<": b"II", ">": b"MM"}[order]
    if big:
        start += struct.pack(f"{order}HHHQ", 43, 8, 0, head + len(data))
    else:
        start += struct.pack(f"{order}HI", 42, head + len(data))
    directory = struct.pack(order + count, len(fields))
    for tag, kind, numbers, value in sorted(fields):
        if order == ">":
            value <<= 8 * ((8 if big else 4) - {3: 2, 4: 4}[kind])  # a number stands at the beginning of its place
        directory += struct.pack(order + entry, tag, kind, numbers, value)
    return start + data + directory + struct.pack(order + last, 0)


def squeezed(size):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def sixteen(compression=1):
    """The fields of a grey picture of 16 x 16."""
    return [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1), (277, 3, 1, 1)]


def tiled(side, order="<", big=False, data=None):
    data = squeezed(side * side) if data is None else data
    places = [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 16 if big else 8), (325, 4, 1, len(data))]
    return tiff(sixteen(8) + places, data, order, big)


@pytest.mark.skipif(damage.peak_of_process() == 0, reason="this system does not tell the memory of a process")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
def test_a_tile_is_not_larger_than_a_picture_may_be(order, big):
    """A tile is unpacked whole: 260 MB for a picture of 16 x 16 in 260 KB."""
    pytest.importorskip("PIL.Image")
    content = tiled(8192, order, big)
    before = damage.forget_peak()
    with pytest.raises(PictureError, match="8192 x 8192 pixels in"):
        read_picture(io.BytesIO(content), name="tiles")
    assert damage.peak_of_process() - before < 20 << 20
    if order == "<" or not big:  # Pillow does not know the fourth kind
        assert read_picture(io.BytesIO(tiled(1024, order, big))).size == (16, 16)


@pytest.mark.parametrize("count, fine", [(16, True), (1 << 10, True), (1 << 20, False)])
def test_fields_of_very_many_numbers(count, fine):
    """The places of two million strips took seven seconds and half a gigabyte."""
    pytest.importorskip("PIL.Image")
    places = struct.pack("<I", 8) * count
    content = tiff([*sixteen(), (278, 4, 1, 1), (273, 4, count, 8), (279, 4, count, 8)], places + bytes(4 * count))
    begun = time.process_time()
    if fine:
        assert read_picture(io.BytesIO(content)).size == (16, 16)
    else:
        with pytest.raises(PictureError, match=r"a field of 1048576 numbers"):
            read_picture(io.BytesIO(content), name="strips")
    assert time.process_time() - begun < 5


def test_a_text_in_a_tiff_may_be_long():
    pytest.importorskip("PIL.Image")
    fields = [*sixteen(), (278, 4, 1, 16), (273, 4, 1, 8), (279, 4, 1, 256), (270, 2, 1 << 17, 8)]
    assert read_picture(io.BytesIO(tiff(fields, bytes(1 << 17)))).size == (16, 16)


# PNG, and what is no picture


def png(chunks):
    header = (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    pixels = (b"IDAT", zlib.compress(bytes(17 * 16)))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in (header, *chunks, pixels, (b"IEND", b"")):
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))
    return b"".join(parts)


BOMB = squeezed(64 << 20)
CHUNKS = {
    "a packed text": [(b"zTXt", b"a\0\0" + BOMB)],
    "a packed text of Unicode": [(b"iTXt", b"a\0\1\0\0\0" + BOMB)],
    "a packed profile of colours": [(b"iCCP", b"a\0\0" + BOMB)],
    "many packed texts": [(b"zTXt", b"%d\0\0" % i + squeezed(1 << 20)) for i in range(100)],
}


@pytest.mark.parametrize("what", CHUNKS)
def test_what_is_packed_beside_the_pixels(what):
    pytest.importorskip("PIL.Image")
    before = damage.forget_peak()
    with pytest.raises(PictureError, match=r"large|memory"):
        read_picture(io.BytesIO(png(CHUNKS[what])), name="png")
    assert damage.peak_of_process() - before < 96 << 20


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(owned) (w) file\n"
OTHERS = {
    "PostScript": POSTSCRIPT,
    "PostScript from DOS": struct.pack("<7I", 0xC6D3D0C5, 30, len(POSTSCRIPT), 0, 0, 0, 0) + b"\0\0" + POSTSCRIPT,
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "a PDF": b"%PDF-1.4\n",
    "a GIF": b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
    "nothing": b"",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_formats_are_not_even_looked_at(tmp_path, monkeypatch, what):
    """Pillow's reader of PostScript starts another program."""
    image_module = pytest.importorskip("PIL.Image")
    image_module.init()  # every reader that Pillow has is there
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *arguments, **named: pytest.fail("a program was started"))
    (tmp_path / "x.png").write_bytes(OTHERS[what])
    with pytest.raises(PictureError, match="cannot identify image file"):
        read_picture(tmp_path / "x.png")


@posix
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    pytest.importorskip("PIL.Image")
    (tmp_path / "cat").mkdir()
    os.mkfifo(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").symlink_to("/dev/zero")
    found = ImageFolder(tmp_path)
    for index in range(2):
        with pytest.raises(PictureError, match=r"[ab]\.png: cannot be read .*a pipe, a socket or a device"):
            found[index]
        with pytest.raises(OSError, match="a pipe, a socket or a device"):
            read_idx(found.samples[index][0])


# archives of CIFAR


class Small(CIFAR10):
    """CIFAR-10's arrangement with one file of two records."""

    train_files = test_files = ("data_batch_1.bin",)
    records: ClassVar = {"data_batch_1.bin": 2}


def header(name, size, kind=b"0"):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def settings(**values):
    """A header of POSIX settings: records of '<their length> name=value'."""
    records = b""
    for name, value in values.items():
        body = f" {name.replace('__', '.')}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))  # its own digits count too
        records += str(length).encode() + body
    return header("settings", len(records), b"x") + records.ljust(-(-len(records) // 512) * 512, b"\0")


SPARSE = {"GNU__sparse__major": 1, "GNU__sparse__minor": 0, "GNU__sparse__realsize": 6146}
LONG_NAME = header("././@LongLink", 512, b"L") + b"a" * 512
TARS = {
    "settings behind settings": settings(path="a") * 2000 + header("x", 0),
    "names behind names": LONG_NAME * 2000 + header("x", 0),
    "a map without an end": settings(**SPARSE) + header("x", 512) + b"99999\n".ljust(512, b"1"),
    "a map of letters": settings(**SPARSE) + header("x", 512) + b"abc\n".ljust(512, b"1"),
    "an older map of letters": settings(GNU__sparse__map="a,b") + header("x", 0),
    "a size below zero": settings(size=-1024) + header("x", 0) + header("y", 0),
    "a size beyond all": settings(size="9" * 30) + header("x", 0),
}


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def write(content):
        (tmp_path / Small.archive).write_bytes(gzip.compress(content))
        return tmp_path

    return write


@pytest.mark.parametrize("what", TARS)
def test_archives_that_lead_their_reader_astray(archive, what):
    with pytest.raises(CifarError, match=r"the archive is damaged|has no data_batch|claims to hold more"):
        Small(archive(TARS[what]))


def test_a_sparse_file_is_read_as_what_it_stands_for(archive):
    """Two bytes of 6,146: at the beginning and at the end."""
    what = {"GNU__sparse__map": "0,1,6145,1", "GNU__sparse__size": 6146, "GNU__sparse__name": "data_batch_1.bin"}
    found = Small(archive(settings(**what) + header("x", 2) + b"\x01\x02".ljust(512, b"\0")))
    assert found.targets.tolist() == [1, 0]
    assert (found.data[1, 2, 31, 31], found.data.astype(int).sum()) == (2, 2)


# IDX


@pytest.mark.parametrize(
    "second, fine", [(bytes(4), True), (bytes(5), False), (bytes(3), False)], ids=["whole", "more", "less"]
)
def test_an_idx_file_of_two_gzip_streams_is_one_file(tmp_path, second, fine):
    (tmp_path / "a").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 4)) + gzip.compress(second))
    if fine:
        np.testing.assert_array_equal(read_idx(tmp_path / "a"), [0, 0, 0, 0])
    else:
        with pytest.raises(IdxError, match=r"goes on after|holds 3 bytes"):
            read_idx(tmp_path / "a")
