"""Copies in the order of the dimensions, of values that have another in memory: matrices on their side, turned round by registers.

NumPy copies number by number where the last dimension does not lie side by side, two to seventeen times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.memory import unset

Array = np.ndarray[Any, Any]

#: Numbers from which on a kernel's call is less than what it saves, and the shortest side of a matrix for which it is.
FEWEST, SHORTEST_SIDE = 1 << 14, 16


def merged(x: Array) -> list[tuple[int, int]]:
    """(size, stride) of the dimensions of x, without those of size 1, neighbours that lie in memory as one being one."""
    dims: list[tuple[int, int]] = []
    for size, stride in zip(x.shape, x.strides):
        if size == 1:
            continue
        if dims and dims[-1][1] == size * stride:
            dims[-1] = (dims[-1][0] * size, stride)
        else:
            dims.append((size, stride))
    return dims


def is_view(dims: Sequence[tuple[int, int]], shape: Sequence[int]) -> bool:
    """Whether values with these merged dimensions have `shape`, of as many values, without a copy."""
    sizes = iter([size for size in shape if size != 1])
    for size, _ in dims:
        reached = 1
        while reached < size:
            reached *= next(sizes)  # there are as many values
        if reached != size:
            return False
    return True


def in_order(x: Array, dims: Sequence[tuple[int, int]] | None = None) -> Array | None:
    """A copy of x in the order of its dimensions, where these are matrices on their side; None where they are not.

    dims: merged(x), where it is known.
    """
    if not compiled.in_registers(x, least=FEWEST) or x.flags.c_contiguous:
        return None
    dims = merged(x) if dims is None else dims
    if len(dims) not in (2, 3) or dims[-2][1] != x.itemsize or dims[-1][1] < dims[-2][0] * x.itemsize:
        return None
    if min(dims[-1][0], dims[-2][0]) < SHORTEST_SIDE or dims[-1][1] % x.itemsize:
        return None
    (columns, _), (rows, step) = dims[-2:]
    count, apart = dims[0] if len(dims) == 3 else (1, 0)
    z = unset(x.shape, x.dtype)
    compiled.part("batch").turn_into(z, x, count, apart, step, rows, columns)
    return z
