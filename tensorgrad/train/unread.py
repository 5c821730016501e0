"""Steps of a training whose losses are looked at later, all at once, so that a GPU need not be waited for in each."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.tensor import Tensor
from tensorgrad.train.figures import Running
from tensorgrad.train.randomness import set_states


@dataclass
class Step:
    """One step of the loop."""

    place: tuple[int, int, int]  # epoch, step, steps
    rate: float
    images: Tensor
    labels: Tensor
    states: dict[str, Any]  # of the random numbers, before it
    loss: Any = None  # Tensors on the device, once it has been made
    correct: Any = None


class Unread:
    """Steps whose losses nobody has looked at yet, and the state of before them."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.steps: list[Step] = []
        self.before: list[Any] = []

    def take(self, now: Step) -> None:
        """Make a step without a look at its loss."""
        trainer = self.trainer
        if not self.steps:
            self.before = [copy.deepcopy(part.state_dict()) for part in self._parts()]
        trainer.step_along(trainer.forward(now))
        self.steps.append(now)

    def _parts(self) -> list[Any]:
        trainer = self.trainer
        return [x for x in (trainer.model, trainer.optimizer, trainer.scheduler, trainer.scaler) if x is not None]

    def read(self, figures: Running) -> None:
        """Look at the losses, all at once; where one is not finite, go back and make the steps again one by one."""
        losses = _on_host([now.loss for now in self.steps])
        if numpy.isfinite(losses).all():
            correct = _on_host([now.correct for now in self.steps])
            for now, loss, right in zip(self.steps, losses, correct):
                figures.add(float(loss), int(right), now.labels.shape[0])
        else:
            for part, state in zip(self._parts(), self.before):
                part.load_state_dict(state)
            for now in self.steps:
                set_states({**now.states, "generators": []})
                self.trainer.careful_step(now, figures)
        self.steps, self.before = [], []


def _on_host(numbers: list[Tensor]) -> numpy.ndarray:
    """Tensors without dimensions as one NumPy array, fetched at once."""
    backend = backend_of(numbers[0].array)
    return backend.to_host(backend.stack([x.array for x in numbers], 0))
