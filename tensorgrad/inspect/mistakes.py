"""What a classifier confuses: the confusion matrix, and the mistakes of which it is surest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import AMOUNT, ORANGE, Result, draw_picture, name_of, new_figure
from tensorgrad.inspect.features import Progress
from tensorgrad.inspect.running import (
    Bar,
    at_rest,
    batches,
    how_many,
    on_device,
    picture_at,
    scores_of,
    softmax,
    to_host,
    warn_if_untrained,
)
from tensorgrad.nn.module import Module


@dataclass(frozen=True)
class Answers:
    """What a classifier says to a data set: probabilities (N, classes), and the true classes (N,)."""

    probabilities: numpy.ndarray
    labels: numpy.ndarray
    data: Any = field(repr=False)
    classes: Sequence[str] | None = None

    @property
    def predicted(self) -> numpy.ndarray:
        """The likeliest class of each picture (N,)."""
        found: numpy.ndarray = self.probabilities.argmax(1)
        return found

    @property
    def accuracy(self) -> float:
        """The share of the pictures that are classified rightly."""
        return float((self.predicted == self.labels).mean())

    def confusion(self) -> Confusion:
        """How often which class was taken for which."""
        classes = self.probabilities.shape[1]
        flat = self.labels.astype(numpy.int64) * classes + self.predicted
        counts = numpy.bincount(flat, minlength=classes * classes).reshape(classes, classes)
        return Confusion(counts, self.classes)

    def mistakes(self, k: int = 30) -> Mistakes:
        """The k mistakes of the largest probability for the wrong class, the surest first."""
        if k < 0:
            raise ArgumentError(f"mistakes: got k {k}; it must be 0 or more")
        predicted = self.predicted
        wrong = numpy.flatnonzero(predicted != self.labels)
        sureness = self.probabilities[wrong, predicted[wrong]]
        chosen = wrong[numpy.argsort(-sureness, kind="stable")[:k]]
        return Mistakes(chosen, self.labels[chosen], predicted[chosen], self.probabilities[chosen], len(wrong), self)


@dataclass(frozen=True)
class Confusion(Result):
    """counts[i, j]: how many pictures of class i were taken for class j."""

    counts: numpy.ndarray
    classes: Sequence[str] | None = None

    def figure(self) -> Any:
        """Counts as numbers, coloured by the share of their row; right answers on the diagonal."""
        size = len(self.counts)
        right, total = int(numpy.trace(self.counts)), int(self.counts.sum())
        side = max(5.4, min(0.5 * size + 1.8, 12))
        title = f"confusion: {right:,} of {total:,} right ({100 * right / max(total, 1):.2f} %)"
        figure = new_figure(side + 1, side, title)
        axes = figure.add_subplot()
        shares = self.counts / numpy.maximum(self.counts.sum(1, keepdims=True), 1)
        drawn = axes.imshow(shares, cmap=AMOUNT, vmin=0, vmax=1)
        figure.colorbar(drawn, ax=axes, label="share of the true class", shrink=0.8)
        axes.set(xlabel="taken for", ylabel="true class")
        if size <= 30:
            names = [name_of(i, self.classes).removeprefix("class ") for i in range(size)]
            turned = 0 if max(map(len, names)) < 4 else 60
            axes.set_xticks(range(size), names, rotation=turned, fontsize=8)
            axes.set_yticks(range(size), names, fontsize=8)
            for i, j in zip(*numpy.nonzero(self.counts)):
                colour = "black" if shares[i, j] > 0.55 else "white"
                axes.text(j, i, f"{self.counts[i, j]:,}", ha="center", va="center", color=colour, fontsize=8)
        return figure


@dataclass(frozen=True)
class Mistakes(Result):
    """The surest mistakes: which pictures (k,), their true and predicted classes (k,), probabilities (k, classes); how
    many mistakes there are in all."""

    indices: numpy.ndarray
    labels: numpy.ndarray
    predicted: numpy.ndarray
    probabilities: numpy.ndarray
    wrong: int
    answers: Answers = field(repr=False)

    def figure(self) -> Any:
        """Each picture with its true class and what it was taken for."""
        count = len(self.indices)
        columns = max(1, min(count, 10))
        rows = max(1, math.ceil(count / columns))
        figure = new_figure(max(1.05 * columns + 0.4, 6), 1.75 * rows + 0.7)
        part = f"; the {count} surest" if count < self.wrong else ""
        figure.suptitle(
            f"{self.wrong:,} of {len(self.answers.labels):,} pictures taken for another class{part}\nbelow: for which, and how surely"
        )
        classes = self.answers.classes
        for place, index in enumerate(self.indices):
            axes = figure.add_subplot(rows, columns, place + 1)
            name = name_of(int(self.labels[place]), classes)
            draw_picture(axes, picture_at(self.answers.data, int(index)), f"true: {name}", 8)
            predicted = int(self.predicted[place])
            share = 100 * self.probabilities[place, predicted]
            axes.set_xlabel(f"{name_of(predicted, classes)}\n{share:.1f} %", fontsize=8, color=ORANGE, labelpad=2)
        return figure


def answers(
    model: Module,
    data: Any,
    labels: Any = None,
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Answers:
    """Ask a classifier about every picture of a data set; see Answers for what can be done with it.

    data    a dataset of (image, class), a DataLoader that keeps the order, or pictures (N, C, H, W) with `labels` (N,)

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> found = answers(nn.Sequential(nn.Flatten()), tensorgrad.eye(4).reshape(4, 1, 2, 2) * 9, [0, 1, 2, 2])
    >>> found.accuracy, found.mistakes().indices.tolist(), found.confusion().counts[2].tolist()
    (0.75, [3], [0, 0, 1, 1])
    """
    probabilities: list[numpy.ndarray] = []
    given: list[numpy.ndarray] = []
    bar = Bar("asking the network", how_many(data) or 1, progress)
    for sample in batches("answers", data, batch_size):
        with at_rest(model):
            scores = scores_of("answers", model, on_device(sample.images, model))
            if not probabilities:
                warn_if_untrained(model, scores)
            probabilities.append(softmax(to_host(scores).astype(numpy.float64)))
        if sample.labels is not None:
            given.append(sample.labels)
        bar.add(len(sample.images))
    if not probabilities:
        raise ArgumentError("answers: the data has no picture; it needs at least one")
    if labels is None and not given:
        raise ArgumentError("answers: the data has no classes; give labels=, a class number for each picture")
    found = numpy.concatenate(probabilities)
    truth = numpy.asarray(to_host(labels) if hasattr(labels, "array") else labels) if labels is not None else None
    truth = numpy.concatenate(given) if truth is None else truth
    if (
        truth.shape != (len(found),)
        or truth.dtype.kind not in "iu"
        or (truth >= found.shape[1]).any()
        or (truth < 0).any()
    ):
        raise ArgumentError(
            f"answers: got labels of shape {truth.shape}, dtype {truth.dtype}; needed is a class number from 0 to "
            f"{found.shape[1] - 1} for each of {len(found)} pictures"
        )
    return Answers(found, truth, data, classes or getattr(data, "classes", None) or None)
