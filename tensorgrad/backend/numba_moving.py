"""Values moved by index, and running sums and products: loops that NumPy has only for one value at a time.

Rows of an array (outer, length, inner) are taken for each outer place by itself, in the order of memory. Running sums of
float32 are added up in float64, as PyTorch does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled

Array = np.ndarray[Any, Any]


@compiled
def add_rows(dz: Array, index: Array, z: Array, start: int, stop: int) -> None:
    """z[index[i]] += dz[i] for rows of z (rows, columns), columns from start to stop."""
    rows = len(z)
    for i in range(len(index)):
        row = index[i]
        if row < 0:
            row += rows
        for column in range(start, stop):
            z[row, column] += dz[i, column]


@compiled
def take(x: Array, index: Array, z: Array, start: int, stop: int) -> None:
    """z[o, j, i] = x[o, index[o, j, i], i] for the outer places from start to stop."""
    length = x.shape[1]
    for outer in range(start, stop):
        for j in range(index.shape[1]):
            for inner in range(index.shape[2]):
                place = index[outer, j, inner]
                if place < 0:
                    place += length
                z[outer, j, inner] = x[outer, place, inner]


@compiled
def put(dz: Array, index: Array, z: Array, start: int, stop: int) -> None:
    """z[o, index[o, j, i], i] += dz[o, j, i] for the outer places from start to stop."""
    length = z.shape[1]
    for outer in range(start, stop):
        for j in range(index.shape[1]):
            for inner in range(index.shape[2]):
                place = index[outer, j, inner]
                if place < 0:
                    place += length
                z[outer, place, inner] += dz[outer, j, inner]


@compiled
def running_sums(x: Array, z: Array, start: int, stop: int) -> None:
    """z[o, j, i] = x[o, 0, i] + ... + x[o, j, i] for the outer places from start to stop; four rows of one value at a time,
    since each sum waits for the one before."""
    length, inner = x.shape[1], x.shape[2]
    outer = start
    if inner == 1:
        while outer + 4 <= stop:
            a, b, c, d = np.float64(0), np.float64(0), np.float64(0), np.float64(0)
            for j in range(length):
                a += x[outer, j, 0]
                b += x[outer + 1, j, 0]
                c += x[outer + 2, j, 0]
                d += x[outer + 3, j, 0]
                z[outer, j, 0] = a
                z[outer + 1, j, 0] = b
                z[outer + 2, j, 0] = c
                z[outer + 3, j, 0] = d
            outer += 4
    while outer < stop:
        total = np.zeros(inner)
        for j in range(length):
            for i in range(inner):
                total[i] += x[outer, j, i]
                z[outer, j, i] = total[i]
        outer += 1


@compiled
def running_products(x: Array, z: Array, start: int, stop: int) -> None:
    """z[o, j, i] = x[o, 0, i] ... x[o, j, i], as `running_sums`."""
    length, inner = x.shape[1], x.shape[2]
    outer = start
    if inner == 1:
        while outer + 4 <= stop:
            a, b, c, d = np.float64(1), np.float64(1), np.float64(1), np.float64(1)
            for j in range(length):
                a *= x[outer, j, 0]
                b *= x[outer + 1, j, 0]
                c *= x[outer + 2, j, 0]
                d *= x[outer + 3, j, 0]
                z[outer, j, 0] = a
                z[outer + 1, j, 0] = b
                z[outer + 2, j, 0] = c
                z[outer + 3, j, 0] = d
            outer += 4
    while outer < stop:
        total = np.ones(inner)
        for j in range(length):
            for i in range(inner):
                total[i] *= x[outer, j, i]
                z[outer, j, i] = total[i]
        outer += 1
