"""How the learning rate goes up and down in the course of a run."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.errors import ArgumentError


class WarmupCosine:
    """A straight line up to the optimiser's learning rate, then half a cosine down to nothing.

    With T steps in all and W = warmup T of them (rounded), the rate of step t = 0, 1, ... is the optimiser's times
    (t + 1) / W for t < W, and (1 + cos(pi (t - W) / (T - W))) / 2 from there on.
    (Loshchilov and Hutter: SGDR, ICLR 2017, equation 5, without restarts; the warm-up: Goyal et al., arXiv:1706.02677.)

    Call `step()` after each step of the optimiser; each group of parameters keeps its own rate.
    """

    def __init__(self, optimizer: Any, steps: int, warmup: float = 0.0) -> None:
        if steps < 1:
            raise ArgumentError(f"WarmupCosine: steps={steps} must be at least 1")
        if not 0 <= warmup < 1:
            raise ArgumentError(f"WarmupCosine: warmup={warmup} is the share of all steps, from 0 to below 1")
        self.optimizer = optimizer
        self.steps = steps
        self.warmup = min(round(warmup * steps), steps - 1)
        self.done = 0
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._set()

    def step(self) -> None:
        """Set the rate of the next step; after the last one it stays where it is."""
        self.done = min(self.done + 1, self.steps)
        self._set()

    def factor(self, step: int) -> float:
        """What the optimiser's own rate is multiplied by in this step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return (1 + math.cos(math.pi * (step - self.warmup) / (self.steps - self.warmup))) / 2

    def _set(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates):
            group["lr"] = rate * self.factor(self.done)
