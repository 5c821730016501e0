"""Sums, softmax, layer and root mean square normalisation on the kernels of numba_lines.py: prepares their memory and shares their work."""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from tensorgrad.backend import numba_lines as code
from tensorgrad.backend import team
from tensorgrad.backend.memory import address_of, unset
from tensorgrad.backend.numba_simd import Kernel

Array = np.ndarray[Any, Any]

#: Numbers from which on threads are worth being asked.
SHARED_NUMBERS = 1 << 14
#: Numbers from which on threads are worth being asked to add them up.
FEWEST_SHARED_SUMMANDS = 1 << 17
#: Lines whose gradients of weight and bias are added up in float32.
LINES_OF_A_PART = 256


def sums(kernel: Kernel, x: Array, n: int) -> Array:
    """The sums of the lines of n numbers of x (or of their squares), whose memory is one block: (lines), added up piece by piece."""
    lines, pieces = x.size // n, -(-n // code.PIECE)
    z = unset((lines, pieces), x.dtype)
    team.run(kernel, [address_of(x), address_of(z), n, pieces], lines * pieces, x.size >= FEWEST_SHARED_SUMMANDS)
    return z[:, 0] if pieces == 1 else np.add.reduce(z, 1)


def values(kernel: Kernel, x: Array) -> Array:
    """z of softmax or its logarithm along the last dimension."""
    x = np.ascontiguousarray(x)
    z = unset(x.shape, x.dtype)
    n = x.shape[-1]
    team.run(kernel, [address_of(x), address_of(z), n], x.size // n, x.size >= SHARED_NUMBERS)
    return z


def gradients(kernel: Kernel, d: Array, z: Array) -> Array:
    """dx of softmax or its logarithm."""
    d, z = np.ascontiguousarray(d), np.ascontiguousarray(z)
    dx = unset(z.shape, z.dtype)
    n = z.shape[-1]
    team.run(kernel, [*map(address_of, (d, z, dx)), n], z.size // n, z.size >= SHARED_NUMBERS)
    return dx


def layer_norm(x: Array, weight: Array | None, bias: Array | None, n: int, eps: float) -> tuple[Array, ...]:
    """(z, mean, var, 1 / sqrt(var + eps)) of the lines of n numbers."""
    x = np.ascontiguousarray(x)
    weight = None if weight is None else np.ascontiguousarray(weight)
    bias = None if bias is None else np.ascontiguousarray(bias)
    z = unset(x.shape, x.dtype)
    lines = x.size // n
    found = np.empty((3, lines), np.float32)  # mean, variance, 1 / sqrt(var + eps)
    mean = address_of(found)
    small = array.array("f", (eps,))
    vectors = [0 if weight is None else address_of(weight), 0 if bias is None else address_of(bias)]
    words = [
        address_of(x),
        address_of(z),
        n,
        *vectors,
        mean,
        mean + 4 * lines,
        mean + 8 * lines,
        small.buffer_info()[0],
    ]
    team.run(code.layer_norm, words, lines, x.size >= SHARED_NUMBERS)
    return z, found[0], found[1], found[2]


def layer_norm_grad(
    dz: Array, x: Array, weight: Array | None, mean: Array, inverse: Array, n: int
) -> tuple[Array, Array | None, Array | None]:
    """(dx, dw, db); dw and db (n), None without a weight."""
    dz, x = np.ascontiguousarray(dz), np.ascontiguousarray(x)
    weight = None if weight is None else np.ascontiguousarray(weight)
    dx = unset(x.shape, x.dtype)
    lines = x.size // n
    parts = _parts(lines, x)
    sums = np.zeros((2, parts, n if weight is not None else 0), np.float32)
    words = [*map(address_of, (dz, x, dx)), n, 0 if weight is None else address_of(weight)]
    words += map(address_of, (mean, inverse, sums[0], sums[1]))
    team.run(code.layer_norm_gradient, words, lines, x.size >= SHARED_NUMBERS, parts)
    if weight is None:
        return dx, None, None
    dw, db = sums.sum(axis=1, dtype=np.float64).astype(np.float32)
    return dx, dw, db


def rms_norm(x: Array, weight: Array | None, n: int, eps: float) -> tuple[Array, Array]:
    """(z, 1 / sqrt(mean x^2 + eps)) of the lines of n numbers."""
    x = np.ascontiguousarray(x)
    weight = None if weight is None else np.ascontiguousarray(weight)
    z = unset(x.shape, x.dtype)
    lines = x.size // n
    inverse, small = np.empty(lines, np.float32), np.array([eps], np.float32)
    words = [address_of(x), address_of(z), n, 0 if weight is None else address_of(weight)]
    words += map(address_of, (inverse, small))
    team.run(code.rms_norm, words, lines, x.size >= SHARED_NUMBERS)
    return z, inverse


def rms_norm_grad(dz: Array, x: Array, weight: Array | None, inverse: Array, n: int) -> tuple[Array, Array | None]:
    """(dx, dw); dw (n), None without a weight."""
    dz, x = np.ascontiguousarray(dz), np.ascontiguousarray(x)
    weight = None if weight is None else np.ascontiguousarray(weight)
    dx = unset(x.shape, x.dtype)
    lines = x.size // n
    parts = _parts(lines, x)
    sums = np.zeros((parts, n if weight is not None else 0), np.float32)
    words = [*map(address_of, (dz, x, dx)), n, 0 if weight is None else address_of(weight)]
    words += map(address_of, (inverse, sums))
    team.run(code.rms_norm_gradient, words, lines, x.size >= SHARED_NUMBERS, parts)
    return dx, None if weight is None else sums.sum(axis=0, dtype=np.float64).astype(np.float32)


def _parts(lines: int, x: Array) -> int:
    """In how many parts the gradients of weight and bias are added up, whatever the number of threads."""
    return min(lines, max(16, lines // LINES_OF_A_PART)) if x.size >= SHARED_NUMBERS else 1
