"""Steps of the optimisers on the kernels of numba_update.py: prepares their memory and shares their work.

Each takes the arguments of the formula in update.py and says whether it made the step: it does where all arrays are one line
in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_update as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import address
from tensorgrad.backend.numba_simd import Kernel, lanes
from tensorgrad.backend.rows import SHARED_NUMBERS

Array = np.ndarray[Any, Any]


def _run(kernel: Kernel, arrays: tuple[Array | None, ...], settings: list[float], *flags: bool) -> bool:
    if not all(x is None or x.flags.c_contiguous for x in arrays):
        return False
    values = np.array(settings, np.float32)
    w = arrays[0]
    assert w is not None
    words = [*map(address, arrays), w.size, address(values), *map(int, flags)]
    team.run(kernel, words, -(-w.size // lanes()), w.size >= SHARED_NUMBERS)
    return True


def sgd(
    w: Array, dw: Array, velocity: Array | None, lr: float, momentum: float, factor: float, decay: float, nesterov: bool,
    maximize: bool,
) -> bool:  # fmt: skip
    """See UpdateKernels.sgd_update."""
    settings = [lr, momentum, factor, decay, -1.0 if maximize else 1.0]
    return _run(code.sgd, (w, dw, velocity), settings, decay != 0, nesterov)


def adam(
    w: Array, dw: Array, m: Array, v: Array, lr: float, betas: tuple[float, float], root: float, eps: float, decay: float,
    decoupled: bool, maximize: bool,
) -> bool:  # fmt: skip
    """See UpdateKernels.adam_update."""
    of_gradient, shrink = (0.0, decay) if decoupled else (decay, 1.0)
    means = [betas[0], 1.0 - betas[0], betas[1], 1.0 - betas[1]]
    settings = [lr, *means, root, eps, of_gradient, -1.0 if maximize else 1.0, shrink]
    return _run(code.adam, (w, dw, m, v), settings, of_gradient != 0)
