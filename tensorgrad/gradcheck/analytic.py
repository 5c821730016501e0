"""What the rules say: products with the Jacobian by reverse and by forward mode, and what is wrong with them before any
number is compared: shapes, dtypes, infinities, memory that is shared or written to, results that change from call to call.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.autodiff import grad, jvp
from tensorgrad.backend import backend_of
from tensorgrad.gradcheck.report import GradcheckUsageError, Report
from tensorgrad.gradcheck.target import Arrays, Target
from tensorgrad.mode import enable_grad
from tensorgrad.tensor import Tensor

Array = numpy.ndarray
Host = list[numpy.ndarray]

#: How exactly a rule is linear, and vjp and jvp agree, relative to the largest number. float64 has 2e-16, float32 6e-8.
EXACT = 1e-9


def to_host(x: Any) -> Array:
    """A copy of a Tensor's or an array's values on the host, in float64."""
    array = x.array if isinstance(x, Tensor) else x
    return numpy.asarray(backend_of(array).to_host(array)).astype(numpy.float64)


class Rules:
    """The rules of a target at its point.

    shapes, sizes  of the floating-point outputs;  outputs  their values, on the host
    """

    def __init__(self, target: Target, report: Report, nondet_tol: float) -> None:
        self.target = target
        self.report = report
        self.nondet_tol = nondet_tol
        self.has_forward_mode = True
        self.broken = False  # a gradient that cannot be compared: of another shape, say
        self.exact = EXACT
        self.before = [to_host(x) for x in target.arrays]
        self.leaves, self.outs = self._record()
        self.outputs = [to_host(z) for z in self.outs]
        self.shapes = [z.shape for z in self.outputs]
        self.dtypes = [z.dtype for z in self.outs]
        if any(z.dtype.itemsize < 8 for z in [*self.outs, *self.leaves]):
            self.exact = 1e-3 if any(z.dtype.itemsize < 4 for z in [*self.outs, *self.leaves]) else 1e-5

    def _record(self) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        leaves = self.target.leaves()
        with enable_grad():
            return leaves, self.target.call(*leaves)

    # products

    def pull(self, us: Sequence[Any], recorded: Any = None, create_graph: bool = False) -> list[Any]:
        """J^T u as Tensors, one for each input. `us`: host arrays, None for an output that nobody uses."""
        leaves, outs = recorded or (self.leaves, self.outs)
        used = [(z, self._cotangent(z, u)) for z, u in zip(outs, us) if u is not None and z.tracked]
        if not used:
            return [Tensor(backend_of(x.array).zeros_like(x.array)) for x in leaves]
        return list(
            grad(
                [z for z, _ in used],
                leaves,
                [u for _, u in used],
                retain_graph=True,
                create_graph=create_graph,
                materialize_grads=True,
            )
        )

    @staticmethod
    def _cotangent(z: Tensor, u: Any) -> Tensor:
        return u if isinstance(u, Tensor) else Tensor(backend_of(z.array).from_host(numpy.asarray(u, z.dtype)))

    def push(self, vs: Sequence[Array]) -> list[Tensor]:
        """J v as Tensors, one for each output. `vs`: host arrays, one for each input."""
        leaves = self.target.leaves()
        tangents = [Tensor(backend_of(x.array).from_host(numpy.asarray(v, x.dtype))) for x, v in zip(leaves, vs)]
        return list(jvp(self.target.call, tuple(leaves), tuple(tangents))[1])

    def pulled(self, us: Sequence[Any]) -> Host:
        """J^T u on the host."""
        return [to_host(g) for g in self.pull(us)]

    def pushed(self, vs: Sequence[Array]) -> Host:
        """J v on the host."""
        return [to_host(z) for z in self.push(vs)]

    def random_us(self, random: numpy.random.Generator) -> Host:
        return [random.standard_normal(shape) for shape in self.shapes]

    def random_vs(self, random: numpy.random.Generator) -> Host:
        return [random.standard_normal(x.shape) for x in self.target.arrays]

    # what can be wrong before numbers are compared

    def check_value(self) -> None:
        """The function: finite, the same at every call, leaving its inputs alone."""
        target, report = self.target, self.report
        if not self.outs:
            raise GradcheckUsageError(
                f"gradcheck: {report.name} returned no floating-point Tensor; there is nothing to check"
            )
        for k, z in enumerate(self.outputs):
            if not numpy.isfinite(z).all():
                report.find(
                    "not finite", f"output {k} is {_first_bad(z)}; choose a point where the function has a value"
                )
        self._untouched(self.before, target.arrays, "the function changed", "in place; let it change a .clone()")
        if any(finding.kind == "in place" for finding in report.findings):
            self.broken = True  # every call is one on other inputs
            return
        _, again = self._record()
        if [z.shape for z in again] != self.shapes:
            report.find("non-deterministic", "two calls on the same inputs gave outputs of different shapes")
            self.broken = True
            return
        for k, (a, b) in enumerate(zip(self.outputs, again)):
            self._same(a, to_host(b), f"two calls on the same inputs differ in output {k}")

    def check_vjp(self, random: numpy.random.Generator, undefined: bool, dtypes: bool) -> None:
        """Reverse mode: shapes, dtypes, finite values, determinism, linearity, memory."""
        target, report = self.target, self.report
        us, more = self.random_us(random), self.random_us(random)
        given = [self._cotangent(z, u) for z, u in zip(self.outs, us)]
        inputs, cotangents, outs = ([to_host(x) for x in xs] for xs in (target.arrays, given, self.outs))
        gradients = self.pull(given)
        for name, x, g in zip(target.names, target.arrays, gradients):
            self._check_gradient(name, x, g, dtypes)
        if self.broken:
            return
        first = [to_host(g) for g in gradients]
        self._untouched(inputs, target.arrays, "the vjp changed", "in place")
        self._untouched(cotangents, [u.array for u in given], "the vjp changed its cotangent, of", "in place", "output")
        self._untouched(
            outs, [z.array for z in self.outs], "the vjp changed the function's result, of", "in place", "output"
        )
        self._check_memory(gradients, given)
        if not all(numpy.isfinite(g).all() for g in first):
            return
        second = self.pulled(us)
        fresh = [to_host(g) for g in self.pull(us, self._record())]
        for name, a, b, c in zip(target.names, first, second, fresh):
            self._same(a, b, f"two backward calls on one graph differ in the gradient of {name}")
            self._same(a, c, f"two runs differ in the gradient of {name}")
        if any(finding.kind == "non-deterministic" for finding in report.findings):
            return
        double = self.pulled([u + 2 * w for u, w in zip(us, more)])
        for name, g, before in zip(target.names, gradients, first):
            if not numpy.array_equal(to_host(g), before):
                report.find(
                    "aliasing",
                    f"the gradient of {name} changed when another one was computed: the rule gives the same memory each time",
                )
        for name, a, b, c in zip(target.names, first, self.pulled(more), double):
            self._equal("not linear", f"the vjp to {name} is not linear in its cotangent", a + 2 * b, c, (a, b))
        self._check_higher_order(us, first)
        if undefined and len(self.outs) > 1:
            self._check_unused(us)

    def _check_gradient(self, name: str, x: Any, g: Tensor, dtypes: bool) -> None:
        report = self.report
        if g.shape != x.shape:
            self.broken = True
            report.find(
                "shape",
                f"the vjp to {name} has shape {g.shape}; the input has {x.shape}" + _missing_sum(g.shape, x.shape),
            )
            return
        if dtypes and g.dtype != x.dtype:
            report.find("dtype", f"the vjp to {name} has dtype {g.dtype}; the input has {x.dtype}")
        values = to_host(g)
        if not numpy.isfinite(values).all():
            report.find("not finite", f"the vjp to {name} is {_first_bad(values)}")

    def _check_memory(self, gradients: list[Tensor], cotangents: list[Tensor]) -> None:
        """Gradients are the user's to change: no two may share memory, nor with anything else."""
        names, report = self.target.names, self.report
        others = [
            *((f"the input {name}", x) for name, x in zip(names, self.target.arrays)),
            *((f"output {k}", z.array) for k, z in enumerate(self.outs)),
            *((f"the cotangent of output {k}", u.array) for k, u in enumerate(cotangents)),
        ]
        for i, (name, g) in enumerate(zip(names, gradients)):
            later = [(f"that of {names[j]}", gradients[j].array) for j in range(i + 1, len(names))]
            for what, array in [*later, *others]:
                if _overlap(g.array, array):
                    report.find(
                        "aliasing",
                        f"the gradient of {name} shares its memory with {what}; a change of one in place would change both",
                    )

    def _check_higher_order(self, us: Host, first: Host) -> None:
        """The rules on Tensors, which record, give what they give on arrays."""
        recorded = [to_host(g) for g in self.pull(us, self._record(), create_graph=True)]
        for name, a, b in zip(self.target.names, first, recorded):
            self._equal("create_graph", f"the vjp to {name} is another one with create_graph=True", a, b, (a,))

    def _check_unused(self, us: Host) -> None:
        """An output that nobody uses sends nothing back: the same as a cotangent of zeros."""
        for k in range(len(us)):
            zeros = [u if j == k else numpy.zeros_like(u) for j, u in enumerate(us)]
            alone = [u if j == k else None for j, u in enumerate(us)]
            for name, a, b in zip(self.target.names, self.pulled(zeros), self.pulled(alone)):
                self._equal(
                    "unused output", f"the vjp to {name} is another one where only output {k} is used", a, b, (a,)
                )

    def check_jvp(self, random: numpy.random.Generator, required: bool) -> None:
        """Forward mode: is it there, shapes, dtypes, finite values, determinism, linearity, memory."""
        target, report = self.target, self.report
        vs, more = self.random_vs(random), self.random_vs(random)
        before = [to_host(x) for x in target.arrays]
        try:
            tangents = self.push(vs)
        except NotImplementedError as error:
            self.has_forward_mode = False
            if required:
                report.find("no forward mode", f"check_forward_ad=True, but {error or 'the function has no jvp'}")
            else:
                report.note("forward mode was not checked: the function has no jvp")
            return
        for k, (z, dz) in enumerate(zip(self.outs, tangents)):
            if dz.shape != z.shape:
                self.broken = True
                report.find("shape", f"the jvp of output {k} has shape {dz.shape}; the output has {z.shape}")
            elif dz.dtype != z.dtype:
                report.find("dtype", f"the jvp of output {k} has dtype {dz.dtype}; the output has {z.dtype}")
            elif not numpy.isfinite(to_host(dz)).all():
                report.find("not finite", f"the jvp of output {k} is {_first_bad(to_host(dz))}")
        if self.broken:
            return
        first = [to_host(dz) for dz in tangents]
        self._untouched(before, target.arrays, "the jvp changed", "in place")
        if not all(numpy.isfinite(dz).all() for dz in first):
            return
        for k, (a, b) in enumerate(zip(first, self.pushed(vs))):
            self._same(a, b, f"two runs differ in the jvp of output {k}")
        if any(finding.kind == "non-deterministic" for finding in report.findings):
            return
        double = self.pushed([v + 2 * w for v, w in zip(vs, more)])
        for k, (a, b, c) in enumerate(zip(first, self.pushed(more), double)):
            self._equal("not linear", f"the jvp of output {k} is not linear in its direction", a + 2 * b, c, (a, b))

    # comparisons of what must be equal

    def _same(self, a: Array, b: Array, text: str) -> None:
        """The same call twice: equal to the last digit, or to nondet_tol."""
        if a.shape != b.shape:
            self.report.find("non-deterministic", f"{text}: shapes {a.shape} and {b.shape}")
            return
        with numpy.errstate(invalid="ignore"):
            off = numpy.abs(numpy.where(a == b, 0, a - b)).max(initial=0)
        off = 0.0 if numpy.array_equal(numpy.isnan(a), numpy.isnan(b)) and numpy.isnan(off) else off
        if not off <= self.nondet_tol:
            self.report.find(
                "non-deterministic",
                f"{text}, by {off:.3g}; take the randomness or state out of it, or allow it with nondet_tol",
            )

    def _equal(self, kind: str, text: str, a: Array, b: Array, parts: Sequence[Array]) -> None:
        """Equal but for rounding in float64."""
        scale = max(numpy.abs(part).max(initial=0) for part in (*parts, b))
        off = numpy.abs(a - b).max(initial=0)
        if off > self.equal_within(scale):
            at = _argmax(numpy.abs(a - b))
            advice = "; is a part of it computed in float32?" if off < 1e-5 * scale else ""
            self.report.find(kind, f"{text}: {a[at]:.12g} or {b[at]:.12g} at {at}{advice}")

    def equal_within(self, scale: float) -> float:
        """How far apart two numbers may be that are equal but for rounding, where the largest of their kind is `scale`."""
        return self.exact * (scale + 1e-3 * self.size)

    @functools.cached_property
    def size(self) -> float:
        """The largest output over the largest input: the size of a Jacobian of which nothing else is known."""
        top = max((numpy.abs(z).max(initial=0) for z in self.outputs), default=0.0)
        bottom = max((numpy.abs(x).max(initial=0) for x in self.before), default=0.0)
        return float(top / bottom) if bottom > 0 else float(top)

    def _untouched(self, before: Host, arrays: Arrays, who: str, how: str, kind: str = "") -> None:
        for i, (old, array) in enumerate(zip(before, arrays)):
            if not numpy.array_equal(old, to_host(array), equal_nan=True):
                name = f"{kind} {i}" if kind else self.target.names[i]
                self.report.find("in place", f"{who} {name} {how}")


def _first_bad(values: Array) -> str:
    at = _argmax(~numpy.isfinite(values))
    return f"{values[at]} at {at} ({int((~numpy.isfinite(values)).sum())} of {values.size} not finite)"


def _argmax(values: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in numpy.unravel_index(numpy.argmax(values), values.shape))


def _missing_sum(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Whether the rule forgot to sum over the dimensions that were broadcast."""
    try:
        fits = numpy.broadcast_shapes(found, wanted) == found
    except ValueError:
        fits = False
    return "; it was broadcast, and the gradient must be summed back over those dimensions" if fits else ""


def _overlap(a: Any, b: Any) -> bool:
    backend = backend_of(a)
    if type(a) is not type(b) or not backend.may_share_memory(a, b):
        return False
    if not isinstance(a, numpy.ndarray):
        return bool(a.flags.c_contiguous and b.flags.c_contiguous)  # then bounds that overlap are memory that does
    try:
        return bool(numpy.shares_memory(a, b, max_work=10_000))  # type: ignore[arg-type]  # the stubs know two values only
    except numpy.exceptions.TooHardError:
        return False
