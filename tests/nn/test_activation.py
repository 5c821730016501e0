"""Activations: layers beside PyTorch's, at kinks, in place, and what is refused."""

import inspect

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad.nn import activation_layers

LAYERS = [
    (name, settings)
    for name in activation_layers.__all__
    for settings in {
        "Threshold": [{"threshold": 0.1, "value": 20.0}],
        "Softmax": [{"dim": 1}],
        "Softmin": [{"dim": 0}],
        "LogSoftmax": [{"dim": -1}],
        "GELU": [{}, {"approximate": "tanh"}],
        "LeakyReLU": [{}, {"negative_slope": 0.2}],
        "PReLU": [{}, {"num_parameters": 4, "init": 0.1}],
        "Softplus": [{}, {"beta": 2.0, "threshold": 3.0}],
        "GLU": [{}, {"dim": 1}],
    }.get(name, [{}])
]
INPLACE = [
    name
    for name in activation_layers.__all__
    if "inplace" in inspect.signature(getattr(nn, name)).parameters and name != "Threshold"
]
# bounds and steps of all of them, and what is on either side
KINKS = [-3.5, -3.0, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 3.0, 6.0, 7.5]


@pytest.mark.oracle
@pytest.mark.parametrize("name, settings", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layers_are_pytorchs(name, settings, dtype):
    torch = pytest.importorskip("torch")
    if name == "ScaledTanh":
        pytest.skip("PyTorch has none")
    x = np.array(KINKS * 4, dtype).reshape(2, 4, 3, 2)
    ours, theirs = getattr(nn, name)(**settings), getattr(torch.nn, name)(**settings)
    if name == "PReLU":
        ours, theirs = ours.to(dtype=dtype), theirs.to(getattr(torch, dtype))
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    za, zb = ours(a), theirs(b)
    rough = dtype == "float32" or name == "Hardsigmoid"  # whose sixth PyTorch rounds to float32
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if rough else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(za.detach(), zb.detach().numpy(), **tolerance)
    weights = np.linspace(0.5, 2.0, za.array.size, dtype=dtype).reshape(za.shape)
    (za * tg.tensor(weights)).sum().backward()
    (zb * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(a.grad, b.grad.numpy(), **tolerance)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-5)
    if name not in ("Hardshrink", "Softshrink", "Softmax", "Softmin", "LogSoftmax", "Threshold"):
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", INPLACE)
def test_in_place_is_the_same(name):
    x = tg.tensor(KINKS, dtype=tg.float64, requires_grad=True)
    y = tg.tensor(KINKS, dtype=tg.float64, requires_grad=True)
    layer, there = getattr(nn, name)(), getattr(nn, name)(inplace=True)
    base = y * 1
    out = there(base)
    assert out is base and "inplace=True" in repr(there) and "inplace" not in repr(layer)
    (layer(x * 1) ** 2).sum().backward()
    (out**2).sum().backward()
    np.testing.assert_array_equal(x.grad, y.grad)


def test_every_layer_is_documented_and_offered():
    for name in activation_layers.__all__:
        assert getattr(nn, name).__doc__ and name in nn.__all__


@pytest.mark.parametrize("layer", [nn.Tanh(), nn.LeakyReLU(0.5), nn.AdaptiveAvgPool1d(2)], ids=repr)
def test_the_input_may_come_by_its_name(layer):
    x = tg.tensor([[-1.0, 2.0, 3.0, -4.0]])
    assert layer(input=x).tolist() == layer(x).tolist()
    with pytest.raises(TypeError, match="input"):
        layer(x, input=x)


def test_prelu_has_a_weight_for_each_channel():
    x = tg.tensor([[-1.0, -1.0], [-2.0, 3.0]])
    assert F.prelu(x, tg.tensor([0.5, 0.25])).tolist() == [[-0.5, -0.25], [-1.0, 3.0]]
    assert F.prelu(tg.tensor(-2.0), tg.tensor([0.5])).tolist() == -1.0
    assert list(nn.PReLU(3).state_dict()) == ["weight"]


def test_scaled_tanh_maps_one_to_one():
    np.testing.assert_allclose(nn.ScaledTanh()(tg.tensor([-1.0, 0.0, 1.0], dtype=tg.float64)), [-1, 0, 1], atol=2e-5)


def test_gumbel_softmax():
    tg.manual_seed(0)
    logits = tg.tensor([[0.0, np.log(3.0)]] * 4000, requires_grad=True)
    hard = F.gumbel_softmax(logits, hard=True)
    assert set(hard.detach().numpy().ravel().round(6)) == {0.0, 1.0}
    assert abs(float(hard[:, 1].mean()) - 0.75) < 0.03
    hard[:, 0].sum().backward()
    assert float(logits.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: F.relu([1.0]), TypeError, "must be a Tensor"),
        (lambda x: F.elu(tg.tensor([1])), RuntimeError, "floating-point"),
        (lambda x: F.hardtanh(x, 2, 1), ValueError, "min_val"),
        (lambda x: F.softshrink(x, -1), RuntimeError, "lambd"),
        (lambda x: F.gelu(x, "sine"), RuntimeError, "approximate"),
        (lambda x: F.glu(x), RuntimeError, "even"),
        (lambda x: F.glu(tg.tensor(1.0)), RuntimeError, "no dimensions"),
        (lambda x: F.prelu(x, tg.ones(2)), RuntimeError, "one for each channel"),
        (lambda x: nn.Threshold(1.0), TypeError, "value"),
        (lambda x: nn.ELU(beta=1.0), TypeError, "beta"),
        (lambda x: nn.PReLU(0), ValueError, "at least 1"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(tg.ones(3))
