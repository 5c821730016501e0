"""What Winograd's convolution does to a tile before and after the products: the matrices B, A and G, on vector registers.

See numba_winograd.py for what they are. A matrix times a tile goes over the tile's columns, then over its rows; here the
tile's numbers are registers, LANES channels at a time.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, bc, fma, ld, st

    WIDTH = LANES * 4  # bytes of a register


@inline
def bt_of(source, target, ss, ts):  # type: ignore[no-untyped-def]
    """Six registers -> B^T of them; the strides ss and ts in bytes."""
    four, minus_five, two = bc(np.float32(4)), bc(np.float32(-5)), bc(np.float32(2))
    a, b, c = ld(source), ld(source + ss), ld(source + 2 * ss)
    d, e, f = ld(source + 3 * ss), ld(source + 4 * ss), ld(source + 5 * ss)
    p, q, r, s = e - four * c, d - four * b, e - c, two * (d - b)
    st(target, fma(four, a, fma(minus_five, c, e)))
    st(target + ts, p + q)
    st(target + 2 * ts, p - q)
    st(target + 3 * ts, r + s)
    st(target + 4 * ts, r - s)
    st(target + 5 * ts, fma(four, b, fma(minus_five, d, f)))


@inline
def at_of(source, ss):  # type: ignore[no-untyped-def]
    """Six registers -> A^T of them, four."""
    two, four, eight = bc(np.float32(2)), bc(np.float32(4)), bc(np.float32(8))
    b, c, d, e = ld(source + ss), ld(source + 2 * ss), ld(source + 3 * ss), ld(source + 4 * ss)
    p, q, r, s = b + c, b - c, d + e, d - e
    return ld(source) + p + r, fma(two, s, q), fma(four, r, p), fma(eight, s, q) + ld(source + 5 * ss)


@inline
def a_of(a, b, c, d, target, ts):  # type: ignore[no-untyped-def]
    """Four registers -> A of them, six."""
    two, four, eight = bc(np.float32(2)), bc(np.float32(4)), bc(np.float32(8))
    p, q, r, s = a + c, b + d, fma(four, c, a), fma(eight, d, two * b)
    st(target, a)
    st(target + ts, p + q)
    st(target + 2 * ts, p - q)
    st(target + 3 * ts, r + s)
    st(target + 4 * ts, r - s)
    st(target + 5 * ts, d)


@inline
def g_of(a, b, c, target, ts):  # type: ignore[no-untyped-def]
    """Three registers -> G of them, six."""
    quarter, sixth = bc(np.float32(1 / 4)), bc(np.float32(1 / 6))
    twelfth, of_24 = bc(np.float32(1 / 12)), bc(np.float32(1 / 24))
    p, q, r = a + c, fma(of_24, a, sixth * c), twelfth * b
    zero = bc(np.float32(0))
    st(target, quarter * a)
    st(target + ts, zero - sixth * (p + b))
    st(target + 2 * ts, sixth * (b - p))
    st(target + 3 * ts, q + r)
    st(target + 4 * ts, q - r)
    st(target + 5 * ts, c)


@inline
def gt_of(a, b, c, d, e, f):  # type: ignore[no-untyped-def]
    """Six registers -> G^T of them, three."""
    quarter, sixth = bc(np.float32(1 / 4)), bc(np.float32(1 / 6))
    twelfth, of_24 = bc(np.float32(1 / 12)), bc(np.float32(1 / 24))
    p, q, r, s = b + c, c - b, d + e, d - e
    return fma(quarter, a, of_24 * r - sixth * p), fma(sixth, q, twelfth * s), fma(sixth, r - p, f)


@inline
def inputs_of(source, tile_rows, tiles_in_row, channels, v, all_tiles, first_tile, scratch):  # type: ignore[no-untyped-def]
    """A frame (4 tile_rows + 2, 4 tiles_in_row + 2, C) -> B^T x B of its tiles, from first_tile on in v (36, all_tiles, C)."""
    line = (4 * tiles_in_row + 2) * channels * 4
    size = all_tiles * channels * 4
    tile = first_tile
    for i in range(tile_rows):
        for j in range(tiles_in_row):
            corner = source + 4 * i * line + 4 * j * channels * 4
            target = v + tile * channels * 4
            for c in range(0, channels * 4, WIDTH):
                for k in range(6):
                    bt_of(corner + k * channels * 4 + c, scratch + k * WIDTH, line, 6 * WIDTH)
                for k in range(6):
                    bt_of(scratch + k * 6 * WIDTH, target + k * 6 * size + c, WIDTH, size)
            tile += 1


@inline
def outputs_of(m, all_tiles, first_tile, tile_rows, tiles_in_row, features, z, zh, zw, rows, columns, bias, scratch):  # type: ignore[no-untyped-def]
    """A^T m A of some tiles, with the bias, into rows x columns points of z; tiles beyond them are cut off."""
    size = all_tiles * features * 4
    tile = first_tile
    for i in range(tile_rows):
        height = min(4, rows - 4 * i)
        for j in range(tiles_in_row):
            width = min(4, columns - 4 * j)
            source = m + tile * features * 4
            corner = z + 4 * i * zh + 4 * j * zw
            for o in range(0, features * 4, WIDTH):
                for k in range(6):
                    p, q, r, s = at_of(source + k * size + o, 6 * size)
                    place = scratch + k * WIDTH
                    st(place, p)
                    st(place + 6 * WIDTH, q)
                    st(place + 12 * WIDTH, r)
                    st(place + 18 * WIDTH, s)
                for k in range(height):
                    p, q, r, s = at_of(scratch + k * 6 * WIDTH, WIDTH)
                    if bias != 0:
                        b = ld(bias + o)
                        p, q, r, s = p + b, q + b, r + b, s + b
                    place = corner + k * zh + o
                    st(place, p)
                    if width > 1:
                        st(place + zw, q)
                    if width > 2:
                        st(place + 2 * zw, r)
                    if width > 3:
                        st(place + 3 * zw, s)
            tile += 1


@inline
def cotangents_of(dz, zh, zw, rows, columns, tile_rows, tiles_in_row, features, d, all_tiles, first_tile, scratch):  # type: ignore[no-untyped-def]
    """4 x 4 tiles of dz, zero beyond its rows and columns -> A dz A^T, from first_tile on in d (36, all_tiles, O)."""
    size = all_tiles * features * 4
    zero = bc(np.float32(0))
    tile = first_tile
    for i in range(tile_rows):
        height = min(4, rows - 4 * i)
        for j in range(tiles_in_row):
            width = min(4, columns - 4 * j)
            corner = dz + 4 * i * zh + 4 * j * zw
            target = d + tile * features * 4
            for o in range(0, features * 4, WIDTH):
                for k in range(4):
                    place = corner + k * zw + o
                    inside = k < width
                    p = ld(place) if inside else zero
                    q = ld(place + zh) if inside and height > 1 else zero
                    r = ld(place + 2 * zh) if inside and height > 2 else zero
                    s = ld(place + 3 * zh) if inside and height > 3 else zero
                    a_of(p, q, r, s, scratch + k * WIDTH, 4 * WIDTH)
                for k in range(6):
                    row = scratch + k * 4 * WIDTH
                    p, q, r, s = ld(row), ld(row + WIDTH), ld(row + 2 * WIDTH), ld(row + 3 * WIDTH)
                    a_of(p, q, r, s, target + k * 6 * size + o, size)
            tile += 1
