"""Passes over rows of points in float32: batch normalisation, ReLU, sums. Memory-bound; one pass reads each array once.

x is (P, C): the points of channels-last images, one row each, channels side by side. A block of BLOCK rows is taken one register
of channels after the other, so that sums stay in registers and a second look at the block finds it in cache. Sums
over a block are float32, sums of blocks float64. The last register of a row is filled up with zeros.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import kernel, numba, ordered_inline, ordered_kernel

if numba is not None:
    from tensorgrad.backend.numba_simd import (
        LANES,
        arg,
        as_double,
        bc,
        fma,
        get,
        get_double,
        ld,
        ld_first,
        ld_up_to,
        put,
        put_double,
        relu,
        st,
        st_first,
        st_up_to,
        where_positive,
    )

    WIDTH = LANES * 4
#: Rows whose sums are taken in float32.
BLOCK = 64


@ordered_inline
def _clear(sums, width):  # type: ignore[no-untyped-def]
    for c in range(0, width, LANES):
        st(sums + c * 4, bc(np.float32(0)))


@ordered_inline
def _add_rows(x, rows, line, channels, width, sums):  # type: ignore[no-untyped-def]
    """The sums of the columns of `rows` rows, to memory of whole registers."""
    _clear(sums, width)
    whole = rows // 4 * 4
    for r in range(0, whole, 4):
        for c in range(0, channels, LANES):
            place, left = x + r * line + c * 4, channels - c
            one = ld_up_to(place, left) + ld_up_to(place + line, left)
            other = ld_up_to(place + 2 * line, left) + ld_up_to(place + 3 * line, left)
            st(sums + c * 4, ld(sums + c * 4) + (one + other))
    for r in range(whole, rows):
        for c in range(0, channels, LANES):
            st(sums + c * 4, ld(sums + c * 4) + ld_up_to(x + r * line + c * 4, channels - c))


@ordered_inline
def _add_to_doubles(sums, channels, more, doubles):  # type: ignore[no-untyped-def]
    """The sums of a block in float64: begun, or added to if there was `more` before."""
    for c in range(channels):
        one = np.float64(get(sums + c * 4))
        if more:
            one += get_double(doubles + c * 8)
        put_double(doubles + c * 8, one)


@ordered_inline
def _add_deviations(x, rows, line, channels, width, centre, sums, squares):  # type: ignore[no-untyped-def]
    """The sums of x - centre and of its squares over `rows` rows, to memory of whole registers."""
    _clear(sums, width)
    _clear(squares, width)
    whole = rows // 4 * 4
    for r in range(0, whole, 4):
        for c in range(0, channels, LANES):
            at, place, left = c * 4, x + r * line + c * 4, channels - c
            middle = ld(centre + at)
            one, two = ld_up_to(place, left) - middle, ld_up_to(place + line, left) - middle
            three, four = ld_up_to(place + 2 * line, left) - middle, ld_up_to(place + 3 * line, left) - middle
            st(sums + at, ld(sums + at) + ((one + two) + (three + four)))
            some = fma(two, two, one * one) + fma(four, four, three * three)
            st(squares + at, ld(squares + at) + some)
    for r in range(whole, rows):
        for c in range(0, channels, LANES):
            at = c * 4
            one = ld_up_to(x + r * line + at, channels - c) - ld(centre + at)
            st(sums + at, ld(sums + at) + one)
            st(squares + at, fma(one, one, ld(squares + at)))


@ordered_kernel
def moments(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The means (parts, C) and sums of squared deviations from them (parts, C), float64, of this part's rows. Items: rows.

    Sums are of deviations from the mean of the first block, so a large mean costs no digits. Rows are read as they lie: the
    columns of a wide matrix are as far apart as is worst for caches.
    """
    x, channels, width = arg(a, 0), arg(a, 1), arg(a, 4)
    means, squares = arg(a, 2) + part * channels * 8, arg(a, 3) + part * channels * 8
    centre = arg(a, 5) + thread * 3 * width * 4
    sums, of_squares, line = centre + width * 4, centre + width * 8, channels * 4
    count = min(BLOCK, stop - start)
    _add_rows(x + start * line, count, line, channels, width, centre)
    for c in range(0, width, LANES):
        st(centre + c * 4, ld(centre + c * 4) * bc(np.float32(1) / np.float32(count)))
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        _add_deviations(x + first * line, count, line, channels, width, centre, sums, of_squares)
        _add_to_doubles(sums, channels, first > start, means)
        _add_to_doubles(of_squares, channels, first > start, squares)
    rows = stop - start
    for c in range(channels):
        rest = get_double(means + c * 8) / rows
        put_double(squares + c * 8, max(get_double(squares + c * 8) - rows * rest * rest, 0.0))
        put_double(means + c * 8, np.float64(get(centre + c * 4)) + rest)


@kernel
def statistics(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """From the moments of the parts, means and squares (parts, C): the mean, the biased variance and 1 / sqrt(var + eps), (3, C).

    And the line for `normalize`, (3, C to whole registers): mean, scale = weight / sqrt(var + eps), bias; a weight or bias
    of 0 is none. The variance of all is the mean of the parts' variances and the variance of their means. Items: one.
    """
    means, squares, parts, rows, channels, eps = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    weight, bias, result, line, width = arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10)
    exact = arg(a, 11)  # (2, C), float64
    of_squares = exact + channels * 8
    for c in range(2 * channels):
        put_double(exact + c * 8, 0.0)
    for p in range(parts):
        count = np.float64(rows * (p + 1) // parts - rows * p // parts)
        row = means + p * channels * 8
        for c in range(channels):
            put_double(exact + c * 8, get_double(exact + c * 8) + count * get_double(row + c * 8))
    for c in range(channels):
        put_double(exact + c * 8, get_double(exact + c * 8) / rows)
    for p in range(parts):
        count = np.float64(rows * (p + 1) // parts - rows * p // parts)
        row, of_row = means + p * channels * 8, squares + p * channels * 8
        for c in range(channels):
            apart = get_double(row + c * 8) - get_double(exact + c * 8)
            more = get_double(of_row + c * 8) + count * apart * apart
            put_double(of_squares + c * 8, get_double(of_squares + c * 8) + more)
    for c in range(channels):
        at = c * 4
        var = get_double(of_squares + c * 8) / rows
        inv_std = np.float32(1.0 / np.sqrt(var + as_double(eps)))
        mean = np.float32(get_double(exact + c * 8))
        put(result + at, mean)
        put(result + channels * 4 + at, np.float32(var))
        put(result + channels * 8 + at, inv_std)
        put(line + at, mean)
        put(line + width * 4 + at, inv_std * get(weight + at) if weight else inv_std)
        put(line + width * 8 + at, get(bias + at) if bias else np.float32(0))
    for c in range(channels, width):
        for i in range(3):
            put(line + (i * width + c) * 4, np.float32(0))


@kernel
def normalize(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """y = (x - mean) * scale + shift, or max(y, 0) if `positive`. Items: rows."""
    x, y, channels, mean, scale, shift = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    positive = arg(a, 6)
    line = channels * 4
    whole = channels - channels % LANES
    for r in range(start, stop):
        row, result = x + r * line, y + r * line
        for c in range(0, whole * 4, WIDTH):
            z = fma(ld(row + c) - ld(mean + c), ld(scale + c), ld(shift + c))
            st(result + c, relu(z) if positive else z)
        if whole < channels:
            c, left = whole * 4, channels - whole
            z = fma(ld_first(row + c, left) - ld(mean + c), ld(scale + c), ld(shift + c))
            st_first(result + c, relu(z) if positive else z, left)


@kernel
def shifted(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """y = x + shift. Items: rows."""
    x, y, channels, shift = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    line = channels * 4
    for r in range(start, stop):
        row, result = x + r * line, y + r * line
        for c in range(0, channels, LANES):
            left = channels - c
            st_up_to(result + c * 4, ld_up_to(row + c * 4, left) + ld(shift + c * 4), left)


@ordered_inline
def _taken(d, deviation, slope, height, positive):  # type: ignore[no-untyped-def]
    return where_positive(fma(deviation, slope, height), d) if positive else d


@ordered_inline
def _add_products(dz, x, rows, line, channels, width, mean, scale, shift, sums, positive):  # type: ignore[no-untyped-def]
    """The sums of dz and of dz * (x - mean) over `rows` rows, to memory of whole registers, one line behind the other.

    If `positive`, of the dz where (x - mean) * scale + shift is positive.
    """
    along = sums + width * 4
    _clear(sums, 2 * width)
    whole = rows // 4 * 4
    for r in range(0, whole, 4):
        for c in range(0, channels, LANES):
            at, left, centre = c * 4, channels - c, ld(mean + c * 4)
            slope, height = ld(scale + at), ld(shift + at)
            of_x, of_dz = x + r * line + at, dz + r * line + at
            one, two = ld_up_to(of_x, left) - centre, ld_up_to(of_x + line, left) - centre
            three, four = ld_up_to(of_x + 2 * line, left) - centre, ld_up_to(of_x + 3 * line, left) - centre
            d = _taken(ld_up_to(of_dz, left), one, slope, height, positive)
            e = _taken(ld_up_to(of_dz + line, left), two, slope, height, positive)
            f = _taken(ld_up_to(of_dz + 2 * line, left), three, slope, height, positive)
            g = _taken(ld_up_to(of_dz + 3 * line, left), four, slope, height, positive)
            st(sums + at, ld(sums + at) + ((d + e) + (f + g)))
            st(along + at, ld(along + at) + (fma(d, one, e * two) + fma(f, three, g * four)))
    for r in range(whole, rows):
        for c in range(0, channels, LANES):
            at, place, left = c * 4, r * line + c * 4, channels - c
            one = ld_up_to(x + place, left) - ld(mean + at)
            d = _taken(ld_up_to(dz + place, left), one, ld(scale + at), ld(shift + at), positive)
            st(sums + at, ld(sums + at) + d)
            st(along + at, fma(d, one, ld(along + at)))


@ordered_kernel
def products(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The sums of dz and of dz * (x - mean), each (parts, C), float64, over this part's rows. Items: rows."""
    dz, x, channels, mean, width = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 6)
    total, along = arg(a, 4) + part * channels * 8, arg(a, 5) + part * channels * 8
    sums, line = arg(a, 7) + thread * 2 * width * 4, channels * 4
    for first in range(start, stop, BLOCK):
        at, count = first * line, min(BLOCK, stop - first)
        _add_products(dz + at, x + at, count, line, channels, width, mean, mean, mean, sums, False)
        _add_to_doubles(sums, channels, first > start, total)
        _add_to_doubles(sums + width * 4, channels, first > start, along)


@kernel
def line_of_channels(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The line (3, C to whole registers) of mean, scale = inv_std weight, bias; weight and bias may be 0, none. Items: one."""
    mean, inv_std, weight, bias, channels, line, width = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    )  # fmt: skip
    for c in range(0, channels, LANES):
        at, left = c * 4, channels - c
        scale = ld_up_to(inv_std + at, left)
        st(line + at, ld_up_to(mean + at, left))
        st(line + width * 4 + at, scale * ld_up_to(weight + at, left) if weight else scale)
        st(line + width * 8 + at, ld_up_to(bias + at, left) if bias else bc(np.float32(0)))


@kernel
def slopes(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """From the sums of the parts (parts, C), of dz and of dz (x - mean): the gradients of weight and bias, (2, C).

    And the line for `gradient`, (2, C to whole registers): slope = inv_std dw / rows, shift = db / rows. Items: one.
    """
    sums, along, parts, rows, channels = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    inv_std, result, line, width = arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    for p in range(1, parts):
        row, of_row = sums + p * channels * 8, along + p * channels * 8
        for c in range(channels):
            put_double(sums + c * 8, get_double(sums + c * 8) + get_double(row + c * 8))
            put_double(along + c * 8, get_double(along + c * 8) + get_double(of_row + c * 8))
    for c in range(channels):
        at = c * 4
        factor = np.float64(get(inv_std + at))
        dw, db = get_double(along + c * 8) * factor, get_double(sums + c * 8)
        put(result + at, np.float32(dw))
        put(result + channels * 4 + at, np.float32(db))
        put(line + at, np.float32(factor * dw / rows))
        put(line + width * 4 + at, np.float32(db / rows))
    for c in range(channels, width):
        put(line + c * 4, np.float32(0))
        put(line + (width + c) * 4, np.float32(0))


@ordered_kernel
def column_sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The sums of x's rows, (parts, C), float64, over this part's rows. Items: rows."""
    x, channels, width, sums = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3) + part * arg(a, 1) * 8
    scratch, line = arg(a, 4) + thread * width * 4, channels * 4
    for first in range(start, stop, BLOCK):
        _add_rows(x + first * line, min(BLOCK, stop - first), line, channels, width, scratch)
        _add_to_doubles(scratch, channels, first > start, sums)


@kernel
def gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = (dz - (x - mean) * slope - shift) * scale. Items: rows."""
    dz, x, dx, channels = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    mean, slope, shift, scale = arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7)
    line = channels * 4
    for r in range(start, stop):
        cotangent, row, result = dz + r * line, x + r * line, dx + r * line
        for c in range(0, channels, LANES):
            left, at = channels - c, c * 4
            d, deviation = ld_up_to(cotangent + at, left), ld_up_to(row + at, left) - ld(mean + at)
            st_up_to(result + at, (d - fma(deviation, ld(slope + at), ld(shift + at))) * ld(scale + at), left)


@ordered_kernel
def products_where_positive(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """`products` of the dz where y = (x - mean) * scale + shift is positive. Items: rows."""
    dz, x, channels, mean, scale, shift = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    total, along, width = arg(a, 6) + part * channels * 8, arg(a, 7) + part * channels * 8, arg(a, 8)
    sums, line = arg(a, 9) + thread * 2 * width * 4, channels * 4
    for first in range(start, stop, BLOCK):
        at, count = first * line, min(BLOCK, stop - first)
        _add_products(dz + at, x + at, count, line, channels, width, mean, scale, shift, sums, True)
        _add_to_doubles(sums, channels, first > start, total)
        _add_to_doubles(sums + width * 4, channels, first > start, along)


@kernel
def gradient_where_positive(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """`gradient` of the dz where y = (x - mean) * scale + height is positive. Items: rows."""
    dz, x, dx, channels = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    mean, slope, shift, scale, height = arg(a, 4), arg(a, 5), arg(a, 6), arg(a, 7), arg(a, 8)
    line = channels * 4
    for r in range(start, stop):
        cotangent, row, result = dz + r * line, x + r * line, dx + r * line
        for c in range(0, channels, LANES):
            left, at = channels - c, c * 4
            deviation, factor = ld_up_to(row + at, left) - ld(mean + at), ld(scale + at)
            d = where_positive(fma(deviation, factor, ld(height + at)), ld_up_to(cotangent + at, left))
            st_up_to(result + at, (d - fma(deviation, ld(slope + at), ld(shift + at))) * factor, left)


@kernel
def positive(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = max(x, 0). Items: LANES numbers."""
    x, z, count = arg(a, 0), arg(a, 1), arg(a, 2)
    for i in range(start, min(stop, count // LANES)):
        st(z + i * WIDTH, relu(ld(x + i * WIDTH)))
    if stop > count // LANES and count % LANES:
        at = count // LANES * WIDTH
        st_first(z + at, relu(ld_first(x + at, count % LANES)), count % LANES)


@kernel
def positive_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = dz where z > 0, else 0. Items: LANES numbers."""
    dz, z, dx, count = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    for i in range(start, min(stop, count // LANES)):
        st(dx + i * WIDTH, where_positive(ld(z + i * WIDTH), ld(dz + i * WIDTH)))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(dx + at, where_positive(ld_first(z + at, left), ld_first(dz + at, left)), left)


@kernel
def total(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x + y. Items: LANES numbers."""
    x, y, z, count = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    for i in range(start, min(stop, count // LANES)):
        st(z + i * WIDTH, ld(x + i * WIDTH) + ld(y + i * WIDTH))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(z + at, ld_first(x + at, left) + ld_first(y + at, left), left)


@kernel
def columns(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The rows of x (P, C) to memory where a row begins every `line` bytes. Items: rows."""
    x, channels, z, line = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    for r in range(start, stop):
        row, result = x + r * channels * 4, z + r * line
        for c in range(0, channels, LANES):
            st_up_to(result + c * 4, ld_up_to(row + c * 4, channels - c), channels - c)
