"""Group normalisation on the kernels of numba_groups.py: prepares their memory and shares their work."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_groups as code
from tensorgrad.backend import team
from tensorgrad.backend.lines import SHARED_NUMBERS
from tensorgrad.backend.memory import address_of, aligned

Array = np.ndarray[Any, Any]


def _vector(values: Array | None) -> tuple[Array | None, int]:
    """Contiguous values, and their address; 0 for none."""
    if values is None:
        return None, 0
    values = np.ascontiguousarray(values)
    return values, address_of(values)


def group_norm(x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float) -> tuple[Array, ...]:
    """(z, mean, var, 1 / sqrt(var + eps)) of x (N, C, ...); z in the order of its axes."""
    x = np.ascontiguousarray(x)
    z = aligned(x.shape, x.dtype)
    lines, members = x.shape[0] * groups, x.shape[1] // groups
    (weight, w), (bias, b) = _vector(weight), _vector(bias)
    mean, var, inverse = (np.empty(lines, np.float32) for _ in range(3))
    small = np.array([eps], np.float32)
    words = [address_of(x), address_of(z), members, x.size // (lines * members), w, b, groups]
    words += map(address_of, (mean, var, inverse, small))
    team.run(code.group_norm, words, lines, x.size >= SHARED_NUMBERS)
    return z, mean, var, inverse


def group_norm_grad(
    dz: Array, x: Array, weight: Array | None, mean: Array, inverse: Array, groups: int
) -> tuple[Array, Array, Array]:
    """(dx, dw, db)."""
    dz, x = np.ascontiguousarray(dz), np.ascontiguousarray(x)
    dx = aligned(x.shape, x.dtype)
    lines, members = x.shape[0] * groups, x.shape[1] // groups
    weight, w = _vector(weight)
    sums = np.empty((2, *x.shape[:2]), np.float32)
    words = [*map(address_of, (dz, x, dx)), members, x.size // (lines * members), w, groups]
    words += map(address_of, (mean, inverse, sums[0], sums[1]))
    team.run(code.group_norm_gradient, words, lines, x.size >= SHARED_NUMBERS)
    dw, db = sums.sum(axis=1, dtype=np.float64).astype(np.float32)
    return dx, dw, db
