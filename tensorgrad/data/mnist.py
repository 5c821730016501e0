"""MNIST, Fashion-MNIST and Kuzushiji-MNIST: 60,000 training and 10,000 test images of 28x28 pixels in ten classes.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition, Proceedings of the
IEEE 86 (11), 1998. H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms, arXiv:1708.07747, 2017 (MIT licence). T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb,
K. Yamamoto, D. Ha: Deep Learning for Classical Japanese Literature, arXiv:1812.01718, 2018 (CC BY-SA 4.0).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tensorgrad.data.dataset import ImageDataset
from tensorgrad.data.download import download
from tensorgrad.data.idx import IdxError, read_idx

ENVIRONMENT = "TENSORGRAD_DATA"
_MAX_DOWNLOAD = 64 << 20  # the largest of the files has 26 MB


class MNIST(ImageDataset):
    """Handwritten digits: images (1, 28, 28) of uint8, and their class, 0 to 9.

    root: folder with the four IDX files, gzipped or plain, or with a subfolder that holds them ('mnist', or 'MNIST/raw'
        as torchvision leaves it). Without it, the folder that TENSORGRAD_DATA names, or else the user's cache.
    train: the 60,000 training images, or else the 10,000 test images.
    download: fetch into the subfolder what is not there.
    transform: applied to the image; see `tensorgrad.data.transforms`.

    The sha256 of each file's uncompressed bytes is checked whenever it is read. Raises FileNotFoundError where files
    are missing, DownloadError where they cannot be fetched, IdxError for a wrong or damaged file.
    """

    folder = "mnist"
    torchvision_folder = "MNIST/raw"
    classes: Sequence[str] = tuple("0123456789")
    mirrors: Sequence[str] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    # file -> sha256 of its uncompressed bytes; None where only the gzipped file's md5 is known
    digests: ClassVar[Mapping[str, str | None]] = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    # file -> md5 of the gzipped file as it is published, checked after downloading
    gzipped_md5: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        root: str | Path | None = None,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ) -> None:
        part = "train" if train else "t10k"
        data = self._load(root, f"{part}-images-idx3-ubyte", download)
        targets = self._load(root, f"{part}-labels-idx1-ubyte", download)
        if data.shape[1:] != (28, 28) or targets.shape != data.shape[:1] or (targets >= len(self.classes)).any():
            raise IdxError(
                f"{type(self).__name__}: images of shape {data.shape} and labels of shape {targets.shape}, up to "
                f"{targets.max(initial=0)}; it needs (N, 28, 28), (N,) and labels below {len(self.classes)}"
            )
        super().__init__(data, targets, transform, target_transform)
        self.train = train

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def _load(self, root: str | Path | None, name: str, may_download: bool) -> np.ndarray:
        base = data_folder(root)
        path = self._find(base, name)
        if path is None:
            if not may_download:
                raise FileNotFoundError(
                    f"{type(self).__name__}: {name}.gz is neither in {base} nor in {base / self.folder}; "
                    f"use download=True, or {self._remedy()}"
                )
            path = base / self.folder / f"{name}.gz"
            download(
                [mirror + path.name for mirror in self.mirrors],
                path,
                verify=lambda part: self._verify(part, name),
                max_bytes=_MAX_DOWNLOAD,
                hint=f"Without a connection, {self._remedy()}.",
            )
        try:
            return self._read(path, name)
        except IdxError as error:
            raise IdxError(f"{type(self).__name__}: {error}. Delete the file, then use download=True") from error

    def _find(self, base: Path, name: str) -> Path | None:
        for folder in (base / self.folder, base, base / self.torchvision_folder):
            for path in (folder / f"{name}.gz", folder / name):
                if path.is_file():
                    return path
        return None

    def _verify(self, path: Path, name: str) -> None:
        if name in self.gzipped_md5:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            if digest != self.gzipped_md5[name]:
                raise IdxError(f"{path}: md5 is {digest}, needed {self.gzipped_md5[name]}")
        self._read(path, name)

    def _read(self, path: Path, name: str) -> np.ndarray:
        return read_idx(path, max_bytes=60_000 * 28 * 28, sha256=self.digests[name])

    def _remedy(self) -> str:
        return (
            f"put the files {', '.join(f'{name}.gz' for name in self.digests)} into a folder and name it by root= "
            f"(--data-dir on the command line) or by the environment variable {ENVIRONMENT}"
        )


class FashionMNIST(MNIST):
    """Pictures of clothes in the format of MNIST, and harder; arguments as there.

    The subfolder is 'fashion-mnist', or 'FashionMNIST/raw' as torchvision leaves it.
    """

    folder = "fashion-mnist"
    torchvision_folder = "FashionMNIST/raw"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    mirrors = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        # The authors' own address, which speaks plain http only: the digest is what vouches for the bytes.
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    digests: ClassVar[Mapping[str, str | None]] = {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }


class KMNIST(MNIST):
    """Characters of old Japanese script, ten classes, in the format of MNIST; arguments as there.

    The subfolder is 'kmnist', or 'KMNIST/raw' as torchvision leaves it. The address speaks plain http only: the md5 of the
    gzipped files, as published with the set, vouches for what was downloaded. Files put there otherwise are checked for
    their form alone.
    """

    folder = "kmnist"
    torchvision_folder = "KMNIST/raw"
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    gzipped_md5: ClassVar[Mapping[str, str]] = {
        "train-images-idx3-ubyte": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte": "7320c461ea6c1c855c0b718fb2a4b134",
    }
    digests: ClassVar[Mapping[str, str | None]] = dict.fromkeys(gzipped_md5)


def data_folder(root: str | Path | None = None) -> Path:
    """Where datasets are looked for: `root`, or else TENSORGRAD_DATA, or else a folder in the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tensorgrad"
