"""gradcheck and gradgradcheck: what is checked in which order, and what becomes of the report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float64
from tensorgrad.errors import ArgumentError, TensorgradError
from tensorgrad.gradcheck.analytic import Rules
from tensorgrad.gradcheck.fast import check_fast
from tensorgrad.gradcheck.full import check_full
from tensorgrad.gradcheck.numeric import STEPS, Settings
from tensorgrad.gradcheck.report import Finding, GradcheckError, GradcheckUsageError, Report
from tensorgrad.gradcheck.target import Target, is_module, name_of, of_function, of_module
from tensorgrad.tensor import Tensor

MODES = ("vjp", "jvp", "both")


def gradcheck(
    func: Any,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = True,
    check_batched_grad: bool = False,
    check_batched_forward_ad: bool = False,
    check_forward_ad: bool | None = None,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    mode: str | None = None,
    order: int = 1,
    step: str = "auto",
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Hold the derivatives of `func` against differences: J from its rules, and J from its values.

    func    a function of the inputs, a Primitive, a class with `apply`, or a Module, of which the parameters and buffers are
            checked too, in training and in evaluation. Returns a Tensor or several
    inputs  a Tensor or a sequence; those that require grad are checked, in float64
    eps, atol, rtol    the first step (times |x| where x > 1); a rule may be off by rtol |J| + atol, where atol belongs to
                       Jacobians of size 1 and shrinks with smaller ones, as far as differences are good enough
    raise_exception    raise GradcheckError, whose `report` holds everything; False: return False
    nondet_tol         by how much two calls may differ
    check_forward_ad   None: forward mode where the function has it;  True: it must;  False: not
    check_backward_ad  reverse mode
    fast_mode          along `directions` random directions instead of element by element
    mode               'vjp', 'jvp' or 'both', in place of the last two
    order              derivatives up to this order
    step               'auto': one central difference, and a ladder of steps where it is not enough; 'central': eps alone, as
                       PyTorch; 'richardson': the ladder everywhere; 'complex': a complex step, for analytic functions
    seed               of the random directions, and of every draw inside the function

    Checked besides: shapes and dtypes of gradients, infinities, determinism, linearity in the cotangent, unused outputs,
    memory that gradients share, inputs changed in place, <u, J v> = <J^T u, v>. At a kink the rule must lie between the
    one-sided slopes, and the report says so. Returns True; raises GradcheckUsageError, a ValueError too, for what
    cannot be checked. docs/gradcheck.md explains it all.

    >>> import tensorgrad
    >>> x = tensorgrad.randn(3, dtype=tensorgrad.float64, requires_grad=True)
    >>> gradcheck(lambda x: (x * x).sum(), x)
    True
    """
    report = examine(
        func,
        inputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad or check_batched_forward_ad,
        check_forward_ad=check_forward_ad,
        check_backward_ad=check_backward_ad,
        fast_mode=fast_mode,
        masked=masked,
        mode=mode,
        order=order,
        step=step,
        directions=directions,
        seed=seed,
    )
    return verdict(report, raise_exception)


def gradgradcheck(
    func: Any,
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = True,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool | None = None,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
    step: str = "auto",
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check second derivatives: `gradcheck` of the map (x, u) -> J(x)^T u. Arguments as there.

    grad_outputs        the cotangents u, by default random ones
    check_fwd_over_rev  the forward derivative of the gradient (None: where there is forward mode)
    check_rev_over_rev  the gradient of the gradient

    >>> import tensorgrad
    >>> x = tensorgrad.randn(3, dtype=tensorgrad.float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x.exp(), x)
    True
    """
    cotangents = None
    if grad_outputs is not None:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    report = examine(
        func,
        inputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
        order=2,
        from_order=2,
        step=step,
        directions=directions,
        seed=seed,
        grad_outputs=cotangents,
        strided_cotangents=gen_non_contig_grad_outputs,
    )
    return verdict(report, raise_exception)


def verdict(report: Report, raise_exception: bool = True) -> bool:
    """True, or GradcheckError with the report as its text."""
    if not report.ok and raise_exception:
        raise GradcheckError(str(report), report)
    return report.ok


def examine(
    func: Any,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = True,
    check_batched_grad: bool = False,
    check_forward_ad: bool | None = None,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    mode: str | None = None,
    order: int = 1,
    from_order: int = 1,
    step: str = "auto",
    directions: int = 2,
    seed: int = 0,
    grad_outputs: Sequence[Tensor] | None = None,
    strided_cotangents: bool = False,
) -> Report:
    """What `gradcheck` finds, as a Report; nothing is raised for a wrong derivative. Arguments as there.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([0.0, 1.0], dtype=tensorgrad.float64, requires_grad=True)
    >>> report = examine(lambda x: x.relu(), x)
    >>> report.ok, report.kinks[0].index, report.kinks[0].left, report.kinks[0].right
    (True, (0,), 0.0, 1.0)
    """
    started = time.perf_counter()
    forward, backward, forward_required = _rules(mode, check_forward_ad, check_backward_ad)
    _check_arguments(order, step, directions, check_batched_grad, masked)
    values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    settings = Settings(eps, atol, rtol, step, directions, (*(["vjp"] * backward), *(["jvp"] * forward)))
    report = Report(name=name_of(func), fast=fast_mode, seed=seed)
    plan = _Plan(settings, fast_mode, nondet_tol, check_undefined_grad, check_grad_dtypes, forward_required)
    orders = range(from_order, order + 1)
    if is_module(func):
        training = [(part, part.training) for part in func.modules()]
        try:
            for training_mode in (True, False):
                func.train(training_mode)
                target, changed = of_module(func, values, seed)
                part = Report(name=report.name)
                if changed:
                    more = "" if len(changed) <= 4 else f" and {len(changed) - 4} more"
                    part.note(f"the call changes the buffers {', '.join(changed[:4])}{more}; they have no derivative")
                _check_target(target, part, plan, orders, grad_outputs, strided_cotangents)
                report.add(part, "in training: " if training_mode else "in evaluation: ")
        finally:
            for part, was in training:
                part.training = was
    else:
        target = of_function(func, values, seed)
        _check_target(target, report, plan, orders, grad_outputs, strided_cotangents)
    # differences tell which of the rules is wrong; that they disagree comes last
    report.wrong.sort(key=lambda e: (e.rule == "identity", -abs(e.analytic - e.numeric) / (e.tolerance or 1)))
    report.seconds = time.perf_counter() - started
    return report


class _Plan:
    """What to do with a target."""

    def __init__(
        self,
        settings: Settings,
        fast: bool,
        nondet_tol: float,
        undefined: bool,
        dtypes: bool,
        forward_required: bool,
    ) -> None:
        self.settings, self.fast, self.nondet_tol = settings, fast, nondet_tol
        self.undefined, self.dtypes, self.forward_required = undefined, dtypes, forward_required


def _rules(mode: str | None, forward: bool | None, backward: bool) -> tuple[bool, bool, bool]:
    """Whether to check forward mode, reverse mode, and whether it is an error if there is no forward mode."""
    if mode is not None:
        if mode not in MODES:
            raise ArgumentError(f"gradcheck: mode={mode!r}; it must be one of {', '.join(MODES)}")
        return mode != "vjp", mode != "jvp", mode == "jvp"
    if forward is False and not backward:
        raise ArgumentError(
            "gradcheck: check_forward_ad and check_backward_ad are both False; there is nothing to check"
        )
    return forward is not False, backward, forward is True


def _check_arguments(order: int, step: str, directions: int, batched: bool, masked: bool | None) -> None:
    if order < 1:
        raise ArgumentError(f"gradcheck: order={order}; it must be 1 or more")
    if directions < 1:
        raise ArgumentError(f"gradcheck: directions={directions}; it must be 1 or more")
    if step not in STEPS:
        raise ArgumentError(f"gradcheck: step={step!r}; it must be one of {', '.join(STEPS)}")
    if batched:
        raise ArgumentError(
            "gradcheck: check_batched_grad compares a backward of many cotangents at once with one after the other; "
            "tensorgrad's vmap takes them one after the other, so leave it out"
        )
    if masked:
        raise ArgumentError("gradcheck: masked=True belongs to sparse Tensors, which tensorgrad has not")


def _check_inputs(target: Target) -> None:
    if not target.arrays:
        raise GradcheckUsageError(
            "gradcheck: no input requires grad (and no parameter); set requires_grad=True on those to check"
        )
    for name, array in zip(target.names, target.arrays):
        if array.dtype != float64:
            raise GradcheckUsageError(
                f"gradcheck: {name} has dtype {array.dtype}; differences need float64 (float32 has 7 digits, and a difference "
                "loses half of them), use .double().requires_grad_(), or .double() on a module"
            )


def _check_target(
    target: Target,
    report: Report,
    plan: _Plan,
    orders: range,
    grad_outputs: Sequence[Tensor] | None,
    strided: bool,
) -> None:
    """All orders of one target. Of a wrong order the next ones are not looked at."""
    _check_inputs(target)
    random = numpy.random.default_rng(target.seed)
    targets = [target]
    forward = "jvp" in plan.settings.rules
    for order in range(1, orders.stop):
        if order > 1:
            following = [t.gradient(random, grad_outputs if order == 2 else None) for t in targets]
            if order == 2 and orders.start == 1 and forward:
                following += [t.tangent(random) for t in targets]  # vjp and jvp of both: four ways to the second order
            targets = [t for t in following if t is not None]
            if strided and order == 2:
                for t in targets:
                    t.arrays = [*t.arrays[: len(target.arrays)], *(_strided(u) for u in t.arrays[len(target.arrays) :])]
            if not targets:
                report.note(f"nothing to check of order {order}: no output has a gradient")
                return
        if order in orders:
            for t in targets:
                known = len(report.findings)
                forward &= _check_order(t, report, plan, order)
                if order > 1:
                    report.findings[known:] = [
                        Finding(f.kind, f"of order {order}: {f.text}") for f in report.findings[known:]
                    ]
        if not report.ok:
            return


def _check_order(target: Target, report: Report, plan: _Plan, order: int) -> bool:
    """One order of one target; whether it has forward mode."""
    target.evaluations = 0
    rules = Rules(target, report, plan.nondet_tol)
    random = numpy.random.default_rng([target.seed, order, 1])
    try:
        rules.check_value()
        try:
            if not rules.broken and "vjp" in plan.settings.rules:
                rules.check_vjp(random, plan.undefined, plan.dtypes)
            if not rules.broken and "jvp" in plan.settings.rules:
                rules.check_jvp(random, plan.forward_required and order == 1)
        except TensorgradError as error:
            report.find("error", f"a rule raised {type(error).__name__}: {error}")
            return rules.has_forward_mode
        if rules.broken or any(f.kind in ("not finite", "non-deterministic") for f in report.findings):
            return rules.has_forward_mode  # numbers would say nothing
        compare = check_fast if plan.fast else check_full
        compare(rules, report, plan.settings, order)
        return rules.has_forward_mode
    finally:
        report.evaluations += target.evaluations


def _strided(array: Any) -> Any:
    """The same values, every second place of a larger array (a number without dimensions as it is)."""
    if array.ndim == 0:
        return array
    backend = backend_of(array)
    wide = backend.stack([array, array], array.ndim)
    return wide[..., 0]
