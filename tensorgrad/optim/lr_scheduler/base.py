"""Learning rates that change as training goes on: `scheduler.step()` after every epoch, with OneCycleLR after every batch.

A scheduler writes group["lr"] of every group of its optimiser; `last_epoch` counts its steps, from 0. What the rate was
before the first is kept in the group as `initial_lr`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.errors import ArgumentError, OperandError, StateError
from tensorgrad.optim.optimizer import Group, Optimizer


class LRScheduler:
    """The base. A subclass gives `get_lr()`, the rates of the groups at `last_epoch`.

    last_epoch  continue after this many steps (the groups must then have their `initial_lr`); -1 starts anew
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise OperandError(f"{name}: optimizer is a {type(optimizer).__name__}; it must be an Optimizer")
        for position, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])  # another scheduler of this optimiser may have set it
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{name}: last_epoch is {last_epoch}, but group {position} of the optimiser has no 'initial_lr'; "
                    "load its state first, or start anew with last_epoch=-1"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rate of every group at `last_epoch`."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by one, and set the learning rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr
        self._last_lr = self._current()

    def get_last_lr(self) -> list[float]:
        """The learning rates set last."""
        return self._last_lr

    def _current(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        return {
            key: value for key, value in self.__dict__.items() if key != "optimizer" and not _holds_functions(value)
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`."""
        unknown = sorted(set(state_dict) - set(self.__dict__))
        if unknown:
            raise StateError(
                f"{type(self).__name__}.load_state_dict: the state holds {', '.join(unknown)}, which this scheduler "
                "does not know"
            )
        self.__dict__.update(state_dict)


def _holds_functions(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(callable(part) for part in value))


class LambdaLR(LRScheduler):
    """lr = initial_lr * lr_lambda(epoch), one function for all groups or a list with one each.

    >>> import tensorgrad
    >>> optimizer = tensorgrad.optim.SGD([tensorgrad.zeros(1)], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    >>> scheduler.step()
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ArgumentError(f"LambdaLR: got {len(self.lr_lambdas)} functions for {groups} groups; give one each")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """lr *= gamma after every step_size epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ArgumentError(f"StepLR: step_size is {step_size}; it must be at least 1")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._current()
        return [lr * self.gamma for lr in self._current()]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2: down in T_max epochs, then up again.

    Loshchilov & Hutter, 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR: T_max is {T_max}; it must be at least 1")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        return (1.0 + math.cos(math.pi * epoch / self.T_max)) / 2.0

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._current()
        here, before = self._height(self.last_epoch), self._height(self.last_epoch - 1)
        if not self._last_lr:  # continued from a later epoch: the present rate may be anything
            return [self.eta_min + (base - self.eta_min) * here for base in self.base_lrs]
        # after that as a change of the present rate, so that other schedules and the user may scale it meanwhile
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the very bottom there is no ratio to take
            return [lr + (base - self.eta_min) * here for lr, base in zip(self._current(), self.base_lrs)]
        return [self.eta_min + (lr - self.eta_min) * here / before for lr in self._current()]


class OneCycleLR(LRScheduler):
    """The rate rises from max_lr / div_factor to max_lr, then falls to a 1 / final_div_factor of where it began.

    Stepped after every batch. Smith & Topin, 2018.

    max_lr           one number, or one a group
    total_steps      how many steps there will be; or give epochs and steps_per_epoch
    pct_start        the part of them in which the rate rises
    anneal_strategy  'cos' or 'linear'
    cycle_momentum   momentum (Adam's first beta) goes the other way, from max_momentum to base_momentum and back
    three_phase      come down as one went up, then fall to the end
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not 0.0 <= pct_start <= 1.0:
            raise ArgumentError(f"OneCycleLR: pct_start is {pct_start}; it must be from 0 to 1")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"OneCycleLR: anneal_strategy is {anneal_strategy!r}; it must be 'cos' or 'linear'")
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        groups = optimizer.param_groups
        highest = list(max_lr) if isinstance(max_lr, Sequence) else [max_lr] * len(groups)
        if len(highest) != len(groups):
            raise ArgumentError(
                f"OneCycleLR: got {len(highest)} values of max_lr for {len(groups)} groups; give one each"
            )
        last = float(self.total_steps - 1)
        rise = float(pct_start * self.total_steps) - 1
        # (where a phase ends, the rate it starts from and the one it leads to, the momenta likewise)
        if three_phase:
            fall = float(2 * pct_start * self.total_steps) - 2
            self._phases = [
                (rise, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (fall, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                (last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
            ]
        else:
            self._phases = [
                (rise, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
                (last, "max_lr", "min_lr", "base_momentum", "max_momentum"),
            ]
        if last_epoch == -1:
            for group, top in zip(groups, highest):
                group["lr"] = group["initial_lr"] = float(top) / div_factor
                group["max_lr"] = float(top)
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["base_momentum"], group["max_momentum"] = base_momentum, max_momentum
                    _set_momentum(group, max_momentum)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: this is step {self.last_epoch} of {self.total_steps}; total_steps must be their number"
            )
        start, phase = self._phase()
        end, lr_from, lr_to, momentum_from, momentum_to = phase
        part = (self.last_epoch - start) / (end - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[lr_from], group[lr_to], part))
            if self.cycle_momentum:
                _set_momentum(group, self._between(group[momentum_from], group[momentum_to], part))
        return rates

    def _phase(self) -> tuple[float, tuple[float, str, str, str, str]]:
        """Where the phase of this step starts, and the phase."""
        start = 0.0
        for phase in self._phases[:-1]:
            if self.last_epoch <= phase[0]:
                return start, phase
            start = phase[0]
        return start, self._phases[-1]

    def _between(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * part
        return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * part))


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is None:
        if epochs is None or steps_per_epoch is None:
            raise ArgumentError("OneCycleLR: give total_steps, or both epochs and steps_per_epoch")
        total_steps = epochs * steps_per_epoch
    if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
        raise ArgumentError(f"OneCycleLR: total_steps is {total_steps!r}; it must be a whole number of at least 1")
    return total_steps


def _set_momentum(group: Group, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    elif "momentum" in group:
        group["momentum"] = momentum
    else:
        raise ArgumentError("OneCycleLR: the optimiser has no momentum to cycle; pass cycle_momentum=False")
