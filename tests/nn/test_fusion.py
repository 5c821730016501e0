"""Batch norms folded into the layers before them: the same numbers, only where nobody else sees what lies between."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.nn.utils import (
    fuse_batch_norms,
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from tensorgrad.primitive import observers

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def trained(module: nn.Module, dtype: str = "float64") -> nn.Module:
    """In eval mode, with statistics and weights that no norm starts with."""
    numbers = np.random.default_rng(7)
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            for x, low, high in (
                (norm.running_mean, -0.5, 0.5),
                (norm.running_var, 0.5, 2.0),
                (norm.weight, -1.5, 1.5),
                (norm.bias, -1.0, 1.0),
            ):
                if x is not None:
                    x.data.copy_(tg.tensor(numbers.uniform(low, high, x.shape)))
    return module.to(getattr(tg, dtype)).eval()


def values(*shape: int, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(np.random.default_rng(1).standard_normal(shape).astype(dtype))


def assert_same(found: tg.Tensor, expected: tg.Tensor) -> None:
    assert found.dtype == expected.dtype
    tolerance = TOLERANCE[str(expected.dtype)]
    np.testing.assert_allclose(
        found.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=tolerance, atol=tolerance
    )


def norms_in(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]


# layer, norm, shape of the input
PAIRS = {
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), lambda: nn.BatchNorm1d(6), (2, 4, 9)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, bias=False), lambda: nn.BatchNorm2d(6), (2, 4, 7, 8)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), lambda: nn.BatchNorm3d(3), (2, 2, 4, 4, 4)),
    "groups": (lambda: nn.Conv2d(4, 8, 3, groups=2, bias=False), lambda: nn.BatchNorm2d(8, affine=False), (2, 4, 6, 6)),
    "border": (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), lambda: nn.BatchNorm2d(6), (2, 3, 6, 6)),
    "no bias in the norm": (lambda: nn.Conv2d(3, 6, 1), lambda: nn.BatchNorm2d(6, bias=False), (2, 3, 4, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), lambda: nn.BatchNorm1d(6), (2, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, bias=False), lambda: nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), lambda: nn.BatchNorm3d(3), (1, 2, 3, 3, 3)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), lambda: nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "Linear": (lambda: nn.Linear(5, 6), lambda: nn.BatchNorm1d(6), (4, 5)),
    "Linear without bias": (lambda: nn.Linear(5, 6, bias=False), lambda: nn.BatchNorm1d(6, affine=False), (4, 5)),
    "no samples": (lambda: nn.Conv2d(3, 6, 3), lambda: nn.BatchNorm2d(6), (0, 3, 5, 5)),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair(name: str, dtype: str):
    make_layer, make_norm, shape = PAIRS[name]
    tg.manual_seed(0)
    layer, norm = trained(make_layer(), dtype), trained(make_norm(), dtype)
    x = values(*shape, dtype=dtype)
    expected = norm(layer(x))
    before = copy.deepcopy(layer.state_dict())
    if isinstance(layer, nn.Linear):
        fused = fuse_linear_bn_eval(layer, norm)
    else:
        fused = fuse_conv_bn_eval(layer, norm, transpose=layer.transposed)
    assert type(fused) is type(layer) and fused is not layer and not fused.training
    assert_same(fused(x), expected)
    assert fused.weight.requires_grad and fused.bias.requires_grad == (layer.bias is not None)
    assert all(np.array_equal(x.numpy(), before[key].numpy()) for key, x in layer.state_dict().items())
    model = fuse_batch_norms(nn.Sequential(layer, norm).eval(), x, strict=True)
    assert type(model[1]) is nn.Identity
    assert_same(model(x), expected)


def test_one_feature_for_a_linear_layer():
    """A norm of the one channel of (N, 1, in_features) scales all features alike."""
    layer, norm = trained(nn.Linear(5, 6, bias=False)), trained(nn.BatchNorm1d(1))
    x = values(4, 1, 5)
    fused = fuse_linear_bn_eval(layer, norm)
    assert fused.bias.shape == (6,)
    assert_same(fused(x), norm(layer(x)))


def test_by_hand():
    """Weight 3, bias 5; mean 1, variance 4, w 2, b 7: (3 x + 5 - 1) / 2 * 2 + 7 = 3 x + 11."""
    one = tg.ones(1)
    w, b = fuse_conv_bn_weights(tg.full((1, 1, 1, 1), 3.0), 5 * one, one, 4 * one, 0.0, 2 * one, 7 * one)
    assert (w.item(), b.item()) == (3.0, 11.0)
    w, b = fuse_linear_bn_weights(tg.full((1, 1), 3.0), 5 * one, one, 4 * one, 0.0, 2 * one, 7 * one)
    assert (w.item(), b.item()) == (3.0, 11.0)


def test_non_contiguous_weights():
    w, statistics = values(3, 3, 4, 6), [values(12)[::2].abs() for _ in range(4)]
    fused, _ = fuse_conv_bn_weights(w.permute(3, 2, 0, 1), None, *statistics[:2], 1e-5, *statistics[2:])
    _, var, scale, _ = (x.numpy() for x in statistics)
    expected = w.numpy().transpose(3, 2, 0, 1) * (scale / np.sqrt(var + 1e-5))[:, None, None, None]
    np.testing.assert_allclose(fused.detach().numpy(), expected, rtol=1e-12)


REFUSED = {
    "conv in training": (
        lambda: fuse_conv_bn_eval(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6).eval()),
        "Conv2d is in training",
    ),
    "norm in training": (
        lambda: fuse_linear_bn_eval(nn.Linear(3, 6).eval(), nn.BatchNorm1d(6)),
        "BatchNorm1d is in training",
    ),
    "no statistics": (
        lambda: fuse_conv_bn_eval(nn.Conv2d(3, 6, 3).eval(), nn.BatchNorm2d(6, track_running_stats=False).eval()),
        "no running statistics",
    ),
    "parametrized": (
        lambda: fuse_conv_bn_eval(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3)).eval(), nn.BatchNorm2d(6).eval()
        ),
        "computed from other parameters",
    ),
    "weight norm": (
        lambda: fuse_linear_bn_eval(nn.utils.weight_norm(nn.Linear(3, 6)).eval(), nn.BatchNorm1d(6).eval()),
        "computed from other parameters",
    ),
    "transpose forgotten": (
        lambda: fuse_conv_bn_eval(nn.ConvTranspose2d(6, 6, 3).eval(), nn.BatchNorm2d(6).eval()),
        "it must be True",
    ),
    "features of a linear layer": (
        lambda: fuse_linear_bn_eval(nn.Linear(3, 6).eval(), nn.BatchNorm1d(3).eval()),
        "must be equal",
    ),
    "model in training": (lambda: fuse_batch_norms(nn.Sequential(), tg.ones(1)), "Sequential is in training mode"),
    "norm of a model in training": (
        lambda: fuse_batch_norms(
            nn.Sequential(nn.BatchNorm1d(2), nn.Sequential().eval()).train(False).append(nn.BatchNorm1d(2)), 0
        ),
        "2 is in training mode",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "shape, features, transpose",
    [((6, 3, 1), 5, False), ((6, 4, 1), 6, True), ((3, 2, 1), 4, True), ((2, 3, 1), 0, True)],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], features: int, transpose: bool):
    with pytest.raises(RuntimeError, match="features"):
        fuse_conv_bn_weights(
            tg.ones(*shape), None, tg.ones(features), tg.ones(features), 1e-5, None, None, transpose=transpose
        )
    if not transpose:
        with pytest.raises(RuntimeError, match="features"):
            fuse_linear_bn_weights(tg.ones(6, 3), None, tg.ones(5), tg.ones(5), 1e-5, None, None)


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


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(PAIRS.keys() - {"transposed, groups", "Linear without bias"}))  # refused there
def test_against_pytorch(name: str, dtype: str):
    pytest.importorskip("torch")
    import torch
    from torch.nn.utils import fusion as theirs

    make_layer, make_norm, _ = PAIRS[name]
    layer, norm = trained(make_layer(), dtype), trained(make_norm(), dtype)
    w, c = (
        None if p is None else torch.tensor(p.detach().numpy(), requires_grad=True) for p in (layer.weight, layer.bias)
    )
    others = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, var, scale, shift = (None if p is None else torch.tensor(p.detach().numpy()) for p in others)
    if isinstance(layer, nn.Linear):
        found = fuse_linear_bn_weights(layer.weight, layer.bias, *others[:2], norm.eps, *others[2:])
        expected = theirs.fuse_linear_bn_weights(w, c, mean, var, norm.eps, scale, shift)
    else:
        back = layer.transposed
        found = fuse_conv_bn_weights(layer.weight, layer.bias, *others[:2], norm.eps, *others[2:], back)
        expected = theirs.fuse_conv_bn_weights(w, c, mean, var, norm.eps, scale, shift, back)
    for a, b in zip(found, expected):
        assert type(a) is nn.Parameter and a.dtype == b.detach().numpy().dtype
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.oracle
def test_mixed_dtypes_as_in_pytorch():
    """The results have the layer's dtypes, whatever the norm's."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils import fusion as theirs

    for bias in (None, np.float64):
        arrays = [
            values(2, 1, 3).numpy().astype("float32"),
            None if bias is None else np.ones(2),
            *np.full((4, 2), 0.5),
        ]
        mine = [None if a is None else tg.tensor(a) for a in arrays]
        yours = [None if a is None else torch.tensor(a) for a in arrays]
        found = fuse_conv_bn_weights(*mine[:4], 1e-5, *mine[4:])
        expected = theirs.fuse_conv_bn_weights(*yours[:4], 1e-5, *yours[4:])
        for a, b in zip(found, expected):
            assert a.dtype == b.detach().numpy().dtype and not a.requires_grad
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-6)
