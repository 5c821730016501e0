"""Relatives of Adam: with the largest gradient (Adamax), with Nesterov's look ahead (NAdam), rectified (RAdam)."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.optim.adam import Adam
from tensorgrad.optim.adaptive import gradient
from tensorgrad.optim.optimizer import Group, Optimizer, check_settings
from tensorgrad.tensor import Tensor

Betas = tuple[float, float]


class _Relative(Optimizer):
    """What they share: betas, and running means in the state."""

    kept: tuple[str, str]

    def check(self, group: Group) -> None:
        Adam.check(self, group)  # type: ignore[arg-type]

    def _begin(self, w: Any, state: dict[str, Any]) -> int:
        if not state:
            state.update({"step": 0, **{name: Tensor(backend_of(w).zeros_like(w)) for name in self.kept}})
        state["step"] = steps = int(state["step"]) + 1
        return steps

    def _gradient(self, w: Any, dw: Any, group: Group) -> Any:
        """The gradient with weight decay; a decoupled one shrinks w instead."""
        if not group.get("decoupled_weight_decay"):
            return gradient(w, dw, group)
        w *= 1.0 - float(group["lr"]) * float(group["weight_decay"])
        return -dw if group["maximize"] else dw


class Adamax(_Relative):
    """w -= lr m / ((1 - b1^t) u)        m = b1 m + (1 - b1) g, u = max(b2 u, |g| + eps). Kingma & Ba, 2015, section 7.1."""

    kept = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        backend = backend_of(w)
        steps = self._begin(w, state)
        beta1, beta2 = (float(beta) for beta in group["betas"])
        g = self._gradient(w, dw, group)
        m, u = state["exp_avg"].array, state["exp_inf"].array
        m += (1.0 - beta1) * (g - m)
        u[...] = backend.maximum(beta2 * u, backend.abs(g) + float(group["eps"]))
        w -= float(group["lr"]) / (1.0 - beta1**steps) * m / u


class NAdam(_Relative):
    """w -= lr ((1 - mu_t) / (1 - prod mu) g + mu_t+1 / (1 - prod mu mu_t+1) m) / (sqrt(v / (1 - b2^t)) + eps)

    mu_t = b1 (1 - 0.96^(t momentum_decay) / 2); m and v as in Adam. Dozat, 2016.
    """

    kept = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def check(self, group: Group) -> None:
        super().check(group)
        check_settings("NAdam", group, positive=("momentum_decay",))

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        steps = self._begin(w, state)
        beta1, beta2 = (float(beta) for beta in group["betas"])
        lr, decay = float(group["lr"]), float(group["momentum_decay"])
        g = self._gradient(w, dw, group)
        now, following = (beta1 * (1.0 - 0.5 * 0.96 ** (t * decay)) for t in (steps, steps + 1))
        product = state["mu_product"] = float(state.get("mu_product", 1.0)) * now
        m, v = state["exp_avg"].array, state["exp_avg_sq"].array
        m += (1.0 - beta1) * (g - m)
        v *= beta2
        v += (1.0 - beta2) * g * g
        size = backend_of(w).sqrt(v / (1.0 - beta2**steps)) + float(group["eps"])
        w -= lr * (1.0 - now) / (1.0 - product) * g / size
        w -= lr * following / (1.0 - product * following) * m / size


class RAdam(_Relative):
    """Adam whose adaptive part begins only when its variance is known: w -= lr m' r / (sqrt(v') + eps), before that lr m'

    With r_oo = 2 / (1 - b2) - 1 and r_t = r_oo - 2 t b2^t / (1 - b2^t), the adaptive part begins at r_t > 5 and
    r = sqrt((r_t - 4)(r_t - 2) r_oo / ((r_oo - 4)(r_oo - 2) r_t)). Liu et al., 2020.
    """

    kept = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        steps = self._begin(w, state)
        beta1, beta2 = (float(beta) for beta in group["betas"])
        g = self._gradient(w, dw, group)
        m, v = state["exp_avg"].array, state["exp_avg_sq"].array
        m += (1.0 - beta1) * (g - m)
        v *= beta2
        v += (1.0 - beta2) * g * g
        correction = 1.0 - beta2**steps
        limit = 2.0 / (1.0 - beta2) - 1.0
        length = limit - 2.0 * steps * beta2**steps / correction
        step = m / (1.0 - beta1**steps)
        if length > 5.0:
            rectified = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
            step = step * (rectified * math.sqrt(correction)) / (backend_of(w).sqrt(v) + float(group["eps"]))
        w -= float(group["lr"]) * step
