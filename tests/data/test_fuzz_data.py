"""The readers of data sets and pictures on files made to break them: a value or an error of their own, no time, no memory.

As tests/io/test_fuzz.py does for weights; IDX is there.
"""

import functools
import io
import struct
import tarfile
import tracemalloc
import zipfile
from typing import ClassVar

import damage
import numpy as np
import pytest

from tensorgrad.data import CIFAR10, CIFAR100, CifarError, ImageFolder, PictureError, idx
from tensorgrad.data.idx import IdxError, read_idx
from tensorgrad.data.pictures import MAX_SCANS, ROOM, read_picture

RANDOM = np.random.default_rng(0)


class Small(CIFAR10):
    """CIFAR-10's arrangement with one file of two records."""

    train_files = test_files = ("data_batch_1.bin",)
    records: ClassVar = {"data_batch_1.bin": 2}


class Small100(CIFAR100):
    """CIFAR-100's arrangement with two records."""

    records: ClassVar = {"train.bin": 2, "test.bin": 2}


def archive(name, content, form="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=form) as file:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


RECORDS = b"\3" + bytes(range(256)) * 12 + b"\7" + bytes(range(255, -1, -1)) * 12
RECORDS_100 = b"\3\x30" + bytes(range(256)) * 12 + b"\7\x31" + bytes(range(255, -1, -1)) * 12
CIFAR = {
    "CIFAR-10, archive": (Small, Small.archive, archive("folder/data_batch_1.bin", RECORDS)),
    "CIFAR-10, a file": (Small, "data_batch_1.bin", RECORDS),
    "CIFAR-100, archive": (Small100, Small100.archive, archive("folder/train.bin", RECORDS_100)),
}
# how the pictures are written; where no library is needed to write one, the bytes
PICTURES = {
    "PNG": {"format": "PNG"},
    "PNG of a palette": {"format": "PNG", "mode": "P"},
    "PNG with transparency": {"format": "PNG", "mode": "RGBA"},
    "JPEG": {"format": "JPEG"},
    "JPEG, progressive": {"format": "JPEG", "progressive": True},
    "BMP": {"format": "BMP"},
    "PPM": {"format": "PPM"},
    "TIFF": {"format": "TIFF"},
    "TIFF, LZW": {"format": "TIFF", "compression": "tiff_lzw"},
    "TIFF, deflate": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "WebP": {"format": "WEBP"},
    "WebP, lossless": {"format": "WEBP", "lossless": True},
}
KINDS = (*CIFAR, *PICTURES, "pictures in a zip archive")
NEED_ALL = ("CIFAR-10, a file", "PPM", "pictures in a zip archive")  # of the others the last bytes say nothing new


@functools.cache
def picture(kind="PNG"):
    image_module = pytest.importorskip("PIL.Image")
    options = dict(PICTURES[kind])
    noise = np.random.default_rng(0)  # of its own: the files are the same whichever tests run, in whatever order
    image = image_module.fromarray(noise.integers(0, 256, (16, 20, 3)).astype(np.uint8))
    file = io.BytesIO()
    image.convert(options.pop("mode", "RGB")).save(file, **options)
    return file.getvalue()


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, kind in (("cat/1.png", "PNG"), ("dog/2.jpg", "JPEG")):
            info = zipfile.ZipInfo(name)  # its date is fixed
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, picture(kind))
    return file.getvalue()


def whole(kind):
    if kind in CIFAR:
        return CIFAR[kind][2]
    return picture(kind) if kind in PICTURES else zipped()


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """kind -> what reads such a file's bytes, as (bytes of pixels); None where the reader refuses."""
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(kind):
        def read(content):
            if kind in PICTURES:
                image = read_picture(io.BytesIO(content))
                return 3 * image.width * image.height
            if kind in CIFAR:
                dataset, name, _ = CIFAR[kind]
                (tmp_path / name).write_bytes(content)
                return dataset(tmp_path).data.nbytes
            (tmp_path / "x.zip").write_bytes(content)
            found = ImageFolder(tmp_path / "x.zip", allow_empty=True)
            return sum(3 * image.width * image.height for image, _ in (found[i] for i in range(len(found))))

        def refusing(content):
            try:
                return read(content)
            except (CifarError, PictureError, FileNotFoundError):  # the last: an archive without pictures
                return None

        return refusing

    return make


def most_of(data):
    """Bytes of pixels that may come out: what every file may have, and a multiple of what it is."""
    return max(3 * ROOM, 100 * len(data))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind, reader):
    assert damage.fuzz(reader(kind), whole(kind), 60, lambda found: found, most_of) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind, reader):
    assert damage.fuzz(reader(kind), whole(kind), 3000, lambda found: found, most_of) >= 3000


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of strange fields
@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_at_every_length_and_flipped_bits(kind, reader):
    content, read = whole(kind), reader(kind)
    assert read(content)
    for length in range(0, len(content), 1 + len(content) // 1500):
        found = read(content[:length])
        assert found is None or kind not in NEED_ALL, length
        assert found is None or length > len(content) // 4, length
    for position in range(0, len(content), 1 + len(content) // 300):
        for bit in (0, 3, 7):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            read(bytes(flipped))


# a few bytes that ask for very much


def big_webp(lossless, extended, width, height):
    """A WebP of a few bytes that says it has this size."""
    image_module = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image_module.new("RGB", (8, 8)).save(file, "WEBP", lossless=lossless)
    content = bytearray(file.getvalue())
    if extended:
        sizes = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        content[12:12] = b"VP8X" + struct.pack("<II", 10, 0) + sizes
        struct.pack_into("<I", content, 4, len(content) - 8)
    elif lossless:
        struct.pack_into("<I", content, content.index(b"VP8L") + 9, (width - 1) | (height - 1) << 14)
    else:
        struct.pack_into("<HH", content, content.index(b"\x9d\x01\x2a") + 3, width, height)
    return bytes(content)


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 26, 0x39393939])
def test_an_archive_that_claims_much_gets_little(reader, claimed):
    """zipfile makes room for what it is asked for, up to the size that the archive's own list claims."""
    content = bytearray(zipped())
    entry = content.rindex(b"PK\1\2")
    struct.pack_into("<II", content, entry + 20, claimed, claimed)
    tracemalloc.start()
    try:
        reader("pictures in a zip archive")(bytes(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.skipif(damage.peak_of_process() == 0, reason="this system does not tell the memory of a process")
@pytest.mark.parametrize("size", [(8000, 8000), (16383, 16383), (16383, 400)])
@pytest.mark.parametrize(
    ("lossless", "extended"), [(True, False), (False, False), (True, True)], ids=["lossless", "lossy", "extended"]
)
def test_a_webp_of_a_few_bytes_gets_no_gigabyte(lossless, extended, size):
    """Its reader asks for the memory of all pixels twice when the file is opened: 850 MB for 34 bytes."""
    content = big_webp(lossless, extended, *size)
    assert len(content) < 100
    before = damage.forget_peak()
    with pytest.raises(PictureError, match=rf"{size[0]} x {size[1]} pixels"):
        read_picture(io.BytesIO(content), name="big")
    assert damage.peak_of_process() - before < 20 << 20


def test_pixels_of_one_colour_are_read_where_they_are_few_or_the_file_is_not_tiny():
    image_module = pytest.importorskip("PIL.Image")
    for side, noise, fine in ((2000, 0, True), (2200, 0, False), (2200, 500, True)):
        image = image_module.new("RGB", (side, side))
        image.paste(image_module.fromarray(RANDOM.integers(0, 256, (noise, noise, 3)).astype(np.uint8)))
        file = io.BytesIO()
        image.save(file, "PNG")
        if fine:
            assert read_picture(io.BytesIO(file.getvalue())).size == (side, side)
        else:
            with pytest.raises(PictureError, match=r"pixels in \d+ bytes; at most 32 for each"):
                read_picture(io.BytesIO(file.getvalue()), name="plain")


def test_a_jpeg_of_very_many_scans():
    """Each of them a few bytes, and the work of a whole picture: minutes for a file of some megabytes."""
    content = picture("JPEG, progressive")
    scans = content[:-2].split(b"\xff\xda")
    assert len(scans) - 1 <= MAX_SCANS
    many = content[:-2] + (b"\xff\xda" + scans[-1]) * MAX_SCANS + b"\xff\xd9"
    with pytest.raises(PictureError, match=rf"has {len(scans) - 1 + MAX_SCANS} scans; at most {MAX_SCANS}"):
        read_picture(io.BytesIO(many), name="many")
    assert read_picture(io.BytesIO(content)).size == (20, 16)


def test_a_gzipped_idx_file_and_a_cifar_archive_of_zeros_are_no_bombs(tmp_path, monkeypatch, reader):
    """All zeros pack to a thousandth; beyond a little room, no more than fifty times the file is taken."""
    import gzip

    content = struct.pack(">HBBI", 0, 8, 1, 1 << 20) + bytes(1 << 20)
    (tmp_path / "zeros").write_bytes(gzip.compress(content))
    assert read_idx(tmp_path / "zeros").nbytes == 1 << 20
    monkeypatch.setattr(idx, "_ROOM", 1 << 10)
    with pytest.raises(IdxError, match=r"1048576 bytes; at most \d+ are accepted"):
        read_idx(tmp_path / "zeros")

    class Real(CIFAR10):
        train_files = test_files = ("data_batch_1.bin",)

    (tmp_path / Real.archive).write_bytes(archive("data_batch_1.bin", bytes(10_000 * 3073)))
    with pytest.raises(CifarError, match=r"with 30730000 inside, cannot be so small"):
        Real(tmp_path)
