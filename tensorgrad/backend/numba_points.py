"""Pooling of channels-last images in float32, a register of channels at a time; what is computed is defined in pooling.py.

x is (N, H, W, C), z and the winners (N, OH, OW, C); a winner is the number k * KW + l of the tap it was found at, a
byte. The gradient is gathered: a place of x asks the few windows that see it whether it was their winner, so every
number of dx is written once. C is a multiple of LANES.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import (
        LANES,
        arg,
        bc,
        better,
        better_number,
        ints,
        ld,
        ld_bytes,
        st,
        st_bytes,
        where_equal,
    )


@kernel
def largest(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = the largest of every window, winners = where it is; nan counts as largest, the first of equals wins. Items: (N, OH)."""
    x, z, winners, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    )  # fmt: skip
    kh, kw, sh, sw, top, left = arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13)
    for item in range(start, stop):
        image = x + item // rows * height * width * channels * 4
        first_row = item % rows * sh - top
        k0, k1 = max(0, -first_row), min(kh, height - first_row)
        for j in range(columns):
            first_column = j * sw - left
            l0, l1 = max(0, -first_column), min(kw, width - first_column)
            place = (item * columns + j) * channels
            for c in range(0, channels, LANES):
                best, winner = bc(np.float32(-np.inf)), ints(k0 * kw + l0)
                for k in range(k0, k1):
                    line = image + (((first_row + k) * width + first_column) * channels + c) * 4
                    for l in range(l0, l1):
                        value = ld(line + l * channels * 4)
                        winner = better_number(value, best, ints(k * kw + l), winner)
                        best = better(value, best)
                st(z + (place + c) * 4, best)
                st_bytes(winners + place + c, winner)


@kernel
def to_winners(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = the sum of dz over the windows that a place won. Items: (N, H)."""
    dz, winners, dx, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    )  # fmt: skip
    kh, kw, sh, sw, top, left = arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13)
    for item in range(start, stop):
        n, h = item // height, item % height
        # windows i with i * sh - top <= h < i * sh - top + kh
        i0, i1 = max(0, (h + top - kh + sh) // sh), min(rows, (h + top) // sh + 1)
        j0 = j1 = 0  # windows j0 .. j1 see column w
        for w in range(width):
            while j0 * sw + kw <= w + left:
                j0 += 1
            while j1 < columns and j1 * sw <= w + left:
                j1 += 1
            place = dx + (item * width + w) * channels * 4
            seen = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    tap = ints((h + top - i * sh) * kw + w + left - j * sw)
                    at = ((n * rows + i) * columns + j) * channels
                    if seen == 0:
                        for c in range(0, channels, LANES):
                            st(place + c * 4, where_equal(ld_bytes(winners + at + c), tap, ld(dz + (at + c) * 4)))
                    else:
                        for c in range(0, channels, LANES):
                            won = where_equal(ld_bytes(winners + at + c), tap, ld(dz + (at + c) * 4))
                            st(place + c * 4, ld(place + c * 4) + won)
                    seen += 1
            if seen == 0:
                for c in range(0, channels, LANES):
                    st(place + c * 4, bc(np.float32(0)))


@kernel
def sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = the sum of every window. Items: (N, OH)."""
    x, z, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    )  # fmt: skip
    kh, kw, sh, sw, top, left = arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12)
    for item in range(start, stop):
        image = x + item // rows * height * width * channels * 4
        first_row = item % rows * sh - top
        k0, k1 = max(0, -first_row), min(kh, height - first_row)
        for j in range(columns):
            first_column = j * sw - left
            l0, l1 = max(0, -first_column), min(kw, width - first_column)
            for c in range(0, channels, LANES):
                total = bc(np.float32(0))
                for k in range(k0, k1):
                    line = image + (((first_row + k) * width + first_column) * channels + c) * 4
                    for l in range(l0, l1):
                        total = total + ld(line + l * channels * 4)
                st(z + ((item * columns + j) * channels + c) * 4, total)


@kernel
def spreads(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = the sum of dz over the windows that see a place. Items: (N, H)."""
    dz, dx, height, width, channels, rows, columns = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    )  # fmt: skip
    kh, kw, sh, sw, top, left = arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12)
    for item in range(start, stop):
        n, h = item // height, item % height
        i0, i1 = max(0, (h + top - kh + sh) // sh), min(rows, (h + top) // sh + 1)
        j0 = j1 = 0  # windows j0 .. j1 see column w
        for w in range(width):
            while j0 * sw + kw <= w + left:
                j0 += 1
            while j1 < columns and j1 * sw <= w + left:
                j1 += 1
            for c in range(0, channels, LANES):
                total = bc(np.float32(0))
                for i in range(i0, i1):
                    for j in range(j0, j1):
                        total = total + ld(dz + (((n * rows + i) * columns + j) * channels + c) * 4)
                st(dx + ((item * width + w) * channels + c) * 4, total)
