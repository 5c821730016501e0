"""Passes over rows of points in float32: batch normalisation, ReLU, sums. Memory-bound; one pass reads each array once.

x is (P, C): the points of channels-last images, one row each, channels side by side. A block of BLOCK rows is taken one register
of channels after the other, so that sums stay in registers and a second look at the block finds it in cache. Sums
over a block are float32, sums of blocks float64. The last register of a row is filled up with zeros.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba

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


@kernel
def moments(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The means (parts, C) and sums of squared deviations from them (parts, C), float64, of this part's rows. Items: rows.

    Deviations are taken from the mean of their block, and blocks joined as T. Chan, G. Golub and R. LeVeque do ("Updating
    Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979): a large mean costs no digits.
    """
    x, channels, means, squares = (
        arg(a, 0),
        arg(a, 1),
        arg(a, 2) + part * arg(a, 1) * 8,
        arg(a, 3) + part * arg(a, 1) * 8,
    )
    scratch = arg(a, 4) + thread * 3 * WIDTH
    line = channels * 4
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        seen = first - start
        for c in range(0, channels, LANES):
            left = channels - c
            column = x + first * line + c * 4
            total = bc(np.float32(0))
            for r in range(count):
                total = total + ld_up_to(column + r * line, left)
            mean = total * bc(np.float32(1) / np.float32(count))
            rest, square = bc(np.float32(0)), bc(np.float32(0))
            for r in range(count):
                deviation = ld_up_to(column + r * line, left) - mean
                rest = rest + deviation
                square = fma(deviation, deviation, square)
            st(scratch, mean)
            st(scratch + WIDTH, rest)
            st(scratch + 2 * WIDTH, square)
            for k in range(min(LANES, left)):
                # the rounding of the block's mean is itself a mean that is left over
                more = np.float64(get(scratch + WIDTH + k * 4)) / count
                of_block = np.float64(get(scratch + k * 4)) + more
                deviations = np.float64(get(scratch + 2 * WIDTH + k * 4)) - count * more * more
                place = (c + k) * 8
                if seen == 0:
                    put_double(means + place, of_block)
                    put_double(squares + place, deviations)
                else:
                    before = get_double(means + place)
                    apart = of_block - before
                    put_double(means + place, before + apart * count / (seen + count))
                    joined = get_double(squares + place) + deviations
                    put_double(squares + place, joined + apart * apart * seen * count / (seen + count))


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


@inline
def _add_to_sums(scratch, total, product, c, left, more, sums, along):  # type: ignore[no-untyped-def]
    """The sums of a block for the channels c .. in float64: begun, or added to if there was `more` before."""
    st(scratch, total)
    st(scratch + WIDTH, product)
    for k in range(min(LANES, left)):
        at = (c + k) * 8
        one, other = np.float64(get(scratch + k * 4)), np.float64(get(scratch + WIDTH + k * 4))
        if more:
            one += get_double(sums + at)
            other += get_double(along + at)
        put_double(sums + at, one)
        put_double(along + at, other)


@kernel
def products(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The sums of dz and of dz * (x - mean), each (parts, C), float64, over this part's rows. Items: rows."""
    dz, x, channels, mean = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3)
    sums, along = arg(a, 4) + part * channels * 8, arg(a, 5) + part * channels * 8
    scratch = arg(a, 6) + thread * 2 * WIDTH
    line = channels * 4
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for c in range(0, channels, LANES):
            left = channels - c
            place = first * line + c * 4
            centre = ld(mean + c * 4)
            total, product = bc(np.float32(0)), bc(np.float32(0))
            total_2, product_2 = total, product
            for r in range(0, count - 1, 2):
                d = ld_up_to(dz + place + r * line, left)
                e = ld_up_to(dz + place + (r + 1) * line, left)
                total = total + d
                total_2 = total_2 + e
                product = fma(d, ld_up_to(x + place + r * line, left) - centre, product)
                product_2 = fma(e, ld_up_to(x + place + (r + 1) * line, left) - centre, product_2)
            if count % 2:
                d = ld_up_to(dz + place + (count - 1) * line, left)
                total = total + d
                product = fma(d, ld_up_to(x + place + (count - 1) * line, left) - centre, product)
            _add_to_sums(scratch, total + total_2, product + product_2, c, left, first > start, sums, along)


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


@kernel
def column_sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """The sums of x's rows, (parts, C), float64, over this part's rows. Items: rows."""
    x, channels, sums, scratch = arg(a, 0), arg(a, 1), arg(a, 2) + part * arg(a, 1) * 8, arg(a, 3) + thread * WIDTH
    line = channels * 4
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for c in range(0, channels, LANES):
            left = channels - c
            column = x + first * line + c * 4
            total, total_2 = bc(np.float32(0)), bc(np.float32(0))
            for r in range(0, count - 1, 2):
                total = total + ld_up_to(column + r * line, left)
                total_2 = total_2 + ld_up_to(column + (r + 1) * line, left)
            if count % 2:
                total = total + ld_up_to(column + (count - 1) * line, left)
            st(scratch, total + total_2)
            for k in range(min(LANES, left)):
                one = np.float64(get(scratch + k * 4))
                if first > start:
                    one += get_double(sums + (c + k) * 8)
                put_double(sums + (c + k) * 8, one)


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


@kernel
def products_where_positive(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """`products` of the dz where y = (x - mean) * scale + shift is positive. Items: rows."""
    dz, x, channels, mean, scale, shift = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    sums, along = arg(a, 6) + part * channels * 8, arg(a, 7) + part * channels * 8
    scratch = arg(a, 8) + thread * 2 * WIDTH
    line = channels * 4
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        for c in range(0, channels, LANES):
            left = channels - c
            place = first * line + c * 4
            centre, slope, height = ld(mean + c * 4), ld(scale + c * 4), ld(shift + c * 4)
            total, product = bc(np.float32(0)), bc(np.float32(0))
            total_2, product_2 = total, product
            for r in range(0, count - 1, 2):
                one = ld_up_to(x + place + r * line, left) - centre
                other = ld_up_to(x + place + (r + 1) * line, left) - centre
                d = where_positive(fma(one, slope, height), ld_up_to(dz + place + r * line, left))
                e = where_positive(fma(other, slope, height), ld_up_to(dz + place + (r + 1) * line, left))
                total = total + d
                total_2 = total_2 + e
                product = fma(d, one, product)
                product_2 = fma(e, other, product_2)
            if count % 2:
                one = ld_up_to(x + place + (count - 1) * line, left) - centre
                d = where_positive(fma(one, slope, height), ld_up_to(dz + place + (count - 1) * line, left))
                total = total + d
                product = fma(d, one, product)
            _add_to_sums(scratch, total + total_2, product + product_2, c, left, first > start, sums, along)


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
