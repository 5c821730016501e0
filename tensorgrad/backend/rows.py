"""Batch normalisation and element-wise passes on the kernels of numba_rows.py: prepares their memory, shares their work."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorgrad.backend import numba_rows as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import address, to_channels_last, to_lanes
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.numba_simd import Kernel, lanes

Array = np.ndarray[Any, Any]

#: Numbers from which on threads are worth being asked, some 5 microseconds of them.
SHARED_NUMBERS = 1 << 15
#: Sums are taken in as many parts, whatever the number of threads.
PARTS = 16


def rows_of(x: Array) -> Array | None:
    """(N, C, ...) of channels-last memory as (points, C), a view; None where memory is another."""
    rows = x if x.ndim == 2 else np.moveaxis(x, 1, -1)
    return rows.reshape(-1, x.shape[1]) if rows.flags.c_contiguous else None


def line_of(x: Array) -> Array | None:
    """The numbers of x in the order they have in memory, a view; None where they do not lie side by side."""
    if x.flags.c_contiguous:
        return x.reshape(-1)
    for order in (_channels_last, _batch_last):
        ordered = x.transpose(order(x.ndim))
        if ordered.flags.c_contiguous:
            return ordered.reshape(-1)
    return None


@functools.cache
def _channels_last(axes: int) -> tuple[int, ...]:
    """(N, C, ...) as (N, ..., C)."""
    return (0, *range(2, axes), 1) if axes > 2 else tuple(range(axes))


@functools.cache
def _batch_last(axes: int) -> tuple[int, ...]:
    """(N, ...) as (..., N)."""
    return (*range(1, axes), 0) if axes > 1 else tuple(range(axes))


def like(x: Array) -> Array:
    """An uninitialised array of x's shape and memory order, which is one of the three that `line_of` knows."""
    if x.flags.c_contiguous:
        return aligned(x.shape, x.dtype)
    order = _channels_last(x.ndim)
    if not x.transpose(order).flags.c_contiguous:
        order = _batch_last(x.ndim)
    return aligned(tuple(x.shape[i] for i in order), x.dtype).transpose(np.argsort(order))


def new_line(x: Array) -> tuple[Array, Array]:
    """An uninitialised array like x, and its numbers as a line."""
    result = like(x)
    line = line_of(result)
    assert line is not None
    return result, line


def new_rows(x: Array) -> tuple[Array, Array]:
    """An uninitialised array like x, which `rows_of` has a view of, and its rows."""
    result = like(x)
    rows = rows_of(result)
    assert rows is not None
    return result, rows


def rows_like(x: Array, z: Array) -> Array:
    """The values of x (N, C, ...) as rows of channels, z's memory being of that kind: a view, or a copy in that order."""
    rows = rows_of(x)
    if rows is not None:
        return rows
    if x.ndim == 4 and x.dtype == np.float32:
        rows = rows_of(to_channels_last(x))
        assert rows is not None
        return rows
    ordered, rows = new_rows(z)
    ordered[...] = x
    return rows


def _scratch(registers: int) -> Array:
    return aligned((team.threads(), registers * lanes()), np.float32)


def _vector(values: Array) -> Array:
    """(C) as float32, filled up with zeros to whole registers."""
    result = aligned((to_lanes(len(values)),), np.float32)
    result[len(values) :] = 0
    result[: len(values)] = values
    return result


def _sums(kernel: Kernel, arrays: list[Array], settings: list[int], registers: int, count: int) -> list[Array]:
    """`count` sums over the rows of the arrays, (parts, C) float64 each."""
    rows, channels = arrays[0].shape
    parts = min(PARTS, -(-rows // code.BLOCK))
    results = [np.empty((parts, channels)) for _ in range(count)]
    scratch = _scratch(registers)
    words = [*map(address, arrays), channels, *settings, *map(address, results), address(scratch)]
    team.run(kernel, words, rows, rows * channels >= SHARED_NUMBERS, parts)
    return results


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of every column of x (P, C), float64."""
    means, squares = _sums(code.moments, [x], [], 3, 2)
    rows, parts = len(x), len(means)
    bounds = rows * np.arange(parts + 1) // parts
    counts = np.diff(bounds)[:, None]
    mean = (counts * means).sum(axis=0) / rows
    var = (squares + counts * (means - mean) ** 2).sum(axis=0) / rows
    return mean, var


def normalize(x: Array, mean: Array, scale: Array, shift: Array, y: Array, positive: bool = False) -> None:
    """y = (x - mean) * scale + shift, all (P, C) or (C); max(y, 0) if `positive`."""
    vectors = [_vector(values) for values in (mean, scale, shift)]
    words = [address(x), address(y), x.shape[1], *map(address, vectors), int(positive)]
    team.run(code.normalize, words, len(x), x.size >= SHARED_NUMBERS)


def shifted(x: Array, shift: Array, y: Array) -> None:
    """y = x + shift, x and y (P, C), shift (C)."""
    full = _vector(shift)
    words = [address(x), address(y), x.shape[1], address(full)]
    team.run(code.shifted, words, len(x), x.size >= SHARED_NUMBERS)


def batch_norm_sums(dz: Array, x: Array, mean: Array, line: tuple[Array, Array] | None) -> tuple[Array, Array]:
    """The sums of dz and of dz * (x - mean) over the rows, float64; with line (scale, shift) of the dz where
    (x - mean) * scale + shift is positive."""
    centre = [_vector(values) for values in (mean, *(line or ()))]
    kernel = code.products if line is None else code.products_where_positive
    sums, along = _sums(kernel, [dz, x], [address(values) for values in centre], 2, 2)
    return sums.sum(axis=0), along.sum(axis=0)


def batch_norm_dx(
    dz: Array, x: Array, mean: Array, slope: Array, shift: Array, scale: Array, height: Array | None, dx: Array
) -> None:
    """dx = (dz - (x - mean) * slope - shift) * scale; with a height, dz is 0 where (x - mean) * scale + height is not positive."""
    vectors = [_vector(values) for values in (mean, slope, shift, scale, *(() if height is None else (height,)))]
    words = [address(dz), address(x), address(dx), x.shape[1], *map(address, vectors)]
    kernel = code.gradient if height is None else code.gradient_where_positive
    team.run(kernel, words, len(x), x.size >= SHARED_NUMBERS)


def column_sums(x: Array) -> Array:
    """The sums of the columns of x (P, C), float64."""
    (sums,) = _sums(code.column_sums, [x], [], 1, 1)
    result: Array = sums.sum(axis=0)
    return result


def each(kernel: Kernel, arrays: list[Array]) -> None:
    """A kernel that goes number by number through lines of one length."""
    count = arrays[0].size
    team.run(kernel, [*map(address, arrays), count], -(-count // lanes()), count >= SHARED_NUMBERS)
