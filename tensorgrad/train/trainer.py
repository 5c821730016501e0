"""Trainer: the loop over epochs and batches that trains a classifier, with the figures a person wants to see."""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.device import Device, as_device
from tensorgrad.dtypes import float64
from tensorgrad.errors import ArgumentError, StateError
from tensorgrad.mode import no_grad
from tensorgrad.tensor import Tensor
from tensorgrad.train.figures import Evaluation, Running, count_correct
from tensorgrad.train.metrics import EpochMetrics
from tensorgrad.train.nonfinite import NonFiniteLoss, find_origin, keep_batch
from tensorgrad.train.precision import region
from tensorgrad.train.progress import Progress
from tensorgrad.train.randomness import generators_of, get_states, set_states
from tensorgrad.train.stop import StopOnSignal, Stopped
from tensorgrad.train.unread import Step, Unread

# of a state
_PARTS = ("model", "optimizer", "scheduler", "scaler", "steps_done", "history", "position")


class Trainer:
    """Trains a classifier: for each batch, loss, gradients, a step of the optimiser, a step of the schedule.

    model: module, images (N, C, H, W) -> scores (N, classes). loss: (scores, classes (N,)) -> 0-d Tensor.
    optimizer, scheduler: with PyTorch's methods; the schedule, if any, goes on after every step, not after every epoch.
    device: where the batches are moved to; the model must be there already.
    progress: shows how far it is; nothing without. stop: asked after every batch whether to go on (see StopOnSignal).
    scaler: of the loss, for float16, with PyTorch's methods scale, step, update and those of its state: see GradScaler.
    failure: the file that a batch is written to whose loss is not finite.
    precision: 'float32', or 'bfloat16' or 'float16' for a forward pass under autocast.
    read_every: after how many steps the losses are read on the host, all at once: a GPU must not be waited for in every
        step. None is 1 on the CPU, 10 elsewhere. The results are the same: where one is not finite, the state of before
        these steps comes back (a copy on the device) and they are made again one by one, up to the one that failed.

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
        *,
        scaler: Any = None,
        failure: str | os.PathLike[str] | None = None,
        precision: str = "float32",
        read_every: int | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.device = device
        self.progress = Progress(quiet=True) if progress is None else progress
        self.stop = StopOnSignal() if stop is None else stop
        self.scaler = scaler
        self.failure = failure
        self.precision = precision
        kind = as_device(device).type
        self.read_every = (1 if kind == "cpu" else 10) if read_every is None else read_every
        if self.read_every < 1:
            raise ArgumentError(f"Trainer: read_every is {read_every}; it must be at least 1")
        self._region = region(kind, precision)
        self.history: list[EpochMetrics] = []
        self.steps_done = 0  # of all epochs
        self._position: dict[str, Any] = {}  # in the epoch: what `state` needs to go on from there
        self._continues = False  # a state was loaded, from which the next `fit` goes on
        self._looked_for_gradients = False

    def state(self) -> dict[str, Any]:
        """All that decides how the training goes on, for a checkpoint: model, optimiser, schedule, scaler, the position in
        the data, the random numbers, the figures so far. To be taken while `fit` calls `save`."""
        parts = {"optimizer": self.optimizer, "scheduler": self.scheduler, "scaler": self.scaler}
        return {
            "version": 1,
            "model": dict(self.model.state_dict()),
            **{name: None if part is None else part.state_dict() for name, part in parts.items()},
            "steps_done": self.steps_done,
            "history": [dataclasses.asdict(metrics) for metrics in self.history],
            "position": self._position,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state: `fit` with the same arguments then goes on as if it had never stopped."""
        if not isinstance(state, dict) or state.get("version") != 1:
            raise StateError("load_state: this is no state of a training that this version can continue")
        missing = [name for name in _PARTS if name not in state]
        if missing:
            raise StateError(f"load_state: the state lacks {', '.join(missing)}; it is damaged, or was changed by hand")
        position, history, steps_done = state["position"], state["history"], state["steps_done"]
        needed = ("step", "now", "begin", "rate", "figures") if _step_of(position) else ("step", "now")
        if _step_of(position) is None or any(name not in position for name in needed) or type(steps_done) is not int:
            raise StateError("load_state: the state does not say where the training was; it is damaged")
        try:
            metrics = [EpochMetrics(**row) for row in history]
        except TypeError as error:
            raise StateError(f"load_state: the figures of the epochs make no sense ({error})") from error
        self.model.load_state_dict(state["model"])
        for name, part in (("optimizer", self.optimizer), ("scheduler", self.scheduler), ("scaler", self.scaler)):
            if (part is None) != (state[name] is None):
                there = "has one" if part is None else "has none"
                raise StateError(f"load_state: the state {there}, this training not: {name}")
            if part is not None:
                part.load_state_dict(state[name])
        self.steps_done, self.history, self._position = steps_done, metrics, position
        self._continues = True

    def fit(
        self,
        train: Any,
        epochs: int,
        validation: Iterable[Any] | None = None,
        after_epoch: Callable[[EpochMetrics], None] | None = None,
        save: Callable[[], None] | None = None,
        save_every: int = 0,
    ) -> list[EpochMetrics]:
        """Train for this many epochs; returns their figures, and hands them to `after_epoch` as they come.

        train: a loader, an iterable of batches with a length. validation: batches that the model is tried on after each
        epoch. save: called after every epoch, after every `save_every` steps, and before Stopped is raised, to keep
        `state()`. After `load_state` the training goes on from there; batches of the epoch that were used already are
        passed over by a DataLoader, else read and dropped. Raises NonFiniteLoss, and Stopped where `stop` was asked to.
        """
        if len(train) == 0:
            raise ArgumentError("fit: the training set gives no batch; it needs at least one")
        generators = generators_of(train, validation)
        self.progress.start()
        if self._continues:
            set_states(self._position["now"], generators)
        else:
            self.history, self._position, self.steps_done = [], {}, 0
        self._continues = False
        for epoch in range(len(self.history) + 1, epochs + 1):
            begun = time.perf_counter()
            try:
                with numpy.errstate(all="ignore"):  # the loss is looked at in every step: NumPy need not warn
                    figures, rate = self._train_epoch(train, epoch, epochs, generators, save, save_every)
                trained = time.perf_counter()
                check = None if validation is None else self.evaluate(validation)
            except Stopped:
                if save is not None:
                    save()
                raise
            if check is not None and not math.isfinite(check.loss):
                raise NonFiniteLoss(
                    f"the loss on the validation images became {check.loss} after epoch {epoch}", epoch=epoch
                )
            metrics = EpochMetrics(
                epoch,
                figures.loss,
                figures.accuracy,
                None if check is None else check.loss,
                None if check is None else check.accuracy,
                rate,
                time.perf_counter() - begun,
                figures.images_here / (trained - begun),
            )
            self.history.append(metrics)
            self._report(metrics, epochs)
            if after_epoch is not None:
                after_epoch(metrics)
            self._position = {"step": 0, "now": get_states(generators)}
            if save is not None:
                save()
        self.progress.close()
        return self.history

    def evaluate(self, batches: Iterable[Any]) -> Evaluation:
        """Try the model on batches, without training: it is in eval mode for as long."""
        figures = Running()
        all_scores, all_labels = [], []
        was_training = self.model.training
        self.model.eval()
        try:
            with no_grad():
                for images, labels in batches:
                    images, labels = self._moved(images), self._moved(labels)
                    with self._region:
                        scores = self.model(images)
                        loss = self.loss(scores, labels)
                    scores = scores if scores.dtype == float64 else scores.float()
                    figures.add(loss.item(), int(count_correct(scores, labels).item()), labels.shape[0])
                    all_scores.append(backend_of(scores.array).to_host(scores.array))
                    all_labels.append(backend_of(labels.array).to_host(labels.array))
                    self.stop.check()
        finally:
            self.model.train(was_training)
        if not all_labels:
            raise ArgumentError("evaluate: there is no batch; it needs at least one")
        return Evaluation(figures.loss, numpy.concatenate(all_scores), numpy.concatenate(all_labels))

    def _train_epoch(
        self,
        train: Any,
        epoch: int,
        epochs: int,
        generators: Sequence[Any],
        save: Callable[[], None] | None,
        save_every: int,
    ) -> tuple[Running, float]:
        """Go through the training set once, or through the rest of it; returns the figures and the last learning rate."""
        figures = Running()
        steps = len(train)
        done = 0
        rate = self.optimizer.param_groups[0]["lr"]
        begin = get_states(generators)
        if self._position.get("step"):
            done, begin, rate = (self._position[name] for name in ("step", "begin", "rate"))
            figures.loss_sum, figures.correct, figures.images = self._position["figures"]
            set_states(begin, generators)
        batches = _after(train, done)
        if done:
            set_states(self._position["now"], generators)
        self.model.train()
        begun = time.perf_counter()
        unread = Unread(self)
        for step, (images, labels) in enumerate(batches, done + 1):
            rate = self.optimizer.param_groups[0]["lr"]
            now = Step((epoch, step, steps), rate, self._moved(images), self._moved(labels), get_states())
            self.steps_done += 1
            saves = save is not None and bool(save_every) and self.steps_done % save_every == 0
            if self.read_every == 1:
                self.careful_step(now, figures)
            else:
                unread.take(now)
                if len(unread.steps) < self.read_every and step < steps and not saves:
                    continue
                unread.read(figures)
            self._position = {
                "step": step,
                "begin": begin,
                "now": get_states(generators),
                "rate": rate,
                "figures": (figures.loss_sum, figures.correct, figures.images),
            }
            self.progress.update(
                f"epoch {epoch:{len(str(epochs))}}/{epochs}",
                ((epoch - 1) * steps + step) / (epochs * steps),
                f"loss {figures.loss:.4f}  accuracy {100 * figures.accuracy:5.2f} %  "
                f"{figures.images_here / (time.perf_counter() - begun):,.0f} images/s",
            )
            if save is not None and saves:
                save()
            self.stop.check()
        if unread.steps:  # a loader that gave fewer batches than it said
            unread.read(figures)
        return figures, rate

    def _moved(self, x: Tensor) -> Tensor:
        return x.to(self.device, non_blocking=True)

    def forward(self, now: Step) -> Tensor:
        """The loss of a batch; what is to be counted is kept, on the device."""
        with self._region:
            scores = self.model(now.images)
            loss = self.loss(scores, now.labels)
        now.loss, now.correct = loss.detach(), count_correct(scores, now.labels)
        return loss

    def careful_step(self, now: Step, figures: Running) -> None:
        """A whole step, but for a loss that is not finite: then nothing is changed."""
        loss = self.forward(now)
        value = loss.item()
        if not math.isfinite(value):
            raise self._failed(value, now)
        self.step_along(loss)
        figures.add(value, int(now.correct.item()), now.labels.shape[0])

    def step_along(self, loss: Tensor) -> None:
        """Gradients, and a step of optimiser and schedule."""
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
        else:
            self.scaler.scale(loss).backward()
        if not self._looked_for_gradients:
            self._looked_for_gradients = True
            self._warn_of_missing_gradients()
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.scheduler is not None:
            self.scheduler.step()

    def _warn_of_missing_gradients(self) -> None:
        """A parameter without a gradient stays as it was drawn, which is hardly ever meant."""
        names = [name for name, p in self.model.named_parameters() if p.requires_grad and p.grad is None]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            warnings.warn(
                f"fit: the loss does not depend on {', '.join(names[:5])}{more}: no gradient came, so training will not "
                "change them; use them in forward, or say .requires_grad_(False)",
                stacklevel=4,
            )

    def _failed(self, value: float, now: Step) -> NonFiniteLoss:
        """The error for a loss that is not finite, with where it came from; the batch is kept."""
        epoch, step, steps = now.place
        images, labels, states = now.images, now.labels, now.states
        with self._region:
            origin, layer = find_origin(self.model, self.loss, images, labels, states)
        path = None
        if self.failure is not None:
            batch = {"epoch": epoch, "step": step, "images": images, "labels": labels, "origin": origin, "layer": layer}
            path = keep_batch(self.failure, {**batch, "model": dict(self.model.state_dict()), "random": states})
        kept = f"; the batch is kept in {path}" if path else ""
        return NonFiniteLoss(
            f"the loss became {value} in step {step} of {steps} of epoch {epoch}, at a learning rate of {now.rate:.3g}: "
            f"{origin}; a lower rate may help{kept}",
            epoch,
            step,
            origin,
            layer,
            path,
        )

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


def _step_of(position: Any) -> int | None:
    """The steps that were done of an epoch; None where this is no position."""
    step = position.get("step") if isinstance(position, dict) else None
    return step if type(step) is int else None


def _after(train: Any, done: int) -> Iterator[Any]:
    """The batches of an epoch after the first `done`; the loader draws its order as it did when the epoch began."""
    kinds = type(train).__mro__
    of_iter, of_iter_from = (
        next((kind for kind in kinds if name in vars(kind)), None) for name in ("__iter__", "iter_from")
    )
    if of_iter_from is not None and of_iter is of_iter_from:  # an __iter__ written anew must be asked itself
        batches: Iterator[Any] = train.iter_from(done)
        return batches
    batches = iter(train)
    for _ in range(done):
        next(batches)
    return batches
