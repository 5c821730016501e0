"""Looking an input up at the places of a grid, between its pixels too. Jaderberg et al., "Spatial Transformer Networks", 2015.

    z[n, c, l] = sum over corners k of W_k x[n, c, k]        W_k = product over axes of the corner's weight

The corners are the pixels round place l. W_k is a function of the place in pixels, and that of the grid: straight lines both,
but at the pixels and at the borders. So with their slopes, which are constants between them, come all derivatives.

Everything here is written once for arrays and Tensors: `formula` and `gradients` are what kernels are measured by, and
on Tensors they are recorded, for the second order.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64
from tensorgrad.ops.operands import put_on_tape
from tensorgrad.ops.resampling import cubic_weights
from tensorgrad.primitive import Primitive, alone
from tensorgrad.tensor import Tensor


class Neighbour(NamedTuple):
    """One of the pixels round every place, along one axis: its number, its weight, and the weight's slope in the grid."""

    place: Any
    weight: Any
    slope: Any


class Corner(NamedTuple):
    """One of the pixels round every place: (N, 1, L) each. `slopes` are those of the weight, an axis after the other."""

    index: Any
    inside: Any
    weight: Any
    slopes: list[Any]


class GridSample(Primitive):
    """z = the sum over the corners round a place of W x, W by the place        dz = W dx + dW x

    x is (N, C, H, W) or (N, C, D, H, W), grid (N, OH, OW, 2) or (N, OD, OH, OW, 3) with places from -1 to 1, x before y.
    mode is 'bilinear' or 'nearest', padding_mode 'zeros', 'border' or 'reflection'.
    """

    __slots__ = ("align_corners", "mode", "padding_mode")
    missing_tangents = True

    def __init__(self, mode: str, padding_mode: str, align_corners: bool) -> None:
        self.mode = mode
        self.padding_mode = padding_mode
        self.align_corners = align_corners

    def forward(self, x: Any, grid: Any) -> Any:
        return backend_of(x).sampled(alone(self), x, grid)

    def jvp(self, dx: Any, dgrid: Any, x: Any, grid: Any) -> Any:
        dz = 0.0 if dx is None else self.again(dx, grid)
        return dz if dgrid is None else dz + self.along_grid(dgrid, x, grid)

    def vjp(self, dz: Any, x: Any, grid: Any) -> Any:
        return backend_of(dz).sampled_grad(alone(self), dz, x, grid, self.needs(0), self.needs(1))

    # the formulas

    def formula(self, x: Any, grid: Any) -> Any:
        """z (N, C, OH, OW)"""
        z: Any = 0.0
        for corner in self._corners(grid, x.shape[2:]):
            z = z + _values(x, corner) * corner.weight
        return backend_of(x).reshape(z, (*x.shape[:2], *grid.shape[1:-1]))

    def along_grid(self, dgrid: Any, x: Any, grid: Any) -> Any:
        """dz for the tangent dgrid of the grid."""
        if self.mode == "nearest":
            return 0.0 * self.again(x, grid)
        dplaces = _axes(dgrid)
        dz: Any = 0.0
        for corner in self._corners(grid, x.shape[2:]):
            dweight = sum(slope * dplace for slope, dplace in zip(corner.slopes, dplaces))
            dz = dz + _values(x, corner) * dweight
        return backend_of(x).reshape(dz, (*x.shape[:2], *grid.shape[1:-1]))

    def gradients(self, dz: Any, x: Any, grid: Any, of_x: bool, of_grid: bool) -> tuple[Any, Any]:
        """The cotangents of x, every dz added to its corners, and of the grid; None for what is not asked for."""
        backend = backend_of(dz)
        flat = _flat(dz)
        of_grid_too = of_grid and self.mode != "nearest"
        dx: Any = 0.0
        parts: list[Any] = [0.0] * (x.ndim - 2)
        for corner in self._corners(grid, x.shape[2:]):
            inside, index = _constant(corner.inside, dz), _constant(corner.index, dz)
            if of_x:
                part = backend.where(inside, flat * corner.weight, 0.0)
                dx = dx + backend.put_along_axis(part, index, 2, math.prod(x.shape[2:]))
            if of_grid_too:
                values = backend.take_along_axis(_flat(x), index, 2)
                along = backend.where(inside, backend.sum(values * flat, (1,), True), 0.0)
                parts = [part + along * slope for part, slope in zip(parts, corner.slopes)]
        dgrid = None
        if of_grid_too:
            dgrid = backend.reshape(backend.stack(parts[::-1], 3), grid.shape)
        elif of_grid:
            dgrid = _constant(backend_of(_raw(grid)).zeros_like(_raw(grid)), grid)
        return backend.reshape(dx, x.shape) if of_x else None, dgrid

    # the corners round every place

    def _corners(self, grid: Any, lengths: tuple[int, ...]) -> list[Corner]:
        axes = [self._neighbours(at, n) for at, n in zip(_axes(grid), lengths)]
        return [self._corner(neighbours, lengths) for neighbours in product(*axes)]

    def _corner(self, neighbours: tuple[Neighbour, ...], lengths: tuple[int, ...]) -> Corner:
        backend = backend_of(neighbours[0].place)
        index: Any = 0
        inside: Any = None
        weight: Any = 1.0
        slopes: list[Any] = []
        for (place, part, slope), n in zip(neighbours, lengths):
            within = (place >= 0) & (place <= n - 1)  # nan is not
            inside = within if inside is None else inside & within
            index = index * n + backend.cast(backend.where(within, place, 0), int64)
            slopes = [other * part for other in slopes] + [weight * slope]
            weight = weight * part
        return Corner(index, inside, weight, slopes)

    def _neighbours(self, x: Any, n: int) -> list[Neighbour]:
        """The pixels that a place is made of along one axis of n pixels."""
        at, slope = self._in_pixels(x, n)
        if self.mode == "bicubic":
            left = backend_of(_raw(at)).floor(_raw(at))
            weights = enumerate(cubic_weights(at - _constant(left, at)))
            return [Neighbour(self._brought_inside(left + k - 1.0, n, 1.0)[0], w, 0.0) for k, w in weights]
        at, slope = self._brought_inside(at, n, slope)
        raw = _raw(at)
        backend = backend_of(raw)
        if self.mode == "nearest":
            up = backend.floor(raw + 0.5)
            half_way_to_odd = (up - raw == 0.5) & (up - 2 * backend.floor(up / 2) == 1)
            return [Neighbour(backend.where(half_way_to_odd, up - 1, up), 1.0, 0.0)]
        left = backend.floor(raw)
        part = at - _constant(left, at)
        return [Neighbour(left, 1 - part, -slope), Neighbour(left + 1, part, slope)]

    def _in_pixels(self, x: Any, n: int) -> tuple[Any, float]:
        """From -1 .. 1 to pixels, 0 the centre of the first; and the slope of that."""
        if self.align_corners:
            return (x + 1) * ((n - 1) / 2), (n - 1) / 2
        return ((x + 1) * n - 1) * 0.5, n / 2

    def _brought_inside(self, at: Any, n: int, slope: Any) -> tuple[Any, Any]:
        """Places in pixels, and their slopes in the grid, with what lies outside brought inside by padding_mode."""
        if self.padding_mode == "zeros":
            return at, _constant(slope, at)
        if self.padding_mode == "reflection":
            at, slope = self._reflected(at, n, slope)
        raw = _raw(at)
        backend = backend_of(raw)
        inside = (raw > 0) & (raw < n - 1)
        bound = backend.clamp(raw, 0.0, n - 1.0)
        at = backend_of(at).where(_constant(inside, at), at, _constant(bound, at))
        return at, _constant(backend.where(inside, slope, backend.zeros_like(raw)), at)

    def _reflected(self, at: Any, n: int, slope: Any) -> tuple[Any, Any]:
        """Places mirrored at the ends, which are pixels' centres or edges, as often as it takes.

        Between two mirrors the map is at -> sign at + shift; both are constants for the derivative.
        """
        low, span = (0.0, n - 1.0) if self.align_corners else (-0.5, float(n))
        if span == 0:
            return at * 0.0, 0.0
        raw = _raw(at)
        backend = backend_of(raw)
        turns = backend.floor((raw - low) / span)
        odd = turns - 2 * backend.floor(turns / 2)
        sign = 1 - 2 * odd
        shift = low - sign * (low + turns * span) + odd * span
        return at * _constant(sign, at) + _constant(shift, at), sign * slope


def _raw(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


def _constant(values: Any, like: Any) -> Any:
    """An array as what `like` is, an array or a Tensor; numbers stay."""
    return Tensor(values) if isinstance(like, Tensor) and not isinstance(values, float) else values


def _axes(grid: Any) -> list[Any]:
    """The places along every axis of the input, rows before columns, (N, 1, L) each."""
    count = grid.shape[-1]
    listed = backend_of(grid).reshape(grid, (grid.shape[0], 1, math.prod(grid.shape[1:-1]), count))
    return [listed[..., axis] for axis in reversed(range(count))]


def _values(x: Any, corner: Corner) -> Any:
    """x at the corner, (N, C, L); outside of it a true zero."""
    backend = backend_of(x)
    value = backend.take_along_axis(_flat(x), _constant(corner.index, x), 2)
    return backend.where(_constant(corner.inside, x), value, 0.0)


def _flat(x: Any) -> Any:
    """(N, C, pixels)"""
    return backend_of(x).reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))


put_on_tape(sampled_grad=lambda node, *arguments: node.gradients(*arguments))
