"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels in colour.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009. What is read is the binary version: records
of the label bytes and then 3072 bytes, red, green and blue, each row by row. The Python version is a pickle, which runs
whatever it says when it is opened; it is never opened here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from tensorgrad.data.dataset import ImageDataset
from tensorgrad.data.download import download
from tensorgrad.data.mnist import ENVIRONMENT, data_folder

_PIXELS = 3 * 32 * 32
_MAX_DOWNLOAD = 256 << 20  # the archives have 170 MB
_MAX_UNPACKED = 512 << 20  # of all that an archive may claim to hold
_MAX_MEMBERS = 64
_ROOM = 16 << 20  # bytes that are taken out of any archive
_MOST_PACKED = 50  # and beyond that, how many times its size; the real ones pack to nine tenths
_CHUNK = 1 << 20


# the ways in which tarfile fails on archives that are damaged, or made to fail it: headers behind headers without end, maps of
# sparse files that make no sense
_TAR_ERRORS = (
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
    struct.error,
)


class CifarError(ValueError):
    """A file that is not what it should be; the text names the file, what it has and what it needs."""


class CIFAR10(ImageDataset):
    """Photographs of ten things: images (3, 32, 32) of uint8, and their class, 0 to 9.

    root: folder with cifar-10-binary.tar.gz, or with what is in it, in its own folder cifar-10-batches-bin or without.
        Without root, the folder that TENSORGRAD_DATA names, or else the user's cache. A subfolder 'cifar-10' does too.
    train: the 50,000 training images, or else the 10,000 test images.
    transform: applied to the image; see `tensorgrad.data.transforms`. download: fetch the archive if it is not there.

    The archive is not unpacked: its files are read by their names and known sizes, whatever else it holds. Its md5, as
    published with the set, is checked after downloading. Raises FileNotFoundError where files are missing, DownloadError
    where they cannot be fetched, CifarError for a wrong or damaged file.
    """

    folder = "cifar-10"
    base_folder = "cifar-10-batches-bin"
    archive = "cifar-10-binary.tar.gz"
    mirrors: Sequence[str] = ("https://www.cs.toronto.edu/~kriz/",)
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    train_files: Sequence[str] = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
    test_files: Sequence[str] = ("test_batch.bin",)
    records: ClassVar[Mapping[str, int]] = dict.fromkeys((*train_files, *test_files), 10000)
    label_bytes = 1
    classes: Sequence[str] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    def __init__(
        self,
        root: str | Path | None = None,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ) -> None:
        names = self.train_files if train else self.test_files
        contents = self._contents(data_folder(root), names, download)
        record = self.label_bytes + _PIXELS
        table = np.frombuffer(b"".join(contents[name] for name in names), np.uint8).reshape(-1, record)
        targets = table[:, self.label_bytes - 1]  # of two labels the second is the fine one
        if targets.size and targets.max() >= len(self.classes):
            wrong = int(np.argmax(targets >= len(self.classes)))
            raise CifarError(
                f"{type(self).__name__}: record {wrong} has the label {targets[wrong]}; there are {len(self.classes)} "
                "classes. The files are damaged: delete them, then use download=True"
            )
        data = table[:, self.label_bytes :].reshape(-1, 3, 32, 32).copy()
        super().__init__(data, targets, transform, target_transform)
        self.train = train

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def _contents(self, base: Path, names: Sequence[str], may_download: bool) -> dict[str, bytes]:
        """The bytes of each file: from a folder that has them all, or else from the archive."""
        sizes = {name: self.records[name] * (self.label_bytes + _PIXELS) for name in names}
        for folder in (base / self.folder / self.base_folder, base / self.base_folder, base / self.folder, base):
            if all((folder / name).is_file() for name in names):
                return {name: self._read_file(folder / name, size) for name, size in sizes.items()}
        for folder in (base / self.folder, base):
            if (folder / self.archive).is_file():
                return self._read_archive(folder / self.archive, sizes)
        if not may_download:
            raise FileNotFoundError(
                f"{type(self).__name__}: {self.archive} is neither in {base} nor in {base / self.folder}; use "
                f"download=True, or {self._remedy()}"
            )
        target = base / self.folder / self.archive
        download(
            [mirror + self.archive for mirror in self.mirrors],
            target,
            verify=self._verify,
            max_bytes=_MAX_DOWNLOAD,
            hint=f"Without a connection, {self._remedy()}.",
        )
        return self._read_archive(target, sizes)

    def _remedy(self) -> str:
        return (
            f"put {self.archive} (not the Python version, a pickle, which could run anything) into a folder and name it "
            f"by root= (--data-dir on the command line) or by the environment variable {ENVIRONMENT}"
        )

    def _verify(self, path: Path) -> None:
        digest = hashlib.md5(usedforsecurity=False)  # what was published with the set
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != self.md5:
            raise CifarError(f"{path}: md5 is {digest.hexdigest()}, needed {self.md5}")

    def _read_file(self, path: Path, size: int) -> bytes:
        with path.open("rb") as file:
            return _take(file, size, str(path))

    def _read_archive(self, path: Path, sizes: Mapping[str, int]) -> dict[str, bytes]:
        """The files of these names and sizes, wherever in the archive they lie. Nothing is written to the disk."""
        found: dict[str, bytes] = {}
        unpacked = 0
        needed, size = sum(sizes.values()), path.stat().st_size
        if needed > max(_ROOM, _MOST_PACKED * size):
            raise CifarError(f"{path}: has {size} bytes; {self.archive}, with {needed} inside, cannot be so small")
        try:
            with gzip.open(path, "rb") as stream, tarfile.open(fileobj=_Sips(stream), mode="r:") as archive:  # type: ignore[call-overload]
                for number, member in enumerate(archive):
                    unpacked += max(member.size, 0)
                    if unpacked > _MAX_UNPACKED or number >= _MAX_MEMBERS:
                        raise CifarError(
                            f"{path}: claims to hold more than {_MAX_MEMBERS} files or {_MAX_UNPACKED} bytes"
                        )
                    name = member.name.rpartition("/")[2]
                    if name in sizes and name not in found and member.isfile():
                        file = archive.extractfile(member)
                        assert file is not None, "a regular file has contents"
                        found[name] = _take(file, sizes[name], f"{path}: {member.name}")
                    if len(found) == len(sizes):
                        return found
        except CifarError:
            raise
        except _TAR_ERRORS as error:
            raise CifarError(
                f"{path}: the archive is damaged or cut off ({error}). Delete the file, then use download=True"
            ) from error
        missing = sorted(set(sizes) - set(found))
        raise CifarError(f"{path}: has no {', '.join(missing)}; it is not {self.archive}")


class CIFAR100(CIFAR10):
    """Photographs of a hundred things, 600 of each; arguments as for CIFAR10. The labels are the hundred fine ones."""

    folder = "cifar-100"
    base_folder = "cifar-100-binary"
    archive = "cifar-100-binary.tar.gz"
    md5 = "03b5dce01913d631647c71ecec9e9cb8"
    train_files = ("train.bin",)
    test_files = ("test.bin",)
    records: ClassVar[Mapping[str, int]] = {"train.bin": 50_000, "test.bin": 10_000}
    label_bytes = 2  # one of the twenty coarse classes, and the fine one
    classes = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
        "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    )  # fmt: skip


class _Sips:
    """A file that refuses to give much without a seek. tarfile believes what an archive says of the length of a name,
    and reads it at one go or, in newer Pythons, in pieces one after the other; it seeks before every file's header and
    before each piece of contents."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._read = 0  # bytes since the last seek
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._read = 0
        place: int = self._file.seek(offset, whence)
        return place

    def read(self, size: int = -1) -> bytes:
        if size < 0 or self._read + size > 2 * _CHUNK:
            raise tarfile.ReadError(f"a header of {self._read + size} bytes or more")
        self._read += size
        content: bytes = self._file.read(size)
        return content


def _take(file: IO[bytes], size: int, name: str) -> bytes:
    """Exactly `size` bytes, which must be all there are. Memory grows with what arrives."""
    taken = bytearray()
    while len(taken) < size:
        chunk = file.read(min(_CHUNK, size - len(taken)))
        if not chunk:
            raise CifarError(f"{name}: ends after {len(taken)} of {size} bytes; it is cut off, fetch it again")
        taken += chunk
    if file.read(1):
        raise CifarError(f"{name}: goes on after the {size} bytes that its records have; it is not what it should be")
    return bytes(taken)
