"""Batch normalisation and element-wise passes on the kernels of numba_rows.py: prepares their memory, shares their work."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np

from tensorgrad.backend import numba_rows as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import address, to_channels_last, to_lanes
from tensorgrad.backend.memory import address_of, aligned, unset
from tensorgrad.backend.numba_simd import Kernel, lanes

Array = np.ndarray[Any, Any]

#: Numbers from which on threads are worth being asked, some 5 microseconds of them.
SHARED_NUMBERS = 1 << 15
#: Sums are taken in as many parts, whatever the number of threads.
PARTS = 16


def rows_of(x: Array) -> Array | None:
    """(N, C, ...) of channels-last memory as (points, C), a view; None where memory is another."""
    rows = x if x.ndim == 2 else x.transpose(_channels_last(x.ndim))
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


@functools.cache
def _from_channels_last(axes: int) -> tuple[int, ...]:
    """(N, ..., C) as (N, C, ...)."""
    return (0, axes - 1, *range(1, axes - 1)) if axes > 2 else tuple(range(axes))


@functools.cache
def _from_batch_last(axes: int) -> tuple[int, ...]:
    """(..., N) as (N, ...)."""
    return (axes - 1, *range(axes - 1)) if axes > 1 else tuple(range(axes))


def like(x: Array) -> Array:
    """An uninitialised array of x's shape and memory order, which is one of the three that `line_of` knows."""
    if x.flags.c_contiguous:
        return unset(x.shape, x.dtype)
    order, back = _channels_last(x.ndim), _from_channels_last(x.ndim)
    if not x.transpose(order).flags.c_contiguous:
        order, back = _batch_last(x.ndim), _from_batch_last(x.ndim)
    return aligned(tuple([x.shape[i] for i in order]), x.dtype).transpose(back)


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


def vector(values: Array) -> Array:
    """(C) as float32, filled up with zeros to whole registers."""
    result = aligned((to_lanes(len(values)),), np.float32)
    result[len(values) :] = 0
    result[: len(values)] = values
    return result


def sums_of(kernel: Kernel, arrays: list[Array], settings: list[int], registers: int, count: int) -> list[Array]:
    """`count` sums over the rows of the arrays, (parts, C) float64 each."""
    rows, channels = arrays[0].shape
    parts = min(PARTS, -(-rows // code.BLOCK))
    results = [np.empty((parts, channels)) for _ in range(count)]
    words = [*map(address, arrays), channels, *settings, *map(address, results), team.scratch(registers * lanes())]
    team.run(kernel, words, rows, rows * channels >= SHARED_NUMBERS, parts)
    return results


def batch_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, y: Array, positive: bool = False
) -> tuple[Array, Array, Array]:
    """y = weight (x - mean) / sqrt(var + eps) + bias, or max(y, 0) if `positive`, x and y (P, C); mean, var, 1 / sqrt(var + eps)."""
    (mean, var, inv_std), line = _statistics(x, weight, bias, eps)
    _normalize(x, line, y, positive)
    return mean, var, inv_std


def _statistics(x: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array]:
    """Mean, biased variance and 1 / sqrt(var + eps) of the columns, (3, C), and the line for `normalize`."""
    rows, channels = x.shape
    parts = min(PARTS, -(-rows // code.BLOCK))
    sums = aligned((2 * parts + 2, channels), np.float64)
    means = address_of(sums)
    squares = means + parts * channels * 8
    width = to_lanes(channels)
    words = [address_of(x), channels, means, squares, width, team.scratch(3 * width)]
    team.run(code.moments, words, rows, x.size >= SHARED_NUMBERS, parts)
    statistics, line = np.empty((3, channels), np.float32), aligned((3, width), np.float32)
    weight, bias = _numbers(weight), _numbers(bias)
    words = [
        means, squares, parts, rows, channels, _bits(eps), address(weight), address(bias), address_of(statistics),
        address_of(line), width, squares + parts * channels * 8,
    ]  # fmt: skip
    team.run(code.statistics, words, 1, False)
    return statistics, line


@functools.lru_cache(maxsize=64)
def _bits(x: float) -> int:
    """The 64 bits of a number as a whole one."""
    return int.from_bytes(struct.pack("<d", x), "little", signed=True)


def _numbers(values: Array | None) -> Array | None:
    """(C) as float32 side by side; None stays None."""
    if values is None or (values.dtype == np.float32 and values.flags.c_contiguous):
        return values
    return np.ascontiguousarray(values, np.float32)


def normalize(x: Array, mean: Array, scale: Array, shift: Array, y: Array) -> None:
    """y = (x - mean) * scale + shift, all (P, C) or (C)."""
    line = aligned((3, to_lanes(x.shape[1])), np.float32)
    line[:, x.shape[1] :] = 0
    for row, values in zip(line, (mean, scale, shift)):
        row[: len(values)] = values
    _normalize(x, line, y, positive=False)


def _normalize(x: Array, line: Array, y: Array, positive: bool) -> None:
    first, step = address_of(line), line.shape[1] * 4
    words = [address_of(x), address_of(y), x.shape[1], first, first + step, first + 2 * step, int(positive)]
    team.run(code.normalize, words, len(x), x.size >= SHARED_NUMBERS)


def shifted(x: Array, shift: Array, y: Array) -> None:
    """y = x + shift, x and y (P, C), shift (C)."""
    full = vector(shift)
    words = [address(x), address(y), x.shape[1], address(full)]
    team.run(code.shifted, words, len(x), x.size >= SHARED_NUMBERS)


def batch_norm_grad(
    dz: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    mean: Array,
    inv_std: Array,
    dx: Array,
    positive: bool,
) -> tuple[Array, Array]:
    """dx of batch_norm's y, all (P, C), and the gradients of weight and bias; of max(y, 0) if `positive`.

    dx = (dz - (x - mean) slope - shift) scale: slope = inv_std dw / P and shift = db / P take out of dz what the mean and the
    deviation of x would not let through. Where y is positive is found out again from x.
    """
    rows, channels = x.shape
    parts = min(PARTS, -(-rows // code.BLOCK))
    width = to_lanes(channels)
    line = aligned((5, width), np.float32)  # mean, scale, height, slope, shift
    centre, scale, height, slope, shift = (address_of(line) + i * width * 4 for i in range(5))
    mean, inv_std = np.ascontiguousarray(mean, np.float32), np.ascontiguousarray(inv_std, np.float32)
    weight, bias = _numbers(weight), _numbers(bias)
    words = [address(mean), address(inv_std), address(weight), address(bias), channels, centre, width]
    team.run(code.line_of_channels, words, 1, False)

    sums = aligned((2 * parts, channels), np.float64)
    total = address_of(sums)
    along = total + parts * channels * 8
    settings = [centre, scale, height] if positive else [centre]
    words = [address_of(dz), address_of(x), channels, *settings, total, along, width, team.scratch(2 * width)]
    kernel = code.products_where_positive if positive else code.products
    team.run(kernel, words, rows, x.size >= SHARED_NUMBERS, parts)

    gradients = np.empty((2, channels), np.float32)
    words = [total, along, parts, rows, channels, address(inv_std), address_of(gradients), slope, width]
    team.run(code.slopes, words, 1, False)

    settings = [centre, slope, shift, scale, height] if positive else [centre, slope, shift, scale]
    words = [address_of(dz), address_of(x), address_of(dx), channels, *settings]
    kernel = code.gradient_where_positive if positive else code.gradient
    team.run(kernel, words, rows, x.size >= SHARED_NUMBERS)
    return gradients[0], gradients[1]


def column_sums(x: Array) -> Array:
    """The sums of the columns of x (P, C), float64."""
    width = to_lanes(x.shape[1])
    (sums,) = sums_of(code.column_sums, [x], [width], width // lanes(), 1)
    result: Array = sums.sum(axis=0)
    return result


def side_by_side(parts: list[Array], z: Array) -> None:
    """The rows of all parts (P, C), one part behind the other, as the rows of z (P, sum of C)."""
    start, line = address_of(z), z.shape[1] * 4
    for part in parts:
        words = [address_of(part), part.shape[1], start, line]
        team.run(code.columns, words, len(part), part.size >= SHARED_NUMBERS)
        start += part.shape[1] * 4


def each(kernel: Kernel, arrays: list[Array]) -> None:
    """A kernel that goes number by number through lines of one length."""
    count = arrays[0].size
    team.run(kernel, [*map(address, arrays), count], -(-count // lanes()), count >= SHARED_NUMBERS)
