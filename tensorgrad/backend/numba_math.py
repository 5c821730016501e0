"""Functions of real numbers on vector registers, for the kernels of numba_curves.py and numba_softmax.py.

Each is a polynomial on a short interval (interpolated at Chebyshev points, which is within some per cent of the best polynomial
there is) and a few exact steps that lead there. Errors in units of the last place, the largest over 2 million numbers against
float64: exp 1, expm1 1.5, log1p 1, sigmoid 2, erf 1.5, erfc 3 (tests/backend/test_curves.py bounds them).

A register and a number of Python may be added, multiplied and divided: `x * 0.5 + 1.0`.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.numba_simd import inline, numba

if numba is not None:
    import operator

    from tensorgrad.backend.numba_simd import (
        F32,
        IVEC,
        LANES,
        VEC,
        cgutils,
        extending,
        fma,
        instruction,
        ir,
        register,
        splat,
        types,
    )

    def _function(name: str) -> Any:
        """LLVM's function of one register of that name."""

        def call(b: Any, x: Any) -> Any:
            kind = ir.FunctionType(VEC, [VEC])
            return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.{name}.v{LANES}f32"), [x])

        return instruction([register], register, call)

    def _scaled(b: Any, x: Any, n: Any) -> Any:
        """x times 2^n, n whole numbers from -126 to 127: they become the exponents of numbers."""
        whole = b.add(b.fptosi(n, IVEC), ir.Constant(IVEC, [127] * LANES))
        return b.fmul(x, b.bitcast(b.shl(whole, ir.Constant(IVEC, [23] * LANES)), VEC))

    def _with_sign(b: Any, x: Any, y: Any) -> Any:
        """|x| with the sign of y."""
        bits = ir.Constant(IVEC, [-(1 << 31)] * LANES)
        rest = ir.Constant(IVEC, [(1 << 31) - 1] * LANES)
        one = b.and_(b.bitcast(x, IVEC), rest)
        return b.bitcast(b.or_(one, b.and_(b.bitcast(y, IVEC), bits)), VEC)

    fill = instruction([types.float64], register, lambda b, x: splat(b, b.fptrunc(x, F32)))
    size = _function("fabs")
    nearest = _function("rint")
    root = _function("sqrt")
    scaled = instruction([register] * 2, register, _scaled)
    with_sign = instruction([register] * 2, register, _with_sign)
    # one where x > y, else other; a nan is not above anything
    where_above = instruction(
        [register] * 4, register, lambda b, x, y, one, other: b.select(b.fcmp_ordered(">", x, y), one, other)
    )
    # one where x is a number, other where it is nan
    where_number = instruction(
        [register] * 3, register, lambda b, x, one, other: b.select(b.fcmp_ordered("ord", x, x), one, other)
    )

    def _either(name: str, build: str) -> None:
        """The operator between two registers, or a register and a number."""
        of_two = instruction([register] * 2, register, lambda b, x, y: getattr(b, build)(x, y))

        @extending.overload(getattr(operator, name))
        def _with_number(x, y):  # type: ignore[no-untyped-def]
            if x is register and isinstance(y, (types.Float, types.Integer)):
                return lambda x, y: of_two(x, fill(y))
            if y is register and isinstance(x, (types.Float, types.Integer)):
                return lambda x, y: of_two(fill(x), y)
            if x is register and y is register and name == "truediv":
                return lambda x, y: of_two(x, y)
            return None

    for _name, _build in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
        _either(_name, _build)

    _negative = instruction([register], register, lambda b, x: b.fneg(x))

    @extending.overload(operator.neg)
    def _of_register(x):  # type: ignore[no-untyped-def]
        return (lambda x: _negative(x)) if x is register else None


@inline
def larger(x, y):  # type: ignore[no-untyped-def]
    """The larger; x where it is nan."""
    return where_above(y, x, y, x)


@inline
def smaller(x, y):  # type: ignore[no-untyped-def]
    """The smaller; x where it is nan."""
    return where_above(x, y, y, x)


@inline
def _exp_rest(x, n):  # type: ignore[no-untyped-def]
    """e^(x - n log 2) - 1, for |x - n log 2| at most log(2) / 2; log 2 comes in two parts (W. Cody and W. Waite, 1980)."""
    r = fma(n, fill(1.904654299957768e-9), fma(n, fill(-0.6931471824645996), x))
    q = fma(r, fill(1.3933641603216529e-3), fill(8.33331048488617e-3))
    q = fma(r, q + r * r * 1.9890980911441147e-4, fill(0.04166646674275398))
    q = fma(r, q, fill(0.1666666716337204))
    q = fma(r, q, fill(0.5))
    return fma(r * r, q, r)


@inline
def exp(x):  # type: ignore[no-untyped-def]
    """e^x"""
    x = smaller(larger(x, fill(-104.0)), fill(89.0))
    n = nearest(x * 1.4426950408889634)
    half = nearest(n * 0.5)  # in two steps: 2^128 and 2^-150 are no numbers
    return scaled(scaled(_exp_rest(x, n) + 1.0, half), n - half)


@inline
def exp_inside(x):  # type: ignore[no-untyped-def]
    """e^x for x from -87 to 88, where its result is an ordinary number: half the work."""
    n = nearest(x * 1.4426950408889634)
    return scaled(_exp_rest(x, n) + 1.0, n)


@inline
def expm1(x):  # type: ignore[no-untyped-def]
    """e^x - 1, for x up to 88"""
    x = smaller(larger(x, fill(-30.0)), fill(88.0))
    n = nearest(x * 1.4426950408889634)
    power = scaled(fill(1.0), n)
    return fma(power, _exp_rest(x, n), power - 1.0)


@inline
def log1p(y):  # type: ignore[no-untyped-def]
    """log(1 + y) for y from 0 to 1: 2 artanh(y / (2 + y))."""
    s = y / (y + 2.0)
    t = s * s
    q = fma(t, fill(0.11612164974212646), fill(0.1085328757762909))
    q = fma(t, q, fill(0.142961785197258))
    q = fma(t, q, fill(0.19999852776527405))
    q = fma(t, q, fill(0.3333333432674408))
    return (s + s * t * q) * 2.0


@inline
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-x)"""
    s = 1.0 / (exp_inside(smaller(larger(-x, fill(-87.0)), fill(88.0))) + 1.0)
    return where_above(fill(-88.0), x, fill(0.0), s)


@inline
def scaled_tail(t):  # type: ignore[no-untyped-def]
    """e^(t^2) erfc(t) for t from 0 on.

    As M. Shepherd and J. Laframboise do ("Chebyshev Approximation of (1 + 2x) exp(x^2) erfc x", Mathematics of Computation 36,
    1981): times 1 + 2t it is nearly constant, a polynomial of u = (t - 2) / (t + 2).
    """
    linear = t * 2.0 + 1.0
    share = 1.0 / ((t + 2.0) * linear)  # one division serves both quotients
    u = (t - 2.0) * linear * share
    q = fma(u, fill(1.6586757556069642e-4), fill(-1.8247801826918329e-4))
    q = fma(u, q, fill(-1.4083577552810311e-3))
    q = fma(u, q, fill(1.0404807981103659e-3))
    q = fma(u, q, fill(8.700217120349407e-3))
    q = fma(u, q, fill(-7.940706796944141e-3))
    q = fma(u, q, fill(-0.05421590059995651))
    q = fma(u, q, fill(0.16403527557849884))
    q = fma(u, q, fill(-0.16603060066699982))
    q = fma(u, q, fill(-0.0927630364894867))
    q = fma(u, q, fill(1.2769783735275269))
    return q * (t + 2.0) * share


@inline
def tail(t):  # type: ignore[no-untyped-def]
    """erfc(t) for t from 0 on; what rounding takes off t^2 is put back."""
    t = smaller(t, fill(20.0))
    square = t * t
    lost = fma(t, t, -square)
    return exp(-square) * (1.0 - lost) * scaled_tail(t)


@inline
def erf(x):  # type: ignore[no-untyped-def]
    """2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x: a polynomial up to 1, 1 - erfc beyond."""
    t = size(x)
    square = smaller(t, fill(1.0))
    square = square * square
    q = fma(square, fill(7.875874871388078e-5), fill(-8.01686430349946e-4))
    q = fma(square, q, fill(5.189087241888046e-3))
    q = fma(square, q, fill(-0.02685421146452427))
    q = fma(square, q, fill(0.11283594369888306))
    q = fma(square, q, fill(-0.3761262595653534))
    q = fma(square, q, fill(1.1283791065216064))
    return where_above(t, fill(1.0), with_sign(1.0 - tail(t), x), x * q)


@inline
def erfc(x):  # type: ignore[no-untyped-def]
    """1 - erf(x), without a loss of digits."""
    e = tail(size(x))
    return where_above(fill(0.0), x, 2.0 - e, e)


if numba is not None:

    def _folded(combine: Any) -> Any:
        """All numbers of a register combined, in every place of the result: halves, quarters, ... are exchanged and combined."""

        def build(b: Any, x: Any) -> Any:
            apart = LANES // 2
            while apart:
                other = b.shuffle_vector(x, x, ir.Constant(IVEC, [i ^ apart for i in range(LANES)]))
                x = combine(b, x, other)
                apart //= 2
            return x

        return instruction([register], register, build)

    def _larger_or_nan(b: Any, x: Any, y: Any) -> Any:
        taken = b.or_(b.fcmp_ordered(">", x, y), b.fcmp_unordered("uno", x, x))
        return b.select(taken, x, y)

    def _first_places(b: Any, x: Any, other: Any, count: Any) -> Any:
        """x in the first `count` places, other in the rest."""
        places = ir.Constant(IVEC, list(range(LANES)))
        return b.select(b.icmp_signed("<", places, splat(b, b.trunc(count, ir.IntType(32)), IVEC)), x, other)

    total_of = _folded(lambda b, x, y: b.fadd(x, y))
    largest_of = _folded(_larger_or_nan)
    first_places = instruction([register, register, types.int64], register, _first_places)
