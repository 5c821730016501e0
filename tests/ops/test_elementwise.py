"""Elementwise operations beside the table of cases: in-place forms, whole numbers, numbers as operands, refusals."""

from __future__ import annotations

import inspect
import math
import operator
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import grad
from tensorgrad.ops.inplace_forms import ALONE, BOTH, IN_PLACE
from tensorgrad.tensor import Tensor

# in-place forms: each is the operation, into its own memory

WHOLE = {
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_not",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "gcd",
    "lcm",
}
ARGUMENTS: dict[str, Any] = {
    "clamp": lambda y: (0.4, 0.7),
    "clip": lambda y: (y - 0.5, y + 0.1),
    "clamp_min": lambda y: (0.5,),
    "clamp_max": lambda y: (y - 0.2,),
    "lerp": lambda y: (y, 0.3),
    "addcmul": lambda y: (y, y),
    "addcdiv": lambda y: (y, y),
    "pow": lambda y: (2.5,),
    "float_power": lambda y: (2,),
}


def operands(name: str, device: str) -> tuple[Tensor, tuple[Any, ...]]:
    if name in WHOLE:
        x, y = tg.tensor([12, 7, 5], device=device), tg.tensor([2, 3, 1], device=device)
    else:
        kind = {"dtype": tg.float64, "device": device}
        x, y = tg.tensor([0.3, 0.6, 0.9], **kind), tg.tensor([0.7, 0.5, 0.8], **kind)
    if name in ARGUMENTS:
        return x, ARGUMENTS[name](y)
    takes_two = inspect.unwrap(BOTH[name]).__code__.co_argcount > 1 and name not in ("logit", "nan_to_num")
    return x, (y,) if takes_two else ()


@pytest.mark.parametrize("name", BOTH)
def test_in_place_forms(name: str, device: str):
    x, arguments = operands(name, device)
    expected = getattr(x, name)(*arguments)
    z = x.clone()
    pointer = z.data_ptr()
    assert getattr(z, f"{name}_")(*arguments) is z
    assert z.data_ptr() == pointer and z._version == 1 and z.dtype == x.dtype
    np.testing.assert_array_equal(z.tolist(), expected.to(x.dtype).tolist())
    assert IN_PLACE[f"{name}_"].__name__ == f"{name}_"
    if name in WHOLE or not expected.is_floating_point():
        return
    leaf = x.clone().requires_grad_()
    u = tg.tensor([1.0, -2.0, 0.5], dtype=tg.float64, device=device)
    if not getattr(leaf, name)(*arguments).requires_grad:
        return
    (slope,) = grad(getattr(leaf, name)(*arguments), leaf, u)
    changed = leaf * 1
    getattr(changed, f"{name}_")(*arguments)
    np.testing.assert_allclose(grad(changed, leaf, u)[0].tolist(), slope.tolist())


def test_every_method_is_a_function_of_its_own_name():
    for name, function in {**BOTH, **ALONE}.items():
        if name != "where":
            assert getattr(tg, name) is function, name
    assert not set(BOTH) & set(ALONE)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tg.tensor([1]).add_(0.5),
        lambda: tg.tensor([1]).div_(2),
        lambda: tg.tensor([1]).exp_(),
        lambda: tg.tensor([True]).add_(1),
        lambda: tg.ones(2).add_(tg.ones(2, 2)),
        lambda: tg.ones(1).expand(2).exp_(),
    ],
)
def test_in_place_refusals(wrong):
    with pytest.raises(RuntimeError):
        wrong()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: x.add_(2), [9, -5]),
        (lambda x: x.floor_divide_(2), [3, -4]),
        (lambda x: x.remainder_(4), [3, 1]),
        (lambda x: x.eq_(7), [1, 0]),
        (lambda x: x.bitwise_and_(5), [5, 1]),
    ],
)
def test_in_place_on_whole_numbers(make, expected, device):
    x = tg.tensor([7, -7], device=device, dtype=tg.int32)
    assert make(x).tolist() == expected and x.dtype == tg.int32


# operators

OPERATORS = [
    (operator.floordiv, [7, -7, 5], [2, 2, -3]),
    (operator.mod, [7, -7, 5], [2, 2, -3]),
    (operator.and_, [12, 5, 0], [10, 1, 3]),
    (operator.or_, [12, 5, 0], [10, 1, 3]),
    (operator.xor, [12, 5, 0], [10, 1, 3]),
    (operator.lshift, [1, 2, 3], [0, 3, 1]),
    (operator.rshift, [8, -8, 3], [0, 2, 1]),
]


@pytest.mark.parametrize(("operate", "left", "right"), OPERATORS, ids=lambda v: getattr(v, "__name__", None))
def test_operators_of_whole_numbers(operate, left, right, device):
    x, y = tg.tensor(left, device=device), tg.tensor(right, device=device)
    expected = [operate(a, b) for a, b in zip(left, right)]
    assert operate(x, y).tolist() == expected
    assert operate(x, right[0]).tolist() == [operate(a, right[0]) for a in left]
    assert operate(left[0], y).tolist() == [operate(left[0], b) for b in right]
    in_place = getattr(operator, f"i{operate.__name__.strip('_')}")
    z = x.clone()
    before = z
    z = in_place(z, y)
    assert z is before and z.tolist() == expected
    assert (+x) is x and (~x).tolist() == [~a for a in left]


def test_operators_of_truths(device):
    x, y = tg.tensor([True, True, False], device=device), tg.tensor([True, False, False], device=device)
    assert (x & y).tolist() == [True, False, False] and (x | y).tolist() == [True, True, False]
    assert (x ^ y).tolist() == [False, True, False] and (~x).tolist() == [False, False, True]
    assert (True & x).tolist() == x.tolist() and (x | True).dtype == tg.bool


# whole numbers and Booleans


def test_real_functions_take_whole_numbers(device):
    x = tg.tensor([1, 4], device=device)
    for function in (tg.sqrt, tg.exp, tg.log2, tg.erf, tg.atan, tg.reciprocal, tg.sigmoid, tg.deg2rad, tg.rsqrt):
        z = function(x)
        assert z.dtype == tg.float32
        np.testing.assert_allclose(z.tolist(), function(x.float()).tolist())
    for function in (tg.floor, tg.ceil, tg.trunc, tg.round, tg.abs, tg.sign, tg.neg, tg.square, tg.nan_to_num):
        assert function(x).dtype == tg.int64
    assert tg.sqrt(tg.tensor([True], device=device)).dtype == tg.float32


def test_division_of_whole_numbers(device):
    x, y = tg.tensor([7, -7, 7, -7], device=device), tg.tensor([2, 2, -2, -2], device=device)
    assert tg.div(x, y, rounding_mode="floor").tolist() == [3, -4, -4, 3]
    assert tg.div(x, y, rounding_mode="trunc").tolist() == [3, -3, -3, 3]
    assert tg.fmod(x, y).tolist() == [1, -1, 1, -1] and tg.remainder(x, y).tolist() == [1, 1, -1, -1]
    assert (x / y).tolist() == [3.5, -3.5, -3.5, 3.5] and tg.divide(x, 2, rounding_mode="floor").dtype == tg.int64
    assert tg.div(tg.tensor([7.0, -7.0]), 2, rounding_mode="trunc").tolist() == [3, -3]


def test_powers_of_whole_numbers(device):
    x = tg.tensor([2, -1, 1, -1], device=device)
    assert (x ** tg.tensor([-1, -1, -2, -2], device=device)).tolist() == [0, -1, 1, 1]
    assert (x**3).tolist() == [8, -1, 1, -1] and (2**x).dtype == tg.int64 and (x**0.5).dtype == tg.float32
    assert (tg.tensor([True, False]) ** True).dtype == tg.bool


@pytest.mark.parametrize("divide", [operator.floordiv, operator.mod, tg.fmod])
def test_whole_numbers_are_not_divided_by_zero(divide):
    with pytest.raises(RuntimeError, match="whole number is divided by 0"):
        divide(tg.tensor([1]), 0)
    assert not math.isfinite(divide(tg.tensor([1.0]), 0.0).item())


@pytest.mark.parametrize(
    ("wrong", "kind", "match"),
    [
        (lambda x, b, w: b - b, RuntimeError, "dtype bool"),
        (lambda x, b, w: -b, RuntimeError, "dtype bool"),
        (lambda x, b, w: +b, RuntimeError, "dtype bool"),
        (lambda x, b, w: abs(b), RuntimeError, "dtype bool"),
        (lambda x, b, w: tg.relu(b), RuntimeError, "dtype bool"),
        (lambda x, b, w: tg.floor(b), RuntimeError, "dtype bool"),
        (lambda x, b, w: b << b, RuntimeError, "takes whole numbers"),
        (lambda x, b, w: x & 1, RuntimeError, "dtype float32"),
        (lambda x, b, w: ~x, RuntimeError, "dtype float32"),
        (lambda x, b, w: tg.gcd(x, x), RuntimeError, "dtype float32"),
        (lambda x, b, w: w**-1, RuntimeError, r"x\.float\(\)"),
        (lambda x, b, w: tg.round(w, decimals=1), RuntimeError, "decimals=1"),
        (lambda x, b, w: tg.frac(w), RuntimeError, "no decimals"),
        (lambda x, b, w: tg.addcdiv(w, w, w), RuntimeError, "whole numbers"),
        (lambda x, b, w: tg.add(w, w, alpha=0.5), RuntimeError, "alpha"),
        (lambda x, b, w: tg.lerp(w, w, 0.5), RuntimeError, "one floating-point dtype"),
        (lambda x, b, w: tg.lerp(x, x.double(), 0.5), RuntimeError, "float64"),
        (lambda x, b, w: tg.heaviside(x, x.double()), RuntimeError, "float64"),
        (lambda x, b, w: tg.isclose(x, w), RuntimeError, "int64"),
        (lambda x, b, w: tg.isclose(x, x, rtol=-1), RuntimeError, "rtol=-1"),
        (lambda x, b, w: tg.where(x, x, x), RuntimeError, "must be bool"),
        (lambda x, b, w: tg.maximum(x, 1.0), TypeError, "number 1.0"),
        (lambda x, b, w: tg.atan2(1.0, x), TypeError, "number 1.0"),
        (lambda x, b, w: tg.eq(1.0, x), TypeError, "number 1.0"),
        (lambda x, b, w: tg.exp(1.0), TypeError, "got a float"),
        (lambda x, b, w: tg.clamp(x), ValueError, "neither"),
        (lambda x, b, w: tg.clamp(x, x, 1.0), TypeError, "two of a kind"),
        (lambda x, b, w: tg.div(x, x, rounding_mode="up"), ValueError, "rounding_mode='up'"),
        (lambda x, b, w: tg.hypot(x, tg.ones(3)), RuntimeError, "shape"),
    ],
)
def test_refusals(wrong, kind, match):
    with pytest.raises(kind, match=match):
        wrong(tg.ones(2), tg.tensor([True, False]), tg.tensor([1, 2]))


# answers that are one Python bool


def test_equal():
    x = tg.tensor([1.0, 2.0])
    assert tg.equal(x, x.clone()) is True and x.equal(x + 1) is False
    assert not tg.equal(x, tg.ones(3)) and not tg.equal(x, tg.tensor([1.0, float("nan")]))
    assert tg.equal(tg.zeros(0), tg.zeros(0)) and tg.equal(tg.tensor([1]), tg.tensor([1.0]))


def test_closeness(device):
    inf, nan = math.inf, math.nan
    x = tg.tensor([1.0, 1.0, inf, inf, nan, 0.0], device=device)
    y = tg.tensor([1.0 + 1e-6, 1.1, inf, -inf, nan, 1e-9], device=device)
    assert tg.isclose(x, y).tolist() == [True, False, True, False, False, True]
    assert tg.isclose(x, y, equal_nan=True).tolist() == [True, False, True, False, True, True]
    assert tg.isclose(x, y, rtol=0.2).tolist()[1] and tg.allclose(x[:1], y[:1]) is True
    assert not tg.allclose(x, y) and tg.isclose(tg.tensor([10]), tg.tensor([11]), atol=1).tolist() == [True]


# numbers that are not finite


def test_nan_to_num(device):
    x = tg.tensor([math.nan, math.inf, -math.inf, 2.0], device=device, requires_grad=True)
    z = tg.nan_to_num(x)
    top = tg.finfo(tg.float32).max
    assert z.tolist() == [0, top, -top, 2]
    z.sum().backward()
    assert x.grad.tolist() == [0, 0, 0, 1]
    assert tg.nan_to_num(x, 1, 2, 3).tolist() == [1, 2, 3, 2]
    wide = tg.nan_to_num(x.double())
    assert wide.tolist()[1] == tg.finfo(tg.float64).max


@pytest.mark.parametrize("name", ["erf", "erfc", "erfinv", "sinc", "rsqrt", "reciprocal", "log1p", "expm1"])
def test_far_and_odd_values(name: str, device: str):
    values = [0.0, -0.0, 1.0, -1.0, 40.0, -40.0, math.inf, -math.inf, math.nan]
    expected = {
        "erf": [0, 0, math.erf(1), -math.erf(1), 1, -1, 1, -1, math.nan],
        "erfc": [1, 1, math.erfc(1), 2 - math.erfc(1), 0, 2, 0, 2, math.nan],
        "erfinv": [0, 0, math.inf, -math.inf, math.nan, math.nan, math.nan, math.nan, math.nan],
        "sinc": [1, 1, 0, 0, 0, 0, math.nan, math.nan, math.nan],
        "rsqrt": [math.inf, -math.inf, 1, math.nan, 40**-0.5, math.nan, 0, math.nan, math.nan],
        "reciprocal": [math.inf, -math.inf, 1, -1, 1 / 40, -1 / 40, 0, 0, math.nan],
        "log1p": [0, 0, math.log(2), -math.inf, math.log(41), math.nan, math.inf, math.nan, math.nan],
        "expm1": [0, 0, math.e - 1, 1 / math.e - 1, math.exp(40), -1, math.inf, -1, math.nan],
    }[name]
    found = getattr(tg, name)(tg.tensor(values, dtype=tg.float64, device=device))
    np.testing.assert_allclose(found.tolist(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_function_is_good_to_its_last_digits(dtype: str):
    values = np.linspace(-6, 6, 5001).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    for function, exact in ((tg.erf, math.erf), (tg.erfc, math.erfc)):
        expected = np.array([exact(v) for v in values.tolist()])
        np.testing.assert_allclose(function(Tensor(values)).numpy(), expected, rtol=0, atol=2 * eps)
    tail = np.linspace(0.5, 20, 500)
    expected = np.array([math.erfc(v) for v in tail.tolist()])
    np.testing.assert_allclose(tg.erfc(Tensor(tail)).numpy(), expected, rtol=1e-13)
    inside = np.concatenate([np.linspace(-0.999, 0.999, 999), 1 - np.logspace(-14, -1, 20)])
    np.testing.assert_allclose(tg.erf(tg.erfinv(Tensor(inside))).numpy(), inside, rtol=1e-15, atol=1e-15)
