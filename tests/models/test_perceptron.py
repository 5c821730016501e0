"""The first neurons: their rules by hand, what they learn, and what they cannot."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.models import Adaline, Perceptron, adaline, perceptron

CORNERS = tg.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])


def test_one_step_of_the_perceptron_by_hand():
    """w = (1, -2), b = 0.5, x = (3, 2): w.x + b = -0.5, so y = 0; d = 1 adds alpha x to w and alpha to b."""
    neuron = Perceptron(2)
    neuron.weight.data[:] = tg.tensor([[1.0, -2.0]])
    neuron.bias.data[:] = tg.tensor([0.5])
    assert neuron.learn(tg.tensor([[3.0, 2.0]]), tg.tensor([[1.0]]), alpha=0.1) == 1
    assert neuron.weight.tolist() == [pytest.approx([1.3, -1.8])]
    assert neuron.bias.tolist() == pytest.approx([0.6])
    assert neuron.learn(tg.tensor([[3.0, 2.0]]), tg.tensor([[1.0]]), alpha=0.1) == 0  # right now: 0.9 > 0


@pytest.mark.parametrize("truth", [(0, 0, 0, 1), (0, 1, 1, 1), (1, 1, 0, 0), (1, 0, 0, 0)])
def test_what_a_line_divides_is_learnt(truth):
    neuron, d = perceptron(), tg.tensor([[float(t)] for t in truth])
    for _ in range(50):
        if not neuron.learn(CORNERS, d):
            break
    assert neuron(CORNERS).flatten().tolist() == list(truth)


def test_exclusive_or_is_never_learnt():
    neuron, d = Perceptron(2), tg.tensor([[0.0], [1], [1], [0]])
    assert all(neuron.learn(CORNERS, d) for _ in range(200))
    assert neuron(CORNERS).flatten().tolist() != [0, 1, 1, 0]


def test_adalines_step_is_gradient_descent_on_the_squared_error():
    tg.manual_seed(0)
    neuron = Adaline(3, units=2)
    tg.nn.init.normal_(neuron.weight)
    x, d = tg.randn(1, 3), tg.randn(1, 2)
    (((d - neuron(x)) ** 2).sum() / 2).backward()
    expected = [p.detach().numpy() - 0.1 * p.grad.numpy() for p in (neuron.weight, neuron.bias)]
    assert neuron.learn(x, d, alpha=0.1) == 1
    np.testing.assert_allclose(neuron.weight.detach().numpy(), expected[0], rtol=1e-6)
    np.testing.assert_allclose(neuron.bias.detach().numpy(), expected[1], rtol=1e-6)


def test_adaline_comes_to_the_least_squares():
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 3)).astype("float32")
    d = (x @ [1.0, -2.0, 0.5] + 0.25 + 0.01 * random.standard_normal(200)).astype("float32")[:, None]
    neuron = adaline(in_features=3)
    for _ in range(20):
        neuron.learn(tg.tensor(x), tg.tensor(d), alpha=0.01)
    solution = np.linalg.lstsq(np.hstack([x, np.ones((200, 1))]), d, rcond=None)[0].ravel()
    found = [*neuron.weight.flatten().tolist(), *neuron.bias.tolist()]
    np.testing.assert_allclose(found, solution, atol=0.01)


def test_digits_one_neuron_a_class():
    """Ten perceptrons on 8x8 digits: simple, and far better than guessing."""
    from tensorgrad.data import Digits

    data = Digits(train=True)
    x = np.stack([np.asarray(data[i][0], "float32").ravel() for i in range(300)])
    x /= x.max()
    y = np.array([int(data[i][1]) for i in range(300)])
    neurons = Perceptron(x.shape[1], 10)
    d = tg.tensor(np.eye(10, dtype="float32")[y])
    for _ in range(5):
        neurons.learn(tg.tensor(x), d)
    scores = tg.nn.functional.linear(tg.tensor(x), neurons.weight, neurons.bias)
    assert (scores.argmax(1).numpy() == y).mean() > 0.9


@pytest.mark.parametrize("x, d", [((4, 3), (4, 1)), ((4, 2), (4, 2)), ((2,), (1,))])
def test_shapes_that_do_not_fit(x, d):
    with pytest.raises(RuntimeError, match=r"Perceptron\.learn: x has shape .* they must be \(N, 2\) and \(N, 1\)"):
        Perceptron(2).learn(tg.zeros(*x), tg.zeros(*d))
