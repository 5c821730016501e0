"""The checkpoints of a run: whole states, of which the newest that is undamaged is where the run goes on."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.io import files
from tensorgrad.io.atomic import remove_drafts, replacing
from tensorgrad.io.errors import CheckpointError

_NAME = re.compile(r"(\d{3,})-(\d{9,})\.safetensors")


class Checkpoints:
    """A folder of checkpoints, named by the run and by the steps that were done: '002-000001200.safetensors'.

    folder  made at the first save
    keep    how many of the run are kept, the last ones: an older one goes when a newer one is safely on the disk
    warn    called with a text about a checkpoint that was passed over because it is damaged

    A run that begins anew in the folder gets the next number; the checkpoints of the one before go when it has saved
    its first. Each file is written whole or not at all, and carries a digest that is compared when it is read.

    >>> import tempfile, tensorgrad
    >>> folder = os.path.join(tempfile.mkdtemp(), "checkpoints")
    >>> checkpoints = Checkpoints(folder, keep=2)
    >>> for step in (10, 20, 30):
    ...     checkpoints.save({"w": tensorgrad.ones(2), "step": step}, step)
    >>> sorted(os.listdir(folder))
    ['001-000000020.safetensors', '001-000000030.safetensors']
    >>> Checkpoints(folder).load()["step"]
    30
    """

    def __init__(
        self, folder: str | os.PathLike[str], keep: int = 2, warn: Callable[[str], Any] = lambda text: None
    ) -> None:
        if keep < 1:
            raise ArgumentError(f"Checkpoints: keep={keep} must be at least 1")
        self.folder = Path(folder)
        self.keep = keep
        self.warn = warn
        self._run = 0  # known at the first save or load
        self._tidy = False

    def prepare(self) -> None:
        """Where the folder is there already, try to write there, so that what is wrong is known before the training.

        Raises OSError, whose text says what to do.
        """
        if not os.path.lexists(self.folder):
            return
        if not self.folder.is_dir():
            raise FileExistsError(
                errno.EEXIST,
                "the checkpoints need a folder here, but there is a file; move it away, or choose another folder for the run",
                str(self.folder),
            )
        probe = self.folder / "writable"
        with replacing(probe) as draft:
            draft.touch()
        probe.unlink()

    def save(self, state: Mapping[str, Any], step: int) -> None:
        """Write a state (see `tensorgrad.io.files.save`) after so many steps, then remove what is too old.

        Raises OSError where it cannot be written; the checkpoints of before are then as they were.
        """
        self.folder.mkdir(exist_ok=True)
        if not self._tidy:
            remove_drafts(self.folder)  # of a run that was killed while it wrote
            self._tidy = True
        if not self._run:
            self._run = 1 + max((run for run, _, _ in self._found()), default=0)
        files.save(state, self.folder / f"{self._run:03}-{step:09}.safetensors")
        mine = [path for run, at, path in self._found() if run == self._run and at <= step]
        for run, at, path in self._found():
            if run < self._run or at > step or path in mine[: -self.keep]:
                path.unlink(missing_ok=True)

    def load(self) -> Any:
        """The newest state that is whole, and the run goes on under its number; None where there is no checkpoint.

        Raises CheckpointError where there are some and all are damaged, OSError where one cannot be read.
        """
        reasons = []
        for run, _, path in reversed(self._found()):
            try:
                state = files.load(path)
            except CheckpointError as error:
                reasons.append(str(error))
                self.warn(f"{path} is damaged and passed over: {error}")
                continue
            self._run = run
            return state
        if reasons:
            raise CheckpointError(f"load: every checkpoint in {self.folder} is damaged; the newest: {reasons[0]}")
        return None

    def _found(self) -> list[tuple[int, int, Path]]:
        """(run, step, path) of every checkpoint, the oldest first."""
        found = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            match = _NAME.fullmatch(path.name)
            if match:
                found.append((int(match[1]), int(match[2]), path))
        return sorted(found)
