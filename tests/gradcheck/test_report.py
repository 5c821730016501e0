"""What a report says: the worst entries, kinks with their slopes, findings and notes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.gradcheck import GradcheckError, examine, gradcheck
from tensorgrad.primitive import Primitive


def double(*values):
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


class OneWrong(Primitive):
    """z = x^2        dz = 2 x dx, but one number of the gradient is 10 percent off"""

    __slots__ = ()

    def forward(self, x):
        return x * x

    def jvp(self, dx, x):
        return 2 * x * dx

    def vjp(self, dz, x):
        factor = np.ones(x.shape)
        factor[2] = 1.1
        return 2 * x * dz * (tg.tensor(factor) if isinstance(x, tg.Tensor) else factor)


def test_the_worst_entry_is_named():
    report = examine(lambda x: OneWrong()(x), double(1.0, 2.0, 3.0, 4.0))
    assert report.wrong_count == 2  # the vjp against differences, and against the jvp
    entry = report.wrong[0]
    assert (entry.order, entry.rule, entry.input, entry.index) == (1, "vjp", "input 0", (2,))
    assert (entry.output, entry.output_index) == (0, (2,))
    assert (entry.analytic, entry.numeric) == (pytest.approx(6.6), pytest.approx(6.0))
    assert entry.relative_error == pytest.approx(0.6 / 6.6)
    text = str(report)
    assert "input 0[2]" in text and "6.6" in text and "9.1e-02" in text and "seed=0" in text


def test_the_error_carries_the_report():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: OneWrong()(x), double(1.0, 2.0, 3.0))
    assert caught.value.report.wrong[0].index == (2,) and isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("function", "values", "kind", "left", "right", "says"),
    [
        (lambda x: x.relu(), (0.0, 1.0), "kink", 0, 1, 0),
        (lambda x: x.abs(), (0.0, -3.0), "kink", -1, 1, 0),
        (lambda x: tg.maximum(x, tg.ones_like(x)), (1.0, 2.0), "kink", 0, 1, 0.5),
        (lambda x: tg.clamp(x, -1.0, 1.0), (-1.0, 0.2), "kink", 0, 1, 1),
        (lambda x: 0 * x + tg.sign(x), (0.0, 2.0), "jump", math.inf, math.inf, 0),
        (lambda x: x * x * x.sign() + 3 * x.relu(), (0.0, 2.0), "kink", 0, 3, 0),
        (lambda x: x**1.5, (0.0, 2.0), "edge", math.nan, 0, 0),
    ],
)
def test_kinks_are_reported_with_both_slopes(function, values, kind, left, right, says, fast):
    report = examine(function, double(*values), fast_mode=fast)
    if kind == "jump":  # both slopes are infinite and 0 is not between them: the derivative of a jump is not 0
        assert not report.ok
    else:
        assert report.ok, str(report)
    kink = report.kinks[0]
    assert (kink.kind, kink.index, kink.output_index) == (kind, (0,), (0,))
    assert (kink.left, kink.right) == (pytest.approx(left, abs=1e-4, nan_ok=True), pytest.approx(right, abs=1e-4))
    assert kink.analytic == says
    assert "not differentiable here" in str(report)


def test_a_rule_outside_of_the_slopes_fails():
    class Abs2(Primitive):
        """z = |x|        dz = sign(x) dx, but 2 dx at 0"""

        __slots__ = ()

        def forward(self, x):
            return abs(x)

        def jvp(self, dx, x):
            return dx * (np.sign(x) + 2.0 * (x == 0))

        def vjp(self, dz, x):
            return dz * ((x > 0) * 1.0 - (x < 0) * 1.0 + 2.0 * (x == 0))

    with pytest.raises(
        GradcheckError, match="not differentiable here, and the rule's 2 lies outside of the one-sided slopes"
    ):
        gradcheck(lambda x: Abs2()(x), double(0.0, 1.0), mode="vjp")


def test_a_kink_nearby_is_told_and_no_failure():
    report = examine(lambda x: x.relu(), double(3e-8, 1.0))
    assert report.ok and [(kink.kind, kink.index) for kink in report.kinks] == [("near", (0,))]
    assert not examine(lambda x: x.relu(), double(1e-3, 1.0)).kinks


@pytest.mark.parametrize("fast", [False, True])
def test_outputs_that_do_not_depend_are_noted(fast):
    report = examine(lambda x, y: x.exp() + 0 * y, (double(1.0, 2.0), double(3.0, 4.0)), fast_mode=fast)
    assert report.ok and any("not depend on input 1" in note for note in report.notes)


def test_findings_name_what_is_wrong_before_numbers_do():
    x, y = double(1.0, 2.0), double(3.0, 4.0)
    assert examine(lambda x, y: x.detach() * y, (x, y)).findings[0].kind == "no gradient"
    assert examine(lambda x, y: x.detach() * y, (x, y), fast_mode=True).findings[0].kind == "no gradient"

    def writes(x):
        x.array[0] += 1
        return x * x

    before = x.tolist()
    assert examine(writes, x).findings[0].kind == "in place"
    assert x.tolist()[1:] == before[1:]


def test_a_function_without_a_value_here():
    report = examine(lambda x: x.log(), double(-1.0, 1.0))
    assert not report.ok and report.findings[0].kind == "not finite"


def test_inputs_are_left_alone():
    x = double(1.0, 2.0)
    examine(lambda x: x * x, x, order=2)
    assert x.tolist() == [1.0, 2.0] and x.grad is None and x.requires_grad
