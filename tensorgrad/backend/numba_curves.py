"""Activations and their kin on vector registers: z = f(x) and dx = f'(x) d in one pass over float32 numbers.

NumPy needs a pass over memory for every step of a formula, GELU's some sixty. Which function it is stands among the arguments;
the branch is the same for all registers of a call, so it costs next to nothing. A function has up to three settings p, q, r.
"""

from __future__ import annotations

from tensorgrad.backend.numba_simd import inline, kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_math import (
        erf,
        erfc,
        exp,
        exp_inside,
        expm1,
        fill,
        larger,
        log1p,
        scaled_tail,
        sigmoid,
        size,
        smaller,
        where_above,
        where_number,
    )
    from tensorgrad.backend.numba_simd import LANES, arg, bc, fma, get, ld, ld_first, st, st_first

    WIDTH = LANES * 4

#: The functions that kernels know, by the names of their primitives; their places are the numbers below.
STEPS = (
    "leaky_relu",
    "threshold",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "hardshrink",
    "softshrink",
    "clamp",
    "huber",
)
CURVES = ("sigmoid", "silu", "gelu", "gelu_tanh", "mish", "softplus", "logsigmoid", "elu", "erf", "erfc")


@inline
def _step(which, x, p, q):  # type: ignore[no-untyped-def]
    zero = fill(0.0)
    if which == 0:  # leaky_relu, slope p
        return where_above(x, zero, x, x * p)
    if which == 1:  # threshold, bound p, value q
        return where_above(x, p, x, q)
    if which == 2 or which == 7:  # hardtanh and clamp, from p to q
        return smaller(larger(x, p), q)
    if which == 3:  # hardsigmoid
        return smaller(larger(x + 3.0, zero), fill(6.0)) / 6.0
    if which == 4:  # hardswish
        return x * (smaller(larger(x + 3.0, zero), fill(6.0)) / 6.0)
    if which == 5:  # hardshrink, bound p
        return where_above(x, p, x, where_above(-p, x, x, where_number(x, zero, x)))
    if which == 8:  # huber, delta p
        near = smaller(larger(x, -p), p)
        return near * (x - near * 0.5)
    return x - smaller(larger(x, -p), p)  # softshrink, bound p


@inline
def _step_along(which, d, x, p, q):  # type: ignore[no-untyped-def]
    zero = fill(0.0)
    if which == 0:
        return where_above(x, zero, d, d * p)
    if which == 1:
        return where_above(x, p, d, zero)
    if which == 2:
        return where_above(x, p, where_above(q, x, d, zero), zero)
    if which == 3:
        return where_above(x, fill(-3.0), where_above(fill(3.0), x, d / 6.0, zero), zero)
    if which == 4:
        return where_above(x, fill(-3.0), where_above(fill(3.0), x, d * (x / 3.0 + 0.5), d), where_number(x, zero, d))
    if which == 7:  # at the bounds of clamp the gradient passes
        return where_above(x, q, zero, where_above(p, x, zero, where_number(x, d, zero)))
    if which == 8:
        return d * smaller(larger(x, -p), p)
    return where_above(x, p, d, where_above(-p, x, d, where_number(x, zero, d)))


@inline
def _half_tail(x):  # type: ignore[no-untyped-def]
    """The normal distribution's part beyond |x|, 0 from 13 on."""
    t = smaller(size(x) * 0.7071067811865476, fill(9.2))
    return where_above(size(x), fill(13.0), fill(0.0), exp_inside(-t * t) * scaled_tail(t) * 0.5)


@inline
def _gelu_share(x):  # type: ignore[no-untyped-def]
    """(1 + tanh u) / 2 = sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return sigmoid((x + x * x * x * 0.044715) * 1.5957691216057308)


@inline
def _curve(which, x, p, q, r):  # type: ignore[no-untyped-def]
    zero = fill(0.0)
    if which == 0:
        return sigmoid(x)
    if which == 1:  # silu
        return x * sigmoid(x)
    if which == 2:  # gelu
        e = _half_tail(x)
        return x * where_above(zero, x, e, 1.0 - e)
    if which == 3:  # gelu_tanh
        return x * _gelu_share(x)
    if which == 4:  # mish; tanh(log(1 + e)) = n / (n + 2) for n = e (e + 2)
        e = exp_inside(larger(smaller(x, fill(20.0)), fill(-87.0)))
        n = e * (e + 2.0)
        return x * where_above(fill(-87.0), x, zero, n / (n + 2.0))
    if which == 5:  # softplus, beta p, bound q
        t = x * p
        return where_above(t, q, x, (larger(t, zero) + log1p(exp_inside(larger(-size(t), fill(-87.0))))) / p)
    if which == 6:  # logsigmoid
        return smaller(x, zero) - log1p(exp_inside(larger(-size(x), fill(-87.0))))
    if which == 7:  # elu, alpha p, scale q, rate r
        return where_above(x, zero, x * q, expm1(smaller(x, zero) * r) * (q * p))
    if which == 8:
        return erf(x)
    return erfc(x)


@inline
def _curve_along(which, d, x, p, q, r):  # type: ignore[no-untyped-def]
    zero = fill(0.0)
    if which == 0:  # of sigmoid the result is given
        return d * (x * (1.0 - x))
    if which == 1:
        s = sigmoid(x)
        return d * (s * (larger(x, fill(-88.0)) * (1.0 - s) + 1.0))
    if which == 2:
        near = smaller(larger(x, fill(-13.0)), fill(13.0))
        e = _half_tail(x)
        density = exp_inside(near * near * -0.5) * 0.3989422804014327
        return d * fma(near, density, where_above(zero, x, e, 1.0 - e))
    if which == 3:
        near = smaller(larger(x, fill(-13.0)), fill(13.0))
        s = _gelu_share(near)
        slope = (near * near * 0.134145 + 1.0) * 1.5957691216057308
        return d * (s + near * s * (1.0 - s) * slope)
    if which == 4:
        e = exp_inside(larger(smaller(x, fill(20.0)), fill(-87.0)))
        n = e * (e + 2.0)
        t = n / (n + 2.0)
        square = (n + 1.0) / (n + 2.0)
        near = smaller(larger(x, fill(-87.0)), fill(20.0))
        return d * (t + near * (4.0 * square / (n + 2.0)) * (e / (e + 1.0)))
    if which == 5:
        t = x * p
        return where_above(t, q, d, d * sigmoid(t))
    if which == 6:
        return d * sigmoid(-x)
    if which == 7:
        return where_above(x, zero, d * q, d * (exp(smaller(x, zero) * r) * (q * p * r)))
    if which == 8:
        return d * (exp(-x * x) * 1.1283791670955126)
    return d * (exp(-x * x) * -1.1283791670955126)


@kernel
def steps(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = f(x), f made of straight lines. Items: LANES numbers."""
    which, x, z, count, settings = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    p, q = bc(get(settings)), bc(get(settings + 4))
    for i in range(start, min(stop, count // LANES)):
        st(z + i * WIDTH, _step(which, ld(x + i * WIDTH), p, q))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(z + at, _step(which, ld_first(x + at, left), p, q), left)


@kernel
def steps_along(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = f'(x) d, f made of straight lines. Items: LANES numbers."""
    which, d, x, dx, count, settings = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    p, q = bc(get(settings)), bc(get(settings + 4))
    for i in range(start, min(stop, count // LANES)):
        st(dx + i * WIDTH, _step_along(which, ld(d + i * WIDTH), ld(x + i * WIDTH), p, q))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(dx + at, _step_along(which, ld_first(d + at, left), ld_first(x + at, left), p, q), left)


@kernel
def curves(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z = f(x), f made of exponentials. Items: LANES numbers."""
    which, x, z, count, settings = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    p, q, r = bc(get(settings)), bc(get(settings + 4)), bc(get(settings + 8))
    for i in range(start, min(stop, count // LANES)):
        st(z + i * WIDTH, _curve(which, ld(x + i * WIDTH), p, q, r))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(z + at, _curve(which, ld_first(x + at, left), p, q, r), left)


@kernel
def curves_along(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dx = f'(x) d, f made of exponentials. Items: LANES numbers."""
    which, d, x, dx, count, settings = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    p, q, r = bc(get(settings)), bc(get(settings + 4)), bc(get(settings + 8))
    for i in range(start, min(stop, count // LANES)):
        st(dx + i * WIDTH, _curve_along(which, ld(d + i * WIDTH), ld(x + i * WIDTH), p, q, r))
    if stop > count // LANES and count % LANES:
        at, left = count // LANES * WIDTH, count % LANES
        st_first(dx + at, _curve_along(which, ld_first(d + at, left), ld_first(x + at, left), p, q, r), left)
