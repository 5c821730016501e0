"""How the learning rate goes up and down in the course of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tensorgrad.errors import ArgumentError


def warmup_cosine(steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """A straight line up to the optimiser's learning rate, then half a cosine down to nothing; for LambdaLR.

    With T steps in all and W = warmup T of them (rounded), the rate of step t = 0, 1, ... is the optimiser's times
    (t + 1) / W for t < W, and (1 + cos(pi (t - W) / (T - W))) / 2 from there on; after the last step it stays 0.
    (Loshchilov & Hutter, 2017, equation 5, without restarts; the warm-up: Goyal et al., 2017.)

    >>> from tensorgrad.optim import SGD, lr_scheduler
    >>> from tensorgrad.nn import Linear
    >>> optimizer = SGD(Linear(1, 1).parameters(), lr=0.4)
    >>> scheduler = lr_scheduler.LambdaLR(optimizer, warmup_cosine(steps=8, warmup=0.5))
    >>> rates = []
    >>> for _ in range(8):
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 3))
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.1, 0.2, 0.3, 0.4, 0.4, 0.341, 0.2, 0.059]
    """
    if steps < 1:
        raise ArgumentError(f"warmup_cosine: steps={steps} must be at least 1")
    if not 0 <= warmup < 1:
        raise ArgumentError(f"warmup_cosine: warmup={warmup} is the share of all steps, from 0 to below 1")
    rising = min(round(warmup * steps), steps - 1)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min(step - rising, steps - rising) / (steps - rising)
        return (1 + math.cos(math.pi * done)) / 2

    return factor


def warmup_steps(
    steps: int, milestones: Sequence[float], warmup: float = 0.0, gamma: float = 0.1
) -> Callable[[int], float]:
    """A straight line up to the optimiser's learning rate, then a tenth of it after each milestone; for LambdaLR.

    With T steps in all and W = warmup T of them (rounded), the rate of step t = 0, 1, ... is the optimiser's times
    (t + 1) / W for t < W, and gamma^k from there on, k the number of milestones m with t >= m T. (He et al., 2015,
    divide by ten after half and after three quarters of the steps.)

    >>> factor = warmup_steps(steps=8, milestones=(0.5, 0.75))
    >>> [round(factor(step), 3) for step in range(8)]
    [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if steps < 1:
        raise ArgumentError(f"warmup_steps: steps={steps} must be at least 1")
    if not 0 <= warmup < 1:
        raise ArgumentError(f"warmup_steps: warmup={warmup} is the share of all steps, from 0 to below 1")
    if any(not 0 < milestone < 1 for milestone in milestones):
        raise ArgumentError(f"warmup_steps: milestones={tuple(milestones)} are shares of all steps, between 0 and 1")
    rising = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return gamma ** sum(step >= milestone * steps for milestone in milestones)

    return factor
