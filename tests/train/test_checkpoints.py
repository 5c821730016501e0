"""The checkpoints of a run: how many are kept, of which run, what happens where they cannot be written; who may write."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors

import tensorgrad as tg
from tensorgrad import cli
from tensorgrad.errors import ArgumentError, StateError
from tensorgrad.io import CheckpointError, load
from tensorgrad.random import Generator
from tensorgrad.train import Checkpoints, FolderInUse
from tensorgrad.train.lock import locked
from tensorgrad.train.randomness import generators_of, get_states, set_states

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="limits and locks of POSIX")
TRAIN = ("train", "lenet5", "--batch-size", "128", "--epochs", "2", "--no-pictures")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def state(step):
    return {"w": tg.tensor([float(step)]), "step": step}


# which are kept


def test_the_last_ones_are_kept_and_a_new_run_replaces_the_old_one(tmp_path):
    first = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 5, 9):
        first.save(state(step), step)
    assert names(tmp_path) == [f"001-00000000{step}.safetensors" for step in (2, 5, 9)]
    other = Checkpoints(tmp_path, keep=3)
    other.save(state(4), 4)  # fewer steps than the old run, and yet the newest
    assert names(tmp_path) == ["002-000000004.safetensors"]
    assert Checkpoints(tmp_path).load()["step"] == 4


def test_a_run_that_goes_on_keeps_its_number_and_drops_what_it_is_behind(tmp_path):
    first = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        first.save(state(step), step)
    (tmp_path / "001-000000003.safetensors").write_bytes(b"damaged")
    (tmp_path / "notes.txt").write_text("stays")
    again = Checkpoints(tmp_path, keep=3)
    assert again.load()["step"] == 2
    again.save(state(3), 3)
    assert names(tmp_path) == [f"001-00000000{step}.safetensors" for step in (1, 2, 3)] + ["notes.txt"]
    assert again.load()["step"] == 3


def test_one_is_kept_and_what_a_killed_run_left_half_written_goes(tmp_path):
    draft = tmp_path / ".001-000000001.0123abcd.replacing.safetensors"
    draft.write_bytes(b"half")
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        checkpoints.save(state(step), step)
    assert names(tmp_path) == ["001-000000002.safetensors"]


def test_nothing_there_and_all_damaged(tmp_path):
    assert Checkpoints(tmp_path / "none").load() is None
    for step in (1, 2):
        (tmp_path / f"001-00000000{step}.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged; the newest"):
        Checkpoints(tmp_path).load()
    with pytest.raises(ArgumentError, match="keep=0 must be at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_other_programs_can_read_one(tmp_path):
    model = tg.nn.Linear(2, 3)
    Checkpoints(tmp_path).save({"model": dict(model.state_dict()), "epoch": 3}, 7)
    with safetensors.safe_open(str(tmp_path / "001-000000007.safetensors"), "np") as file:
        np.testing.assert_array_equal(file.get_tensor("model.weight"), model.weight.detach().numpy())
        assert json.loads(file.metadata()["tensorgrad"])["tensorgrad.nested"]["epoch"] == 3


# where they cannot be written


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EROFS, "Read-only file system"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.EIO, "cannot write the file"),
    ],
)
def test_what_the_system_refuses_leaves_the_one_of_before(tmp_path, monkeypatch, number, text):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)

    def refuse(handle):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match=text):
            checkpoints.save(state(2), 2)
    assert names(tmp_path) == ["001-000000001.safetensors"]
    assert checkpoints.load()["step"] == 1
    checkpoints.save(state(2), 2)  # and it goes on when there is space again
    assert checkpoints.load()["step"] == 2


@posix
def test_a_file_that_may_not_grow_so_large(tmp_path):
    """A real refusal by the system in the middle of writing, not one made up."""
    program = f"""
import resource, signal
import tensorgrad as tg
from tensorgrad.train import Checkpoints
checkpoints = Checkpoints({str(tmp_path)!r})
checkpoints.save({{"w": tg.zeros(10)}}, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoints.save({{"w": tg.zeros(100_000)}}, 2)
except OSError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert "cannot write the file: File too large" in result.stdout, result.stderr
    assert names(tmp_path) == ["001-000000001.safetensors"]
    assert Checkpoints(tmp_path).load()["w"].shape == (10,)


def test_a_folder_that_vanishes(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    (tmp_path / "run").mkdir()
    checkpoints.save(state(1), 1)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        checkpoints.save(state(2), 2)


def test_a_file_in_the_place_of_the_checkpoints_is_told_before_the_training(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("notes")
    assert cli.main([*TRAIN, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "the checkpoints need a folder here, but there is a file; move it away" in told.err
    assert "epoch" not in told.out.replace("2 epochs on cpu", "")
    assert names(tmp_path / "run") == ["checkpoints"]
    assert (tmp_path / "run" / "checkpoints").read_text() == "notes"


def test_checkpoints_that_cannot_be_written_are_told_before_the_training(tmp_path, monkeypatch):
    def refused(handle):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.prepare()
    assert names(tmp_path) == []
    (tmp_path / "checkpoints").mkdir()
    checkpoints.prepare()
    assert names(tmp_path / "checkpoints") == []
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match=r"Read-only file system.*choose a folder that can be written to"):
        checkpoints.prepare()


@pytest.mark.skipif(sys.platform != "linux", reason="such names are Linux's")
def test_a_folder_whose_name_is_no_unicode(tmp_path, capsys):
    """What is written for others, who may not take such a name, is no reason to lose the run."""
    folder = os.path.join(str(tmp_path), "run\udcff")
    assert cli.main([*TRAIN, "--out", folder]) == 0
    assert "model.safetensors" in os.listdir(folder)
    capsys.readouterr()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1), 1)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="choose a folder that you may write to"):
            checkpoints.save(state(2), 2)
    finally:
        tmp_path.chmod(0o700)
    assert checkpoints.load()["step"] == 1


# the random numbers


def test_all_random_numbers_go_on_where_they_were():
    import random as python_random

    class Loader:
        generator = Generator(3)

    class Holder:
        sampler = Loader
        generator = np.random.default_rng(4)

    generators = generators_of(Holder, Loader, tg.nn.Linear(1, 1))
    assert len(generators) == 2

    def drawn():
        numbers = [tg.rand(2).tolist(), Loader.generator.numpy.random(), Holder.generator.random()]
        return [*numbers, np.random.random(), python_random.random(), python_random.gauss(0, 1)]  # noqa: NPY002

    states = get_states(generators)
    first = drawn()
    drawn()
    set_states(states, generators)
    assert drawn() == first
    with pytest.raises(StateError, match="of 2 generators, but there are 1"):
        set_states(states, generators[:1])


# two at once


def test_one_at_a_time(tmp_path):
    with locked(tmp_path) as sure:
        assert sure
        with pytest.raises(FolderInUse, match="another run is at work in"), locked(tmp_path):
            pass
    with locked(tmp_path) as sure:
        assert sure
    assert names(tmp_path) == []


@posix
def test_where_there_are_no_locks_it_says_so(tmp_path, monkeypatch, capsys):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert cli.main([*TRAIN[:-3], "--epochs", "1", "--no-pictures", "--out", str(tmp_path / "run")]) == 0
    assert "cannot be locked there" in capsys.readouterr().out


def test_a_second_training_in_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        assert cli.main([*TRAIN, "--out", str(tmp_path / "run")]) == 2
    assert "another run is at work in" in capsys.readouterr().err
    assert names(tmp_path / "run") == []


# the command


def comparable(folder):
    """The weights and all figures but the times."""
    tensors, metadata = load(folder / "model.safetensors")
    rows = [line.split(",")[:6] for line in (folder / "metrics.csv").read_text().splitlines()]
    return {name: array.tobytes() for name, array in tensors.items()}, metadata["epoch"], metadata["test"], rows


def test_the_command_goes_on_bit_for_bit(tmp_path, monkeypatch, capsys):
    """Stopped in the second epoch between two checkpoints, and gone on with --resume: as the run that was never stopped."""
    from tensorgrad.train.stop import StopOnSignal, Stopped

    assert cli.main([*TRAIN, "--out", str(tmp_path / "whole")]) == 0
    calls = []

    def check(self):
        calls.append(1)
        if len(calls) == 10 + 1 + 3:  # ten steps, one batch of validation, three steps
            raise Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, "check", check)
        assert cli.main([*TRAIN, "--out", str(tmp_path / "run"), "--save-every", "4"]) == 128 + 15
    assert "--resume goes on after step 13" in capsys.readouterr().err
    # other options would go on as neither the one run nor the other
    assert cli.main([*TRAIN, "--out", str(tmp_path / "run"), "--resume", "--seed", "1", "--lr", "0.1"]) == 2
    refusal = capsys.readouterr().err
    assert re.search(r"has optimizer_arguments=.* instead of .*, seed=0 instead of 1; give the same options", refusal)
    for _ in range(2):  # the second time there is nothing left to do but to test it again
        assert cli.main([*TRAIN, "--out", str(tmp_path / "run"), "--resume"]) == 0
        assert comparable(tmp_path / "run") == comparable(tmp_path / "whole")
    out = capsys.readouterr().out
    assert "going on after step 3 of 10 of epoch 2" in out
    assert "going on after epoch 2" in out


def test_without_a_checkpoint_resume_begins(tmp_path, capsys):
    assert cli.main([*TRAIN[:-3], "--epochs", "1", "--no-pictures", "--resume", "--out", str(tmp_path / "run")]) == 0
    assert "holds no checkpoint; the training begins" in capsys.readouterr().out
