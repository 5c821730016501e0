"""Parametric ReLU of float32 numbers on vector registers: value, and both gradients in one pass.

Two memory orders: *lines* of numbers that share a slope (planes; or pieces of everything, where there is one slope), and
*rows* of channels, each with its own.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_rows import BLOCK
from tensorgrad.backend.numba_simd import kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_lines import CHAIN
    from tensorgrad.backend.numba_math import fill, total_of, where_above
    from tensorgrad.backend.numba_simd import (
        LANES,
        arg,
        bc,
        get,
        get_double,
        ld,
        ld_up_to,
        put_double,
        st,
        st_first,
        st_up_to,
    )

    WIDTH = LANES * 4


@kernel
def lines(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x where x > 0, else w x. Items: lines of `length` numbers, of which the last may be shorter."""
    length, count, weight, slopes = arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    zero = fill(0.0)
    for line in range(start, stop):
        first, n = line * length * 4, min(length, count - line * length)
        x, z = arg(a, 0) + first, arg(a, 1) + first
        slope = bc(get(weight + line % slopes * 4))
        for c in range(0, n, LANES):
            value = ld_up_to(x + c * 4, n - c)
            st_up_to(z + c * 4, where_above(value, zero, value, value * slope), n - c)


@kernel
def lines_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = dz where x > 0, else w dz; the sum of x dz over the other numbers of every line. Items: lines, as above."""
    length, count, weight, slopes = arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    zero = fill(0.0)
    for line in range(start, stop):
        first, n = line * length * 4, min(length, count - line * length)
        dz, x, dx = arg(a, 0) + first, arg(a, 1) + first, arg(a, 2) + first
        slope, total = bc(get(weight + line % slopes * 4)), zero
        for begin in range(0, n, CHAIN * LANES):
            some = zero
            for c in range(begin, min(n, begin + CHAIN * LANES), LANES):
                d, value = ld_up_to(dz + c * 4, n - c), ld_up_to(x + c * 4, n - c)
                st_up_to(dx + c * 4, where_above(value, zero, d, d * slope), n - c)
                some = some + where_above(value, zero, zero, d * value)
            total = total + some
        st_first(arg(a, 7) + line * 4, total_of(total), 1)


@kernel
def rows(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x where x > 0, else w x, a slope for every column. Items: rows."""
    channels, weight = arg(a, 2), arg(a, 3)
    zero = fill(0.0)
    for r in range(start, stop):
        x, z = arg(a, 0) + r * channels * 4, arg(a, 1) + r * channels * 4
        for c in range(0, channels, LANES):
            value = ld_up_to(x + c * 4, channels - c)
            st_up_to(z + c * 4, where_above(value, zero, value, value * ld(weight + c * 4)), channels - c)


@kernel
def rows_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx as above; the sums over this part's rows, (parts, channels) float64. Items: rows."""
    channels, weight = arg(a, 3), arg(a, 4)
    sums, scratch = arg(a, 5) + part * channels * 8, arg(a, 6) + thread * WIDTH
    zero, line = fill(0.0), channels * 4
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for c in range(0, channels, LANES):
            left, at = channels - c, first * line + c * 4
            slope, total = ld(weight + c * 4), zero
            for r in range(count):
                d, value = ld_up_to(arg(a, 0) + at + r * line, left), ld_up_to(arg(a, 1) + at + r * line, left)
                st_up_to(arg(a, 2) + at + r * line, where_above(value, zero, d, d * slope), left)
                total = total + where_above(value, zero, zero, d * value)
            st(scratch, total)
            for k in range(min(LANES, left)):
                one = np.float64(get(scratch + k * 4))
                if first > start:
                    one += get_double(sums + (c + k) * 8)
                put_double(sums + (c + k) * 8, one)
