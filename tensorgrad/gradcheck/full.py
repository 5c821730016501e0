"""The full check: every number of the Jacobian, by every rule, against differences."""

from __future__ import annotations

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.gradcheck.analytic import Rules
from tensorgrad.gradcheck.numeric import Offsets, Settings, Values
from tensorgrad.gradcheck.report import SHOWN, Entry, Kink, Report
from tensorgrad.gradcheck.slopes import EDGE, JUMP, KIND_NAMES, KINK, NOISE, NOWHERE, SMOOTH, Slopes, ladder
from tensorgrad.gradcheck.target import Target

Array = numpy.ndarray

#: Once something is surely wrong, so many columns are looked at closely and no more.
CLOSELY = 24


def check_full(rules: Rules, report: Report, settings: Settings, order: int) -> None:
    """Compare whole Jacobians; what is found goes to the report."""
    jacobians = {}
    if "vjp" in settings.rules:
        jacobians["vjp"] = by_rows(rules)
    if "jvp" in settings.rules and rules.has_forward_mode:
        jacobians["jvp"] = by_columns(rules)
    for rule, jacobian in jacobians.items():
        if not numpy.isfinite(jacobian).all():
            at = numpy.unravel_index(numpy.argmax(~numpy.isfinite(jacobian)), jacobian.shape)
            report.find("not finite", f"the {rule} has {jacobian[at]} {_where(rules, int(at[0]), int(at[1]))}")
    _Comparison(rules, report, settings, order, jacobians).run()
    if len(jacobians) == 2:
        compare_rules(rules, report, order, jacobians["vjp"], jacobians["jvp"])


def by_rows(rules: Rules) -> Array:
    """J (outputs, inputs) in reverse mode: one backward call a row."""
    outputs = Offsets(rules.shapes)
    inputs = Offsets([x.shape for x in rules.target.arrays])
    jacobian = numpy.zeros((outputs.size, inputs.size))
    for row in range(outputs.size):
        which, index = outputs.place(row)
        unit = numpy.zeros(rules.shapes[which])
        unit[index] = 1
        us = [unit if k == which else None for k in range(len(rules.shapes))]
        jacobian[row] = numpy.concatenate([g.reshape(-1) for g in rules.pulled(us)])
    return jacobian


def by_columns(rules: Rules) -> Array:
    """J (outputs, inputs) in forward mode: one forward call a column."""
    inputs = Offsets([x.shape for x in rules.target.arrays])
    jacobian = numpy.zeros((Offsets(rules.shapes).size, inputs.size))
    for column in range(inputs.size):
        unit = numpy.zeros(inputs.size)
        unit[column] = 1
        jacobian[:, column] = numpy.concatenate([dz.reshape(-1) for dz in rules.pushed(inputs.split(unit))])
    return jacobian


class _Comparison:
    """The numbers of differences, refined where they have to be, and the rules held against them."""

    def __init__(
        self, rules: Rules, report: Report, settings: Settings, order: int, jacobians: dict[str, Array]
    ) -> None:
        self.rules, self.report, self.settings, self.order, self.jacobians = rules, report, settings, order, jacobians
        self.values = Values(rules, settings)
        self.outputs = Offsets(rules.shapes)
        self.inputs = Offsets([x.shape for x in rules.target.arrays])
        shape = (self.outputs.size, self.inputs.size)
        self.slopes = Slopes(
            value=numpy.zeros(shape),
            error=numpy.zeros(shape),
            left=numpy.zeros(shape),
            right=numpy.zeros(shape),
            kind=numpy.zeros(shape, numpy.int8),
            near=numpy.zeros(shape, bool),
        )
        self.doubtful = numpy.zeros(shape, bool)

    def run(self) -> None:
        for column in range(self.inputs.size):
            which, _ = self.inputs.place(column)
            element = column - int(self.inputs.starts[which])
            found, doubtful = self.values.slopes(self.values.line_of_element(which, element))
            if self.settings.step == "complex":
                found = self.values.complex_slopes(self.values.unit(which, element), found)
                doubtful[:] = False
            self._put(column, found)
            self.doubtful[:, column] = doubtful
        if self.settings.step == "auto":
            self._look_closer()
        self._judge()

    def _put(self, column: int, found: Slopes, where: Array | None = None) -> None:
        chosen = slice(None) if where is None else where
        for name in ("value", "error", "left", "right", "kind", "near"):
            getattr(self.slopes, name)[chosen, column] = getattr(found, name)[chosen]

    def _scales(self) -> Array:
        """For every number, the largest of its block (output, input), as far as differences are to be trusted."""
        trusted = ~self.doubtful & (self.slopes.kind == SMOOTH) & numpy.isfinite(self.slopes.value)
        values = numpy.where(trusted, numpy.abs(numpy.nan_to_num(self.slopes.value)), 0)
        scales = numpy.zeros(values.shape)
        for rows in self.outputs.parts():
            for columns in self.inputs.parts():
                scales[rows, columns] = values[rows, columns].max(initial=0)
        return scales

    def _off(self, scales: Array) -> Array:
        """By how many tolerances a rule is off, the worse of the rules."""
        value = self.slopes.value
        # as if differences were exact: where that is too much to ask, the ladder tells how exact they can be
        tolerance = self.values.tolerance(value, scales, numpy.zeros(value.shape))
        off = numpy.zeros(value.shape)
        with numpy.errstate(invalid="ignore", divide="ignore"):
            for jacobian in self.jacobians.values():
                distance = numpy.abs(jacobian - value)
                ratio = numpy.where(distance == 0, 0, distance / tolerance)
                off = numpy.maximum(off, numpy.where(numpy.isfinite(jacobian), ratio, 0))
        return numpy.nan_to_num(off, nan=numpy.inf)

    def _look_closer(self) -> None:
        """The ladder for every column with a number that is off or in doubt, the worst first."""
        off = self._off(self._scales())
        unclear = (off > 1) | self.doubtful
        columns = numpy.flatnonzero(unclear.any(0))
        worst = numpy.where(unclear, off, 0).max(axis=0, initial=0)[columns]
        surely_wrong = 0
        for column in columns[numpy.argsort(-worst, kind="stable")]:
            if surely_wrong >= CLOSELY:
                break
            which, _ = self.inputs.place(int(column))
            found = ladder(self.values.line_of_element(which, int(column) - int(self.inputs.starts[which])))
            useful = unclear[:, column] & (found.kind != NOISE)
            self._put(int(column), found, useful)
            self.doubtful[useful, column] = False
            smooth = useful & (found.kind == SMOOTH)
            scale = float(numpy.abs(found.value[smooth]).max(initial=0))
            tolerance = self.values.tolerance(found.value, max(scale, 1), found.error)
            surely_wrong += any(
                (numpy.abs(j[:, column] - found.value) > tolerance)[smooth].any() for j in self.jacobians.values()
            )

    def _judge(self) -> None:
        slopes, report = self.slopes, self.report
        scales = self._scales()
        tolerance = self.values.tolerance(slopes.value, scales, slopes.error)
        regular = (slopes.kind == SMOOTH) | (slopes.kind == NOISE)
        for rule, jacobian in self.jacobians.items():
            finite = numpy.isfinite(jacobian)
            with numpy.errstate(invalid="ignore"):
                distance = numpy.where(jacobian == slopes.value, 0, numpy.abs(jacobian - slopes.value))
            bad = regular & finite & ~(distance <= tolerance)
            report.entry_count += int(regular.sum())
            relative = numpy.where(regular & finite & ~self.doubtful, distance / numpy.maximum(scales, 1e-6), 0)
            report.worst[self.order, rule] = max(
                report.worst.get((self.order, rule), 0.0), float(relative.max(initial=0))
            )
            self._report_wrong(rule, jacobian, bad, distance, tolerance)
            self._report_blocks(jacobian, bad)
        self._report_kinks()

    def _report_wrong(self, rule: str, jacobian: Array, bad: Array, distance: Array, tolerance: Array) -> None:
        rows, columns = numpy.nonzero(bad)
        self.report.wrong_count += len(rows)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            badness = numpy.nan_to_num(distance[rows, columns] / tolerance[rows, columns], nan=numpy.inf)
        for at in numpy.argsort(-badness, kind="stable")[:SHOWN]:
            row, column = int(rows[at]), int(columns[at])
            which, index = self.inputs.place(column)
            output, output_index = self.outputs.place(row)
            self.report.wrong.append(
                Entry(
                    self.order,
                    rule,
                    self.rules.target.names[which],
                    index,
                    output,
                    output_index,
                    float(jacobian[row, column]),
                    float(self.slopes.value[row, column]),
                    float(tolerance[row, column]),
                )
            )

    def _report_blocks(self, jacobian: Array, bad: Array) -> None:
        """Outputs that do not depend on an input, and histories that were cut."""
        for k, rows in enumerate(self.outputs.parts()):
            for name, columns in zip(self.rules.target.names, self.inputs.parts()):
                block = jacobian[rows, columns]
                if not block.size or block.any():
                    continue
                if bad[rows, columns].any():
                    self.report.find(
                        "no gradient",
                        f"output {k}, which has no gradient with respect to {name}, does change with it; was its history cut "
                        "(.detach(), .data, NumPy, a missing rule)?",
                    )
                elif not self.slopes.value[rows, columns].any() and self.order == 1:
                    self.report.note(f"output {k} does not depend on {name}")

    def _report_kinks(self) -> None:
        slopes, rules = self.slopes, self.rules
        if (slopes.kind == NOWHERE).any():
            row, column = (int(i) for i in numpy.argwhere(slopes.kind == NOWHERE)[0])
            self.report.find(
                "not finite", f"the function has no finite values around the point {_where(rules, row, column)}"
            )
        places = numpy.argwhere((slopes.kind == KINK) | (slopes.kind == JUMP) | (slopes.kind == EDGE) | slopes.near)
        for row, column in places:
            which, index = self.inputs.place(int(column))
            output, output_index = self.outputs.place(int(row))
            left, right = float(slopes.left[row, column]), float(slopes.right[row, column])
            near = bool(slopes.near[row, column])
            analytic = [float(j[row, column]) for j in self.jacobians.values()]
            passed = near or all(between(a, left, right, self.settings) for a in analytic)
            self.report.kinks.append(
                Kink(
                    self.order,
                    "near" if near else KIND_NAMES[int(slopes.kind[row, column])],
                    rules.target.names[which],
                    index,
                    output,
                    output_index,
                    left,
                    right,
                    next((a for a in analytic if not between(a, left, right, self.settings)), analytic[0]),
                    passed,
                )
            )


def between(analytic: float, left: float, right: float, settings: Settings) -> bool:
    """Whether a rule's number lies between the one-sided slopes; where there is one side only, whether it is that slope."""
    known = [slope for slope in (left, right) if not numpy.isnan(slope)]
    if not known:
        return False
    size = max((abs(slope) for slope in known if numpy.isfinite(slope)), default=0.0)
    slack = (
        10 * settings.atol + max(settings.rtol, 1e-4) * size
    )  # a one-sided difference is less exact than a central one
    return min(known) - slack <= analytic <= max(known) + slack


def compare_rules(rules: Rules, report: Report, order: int, rows: Array, columns: Array) -> None:
    """<u, J v> = <J^T u, v> for all unit vectors: two ways to the same Jacobian, equal but for rounding."""
    outputs, inputs = Offsets(rules.shapes), Offsets([x.shape for x in rules.target.arrays])
    finite = numpy.isfinite(rows) & numpy.isfinite(columns)
    distance = numpy.where(finite, numpy.abs(numpy.where(finite, rows, 0) - numpy.where(finite, columns, 0)), 0)
    for k, output_part in enumerate(outputs.parts()):
        for name, input_part in zip(rules.target.names, inputs.parts()):
            block = distance[output_part, input_part]
            both = numpy.abs([rows[output_part, input_part], columns[output_part, input_part]])
            scale = float(numpy.where(numpy.isfinite(both), both, 0).max(initial=0))
            if not block.size or scale == 0:
                continue
            worst = float(block.max())
            report.worst[order, "identity"] = max(
                report.worst.get((order, "identity"), 0.0), worst / (scale + 1e-3 * rules.size)
            )
            if worst <= rules.equal_within(scale):
                continue
            at = numpy.unravel_index(numpy.argmax(block), block.shape)
            row, column = int(at[0]) + output_part.start, int(at[1]) + input_part.start
            u, v = numpy.zeros(outputs.size), numpy.zeros(inputs.size)
            u[row], v[column] = 1, 1
            if worst <= 1e-5 * scale and rounding_explains(rules, outputs.split(u), inputs.split(v), worst):
                continue
            report.wrong_count += int((block > rules.equal_within(scale)).sum())
            report.wrong.append(
                Entry(
                    order,
                    "identity",
                    name,
                    inputs.place(column)[1],
                    k,
                    outputs.place(row)[1],
                    float(rows[row, column]),
                    float(columns[row, column]),
                    rules.equal_within(scale),
                )
            )


def rounding_explains(rules: Rules, us: list[Array], vs: list[Array], off: float) -> bool:
    """Whether <J^T u, v> and <u, J v> move by as much as they are apart when x changes in its last digits."""
    random = numpy.random.default_rng(rules.target.seed)
    eps = numpy.finfo(numpy.float64).eps

    def products(jitter: float) -> list[float]:
        arrays = []
        for x in rules.target.arrays:
            values = backend_of(x).to_host(x)
            arrays.append(backend_of(x).from_host(values * (1 + jitter * eps * random.choice([-1, 1], values.shape))))
        moved = Rules(Target(rules.target.function, arrays, rules.target.names, rules.target.seed), Report(), 0.0)
        pulled = sum(float((g * v).sum()) for g, v in zip(moved.pulled(us), vs))
        pushed = sum(float((u * dz).sum()) for u, dz in zip(us, moved.pushed(vs)))
        return [pulled, pushed]

    found = numpy.array([products(jitter) for jitter in (0, 2, 4, 8)])
    return bool((found.max(axis=0) - found.min(axis=0)).max() >= off / 16)


def _where(rules: Rules, row: int, column: int) -> str:
    output, output_index = Offsets(rules.shapes).place(int(row))
    which, index = Offsets([x.shape for x in rules.target.arrays]).place(int(column))
    return f"(output {output}{list(output_index) or ''}, {rules.target.names[which]}{list(index) or ''})"
