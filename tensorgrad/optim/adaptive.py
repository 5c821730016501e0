"""Optimisers that divide by the size of past gradients, so that every weight has a step of its own: Adagrad and after."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError
from tensorgrad.optim.optimizer import Group, Optimizer, check_settings
from tensorgrad.tensor import Tensor


def gradient(w: Any, dw: Any, group: Group) -> Any:
    """g = dw + weight_decay w, with maximize -dw + weight_decay w; never dw itself changed."""
    g = -dw if group["maximize"] else dw
    decay = float(group["weight_decay"])
    return g + decay * w if decay else g


class Adagrad(Optimizer):
    """w -= lr' g / (sqrt(sum of all g^2) + eps)        lr' = lr / (1 + (t - 1) lr_decay), g = dw + weight_decay w

    initial_accumulator_value  what the sum starts from
    Duchi et al., 2011.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def check(self, group: Group) -> None:
        names = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
        check_settings("Adagrad", group, positive=names)

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            start = backend_of(p.array).zeros_like(p.array)
            start += float(group["initial_accumulator_value"])
            self.state[p] = {"step": 0, "sum": Tensor(start)}

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        state["step"] = steps = int(state["step"]) + 1
        g = gradient(w, dw, group)
        total = state["sum"].array
        total += g * g
        rate = float(group["lr"]) / (1.0 + (steps - 1) * float(group["lr_decay"]))
        w -= rate * g / (backend_of(w).sqrt(total) + float(group["eps"]))


class Adadelta(Optimizer):
    """w -= lr d        d = sqrt(u + eps) / sqrt(v + eps) g, v = rho v + (1 - rho) g^2, u = rho u + (1 - rho) d^2

    The step has the unit of w whatever the unit of the gradient. Zeiler, 2012.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: Group) -> None:
        check_settings("Adadelta", group, positive=("lr", "rho", "eps", "weight_decay"))
        if group["rho"] > 1:
            raise ArgumentError(f"Adadelta: rho is {group['rho']}; it must be from 0 to 1")

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        backend = backend_of(w)
        if not state:
            state.update(step=0, square_avg=Tensor(backend.zeros_like(w)), acc_delta=Tensor(backend.zeros_like(w)))
        state["step"] = int(state["step"]) + 1
        rho, eps = float(group["rho"]), float(group["eps"])
        g = gradient(w, dw, group)
        v, u = state["square_avg"].array, state["acc_delta"].array
        v *= rho
        v += (1.0 - rho) * g * g
        d = backend.sqrt(u + eps) / backend.sqrt(v + eps) * g
        u *= rho
        u += (1.0 - rho) * d * d
        w -= float(group["lr"]) * d


class RMSprop(Optimizer):
    """w -= lr b        b = momentum b + g / (sqrt(v) + eps), v = alpha v + (1 - alpha) g^2

    With `centered` v is made a variance: minus the square of the mean gradient. Hinton, lecture 6 of his course, 2012;
    centered: Graves, 2013.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def check(self, group: Group) -> None:
        check_settings("RMSprop", group, positive=("lr", "alpha", "eps", "weight_decay", "momentum"))

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        backend = backend_of(w)
        momentum, alpha = float(group["momentum"]), float(group["alpha"])
        if not state:
            state["step"] = 0
            kept = [
                "square_avg",
                *(["momentum_buffer"] if momentum else []),
                *(["grad_avg"] if group["centered"] else []),
            ]
            state.update({name: Tensor(backend.zeros_like(w)) for name in kept})
        state["step"] = int(state["step"]) + 1
        g = gradient(w, dw, group)
        v = state["square_avg"].array
        v *= alpha
        v += (1.0 - alpha) * g * g
        spread = v
        if group["centered"]:
            mean = state["grad_avg"].array
            mean += (1.0 - alpha) * (g - mean)
            spread = v - mean * mean
        step = g / (backend.sqrt(spread) + float(group["eps"]))
        if momentum:
            b = state["momentum_buffer"].array
            b *= momentum
            b += step
            step = b
        w -= float(group["lr"]) * step
