"""Averages of a model's weights over training: plain (SWA, Izmailov et al. 2018) or exponential (EMA)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from tensorgrad import creation
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import ArgumentError
from tensorgrad.mode import no_grad
from tensorgrad.nn.module import Module
from tensorgrad.optim.lr_scheduler.base import LRScheduler
from tensorgrad.optim.optimizer import Optimizer

Average = Callable[[Any, Any, int], Any]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """average = decay average + (1 - decay) value"""
    if not 0.0 <= decay <= 1.0:
        raise ArgumentError(f"get_ema_avg_fn: decay is {decay}; it must be from 0 to 1")
    return lambda average, value, count: decay * average + (1 - decay) * value


def get_swa_avg_fn() -> Average:
    """average += (value - average) / (count + 1)"""
    return lambda average, value, count: average + (value - average) / (count + 1)


class AveragedModel(Module):
    """A copy of a model whose weights are an average of the model's: update_parameters(model) adds it to the average.

    avg_fn       f(average, value, count) for each parameter; the plain mean by default (get_ema_avg_fn() for EMA)
    use_buffers  average the buffers too; else they are copied

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = AveragedModel(model)
    >>> for value in (1.0, 3.0):
    ...     _ = model.weight.data.fill_(value)
    ...     average.update_parameters(model)
    >>> average.module.weight.tolist()
    [[2.0]]
    """

    def __init__(
        self, model: Any, device: Any = None, avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        super().__init__()
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer(
            "n_averaged", creation.tensor(0, device=next((p.device for p in model.parameters()), None))
        )
        self.avg_fn = get_swa_avg_fn() if avg_fn is None else avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Any) -> None:
        """Add the model's weights to the average."""
        count = int(self.n_averaged)
        with no_grad():
            pairs = list(zip(self.module.parameters(), model.parameters()))
            copied = list(zip(self.module.buffers(), model.buffers()))
            if self.use_buffers:
                pairs += [pair for pair in copied if is_floating(pair[0].dtype)]
                copied = [pair for pair in copied if not is_floating(pair[0].dtype)]
            for average, value in pairs:
                value = value.detach().to(average.device)
                average.copy_(value if count == 0 else self.avg_fn(average.detach(), value, count))
            for mine, other in copied:
                mine.copy_(other)
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Any, device: Any = None) -> None:
    """Compute the running statistics of all batch norms anew, from one pass over `loader`: an average has none of its own.

    loader  batches of inputs, or of (inputs, ...)
    """
    norms = [
        module for module in model.modules() if hasattr(module, "running_mean") and module.running_mean is not None
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = model.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs epochs, then constant.

    anneal_strategy  'cos' or 'linear'
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"SWALR: anneal_strategy is {anneal_strategy!r}; it must be 'cos' or 'linear'")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"SWALR: anneal_epochs is {anneal_epochs!r}; it must be a whole number from 0 on")
        self.anneal_epochs = anneal_epochs
        self.anneal_strategy = anneal_strategy
        for group in optimizer.param_groups:
            group["swa_lr"] = float(swa_lr)
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        """How far it has come, 0 to 1."""
        t = min(1.0, max(0.0, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(max(0, step - 1)), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            target, lr = group["swa_lr"], float(group["lr"])
            start = target if before == 1 else (lr - before * target) / (1 - before)  # where the way began
            rates.append(target * now + start * (1 - now))
        return rates
