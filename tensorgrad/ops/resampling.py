"""Resampling along a dimension: interpolation, adaptive pooling, and borders made of the values themselves."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.backend.resampling import Table
from tensorgrad.primitive import Linear, Primitive


class Resample(Linear):
    """z[..., o, ...] = sum over k of weight[k, o] x[..., index[k, o], ...] along dim        dz likewise of dx"""

    __slots__ = ("dim", "table")

    def __init__(self, dim: int, table: Table) -> None:
        self.dim = dim
        self.table = table

    def forward(self, x: Any) -> Any:
        return backend_of(x).resample(x, self.dim, self.table)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).resample(dz, self.dim, self.table.transposed())


class ResampleArgmax(Primitive):
    """z[..., o, ...] = the index[k, o] along dim at which x is greatest, over k"""

    __slots__ = ("dim", "table")
    differentiable = False

    def __init__(self, dim: int, table: Table) -> None:
        self.dim = dim
        self.table = table

    def forward(self, x: Any) -> Any:
        return backend_of(x).resample_argmax(x, self.dim, self.table)


@lru_cache(maxsize=256)
def adaptive_windows(inputs: int, outputs: int) -> Table:
    """`outputs` windows that cover `inputs` values evenly, overlapping where they must; the weights make each a mean.

    Window o is floor(o inputs / outputs) to ceil((o + 1) inputs / outputs), the end left out.

    >>> adaptive_windows(5, 3).index.tolist()
    [[0, 1, 3], [1, 2, 4], [1, 3, 4]]
    """
    starts = [o * inputs // outputs for o in range(outputs)]
    lengths = [-(-(o + 1) * inputs // outputs) - start for o, start in enumerate(starts)]
    taps = max(lengths, default=1)
    index = numpy.zeros((taps, outputs), numpy.int64)
    weight = numpy.zeros((taps, outputs))
    for o, (start, length) in enumerate(zip(starts, lengths)):
        for k in range(taps):  # a shorter window names its last value again, with weight 0
            index[k, o] = start + min(k, length - 1)
            weight[k, o] = 1 / length if k < length else 0.0
    return Table(index, weight, inputs)


# Borders of `before` and `after` values round an axis of n; negative widths crop.


def _border(n: int, before: int, after: int, place: Any) -> Table:
    return Table(place(numpy.arange(-before, n + after))[None, :], None, n)


@lru_cache(maxsize=256)
def mirrored(n: int, before: int, after: int) -> Table:
    """x[2] x[1] | x[0] x[1] ... x[n-1] | x[n-2] ...: the edge is not repeated.

    >>> mirrored(4, 2, 1).index.tolist()
    [[2, 1, 0, 1, 2, 3, 2]]
    """
    return _border(n, before, after, lambda at: (n - 1) - numpy.abs((n - 1) - numpy.abs(at)))


@lru_cache(maxsize=256)
def repeated(n: int, before: int, after: int) -> Table:
    """x[0] x[0] | x[0] x[1] ... x[n-1] | x[n-1] ..."""
    return _border(n, before, after, lambda at: numpy.clip(at, 0, n - 1))


@lru_cache(maxsize=256)
def wrapped(n: int, before: int, after: int) -> Table:
    """x[n-2] x[n-1] | x[0] x[1] ... x[n-1] | x[0] ..."""
    return _border(n, before, after, lambda at: at % n)


# Interpolation: where each output lies among the inputs, in units of their spacing, and the weights of those round it.
#
# The ends of an axis are the outer edges of its first and last value, or with align_corners their centres. `step` is the
# distance between two outputs. Positions are worked out in the dtype of the values, as PyTorch does, so that both round alike.


def _positions(outputs: int, step: float, align_corners: bool, dtype: str) -> numpy.ndarray:
    at = numpy.arange(outputs, dtype=dtype)
    spacing = numpy.asarray(step, dtype)
    half = numpy.asarray(0.5, dtype)
    return at * spacing if align_corners else spacing * (at + half) - half


def spacing(inputs: int, outputs: int, scale: float | None, align_corners: bool) -> float:
    """How far apart the outputs are; `scale` is the factor the user gave, if it was one."""
    if align_corners:
        return (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
    return 1.0 / scale if scale else inputs / outputs


@lru_cache(maxsize=256)
def nearest(inputs: int, outputs: int, scale: float | None, exact: bool, dtype: str) -> Table:
    """The value at or before each output's left edge, or with `exact` the one its centre lies in.

    >>> nearest(3, 5, None, False, "float64").index.tolist()
    [[0, 0, 1, 1, 2]]
    """
    step = numpy.asarray(spacing(inputs, outputs, scale, False), dtype)
    at = numpy.arange(outputs, dtype=dtype) + numpy.asarray(0.5 if exact else 0.0, dtype)
    index = numpy.minimum(numpy.floor(at * step).astype(numpy.int64), inputs - 1)
    return Table(index[None, :], None, inputs)


@lru_cache(maxsize=256)
def linear(inputs: int, outputs: int, scale: float | None, align_corners: bool, dtype: str) -> Table:
    """The two values round each output, in proportion to how near they are.

    >>> linear(2, 4, None, False, "float64").weight.tolist()
    [[1.0, 0.75, 0.25, 0.75], [0.0, 0.25, 0.75, 0.25]]
    """
    if inputs == outputs:
        return Table(numpy.arange(inputs)[None, :], None, inputs)
    at = numpy.maximum(_positions(outputs, spacing(inputs, outputs, scale, align_corners), align_corners, dtype), 0)
    left = numpy.minimum(at.astype(numpy.int64), inputs - 1)
    right = numpy.minimum(left + 1, inputs - 1)
    part = numpy.clip(at - left.astype(dtype), 0, 1).astype(numpy.float64)
    return Table(numpy.stack([left, right]), numpy.stack([1 - part, part]), inputs)


def cubic_weights(t: Any, a: float = -0.75) -> list[Any]:
    """The weights of the values at -1, 0, 1, 2 for a place t in [0, 1). Keys, 1981, with his a; a function of arrays or Tensors."""

    def near(d: Any) -> Any:  # |d| <= 1
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Any) -> Any:  # 1 < |d| < 2
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


@lru_cache(maxsize=256)
def cubic(inputs: int, outputs: int, scale: float | None, align_corners: bool, dtype: str) -> Table:
    """The four values round each output, the edge's repeated beyond it."""
    at = _positions(outputs, spacing(inputs, outputs, scale, align_corners), align_corners, dtype)
    left = numpy.floor(at)
    index = left.astype(numpy.int64) + numpy.arange(-1, 3)[:, None]
    weight = numpy.stack(cubic_weights((at - left).astype(numpy.float64)))
    return Table(numpy.clip(index, 0, inputs - 1), weight, inputs)


def _triangle(d: numpy.ndarray) -> numpy.ndarray:
    return numpy.maximum(1 - numpy.abs(d), 0)


def _keys(d: numpy.ndarray) -> numpy.ndarray:
    d = numpy.abs(d)
    near, far = cubic_weights(d, a=-0.5)[1], cubic_weights(d - 1, a=-0.5)[0]
    return numpy.where(d < 1, near, numpy.where(d < 2, far, 0.0))


@lru_cache(maxsize=256)
def antialiased(inputs: int, outputs: int, scale: float | None, align_corners: bool, bicubic: bool) -> Table:
    """The filter made as wide as the outputs are apart, so that every value counts in a smaller picture; as in Pillow."""
    step = spacing(inputs, outputs, scale, align_corners)
    stretch = max(step, 1.0)
    support = (2.0 if bicubic else 1.0) * stretch
    centre = step * (numpy.arange(outputs) + 0.5)
    first = numpy.maximum((centre - support + 0.5).astype(numpy.int64), 0)
    last = numpy.minimum((centre + support + 0.5).astype(numpy.int64), inputs)
    taps = int((last - first).max())
    index = first + numpy.arange(taps)[:, None]
    weight = (_keys if bicubic else _triangle)((index - centre + 0.5) / stretch)
    weight = numpy.where(index < last, weight, 0.0)
    return Table(numpy.minimum(index, last - 1), weight / weight.sum(axis=0), inputs)
