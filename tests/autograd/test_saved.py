"""Hooks on what is saved for backward."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.autograd import Function, grad
from tensorgrad.autograd.graph import save_on_cpu, saved_tensors_hooks
from tensorgrad.primitive import Primitive, observers


def net():
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    )


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_the_gradients_are_the_same(device):
    x = tg.randn(2, 1, 8, 8, dtype=tg.float64).to(device)
    plain, hooked = net().double().to(device), net().double().to(device)
    hooked.load_state_dict(plain.state_dict())
    plain(x).square().sum().backward()
    packed = []

    def pack(x):
        packed.append(x.shape)
        return x.cpu().tolist()

    with saved_tensors_hooks(pack, lambda kept: tg.tensor(kept, dtype=tg.float64).to(device)):
        loss = hooked(x).square().sum()
    count = len(packed)
    loss.backward()
    assert count >= 5 and len(packed) == count  # nothing is packed after the block
    for a, b in zip(plain.parameters(), hooked.parameters()):
        np.testing.assert_allclose(a.grad.cpu(), b.grad.cpu(), rtol=1e-12, atol=1e-13)


def test_second_order_goes_through_unpacked_values():
    x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    with saved_tensors_hooks(lambda x: x.tolist(), lambda kept: tg.tensor(kept, dtype=tg.float64)):
        y = (x**3).sum() + x.exp().sum()
    (g,) = grad(y, x, create_graph=True)
    np.testing.assert_allclose(grad(g.sum(), x)[0], 6 * x.array + np.exp(x.array))


def test_functions_are_packed_too():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, dz):
            (x,) = ctx.saved_tensors
            return 3 * x * x * dz

    x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    packed = []
    with saved_tensors_hooks(lambda x: packed.append(1) or x.tolist(), lambda kept: tg.tensor(kept, dtype=tg.float64)):
        y = Cube.apply(x).sum()
    assert packed
    (g,) = grad(y, x, create_graph=True)
    np.testing.assert_allclose(grad(g.sum(), x)[0], 6 * x.array)


def test_a_change_in_place_after_packing_is_harmless():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    with save_on_cpu():
        z = (y * y).sum()
    y.add_(1)
    z.backward()
    np.testing.assert_allclose(x.grad, [2.0, 4.0])


def test_the_innermost_pair_counts():
    x = tg.tensor([2.0], requires_grad=True)
    with saved_tensors_hooks(lambda x: x * 0, lambda x: x), saved_tensors_hooks(lambda x: x, lambda x: x):
        y = x * x
    y.backward()
    np.testing.assert_allclose(x.grad, [4.0])


@pytest.mark.parametrize(
    "unpack, error, message",
    [(lambda x: 3, TypeError, "returned a int"), (lambda x: x.sum(), RuntimeError, "returned shape")],
)
def test_what_unpack_must_return(unpack, error, message):
    x = tg.tensor([2.0, 1.0], requires_grad=True)
    with saved_tensors_hooks(lambda x: x, unpack):
        y = (x * x).sum()
    with pytest.raises(error, match=message):
        y.backward()


def test_a_second_backward_is_refused():
    x = tg.tensor([2.0], requires_grad=True)
    with save_on_cpu():
        y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_blocks_inside_of_each_other():
    x = tg.tensor([2.0], requires_grad=True)
    seen = []

    def named(name):
        return saved_tensors_hooks(lambda x: seen.append(name) or x, lambda x: x)

    with named("outer"):
        x.exp()
        with named("inner"):
            x.exp()
        x.exp()
    x.exp()
    assert seen == ["outer", "inner", "outer"]
    assert not [observer for observer in observers if observer.__module__ == "tensorgrad.saved"]


class SineAndCosine(Primitive):
    """y = sin x, z = cos x        dy = z dx, dz = -y dx"""

    def forward(self, x):
        return np.sin(x), np.cos(x)

    def jvp(self, dx, out):
        return out[1] * dx, -out[0] * dx

    def vjp(self, dzs, x, out):
        (dy, dz), (y, z) = dzs, out
        return z * dy - y * dz


def test_several_results_are_packed_but_for_themselves():
    """The input is packed; the results are one value of their node, which no Tensor can hold."""
    x = tg.tensor([0.5, 1.0], dtype=tg.float64, requires_grad=True)
    packed = []
    with saved_tensors_hooks(lambda x: packed.append(x.tolist()) or x, lambda x: x):
        y, z = SineAndCosine()(x)
    assert packed == [x.tolist()]
    (y + 2 * z).sum().backward()
    np.testing.assert_allclose(x.grad, np.cos(x.detach()) - 2 * np.sin(x.detach()))


def test_an_application_that_is_not_recorded_is_not_packed():
    """Even where what it gives back has a history of its own."""

    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, dz):
            return 2 * dz

    x = tg.ones(2, requires_grad=True) * 3
    packed = []
    with saved_tensors_hooks(lambda x: packed.append(1) or x, lambda x: x), tg.no_grad():
        z = Double.apply(x)
    assert z is x and z.requires_grad and packed == []


def test_unpacked_values_stand_where_they_stood():
    """A constant stays one, and the value of an operation leads on to what it came from."""

    class Product(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, dz):
            x, y = ctx.saved_tensors
            return dz * y, dz * x

    x, constant = tg.tensor([3.0], requires_grad=True), tg.tensor([5.0])
    with saved_tensors_hooks(lambda x: x, lambda x: x):
        z = Product.apply(x * x, constant) + Product.apply(x * x, x)
    (first,) = grad(z.sum(), x, create_graph=True)
    first.backward()
    assert first.tolist() == [2 * 3 * 5 + 3 * 9] and x.grad.tolist() == [2 * 5 + 6 * 3]
    assert constant.grad is None


@pytest.mark.parametrize(
    "function", [lambda x: x * x, lambda x: x.exp(), lambda x: x.sin() * 2.0], ids=["x", "out", "sin"]
)
@pytest.mark.parametrize("how", ["in place", "through NumPy", "in pack"])
def test_what_was_packed_as_it_is_must_not_change(function, how):
    """A pack that returns its argument keeps the memory itself, whose changes count as always."""
    x = tg.tensor([1.0, 2.0], requires_grad=True) * 1.0
    if how == "through NumPy":
        x.detach().numpy()
    if how == "in pack":
        pack = lambda x: x.mul_(3.0)  # noqa: E731
    else:
        pack = lambda x: x  # noqa: E731
    with tg.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        y = function(x)
    with tg.no_grad():
        for z in (x, y):
            if how == "in place":
                z.mul_(3.0)
            elif how == "through NumPy":
                z.detach().numpy()[0] = 9.0
    with pytest.raises(RuntimeError, match=r"saved_tensors_hooks: a value of shape \(2,\) was changed in place"):
        y.sum().backward()


def test_what_was_packed_as_a_copy_may_change():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x):
        y = (x * x).exp()
    kept = y.detach().clone()
    with tg.no_grad():
        x.zero_()
        y.zero_()
    y.sum().backward()
    assert x.grad.tolist() == (tg.tensor([2.0, 4.0]) * kept).tolist()


def test_hooks_that_are_left_out_of_turn_take_away_their_own():
    told = []

    def hooks(name):
        return saved_tensors_hooks(lambda x: told.append(name) or x, lambda x: x)

    def within():
        with hooks("inner"):
            yield

    x, generator = tg.ones(2, requires_grad=True), within()
    next(generator)
    with hooks("outer"):
        generator.close()
        x.exp()
    x.exp()
    assert told == ["outer"]
