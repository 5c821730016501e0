"""Steps of the optimisers in float32, one pass over the parameter, its gradient and its state; the formulas are update.py's.

Every array is one line of numbers in the same order. The settings lie in memory as float32; of the formula's roundings some
are joined (a * b + c is one), so results differ from the formula's in the last digit.
"""

from __future__ import annotations

from tensorgrad.backend.numba_simd import kernel, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import (
        LANES,
        arg,
        bc,
        div,
        fma,
        get,
        ld_up_to,
        mul,
        st_up_to,
        sub,
        vsqrt,
    )

    WIDTH = LANES * 4


@kernel
def sgd(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """v = momentum v + factor g, w -= lr v, where g = sign dw + decay w; v may be 0 (none). Items: LANES numbers."""
    w, dw, v, count, settings = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    decays, nesterov = arg(a, 5), arg(a, 6)
    lr, momentum, factor = bc(get(settings)), bc(get(settings + 4)), bc(get(settings + 8))
    decay, sign = bc(get(settings + 12)), bc(get(settings + 16))
    for i in range(start, stop):
        at, left = i * WIDTH, count - i * LANES
        x = ld_up_to(w + at, left)
        g = mul(sign, ld_up_to(dw + at, left))
        if decays:  # 0 times infinity would be nan
            g = fma(decay, x, g)
        step = g
        if v != 0:
            velocity = fma(factor, g, mul(momentum, ld_up_to(v + at, left)))
            st_up_to(v + at, velocity, left)
            step = fma(momentum, velocity, g) if nesterov else velocity
        st_up_to(w + at, sub(x, mul(lr, step)), left)


@kernel
def adam(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """m and v are the running means of g and g^2, w -= lr m / (root sqrt(v) + eps). Items: LANES numbers.

    g = sign dw + decay w, and before the step w is multiplied by `shrink`.
    """
    w, dw, m, v, count, settings, decays = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    lr, b1, c1, b2, c2 = (
        bc(get(settings)), bc(get(settings + 4)), bc(get(settings + 8)), bc(get(settings + 12)), bc(get(settings + 16))
    )  # fmt: skip
    root, eps, decay = bc(get(settings + 20)), bc(get(settings + 24)), bc(get(settings + 28))
    sign, shrink = bc(get(settings + 32)), bc(get(settings + 36))
    for i in range(start, stop):
        at, left = i * WIDTH, count - i * LANES
        x = ld_up_to(w + at, left)
        g = mul(sign, ld_up_to(dw + at, left))
        if decays:  # 0 times infinity would be nan
            g = fma(decay, x, g)
        mean = fma(c1, g, mul(b1, ld_up_to(m + at, left)))
        square = fma(c2, mul(g, g), mul(b2, ld_up_to(v + at, left)))
        st_up_to(m + at, mean, left)
        st_up_to(v + at, square, left)
        step = div(mean, fma(root, vsqrt(square), eps))
        st_up_to(w + at, sub(mul(shrink, x), mul(lr, step)), left)
