"""Element by element in one pass over lines of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled

Array = np.ndarray[Any, Any]


@compiled
def relu_grad(dz: Array, z: Array, dx: Array, start: int, stop: int) -> None:
    """dx = dz where z > 0, else 0."""
    zero = dz.dtype.type(0)
    cotangents, values, result = dz[start:stop], z[start:stop], dx[start:stop]
    for p in range(len(result)):
        result[p] = cotangents[p] if values[p] > zero else zero
