"""The arguments of gradcheck and gradgradcheck: modes, orders, steps, tolerances, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import Function, gradcheck, gradgradcheck
from tensorgrad.gradcheck import GradcheckError, GradcheckUsageError, examine
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor


def double(*shape, seed=0, device="cpu"):
    values = np.random.default_rng(seed).uniform(0.3, 1.5, shape)
    return tg.tensor(values, dtype=tg.float64, device=device, requires_grad=True)


def made(name, vjp, jvp):
    """x^3 with these rules, as a primitive."""
    members = {
        "__doc__": "z = x^3        dz = 3 x^2 dx",
        "__slots__": (),
        "forward": lambda self, x: x * x * x,
        "vjp": vjp,
        "jvp": jvp,
    }
    return type(name, (Primitive,), members)


Right = made("RightCubeOfTest", lambda self, dz, x: 3 * x * x * dz, lambda self, dx, x: 3 * x * x * dx)
WrongForward = made("WrongForwardCubeOfTest", lambda self, dz, x: 3 * x * x * dz, lambda self, dx, x: 2 * x * x * dx)
WrongReverse = made("WrongReverseCubeOfTest", lambda self, dz, x: 2 * x * x * dz, lambda self, dx, x: 3 * x * x * dx)


class WithoutJvp(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dz


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("settings", "finds"),
    [
        ({}, {WrongForward, WrongReverse}),
        ({"mode": "both"}, {WrongForward, WrongReverse}),
        ({"mode": "vjp"}, {WrongReverse}),
        ({"mode": "jvp"}, {WrongForward}),
        ({"check_forward_ad": False}, {WrongReverse}),
        ({"check_forward_ad": True, "check_backward_ad": False}, {WrongForward}),
    ],
)
def test_modes(settings, finds, fast):
    x = double(4)
    for kind in (Right, WrongForward, WrongReverse):
        assert gradcheck(kind, x, raise_exception=False, fast_mode=fast, **settings) is (kind not in finds)


@pytest.mark.parametrize("form", [Right, Right(), lambda x: Right()(x)])
def test_a_primitive_is_given_as_class_instance_or_function(form):
    assert gradcheck(form, double(2, 3), order=2)


def test_a_function_of_ones_own_is_given_as_class_or_apply():
    for form in (WithoutJvp, WithoutJvp.apply):
        report = examine(form, double(3), order=2)
        assert report.ok and report.name == "WithoutJvp"
        assert any("forward mode was not checked" in note for note in report.notes)
    assert not gradcheck(WithoutJvp, double(3), check_forward_ad=True, raise_exception=False)
    assert not gradcheck(WithoutJvp, double(3), mode="jvp", raise_exception=False)


@pytest.mark.parametrize("step", ["auto", "central", "richardson", "complex"])
def test_steps(step):
    x, w = double(3), double(3, 2, seed=1)
    assert gradcheck(lambda x, w: (x.exp() @ w).sin(), (x, w), step=step)
    assert not gradcheck(lambda x, w: (x.exp() @ w.detach()).sin() * w.sum(), (x, w), step=step, raise_exception=False)


def test_steps_differ_in_what_they_can_do():
    far = tg.tensor([1e8], dtype=tg.float64, requires_grad=True)
    assert gradcheck(lambda x: x.sin(), far) and gradcheck(lambda x: x.sin(), far, step="richardson")
    assert not gradcheck(lambda x: x.sin(), far, step="central", raise_exception=False)
    # a complex step rounds nothing away: sixteen digits where central differences have ten
    x, exact = double(5), {"rtol": 1e-14, "atol": 1e-14}
    assert gradcheck(lambda x: x.exp() * x.cos(), x, step="complex", **exact)
    report = examine(lambda x: x.exp() * x.cos(), x, step="complex")
    assert report.worst_of(1, "vjp") < 1e-15 < 1e-12 < examine(lambda x: x.exp() * x.cos(), x).worst_of(1, "vjp")


@pytest.mark.parametrize("function", [lambda x: x.abs(), lambda x: x.float().double()])
def test_a_complex_step_is_refused_where_it_would_mislead(function):
    with pytest.raises(GradcheckUsageError, match="step='complex'"):
        gradcheck(function, tg.tensor([-1.0, 2.0], dtype=tg.float64, requires_grad=True), step="complex")


def test_orders():
    class Third(Primitive):
        """z = x^4        dz = 4 x^3 dx, the third derivative wrong"""

        __slots__ = ()

        def forward(self, x):
            return x**4

        def rule(self, d, x):
            y = x.detach() if isinstance(x, Tensor) else x
            return d * (4 * y * y * y + 12 * y * y * (x - y))

        def jvp(self, dx, x):
            return self.rule(dx, x)

        def vjp(self, dz, x):
            return self.rule(dz, x)

    x = double(2)
    assert gradcheck(Third, x) and gradgradcheck(Third, x)
    report = examine(Third, x, order=3)
    assert not report.ok and {entry.order for entry in report.wrong} == {3}
    assert gradcheck(lambda x: x**4, x, order=3)


def test_gradgradcheck():
    x, w = double(3), double(3, 2, seed=1)
    u = double(2, seed=2)
    assert gradgradcheck(lambda x, w: (x @ w).tanh(), (x, w))
    assert gradgradcheck(lambda x, w: (x @ w).tanh(), (x, w), u, gen_non_contig_grad_outputs=True, fast_mode=True)
    assert gradgradcheck(lambda x: x.sum(), x) and gradgradcheck(WithoutJvp, x)
    cut = made(
        "CutCubeOfTest",
        lambda self, dz, x: 3 * dz * (x.detach() * x.detach() if isinstance(x, Tensor) else x * x),
        lambda self, dx, x: 3 * x * x * dx,
    )
    assert gradcheck(cut, x)
    with pytest.raises(GradcheckError, match="of order 2"):
        gradgradcheck(cut, x)
    with pytest.raises(GradcheckUsageError, match="got 2 grad_outputs for 1 outputs"):
        gradgradcheck(lambda x: x.exp(), x, [x, x])


def test_nondeterminism_may_be_allowed():
    noise = np.random.default_rng(0)

    def noisy(x):
        return x * x + 1e-12 * float(noise.standard_normal())

    with pytest.raises(GradcheckError, match=r"two calls on the same inputs differ.*nondet_tol"):
        gradcheck(noisy, double(3))
    assert gradcheck(noisy, double(3), nondet_tol=1e-9)


def test_random_numbers_of_the_library_are_the_same_in_every_call():
    state = tg.get_rng_state()
    assert gradcheck(lambda x: x * tg.rand(4, dtype=tg.float64), double(4))
    assert str(tg.get_rng_state()) == str(state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "forward"}, "mode='forward'; it must be one of vjp, jvp, both"),
        ({"order": 0}, "order=0"),
        ({"directions": 0}, "directions=0"),
        ({"step": "small"}, "step='small'; it must be one of auto, central, richardson, complex"),
        ({"check_forward_ad": False, "check_backward_ad": False}, "nothing to check"),
        ({"check_batched_grad": True}, "check_batched_grad"),
        ({"masked": True}, "sparse"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(lambda x: x, double(2), **settings)


@pytest.mark.parametrize("raise_exception", [True, False])
def test_what_cannot_be_checked_is_an_error_in_any_case(raise_exception):
    for function, x, message in [
        (lambda x: x, tg.ones(2, dtype=tg.float64), "no input requires grad"),
        (lambda x: x, tg.ones(2, requires_grad=True), r"dtype float32; differences need float64 .*\.double\(\)"),
        (lambda x: 3.0, double(2), "returned a float as output 0"),
        (lambda x: x > 1, double(2), "no floating-point Tensor"),
        ("function", double(2), "func is a str"),
    ]:
        with pytest.raises(ValueError, match=message):
            gradcheck(function, x, raise_exception=raise_exception)


def test_on_every_device(device):
    x, w = double(3, 4, device=device), double(4, 2, seed=1, device=device)
    for fast in (False, True):
        assert gradcheck(lambda x, w: (x @ w).sigmoid(), (x, w), fast_mode=fast, order=2)
        assert not gradcheck(
            lambda x, w: (x @ w.detach()).sigmoid() * w.sum(), (x, w), fast_mode=fast, raise_exception=False
        )
    at_kink = tg.tensor([0.0, 1.0], dtype=tg.float64, device=device, requires_grad=True)
    assert [kink.kind for kink in examine(lambda x: x.relu(), at_kink).kinks] == ["kink"]
