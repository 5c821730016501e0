"""Gradients exactly where a function has a kink, a tie or a pole: values worked by hand from the definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import grad, jvp
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor

inf, nan = math.inf, math.nan


def gradient(function: Any, values: Any, device: str, weights: Any = None) -> list[Any]:
    """Of sum(weights * function(x))."""
    x = tg.tensor(values, dtype=tg.float64, device=device, requires_grad=True)
    z = function(x)
    u = tg.ones_like(z) if weights is None else tg.tensor(weights, dtype=tg.float64, device=device)
    return grad(z, x, u)[0].tolist()


def tangent(function: Any, values: Any, direction: Any, device: str) -> Any:
    x, dx = (tg.tensor(v, dtype=tg.float64, device=device) for v in (values, direction))
    return jvp(function, x, dx)[1].tolist()


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (tg.relu, [-1.0, 0.0, -0.0, 2.0], [0, 0, 0, 1]),
        (tg.absolute, [-1.0, 0.0, 2.0], [-1, 0, 1]),
        (tg.sqrt, [0.0, 4.0], [inf, 0.25]),
        (lambda x: tg.clamp(x, -1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0]),
        (lambda x: tg.clamp(x, min=0.0), [-1.0, 0.0], [0, 1]),
        (lambda x: tg.clamp(x, max=0.0), [0.0, 1.0], [1, 0]),
        # x^0 is 1 everywhere; x^2 and x^1 at 0; the limits of the slope in x
        (lambda x: x**0, [0.0, 2.0], [0, 0]),
        (lambda x: x**1, [0.0, 2.0], [1, 1]),
        (lambda x: x**2, [0.0, -3.0], [0, -6]),
        (lambda x: x**0.5, [0.0, 4.0], [inf, 0.25]),
        # d/dy x^y = x^y log x, 0 at x = 0 <= y
        (lambda y: 0.0**y, [0.0, 2.0], [0, 0]),
        (lambda x: tg.maximum(x, tg.ones_like(x)), [0.0, 1.0, 2.0], [0, 0.5, 1]),
        (lambda x: tg.minimum(tg.ones_like(x), x), [0.0, 1.0, 2.0], [1, 0.5, 0]),
        (lambda x: x.max(), [3.0, 5.0, 5.0], [0, 0.5, 0.5]),
        (lambda x: x.amin(), [1.0, 1.0, 1.0, 2.0], [1 / 3, 1 / 3, 1 / 3, 0]),
        (lambda x: x.amax(1), [[2.0, 2.0], [1.0, 3.0]], [[0.5, 0.5], [0, 1]]),
        (lambda x: x.max(1).values, [[2.0, 2.0], [1.0, 3.0]], [[1, 0], [0, 1]]),
        (lambda x: x.min(0)[0], [[2.0, 2.0], [2.0, 3.0]], [[1, 1], [0, 0]]),
        (lambda x: x.std(), [2.0, 2.0, 2.0], [0, 0, 0]),
        (lambda x: x.std(1), [[2.0, 2.0], [1.0, 3.0]], [[0, 0], [-(0.5**0.5), 0.5**0.5]]),
        (tg.sign, [-1.0, 0.0, 1.0], [0, 0, 0]),
        (tg.floor, [-1.5, 0.0, 1.5], [0, 0, 0]),
        (tg.round, [-1.5, 0.5, 1.5], [0, 0, 0]),
        (tg.acos, [0.0, 1.0], [-1, -inf]),
        (tg.rsqrt, [0.0, 1.0], [-inf, -0.5]),
        (tg.sinc, [0.0, 1.0], [0, -1]),
        (lambda x: tg.fmax(x, tg.ones_like(x)), [0.0, 1.0, 2.0], [0, 1, 1]),
        (lambda x: tg.fmin(tg.ones_like(x), x), [0.0, 1.0, 2.0], [1, 0, 0]),
        (lambda x: tg.xlogy(x, 2.0), [0.0, 1.0], [math.log(2), math.log(2)]),
        (lambda x: tg.xlogy(x, 0.0), [0.0], [0]),
        (lambda x: tg.clamp_min(x, tg.zeros(2, dtype=tg.float64, device=x.device)), [-1.0, 0.0], [0, 1]),
    ],
)
def test_kinks(function, values, expected, device):
    found = gradient(function, values, device)
    np.testing.assert_allclose(found, expected)
    # forward mode says the same: its derivative along each unit vector, summed over the results
    for place in np.ndindex(np.shape(values)):
        unit = np.zeros(np.shape(values))
        unit[place] = 1
        with np.errstate(invalid="ignore"):
            along = np.asarray(tangent(function, values, unit, device))
        if not np.isinf(np.asarray(expected)).any():  # inf * 0 is nan in the other places
            np.testing.assert_allclose(along.sum(), np.asarray(expected)[place])


def test_both_sides_of_a_tie(device):
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    y = tg.tensor([1.0, 1.0], device=device, requires_grad=True)
    tg.maximum(x, y).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([0.5, 1], [0.5, 0])


def test_where_keeps_nan_out_of_the_gradient(device):
    """The branch not taken gets a true zero, so that log(0) there does no harm to what is chosen."""
    x = tg.tensor([0.0, 2.0], device=device, requires_grad=True)
    z = tg.where(x > 0, x.log(), 0.0)
    assert z.tolist() == [0, pytest.approx(math.log(2))]
    u = tg.tensor([inf, nan], device=device)
    condition = tg.tensor([False, True], device=device)
    y = tg.tensor([nan, 1.0], device=device, requires_grad=True)
    tg.where(condition, y, 0.0).backward(u)
    assert y.grad.tolist()[0] == 0 and math.isnan(y.grad.tolist()[1])


def test_relu_gives_true_zeros(device):
    x = tg.tensor([-1.0, 1.0], device=device, requires_grad=True)
    x.relu().backward(tg.tensor([nan, 3.0], device=device))
    assert x.grad.tolist() == [0, 3]


def test_max_pool_tie_and_overlap(device):
    """A window of equal values: the first wins. Windows that share an element add up: stride 1 < kernel 2."""
    equal = tg.ones(1, 1, 2, 2, device=device, requires_grad=True)
    tape.max_pool2d(equal, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False).sum().backward()
    assert equal.grad.tolist() == [[[[1, 0], [0, 0]]]]
    x = tg.tensor([[[[1.0, 2.0, 3.0], [4.0, 9.0, 5.0], [6.0, 7.0, 8.0]]]], device=device, requires_grad=True)
    z = tape.max_pool2d(x, (2, 2), (1, 1), (0, 0, 0, 0), (1, 1), False)
    z.backward(tg.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]], device=device))
    assert x.grad.tolist() == [[[[0, 0, 0], [0, 1111, 0], [0, 0, 0]]]]


def test_max_pool_pads_with_minus_infinity(device):
    x = tg.tensor([[[[-3.0, -1.0], [-4.0, -2.0]]]], device=device, requires_grad=True)
    z = tape.max_pool2d(x, (2, 2), (2, 2), (1, 1, 1, 1), (1, 1), False)
    assert z.tolist() == [[[[-3, -1], [-4, -2]]]]
    z.sum().backward()
    assert x.grad.tolist() == [[[[1, 1], [1, 1]]]]


def test_average_pool_divisors(device):
    """From semantics: [1..5], kernel 2, stride 2, ceil -> [1.5, 3.5, 5]: the overhang does not count."""
    x = tg.arange(1, 6, dtype=tg.float32, device=device).reshape(1, 1, 1, 5).requires_grad_()
    z = tape.avg_pool2d(x, (1, 2), (1, 2), (0, 0, 0, 0), True, True, None)
    assert z.tolist() == [[[[1.5, 3.5, 5]]]]
    z.sum().backward()
    assert x.grad.tolist() == [[[[0.5, 0.5, 0.5, 0.5, 1]]]]
    # 6x6 of ones, kernel 3, stride 2, padding 1, ceil: declared padding counts: the last row and column of windows see
    # rows 5, 6 (6 is padding; 7 is overhang): 1 * 2 / (2 * 3) at an edge
    ones = tg.ones(1, 1, 6, 6, device=device)
    found = np.array(tape.avg_pool2d(ones, (3, 3), (2, 2), (1, 1, 1, 1), True, True, None).tolist())[0, 0]
    assert found.shape == (4, 4)
    assert found[0, 0] == pytest.approx(4 / 9) and found[1, 1] == pytest.approx(1)
    assert found[3, 1] == pytest.approx(3 / 6) and found[3, 3] == pytest.approx(1 / 4)


@pytest.mark.parametrize("far", [1e4, -1e4])
def test_probabilities_are_stable(far, device):
    x = tg.tensor([[0.0, far], [far, far]], device=device, requires_grad=True)
    z = tg.log_softmax(x, 1)
    np.testing.assert_allclose(z.tolist(), [[min(-far, 0), min(far, 0)], [-math.log(2)] * 2], rtol=1e-6)
    assert np.isfinite(tg.logsumexp(x, 1).tolist()).all() and np.isfinite(tg.softmax(x, 1).tolist()).all()
    z.sum().backward()
    # 1 - 2 p, and p is 0 or 1 in the first row, 1/2 in the second
    np.testing.assert_allclose(x.grad.tolist(), [[1, -1] if far > 0 else [-1, 1], [0, 0]])
    assert tg.sigmoid(tg.tensor([far], device=device)).tolist() == [1.0 if far > 0 else 0.0]


def test_extremes_of_infinities(device):
    assert gradient(lambda x: x.amax(), [-inf, inf], device) == [0, 1]
    assert gradient(lambda x: tg.logsumexp(x, 0), [-inf, 0.0], device) == [0, 1]


@pytest.mark.oracle
def test_kinks_as_pytorch():
    torch = pytest.importorskip("torch")
    for ours, theirs, values in [
        (lambda x: tg.clamp(x, -1.0, 1.0), lambda x: torch.clamp(x, -1.0, 1.0), [-1.0, 0.0, 1.0]),
        (tg.relu, torch.relu, [0.0, -0.0, 1.0]),
        (tg.absolute, torch.abs, [0.0, -0.0]),
        (lambda x: x.max(), lambda x: x.max(), [1.0, 1.0, 0.0]),
        (lambda x: x.amax(0), lambda x: x.amax(0), [1.0, 1.0, 0.0]),
        (lambda x: x.max(0)[0], lambda x: x.max(0)[0], [1.0, 1.0, 0.0]),
        (lambda x: x**0, lambda x: x**0, [0.0]),
        (lambda x: 0.0**x, lambda x: 0.0**x, [0.0, 1.0]),
    ]:
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        z = theirs(x)
        (expected,) = torch.autograd.grad(z, x, torch.ones_like(z))
        assert gradient(ours, values, "cpu") == expected.tolist()


def test_a_tensor_is_returned_by_kinks_of_numbers():
    assert isinstance(tg.maximum(tg.tensor(1.0), tg.tensor(2)), Tensor)
