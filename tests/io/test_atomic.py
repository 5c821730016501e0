"""Writing a file entirely or not at all: what is there after each way to fail."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tensorgrad.io import replacing


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_new_file_and_a_replaced_one(tmp_path):
    file = tmp_path / "a.txt"
    for text in ("first", "second"):
        with replacing(file) as draft:
            draft.write_text(text)
            assert draft.parent == file.parent
            assert draft.suffix == ".txt"
        assert file.read_text() == text
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_is_there_until_the_block_ends(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with replacing(file) as draft:
        draft.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), OSError("without a number")])
def test_an_error_in_the_block_passes_and_leaves_nothing(tmp_path, error):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(type(error)) as caught, replacing(file) as draft:
        draft.write_text("half of the n")
        raise error
    assert caught.value is error
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_new_files_get_the_rights_that_others_get(tmp_path):
    (tmp_path / "usual").write_text("")
    with replacing(tmp_path / "ours") as draft:
        draft.write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="links need special rights on Windows")
def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    with replacing(tmp_path / "link") as draft:
        draft.write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "x"


def test_a_full_disk_at_the_flush_keeps_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*there is unchanged.*free some space.*a\.txt") as caught:
        with replacing(file) as draft:
            draft.write_text("new")
    assert caught.value.errno == errno.ENOSPC
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_flushed_is_told_apart(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    file.write_text("old")
    fsync = os.fsync

    def fails_on_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails_on_folders)
    if os.name != "posix":
        pytest.skip("folders are not flushed on Windows")
    with pytest.raises(OSError, match="in its place, but its folder cannot be flushed") as caught:
        with replacing(file) as draft:
            draft.write_text("new")
    assert caught.value.errno == errno.EIO
    assert file.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_write_that_the_system_cuts_short_keeps_the_old_file(tmp_path):
    """The system really stops a write half-way here: files of this process may have 4,096 bytes."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught, replacing(file) as draft:
            draft.write_bytes(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="rights are another matter on Windows")
def test_a_folder_that_may_not_be_written_to():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.txt")
        file.write_text("old")
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        if is_root:  # whom rights do not bind
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"cannot write.*unchanged.*choose a folder") as caught:
                with replacing(file) as draft:
                    draft.write_text("new")
        finally:
            if is_root:
                os.seteuid(0)
            os.chmod(folder, 0o755)
        assert caught.value.filename == str(file)
        assert file.read_text() == "old"
        assert names(folder) == ["a.txt"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="make the folder first"), replacing(tmp_path / "no" / "a") as draft:
        draft.write_text("new")


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="a part of the path is a file"):
        with replacing(tmp_path / "file" / "a") as draft:
            draft.write_text("new")


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_killed_between_writing_and_renaming_keeps_the_old_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from tensorgrad.io import replacing\n"
        "with replacing(sys.argv[1]) as draft:\n"
        "    draft.write_text('new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(file)], cwd=root)
    assert done.returncode == -9
    assert file.read_text() == "old"


def test_the_file_is_on_the_disk_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    """A power cut cannot be tried, but the order of the steps that protect from it can be seen."""
    steps = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(handle):
        steps.append(Path(f"/proc/self/fd/{handle}").resolve())
        fsync(handle)

    def seen_replace(source, target):
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    if not Path("/proc/self/fd").exists():
        pytest.skip("which file a handle belongs to is read in /proc")
    with replacing(tmp_path / "a") as draft:
        draft.write_text("new")
    assert steps == [draft, "rename", tmp_path]
