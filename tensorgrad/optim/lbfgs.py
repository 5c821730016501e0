"""L-BFGS: Newton's method with a Hessian guessed from the last steps. For small problems without noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, GraphError
from tensorgrad.mode import enable_grad
from tensorgrad.optim.optimizer import Group, Optimizer, check_settings
from tensorgrad.tensor import Tensor

Closure = Callable[[], Any]
Probe = Callable[[float], tuple[float, Any, float]]


class LBFGS(Optimizer):
    """w -= lr H g, H the inverse Hessian guessed from the last `history_size` steps. Nocedal & Wright, 2006, algorithm 7.4.

    max_iter            iterations in one call of step
    max_eval            calls of the closure in one call of step (default: 1.25 max_iter)
    tolerance_grad      done when no gradient is larger
    tolerance_change    done when neither weights nor loss change by more
    line_search_fn      None (a step of lr) or 'strong_wolfe' (algorithms 3.5 and 3.6 of the same book)

    One group of parameters; step needs a closure, which clears the gradients, computes the loss, calls its backward and
    returns it.

    >>> import tensorgrad
    >>> w = tensorgrad.tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> w.round(decimals=4).tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        settings = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, settings)
        if len(self.param_groups) != 1:
            raise ArgumentError(
                "LBFGS: got several groups of parameters; it works on all of them together, give one list"
            )

    def check(self, group: Group) -> None:
        check_settings("LBFGS", group, positive=("lr", "tolerance_grad", "tolerance_change"))
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"LBFGS: line_search_fn is {group['line_search_fn']!r}; it must be None or 'strong_wolfe'"
            )

    def step(self, closure: Closure | None = None) -> Any:
        """Iterate; returns the loss of the first evaluation."""
        if closure is None:
            raise GraphError("LBFGS.step: it evaluates the loss several times, so it needs a closure")
        group = self.param_groups[0]
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate() -> tuple[Any, float]:
            with enable_grad():
                loss = closure()
            state["func_evals"] += 1
            return loss, float(loss)

        first, loss = evaluate()
        evaluations = 1
        g = self._gradient()
        if _largest(g) <= group["tolerance_grad"]:
            return first
        for iteration in range(int(group["max_iter"])):
            state["n_iter"] += 1
            self._remember(state, g, int(group["history_size"]))
            d = self._direction(g, state)
            slope = _dot(g, d)
            if slope > -group["tolerance_change"]:
                break
            t = min(1.0, 1.0 / _total(g)) * group["lr"] if state["n_iter"] == 1 else float(group["lr"])
            before = loss
            g_before = g
            last = iteration == group["max_iter"] - 1
            if group["line_search_fn"] == "strong_wolfe":
                start = [p.array.copy() for p in group["params"]]

                def probe(t: float, d: Any = d, start: Any = start) -> tuple[float, Any, float]:
                    self._place(start, d, t)
                    value = evaluate()[1]
                    there = self._gradient()
                    return value, there, _dot(there, d)

                t, loss, g, calls = strong_wolfe(probe, t, loss, g, slope)
                self._place(start, d, t)
                evaluations += calls
            else:
                self._move(d, t)
                if not last:
                    loss = evaluate()[1]
                    g = self._gradient()
                    evaluations += 1
            state["last"] = [Tensor(d * t), Tensor(g_before)]
            change = t * _largest(d)
            if (
                evaluations >= group["max_eval"]
                or _largest(g) <= group["tolerance_grad"]
                or change <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        return first

    # the parameters as one vector

    def _gradient(self) -> Any:
        parts = []
        for p in self.param_groups[0]["params"]:
            backend = backend_of(p.array)
            dw = backend.zeros_like(p.array) if p._grad is None else p._grad.array
            parts.append(backend.reshape(dw, (-1,)))
        return backend_of(parts[0]).concatenate(parts, 0)

    def _place(self, start: list[Any], d: Any, t: float) -> None:
        """w = start + t d"""
        offset = 0
        for p, w in zip(self.param_groups[0]["params"], start):
            p.storage.written("LBFGS.step")
            p.array[...] = w + t * backend_of(w).reshape(d[offset : offset + w.size], w.shape)
            offset += w.size

    def _move(self, d: Any, t: float) -> None:
        self._place([p.array for p in self.param_groups[0]["params"]], d, t)

    # the guess of the Hessian

    def _remember(self, state: dict[str, Any], g: Any, size: int) -> None:
        """Keep the last changes, of the gradient and of the weights, if the slope rose along them."""
        if "last" not in state:
            return
        s, y = state["last"][0].array, g - state["last"][1].array
        rise = _dot(y, s)
        if rise <= 1e-10:
            return
        pairs = state.setdefault("pairs", [])
        pairs.append([Tensor(y), Tensor(s), 1.0 / rise])
        del pairs[: max(len(pairs) - size, 0)]
        state["scale"] = rise / _dot(y, y)

    def _direction(self, g: Any, state: dict[str, Any]) -> Any:
        """-H g by the two loops of algorithm 7.4."""
        q = -g
        pairs = [(y.array, s.array, inverse) for y, s, inverse in state.get("pairs", [])]
        shares = []
        for y, s, inverse in reversed(pairs):
            share = inverse * _dot(s, q)
            shares.append(share)
            q = q - share * y
        q = q * state.get("scale", 1.0)
        for (y, s, inverse), share in zip(pairs, reversed(shares)):
            q = q + (share - inverse * _dot(y, q)) * s
        return q


def _dot(x: Any, y: Any) -> float:
    return float(backend_of(x).to_host((x * y).sum()))


def _largest(x: Any) -> float:
    return float(backend_of(x).to_host(backend_of(x).abs(x).max()))


def _total(x: Any) -> float:
    return float(backend_of(x).to_host(backend_of(x).abs(x).sum()))


def strong_wolfe(
    probe: Probe, t: float, loss: float, g: Any, slope: float, c1: float = 1e-4, c2: float = 0.9, most: int = 25
) -> tuple[float, float, Any, int]:
    """A step t that lowers the loss enough and flattens its slope: loss(t) <= loss + c1 t slope, |slope(t)| <= c2 |slope|.

    probe(t) gives loss, gradient and slope at t. Returns t, loss and gradient there, and how often it probed. Where no
    such step is found in `most` probes, the best one seen.
    """
    low = (0.0, loss, g, slope)
    before = low
    for calls in range(1, most + 1):
        here = (t, *probe(t))
        if here[1] > loss + c1 * t * slope or (calls > 1 and here[1] >= before[1]) or not math.isfinite(here[1]):
            return _zoom(probe, before, here, loss, slope, c1, c2, most, calls)
        if abs(here[3]) <= -c2 * slope:
            return here[0], here[1], here[2], calls
        if here[3] >= 0:
            return _zoom(probe, here, before, loss, slope, c1, c2, most, calls)
        further = _cubic(before, here)
        before, t = here, min(max(further, t + 0.01 * (t - before[0])), 10 * t)
    return before[0], before[1], before[2], most


def _zoom(
    probe: Probe, low: Any, high: Any, loss: float, slope: float, c1: float, c2: float, most: int, calls: int
) -> tuple[float, float, Any, int]:
    """Between `low`, the best so far, and `high` there is a step that will do: algorithm 3.6."""
    while calls < most:
        width = abs(high[0] - low[0])
        if width * max(abs(low[3]), 1e-300) < 1e-9:
            break
        t = _cubic(low, high)
        left, right = min(low[0], high[0]), max(low[0], high[0])
        if not left + 0.1 * width <= t <= right - 0.1 * width:
            t = (left + right) / 2
        here = (t, *probe(t))
        calls += 1
        if here[1] > loss + c1 * t * slope or here[1] >= low[1] or not math.isfinite(here[1]):
            high = here
            continue
        if abs(here[3]) <= -c2 * slope:
            low = here
            break
        if here[3] * (high[0] - low[0]) >= 0:
            high = low
        low = here
    return low[0], low[1], low[2], calls


def _cubic(a: Any, b: Any) -> float:
    """The lowest point of the cubic with the values and slopes of both points (Nocedal & Wright, 3.59), or the middle."""
    (ta, fa, _, sa), (tb, fb, _, sb) = a, b
    d1 = sa + sb - 3 * (fa - fb) / (ta - tb)
    square = d1 * d1 - sa * sb
    if not square >= 0:
        return float((ta + tb) / 2)
    d2 = math.copysign(math.sqrt(square), tb - ta)
    bottom = sb - sa + 2 * d2
    return float(tb - (tb - ta) * (sb + d2 - d1) / bottom) if bottom else float((ta + tb) / 2)
