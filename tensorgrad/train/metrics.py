"""The figures of each epoch, and the table of them as a CSV file."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from tensorgrad.io.atomic import replacing


@dataclasses.dataclass(frozen=True)
class EpochMetrics:
    """The figures of one epoch. Losses are means over the images, accuracies lie between 0 and 1.

    The training figures are those of the batches as they were trained on, augmentation and dropout included, with the
    weights of that moment; the validation figures are those of the weights at the end of the epoch, None without
    validation. learning_rate: of the last step. seconds: of the whole epoch. images_per_second: of its training part.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float


COLUMNS = tuple(field.name for field in dataclasses.fields(EpochMetrics))


def write_metrics(path: str | os.PathLike[str], rows: Sequence[EpochMetrics]) -> None:
    """Write the table of all epochs so far: a header, then a row an epoch; what there is none of stays empty.

    The whole file is replaced each time, in one step, so that no reader ever finds half a row.
    """
    with replacing(path) as draft, draft.open("x", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in rows:
            table.writerow("" if value is None else f"{value:.6g}" for value in dataclasses.astuple(row))


def read_metrics(path: str | os.PathLike[str]) -> list[EpochMetrics]:
    """Read the table that `write_metrics` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = []
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            figures: dict[str, Any] = {name: float(text) if text else None for name, text in row.items()}
            rows.append(EpochMetrics(epoch, **figures))
        return rows
