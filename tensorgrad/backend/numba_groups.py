"""Group normalisation of float32 planes, on vector registers: a group of channels at a time, in cache.

x is (groups of all samples, channels of a group, points); every channel has a weight and a bias, whose addresses may be 0.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.backend.numba_simd import kernel, numba, ordered_kernel

if numba is not None:
    from tensorgrad.backend.numba_lines import CHAIN, moments
    from tensorgrad.backend.numba_math import fill, root, total_of
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, get, ld_up_to, st_first, st_up_to


@ordered_kernel
def group_norm(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = w (x - mean) s + b, s = 1 / sqrt(var + eps); mean, var and s of every group. Items: groups."""
    members, points, weight, bias, groups = arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    eps = fill(np.float64(get(arg(a, 10))))
    for group in range(start, stop):
        place = group * members * points * 4
        mean, lost, var = moments(arg(a, 0) + place, members * points)
        inverse = 1.0 / root(var + eps)
        st_first(arg(a, 7) + group * 4, mean + lost, 1)
        st_first(arg(a, 8) + group * 4, var, 1)
        st_first(arg(a, 9) + group * 4, inverse, 1)
        for member in range(members):
            channel = group % groups * members + member
            x, z = arg(a, 0) + place + member * points * 4, arg(a, 1) + place + member * points * 4
            scale, shift = inverse, fill(0.0)
            if weight:
                scale = scale * bc(get(weight + channel * 4))
            if bias:
                shift = bc(get(bias + channel * 4))
            for c in range(0, points, LANES):
                h = ld_up_to(x + c * 4, points - c) - mean - lost
                st_up_to(z + c * 4, fma(h, scale, shift), points - c)


@kernel
def group_norm_gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = s (w dz - mean(w dz) - h mean(w dz h)), h = (x - mean) s; the sums over points of dz h and of dz, a number for
    every plane each. Items: groups."""
    members, points, weight, groups = arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    share, nothing = fill(1.0 / (members * points)), fill(0.0)
    for group in range(start, stop):
        mean, inverse = bc(get(arg(a, 7) + group * 4)), bc(get(arg(a, 8) + group * 4))
        total, product = nothing, nothing
        for member in range(members):
            plane = group * members + member
            dz, x = arg(a, 0) + plane * points * 4, arg(a, 1) + plane * points * 4
            sums, along = nothing, nothing
            for first in range(0, points, CHAIN * LANES):
                some, some_along = nothing, nothing
                for c in range(first, min(points, first + CHAIN * LANES), LANES):
                    d = ld_up_to(dz + c * 4, points - c)
                    some, some_along = some + d, fma(d, ld_up_to(x + c * 4, points - c) - mean, some_along)
                sums, along = sums + some, along + some_along  # d is 0 behind the end
            sums, along = total_of(sums), total_of(along) * inverse
            st_first(arg(a, 9) + plane * 4, along, 1)
            st_first(arg(a, 10) + plane * 4, sums, 1)
            w = bc(get(weight + (group % groups * members + member) * 4)) if weight else fill(1.0)
            total, product = fma(w, sums, total), fma(w, along, product)
        # dx = dz (w s) - (x - mean) slope - shift
        slope, shift = product * share * inverse * inverse, total * share * inverse
        for member in range(members):
            place = (group * members + member) * points * 4
            scale = inverse
            if weight:
                scale = scale * bc(get(weight + (group % groups * members + member) * 4))
            for c in range(0, points, LANES):
                at, left = place + c * 4, points - c
                along = fma(ld_up_to(arg(a, 1) + at, left) - mean, slope, shift)
                st_up_to(arg(a, 2) + at, ld_up_to(arg(a, 0) + at, left) * scale - along, left)
