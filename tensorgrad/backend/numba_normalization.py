"""Loops of batch normalisation; the formulas are in normalization.py.

Arrays come in one of two memory orders: *planes* (N, C, P), where a row of P points belongs to one channel, or *rows* (R, K),
where every column belongs to one channel (several points side by side make a row longer, and their channels repeat).
Sums are taken over one plane, or over BLOCK rows, in the dtype of x, and added up in float64 by the caller.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled, compiled_for_sums

Array = np.ndarray[Any, Any]

#: Rows whose sums are taken together.
BLOCK = 64


@compiled_for_sums
def moments_of_planes(x: Array, means: Array, squares: Array, start: int, stop: int) -> None:
    """means[n, c] = mean over the points p of x[n, c, p], squares[n, c] = sum_p (x[n, c, p] - means[n, c])^2."""
    _, channels, points = x.shape
    zero = x.dtype.type(0)
    for n in range(start, stop):
        for c in range(channels):
            plane = x[n, c]
            total = zero
            for p in range(points):
                total += plane[p]
            mean = x.dtype.type(total / points)
            rest, square = zero, zero
            for p in range(points):
                rest += plane[p] - mean
                square += (plane[p] - mean) * (plane[p] - mean)
            # the rounding of the mean is itself a mean that is left over: take it out, too
            more = np.float64(rest) / points
            means[n, c] = mean + more
            squares[n, c] = square - points * more * more


@compiled
def moments_of_rows(x: Array, means: Array, squares: Array, start: int, stop: int) -> None:
    """The same for the columns of each block b of rows: x (R, K) -> means, squares (blocks, K)."""
    columns = x.shape[1]
    mean, rest, square = np.empty(columns, x.dtype), np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for block in range(start, stop):
        first, last = block * BLOCK, min(len(x), (block + 1) * BLOCK)
        mean[:] = 0
        for r in range(first, last):
            row = x[r]
            for k in range(columns):
                mean[k] += row[k]
        for k in range(columns):
            mean[k] /= last - first
        rest[:] = 0
        square[:] = 0
        for r in range(first, last):
            row = x[r]
            for k in range(columns):
                deviation = row[k] - mean[k]
                rest[k] += deviation
                square[k] += deviation * deviation
        for k in range(columns):
            more = np.float64(rest[k]) / (last - first)
            means[block, k] = mean[k] + more
            squares[block, k] = square[k] - (last - first) * more * more


@compiled_for_sums
def products_of_planes(dz: Array, x: Array, mean: Array, sums: Array, products: Array, start: int, stop: int) -> None:
    """sums[n, c] = sum_p dz[n, c, p], products[n, c] = sum_p dz[n, c, p] * (x[n, c, p] - mean[c])."""
    _, channels, points = x.shape
    zero = x.dtype.type(0)
    for n in range(start, stop):
        for c in range(channels):
            cotangent, plane, centre = dz[n, c], x[n, c], mean[c]
            total, product = zero, zero
            for p in range(points):
                total += cotangent[p]
                product += cotangent[p] * (plane[p] - centre)
            sums[n, c], products[n, c] = total, product


@compiled
def products_of_rows(dz: Array, x: Array, mean: Array, sums: Array, products: Array, start: int, stop: int) -> None:
    """The same for the columns of each block of rows."""
    columns = x.shape[1]
    total, product = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    for block in range(start, stop):
        total[:] = 0
        product[:] = 0
        for r in range(block * BLOCK, min(len(x), (block + 1) * BLOCK)):
            cotangent, row = dz[r], x[r]
            for k in range(columns):
                total[k] += cotangent[k]
                product[k] += cotangent[k] * (row[k] - mean[k])
        sums[block] = total
        products[block] = product


@compiled
def normalize_planes(x: Array, mean: Array, scale: Array, shift: Array, y: Array, start: int, stop: int) -> None:
    """y[n, c, p] = (x[n, c, p] - mean[c]) * scale[c] + shift[c]."""
    _, channels, points = x.shape
    for n in range(start, stop):
        for c in range(channels):
            plane, result = x[n, c], y[n, c]
            centre, factor, term = mean[c], scale[c], shift[c]
            for p in range(points):
                result[p] = (plane[p] - centre) * factor + term


@compiled
def normalize_rows(x: Array, mean: Array, scale: Array, shift: Array, y: Array, start: int, stop: int) -> None:
    """y[r, k] = (x[r, k] - mean[k]) * scale[k] + shift[k]."""
    for r in range(start, stop):
        row, result = x[r], y[r]
        for k in range(x.shape[1]):
            result[k] = (row[k] - mean[k]) * scale[k] + shift[k]


@compiled
def gradient_of_planes(
    dz: Array, x: Array, mean: Array, slope: Array, shift: Array, scale: Array, dx: Array, start: int, stop: int
) -> None:
    """dx[n, c, p] = (dz[n, c, p] - (x[n, c, p] - mean[c]) * slope[c] - shift[c]) * scale[c]."""
    _, channels, points = x.shape
    for n in range(start, stop):
        for c in range(channels):
            cotangent, plane, result = dz[n, c], x[n, c], dx[n, c]
            centre, tilt, term, factor = mean[c], slope[c], shift[c], scale[c]
            for p in range(points):
                result[p] = (cotangent[p] - (plane[p] - centre) * tilt - term) * factor


@compiled
def gradient_of_rows(
    dz: Array, x: Array, mean: Array, slope: Array, shift: Array, scale: Array, dx: Array, start: int, stop: int
) -> None:
    """dx[r, k] = (dz[r, k] - (x[r, k] - mean[k]) * slope[k] - shift[k]) * scale[k]."""
    for r in range(start, stop):
        cotangent, row, result = dz[r], x[r], dx[r]
        for k in range(x.shape[1]):
            result[k] = (cotangent[k] - (row[k] - mean[k]) * slope[k] - shift[k]) * scale[k]
