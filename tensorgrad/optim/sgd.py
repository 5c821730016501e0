"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError
from tensorgrad.optim.optimizer import Group, Optimizer, check_settings
from tensorgrad.tensor import Tensor


class SGD(Optimizer):
    """w -= lr v        v = momentum v + (1 - dampening) g, g = dw + weight_decay w

    The first v is g itself, without dampening. With nesterov the step is along g + momentum v; with maximize dw is
    turned round. Polyak, 1964; Nesterov, 1983, in the form of Sutskever et al., 2013.

    >>> import tensorgrad
    >>> w = tensorgrad.tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    capturable = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def check(self, group: Group) -> None:
        check_settings("SGD", group, positive=("lr", "momentum", "weight_decay"))
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ArgumentError(
                f"SGD: nesterov with momentum {group['momentum']} and dampening {group['dampening']}; it needs a "
                "momentum above 0 and no dampening"
            )

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        # float(): a NumPy float64 among the settings would turn float32 arrays into float64
        lr, momentum, dampening = float(group["lr"]), float(group["momentum"]), float(group["dampening"])
        decay, maximize = float(group["weight_decay"]), bool(group["maximize"])
        velocity, factor = None, 1.0 - dampening
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:  # the first velocity is g itself: 0 momentum + 1 g
                buffer = state["momentum_buffer"] = Tensor(backend_of(w).zeros_like(w))
                factor = 1.0
            velocity = buffer.array
        backend_of(w).sgd_update(w, dw, velocity, lr, momentum, factor, decay, bool(group["nesterov"]), maximize)
