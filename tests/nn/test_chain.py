"""Layers of a Sequential that write over what the layer before made: the same bits as one by one, and only where nobody sees."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.backend import compiled
from tensorgrad.backend.memory import spare
from tensorgrad.nn import chain

CHAINS = {
    "convolution, ReLU": lambda: [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()],
    "convolution, norm, ReLU": lambda: [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 1)],
    "two norms": lambda: [nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.BatchNorm2d(32, affine=False), nn.ReLU()],
    "thin": lambda: [nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()],
    "lines": lambda: [nn.Flatten(), nn.Linear(768, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 80), nn.ReLU()],
    "ReLU first and twice": lambda: [nn.ReLU(), nn.ReLU(), nn.Conv2d(3, 16, 3), nn.ReLU(), nn.ReLU()],
    "identity between": lambda: [nn.Conv2d(3, 16, 3), nn.Identity(), nn.ReLU()],
}


def build(name: str, dtype: object) -> nn.Sequential:
    tg.manual_seed(3)
    net = nn.Sequential(*CHAINS[name]()).to(dtype)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.copy_(tg.randn(module.num_features) * 0.3)
            module.running_var.copy_(tg.rand(module.num_features) + 0.5)
    return net


def one_by_one(net: nn.Sequential, x: tg.Tensor) -> tg.Tensor:
    for module in net:
        x = module(x)
    return x


def picture(dtype: object) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((32, 3, 16, 16)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["grad", "no_grad", "inference", "eval"])
@pytest.mark.parametrize("name", CHAINS)
def test_the_same_bits(name: str, mode: str, dtype: str):
    results = []
    for call in (lambda net, x: net(x), one_by_one):
        net = build(name, getattr(tg, dtype)).train(mode == "grad")
        x = tg.Tensor(picture(dtype), requires_grad=mode in ("grad", "eval"))
        before = x.detach().clone()
        if mode in ("grad", "eval"):
            z = call(net, x)
            (z * z).sum().backward()
            results.append([z.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in net.parameters())])
        else:
            with tg.inference_mode() if mode == "inference" else tg.no_grad():
                z = call(net, x)
            results.append([z.numpy()])
        assert (x.detach() == before).all()
        assert spare.array is None
    for ours, theirs in zip(*results):
        np.testing.assert_array_equal(ours, theirs)


def test_second_order():
    values = []
    for call in (lambda net, x: net(x), one_by_one):
        net = build("convolution, norm, ReLU", tg.float64)
        x = tg.Tensor(picture("float64")[:4], requires_grad=True)
        (dx,) = tg.autograd.grad((call(net, x) ** 2).sum(), [x], create_graph=True)
        (dxx,) = tg.autograd.grad((dx**2).sum(), [x])
        values.append(dxx.numpy())
    np.testing.assert_array_equal(*values)


def test_memory_is_taken_and_left(monkeypatch: pytest.MonkeyPatch):
    """Two layers, one memory; with a hook on either, or another forward, two."""
    if not compiled.numba_works():
        pytest.skip("without Numba kernels do not take memory over")
    net = build("convolution, ReLU", tg.float32)
    x = tg.Tensor(picture("float32"))
    given = []
    take = chain.take
    monkeypatch.setattr(chain, "take", lambda module, x: given.append(x.array) or take(module, x))
    with tg.no_grad():
        assert net(x).array is given.pop()
        for module in net:
            handle = module.register_forward_hook(lambda *_: None)
            net(x)
            handle.remove()
        net[0].forward = net[0].forward
        net(x)
        del net[0].forward
        assert not given
    assert net(x).array is given.pop()
    net.insert(1, nn.Identity())  # as where a norm was folded away
    with tg.no_grad():
        assert net(x).array is given.pop()
        handle = net[1].register_forward_hook(lambda *_: None)
        net(x)
        handle.remove()
    assert not given


@pytest.mark.parametrize("layout", ["planes", "channels last", "rows"])
@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_and_its_relu_are_one(affine: bool, layout: str):
    """The same bits as one by one in everything that comes of it: result, gradients, running statistics."""
    random = np.random.default_rng(7)
    results = []
    values = random.standard_normal((8, 48) if layout == "rows" else (8, 48, 14, 14)).astype(np.float32)
    if layout == "rows":
        values = np.tile(values, (40, 1)) * random.standard_normal((320, 1)).astype(np.float32)
    if layout == "channels last":
        values = np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    dz = tg.Tensor(random.standard_normal(values.shape).astype(np.float32))
    for call in (lambda net, x: net(x), one_by_one):
        norm = (nn.BatchNorm1d if layout == "rows" else nn.BatchNorm2d)(48, affine=affine)
        if affine:
            norm.weight.data, norm.bias.data = tg.linspace(-1, 2, 48), tg.linspace(-1, 1, 48)
        x = tg.Tensor(values, requires_grad=True)
        z = call(nn.Sequential(norm, nn.ReLU()), x)
        z.backward(dz)
        parts = [z.detach(), x.grad, norm.running_mean, norm.running_var, *(p.grad for p in norm.parameters())]
        results.append((z.grad_fn.name, [part.numpy() for part in parts], norm.num_batches_tracked.item()))
    (joined, ours, seen), (last, theirs, seen_apart) = results
    assert (joined, last, seen, seen_apart) == ("batch_norm_relu", "relu", 1, 1)
    for one, other in zip(ours, theirs):
        np.testing.assert_array_equal(one, other)


def test_what_may_be_joined():
    norm, relu, x = nn.BatchNorm2d(4), nn.ReLU(), tg.ones(2, 4, 3, 3)
    assert chain.may_join(norm, relu, x)
    assert (
        not chain.may_join(norm, None, x)
        and not chain.may_join(norm, nn.ReLU6(), x)
        and not chain.may_join(relu, relu, x)
    )
    assert not chain.may_join(norm, relu, x.to(tg.float64))
    assert not chain.may_join(nn.BatchNorm2d(4, track_running_stats=False), relu, x)
    for module in (norm, relu):
        handle = module.register_full_backward_hook(lambda *_: None)
        assert not chain.may_join(norm, relu, x)
        handle.remove()
    with tg.autocast("cpu"):
        assert not chain.may_join(norm, relu, x)
    assert not chain.may_join(norm.eval(), relu, x)


def test_errors_name_the_layer():
    net = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    with pytest.raises(tg.errors.TensorgradError, match="0"):
        net(tg.ones(2, 3, 5, 5))
    assert chain.mode.relu_follows is None


def test_what_may_be_taken():
    convolution, norm, relu = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
    x = tg.zeros(1, 16, 4, 4)
    assert chain.may_take(convolution, relu, x)
    assert not chain.may_take(relu, relu, x) and not chain.may_take(nn.Identity(), relu, x)
    assert not chain.may_take(convolution, nn.ReLU6(), x)
    norm.eval()
    assert not chain.may_take(convolution, norm, x)  # its rules keep x
    with tg.no_grad():
        assert chain.may_take(convolution, norm, x)
        assert not chain.may_take(convolution, norm.train(), x)
        assert not chain.may_take(convolution, nn.BatchNorm2d(16, track_running_stats=False).eval(), x)
    with tg.autograd.forward_ad.dual_level():
        assert not chain.may_take(convolution, relu, tg.autograd.forward_ad.make_dual(x, tg.ones_like(x)))
