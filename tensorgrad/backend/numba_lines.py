"""Sums, softmax, its logarithm, layer and root mean square normalisation on vector registers: a line at a time, in cache.

x is (lines, n), float32. A line's sums stay in registers; its last register is filled up with what changes nothing.
"""

from __future__ import annotations

import math

import numpy as np

from tensorgrad.backend.numba_simd import inline, kernel, numba, ordered_inline, ordered_kernel

if numba is not None:
    from tensorgrad.backend.numba_math import exp, fill, first_places, largest_of, root, total_of
    from tensorgrad.backend.numba_simd import (
        LANES,
        arg,
        better,
        fma,
        get,
        ld,
        ld_up_to,
        st_first,
        st_up_to,
    )

    WIDTH = LANES * 4
#: Registers that are added up before they are added to the others' sum: rounding grows with the longest chain of additions.
CHAIN = 64

if numba is not None:
    #: Numbers that are added up by themselves, in four registers.
    PIECE = 4 * LANES * CHAIN


@ordered_inline
def _with(total, x, squared):  # type: ignore[no-untyped-def]
    return fma(x, x, total) if squared else total + x


@ordered_inline
def _add_up_pieces(a, start, stop, squared):  # type: ignore[no-untyped-def]
    n, pieces = arg(a, 2), arg(a, 3)
    for item in range(start, stop):
        line, piece = item // pieces, item % pieces
        x = arg(a, 0) + (line * n + piece * PIECE) * 4
        count = min(n - piece * PIECE, PIECE)
        whole = count - count % (4 * LANES)
        one, two, three, four = fill(0.0), fill(0.0), fill(0.0), fill(0.0)
        for c in range(0, whole, 4 * LANES):
            one, two = _with(one, ld(x + c * 4), squared), _with(two, ld(x + c * 4 + WIDTH), squared)
            three = _with(three, ld(x + c * 4 + 2 * WIDTH), squared)
            four = _with(four, ld(x + c * 4 + 3 * WIDTH), squared)
        for c in range(whole, count, LANES):
            one = _with(one, ld_up_to(x + c * 4, count - c), squared)
        st_first(arg(a, 1) + item * 4, total_of((one + two) + (three + four)), 1)


@ordered_kernel
def sums(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (lines, pieces) = the sums of x (lines, n) over pieces of PIECE numbers, the last of a line shorter. Items: pieces."""
    _add_up_pieces(a, start, stop, False)


@ordered_kernel
def sums_of_squares(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """`sums` of x^2. Items: pieces."""
    _add_up_pieces(a, start, stop, True)


@inline
def _only(x, other, left):  # type: ignore[no-untyped-def]
    """x, with `other` behind the end of the line."""
    return x if left >= LANES else first_places(x, other, left)


@inline
def _largest(x, n):  # type: ignore[no-untyped-def]
    lowest = fill(-math.inf)
    best = lowest
    for c in range(0, n, LANES):
        best = better(_only(ld_up_to(x + c * 4, n - c), lowest, n - c), best)
    return largest_of(best)


@kernel
def softmax(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = e^(x - max x) / sum. Items: lines."""
    n = arg(a, 2)
    for line in range(start, stop):
        x, z = arg(a, 0) + line * n * 4, arg(a, 1) + line * n * 4
        top, total = _largest(x, n), fill(0.0)
        for first in range(0, n, CHAIN * LANES):
            some = fill(0.0)
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                e = exp(ld_up_to(x + c * 4, n - c) - top)
                st_up_to(z + c * 4, e, n - c)
                some = some + _only(e, fill(0.0), n - c)
            total = total + some
        share = 1.0 / total_of(total)
        for c in range(0, n, LANES):
            st_up_to(z + c * 4, ld_up_to(z + c * 4, n - c) * share, n - c)


@ordered_kernel
def log_softmax(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = x - max x - log sum e^(x - max x). Items: lines."""
    n = arg(a, 2)
    for line in range(start, stop):
        x, z = arg(a, 0) + line * n * 4, arg(a, 1) + line * n * 4
        top, total = _largest(x, n), fill(0.0)
        for first in range(0, n, CHAIN * LANES):
            some = fill(0.0)
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                some = some + _only(exp(ld_up_to(x + c * 4, n - c) - top), fill(0.0), n - c)
            total = total + some
        st_first(z, total_of(total), 1)
        logarithm = fill(math.log(np.float64(get(z))))
        for c in range(0, n, LANES):
            st_up_to(z + c * 4, ld_up_to(x + c * 4, n - c) - top - logarithm, n - c)


@kernel
def softmax_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = z (d - sum z d). Items: lines."""
    n = arg(a, 3)
    for line in range(start, stop):
        at = line * n * 4
        d, z, dx, total = arg(a, 0) + at, arg(a, 1) + at, arg(a, 2) + at, fill(0.0)
        for first in range(0, n, CHAIN * LANES):
            some = fill(0.0)
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                some = fma(ld_up_to(d + c * 4, n - c), ld_up_to(z + c * 4, n - c), some)
            total = total + some
        total = total_of(total)
        for c in range(0, n, LANES):
            st_up_to(dx + c * 4, ld_up_to(z + c * 4, n - c) * (ld_up_to(d + c * 4, n - c) - total), n - c)


@kernel
def log_softmax_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = d - e^z sum d. Items: lines."""
    n = arg(a, 3)
    for line in range(start, stop):
        at = line * n * 4
        d, z, dx, total = arg(a, 0) + at, arg(a, 1) + at, arg(a, 2) + at, fill(0.0)
        for first in range(0, n, CHAIN * LANES):
            some = fill(0.0)
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                some = some + ld_up_to(d + c * 4, n - c)
            total = total + some
        total = total_of(total)
        for c in range(0, n, LANES):
            st_up_to(dx + c * 4, ld_up_to(d + c * 4, n - c) - exp(ld_up_to(z + c * 4, n - c)) * total, n - c)


@ordered_inline
def moments(x, n):  # type: ignore[no-untyped-def]
    """(rounded mean, what rounding took off it, variance) of n numbers.

    The mean's rounding is itself a mean that is left over, and has to be taken off too.
    """
    share, nothing = fill(1.0 / n), fill(0.0)
    total = nothing
    for first in range(0, n, CHAIN * LANES):
        some = nothing
        for c in range(first, min(n, first + CHAIN * LANES), LANES):
            some = some + ld_up_to(x + c * 4, n - c)
        total = total + some
    mean = total_of(total) * share
    rest, square = nothing, nothing
    for first in range(0, n, CHAIN * LANES):
        some_rest, some_square = nothing, nothing
        for c in range(first, min(n, first + CHAIN * LANES), LANES):
            deviation = _only(ld_up_to(x + c * 4, n - c) - mean, nothing, n - c)
            some_rest = some_rest + deviation
            some_square = fma(deviation, deviation, some_square)
        rest, square = rest + some_rest, square + some_square
    lost = total_of(rest) * share
    return mean, lost, total_of(square) * share - lost * lost


@ordered_kernel
def layer_norm(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = w (x - mean) / sqrt(var + eps) + b; mean, var and 1 / sqrt(var + eps) of every line. Items: lines.

    Addresses of w and b may be 0.
    """
    n, weight, bias, eps = arg(a, 2), arg(a, 3), arg(a, 4), fill(np.float64(get(arg(a, 8))))
    for line in range(start, stop):
        x, z = arg(a, 0) + line * n * 4, arg(a, 1) + line * n * 4
        mean, lost, var = moments(x, n)
        inverse = 1.0 / root(var + eps)
        st_first(arg(a, 5) + line * 4, mean + lost, 1)
        st_first(arg(a, 6) + line * 4, var, 1)
        st_first(arg(a, 7) + line * 4, inverse, 1)
        for c in range(0, n, LANES):
            at, left = c * 4, n - c
            h = (ld_up_to(x + at, left) - mean - lost) * inverse
            if weight:
                h = h * ld_up_to(weight + at, left)
            if bias:
                h = h + ld_up_to(bias + at, left)
            st_up_to(z + at, h, left)


@kernel
def layer_norm_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = s (g - mean g - h mean(g h)), g = w dz, s = 1 / sqrt(var + eps); with w also this part's sums over lines of dz h and
    dz, (parts, n) each, zeros at first. Items: lines."""
    n, weight = arg(a, 3), arg(a, 4)
    along, sums = arg(a, 7) + part * n * 4, arg(a, 8) + part * n * 4
    share, nothing = fill(1.0 / n), fill(0.0)
    for line in range(start, stop):
        place = line * n * 4
        dz, x, dx = arg(a, 0) + place, arg(a, 1) + place, arg(a, 2) + place
        mean, inverse = fill(np.float64(get(arg(a, 5) + line * 4))), fill(np.float64(get(arg(a, 6) + line * 4)))
        total, product = nothing, nothing
        for first in range(0, n, CHAIN * LANES):
            some, some_product = nothing, nothing
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                at, left = c * 4, n - c
                g = ld_up_to(dz + at, left)
                h = (ld_up_to(x + at, left) - mean) * inverse
                if weight:
                    st_up_to(along + at, fma(g, h, ld_up_to(along + at, left)), left)
                    st_up_to(sums + at, g + ld_up_to(sums + at, left), left)
                    g = g * ld_up_to(weight + at, left)
                some, some_product = some + g, fma(g, h, some_product)  # g is 0 behind the end
            total, product = total + some, product + some_product
        total, product = total_of(total) * share, total_of(product) * share
        for c in range(0, n, LANES):
            at, left = c * 4, n - c
            g = ld_up_to(dz + at, left)
            h = (ld_up_to(x + at, left) - mean) * inverse
            if weight:
                g = g * ld_up_to(weight + at, left)
            st_up_to(dx + at, inverse * (g - total - h * product), left)


@kernel
def rms_norm(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = w x s, s = 1 / sqrt(mean x^2 + eps), kept for every line. The address of w may be 0. Items: lines."""
    n, weight, eps = arg(a, 2), arg(a, 3), fill(np.float64(get(arg(a, 5))))
    share, nothing = fill(1.0 / n), fill(0.0)
    for line in range(start, stop):
        x, z = arg(a, 0) + line * n * 4, arg(a, 1) + line * n * 4
        square = nothing
        for first in range(0, n, CHAIN * LANES):
            some = nothing
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                value = ld_up_to(x + c * 4, n - c)
                some = fma(value, value, some)
            square = square + some
        inverse = 1.0 / root(total_of(square) * share + eps)
        st_first(arg(a, 4) + line * 4, inverse, 1)
        for c in range(0, n, LANES):
            h = ld_up_to(x + c * 4, n - c) * inverse
            if weight:
                h = h * ld_up_to(weight + c * 4, n - c)
            st_up_to(z + c * 4, h, n - c)


@kernel
def rms_norm_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = s (g - h mean(g h)), g = w dz, h = s x; with w also this part's sums over lines of dz h, (parts, n), zeros at
    first. Items: lines."""
    n, weight = arg(a, 3), arg(a, 4)
    along = arg(a, 6) + part * n * 4
    share, nothing = fill(1.0 / n), fill(0.0)
    for line in range(start, stop):
        place = line * n * 4
        dz, x, dx = arg(a, 0) + place, arg(a, 1) + place, arg(a, 2) + place
        inverse = fill(np.float64(get(arg(a, 5) + line * 4)))
        product = nothing
        for first in range(0, n, CHAIN * LANES):
            some = nothing
            for c in range(first, min(n, first + CHAIN * LANES), LANES):
                at, left = c * 4, n - c
                g, h = ld_up_to(dz + at, left), ld_up_to(x + at, left) * inverse
                if weight:
                    st_up_to(along + at, fma(g, h, ld_up_to(along + at, left)), left)
                    g = g * ld_up_to(weight + at, left)
                some = fma(g, h, some)
            product = product + some
        product = total_of(product) * share
        for c in range(0, n, LANES):
            at, left = c * 4, n - c
            g, h = ld_up_to(dz + at, left), ld_up_to(x + at, left) * inverse
            if weight:
                g = g * ld_up_to(weight + at, left)
            st_up_to(dx + at, inverse * (g - h * product), left)
