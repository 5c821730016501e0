"""Products of matrices in float32 that are read where they lie.

Three orders of memory occur in a linear layer z = x w^T with x (M, K) and w (N, K), rows contiguous: the layer itself, whose
result is a scalar product of two rows; dx = dz w; and dw = dz^T x. Where M is small, w is far larger than all else:
then what counts is to read or write it once, in order. (Where M is large, dx and z are made by `product` of
numba_direct.py from packed panels.)
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba
from tensorgrad.backend.numba_tile import across, along, copy

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, get, ld, ld_first, put, st

    WIDTH = LANES * 4
    PANEL = 2 * LANES
#: Rows of w that a column of blocks reads at a time.
DEPTH = 16
#: Rows of dw made one after the other.
BLOCK = 48


@inline
def _scalar(x, scratch):  # type: ignore[no-untyped-def]
    """The sum of a register's places."""
    st(scratch, x)
    total = get(scratch)
    for i in range(1, LANES):
        total += get(scratch + i * 4)
    return total


@inline
def _block_of_scalars(x, xr, w, wr, depth, z, zr, scratch):  # type: ignore[no-untyped-def]
    """z (4, 4) = the scalar products of four rows of x and four rows of w."""
    zero = bc(np.float32(0))
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
    whole = depth - depth % LANES
    for k in range(0, depth * 4, WIDTH):
        left = depth - k // 4
        if k < whole * 4:
            a, b, c, d = ld(w + k), ld(w + wr + k), ld(w + 2 * wr + k), ld(w + 3 * wr + k)
            p, q, r, s = ld(x + k), ld(x + xr + k), ld(x + 2 * xr + k), ld(x + 3 * xr + k)
        else:
            a, b = ld_first(w + k, left), ld_first(w + wr + k, left)
            c, d = ld_first(w + 2 * wr + k, left), ld_first(w + 3 * wr + k, left)
            p, q = ld_first(x + k, left), ld_first(x + xr + k, left)
            r, s = ld_first(x + 2 * xr + k, left), ld_first(x + 3 * xr + k, left)
        s00, s01, s02, s03 = fma(p, a, s00), fma(p, b, s01), fma(p, c, s02), fma(p, d, s03)
        s10, s11, s12, s13 = fma(q, a, s10), fma(q, b, s11), fma(q, c, s12), fma(q, d, s13)
        s20, s21, s22, s23 = fma(r, a, s20), fma(r, b, s21), fma(r, c, s22), fma(r, d, s23)
        s30, s31, s32, s33 = fma(s, a, s30), fma(s, b, s31), fma(s, c, s32), fma(s, d, s33)
    row = z
    put(row, _scalar(s00, scratch))
    put(row + 4, _scalar(s01, scratch))
    put(row + 8, _scalar(s02, scratch))
    put(row + 12, _scalar(s03, scratch))
    row += zr
    put(row, _scalar(s10, scratch))
    put(row + 4, _scalar(s11, scratch))
    put(row + 8, _scalar(s12, scratch))
    put(row + 12, _scalar(s13, scratch))
    row += zr
    put(row, _scalar(s20, scratch))
    put(row + 4, _scalar(s21, scratch))
    put(row + 8, _scalar(s22, scratch))
    put(row + 12, _scalar(s23, scratch))
    row += zr
    put(row, _scalar(s30, scratch))
    put(row + 4, _scalar(s31, scratch))
    put(row + 8, _scalar(s32, scratch))
    put(row + 12, _scalar(s33, scratch))


@kernel
def scalars(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (M, N) = x (M, K) w (N, K)^T. Items: four rows of w, which are read once."""
    x, xr, rows, w, wr, features, depth, z, zr = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    )  # fmt: skip
    scratch = arg(a, 9) + thread * WIDTH
    for item in range(start, stop):
        o = item * 4
        if o + 4 <= features:
            for m in range(0, rows - rows % 4, 4):
                _block_of_scalars(x + m * xr, xr, w + o * wr, wr, depth, z + m * zr + o * 4, zr, scratch)
        first = rows - rows % 4 if o + 4 <= features else 0
        for m in range(first, rows):
            for j in range(o, min(features, o + 4)):
                total = bc(np.float32(0))
                for k in range(0, depth, LANES):
                    total = fma(ld_first(x + m * xr + k * 4, depth - k), ld_first(w + j * wr + k * 4, depth - k), total)
                put(z + m * zr + j * 4, _scalar(total, scratch))


@kernel
def streamed(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (M, N) = x (M, K) y (K, N), N whole registers. Items: panels_at_once panels of y, whose rows are read in order."""
    tables, x, xr, rows, depth, y, yr, features, z, zr, panels_at_once = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10)
    )  # fmt: skip
    for item in range(start, stop):
        first, last = item * panels_at_once * PANEL, min(features, (item + 1) * panels_at_once * PANEL)
        for k in range(0, depth, DEPTH):
            for o in range(first, last, PANEL):
                vectors = min(PANEL, features - o) // LANES
                across(tables, vectors, rows, x + k * 4, y + k * yr + o * 4, z + o * 4, 1, min(DEPTH, depth - k), 0, xr, 0,
                       yr, zr, 0 if k == 0 else 1)  # fmt: skip


@kernel
def transposed(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (M, N) = x (K, M)^T y (K, N), N whole registers. Items: BLOCK rows of z."""
    tables, x, xr, rows, depth, y, yr, features, z, zr = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9)
    )  # fmt: skip
    for item in range(start, stop):
        first = item * BLOCK
        for o in range(0, features, PANEL):
            vectors = min(PANEL, features - o) // LANES
            along(tables, vectors, min(BLOCK, rows - first), x + first * 4, y + o * 4, z + first * zr + o * 4, 1, depth, 0, xr,
                  0, yr, zr, 0)  # fmt: skip


@kernel
def panels(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """y (K, N) cut into panels, (N / PANEL, K, PANEL), the last of LANES columns where N asks for it. Items: rows of y."""
    y, yr, depth, features, target = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    for o in range(0, features, PANEL):
        width = min(PANEL, features - o)
        for k in range(start, stop):
            copy(target + (o * depth + k * width) * 4, y + k * yr + o * 4, width)


@kernel
def transposed_by_panels(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (M, N) = x (K, M)^T y for y (K, N) in `panels`. Items: BLOCK rows of z.

    Rows of x and y far apart, some power of two, fall into the same few places of a cache. So a block of x is copied to
    where its numbers lie side by side, `at_once` rows at a time, and a panel's do already.
    """
    tables, x, xr, rows, depth, y, features, z, zr, at_once = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9)
    )  # fmt: skip
    scratch = arg(a, 10) + thread * at_once * BLOCK * 4
    for item in range(start, stop):
        first = item * BLOCK
        some = min(BLOCK, rows - first)
        for k in range(0, depth, at_once):
            count = min(at_once, depth - k)
            for i in range(count):
                copy(scratch + i * some * 4, x + (k + i) * xr + first * 4, some)
            for o in range(0, features, PANEL):
                width = min(PANEL, features - o)
                along(tables, width // LANES, some, scratch, y + (o * depth + k * width) * 4, z + first * zr + o * 4, 1, count,
                      0, some * 4, 0, width * 4, zr, 0 if k == 0 else 1)  # fmt: skip
