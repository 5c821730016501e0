"""The batch norms of a model folded: only where nobody else sees what lies between."""

from __future__ import annotations

import numpy as np
import pytest
from trained_norms import assert_same, norms_in, trained, values

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.nn.utils import fuse_batch_norms
from tensorgrad.primitive import observers


class Net(nn.Module):
    """A convolution, a norm, and what lies between them, given as a function of (net, result of the convolution)."""

    def __init__(self, between, **layers):
        super().__init__()
        self.between = between
        self.conv = layers.get("conv") or nn.Conv2d(3, 4, 3, padding=1)
        self.bn = layers.get("bn") or nn.BatchNorm2d(4)

    def forward(self, x):
        return self.between(self, self.conv(x))


class MyConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2


class TwoHolders(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.also = nn.Sequential(self.bn)

    def forward(self, x):
        return self.also(self.conv(x))


def tied():
    net = Net(lambda net, y: net.other(net.bn(y)), conv=nn.Conv2d(4, 4, 3))
    net.other = nn.Conv2d(4, 4, 3)
    net.other.weight = net.conv.weight
    return nn.Sequential(nn.Conv2d(3, 4, 1), net)


def keeping(net, y):
    net.last = y
    return net.bn(y)


def hooked(layer):
    layer.register_forward_hook(lambda module, args, output: None)
    return layer


def doubled(net, y):
    z = net.bn(y)
    y.mul_(2.0)
    return z


def scaled(net, y):
    y[:, 0] = 0.0
    return net.bn(y)


def measured(net, y):
    return net.bn(y) * float(y.numpy().max())


# nets whose norm must stay, and the reason that strict=True gives
LEFT = {
    "added": (lambda: Net(lambda net, y: net.bn(y) + y), "others use it too"),
    "added first": (lambda: Net(lambda net, y: y.relu() + net.bn(y)), "others use it too"),
    "a view": (lambda: Net(lambda net, y: (net.bn(y), y[0])), "others use it too"),
    "changed later": (lambda: Net(doubled), "others use it too"),
    "norm by its function": (lambda: Net(lambda net, y: net.bn.forward(y)), "called 0 times"),
    "returned": (lambda: Net(lambda net, y: (net.bn(y), y)), "keeps it"),
    "returned detached": (lambda: Net(lambda net, y: (net.bn(y), y.detach())), "keeps it"),
    "kept in an attribute": (lambda: Net(keeping), "keeps it"),
    "seen by NumPy": (lambda: Net(measured), "NumPy saw it"),
    "changed in place": (lambda: Net(scaled), "not the unchanged result"),
    "something between": (lambda: Net(lambda net, y: net.bn(y.relu())), "not the unchanged result"),
    "detached": (lambda: Net(lambda net, y: net.bn(y.detach())), "not the unchanged result"),
    "norm twice": (lambda: Net(lambda net, y: net.bn(net.bn(y))), "BatchNorm2d is called 2 times"),
    "convolution twice": (lambda: Net(lambda net, y: net.bn(net.conv(y[:, :3]))), "Conv2d is called 2 times"),
    "weight used": (lambda: Net(lambda net, y: net.bn(y) * net.conv.weight.sum()), "one of its parameters"),
    "norm's weight used": (lambda: Net(lambda net, y: net.bn(y) * net.bn.weight.sum()), "one of its parameters"),
    "tied weights": (tied, "one of its parameters"),
    "held twice": (TwoHolders, "is used in other places"),
    "no statistics": (
        lambda: Net(lambda net, y: net.bn(y), bn=nn.BatchNorm2d(4, track_running_stats=False)),
        "no running",
    ),
    "hook of the norm": (lambda: Net(lambda net, y: net.bn(y), bn=hooked(nn.BatchNorm2d(4))), "BatchNorm2d has hooks"),
    "hook of the convolution": (
        lambda: Net(lambda net, y: net.bn(y), conv=hooked(nn.Conv2d(3, 4, 1))),
        "Conv2d has hooks",
    ),
    "a subclass": (lambda: Net(lambda net, y: net.bn(y), conv=MyConv(3, 4, 3)), "MyConv is a class of its own"),
    "parametrized": (
        lambda: Net(lambda net, y: net.bn(y), conv=nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
        "parametrized",
    ),
    "other channels": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(36, 3), nn.BatchNorm1d(3)),
        "channels are not its features",
    ),
    "another dtype": (
        lambda: Net(lambda net, y: net.bn(y), bn=nn.BatchNorm2d(4, dtype=tg.float32)),
        "not in the norm's dtype",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_must_not_be_folded(name: str):
    make, reason = LEFT[name]
    tg.manual_seed(0)
    model = trained(make())
    if name == "another dtype":
        model.bn.float()
    x = values(2, 3, 6, 6)
    fused = fuse_batch_norms(model, x)
    assert norms_in(fused) == norms_in(model)
    with tg.no_grad():
        found, expected = (z if isinstance(z, tuple) else (z,) for z in (fused(x), model(x)))
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    with pytest.raises(ValueError, match=f"1 of 1 batch norms cannot be folded.*{reason}"):
        fuse_batch_norms(model, x, strict=True)


class PlainLists(nn.Module):
    """Calls its layers through a plain list, which holds what `add_module` has registered."""

    def __init__(self):
        super().__init__()
        self.chain = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)]
        for number, layer in enumerate(self.chain):
            self.add_module(f"layer{number}", layer)

    def forward(self, x):
        for layer in self.chain:
            x = layer(x)
        return x


class Residual(nn.Module):
    """By attribute, in another order than they are called, one ReLU for all."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.b, self.a = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.second(self.b(self.relu(self.first(self.a(x))))) + x)


def test_lists_and_attributes():
    for model, shape in ((trained(PlainLists()), (2, 3, 6, 6)), (trained(Residual()), (2, 4, 6, 6))):
        x = values(*shape)
        fused = fuse_batch_norms(model, x, strict=True)
        assert len(norms_in(model)) == 2 and norms_in(fused) == []
        assert_same(fused(x), model(x))


def test_names_of_what_remains():
    model = trained(Residual())
    fused = fuse_batch_norms(model, values(2, 4, 6, 6))
    assert list(fused.state_dict()) == ["b.weight", "b.bias", "a.weight", "a.bias"]
    assert [n for n, _ in fused.named_modules()] == [n for n, _ in model.named_modules()]
    assert not any(module.training for module in fused.modules())


def test_the_model_stays_as_it_is():
    tg.manual_seed(4)
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    x = values(2, 3, 6, 6)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = tg.get_rng_state()
    fused = fuse_batch_norms(model, x)
    assert not observers and not any(m._forward_hooks or m._forward_pre_hooks for m in fused.modules())
    assert all((value == before[key]).all() for key, value in model.state_dict().items())
    fused[0].weight.data.zero_()
    assert model[0].weight.abs().sum() > 0
    np.testing.assert_array_equal(np.asarray(tg.get_rng_state()), np.asarray(random))


def test_an_error_of_the_run_leaves_no_observer():
    with pytest.raises(RuntimeError, match="channels"):
        fuse_batch_norms(trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))), values(2, 5, 6, 6))
    assert not observers


def test_gradients_flow():
    """Of the input they are the unfused model's; the fused weights get those of the map that they are."""
    model = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh()))
    found = []
    fused = fuse_batch_norms(model, values(2, 3, 6, 6))
    for net in (model, fused):
        x = values(2, 3, 6, 6).requires_grad_()
        (net(x) ** 2).sum().backward()
        found.append(x.grad)
    assert_same(found[1], found[0])
    scale = model[1].weight / (model[1].running_var + model[1].eps) ** 0.5  # w' = s w, so dL/dw = s dL/dw'
    assert_same(fused[0].weight.grad * scale.reshape(4, 1, 1, 1), model[0].weight.grad)


def test_on_a_device(device):
    model = trained(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, groups=2))
    )
    model.append(trained(nn.BatchNorm2d(6)))
    x = values(2, 3, 6, 6)
    expected = model(x)
    fused = fuse_batch_norms(model.to(device), x.to(device), strict=True)
    np.testing.assert_allclose(
        fused(x.to(device)).detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12
    )
