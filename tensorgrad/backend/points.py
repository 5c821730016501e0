"""Pooling on the kernels of numba_points.py: prepares their memory and shares their work."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_points as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import address, images_of
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.numba_simd import lanes
from tensorgrad.backend.rows import rows_of
from tensorgrad.backend.windows import Padding, Pair

Array = np.ndarray[Any, Any]

#: Comparisons or additions from which on threads are worth being asked.
SHARED_STEPS = 1 << 15


def takes(*arrays: Array) -> bool:
    """Whether these (N, C, H, W) are channels-last in memory, their channels whole registers."""
    return all(x.shape[1] % lanes() == 0 and rows_of(x) is not None for x in arrays)


def largest(x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> tuple[Array, Array]:
    """The largest number of every window, and the number of the tap it was found at."""
    images, channels, height, width = x.shape
    z = images_of((images, channels, *outputs))
    winners = aligned((images, *outputs, channels), np.uint8).transpose(0, 3, 1, 2)
    words = [address(x), address(z), address(winners), height, width, channels, *outputs, *kernel, *stride]
    steps = z.size * kernel[0] * kernel[1]
    team.run(code.largest, [*words, padding[0], padding[2]], images * outputs[0], steps >= SHARED_STEPS)
    return z, winners


def to_winners(dz: Array, winners: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """dx of `largest`: every dz added where its winner was."""
    images, channels, *outputs = dz.shape
    dx = images_of((images, channels, *size))
    words = [address(dz), address(winners), address(dx), *size, channels, *outputs, *kernel, *stride]
    team.run(code.to_winners, [*words, padding[0], padding[2]], images * size[0], dx.size >= SHARED_STEPS)
    return dx


def sums(x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> Array:
    """The sum of every window."""
    images, channels, height, width = x.shape
    z = images_of((images, channels, *outputs))
    words = [address(x), address(z), height, width, channels, *outputs, *kernel, *stride, padding[0], padding[2]]
    team.run(code.sums, words, images * outputs[0], z.size * kernel[0] * kernel[1] >= SHARED_STEPS)
    return z


def spreads(dz: Array, size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """dx of `sums`: every dz added to all places of its window."""
    images, channels, *outputs = dz.shape
    dx = images_of((images, channels, *size))
    words = [address(dz), address(dx), *size, channels, *outputs, *kernel, *stride, padding[0], padding[2]]
    team.run(code.spreads, words, images * size[0], dx.size * kernel[0] * kernel[1] >= SHARED_STEPS)
    return dx
