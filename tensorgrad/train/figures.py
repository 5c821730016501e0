"""What a model says to a data set, and the figures of an epoch as they grow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from tensorgrad.mode import no_grad
from tensorgrad.tensor import Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a model says to a data set: its mean loss, and for each image the scores (N, classes) and the true class."""

    loss: float
    scores: numpy.ndarray
    labels: numpy.ndarray

    @property
    def predicted(self) -> numpy.ndarray:
        """The class with the highest score, for each image."""
        return self.scores.argmax(1)

    @property
    def correct(self) -> int:
        """How many are right."""
        return int((self.predicted == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of those that are right, between 0 and 1."""
        return self.correct / len(self.labels)


def count_correct(scores: Tensor, labels: Tensor) -> Tensor:
    """How many rows of scores (N, classes) are highest at the true class (N,): a number that stays on the device."""
    with no_grad():
        return (scores.argmax(1) == labels).sum()


class Running:
    """Mean loss and accuracy over the batches so far."""

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self.correct = 0
        self.images = 0
        self.images_here = 0  # by this process: those of an epoch that was continued may be of an earlier one

    def add(self, loss: float, correct: int, images: int) -> None:
        """Count a batch: its mean loss, how many were right, of how many."""
        self.correct += correct
        self.loss_sum += loss * images
        self.images += images
        self.images_here += images

    @property
    def loss(self) -> float:
        """The mean over the images."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """The share of the images that were classified rightly, between 0 and 1."""
        return self.correct / self.images
