"""MNIST and Fashion-MNIST: where the files are looked for, and the real ones where this machine has them."""

import gzip
import hashlib
import os
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tensorgrad.data import KMNIST, MNIST, DownloadError, FashionMNIST, IdxError, mnist
from tensorgrad.data.mnist import data_folder


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


class Small(MNIST):
    """Files of MNIST's names with 20 images, and their digests."""

    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    labels = (np.arange(20) % 10).astype(np.uint8)
    files: ClassVar = {
        "train-images-idx3-ubyte": idx(images),
        "train-labels-idx1-ubyte": idx(labels),
        "t10k-images-idx3-ubyte": idx(images[:5]),
        "t10k-labels-idx1-ubyte": idx(labels[:5]),
    }
    digests: ClassVar = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


@pytest.fixture
def no_folder(monkeypatch, tmp_path):
    """Neither the environment nor the cache of the machine that runs the tests plays a part."""
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return tmp_path


def store(folder, zipped=True):
    folder.mkdir(parents=True)
    for name, content in Small.files.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("subfolder", [".", "mnist", "MNIST/raw"])
def test_found_in_the_root_or_below(no_folder, subfolder, zipped):
    root = no_folder / "data"
    store(root / subfolder if subfolder != "." else root, zipped)
    train, test = Small(root), Small(root, train=False)
    assert (len(train), len(test)) == (20, 5)
    image, label = train[3]
    np.testing.assert_array_equal(image, Small.images[3][None])
    assert label == 3 and isinstance(label, int)
    assert train.classes[label] == "3"


def test_root_then_environment_then_cache(no_folder, monkeypatch):
    assert data_folder("~/x") == Path("~/x").expanduser()
    monkeypatch.setattr(mnist.sys, "platform", "linux")
    assert data_folder() == no_folder / "cache" / "tensorgrad"
    store(no_folder / "cache" / "tensorgrad" / "mnist")
    assert len(Small()) == 20
    monkeypatch.setenv("TENSORGRAD_DATA", str(no_folder / "named"))
    with pytest.raises(FileNotFoundError, match="named"):
        Small()
    store(no_folder / "named" / "mnist")
    assert len(Small()) == 20


def test_a_missing_file_says_what_to_do(no_folder):
    with pytest.raises(FileNotFoundError) as caught:
        FashionMNIST(no_folder)
    text = str(caught.value)
    for part in (
        "FashionMNIST",
        "train-images-idx3-ubyte.gz",
        str(no_folder),
        "download=True",
        "--data-dir",
        "TENSORGRAD_DATA",
    ):
        assert part in text


def test_a_wrong_file_is_refused(no_folder):
    store(no_folder / "mnist")
    path = no_folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(255 - Small.images)))
    with pytest.raises(IdxError, match=rf"(?s)Small: .*{path.name}: sha256.*Delete the file"):
        Small(no_folder)


def test_download_without_a_connection_says_what_to_do(no_folder):
    class Offline(Small):
        mirrors = ("http://127.0.0.1:9/",)  # the port that discards

    with pytest.raises(DownloadError) as caught:
        Offline(no_folder, download=True)
    assert "Without a connection" in str(caught.value) and "TENSORGRAD_DATA" in str(caught.value)
    assert not list(no_folder.rglob("*.gz"))


def test_download_fetches_checks_and_keeps(no_folder):
    source = no_folder / "server"
    store(source)

    class Local(Small):
        mirrors = ("file:///nowhere/", source.as_uri() + "/")

    # urllib reads file: addresses too; the server that misbehaves has a test of its own
    train = Local(no_folder / "data", download=True)
    np.testing.assert_array_equal(train.data, Small.images)
    assert (no_folder / "data" / "mnist" / "train-labels-idx1-ubyte.gz").exists()
    assert len(Local(no_folder / "data")) == 20


def real_data():
    named = os.environ.get("TENSORGRAD_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


# Counts of each class in the training set, as published with the sets.
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("kind, counts", [(MNIST, MNIST_COUNTS), (FashionMNIST, [6000] * 10)])
def test_the_real_files(kind, counts):
    root = real_data()
    if not (root / kind.folder).is_dir():
        pytest.skip(f"no {kind.folder} in {root}; name a folder that has it by TENSORGRAD_DATA")
    train, test = kind(root), kind(root, train=False)
    assert train.data.shape == (60_000, 28, 28) and test.data.shape == (10_000, 28, 28)
    assert np.bincount(train.targets).tolist() == counts
    assert test.data.dtype == np.uint8 and test.targets.dtype == np.int64


def test_arguments_come_in_torchvision_s_order(no_folder):
    store(no_folder / "mnist")
    data = Small(no_folder, False, lambda image: image + 1, str)
    image, label = data[2]
    assert len(data) == 5 and label == "2"
    np.testing.assert_array_equal(image, Small.images[2][None] + 1)
    assert data.class_to_idx["7"] == 7


class SmallKuzushiji(KMNIST):
    """Kuzushiji-MNIST's names, of which only the gzipped files' md5 is known, with Small's contents."""

    zipped: ClassVar = {name: gzip.compress(content, mtime=0) for name, content in Small.files.items()}
    gzipped_md5: ClassVar = {name: hashlib.md5(content).hexdigest() for name, content in zipped.items()}


def test_kmnist_checks_what_it_downloads_by_md5(no_folder):
    source = no_folder / "server"
    source.mkdir()
    for name, content in SmallKuzushiji.zipped.items():
        (source / f"{name}.gz").write_bytes(content)

    class Local(SmallKuzushiji):
        mirrors = (source.as_uri() + "/",)

    assert len(Local(no_folder / "data", download=True)) == 20
    assert (no_folder / "data" / "kmnist" / "train-labels-idx1-ubyte.gz").exists()
    (source / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(Small.labels[:5] + 1)))
    with pytest.raises(DownloadError, match="md5 is"):
        Local(no_folder / "data", train=False, download=True)


@pytest.mark.parametrize(
    "images, labels, text",
    [
        (Small.images[:, :27], Small.labels, r"\(20, 27, 28\)"),
        (Small.images, Small.labels[:19], r"\(19,\)"),
        (Small.images, Small.labels + 5, "up to 14"),
    ],
)
def test_kmnist_checks_the_form_of_what_it_finds(no_folder, images, labels, text):
    folder = no_folder / "KMNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(IdxError, match=text):
        KMNIST(no_folder)
