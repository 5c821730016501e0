"""x log y, the error function, its complement and its inverse, which NumPy does not have, for every array library."""

from __future__ import annotations

from typing import Any

Array = Any

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969): erf for
# |x| <= 0.46875, erfc for |x| <= 4 and beyond. Of each pair the coefficients of numerator and denominator.
_NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
_FAR = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e0,
        1.87295284992346047e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)
_NEAR_END, _MIDDLE_END = 0.46875, 4.0
#: Beyond it erfc is 0 in float64, and x^2 must not overflow.
_ERFC_END = 27.5
_SQRT_PI = 1.7724538509055160273

#: S. Winitzki, "A handy approximation for the error function and its inverse" (2008): off by 0.2 per cent at most.
_WINITZKI = 0.147


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, the highest power first."""
    z = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        z = z * x + coefficient
    return z


def _ratio(pair: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    return _polynomial(pair[0], x) / _polynomial(pair[1], x)


class SpecialKernels:
    """Kernels element by element, in the dtype of x; every branch is computed everywhere and the right one chosen."""

    xp: Any

    def rsqrt(self, x: Array) -> Array:
        """1 / sqrt x"""
        return 1 / self.xp.sqrt(x)

    def sinc(self, x: Array) -> Array:
        """sin(pi x) / (pi x), 1 at 0."""
        angle = self.xp.pi * self.xp.where(x == 0, 1, x)
        return self.xp.where(x == 0, 1, self.xp.sin(angle) / angle)

    def xlogy(self, x: Array, y: Array) -> Array:
        """x log y, 0 where x = 0 and y is not nan."""
        xp = self.xp
        nothing = (x == 0) & ~xp.isnan(y)
        return xp.where(nothing, 0, x * xp.log(xp.where(nothing, 1, y)))

    def erf(self, x: Array) -> Array:
        """2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
        xp = self.xp
        size = xp.absolute(x)
        near = xp.minimum(size, _NEAR_END)
        inside = x * _ratio(_NEAR, near * near)
        outside = 1 - self._upper_tail(xp.maximum(size, _NEAR_END))
        return xp.where(size <= _NEAR_END, inside, xp.where(x < 0, -outside, outside))

    def erfcx(self, x: Array) -> Array:
        """e^(x^2) erfc(x), where that is no product of the infinite and the tiny."""
        xp = self.xp
        size = xp.absolute(x)
        near = xp.minimum(size, _NEAR_END)
        square = size * size
        inside = xp.exp(near * near) * (1 - near * _ratio(_NEAR, near * near))
        scaled = xp.where(size <= _NEAR_END, inside, self._scaled_tail(xp.maximum(size, _NEAR_END)))
        return xp.where(x < 0, 2 * xp.exp(square) - scaled, scaled)

    def entr(self, x: Array) -> Array:
        """-x log x, 0 at 0, -inf below."""
        xp = self.xp
        positive = x > 0
        inside = -x * xp.log(xp.where(positive, x, 1))
        return xp.where(positive | xp.isnan(x), inside, xp.where(x == 0, 0, -xp.inf).astype(x.dtype))

    def log_ndtr(self, x: Array) -> Array:
        """log(erfc(-x / sqrt 2) / 2), far below 0 from the scaled function."""
        xp = self.xp
        t = x * 0.5**0.5
        below = xp.log(self.erfcx(xp.maximum(-t, 0)) / 2) - t * t
        return xp.where(x < -1, below, xp.log1p(-self.erfc(xp.maximum(t, -1)) / 2))

    def xlog1py(self, x: Array, y: Array) -> Array:
        """x log(1 + y), 0 where x = 0 and y is not nan."""
        xp = self.xp
        nothing = (x == 0) & ~xp.isnan(y)
        return xp.where(nothing, 0, x * xp.log1p(xp.where(nothing, 1, y)))

    def erfc(self, x: Array) -> Array:
        """1 - erf(x), exact to the last digits also where it is tiny."""
        xp = self.xp
        size = xp.absolute(x)
        near = xp.minimum(size, _NEAR_END)
        inside = 1 - x * _ratio(_NEAR, near * near)
        outside = self._upper_tail(xp.maximum(size, _NEAR_END))
        return xp.where(size <= _NEAR_END, inside, xp.where(x < 0, 2 - outside, outside))

    def _upper_tail(self, x: Array) -> Array:
        """erfc for x >= 0.46875 (nan stays nan)."""
        xp = self.xp
        # e^(-x^2) without the rounding of x^2: what stands beyond a sixteenth is taken apart
        bounded = xp.minimum(x, _ERFC_END)
        coarse = xp.floor(bounded * 16) / 16
        gauss = xp.exp(-coarse * coarse) * xp.exp(-(bounded - coarse) * (bounded + coarse))
        return gauss * self._scaled_tail(x)

    def _scaled_tail(self, x: Array) -> Array:
        """e^(x^2) erfc(x) for x >= 0.46875."""
        xp = self.xp
        middle = _ratio(_MIDDLE, xp.minimum(x, _MIDDLE_END))
        far = xp.maximum(x, _MIDDLE_END)
        inverse = 1 / (far * far)
        beyond = (1 / _SQRT_PI - inverse * _ratio(_FAR, inverse)) / far
        return xp.where(x <= _MIDDLE_END, middle, beyond)

    def erfinv(self, x: Array) -> Array:
        """The y with erf(y) = x; infinite at -1 and 1, nan beyond."""
        xp = self.xp
        size = xp.absolute(x)
        logarithm = xp.log1p(-size) + xp.log1p(size)
        half = 2 / (xp.pi * _WINITZKI) + logarithm / 2
        y = xp.sqrt(xp.sqrt(half * half - logarithm / _WINITZKI) - half)
        for _ in range(2):  # Halley's method: each round triples the digits
            missing = xp.where(size < 0.5, size - self.erf(y), self.erfc(y) - (1 - size))
            step = missing * (_SQRT_PI / 2) * xp.exp(y * y)
            y = y + step / (1 - y * step)
        y = xp.where(size < 1, y, xp.where(size == 1, xp.inf, xp.nan).astype(x.dtype))
        return xp.where(x < 0, -y, y)
