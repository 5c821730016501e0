"""Every primitive of the library, checked on the samples: what `tensorgrad check` runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy

from tensorgrad.backend import backend_for
from tensorgrad.dtypes import float64
from tensorgrad.errors import ArgumentError
from tensorgrad.gradcheck.check import examine
from tensorgrad.gradcheck.report import Report
from tensorgrad.gradcheck.samples import Sample, all_primitives, load
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor


@dataclass
class Row:
    """What the checks of one primitive on one device came to."""

    primitive: str
    device: str
    cases: int = 0
    differentiable: bool = True
    reports: list[tuple[Sample, Report]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it has samples, and all of them pass."""
        return self.cases > 0 and not self.problems and all(report.ok for _, report in self.reports)

    @property
    def verdict(self) -> str:
        if not self.cases:
            return "NO SAMPLE"
        if not self.ok:
            return "WRONG"
        return "ok" if self.differentiable else "ok, no derivative"

    def worst(self, order: int, rule: str | None = None) -> float:
        """The largest relative error over all samples, nan if nothing was compared."""
        errors = [report.worst_of(order, rule) for _, report in self.reports]
        return max((e for e in errors if not math.isnan(e)), default=math.nan)


def check_primitives(
    names: Iterable[str] | None = None,
    devices: Iterable[str] = ("cpu",),
    order: int = 2,
    seed: int = 0,
    each: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Check primitives (by default all) in every mode and order up to `order`, on every sample and device.

    each  called with every Row when it is done
    Returns the rows. Raises ArgumentError for a name that no primitive has.
    """
    known = all_primitives()
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise ArgumentError(f"check: there is no primitive {name!r}; there are {', '.join(known)}")
    samples: dict[str, list[Sample]] = {name: [] for name in chosen}
    for sample in load(chosen):
        samples[sample.primitive].append(sample)
    rows = []
    for device in devices:
        for name in chosen:
            row = _check_primitive(known[name], samples[name], device, order, seed)
            rows.append(row)
            if each is not None:
                each(row)
    return rows


def _check_primitive(kind: type[Any], samples: list[Sample], device: str, order: int, seed: int) -> Row:
    started = time.perf_counter()
    row = Row(kind.__name__, device, len(samples), kind.differentiable)
    for sample in samples:
        try:
            if kind.differentiable:
                report = check_sample(kind, sample, device, order, seed)
                row.reports.append((sample, report))
                row.problems += [f"{sample.note}: {report.summary()}"] if not report.ok else []
            else:
                row.problems += [f"{sample.note}: {problem}" for problem in _check_constant(kind, sample, device)]
        except Exception as error:  # one primitive that breaks must not keep the others from being checked
            row.problems.append(f"{sample.note}: {type(error).__name__}: {error}")
    row.seconds = time.perf_counter() - started
    return row


def check_sample(kind: type[Any], sample: Sample, device: str, order: int = 2, seed: int = 0) -> Report:
    """The report on one application; float64 inputs are differentiated."""
    settings = [placed(value, device) for value in sample.settings]
    return examine(
        lambda *inputs: kind(*settings)(*inputs),
        inputs_of(sample, device),
        order=order,
        rtol=1e-4,
        seed=seed,
    )


def placed(value: Any, device: str) -> Any:
    """A setting with its arrays (indices) on a device."""
    if isinstance(value, numpy.ndarray):
        return backend_for(device).from_host(value)
    if type(value) in (tuple, list):
        return type(value)(placed(part, device) for part in value)
    if isinstance(value, Primitive):
        return type(value)(*(placed(getattr(value, name), device) for name in value.settings))
    return value


def inputs_of(sample: Sample, device: str) -> list[Any]:
    """A sample's arrays as Tensors on a device, those that can be differentiated requiring grad."""
    backend = backend_for(device)
    values: list[Any] = []
    for x in sample.inputs:
        if isinstance(x, numpy.ndarray):
            values.append(Tensor(backend.from_host(x), requires_grad=x.dtype == float64))
        else:
            values.append(x)
    return values


def _check_constant(kind: type[Any], sample: Sample, device: str) -> list[str]:
    """A primitive without a derivative: no result may require grad, and two calls give the same."""
    found = []
    results = []
    for _ in range(2):
        settings = [placed(value, device) for value in sample.settings]
        outs = kind(*settings)(*inputs_of(sample, device))
        results.append(outs if isinstance(outs, tuple) else (outs,))
    for first, second in zip(*results):
        if first.requires_grad:
            found.append("a result requires grad, but the primitive says that it has no derivative")
        host = backend_for(device).to_host
        if not numpy.array_equal(host(first.array), host(second.array), equal_nan=first.array.dtype.kind == "f"):
            found.append("two calls differ")
    return found
