"""CIFAR's binary files: where they are looked for, and what of a hostile or damaged one is believed."""

import gzip
import io
import os
import tarfile
import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorgrad.data import CIFAR10, CIFAR100, CifarError, DownloadError

RNG = np.random.default_rng(0)


def records(count, label_bytes=1, classes=10):
    table = RNG.integers(0, 256, (count, label_bytes + 3072)).astype(np.uint8)
    table[:, :label_bytes] %= classes
    return table


class Small(CIFAR10):
    """CIFAR-10's arrangement with three records a file."""

    tables: ClassVar = {name: records(3) for name in (*CIFAR10.train_files, *CIFAR10.test_files)}
    records: ClassVar = dict.fromkeys(tables, 3)


class Small100(CIFAR100):
    tables: ClassVar = {"train.bin": records(5, 2, 100), "test.bin": records(2, 2, 100)}
    records: ClassVar = {"train.bin": 5, "test.bin": 2}


def tar(members):
    """A tar.gz of (name, content) pairs; a content of None makes a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archive_of(kind):
    return tar([(f"{kind.base_folder}/{name}", table.tobytes()) for name, table in kind.tables.items()])


@pytest.fixture(autouse=True)
def no_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", [Small, Small100])
@pytest.mark.parametrize("form", ["archive", "archive below", "unpacked", "files"])
def test_found_and_read(tmp_path, kind, form):
    if form.startswith("archive"):
        folder = tmp_path / kind.folder if form == "archive below" else tmp_path
        folder.mkdir(exist_ok=True)
        (folder / kind.archive).write_bytes(archive_of(kind))
    else:
        folder = tmp_path / kind.base_folder if form == "unpacked" else tmp_path
        folder.mkdir(exist_ok=True)
        for name, table in kind.tables.items():
            (folder / name).write_bytes(table.tobytes())
    for train, names in ((True, kind.train_files), (False, kind.test_files)):
        data = kind(tmp_path, train=train)
        table = np.concatenate([kind.tables[name] for name in names])
        np.testing.assert_array_equal(data.data, table[:, kind.label_bytes :].reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(data.targets, table[:, kind.label_bytes - 1])
        image, label = data[1]
        assert (
            image.shape == (3, 32, 32)
            and image.dtype == np.uint8
            and data.classes[label] == data.classes[table[1, kind.label_bytes - 1]]
        )
    assert not list(tmp_path.rglob("passwd"))


def test_the_names_of_the_classes():
    assert len(CIFAR100.classes) == len(set(CIFAR100.classes)) == 100 and sorted(CIFAR100.classes) == list(
        CIFAR100.classes
    )
    assert len(CIFAR10.classes) == 10 and sorted(CIFAR10.classes) == list(CIFAR10.classes)
    assert CIFAR10.records["data_batch_3.bin"] == 10_000 and CIFAR100.records["train.bin"] == 50_000


def test_a_missing_archive_says_what_to_do_and_opens_no_pickle(tmp_path):
    pickled = tmp_path / "cifar-10-batches-py"
    pickled.mkdir()
    (pickled / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(FileNotFoundError) as caught:
        CIFAR10(tmp_path)
    for part in ("cifar-10-binary.tar.gz", "download=True", "pickle", "TENSORGRAD_DATA", str(tmp_path)):
        assert part in str(caught.value)


def test_download_checks_the_md5(tmp_path):
    source = tmp_path / "server"
    source.mkdir()
    (source / Small.archive).write_bytes(archive_of(Small))

    class Local(Small):
        mirrors = (source.as_uri() + "/",)

    with pytest.raises(DownloadError, match="md5 is"):
        Local(tmp_path / "a", download=True)
    assert not list((tmp_path / "a").rglob("*.tar.gz"))
    import hashlib

    Local.md5 = hashlib.md5((source / Small.archive).read_bytes()).hexdigest()
    assert len(Local(tmp_path / "b", download=True)) == 15 and len(Local(tmp_path / "b", train=False)) == 3


HOSTILE = {
    "a file missing": ([("data_batch_1.bin", records(3).tobytes())], "has no data_batch_2.bin"),
    "a file cut off": ([("data_batch_1.bin", records(3).tobytes()[:-1])], "ends after 9218 of 9219 bytes"),
    "a file too long": ([("data_batch_1.bin", records(4).tobytes())], "goes on after the 9219 bytes"),
    "a link for a file": ([("data_batch_1.bin", None)], "has no data_batch_1.bin"),
    "empty": ([], "has no data_batch_1.bin"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(tmp_path, case):
    members, text = HOSTILE[case]
    (tmp_path / Small.archive).write_bytes(tar([(f"../../{name}", content) for name, content in members]))
    with pytest.raises(CifarError, match=text):
        Small(tmp_path)
    assert os.listdir(tmp_path) == [Small.archive]


def test_a_label_out_of_range(tmp_path):
    for name, table in Small.tables.items():
        changed = table.copy()
        changed[2, 0] = 10 if name == "data_batch_2.bin" else changed[2, 0]
        (tmp_path / name).write_bytes(changed.tobytes())
    with pytest.raises(CifarError, match="record 5 has the label 10; there are 10 classes"):
        Small(tmp_path)
    assert len(Small(tmp_path, train=False)) == 3


def bomb(name, kind=tarfile.REGTYPE, size=1 << 28):
    """A header that declares 256 MB, and 256 MB of zeros."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return [info.tobuf(), *[bytes(1 << 20)] * (1 << 8)]


BOMBS = {
    "a file that is wanted": bomb("data_batch_1.bin"),
    "a file that is not": bomb("other"),
    "a long name": bomb("name", tarfile.GNUTYPE_LONGNAME),
    "a header of settings": bomb("name", tarfile.XHDTYPE),
    "a size below zero": bomb("name", size=-1),
    "many files": [tarfile.TarInfo("x").tobuf()] * 200_000,
    "names of names": bomb("name", tarfile.GNUTYPE_LONGNAME, 0)[:1] * 1500,
    "settings of settings": bomb("name", tarfile.XHDTYPE, 0)[:1] * 1500,
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_not_unpacked(tmp_path, case):
    """256 MB of zeros in 250 kB, 100 MB of headers, or headers of which each announces another."""
    with gzip.open(tmp_path / Small.archive, "wb", 1) as file:
        for piece in BOMBS[case]:
            file.write(piece)
    tracemalloc.start()
    try:
        with pytest.raises(CifarError, match=Small.archive):
            Small(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


WHOLE = archive_of(Small)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_archives_are_read_or_refused(tmp_path, data):
    """Cut off at any length, or with bytes changed: the images as they were, other images, or a CifarError."""
    content = bytearray(WHOLE)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / Small.archive).write_bytes(content)
    try:
        assert len(Small(tmp_path)) == 15
    except CifarError as error:
        assert Small.archive in str(error) or "record" in str(error)


@pytest.mark.parametrize("length", [0, 1, 9, 18, 100, 5000, len(WHOLE) // 2])
def test_cut_off(tmp_path, length):
    (tmp_path / Small.archive).write_bytes(WHOLE[:length])
    with pytest.raises(CifarError, match="damaged or cut off"):
        Small(tmp_path)
