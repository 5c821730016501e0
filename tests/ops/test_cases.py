"""Every check on every row of the table of cases (tests/ops/cases.py).

With f the row's function, J(x) its Jacobian, v, w directions in x and u in f(x):

    values          f(x)            against the obvious NumPy formula, and PyTorch
    tangents        J(x) v          against central differences of f
    cotangents      J(x)^T u        against J(x) v:  <u, J v> = <J^T u, v>
    second order    of J(x) v  and  J(x)^T u, by forward and by reverse mode, against central differences of them
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import CASES, Case, all_primitives

from tensorgrad.autograd import grad, jvp, vjp
from tensorgrad.backend import backend_for, backend_of
from tensorgrad.primitive import observers
from tensorgrad.tensor import Tensor

Arrays = list[np.ndarray]

DIFFERENTIABLE = [case for case in CASES if all_primitives()[case.primitive].differentiable]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)


# The functions of a row, on plain arrays: everything goes through `run`, on any device.


def on(device: str, x: np.ndarray, dtype: Any = None) -> Any:
    """A NumPy array on the device, in its own layout."""
    return backend_for(device).from_host(x if dtype is None else x.astype(dtype, order="K"))


def host(x: Tensor) -> np.ndarray:
    return backend_of(x.array).to_host(x.array)


def listed(out: Any) -> list[Tensor]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


class Row:
    """A case on a device, in a dtype, with directions for every derivative."""

    def __init__(self, case: Case, device: str = "cpu", dtype: Any = None) -> None:
        self.case, self.device, self.dtype = case, device, dtype
        self.fixed = [None if i in case.floats else Tensor(on(device, x)) for i, x in enumerate(case.inputs)]
        random = np.random.default_rng(len(str(case)))
        self.xs = [case.inputs[i] for i in case.floats]
        self.vs, self.ws, self.ss = ([np.asarray(random.standard_normal(x.shape)) for x in self.xs] for _ in range(3))
        outs = [np.asarray(z) for z in listed(case.expected(*case.inputs))]
        self.us, self.ts = ([np.asarray(random.standard_normal(z.shape)) for z in outs] for _ in range(2))

    def f(self, *xs: Tensor) -> tuple[Tensor, ...]:
        """The row's function of its floating-point inputs, always with a tuple of results."""
        arguments = list(self.fixed)
        for i, x in zip(self.case.floats, xs):
            arguments[i] = x
        return tuple(listed(self.case.function(*arguments)))

    def inputs(self, arrays: Arrays, requires_grad: bool = False) -> list[Tensor]:
        return [Tensor(on(self.device, x, self.dtype), requires_grad) for x in arrays]

    def outputs(self, arrays: Arrays) -> list[Tensor]:
        """Arrays shaped like the results, as Tensors of their dtypes on their devices."""
        if not hasattr(self, "_outs"):
            self._outs = self.f(*self.inputs(self.xs))
        return [Tensor(backend_of(z.array).from_host(np.asarray(u, z.dtype))) for u, z in zip(arrays, self._outs)]

    # first order

    def values(self, xs: Arrays) -> list[Tensor]:
        return list(self.f(*self.inputs(xs)))

    def tangents(self, xs: Arrays, vs: Arrays) -> list[Tensor]:
        """J(x) v"""
        return list(jvp(self.f, tuple(self.inputs(xs)), tuple(self.inputs(vs)))[1])

    def cotangents(self, xs: Arrays, us: Arrays) -> list[Tensor]:
        """J(x)^T u, the rules running on bare arrays"""
        leaves = self.inputs(xs, True)
        return list(grad(self.f(*leaves), leaves, self.outputs(us), materialize_grads=True))

    # second order: along (w, s) in (x, v), and along (w, t) in (x, u)

    def forward_over_forward(self) -> list[Tensor]:
        def tangents(*both: Tensor) -> tuple[Tensor, ...]:
            count = len(self.xs)
            return jvp(self.f, both[:count], both[count:])[1]

        point, direction = self.inputs([*self.xs, *self.vs]), self.inputs([*self.ws, *self.ss])
        return list(jvp(tangents, tuple(point), tuple(direction))[1])

    def forward_over_reverse(self) -> list[Tensor]:
        count = len(self.xs)

        def cotangents(*both: Tensor) -> tuple[Tensor, ...]:
            return vjp(self.f, *both[:count])[1](*both[count:])

        point = [*self.inputs(self.xs), *self.outputs(self.us)]
        direction = [*self.inputs(self.ws), *self.outputs(self.ts)]
        return list(jvp(cotangents, tuple(point), tuple(direction))[1])

    def reverse_over_forward(self) -> list[Tensor]:
        """The cotangents of x and v where J(x) v has the cotangent u."""
        xs, vs = self.inputs(self.xs, True), self.inputs(self.vs, True)
        tangents = jvp(self.f, tuple(xs), tuple(vs))[1]
        return self._pulled(tangents, [*xs, *vs], self.outputs(self.us))

    def reverse_over_reverse(self) -> list[Tensor]:
        """The cotangents of x and u where J(x)^T u has the cotangent w."""
        xs = self.inputs(self.xs, True)
        us = [u.requires_grad_() for u in self.outputs(self.us)]
        cotangents = grad(self.f(*xs), xs, us, create_graph=True, materialize_grads=True)
        return self._pulled(cotangents, [*xs, *us], self.inputs(self.ws))

    @staticmethod
    def _pulled(outs: Any, inputs: list[Tensor], cotangents: list[Tensor]) -> list[Tensor]:
        pairs = [(z, dz) for z, dz in zip(outs, cotangents) if z.requires_grad]
        if not pairs:
            return [Tensor(backend_of(x.array).zeros_like(x.array)) for x in inputs]
        return list(grad([z for z, _ in pairs], inputs, [dz for _, dz in pairs], materialize_grads=True))


def inner(left: list[Any], right: Arrays) -> float:
    """The sum of all products."""
    return float(sum((np.asarray(host(a) if isinstance(a, Tensor) else a) * b).sum() for a, b in zip(left, right)))


def differences(f: Any, points: list[Arrays], directions: list[Arrays], step: float) -> Arrays:
    """Of f(*points), along directions."""
    ahead = f(*([x + step * v for x, v in zip(xs, vs)] for xs, vs in zip(points, directions)))
    behind = f(*([x - step * v for x, v in zip(xs, vs)] for xs, vs in zip(points, directions)))
    return [(host(a).astype(float) - host(b)) / (2 * step) for a, b in zip(ahead, behind)]


def assert_close(got: list[Any], expected: list[Any], rtol: float, what: str) -> None:
    assert len(got) == len(expected), what
    for position, (a, b) in enumerate(zip(got, expected)):
        a, b = (np.asarray(host(x) if isinstance(x, Tensor) else x) for x in (a, b))
        assert a.shape == b.shape, f"{what} {position}"
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=f"{what} {position}")


# the table itself


def test_every_primitive_has_a_row():
    missing = set(all_primitives()) - {case.primitive for case in CASES}
    assert not missing, f"add rows to tests/ops/cases.py for {sorted(missing)}"


def test_every_row_names_a_primitive():
    unknown = {case.primitive for case in CASES} - set(all_primitives())
    assert not unknown


def test_names_of_rows_are_their_own():
    names = [str(case) for case in CASES]
    assert len(names) == len(set(names))


@every_case
def test_row_applies_its_primitive(case: Case):
    seen: set[str] = set()

    def observe(primitive: Any, inputs: Any, outputs: Any) -> None:
        seen.add(type(primitive).__name__)

    observers.append(observe)
    try:
        row = Row(case)
        row.f(*row.inputs(row.xs, True))
    finally:
        observers.remove(observe)
    assert case.primitive in seen


# values


@every_case
def test_values(case: Case, device: str):
    row = Row(case, device)
    outs = row.values(row.xs)
    expected = listed(case.expected(*case.inputs))
    assert_close(outs, expected, case.rtol, "output")
    for z in outs:
        kind = (
            "standin"
            if device == "standin" and case.primitive != "ToDevice"
            else "cpu"
            if device != "cuda"
            else z.device.type
        )
        assert z.device.type == kind
        assert type(z.array) is backend_for(z.device).array_type


@every_case
def test_inputs_are_left_alone(case: Case):
    row = Row(case)
    before = [x.tobytes() for x in case.inputs]
    row.values(row.xs)
    if case in DIFFERENTIABLE:
        row.tangents(row.xs, row.vs)
        row.cotangents(row.xs, row.us)
        row.reverse_over_reverse()
    assert [x.tobytes() for x in case.inputs] == before


@pytest.mark.parametrize("case", [case for case in CASES if case not in DIFFERENTIABLE], ids=str)
def test_what_has_no_derivative_is_not_recorded(case: Case):
    row = Row(case)
    for z in row.f(*row.inputs(row.xs, True)):
        assert not z.requires_grad and z.is_leaf


# first order


@every_differentiable
def test_tangents_against_differences(case: Case):
    row = Row(case)
    expected = differences(row.values, [row.xs], [row.vs], case.step)
    assert_close(row.tangents(row.xs, row.vs), expected, max(case.rtol, 1e-6), "tangent of output")


@every_differentiable
def test_cotangents_against_tangents(case: Case):
    row = Row(case)
    cotangents = row.cotangents(row.xs, row.us)
    assert [g.shape for g in cotangents] == [x.shape for x in row.xs]
    for position in range(len(row.xs)):  # one input at a time: the others have no tangent and need no gradient
        leaves = row.inputs(row.xs)
        leaves[position].requires_grad = True

        def of_one(x: Tensor, position: int = position, leaves: list[Tensor] = leaves) -> Any:
            return row.f(*leaves[:position], x, *leaves[position + 1 :])

        x, v = leaves[position], row.inputs(row.vs)[position]
        tangents = jvp(of_one, (x,), (v,))[1]
        (alone,) = grad(of_one(x), x, row.outputs(row.us), materialize_grads=True)
        assert_close([alone], [cotangents[position]], max(case.rtol, 1e-12), "cotangent of input alone")
        expected = inner(list(tangents), row.us)
        assert inner([alone], [row.vs[position]]) == pytest.approx(expected, rel=case.rtol, abs=case.rtol)


@every_differentiable
def test_derivatives_on_the_device(case: Case, device: str):
    """The same numbers as NumPy's, first and second order."""
    here, there = Row(case), Row(case, device)
    rtol = max(1e-9, case.rtol / 10) if device != "cuda" else 1e-6
    assert_close(there.tangents(there.xs, there.vs), here.tangents(here.xs, here.vs), rtol, "tangent")
    assert_close(there.cotangents(there.xs, there.us), here.cotangents(here.xs, here.us), rtol, "cotangent")
    for order in ("forward_over_forward", "forward_over_reverse", "reverse_over_forward", "reverse_over_reverse"):
        found = getattr(there, order)()
        assert_close(found, getattr(here, order)(), rtol, order)


@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.keeps_dtype], ids=str)
def test_float32_stays_float32(case: Case):
    wide, narrow = Row(case), Row(case, dtype=np.float32)
    for name, arguments in [
        ("values", (wide.xs,)),
        ("tangents", (wide.xs, wide.vs)),
        ("cotangents", (wide.xs, wide.us)),
        ("forward_over_forward", ()),
        ("forward_over_reverse", ()),
        ("reverse_over_forward", ()),
        ("reverse_over_reverse", ()),
    ]:
        found = getattr(narrow, name)(*arguments)
        assert [z.dtype for z in found] == [np.float32] * len(found), name
        assert_close(found, getattr(wide, name)(*arguments), case.rows32, name)


# what bfloat16 is not there for, and what is ill-conditioned far out
NOT_IN_BFLOAT16 = ("TakeAlongAxis-quantile", "ToDevice", "Logcumsumexp-far", "Erfcx-far", "Hypot-ones")


@pytest.mark.parametrize(
    "case",
    [case for case in DIFFERENTIABLE if case.keeps_dtype and not str(case).startswith(NOT_IN_BFLOAT16)],
    ids=str,
)
def test_bfloat16_is_float64_rounded(case: Case):
    """Of inputs that bfloat16 holds: the values and both derivatives to some of its eight bits, and in it."""
    kind: Any = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    wide, narrow = Row(case), Row(case, dtype=kind)
    for row in (wide, narrow):
        row.xs, row.vs, row.us = (
            [x.astype(kind).astype(np.float64) for x in some] for some in (row.xs, row.vs, row.us)
        )
    for name, arguments in [
        ("values", (wide.xs,)),
        ("tangents", (wide.xs, wide.vs)),
        ("cotangents", (wide.xs, wide.us)),
    ]:
        for z, expected in zip(getattr(narrow, name)(*arguments), getattr(wide, name)(*arguments), strict=True):
            assert z.dtype == kind, name
            true = expected.detach().numpy()
            finite = np.isfinite(true)
            room = 0.06 * (np.abs(true[finite]).max(initial=0) + 1e-3)
            np.testing.assert_allclose(
                z.detach().float().numpy()[finite], true[finite], rtol=0, atol=room, err_msg=name
            )


@every_differentiable
def test_gradients_have_memory_of_their_own(case: Case):
    row = Row(case)
    leaves, us = row.inputs(row.xs, True), row.outputs(row.us)
    outs = row.f(*leaves)
    before = [z.array.tobytes() for z in (*leaves, *outs, *us)]
    for _ in range(2):
        for z, u in zip(outs, us):
            z.backward(u, retain_graph=True)
    kept = [*(x.array for x in leaves), *(z.array for z in outs), *(u.array for u in us)]
    gradients = [x.grad.array for x in leaves if x.grad is not None]
    assert len(gradients) == len(leaves)
    for position, g in enumerate(gradients):
        for other in (*kept, *gradients[position + 1 :]):
            assert not np.may_share_memory(g, other)
    # the second backward added the same once more, and neither changed what it was given or what was saved
    once = row.cotangents(row.xs, row.us)
    assert_close(gradients, [2 * host(g) for g in once], max(1e-12, case.rtol), "gradient")
    assert [z.array.tobytes() for z in (*leaves, *outs, *us)] == before


# second order


def _second_order_of_tangents(row: Row) -> Arrays:
    return differences(row.tangents, [row.xs, row.vs], [row.ws, row.ss], row.case.step if row.case.step > 0.1 else 1e-5)


def _second_order_of_cotangents(row: Row) -> Arrays:
    return differences(
        row.cotangents, [row.xs, row.us], [row.ws, row.ts], row.case.step if row.case.step > 0.1 else 1e-5
    )


@every_differentiable
def test_second_order_of_tangents(case: Case):
    row = Row(case)
    numeric = _second_order_of_tangents(row)
    rtol = max(case.rtol, 1e-6)
    assert_close(row.forward_over_forward(), numeric, rtol, "forward over forward")
    pulled = row.reverse_over_forward()
    assert [g.shape for g in pulled] == [x.shape for x in (*row.xs, *row.vs)]
    assert inner(pulled, [*row.ws, *row.ss]) == pytest.approx(inner(numeric, row.us), rel=10 * rtol, abs=10 * rtol)


@every_differentiable
def test_second_order_of_cotangents(case: Case):
    row = Row(case)
    numeric = _second_order_of_cotangents(row)
    rtol = max(case.rtol, 1e-6)
    assert_close(row.forward_over_reverse(), numeric, rtol, "forward over reverse")
    pulled = row.reverse_over_reverse()
    assert [g.shape for g in pulled] == [x.shape for x in (*row.xs, *row.us)]
    # <w, d/dh J(x + h w)^T (u + h t)>, and the second way round along (w, t)
    assert inner(pulled, [*row.ws, *row.ts]) == pytest.approx(inner(numeric, row.ws), rel=10 * rtol, abs=10 * rtol)


@every_differentiable
def test_rules_on_tensors_give_what_rules_on_arrays_give(case: Case):
    """A fused kernel, and the composed rule beside it that can itself be differentiated."""
    row = Row(case)
    leaves = row.inputs(row.xs, True)
    recorded = grad(row.f(*leaves), leaves, row.outputs(row.us), create_graph=True, materialize_grads=True)
    assert_close(list(recorded), row.cotangents(row.xs, row.us), max(case.rtol / 10, 1e-10), "cotangent")
    xs = row.inputs(row.xs, True)
    recorded_tangents = jvp(row.f, tuple(xs), tuple(row.inputs(row.vs)))[1]
    assert_close(list(recorded_tangents), row.tangents(row.xs, row.vs), max(case.rtol / 10, 1e-10), "tangent")


# against PyTorch


@pytest.mark.oracle
@pytest.mark.parametrize("case", [case for case in DIFFERENTIABLE if case.oracle is not None], ids=str)
def test_against_pytorch(case: Case):
    torch = pytest.importorskip("torch")
    row = Row(case)
    theirs = [torch.tensor(x) for x in case.inputs]
    leaves = [theirs[i].requires_grad_() for i in case.floats]
    assert case.oracle is not None
    out = case.oracle(torch, *theirs)
    assert_close(row.values(row.xs), [out.detach().numpy()], 1e-10 if case.rtol < 1e-5 else case.rtol, "output")
    u = torch.tensor(row.us[0], dtype=out.dtype, requires_grad=True)
    first = torch.autograd.grad(out, leaves, u, create_graph=True, materialize_grads=True)
    assert_close(row.cotangents(row.xs, row.us), [g.detach().numpy() for g in first], 1e-10, "cotangent")
    pairs = [(g, torch.tensor(w)) for g, w in zip(first, row.ws) if g.requires_grad]
    second = torch.autograd.grad(
        [g for g, _ in pairs], [*leaves, u], [w for _, w in pairs], allow_unused=True, materialize_grads=True
    )
    assert_close(row.reverse_over_reverse(), [g.detach().numpy(force=True) for g in second], 1e-9, "second order")
