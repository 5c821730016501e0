"""What a check found: entries of Jacobians, kinks, findings, and the table they make."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tensorgrad.errors import TensorgradError

#: How many entries and kinks a report prints.
SHOWN = 8


class GradcheckError(TensorgradError, RuntimeError):
    """A derivative that is not what differences say; `report` holds all that was found."""

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


class GradcheckUsageError(GradcheckError, ValueError):
    """Nothing to check, or inputs that cannot be checked."""


@dataclass(frozen=True)
class Entry:
    """One number, d output[output_index] / d input[index], as a rule says it and as differences say it.

    Along a random direction the index is None; where a rule is held against another, `numeric` is what the other says.
    """

    order: int
    rule: str
    input: str
    index: tuple[int, ...] | None
    output: int
    output_index: tuple[int, ...] | None
    analytic: float
    numeric: float
    tolerance: float

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|)"""
        scale = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / scale if scale > 0 else 0.0


@dataclass(frozen=True)
class Kink:
    """A place where the function is not differentiable: its two one-sided slopes, nan on a side without values.

    kind      'kink' (two slopes), 'jump' (two values), 'edge' (values on one side only), 'near' (a kink so close that the
              first step reached over it; the function is differentiable at the point itself)
    analytic  what the rule says there; it passes if it lies between the slopes
    """

    order: int
    kind: str
    input: str
    index: tuple[int, ...] | None
    output: int
    output_index: tuple[int, ...] | None
    left: float
    right: float
    analytic: float
    passed: bool


@dataclass(frozen=True)
class Finding:
    """A failure that is not one of numbers: 'shape', 'dtype', 'not finite', 'in place', 'aliasing', ..."""

    kind: str
    text: str


@dataclass
class Report:
    """All that a check found. `str(report)` is the table, `bool(report)` the verdict.

    wrong     entries that a rule has wrong, worst first
    findings  other failures
    kinks     where the function is not differentiable
    notes     what is worth knowing and no failure
    worst     (order, rule) -> the largest error among the entries, relative to the largest entry of its block
    """

    name: str = "function"
    fast: bool = False
    seed: int = 0
    wrong: list[Entry] = field(default_factory=list)
    wrong_count: int = 0
    entry_count: int = 0
    findings: list[Finding] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    worst: dict[tuple[int, str], float] = field(default_factory=dict)
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every derivative is right; at a kink, whether it lies between the one-sided slopes."""
        return not self.wrong_count and not self.findings and all(kink.passed for kink in self.kinks)

    def __bool__(self) -> bool:
        return self.ok

    def find(self, kind: str, text: str) -> None:
        """Add a failure, once."""
        finding = Finding(kind, text)
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, other: Report, prefix: str = "") -> None:
        """Take over what another check found, of another order or mode of a module."""
        self.wrong += other.wrong
        self.wrong_count += other.wrong_count
        self.entry_count += other.entry_count
        self.kinks += other.kinks
        for finding in other.findings:
            self.find(finding.kind, prefix + finding.text)
        for note in other.notes:
            self.note(prefix + note)
        for key, error in other.worst.items():
            self.worst[key] = max(error, self.worst.get(key, 0.0))
        self.evaluations += other.evaluations

    def worst_of(self, order: int, rule: str | None = None) -> float:
        """The largest relative error of an order, nan where none was checked."""
        errors = [e for (o, r), e in self.worst.items() if o == order and (rule is None or r == rule)]
        return max(errors) if errors else math.nan

    def summary(self) -> str:
        """One sentence: the verdict, and the first failure."""
        if self.ok:
            kinks = f", {len(self.kinks)} not differentiable" if self.kinks else ""
            return f"gradcheck: {self.name}: {self.entry_count} derivatives are right{kinks}"
        if self.findings:
            return f"gradcheck: {self.name}: {self.findings[0].text}"
        if self.wrong:
            return f"gradcheck: {self.name}: {_sentence(self.wrong[0], self.wrong_count, self.entry_count)}"
        kink = next(kink for kink in self.kinks if not kink.passed)
        return (
            f"gradcheck: {self.name}: not differentiable here, and the rule's {_number(kink.analytic)} lies outside of the "
            f"one-sided slopes {_number(kink.left)} and {_number(kink.right)} ({_place(kink)})"
        )

    def __str__(self) -> str:
        lines = [self.summary()]
        lines += [f"  {finding.kind}: {finding.text}" for finding in self.findings]
        if self.wrong:
            more = "" if self.wrong_count <= SHOWN else f", the worst {min(SHOWN, len(self.wrong))}"
            lines += ["", f"  {self.wrong_count} wrong{more}:"]
            rows = [
                (
                    f"{e.order} {e.rule}",
                    e.input + _index(e.index),
                    f"output {e.output}{_index(e.output_index)}",
                    _number(e.analytic),
                    _number(e.numeric),
                    f"{e.relative_error:.1e}",
                )
                for e in self.wrong[:SHOWN]
            ]
            lines += table(
                ("order, rule", "with respect to", "of", "the rule says", "differences say", "rel. error"), rows
            )
        if self.kinks:
            lines += ["", f"  not differentiable here, {len(self.kinks)} places:"]
            order = sorted(self.kinks, key=lambda kink: kink.passed)
            kinks = [
                (
                    k.kind,
                    k.input + _index(k.index),
                    f"output {k.output}{_index(k.output_index)}",
                    _number(k.left),
                    _number(k.right),
                    _number(k.analytic),
                    ("between" if k.kind != "edge" else "as the one side") if k.passed else "WRONG",
                )
                for k in order[:SHOWN]
            ]
            lines += table(("", "with respect to", "of", "slope left", "slope right", "the rule says", ""), kinks)
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(
            f"  {'fast' if self.fast else 'full'} check, {self.evaluations} evaluations, {self.seconds:.2f} s, seed={self.seed}"
        )
        return "\n".join(lines)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of columns as wide as their widest cell."""
    cells = [head, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return ["    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def _number(x: float) -> str:
    return f"{x:.8g}"


def _index(index: tuple[int, ...] | None) -> str:
    if index is None:
        return " (random direction)"
    return f"[{', '.join(map(str, index))}]" if index else ""


def _place(at: Entry | Kink) -> str:
    return f"output {at.output}{_index(at.output_index)}, {at.input}{_index(at.index)}"


def _sentence(entry: Entry, wrong: int, count: int) -> str:
    order = "" if entry.order == 1 else f" of order {entry.order}"
    if entry.rule == "identity":
        return (
            f"vjp and jvp{order} of output {entry.output} disagree for {entry.input}: <J^T u, v> = {entry.analytic:.12g}, "
            f"<u, J v> = {entry.numeric:.12g} ({_place(entry)})"
        )
    link = "along" if entry.rule == "jvp" else "to"
    return (
        f"the {entry.rule}{order} of output {entry.output} {link} {entry.input} is wrong in {wrong} of {count} numbers, most at "
        f"{_index(entry.index)}: the rule says {_number(entry.analytic)}, differences say {_number(entry.numeric)}"
    )
