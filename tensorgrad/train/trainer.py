"""Trainer: the loop over epochs and batches that trains a classifier, with the figures a person wants to see."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.device import Device
from tensorgrad.errors import ArgumentError, TensorgradError
from tensorgrad.mode import no_grad
from tensorgrad.tensor import Tensor
from tensorgrad.train.metrics import EpochMetrics
from tensorgrad.train.progress import Progress
from tensorgrad.train.stop import StopOnSignal


class NonFiniteLoss(TensorgradError, ArithmeticError):
    """The loss became infinite or nan; the step that would have followed was not taken."""


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


class Running:
    """Mean loss and accuracy over the batches so far."""

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self.correct = 0
        self.images = 0

    def add(self, loss: float, scores: Tensor, labels: Tensor) -> None:
        """Count a batch: its mean loss, scores (N, classes) and true classes (N,)."""
        images = labels.shape[0]
        with no_grad():
            self.correct += int((scores.argmax(1) == labels).sum().item())
        self.loss_sum += loss * images
        self.images += images

    @property
    def loss(self) -> float:
        """The mean over the images."""
        return self.loss_sum / self.images

    @property
    def accuracy(self) -> float:
        """The share of the images that were classified rightly, between 0 and 1."""
        return self.correct / self.images


class Trainer:
    """Trains a classifier: for each batch, loss, gradients, a step of the optimiser, a step of the schedule.

    model: module, images (N, C, H, W) -> scores (N, classes). loss: (scores, classes (N,)) -> 0-d Tensor.
    optimizer, scheduler: with PyTorch's methods; the schedule, if any, goes on after every step, not after every epoch.
    device: where the batches are moved to; the model must be there already.
    progress: shows how far it is; nothing without. stop: asked after every batch whether to go on (see StopOnSignal).

    A batch is a pair (images, classes).
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Any,
        scheduler: Any = None,
        device: str | Device = "cpu",
        progress: Progress | None = None,
        stop: StopOnSignal | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.device = device
        self.progress = Progress(quiet=True) if progress is None else progress
        self.stop = StopOnSignal() if stop is None else stop

    def fit(
        self,
        train: Any,
        epochs: int,
        validation: Iterable[Any] | None = None,
        after_epoch: Callable[[EpochMetrics], None] | None = None,
    ) -> list[EpochMetrics]:
        """Train for this many epochs; returns their figures, and hands them to `after_epoch` as they come.

        train: a loader, an iterable of batches with a length. validation: batches that the model is tried on after each
        epoch. Raises NonFiniteLoss, and Stopped where `stop` was asked to.
        """
        if len(train) == 0:
            raise ArgumentError("fit: the training set gives no batch; it needs at least one")
        history: list[EpochMetrics] = []
        self.progress.start()
        for epoch in range(1, epochs + 1):
            begun = time.perf_counter()
            with numpy.errstate(all="ignore"):  # the loss is looked at in every step: NumPy need not warn of overflow
                figures, rate = self._train_epoch(train, epoch, epochs)
            trained = time.perf_counter()
            check = None if validation is None else self.evaluate(validation)
            if check is not None and not math.isfinite(check.loss):
                raise NonFiniteLoss(f"the loss on the validation images became {check.loss} after epoch {epoch}")
            metrics = EpochMetrics(
                epoch,
                figures.loss,
                figures.accuracy,
                None if check is None else check.loss,
                None if check is None else check.accuracy,
                rate,
                time.perf_counter() - begun,
                figures.images / (trained - begun),
            )
            history.append(metrics)
            self._report(metrics, epochs)
            if after_epoch is not None:
                after_epoch(metrics)
        self.progress.close()
        return history

    def evaluate(self, batches: Iterable[Any]) -> Evaluation:
        """Try the model on batches, without training: it is in eval mode for as long."""
        figures = Running()
        all_scores, all_labels = [], []
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                for images, labels in batches:
                    images, labels = images.to(self.device), labels.to(self.device)
                    scores = self.model(images)
                    figures.add(self.loss(scores, labels).item(), scores, labels)
                    all_scores.append(backend_of(scores.array).to_host(scores.array))
                    all_labels.append(backend_of(labels.array).to_host(labels.array))
                    self.stop.check()
        finally:
            self.model.train(was_training)
        if not all_labels:
            raise ArgumentError("evaluate: there is no batch; it needs at least one")
        return Evaluation(figures.loss, numpy.concatenate(all_scores), numpy.concatenate(all_labels))

    def _train_epoch(self, train: Any, epoch: int, epochs: int) -> tuple[Running, float]:
        """Go through the training set once; returns the figures and the learning rate of the last step."""
        figures = Running()
        steps = len(train)
        rate = 0.0
        self.model.train()
        begun = time.perf_counter()
        for step, (images, labels) in enumerate(train, 1):
            images, labels = images.to(self.device), labels.to(self.device)
            rate = self.optimizer.param_groups[0]["lr"]
            scores = self.model(images)
            loss = self.loss(scores, labels)
            value = loss.item()
            if not math.isfinite(value):
                raise NonFiniteLoss(
                    f"the loss became {value} in step {step} of {steps} of epoch {epoch}, at a learning rate of "
                    f"{rate:.3g}; a lower one may help"
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()
            figures.add(value, scores, labels)
            self.progress.update(
                f"epoch {epoch:{len(str(epochs))}}/{epochs}",
                ((epoch - 1) * steps + step) / (epochs * steps),
                f"loss {figures.loss:.4f}  accuracy {100 * figures.accuracy:5.2f} %  "
                f"{figures.images / (time.perf_counter() - begun):,.0f} images/s",
            )
            self.stop.check()
        return figures, rate

    def _report(self, metrics: EpochMetrics, epochs: int) -> None:
        """One line about an epoch; on a terminal the time left stands in the live line."""
        parts = [
            f"epoch {metrics.epoch:{len(str(epochs))}}/{epochs}",
            f"loss {metrics.train_loss:.4f}",
            f"accuracy {100 * metrics.train_accuracy:5.2f} %",
        ]
        if metrics.validation_accuracy is not None:
            parts.append(f"validation {100 * metrics.validation_accuracy:5.2f} %")
        parts.append(f"{metrics.images_per_second:,.0f} images/s")
        if not self.progress.live:
            parts.append(self.progress.left(metrics.epoch / epochs))
        self.progress.say("  ".join(parts))
