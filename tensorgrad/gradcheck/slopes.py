"""Slopes from values: central differences, and what to do where they are not enough.

    c(t) = (f(x + t v) - f(x - t v)) / 2t  =  f'(x) + t^2 f'''/6 + ...      truncation grows with t,
    rounding error of c(t)  ~  noise(f) / t                                  rounding shrinks with it.

One short step serves nearly everywhere. Elsewhere a ladder of steps, each an eighth of the one before, shows what is going on:
how the two one-sided slopes come together as t shrinks tells a smooth function (their distance shrinks with t) from a
kink (it stays), a jump (it grows as 1/t) and noise. Of the smooth rungs the best pair gives a slope, extrapolated once (Richardson,
1911), and its error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy

Array = numpy.ndarray

SMOOTH, KINK, JUMP, EDGE, NOISE, NOWHERE = range(6)
KIND_NAMES = {KINK: "kink", JUMP: "jump", EDGE: "edge", NOISE: "noise", NOWHERE: "no values"}

#: A step, one rung down, is this part of the one above.
RATIO = 8.0
TOP, BOTTOM = 2.0**-6, 2.0**-33
#: The distance of two one-sided slopes shrinks by at least this from rung to rung, or the function is not smooth there
#: (8 where it has a second derivative, 1 at a kink, 1/8 at a jump).
SHRINKS = 1.7
#: A jump smaller than this part of the values is rounding (of float32, or of a large number added and taken away).
ROUNDING = 1e-5
#: A kink within this distance is reported, though the function is smooth at the point.
NEAR = 1e-5


@dataclass
class Slopes:
    """What is known of the slopes of many outputs along one line; arrays over the outputs.

    value, error  the slope and what it may be off by
    left, right   the one-sided slopes
    kind          SMOOTH, KINK, ...
    near          smooth, but a kink is so close that left and right, of a short step, reach over it
    """

    value: Array
    error: Array
    left: Array
    right: Array
    kind: Array
    near: Array


class Line:
    """f along x + t v, as host arrays: `at(t)` gives f there and the t that was really taken, for x + t rounds."""

    def __init__(
        self,
        at: Callable[[float], tuple[Array, float]],
        here: Array,
        noise: Array,
        scale: float,
        least: float,
        size: float = 0.0,
    ) -> None:
        self.at = at
        self.size = max(size, float(numpy.abs(here).max(initial=0)))  # the largest value that may be rounded
        self.here = here  # f(x)
        self.noise = noise  # the rounding error of f at the least
        self.scale = scale  # the size of x along the line, 1 if it is smaller
        self.least = least  # the smallest x along the line that is not 0

    def steps(self) -> list[float]:
        """The ladder, from long to short."""
        # a large x cannot be moved by less than its last digits; around a tiny one the function may end (log at 1e-8)
        bottom = max(BOTTOM, self.scale * 2.0**-44) if self.scale > 1 else min(BOTTOM, self.least * 2.0**-20)
        steps = [self.scale * TOP]
        while steps[-1] > bottom and len(steps) < 64:
            steps.append(steps[-1] / RATIO)
        return steps


def central(line: Line, step: float) -> tuple[Slopes, Array]:
    """Central differences with one step; the second result says where they are not to be trusted."""
    with numpy.errstate(all="ignore"):
        ahead, forth = line.at(step)
        behind, back = line.at(-step)
        value = (ahead - behind) / (forth - back)
        right, left = (ahead - line.here) / forth, (behind - line.here) / back
        rounding = 4 * line.noise / step
        gap = numpy.abs(right - left)
        doubtful = ~(gap <= 1e-4 * numpy.maximum(numpy.abs(right), numpy.abs(left)) + 4 * rounding)
    error = rounding + 1e-9 * numpy.abs(value)
    kind, near = numpy.zeros(value.shape, numpy.int8), numpy.zeros(value.shape, bool)
    return Slopes(value, error, left, right, kind, near), doubtful


def ladder(line: Line) -> Slopes:
    """Slopes by the whole ladder of steps."""
    steps, right, left, middle = [], [], [], []
    second = []
    with numpy.errstate(all="ignore"):
        for step in line.steps():
            ahead, forth = line.at(step)
            behind, back = line.at(-step)
            if forth == 0 or back == 0:
                break  # the step is lost in x's rounding
            steps.append(step)
            right.append((ahead - line.here) / forth)
            left.append((behind - line.here) / back)
            middle.append((ahead - behind) / (forth - back))
            second.append(numpy.abs(ahead - 2 * line.here + behind))
        return _Rungs(
            numpy.array(steps), numpy.array(right), numpy.array(left), numpy.array(middle), second, line
        ).read()


class _Rungs:
    """The differences on every rung, arrays (rungs, outputs)."""

    def __init__(self, steps: Array, right: Array, left: Array, middle: Array, second: list[Array], line: Line) -> None:
        self.steps, self.right, self.left, self.middle = steps, right, left, middle
        self.size = line.size
        self.second = numpy.array(second)
        self.noise = self._noise(line.noise)
        self.has_value = numpy.isfinite(line.here)

    def _noise(self, least: Array) -> Array:
        """The rounding error of f: what its second difference has on the lowest rungs beside that of a kink, which shrinks with
        t; or the height of its stairs."""
        low = numpy.where(numpy.isfinite(self.second[-4:]), self.second[-4:], 0)
        left_over = numpy.abs(low[:-1] - RATIO * low[1:]).max(axis=0, initial=0) / 4
        noise = numpy.maximum(least, numpy.minimum(left_over, ROUNDING * self.size))
        # in float32, or beside a large number, f is a stair: short steps do not move it, long ones do on both sides
        stuck = (self.right[-1] == 0) & (self.left[-1] == 0) & (self.right[0] != 0) & (self.left[0] != 0)
        stuck &= numpy.abs(self.middle[0]) * self.steps[-1] > 4 * least
        change = numpy.maximum(numpy.abs(self.right), numpy.abs(self.left)) * self.steps[:, None]
        first = numpy.where(change > 0, change, numpy.inf).min(axis=0)  # the height of one stair
        short = numpy.where((self.steps < 1e-4)[:, None] & numpy.isfinite(self.second), self.second, 0).max(axis=0)
        stair = numpy.maximum(numpy.minimum(short, ROUNDING * self.size), first)
        stuck &= first <= ROUNDING * self.size
        return numpy.where(stuck, numpy.maximum(noise, stair), noise)

    def read(self) -> Slopes:
        value, error = self._best_pair()
        left, right, growth, last_gap = self._one_sided()
        # the sides come together; or the slope is known better than they were last seen to differ, above rounding
        together = numpy.isnan(growth) | (growth < -0.25)
        known = (error <= last_gap / 4) | (error <= 1e-3 * numpy.abs(value))
        smooth = numpy.isfinite(error) & (together | known)
        rough = ~smooth & numpy.isfinite(growth)
        amplitude = numpy.where(numpy.isfinite(self.second[-3:]), self.second[-3:], 0).max(axis=0)
        rounded = rough & (growth > 0.5) & (amplitude <= ROUNDING * self.size)
        smooth |= rounded & numpy.isfinite(error)
        rough &= ~rounded
        # a jump with the point's value in the middle: both sides grow alike, and their distance tells nothing
        height = 2 * numpy.abs(self.middle[-1]) * self.steps[-1]
        even = (numpy.abs(self.middle[-1]) > 4 * numpy.abs(self.middle[-4])) & (height > ROUNDING * self.size)
        smooth &= ~even
        rough |= even
        growth = numpy.where(even, 1.0, growth)
        kind = numpy.where(smooth, SMOOTH, NOISE).astype(numpy.int8)
        kind[rough & (growth <= 0.25)] = KINK
        kind[rough & (growth > 0.25)] = JUMP
        left = self._infinite_where_steep(self.left, left, rough & (growth > 0.25))
        right = self._infinite_where_steep(self.right, right, rough & (growth > 0.25))
        near, left, right = self._reached_over(kind == SMOOTH, left, right)
        on_left, on_right = numpy.isfinite(self.left[-3:]).all(0), numpy.isfinite(self.right[-3:]).all(0)
        kind[on_left != on_right] = EDGE
        kind[(~on_left & ~on_right) | ~self.has_value] = NOWHERE
        return Slopes(value, error, left, right, kind, near & (kind == SMOOTH))

    @staticmethod
    def _infinite_where_steep(rungs: Array, slope: Array, steep: Array) -> Array:
        """The side of a jump where the differences grow without end."""
        grows = steep & (numpy.abs(rungs[-1]) > 4 * numpy.abs(rungs[-4]))
        return numpy.where(grows, numpy.sign(rungs[-1]) * numpy.inf, slope)

    def _reached_over(self, smooth: Array, left: Array, right: Array) -> tuple[Array, Array, Array]:
        """Where a kink lies within a short step, and the slopes that this step sees."""
        rounding = 4 * self.noise / self.steps[:, None]
        gap = numpy.abs(self.right - self.left)
        stays = gap[1:] > gap[:-1] / SHRINKS + 4 * rounding[1:]
        stays &= (self.steps[:-1] <= NEAR)[:, None] & smooth
        near = stays.any(0)
        rung = gap.shape[0] - 2 - numpy.argmax(stays[::-1], axis=0)  # the lowest that does
        outputs = numpy.arange(gap.shape[1])
        return (
            near,
            numpy.where(near, self.left[rung, outputs], left),
            numpy.where(near, self.right[rung, outputs], right),
        )

    def _best_pair(self) -> tuple[Array, Array]:
        """The slope by the best pair of neighbouring rungs on which the function is smooth, and its error (inf: no such pair)."""
        rounding = 4 * self.noise / self.steps[:, None]
        gap = numpy.abs(self.right - self.left)
        shrinks = gap[1:] <= gap[:-1] / SHRINKS + 4 * rounding[1:]
        usable = numpy.isfinite(self.middle)
        # a pair counts if the gap shrinks there and on every rung below
        smooth = numpy.logical_and.accumulate((shrinks & usable[1:])[::-1], axis=0)[::-1] & usable[:-1]
        change = self.middle[1:] - self.middle[:-1]
        error = numpy.where(smooth, numpy.abs(change) / 4 + rounding[1:], numpy.inf)
        best = numpy.argmin(error, axis=0)
        outputs = numpy.arange(error.shape[1])
        value = self.middle[1:][best, outputs] + change[best, outputs] / (RATIO**2 - 1)
        return value, error[best, outputs]

    def _one_sided(self) -> tuple[Array, Array, Array, Array]:
        """The slope on either side, the power of 1/t with which their distance grows (0: a kink, 1: a jump), and their distance
        on the last rung where it is more than rounding (inf: on none)."""
        rounding = 4 * self.noise / self.steps[:, None]
        sides = []
        for side in (self.left, self.right):
            change = side[1:] - side[:-1]
            error = numpy.abs(change) + 2 * rounding[1:]
            error = numpy.where(numpy.isfinite(error), error, numpy.inf)
            best = numpy.argmin(error, axis=0)
            outputs = numpy.arange(error.shape[1])
            sides.append(side[1:][best, outputs] + change[best, outputs] / (RATIO - 1))
        gap = numpy.abs(self.right - self.left)
        seen = (gap > 4 * rounding) & numpy.isfinite(gap)
        growth = numpy.full(gap.shape[1], numpy.nan)
        last_gap = numpy.full(gap.shape[1], numpy.inf)
        for k in range(gap.shape[1]):
            rungs = numpy.flatnonzero(seen[:, k])[-3:]
            if len(rungs) >= 2:
                first, last = rungs[0], rungs[-1]
                growth[k] = numpy.log(gap[last, k] / gap[first, k]) / numpy.log(self.steps[first] / self.steps[last])
                last_gap[k] = gap[last, k]
        return sides[0] + 0.0, sides[1] + 0.0, growth, last_gap
