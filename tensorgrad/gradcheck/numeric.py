"""Values of a target around its point, as the lines that slopes are taken along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.gradcheck.analytic import Rules, to_host
from tensorgrad.gradcheck.complexstep import complex_slope
from tensorgrad.gradcheck.report import GradcheckUsageError
from tensorgrad.gradcheck.slopes import Line, Slopes, central, ladder
from tensorgrad.mode import enable_grad

Array = numpy.ndarray

STEPS = ("auto", "central", "richardson", "complex")


@dataclass(frozen=True)
class Settings:
    """What a check was asked for; see `gradcheck`."""

    eps: float = 1e-6
    atol: float = 1e-5
    rtol: float = 1e-3
    step: str = "auto"
    directions: int = 2
    rules: tuple[str, ...] = ("vjp", "jvp")

    def tolerance(self, numeric: Array, scale: Any, error: Any) -> Array:
        """How far a rule may be from differences that are good to `error`, in a block whose largest number is `scale`.

        rtol |numeric| + atol, where atol belongs to a block of size 1: in smaller ones it shrinks and in larger ones it
        grows with them, as far as the differences' own error asks for it.
        """
        narrow, wide = numpy.minimum(scale, 1), numpy.maximum(scale, 1)
        found: Array = self.rtol * numpy.abs(numeric) + numpy.minimum(
            self.atol * wide, self.atol * narrow + 4 * numpy.asarray(error)
        )
        return found


class Values:
    """All floating-point outputs of a target as one flat host vector, and lines through its point."""

    def __init__(self, rules: Rules, settings: Settings) -> None:
        self.rules, self.settings = rules, settings
        self.target = rules.target
        self.points = [backend_of(x).to_host(x) for x in self.target.arrays]
        self.here = flat(rules.outputs)
        self.noise = flat(
            [
                numpy.full(z.shape, float(numpy.finfo(dtype).eps) * numpy.abs(z).max(initial=0))
                for z, dtype in zip(rules.outputs, rules.dtypes)
            ]
        )

    def tolerance(self, numeric: Array, scale: Any, error: Array) -> Array:
        """The settings' tolerance; what is rounding beside the size of the outputs is allowed always."""
        return self.settings.tolerance(numeric, scale, error + self.rules.equal_within(0.0))

    def at(self, points: list[Array]) -> Array:
        """f there; nan everywhere if the function refuses the point or its outputs have other shapes."""
        arrays = [
            array if moved is point else backend_of(array).from_host(moved)
            for array, point, moved in zip(self.target.arrays, self.points, points)
        ]
        try:
            with enable_grad():
                outs = self.target.call(*self.target.leaves(arrays))
        except (ValueError, ArithmeticError) as error:
            self.rules.report.note(
                f"the function refuses points close by, which count as outside of its domain: {error}"
            )
            return numpy.full(self.here.shape, numpy.nan)
        if [z.shape for z in outs] != self.rules.shapes:
            self.rules.report.note("the outputs change their shapes close by")
            return numpy.full(self.here.shape, numpy.nan)
        return flat([to_host(z) for z in outs])

    def line_of_element(self, position: int, element: int) -> Line:
        """Along one element (its number in C order) of one input."""
        point = self.points[position]
        value = float(point.reshape(-1)[element]) if point.ndim else float(point)

        def at(step: float) -> tuple[Array, float]:
            moved = point.copy(order="K")
            moved.flat[element] = value + step
            taken = float(moved.flat[element]) - value
            return self.at([moved if i == position else x for i, x in enumerate(self.points)]), taken

        return Line(at, self.here, self.noise, max(1.0, abs(value)), abs(value) or 1.0, self.target.size)

    def line(self, directions: list[Array | None]) -> Line:
        """Along a direction in several inputs, None for those that stay."""

        def at(step: float) -> tuple[Array, float]:
            moved = [
                x if v is None else (x + (step * v).astype(x.dtype, copy=False))
                for x, v in zip(self.points, directions)
            ]
            return self.at(moved), step

        sizes = [numpy.abs(x[x != 0]).min(initial=1) for x, v in zip(self.points, directions) if v is not None]
        return Line(at, self.here, self.noise, 1.0, min(sizes, default=1.0), self.target.size)

    def slopes(self, line: Line) -> tuple[Slopes, Array]:
        """Slopes along a line by the step that was asked for, and where to look closer."""
        if self.settings.step == "richardson":
            return ladder(line), numpy.zeros(self.here.shape, bool)
        found, doubtful = central(line, self.settings.eps * line.scale)
        if self.settings.step == "central":
            doubtful[:] = False
        return found, doubtful

    def complex_slopes(self, directions: list[Array | None], found: Slopes) -> Slopes:
        """The same by a complex step, held against central differences: not every function allows it."""

        value = complex_slope(self.target, self.points, directions)
        scale = max(1.0, float(numpy.abs(found.value).max(initial=0)))
        if value.shape != found.value.shape or not (numpy.abs(value - found.value) <= 1e-3 * scale).all():
            raise GradcheckUsageError(
                "gradcheck: step='complex' and central differences disagree: the function is not analytic as it is computed (abs, "
                "maximum, a comparison, a cast?); use step='auto'"
            )
        found.value, found.error = value, 1e-15 * numpy.abs(value)
        return found

    def unit(self, position: int, element: int) -> list[Array | None]:
        """The direction of one element."""
        v = numpy.zeros(self.points[position].shape)
        v.flat[element] = 1
        return [v if i == position else None for i in range(len(self.points))]


def flat(arrays: list[Array]) -> Array:
    """One vector of all numbers."""
    return numpy.concatenate([x.reshape(-1) for x in arrays]) if arrays else numpy.zeros(0)


class Offsets:
    """Where the numbers of each of several arrays stand in their one vector."""

    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.starts = numpy.cumsum([0, *(int(numpy.prod(shape)) for shape in shapes)])
        self.size = int(self.starts[-1])

    def parts(self) -> list[slice]:
        return [slice(int(a), int(b)) for a, b in zip(self.starts, self.starts[1:])]

    def place(self, number: int) -> tuple[int, tuple[int, ...]]:
        """Which array, and which index in it."""
        which = int(numpy.searchsorted(self.starts, number, side="right")) - 1
        index = numpy.unravel_index(number - int(self.starts[which]), self.shapes[which]) if self.shapes[which] else ()
        return which, tuple(int(i) for i in index)

    def split(self, vector: Array) -> list[Array]:
        return [vector[part].reshape(shape) for part, shape in zip(self.parts(), self.shapes)]
