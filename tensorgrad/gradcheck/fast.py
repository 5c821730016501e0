"""The fast check: the Jacobian along random directions v, and its rows in random combinations u.

    J v, every number,         against differences along v                      (jvp)
    <J^T u, v>                 against <u, differences along v>                 (vjp)
    <J^T u, v>                 against <u, J v>, but for rounding               (identity)

A single wrong number moves <J^T u, v> by about its own size, the sum of all by much more. So what is allowed is measured by
a typical number and by the differences' own error, not by the sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from tensorgrad.gradcheck.analytic import Rules
from tensorgrad.gradcheck.full import between, rounding_explains
from tensorgrad.gradcheck.numeric import Offsets, Settings, Values, flat
from tensorgrad.gradcheck.report import Entry, Kink, Report
from tensorgrad.gradcheck.slopes import KIND_NAMES, NOISE, RATIO, SMOOTH, Slopes, central, ladder

Array = numpy.ndarray

#: More inputs than this are checked in so many groups, each along one direction.
SINGLY, GROUPS = 12, 2
#: The length of a direction, that of a thousand normal numbers.
LONGEST = 32.0
#: So many places that are not differentiable are looked for along a direction.
KINKS = 16


def check_fast(rules: Rules, report: Report, settings: Settings, order: int) -> None:
    """Compare along random directions; what is found goes to the report."""
    random = numpy.random.default_rng([rules.target.seed, order])
    count = len(rules.target.arrays)
    if count <= SINGLY:
        groups = [[i] for i in range(count)]
    else:
        groups = [list(range(start, count, GROUPS)) for start in range(GROUPS)]
    for _ in range(settings.directions):
        us = rules.random_us(random)
        vs = rules.random_vs(random)
        for group in groups:
            if sum(vs[i].size for i in group) == 0:
                continue
            alone = _Direction(rules, settings, order, group, us, vs)
            alone.run()
            if len(group) > 1 and not alone.report.ok:
                singly = Report()
                for i in group:
                    one = _Direction(rules, settings, order, [i], us, vs)
                    one.run()
                    singly.add(one.report)
                report.add(alone.report if singly.ok else singly)
            else:
                report.add(alone.report)


class _Direction:
    """One direction, in one input or in a group of them."""

    def __init__(
        self, rules: Rules, settings: Settings, order: int, group: list[int], us: Sequence[Array], vs: Sequence[Array]
    ) -> None:
        self.rules, self.settings, self.order, self.group = rules, settings, order, group
        self.report = Report()
        self.us = list(us)
        self.values = Values(rules, settings)
        names = rules.target.names
        self.name = names[group[0]] if len(group) == 1 else f"{names[group[0]]} and {len(group) - 1} more"
        self.gradients = rules.pulled(us)
        self.tangent: Array | None = None
        # large values move in proportion to their size
        self.vs = {i: vs[i] * numpy.maximum(1, numpy.abs(self.values.points[i])) for i in group}
        if len(group) > 1:
            self._balance()
        # a step in a million numbers at once goes far, and a deep network bends: the whole direction is kept short
        length = float(numpy.sqrt(sum((v**2).sum() for v in self.vs.values())))
        if length > LONGEST:
            self.vs = {i: v * (LONGEST / length) for i, v in self.vs.items()}

    def _balance(self) -> None:
        """Let every input of a group have about the same part in <J^T u, v>, so that none hides behind another."""
        parts = {i: float((self.gradients[i] * v).sum()) for i, v in self.vs.items()}
        typical = float(numpy.median([abs(p) for p in parts.values() if p != 0] or [1.0]))
        for i, part in parts.items():
            if part != 0 and numpy.isfinite(part):
                factor = min(100.0, max(0.01, typical / abs(part)))
                self.vs[i] = self.vs[i] * (numpy.copysign(factor, part))

    def _directions(self) -> list[Array | None]:
        return [self.vs.get(i) for i in range(len(self.rules.target.arrays))]

    def run(self) -> None:
        u = flat(self.us)
        found, doubtful = self._slopes()
        if self.settings.step == "auto" and (doubtful.any() or not self._agrees(found, u)):
            found = self._second_opinion(found, doubtful, u)
        self._judge(found, u)

    def _slopes(self) -> tuple[Slopes, Array]:
        line = self.values.line(self._directions())
        found, doubtful = self.values.slopes(line)
        if self.settings.step == "complex":
            found = self.values.complex_slopes(self._directions(), found)
            doubtful[:] = False
        return found, doubtful

    def _tangent(self) -> Array | None:
        if "jvp" not in self.settings.rules or not self.rules.has_forward_mode:
            return None
        if self.tangent is None:
            shapes = [x.shape for x in self.rules.target.arrays]
            vs = [self.vs.get(i, numpy.zeros(shape)) for i, shape in enumerate(shapes)]
            self.tangent = flat(self.rules.pushed(vs))
        return self.tangent

    def _pulled(self) -> float:
        return float(sum((self.gradients[i] * v).sum() for i, v in self.vs.items()))

    def _typical(self, found: Slopes, u: Array) -> float:
        """The size of a single product in <J^T u, v>."""
        terms = numpy.concatenate([(self.gradients[i] * v).reshape(-1) for i, v in self.vs.items()])
        left = numpy.sqrt(numpy.mean(terms**2)) if terms.size else 0.0
        right = numpy.sqrt(numpy.mean((u * found.value) ** 2)) if u.size else 0.0
        return float(min(left, right) or max(left, right))

    def _agrees(self, found: Slopes, u: Array, slack: float = 0.0) -> bool:
        """Whether these slopes settle it: the rules are as close as could be asked for."""
        scale = float(numpy.abs(found.value).max(initial=0))
        tangent = self._tangent()
        if tangent is not None:
            tolerance = self.values.tolerance(found.value, scale, found.error)
            if not (numpy.abs(tangent - found.value) <= tolerance).all():
                return False
        if "vjp" not in self.settings.rules:
            return True
        off = abs(self._pulled() - float((u * found.value).sum()))
        return off <= self.settings.rtol * self._typical(found, u) + slack

    def _second_opinion(self, found: Slopes, doubtful: Array, u: Array) -> Slopes:
        """A longer step tells how good the first is. If that explains everything, fine; if not, the whole ladder."""
        if not doubtful.any():
            longer, _ = central(self.values.line(self._directions()), RATIO * self.settings.eps)
            error = numpy.abs(longer.value - found.value) + longer.error
            if (error <= 1e-4 * numpy.abs(found.value).max(initial=0)).all():
                found.error = error
                if self._agrees(found, u, 4 * float(numpy.abs(u * error).sum())):
                    return found
        return self._closely(found)

    def _closely(self, found: Slopes) -> Slopes:
        """The ladder, after elements at a kink were taken out of the direction and looked at one by one."""
        closely = ladder(self.values.line(self._directions()))
        if (closely.kind == SMOOTH).all():
            return closely
        for position, element in self._rough_elements():
            if self._check_element(position, element):
                self.vs[position].flat[element] = 0
                self.tangent = None  # it was along the old direction
        closely = ladder(self.values.line(self._directions()))
        noise = closely.kind == NOISE
        closely.value = numpy.where(noise, found.value, closely.value)
        closely.error = numpy.where(noise, found.error, closely.error)
        return closely

    def _rough_elements(self) -> list[tuple[int, int]]:
        """Elements along which one-sided slopes differ, found by halving the direction."""
        inputs = Offsets([self.vs[i].shape for i in self.group])
        everything = numpy.concatenate([self.vs[i].reshape(-1) for i in self.group])
        rough: list[tuple[int, int]] = []
        stack = [(0, inputs.size)]
        looks = 0
        while stack and len(rough) < KINKS and looks < 40 * KINKS:
            start, end = stack.pop()
            if end - start == 0:
                continue
            part = numpy.zeros(inputs.size)
            part[start:end] = everything[start:end]
            pieces = dict(zip(self.group, inputs.split(part)))
            line = self.values.line([pieces.get(i) for i in range(len(self.rules.target.arrays))])
            found, doubtful = central(line, self.settings.eps)
            closer, _ = central(line, self.settings.eps / 64)
            change = numpy.abs(closer.value - found.value)  # at a jump with the value in the middle only this tells
            grows = change > 0.5 * numpy.abs(found.value) + 4 * closer.error
            looks += 1
            if not (doubtful | grows).any():
                continue
            if end - start == 1:
                which = int(numpy.searchsorted(inputs.starts, start, side="right")) - 1
                rough.append((self.group[which], start - int(inputs.starts[which])))
                continue
            middle = (start + end) // 2
            stack += [(middle, end), (start, middle)]
        return rough

    def _check_element(self, position: int, element: int) -> bool:
        """Report an element that is not differentiable and hold the rules against its slopes; False if it is smooth."""
        line = self.values.line_of_element(position, element)
        found = ladder(line)
        rows = numpy.flatnonzero((found.kind != SMOOTH) & (found.kind != NOISE))
        if not len(rows):
            return False
        outputs = Offsets(self.rules.shapes)
        shapes = [x.shape for x in self.rules.target.arrays]
        column = None
        if "jvp" in self.settings.rules and self.rules.has_forward_mode:
            unit = [
                v if v is not None else numpy.zeros(shapes[i])
                for i, v in enumerate(self.values.unit(position, element))
            ]
            column = flat(self.rules.pushed(unit))
        for row in rows:
            analytic = [] if column is None else [float(column[row])]
            if "vjp" in self.settings.rules:
                u = numpy.zeros(outputs.size)
                u[row] = 1
                analytic.append(float(self.rules.pulled(outputs.split(u))[position].reshape(-1)[element]))
            self._add_kink(found, int(row), position, element, analytic)
        return True

    def _add_kink(self, found: Slopes, row: int, position: int, element: int | None, analytic: list[float]) -> None:
        left, right = float(found.left[row]), float(found.right[row])
        output, output_index = Offsets(self.rules.shapes).place(row)
        shape = self.rules.target.arrays[position].shape
        index = None if element is None else tuple(int(i) for i in numpy.unravel_index(element, shape)) if shape else ()
        outside = [a for a in analytic if not between(a, left, right, self.settings)]
        self.report.kinks.append(
            Kink(
                self.order,
                KIND_NAMES[int(found.kind[row])],
                self.rules.target.names[position] if element is not None else self.name,
                index,
                output,
                output_index,
                left,
                right,
                (outside or analytic or [numpy.nan])[0],
                not outside,
            )
        )

    def _judge(self, found: Slopes, u: Array) -> None:
        report, settings = self.report, self.settings
        outputs = Offsets(self.rules.shapes)
        rough = (found.kind != SMOOTH) & (found.kind != NOISE)
        tangent = self._tangent()
        scale = float(numpy.abs(numpy.where(rough, 0, found.value)).max(initial=0))
        tolerance = self.values.tolerance(found.value, scale, found.error)
        report.entry_count += 1 if "vjp" in settings.rules else 0
        if tangent is not None:
            report.entry_count += tangent.size
            with numpy.errstate(invalid="ignore"):
                distance = numpy.where(tangent == found.value, 0, numpy.abs(tangent - found.value))
            bad = ~rough & ~(distance <= tolerance)
            relative = numpy.where(rough, 0, distance) / max(scale, 1e-6)
            report.worst[self.order, "jvp"] = float(relative.max(initial=0))
            report.wrong_count += int(bad.sum())
            with numpy.errstate(divide="ignore", invalid="ignore"):
                badness = numpy.where(bad, numpy.nan_to_num(distance / tolerance, nan=numpy.inf), 0)
            for row in numpy.argsort(-badness, kind="stable")[: min(4, int(bad.sum()))]:
                output, index = outputs.place(int(row))
                self._wrong("jvp", output, index, float(tangent[row]), float(found.value[row]), float(tolerance[row]))
        if rough.any():
            for row in numpy.flatnonzero(rough)[:KINKS]:
                self._add_kink(found, int(row), self.group[0], None, [] if tangent is None else [float(tangent[row])])
        if "vjp" in settings.rules:
            self._judge_vjp(found, u, rough, tangent)

    def _judge_vjp(self, found: Slopes, u: Array, rough: Array, tangent: Array | None) -> None:
        report, settings = self.report, self.settings
        pulled = self._pulled()
        if tangent is not None:
            self._compare_rules(pulled, u, tangent)
        if rough.any():  # too many kinks to take them out: the sum must lie between the sums of slopes
            ends = numpy.sort([u * found.left, u * found.right], axis=0)
            low, high = (numpy.where(rough, end, u * found.value).sum() for end in ends)
            passed = between(pulled, float(low), float(high), settings)
            if not passed:
                report.wrong_count += 1
                self._wrong("vjp", 0, None, pulled, float(low if pulled < low else high), 0.0)
            return
        numeric = float((u * found.value).sum())
        scale = float(numpy.abs(u * found.value).max(initial=0))
        error = float(numpy.abs(u * found.error).sum())
        widest = settings.rtol * max(abs(pulled), abs(numeric)) + settings.atol * max(1.0, scale)
        tolerance = settings.rtol * self._typical(found, u) + min(widest, 4 * error + settings.atol * min(1.0, scale))
        off = abs(pulled - numeric)
        size = max(abs(numeric), abs(pulled), 1e-6)
        report.worst[self.order, "vjp"] = off / size
        if not off <= tolerance:
            report.wrong_count += 1
            self._wrong("vjp", 0, None, pulled, numeric, tolerance)
            if not any(self.gradients[i].any() for i in self.group):
                report.find(
                    "no gradient",
                    f"the outputs have no gradient with respect to {self.name}, but do change with it; was the history cut "
                    "(.detach(), .data, NumPy, a missing rule)?",
                )
        elif (
            len(self.group) == 1
            and self.order == 1
            and not self.gradients[self.group[0]].any()
            and not found.value.any()
        ):
            report.note(f"the outputs do not depend on {self.name}")

    def _compare_rules(self, pulled: float, u: Array, tangent: Array) -> None:
        pushed = float((u * tangent).sum())
        terms = numpy.concatenate([(self.gradients[i] * v).reshape(-1) for i, v in self.vs.items()])
        scale = float(numpy.sqrt((terms**2).sum()) + numpy.sqrt(((u * tangent) ** 2).sum()))
        off = abs(pulled - pushed)
        self.report.worst[self.order, "identity"] = off / max(scale + 1e-3 * self.rules.size, 1e-300)
        if off <= self.rules.equal_within(scale):
            return
        shapes = [x.shape for x in self.rules.target.arrays]
        vs = [self.vs.get(i, numpy.zeros(shape)) for i, shape in enumerate(shapes)]
        if off <= 1e-5 * scale and rounding_explains(self.rules, self.us, vs, off):
            return
        self.report.wrong_count += 1
        self._wrong("identity", 0, None, pulled, pushed, self.rules.equal_within(scale))

    def _wrong(
        self, rule: str, output: int, index: tuple[int, ...] | None, analytic: float, numeric: float, tolerance: float
    ) -> None:
        self.report.wrong.append(Entry(self.order, rule, self.name, None, output, index, analytic, numeric, tolerance))
