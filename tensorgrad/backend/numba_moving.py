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
def take(x: Array, index: Array, z: Array, wrong: Array, start: int, stop: int) -> None:
    """z[o, j, i] = x[o, index[o, j, i], i] for the outer places from start to stop; wrong[0] = 1 where an index is not there."""
    length, rows, inner = x.shape[1], index.shape[1], index.shape[2]
    for outer in range(start, stop):
        if inner == 1:  # the last dimension: numbers side by side
            line, places, result = x[outer, :, 0], index[outer, :, 0], z[outer, :, 0]
            for j in range(rows):
                place = places[j] if places[j] >= 0 else places[j] + length
                if 0 <= place < length:
                    result[j] = line[place]
                else:
                    wrong[0] = 1
            continue
        for j in range(rows):
            for i in range(inner):
                place = index[outer, j, i]
                place = place if place >= 0 else place + length
                if 0 <= place < length:
                    z[outer, j, i] = x[outer, place, i]
                else:
                    wrong[0] = 1


@compiled
def put(dz: Array, index: Array, z: Array, wrong: Array, start: int, stop: int) -> None:
    """z[o, index[o, j, i], i] += dz[o, j, i] for the outer places from start to stop; wrong as in `take`."""
    length, rows, inner = z.shape[1], index.shape[1], index.shape[2]
    for outer in range(start, stop):
        if inner == 1:
            line, places, result = dz[outer, :, 0], index[outer, :, 0], z[outer, :, 0]
            for j in range(rows):
                place = places[j] if places[j] >= 0 else places[j] + length
                if 0 <= place < length:
                    result[place] += line[j]
                else:
                    wrong[0] = 1
            continue
        for j in range(rows):
            for i in range(inner):
                place = index[outer, j, i]
                place = place if place >= 0 else place + length
                if 0 <= place < length:
                    z[outer, place, i] += dz[outer, j, i]
                else:
                    wrong[0] = 1


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
