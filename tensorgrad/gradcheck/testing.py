"""Gradient checks as tests: what the pytest plugin, the decorator and the command line share.

    @gradchecked(shapes=[(2, 3), (3,)])
    def test_scaled(x, w):
        return x * w.exp()

is a whole test, with pytest or without.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_for
from tensorgrad.gradcheck.check import examine, verdict
from tensorgrad.gradcheck.report import GradcheckUsageError, Report
from tensorgrad.gradcheck.target import is_module, listed
from tensorgrad.random import standing_in
from tensorgrad.tensor import Tensor

#: A Jacobian is checked whole if it takes no more calls of the function than this, else along random directions.
CALLS = 2000

Shape = tuple[int, ...]


def values_of(shapes: Sequence[Shape | tuple[Shape, int | None]], seed: int = 0, device: str = "cpu") -> list[Tensor]:
    """Random float64 Tensors that require grad; for (shape, n) whole numbers below n."""
    random = numpy.random.default_rng([seed, 7])
    backend = backend_for(device)
    values = []
    for given in shapes:
        shape, below = given if given and isinstance(given[0], tuple) else (given, None)
        if below is None:
            values.append(Tensor(backend.from_host(numpy.asarray(random.standard_normal(shape))), requires_grad=True))
        else:
            values.append(Tensor(backend.from_host(numpy.asarray(random.integers(0, below, shape)))))
    return values


def watch(
    func: Any, inputs: Sequence[Any], *, fast: bool | None = None, device: str = "cpu", **settings: Any
) -> Report:
    """`examine`, with a Module as a copy in float64 on the device, and fast or full by the size of the Jacobian."""
    if isinstance(func, type) and hasattr(func, "named_parameters"):
        raise GradcheckUsageError(f"gradcheck: got the class {func.__name__}; give a module made of it")
    if is_module(func):
        func = copy.deepcopy(func).double().to(device)
    if fast is None:
        fast = _calls(func, inputs, settings.get("seed", 0)) > CALLS
    return examine(func, inputs, fast_mode=fast, **settings)


def _calls(func: Any, inputs: Sequence[Any], seed: int) -> int:
    """How many calls a full check takes: two for each number that goes in, one for each that comes out."""
    held = list(func.parameters()) if is_module(func) else []
    numbers = sum(x.numel() for x in [*inputs, *held] if isinstance(x, Tensor) and x.requires_grad)
    if 3 * numbers > CALLS:
        return 3 * numbers
    if not is_module(func):
        return 3 * numbers  # the outputs are not known before a call; most functions have as many as inputs
    with standing_in(numpy.random.default_rng(seed)):
        outs = listed(copy.deepcopy(func)(*inputs))
    return 3 * numbers + sum(z.numel() for z in outs)


def check(
    func: Any = None,
    *inputs: Any,
    shapes: Sequence[Any] = (),
    module: Any = None,
    function: Any = None,
    seed: int = 0,
    device: str = "cpu",
    **settings: Any,
) -> Report:
    """Check a function or module on inputs, or on random ones of these shapes; raises GradcheckError with the report.

    func, module, function  what to check, one of them; of a module (or of what makes one) a copy in float64
    inputs                  Tensors; one that does not require grad is not differentiated
    shapes                  in place of inputs: shapes of float64 Tensors, or (shape, n) for whole numbers below n
    settings                those of `gradcheck`, and fast=True or False (by default small Jacobians are checked whole)
    """
    given = [f for f in (func, module, function) if f is not None]
    if len(given) != 1:
        raise GradcheckUsageError(f"gradcheck: got {len(given)} things to check; give one function or module")
    (subject,) = given
    if isinstance(module, type) or (module is not None and not is_module(module)):
        subject = module()  # a class, or a function that makes the module
    if bool(inputs) == bool(shapes):
        raise GradcheckUsageError("gradcheck: give the inputs, or shapes=[(2, 3), ...] for random ones")
    values = list(inputs) or values_of(shapes, seed, device)
    if "fast_mode" in settings:
        settings["fast"] = settings.pop("fast_mode")
    report = watch(subject, values, seed=seed, device=device, **settings)
    verdict(report)
    return report


def gradchecked(**settings: Any) -> Callable[[Callable[..., Any]], Callable[[], None]]:
    """Make a test of a function of Tensors: the test checks its derivatives. Settings as in `check`.

    >>> @gradchecked(shapes=[(2, 3), (3,)])
    ... def test_scaled(x, w):
    ...     return x * w.exp()
    >>> test_scaled()
    """

    def decorate(function: Callable[..., Any]) -> Callable[[], None]:
        def test() -> None:
            check(function, **settings)

        functools.update_wrapper(test, function)
        del test.__wrapped__  # type: ignore[attr-defined]  # pytest would take the function's arguments for fixtures
        return test

    return decorate
