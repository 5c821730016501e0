"""Initialisations by structure, and containers of Parameters."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (6, 2, 3, 3)])
@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_orthogonal(shape, device):
    tg.manual_seed(0)
    w = nn.init.orthogonal_(tg.empty(*shape, dtype=tg.float64).to(device), gain=2.0).cpu().numpy().reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_eye_and_dirac_keep_what_goes_in():
    x = tg.randn(2, 4, 5, 5)
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
    nn.init.dirac_(layer.weight, groups=2)
    np.testing.assert_allclose(layer(x).detach(), x, atol=1e-6)
    linear = nn.Linear(3, 3, bias=False)
    nn.init.eye_(linear.weight)
    y = tg.randn(2, 3)
    np.testing.assert_array_equal(linear(y).detach(), y)


def test_sparse():
    w = nn.init.sparse_(tg.empty(10, 7), 0.35).numpy()
    assert ((w == 0).sum(0) == 4).all() and 0 < np.abs(w).max() < 0.1


@pytest.mark.oracle
def test_dirac_and_eye_are_pytorchs():
    torch = pytest.importorskip("torch")
    for shape, groups in [((4, 2, 3), 2), ((5, 3, 3, 5), 1), ((2, 4, 1, 2, 3), 1)]:
        ours, theirs = nn.init.dirac_(tg.empty(*shape), groups), torch.nn.init.dirac_(torch.empty(*shape), groups)
        np.testing.assert_array_equal(ours, theirs.numpy())
    np.testing.assert_array_equal(nn.init.eye_(tg.empty(2, 4)), torch.nn.init.eye_(torch.empty(2, 4)).numpy())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.init.eye_(tg.empty(3)), "matrices"),
        (lambda: nn.init.dirac_(tg.empty(3, 3)), "3 to 5"),
        (lambda: nn.init.dirac_(tg.empty(3, 3, 3), groups=2), "divide"),
        (lambda: nn.init.orthogonal_(tg.empty(3)), "two dimensions"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_list_of_parameters():
    holder = nn.Module()
    holder.weights = nn.ParameterList([tg.ones(2), nn.Parameter(tg.zeros(3))])
    holder.weights.append(tg.ones(1))
    assert [name for name, _ in holder.named_parameters()] == ["weights.0", "weights.1", "weights.2"]
    assert len(holder.weights) == 3 and holder.weights[-1].shape == (1,) and len(holder.weights[:2]) == 2
    holder.weights[0] = tg.zeros(2)
    assert isinstance(holder.weights[0], nn.Parameter) and holder.weights[0].tolist() == [0.0, 0.0]
    again = nn.Module()
    again.weights = nn.ParameterList([tg.ones(2), tg.ones(3), tg.ones(1)])
    again.load_state_dict(holder.state_dict())
    assert again.weights[1].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(IndexError, match="holds 3"):
        holder.weights[3]


def test_a_dict_of_parameters():
    weights = nn.ParameterDict({"a": tg.ones(2)})
    weights["b"] = tg.zeros(1)
    assert list(weights) == ["a", "b"] and "a" in weights and len(weights) == 2
    assert list(weights.state_dict()) == ["a", "b"]
    del weights["a"]
    assert [key for key, _ in weights.items()] == ["b"] and len(list(weights.parameters())) == 1
    with pytest.raises(KeyError, match="it holds b"):
        weights["a"]
