"""Loops that look an input up at the places of a grid; the formulas are in tensorgrad/ops/grid_sampling.py.

x is (N, C, pixels), grid (N, points, axes). For a BLOCK of points the corners are worked out first, 2 for every axis (1 for
the nearest pixel): which pixel (-1 outside), its weight, and the slopes of the weight in the grid. All channels share them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend.numba_jit import compiled, compiled_as_written

Array = np.ndarray[Any, Any]

#: Points whose corners are worked out together: they stay in the first-level cache.
BLOCK = 256
#: padding_mode as a number.
PADDING = {"zeros": 0, "border": 1, "reflection": 2}
BORDER, REFLECTION = 1, 2


@compiled_as_written
def _axis(places: Array, n: int, padding: int, align: bool, at: Array, slope: Array, count: int) -> None:
    """at = the places in pixels of an axis of n pixels, slope = its slope in the places."""
    kind = places.dtype.type
    one, half, zero = kind(1), kind(0.5), kind(0)
    size, last = kind(n), kind(n - 1)
    steepness = last * half if align else size * half
    low, span = (zero, last) if align else (-half, size)
    for p in range(count):
        at[p] = (places[p] + one) * steepness if align else ((places[p] + one) * size - one) * half
        slope[p] = steepness
    if padding == REFLECTION and span == zero:
        at[:count] *= zero
        slope[:count] = zero
    elif padding == REFLECTION:
        for p in range(count):
            turns = np.floor((at[p] - low) / span)
            odd = turns - kind(2) * np.floor(turns * half)
            sign = one - kind(2) * odd
            at[p] = at[p] * sign + (low - sign * (low + turns * span) + odd * span)
            slope[p] = sign * steepness
    if padding >= BORDER:
        for p in range(count):
            x = at[p]
            slope[p] = slope[p] if (x > zero) & (x < last) else zero
            x = zero if x < zero else x
            at[p] = last if x > last else x


@compiled_as_written
def _corners(
    grid: Array, lengths: Array, nearest: bool, padding: int, align: bool, index: Array, weight: Array, slopes: Array
) -> None:
    """index, weight (corners, points) and slopes (axes, corners, points) of the points of grid (points, axes).

    Slopes are left out where there is no room for them.
    """
    count, axes = grid.shape
    kind = grid.dtype.type
    zero, half, one = kind(0), kind(0.5), kind(1)
    at, slope = np.empty(count, grid.dtype), np.empty(count, grid.dtype)
    found = 1
    index[0] = 0
    weight[0] = one
    for axis in range(axes):
        n, last = np.int32(lengths[axis]), kind(lengths[axis] - 1)
        _axis(grid[:, axes - 1 - axis], lengths[axis], padding, align, at, slope, count)
        if nearest:
            for p in range(count):
                up = np.floor(at[p] + half)
                half_way_to_odd = up - at[p] == half and up - kind(2) * np.floor(up * half) == one
                place = up - one if half_way_to_odd else up
                inside = place >= zero and place <= last
                number = np.int32(place if inside else zero)
                index[0, p] = index[0, p] * n + number if inside and index[0, p] >= 0 else np.int32(-1)
            continue
        for k in range(found):
            _two(
                at,
                n,
                last,
                index[k],
                index[found + k],
                weight[k],
                weight[found + k],
                slope,
                slopes[:, k],
                slopes[:, found + k],
                axis,
                count,
            )
        found *= 2


@compiled_as_written
def _two(
    at: Array, n: Any, last: Any, index: Array, right_index: Array, weight: Array, right_weight: Array, slope: Array,
    slopes: Array, right_slopes: Array, axis: int, count: int,
) -> None:  # fmt: skip
    """A corner becomes two: those left and right of the places `at` on one more axis."""
    zero, one = weight.dtype.type(0), weight.dtype.type(1)
    if len(slopes):
        for other in range(axis):
            for p in range(count):
                part = at[p] - np.floor(at[p])
                steep = slopes[other, p]
                slopes[other, p] = steep * (one - part)
                right_slopes[other, p] = steep * part
        for p in range(count):
            slopes[axis, p] = weight[p] * -slope[p]
            right_slopes[axis, p] = weight[p] * slope[p]
    for p in range(count):
        left = np.floor(at[p])
        right, part = left + one, at[p] - left
        right_weight[p] = weight[p] * part
        weight[p] = weight[p] * (one - part)
        known = index[p] >= 0
        inside, right_inside = known and left >= zero and left <= last, known and right >= zero and right <= last
        number, right_number = np.int32(left if inside else zero), np.int32(right if right_inside else zero)
        right_index[p] = index[p] * n + right_number if right_inside else np.int32(-1)
        index[p] = index[p] * n + number if inside else np.int32(-1)


@compiled
def look_up(
    x: Array, grid: Array, lengths: Array, nearest: bool, padding: int, align: bool, z: Array, start: int, stop: int
) -> None:
    """z (N, C, points) for the blocks of points from start to stop, those of the first sample first."""
    points, axes = grid.shape[1:]
    found, zero = 1 if nearest else 1 << axes, x.dtype.type(0)
    index, weight = np.empty((found, BLOCK), np.int32), np.empty((found, BLOCK), x.dtype)
    no_slopes = np.empty((0, found, BLOCK), x.dtype)
    blocks = (points + BLOCK - 1) // BLOCK
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * BLOCK
        count = min(BLOCK, points - first)
        _corners(grid[n, first : first + count], lengths, nearest, padding, align, index, weight, no_slopes)
        for c in range(x.shape[1]):
            plane, result = x[n, c], z[n, c, first : first + count]
            if found == 1:
                for p in range(count):
                    i = index[0, p]
                    result[p] = plane[i] if i >= 0 else zero
                continue
            for k in range(0, found, 4):  # four at a time: a result is written as seldom as can be
                for p in range(count):
                    i0, i1, i2, i3 = index[k, p], index[k + 1, p], index[k + 2, p], index[k + 3, p]
                    total = result[p] if k else zero
                    total += weight[k, p] * (plane[i0] if i0 >= 0 else zero)
                    total += weight[k + 1, p] * (plane[i1] if i1 >= 0 else zero)
                    total += weight[k + 2, p] * (plane[i2] if i2 >= 0 else zero)
                    total += weight[k + 3, p] * (plane[i3] if i3 >= 0 else zero)
                    result[p] = total


@compiled
def put_back(
    dz: Array,
    grid: Array,
    lengths: Array,
    nearest: bool,
    padding: int,
    align: bool,
    parts: int,
    dx: Array,
    start: int,
    stop: int,
) -> None:
    """dx (N, C, pixels), zeros at first: every dz added to its corners. An item is one of the parts of a sample's channels."""
    points, axes = grid.shape[1:]
    channels = dx.shape[1]
    found = 1 if nearest else 1 << axes
    index, weight = np.empty((found, BLOCK), np.int32), np.empty((found, BLOCK), dz.dtype)
    no_slopes = np.empty((0, found, BLOCK), dz.dtype)
    for item in range(start, stop):
        n, part = item // parts, item % parts
        for first in range(0, points, BLOCK):
            count = min(BLOCK, points - first)
            _corners(grid[n, first : first + count], lengths, nearest, padding, align, index, weight, no_slopes)
            for c in range(channels * part // parts, channels * (part + 1) // parts):
                plane, cotangent = dx[n, c], dz[n, c, first : first + count]
                for k in range(found):
                    places, weights = index[k], weight[k]
                    for p in range(count):
                        if places[p] >= 0:
                            plane[places[p]] += weights[p] * cotangent[p]


@compiled
def along_grid(
    dz: Array, x: Array, grid: Array, lengths: Array, padding: int, align: bool, dgrid: Array, start: int, stop: int
) -> None:
    """dgrid (N, points, axes) for the blocks of points from start to stop: slopes times the sum over channels of dz x."""
    points, axes = grid.shape[1:]
    found, zero = 1 << axes, x.dtype.type(0)
    index, weight = np.empty((found, BLOCK), np.int32), np.empty((found, BLOCK), x.dtype)
    slopes, sums = np.empty((axes, found, BLOCK), x.dtype), np.empty((found, BLOCK), x.dtype)
    blocks = (points + BLOCK - 1) // BLOCK
    for item in range(start, stop):
        n, first = item // blocks, item % blocks * BLOCK
        count = min(BLOCK, points - first)
        _corners(grid[n, first : first + count], lengths, False, padding, align, index, weight, slopes)
        sums[:] = 0
        for c in range(x.shape[1]):
            plane, cotangent = x[n, c], dz[n, c, first : first + count]
            for k in range(0, found, 4):
                for p in range(count):
                    d = cotangent[p]
                    i0, i1, i2, i3 = index[k, p], index[k + 1, p], index[k + 2, p], index[k + 3, p]
                    sums[k, p] += d * plane[i0] if i0 >= 0 else zero
                    sums[k + 1, p] += d * plane[i1] if i1 >= 0 else zero
                    sums[k + 2, p] += d * plane[i2] if i2 >= 0 else zero
                    sums[k + 3, p] += d * plane[i3] if i3 >= 0 else zero
        for axis in range(axes):
            result = dgrid[n, first : first + count, axes - 1 - axis]
            result[:] = 0
            for k in range(found):
                for p in range(count):
                    result[p] += slopes[axis, k, p] * sums[k, p]
