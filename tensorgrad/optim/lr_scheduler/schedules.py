"""More learning-rate schedules: in steps, in lines, in cycles, by what the loss does, and one after the other.

Each rate is computed from the one before it where PyTorch does so, so that a rate changed by hand is carried on.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.optim.lr_scheduler.base import LRScheduler
from tensorgrad.optim.optimizer import Optimizer


def _for_each(value: Any, groups: int) -> list[float]:
    """One number for each group, from one or from a list."""
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * groups


class _Chained(LRScheduler):
    """Each rate is the one before times `factor(epoch)`."""

    def factor(self, epoch: int) -> float:
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._current()
        return [lr * self.factor(self.last_epoch) for lr in self._current()]


class MultiStepLR(_Chained):
    """The rate times gamma at each of the `milestones` (epochs).

    >>> import tensorgrad
    >>> optimizer = tensorgrad.optim.SGD([tensorgrad.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler, rates = MultiStepLR(optimizer, [2, 3], gamma=0.1), []
    >>> for _ in range(4):
    ...     rates.append(round(scheduler.get_last_lr()[0], 3))
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.1, 0.01]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma ** self.milestones[epoch])


class ExponentialLR(_Chained):
    """The rate times gamma at every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return self.gamma


class MultiplicativeLR(_Chained):
    """The rate times lr_lambda(epoch) at every epoch; one function, or one for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ArgumentError(
                f"MultiplicativeLR: got {len(self.lr_lambdas)} functions for {groups} groups; give one, or one for each"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._current()
        return [lr * function(self.last_epoch) for lr, function in zip(self._current(), self.lr_lambdas)]


class ConstantLR(_Chained):
    """The rate times `factor` until epoch total_iters."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ArgumentError(f"ConstantLR: factor is {factor}; it must be from 0 to 1")
        self.share = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.share for lr in self._current()]
        back = 1.0 / self.share if self.last_epoch == self.total_iters else 1.0
        return [lr * back for lr in self._current()]


class LinearLR(LRScheduler):
    """The rate times a factor that goes evenly from start_factor to end_factor in total_iters epochs: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ArgumentError(f"LinearLR: start_factor is {start_factor}; it must be above 0 and at most 1")
        if not 0 <= end_factor <= 1:
            raise ArgumentError(f"LinearLR: end_factor is {end_factor}; it must be from 0 to 1")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._current()]
        if self.last_epoch > self.total_iters:
            return self._current()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [lr * (1.0 + rise / before) for lr in self._current()]


class PolynomialLR(_Chained):
    """The rate times (1 - epoch / total_iters)^power, 0 from epoch total_iters on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        if epoch > self.total_iters:
            return 1.0
        left, before = 1.0 - epoch / self.total_iters, 1.0 - (epoch - 1) / self.total_iters
        return float((left / before) ** self.power)


class CosineAnnealingWarmRestarts(LRScheduler):
    """eta_min + (lr - eta_min) (1 + cos(pi t / T)) / 2, t from 0 to T, then again from lr, each T T_mult times the one before.

    Loshchilov & Hutter, 2017 (SGDR). step(epoch) with a fraction of an epoch goes on within one.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ArgumentError(f"CosineAnnealingWarmRestarts: T_0 is {T_0!r}; it must be a whole number above 0")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ArgumentError(
                f"CosineAnnealingWarmRestarts: T_mult is {T_mult!r}; it must be a whole number from 1 on"
            )
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (lr - self.eta_min) * share for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        if epoch is None:
            epoch = max(self.last_epoch, -1) + 1
        if epoch < 0:
            raise ArgumentError(f"CosineAnnealingWarmRestarts.step: epoch is {epoch}; it must not be negative")
        done, length = 0.0, self.T_0
        while epoch - done >= length:  # the cycle that the epoch is in
            done += length
            length *= self.T_mult
        self.T_cur, self.T_i = epoch - done, length
        self.last_epoch = math.floor(epoch)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr
        self._last_lr = self._current()


class CyclicLR(LRScheduler):
    """From base_lr up to max_lr in step_size_up steps, down again in step_size_down, and so on. Smith, 2017.

    mode       'triangular'; 'triangular2' halves the height at every cycle; 'exp_range' times gamma^step
    scale_fn   a height of one's own, of the cycle's number or (scale_mode 'iterations') of the step's
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ArgumentError(
                f"CyclicLR: mode is {mode!r}; it must be 'triangular', 'triangular2' or 'exp_range', or give scale_fn"
            )
        groups = len(optimizer.param_groups)
        lows, self.max_lrs = _for_each(base_lr, groups), _for_each(max_lr, groups)
        self.up = float(step_size_up)
        self.total = self.up + float(step_size_up if step_size_down is None else step_size_down)
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        if cycle_momentum and not any(key in optimizer.defaults for key in ("momentum", "betas")):
            raise ArgumentError("CyclicLR: the optimiser has no momentum to cycle; pass cycle_momentum=False")
        if last_epoch == -1:
            for group, low in zip(optimizer.param_groups, lows):
                group["lr"] = low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lows

    def _height(self) -> float:
        cycle = math.floor(1 + self.last_epoch / self.total)
        place = 1.0 + self.last_epoch / self.total - cycle
        turn = self.up / self.total
        rise = place / turn if place <= turn else (place - 1) / (turn - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        if self.scale_fn is not None:
            return rise * self.scale_fn(at)
        scale = {"triangular": 1.0, "triangular2": 1 / (2.0 ** (cycle - 1)), "exp_range": self.gamma**at}[self.mode]
        return float(rise * scale)

    def get_lr(self) -> list[float]:
        height = self._height()
        if self.cycle_momentum:
            momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * height
            for group in self.optimizer.param_groups:
                if "momentum" in group:
                    group["momentum"] = momentum
                else:
                    group["betas"] = (momentum, *group["betas"][1:])
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs)]


class SequentialLR(LRScheduler):
    """One scheduler after the other: number i + 1 begins at milestones[i], as if it were at its start.

    >>> import tensorgrad
    >>> optimizer = tensorgrad.optim.SGD([tensorgrad.ones(1, requires_grad=True)], lr=1.0)
    >>> warm_up = LinearLR(optimizer, 0.25, total_iters=3)
    >>> scheduler = SequentialLR(optimizer, [warm_up, ExponentialLR(optimizer, 0.5)], milestones=[3])
    >>> rates = []
    >>> for _ in range(5):
    ...     rates.append(round(scheduler.get_last_lr()[0], 3))
    ...     scheduler.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: got {len(schedulers)} schedulers and {len(milestones)} milestones; there must be one less"
            )
        _same_optimizer("SequentialLR", schedulers, optimizer)
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.optimizer = optimizer
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:  # every scheduler has taken its first step when it was made
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler.last_epoch -= 1
        self._schedulers[0].step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[number]
        if number and self._milestones[number - 1] == self.last_epoch:
            for group, lr in zip(self.optimizer.param_groups, scheduler.base_lrs):
                group["lr"] = lr
            scheduler.last_epoch = -1
        scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        state = {"last_epoch": self.last_epoch, "_milestones": self._milestones, "_last_lr": self._last_lr}
        return {**state, "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _load_all(self, state_dict)


class ChainedScheduler(LRScheduler):
    """Several schedulers at once, each on the rate that the one before left."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError("ChainedScheduler: got no schedulers")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        _same_optimizer("ChainedScheduler", schedulers, self.optimizer)
        self._schedulers = list(schedulers)
        self._last_lr = self._current()

    def step(self) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._current()

    def state_dict(self) -> dict[str, Any]:
        return {"_last_lr": self._last_lr, "_schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _load_all(self, state_dict)


def _same_optimizer(name: str, schedulers: Sequence[Any], optimizer: Optimizer) -> None:
    for scheduler in schedulers:
        if getattr(scheduler, "optimizer", None) is not optimizer:
            raise ArgumentError(
                f"{name}: {type(scheduler).__name__} belongs to another optimiser; all must have the same"
            )


def _load_all(scheduler: Any, state_dict: dict[str, Any]) -> None:
    rest = dict(state_dict)
    for inner, state in zip(scheduler._schedulers, rest.pop("_schedulers")):
        inner.load_state_dict(state)
    scheduler.__dict__.update(rest)


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when a figure has not improved for more than `patience` epochs: step(figure).

    mode            'min': a smaller figure is better; 'max': a larger one
    threshold       what counts as better: by this share ('rel') or amount ('abs', threshold_mode)
    cooldown        epochs to wait after a reduction
    min_lr, eps     no rate goes below min_lr, nor changes by less than eps

    >>> import tensorgrad
    >>> optimizer = tensorgrad.optim.SGD([tensorgrad.ones(1, requires_grad=True)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [1.0, 0.9, 0.9, 0.9]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1.0:
            raise ArgumentError(f"ReduceLROnPlateau: factor is {factor}; it must be below 1")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"ReduceLROnPlateau: got mode={mode!r}, threshold_mode={threshold_mode!r}; they must be 'min' or 'max', "
                "'rel' or 'abs'"
            )
        if not isinstance(optimizer, Optimizer):
            raise OperandError(f"ReduceLROnPlateau: optimizer is a {type(optimizer).__name__}; it must be an Optimizer")
        groups = len(optimizer.param_groups)
        self.min_lrs = _for_each(min_lr, groups)
        if len(self.min_lrs) != groups:
            raise ArgumentError(
                f"ReduceLROnPlateau: got {len(self.min_lrs)} min_lr for {groups} groups; give one for each"
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = self._current()

    def step(self, metrics: Any = None, epoch: int | None = None) -> None:  # type: ignore[override]
        """Note a figure, and reduce the rates if it is time."""
        if metrics is None:
            raise OperandError("ReduceLROnPlateau.step: it needs the figure to watch: scheduler.step(validation_loss)")
        figure = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._better(figure):
            self.best = figure
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                lr = float(group["lr"])
                lower = max(lr * self.factor, least)
                if lr - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._current()

    def _better(self, figure: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "rel":
            return sign * figure > sign * self.best * (1 + sign * self.threshold)
        return sign * figure > sign * self.best + self.threshold
