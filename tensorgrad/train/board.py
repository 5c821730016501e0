"""The figures of a run for TensorBoard, where it is installed: `tensorboard --logdir runs`."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import time
import warnings
from pathlib import Path
from typing import Any

from tensorgrad.train.metrics import EpochMetrics

FOLDER = "tensorboard"

# the columns of metrics.csv under the names that TensorBoard groups by
TAGS = {
    "train_loss": "loss/train",
    "train_accuracy": "accuracy/train",
    "validation_loss": "loss/validation",
    "validation_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "seconds": "speed/seconds",
    "images_per_second": "speed/images_per_second",
}


def is_installed() -> bool:
    """Whether the package tensorboard is there."""
    return importlib.util.find_spec("tensorboard") is not None


class Board:
    """Writes the figures of each epoch as TensorBoard reads them, into a folder.

    Event files of an earlier run give way to the first epoch of a new one. Raises ImportError without the package.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what TensorBoard's own imports have to say is not this program's
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.folder = Path(folder)
        self._event, self._summary, self._make = Event, Summary, EventFileWriter
        self._writer: Any = None

    def add(self, metrics: EpochMetrics) -> None:
        """Write the figures of an epoch; they are in the file when this returns."""
        if metrics.epoch == 1:
            for old in self.folder.glob("events.out.tfevents.*"):
                old.unlink()
        if self._writer is None:
            self._writer = self._make(str(self.folder))
        figures = dataclasses.asdict(metrics)
        values = [
            self._summary.Value(tag=tag, simple_value=figures[name])
            for name, tag in TAGS.items()
            if figures[name] is not None
        ]
        event = self._event(step=metrics.epoch, summary=self._summary(value=values))
        event.wall_time = time.time()
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Close the file and end the thread that writes it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
