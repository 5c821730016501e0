"""The checks of one operation on PyTorch's samples: forward, vjp, jvp, double backward, and what is refused."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from samples.convert import NotOurs, difference, far, flat, ours
from samples.scope import RANDOM

import tensorgrad as tg
from tensorgrad.autograd import grad, jvp
from tensorgrad.tensor import Tensor

REFUSED = "refused: "  # a clear refusal of something PyTorch has: counted apart
FORWARD_DTYPES = ("float64", "float32", "int64", "bool")
KINDS = ("forward", "vjp", "jvp", "double", "errors")
RTOL = {"float64": 1e-7, "float32": 2e-4, "int64": 1e-7, "bool": 1e-7}


@dataclass
class Report:
    """What came of an operation's samples: how many were tried and passed, and what the first failures said."""

    name: str
    tried: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    missing: bool = False

    def ok(self) -> bool:
        return not self.missing and all(self.tried[kind] == self.passed[kind] for kind in KINDS)


def full_name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def operations() -> Iterator[Any]:
    """PyTorch's operations with their samples."""
    from torch.testing._internal.common_methods_invocations import op_db

    yield from op_db


#: Operations whose samples stand in another order than the function's arguments.
#: where PyTorch's samples have the arguments in another order than its function
ADAPTED: dict[str, Callable[..., Any]] = {
    "einsum": lambda operands, equation: tg.einsum(equation, *operands),
    "where": lambda x, condition, other: tg.where(condition, x, other),
    "zero_": lambda x: x.clone().zero_(),
    "nn.functional.embedding": lambda weight, index, **settings: tg.nn.functional.embedding(index, weight, **settings),
}


def counterpart(op: Any) -> Callable[..., Any] | None:
    """Our function of that name: in tensorgrad, in nn.functional, or a method of Tensor."""
    if op.name in ADAPTED:
        return ADAPTED[op.name]
    if op.variant_test_name == "in_place":
        return getattr(Tensor, f"{op.name}_", None)
    place: Any = tg
    for part in op.name.split("."):
        place = getattr(place, part, None)
        if place is None:
            break
    if callable(place) and not isinstance(place, (type, np.dtype)):
        return place  # type: ignore[no-any-return]
    method = getattr(Tensor, op.name, None) or (getattr(Tensor, f"{op.name}_", None) if op.name in IN_PLACE else None)
    if isinstance(method, property):
        return method.fget
    return method


IN_PLACE = ("uniform", "cauchy")


def check(op: Any, report: Report) -> Report:
    function = counterpart(op)
    if function is None:
        report.missing = True
        return report
    seed(0)
    for name in FORWARD_DTYPES:
        for kind, problem, sample in forward(op, function, name):
            note(report, kind, problem, name, sample)
    seed(0)
    for kind, problem, sample in derivatives(op, function):
        note(report, kind, problem, "float64", sample)
    for kind, problem, sample in errors(op, function):
        note(report, kind, problem, "", sample)
    return report


def seed(value: int) -> None:
    import torch

    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - PyTorch's samples draw from it
    torch.manual_seed(value)


def note(report: Report, kind: str, problem: str | None, dtype: str, sample: Any) -> None:
    if problem is not None and problem.startswith(REFUSED):
        report.refused[problem.removeprefix(REFUSED)] += 1
        return
    report.tried[kind] += 1
    if problem is None:
        report.passed[kind] += 1
    else:
        text = " ".join(str(sample.summary() if hasattr(sample, "summary") else sample).split())
        report.failures.append(f"{kind} {dtype}: {problem} | {text[:240]}")


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, str | None]:
    try:
        return function(*args, **kwargs), None
    except NotOurs:
        raise
    except NotImplementedError as error:
        return None, REFUSED + str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def called(function: Callable[..., Any], sample: Any) -> Any:
    return function(ours(sample.input), *ours(tuple(sample.args)), **ours(dict(sample.kwargs)))


def samples(op: Any, name: str, requires_grad: bool) -> Iterator[Any]:
    import torch

    dtype = getattr(torch, name)
    if dtype not in op.supported_dtypes("cpu"):
        return
    if requires_grad and not (op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")):
        return
    yield from op.sample_inputs("cpu", dtype, requires_grad=requires_grad)


def forward(op: Any, function: Any, name: str) -> Iterator[tuple[str, str | None, Any]]:
    values = not RANDOM.fullmatch(full_name(op))
    for sample in samples(op, name, False):
        try:
            z, problem = attempt(called, function, sample)
        except NotOurs:
            continue
        expected, refused = attempt(op.op, sample.input, *sample.args, **sample.kwargs)
        if refused:
            continue
        if any(getattr(x, "is_complex", bool)() for x in flat(expected)):
            continue
        yield "forward", problem or compared(z, expected, values and not is_random(sample), RTOL[name]), sample


def is_random(sample: Any) -> bool:
    """Whether a sample asks for dropout."""
    return bool(sample.kwargs.get("dropout_p"))


def compared(z: Any, expected: Any, values: bool, rtol: float) -> str | None:
    ours_flat, theirs = flat(z), flat(expected)
    if len(ours_flat) != len(theirs):
        return f"{len(ours_flat)} results, not {len(theirs)}"
    for x, y in zip(ours_flat, theirs):
        problem = difference(x, y, values, rtol)
        if problem:
            return problem
    return None


class Traced:
    """A sample's tensors that require a gradient, in the order in which they stand in its arguments."""

    def __init__(self, sample: Any) -> None:
        import torch

        self.sample = sample
        self.torch_inputs = [
            x
            for x in flat([sample.input, list(sample.args), list(sample.kwargs.values())])
            if isinstance(x, torch.Tensor) and x.requires_grad
        ]
        arguments = ours((sample.input, tuple(sample.args), dict(sample.kwargs)))
        self.arguments = arguments
        self.inputs = [
            x
            for x in flat([arguments[0], list(arguments[1]), list(arguments[2].values())])
            if isinstance(x, Tensor) and x.requires_grad
        ]

    def call(self, function: Any) -> Any:
        return function(self.arguments[0], *self.arguments[1], **self.arguments[2])

    def again(self, function: Any, *inputs: Any) -> Any:
        """The same call with other Tensors in the places of the differentiated ones."""
        places = {id(old): new for old, new in zip(self.inputs, inputs)}

        def swap(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)([swap(x) for x in value]) if not hasattr(value, "_fields") else value
            return places.get(id(value), value)

        first, rest, named = self.arguments
        return function(swap(first), *swap(rest), **{name: swap(value) for name, value in named.items()})


def derivatives(op: Any, function: Any) -> Iterator[tuple[str, str | None, Any]]:
    """First order in both modes, and the gradient of a gradient, in float64."""
    import torch

    if RANDOM.fullmatch(full_name(op)):
        return
    generator = np.random.default_rng(0)
    for sample in samples(op, "float64", True):
        try:
            traced = Traced(sample)
        except NotOurs:
            continue
        if not traced.torch_inputs or is_random(sample):
            continue
        out = op.op(sample.input, *sample.args, **sample.kwargs)
        theirs = [x for x in flat(out) if isinstance(x, torch.Tensor)]
        places = [i for i, x in enumerate(theirs) if x.requires_grad]
        if not places:
            continue
        us = [np.asarray(generator.standard_normal(tuple(theirs[i].shape))) for i in places]
        torch_us = [torch.tensor(u, requires_grad=True) for u in us]
        vs = [
            np.asarray(generator.standard_normal(tuple(x.shape))).astype(str(x.dtype).removeprefix("torch."))
            for x in traced.torch_inputs
        ]
        torch_vs = [torch.tensor(v) for v in vs]
        wants_double = op.supports_gradgrad
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gradients = torch.autograd.grad(
                [theirs[i] for i in places], traced.torch_inputs, torch_us, allow_unused=True, create_graph=wants_double
            )
            second = None
            if wants_double:
                total = sum((g * v).sum() for g, v in zip(gradients, torch_vs) if g is not None and g.requires_grad)
                if isinstance(total, torch.Tensor):
                    try:
                        second = torch.autograd.grad(total, [*traced.torch_inputs, *torch_us], allow_unused=True)
                    except RuntimeError as error:
                        if "is not implemented" not in str(error):
                            raise
        tg_us = [Tensor(u, requires_grad=True) for u in us]
        found, problem = attempt(first_order, traced, function, places, tg_us, wants_double)
        yield "vjp", problem or apart(found[0], gradients), sample
        slope = sum(float((g.detach() * v).sum()) for g, v in zip(gradients, torch_vs) if g is not None)
        yield "jvp", jvp_problem(traced, function, places, us, vs, slope), sample
        if second is not None:
            if problem:
                yield "double", problem, sample
                continue
            twice, problem = attempt(second_order, traced, found[0], tg_us, vs)
            yield "double", problem or apart(twice, second), sample


def first_order(traced: Traced, function: Any, places: list[int], us: list[Tensor], create_graph: bool) -> Any:
    outs = [x for x in flat(traced.call(function)) if isinstance(x, Tensor)]
    chosen = [outs[i] for i in places]
    return grad(chosen, traced.inputs, us, allow_unused=True, create_graph=create_graph), outs


def second_order(traced: Traced, gradients: Any, us: list[Tensor], vs: list[np.ndarray]) -> Any:
    parts = [(g * Tensor(v)).sum() for g, v in zip(gradients, vs) if g is not None and g.requires_grad]
    if not parts:
        return [None] * (len(traced.inputs) + len(us))
    return grad(sum(parts[1:], parts[0]), [*traced.inputs, *us], allow_unused=True)


def jvp_problem(
    traced: Traced, function: Any, places: list[int], us: list[np.ndarray], vs: list[np.ndarray], slope: float
) -> str | None:
    """<u, J v> of ours beside <J^T u, v> of PyTorch's."""

    def chosen(*inputs: Tensor) -> tuple[Tensor, ...]:
        outs = [x for x in flat(traced.again(function, *inputs)) if isinstance(x, Tensor)]
        return tuple(outs[i] for i in places)

    plain = tuple(Tensor(x.array) for x in traced.inputs)
    traced_plain, problem = attempt(jvp, chosen, plain, tuple(Tensor(v) for v in vs))
    if problem:
        return problem
    tangents = flat(traced_plain[1])
    found = sum(float((t.array * u).sum()) for t, u in zip(tangents, us))
    rtol = max([1e-6, *(10 * tg.finfo(t.dtype).eps for t in tangents)])  # what a cast to float16 leaves of it
    return far(np.array([found]), np.array([slope]), rtol)


def apart(found: Any, expected: Any) -> str | None:
    """Whether gradients differ; None counts as zero, as it does in use."""
    for place, (x, y) in enumerate(zip(found, expected)):
        if x is None and y is None:
            continue
        a = np.zeros(tuple(y.shape)) if x is None else x.array
        b = np.zeros(a.shape) if y is None else y.detach().numpy(force=True)
        if a.shape != b.shape:
            return f"gradient {place} of shape {a.shape}, not {b.shape}"
        problem = far(a, b, 1e-6 if a.dtype == np.float64 else 1e-4)
        if problem:
            return f"gradient {place}: {problem}"
    return None


def errors(op: Any, function: Any) -> Iterator[tuple[str, str | None, Any]]:
    """What PyTorch says it refuses, we refuse with the same kind of exception."""
    if op.error_inputs_func is None:
        return
    for case in op.error_inputs("cpu"):
        try:
            arguments = ours((case.sample_input.input, tuple(case.sample_input.args), dict(case.sample_input.kwargs)))
        except NotOurs:
            continue
        sample = case.sample_input
        if attempt(op.op, sample.input, *sample.args, **sample.kwargs)[1] is None:
            continue  # published as refused, but taken by this version
        kind = case.error_type if isinstance(case.error_type, tuple) else (case.error_type,)
        try:
            function(arguments[0], *arguments[1], **arguments[2])
        except kind:
            problem = None
        except Exception as error:
            problem = f"{type(error).__name__}, not {kind[0].__name__}: {' '.join(str(error).split())[:160]}"
        else:
            problem = f"not refused ({kind[0].__name__}: {case.error_regex[:100]})"
        yield "errors", problem, case.sample_input
