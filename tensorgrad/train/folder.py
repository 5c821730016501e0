"""The folder of a run: which files it holds, and when those of an earlier run give way."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tensorgrad.io.atomic import remove_drafts, replacing

MODEL = "model.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.csv"
CURVES = "curves.png"
MISCLASSIFIED = "misclassified.png"
GRAPH = "graph.svg"
GRAPH_SOURCE = "graph.dot"
FAILURE = "not-finite.safetensors"  # the batch whose loss was not finite
CHECKPOINTS = "checkpoints"  # a folder, see Checkpoints
FILES = (MODEL, LAST, METRICS, CURVES, MISCLASSIFIED, GRAPH, GRAPH_SOURCE, FAILURE)


class RunFolder:
    """The files of one run.

    A file of an earlier run is replaced, in one step, when this run has its own to put there; until the first epoch is
    complete, all of them stay as they are. At that moment, with its own model in place, `remove_leftovers` takes away
    those that no longer belong to it (pictures, above all). Files of other names are never touched.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def make(self) -> None:
        """Make the folder, where there is none."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(
                error.errno or 0, f"cannot make the folder of the run: {reason}; choose another", str(self.path)
            ) from error

    def prepare(self) -> None:
        """Try to write there, so that what is wrong is known before the training; take away what a killed run left."""
        probe = self / "writable"
        with replacing(probe) as draft:
            draft.touch()
        probe.unlink()
        remove_drafts(self.path)

    def holds_a_run(self) -> bool:
        """Whether an earlier run has left files here."""
        return any((self / name).exists() for name in FILES)

    def remove_leftovers(self) -> None:
        """Take away the files of an earlier run, all but the model, which this one has replaced."""
        for name in FILES:
            if name != MODEL:
                with contextlib.suppress(FileNotFoundError):
                    (self / name).unlink()
