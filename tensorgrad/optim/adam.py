"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.optim.optimizer import Group, Optimizer, check_settings
from tensorgrad.tensor import Tensor


class Adam(Optimizer):
    """w -= lr m' / (sqrt(v') + eps)        m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, g = dw + weight_decay w

    m' = m / (1 - b1^t) and v' = v / (1 - b2^t) make up for the start at 0 (t counts the steps). With amsgrad the
    largest v so far takes the place of v; with maximize dw is turned round. Kingma & Ba, 2015;
    amsgrad: Reddi et al., 2018.

    >>> import tensorgrad
    >>> w = tensorgrad.tensor([1.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.9000], requires_grad=True)
    """

    decoupled = False  # whether weight decay leaves the gradient alone

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def check(self, group: Group) -> None:
        name = type(self).__name__
        check_settings(name, group, positive=("lr", "eps", "weight_decay"))
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise OperandError(f"{name}: betas is {betas!r}; it must be a pair of numbers")
        for position, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ArgumentError(f"{name}: betas[{position}] is {beta}; it must be at least 0 and below 1")

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        backend = backend_of(w)
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        if not state:
            state["step"] = 0
            for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]:
                state[key] = Tensor(backend.zeros_like(w))
        state["step"] = steps = int(state["step"]) + 1
        m, v = state["exp_avg"].array, state["exp_avg_sq"].array
        largest = state["max_exp_avg_sq"].array if group["amsgrad"] else None
        backend.adam_update(
            w,
            dw,
            m,
            v,
            largest,
            lr / (1.0 - beta1**steps),
            (beta1, beta2),
            1.0 / math.sqrt(1.0 - beta2**steps),
            float(group["eps"]),
            1.0 - lr * decay if self.decoupled else decay,
            self.decoupled,
            bool(group["maximize"]),
        )


class AdamW(Adam):
    """Adam, but weight decay shrinks w itself, w *= 1 - lr weight_decay, not g. Loshchilov & Hutter, 2019."""

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
