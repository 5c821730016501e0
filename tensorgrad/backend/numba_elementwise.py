"""Element by element in one pass over lines of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled

Array = np.ndarray[Any, Any]


@compiled
def relu(x: Array, z: Array, start: int, stop: int) -> None:
    """z = max(x, 0); a nan stays."""
    zero = x.dtype.type(0)
    for p in range(start, stop):
        z[p] = zero if x[p] <= zero else x[p]


@compiled
def relu_grad(dz: Array, z: Array, dx: Array, start: int, stop: int) -> None:
    """dx = dz where z > 0, else 0."""
    zero = dz.dtype.type(0)
    for p in range(start, stop):
        dx[p] = dz[p] if z[p] > zero else zero
