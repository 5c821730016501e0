"""Which file is read: the one that is given, if it is one, also while somebody changes it."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import OperandError
from tensorgrad.io import CheckpointError, checkpoint
from tensorgrad.io.files import read_npz
from tensorgrad.io.opening import opened

posix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")


def pipe(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path)[-100:] if len(str(path)) < 100 else os.path.relpath(path))


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


@posix
@pytest.mark.parametrize("kind", [pipe, bound_socket, link_to_a_device])
@pytest.mark.parametrize("read", [tg.load, checkpoint.load, read_npz, opened], ids=lambda read: read.__module__)
def test_what_is_no_file_is_not_waited_for(tmp_path, monkeypatch, kind, read):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    kind(tmp_path / "a")
    with pytest.raises(OSError, match="a pipe, a socket or a device, not a file"):
        read(tmp_path / "a")


@posix
def test_folders_and_dangling_links_are_told_as_what_they_are(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "link")
    with pytest.raises(IsADirectoryError):
        opened(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "good").symlink_to("file")
    with opened(tmp_path / "good") as file:
        assert file.read() == b"x"


MEMBER = "model.safetensors"


@contextlib.contextmanager
def in_zip(content):
    with zipfile.ZipFile(io.BytesIO(), "w") as archive:
        archive.writestr(MEMBER, content)
        with archive.open(MEMBER) as file:
            yield file


@contextlib.contextmanager
def in_tar(content):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        info = tarfile.TarInfo(MEMBER)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    whole.seek(0)
    with tarfile.open(fileobj=whole) as archive:
        yield archive.extractfile(MEMBER)


def gzipped(content):
    Path("a.gz").write_bytes(gzip.compress(content))
    return gzip.open("a.gz")


@pytest.mark.parametrize("give", [in_zip, in_tar, gzipped])
def test_an_open_file_is_read_and_not_another_one_of_its_name(tmp_path, monkeypatch, give):
    """Members of an archive have names, which may be those of files in the folder one is in."""
    monkeypatch.chdir(tmp_path)
    tg.save({"w": tg.ones(2)}, "good")
    with give((tmp_path / "good").read_bytes()) as file:
        tg.save({"w": tg.zeros(2)}, MEMBER)
        assert tg.load(file)["w"].tolist() == [1, 1]


def test_a_file_may_begin_within_another(tmp_path):
    tg.save({"w": tg.ones(2)}, tmp_path / "a")
    (tmp_path / "b").write_bytes(b"before" + (tmp_path / "a").read_bytes())
    with open(tmp_path / "b", "rb") as file:
        file.seek(6)
        assert tg.load(file)["w"].tolist() == [1, 1]


def test_a_file_that_is_cut_off_while_it_is_read(tmp_path, monkeypatch):
    """An error: a file mapped into memory would end the process."""
    path = tmp_path / "a"
    tg.save({f"w{i}": np.zeros(100_000) for i in range(10)}, path)
    empty = np.empty

    def cut_off(*arguments, **named):
        os.truncate(path, 1_000_000)
        return empty(*arguments, **named)

    monkeypatch.setattr(np, "empty", cut_off)
    with pytest.raises(CheckpointError, match="it was cut off while 'w1' was read"):
        tg.load(path)


def test_names_that_unicode_cannot_write(tmp_path):
    for value in ({"\ud800": tg.ones(1)}, {"a": {"\ud800": tg.ones(1)}, "b": 1}):
        with pytest.raises(OperandError, match="use strings of Unicode"):
            tg.save(value, tmp_path / "a")
    tg.save({"text": "\ud800", "ö" * 1000: tg.ones(1)}, tmp_path / "a")
    assert tg.load(tmp_path / "a")["text"] == "\ud800"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
