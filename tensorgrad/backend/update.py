"""The steps of the optimisers that are used most, on one parameter's arrays, in place.

They are element by element, so a large parameter is worked on in blocks: what one line leaves in the cache the next finds
there, and w, dw and the state cross the memory bus once instead of once a line. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tensorgrad.backend.parallel import share

Array = Any

#: Elements of a block: with its state and temporary values it fits into a second-level cache.
BLOCK = 1 << 15


class UpdateKernels:
    """The formulas, for every array library; the settings are Python's numbers."""

    xp: Any

    def gathering(self) -> AbstractContextManager[None]:
        """Inside, updates may wait for each other; when it is left, all are made. Here each is made at once."""
        return nullcontext()

    def sgd_update(
        self, w: Array, dw: Array, velocity: Array | None, lr: float, momentum: float, factor: float, decay: float,
        nesterov: bool, maximize: bool,
    ) -> None:  # fmt: skip
        """w -= lr v, v = momentum v + factor g, g = dw + decay w; see optim.SGD. Without a velocity v = g."""
        g = -dw if maximize else dw
        if decay:
            g = g + decay * w
        if velocity is not None:
            velocity *= momentum
            velocity += g if factor == 1.0 else factor * g
            g = g + momentum * velocity if nesterov else velocity
        w -= lr * g

    def adam_update(
        self, w: Array, dw: Array, m: Array, v: Array, largest: Array | None, lr: float, betas: tuple[float, float],
        root: float, eps: float, decay: float, decoupled: bool, maximize: bool,
    ) -> None:  # fmt: skip
        """w -= lr m / (root sqrt(v) + eps), where lr and root hold the corrections for the start at 0; see optim.Adam.

        decay is what w is multiplied with if decoupled, else the share of w in the gradient.
        """
        xp = self.xp
        g = -dw if maximize else dw
        if decoupled:
            if decay != 1.0:
                w *= decay
        elif decay:
            g = g + decay * w
        m *= betas[0]
        m += (1.0 - betas[0]) * g
        v *= betas[1]
        square = g * g
        square *= 1.0 - betas[1]
        v += square
        if largest is not None:
            largest[...] = xp.maximum(largest, v)
            v = largest
        step = xp.sqrt(v)
        step *= root
        step += eps
        step = xp.true_divide(m, step)
        step *= lr
        w -= step

    def unscale(self, gradients: list[Array], scale: Array) -> Array:
        """Every gradient divided by scale (an array without dimensions), in place; whether all of them are finite then."""
        xp = self.xp
        inverse = (1.0 / scale.astype(xp.float64)).astype(xp.float32)
        finite = None
        for g in gradients:
            g *= inverse
            good = xp.isfinite(g).all()
            finite = good if finite is None else finite & good
        return finite


class BlockedUpdateKernels(UpdateKernels):
    """In blocks, shared among the threads; for NumPy."""

    def sgd_update(self, w: Array, dw: Array, velocity: Array | None, *settings: Any) -> None:
        if w.size <= BLOCK:
            super().sgd_update(w, dw, velocity, *settings)
        else:
            _in_blocks(super().sgd_update, (w, dw, velocity), settings)

    def adam_update(self, w: Array, dw: Array, m: Array, v: Array, largest: Array | None, *settings: Any) -> None:
        if w.size <= BLOCK:
            super().adam_update(w, dw, m, v, largest, *settings)
        else:
            _in_blocks(super().adam_update, (w, dw, m, v, largest), settings)


def _in_blocks(formula: Callable[..., None], arrays: tuple[Array | None, ...], settings: tuple[Any, ...]) -> None:
    """formula(*arrays, *settings), block by block where all arrays lie in memory in the same simple order."""
    w = arrays[0]
    assert w is not None
    if not all(x is None or x.flags.c_contiguous for x in arrays):
        formula(*arrays, *settings)
        return
    lines = [None if x is None else x.reshape(-1) for x in arrays]

    def work(start: int, stop: int) -> None:
        for block in range(start, stop):
            part = slice(block * BLOCK, (block + 1) * BLOCK)
            formula(*[None if line is None else line[part] for line in lines], *settings)

    share(-(-w.size // BLOCK), work, w.size >= 16 * BLOCK)
