"""Recomputation instead of memory: the same derivatives of every order, less kept."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.autograd import grad, jvp
from tensorgrad.autograd.graph import saved_tensors_hooks
from tensorgrad.primitive import observers
from tensorgrad.utils.checkpoint import checkpoint, checkpoint_sequential


def block():
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3), nn.Tanh()
    ).double()


def pictures(requires_grad=True):
    tg.manual_seed(1)
    return tg.randn(2, 1, 8, 8, dtype=tg.float64, requires_grad=requires_grad)


@pytest.mark.parametrize("reentrant", [None, False, True])
def test_the_gradients_are_the_same(reentrant):
    plain, kept = block(), block()
    x, y = pictures(), pictures()
    plain(x).square().sum().backward()
    checkpoint(kept, y, use_reentrant=reentrant).square().sum().backward()
    for a, b in [(x, y), *zip(plain.parameters(), kept.parameters())]:
        np.testing.assert_array_equal(a.grad, b.grad)


def test_every_order_and_mixture():
    def f(x):
        return ((x * x).sin() * x.exp()).sum()

    x = tg.tensor([0.3, -0.7], dtype=tg.float64, requires_grad=True)
    v = tg.tensor([1.0, 0.5], dtype=tg.float64)
    ours, obvious = checkpoint(f, x), f(x)
    for _ in range(3):
        (ours,) = grad(ours.sum(), x, create_graph=True)
        (obvious,) = grad(obvious.sum(), x, create_graph=True)
        np.testing.assert_allclose(ours.detach(), obvious.detach(), rtol=1e-12)

    def gradient(x, function):
        z = x * 1
        if not z.requires_grad:
            z.requires_grad_()
        return grad(function(z), z, create_graph=True)[0]

    with_parts = jvp(lambda x: gradient(x, lambda z: checkpoint(f, z)), (x.detach(),), (v,))[1]
    without = jvp(lambda x: gradient(x, f), (x.detach(),), (v,))[1]
    np.testing.assert_allclose(with_parts.detach(), without.detach(), rtol=1e-12)


def test_random_numbers_are_the_same_again():
    x = tg.ones(1000, requires_grad=True)
    drop = nn.Dropout(0.5)
    tg.manual_seed(3)
    z = checkpoint(lambda x: drop(x) * x, x)
    after = tg.rand(1)
    z.sum().backward()
    np.testing.assert_allclose(x.grad, 2 * z.detach().array)
    later = tg.rand(1)
    tg.manual_seed(3)
    drop(x)
    assert float(tg.rand(1)) == float(after)  # and those drawn later, before and after backward, are not disturbed
    assert float(tg.rand(1)) == float(later)


def test_what_it_keeps():
    x = tg.randn(100, 100, requires_grad=True)

    def held(z):
        nodes, seen, total = [z.node], set(), 0
        while nodes:
            node = nodes.pop()
            if node is None or isinstance(node, tg.Tensor) or id(node) in seen:
                continue
            seen.add(id(node))
            if type(node.saved) is list:
                total += sum(value.nbytes for value in node.saved if value is not None)
            nodes.extend(node.parents)
        return total

    def f(x):
        for _ in range(5):
            x = x.sigmoid().exp()
        return x.sum()

    assert held(f(x)) > 10 * x.nbytes * 0.9
    assert held(checkpoint(f, x)) == 0


def test_nested_parts_and_a_retained_graph():
    x = tg.tensor([0.5], dtype=tg.float64, requires_grad=True)
    z = checkpoint(lambda x: checkpoint(lambda y: y.exp() * y, x.sin()) * x, x).sum()
    z.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    x.grad = None
    z.backward()
    np.testing.assert_array_equal(x.grad, first)
    y = tg.tensor([0.5], dtype=tg.float64, requires_grad=True)
    (y.sin().exp() * y.sin() * y).sum().backward()
    np.testing.assert_allclose(first, y.grad, rtol=1e-14)
    with pytest.raises(RuntimeError, match="retain_graph"):
        z.backward()


def test_a_function_that_does_something_else_is_refused():
    calls = []

    def fickle(x):
        calls.append(1)
        return x.exp().sum() if len(calls) == 1 else x.sin().sum()

    def shorter(x):
        calls.append(1)
        z = x.exp()
        return (z * z if len(calls) == 1 else z).sum()

    with pytest.raises(RuntimeError, match=r"other operations.* 2 instead of 2, the first difference at operation 0;"):
        checkpoint(fickle, tg.ones(2, requires_grad=True)).backward()
    calls.clear()
    with pytest.raises(RuntimeError, match=r"other operations.* 2 instead of 3, the first difference at operation 1;"):
        checkpoint(shorter, tg.ones(2, requires_grad=True)).backward()


def test_hooks_on_saved_values_inside_of_a_part():
    x = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    packed = []

    def part(x):
        with saved_tensors_hooks(
            lambda x: packed.append(1) or x.tolist(), lambda kept: tg.tensor(kept, dtype=tg.float64)
        ):
            return (x * x * x).sum()

    checkpoint(part, x).backward()
    assert packed and x.grad.tolist() == [3, 12]


def test_nothing_watches_afterwards():
    x = tg.ones(2, requires_grad=True)
    checkpoint(lambda x: checkpoint(lambda y: y.exp(), x) * x, x).sum().backward()
    assert not [observer for observer in observers if observer.__module__ == "tensorgrad.utils.checkpoint"]


def test_an_argument_changed_in_place_is_noticed():
    x = tg.ones(2, requires_grad=True)
    y = x * 1
    z = checkpoint(lambda y: (y * y).sum(), y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_keyword_arguments_contexts_and_no_grad():
    x = tg.ones(2, requires_grad=True)
    seen = []

    class Note:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(self.name)

        def __exit__(self, *exception):
            pass

    z = checkpoint(
        lambda x, power: (x**power).exp().sum(), x, power=3, context_fn=lambda: (Note("first"), Note("second"))
    )
    z.backward()
    assert seen == ["first", "second"]
    with tg.no_grad():
        assert not checkpoint(lambda x: x * 2, x).requires_grad
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(lambda x: x, x, determinism_check="maybe")


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_sequential(segments):
    plain, kept = block(), block()
    x, y = pictures(), pictures()
    plain(x).square().sum().backward()
    checkpoint_sequential(kept, segments, y).square().sum().backward()
    for a, b in [(x, y), *zip(plain.parameters(), kept.parameters())]:
        np.testing.assert_array_equal(a.grad, b.grad)
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential(kept, 8, y)


def stepped(x, w):
    w.grad = tg.ones(3)
    tg.optim.SGD([w], lr=0.1).step()


CHANGES_SINCE = {
    "an argument": lambda x, w: x.mul_(2.0),
    "a view of it": lambda x, w: x.data[1:].zero_(),
    "a weight": lambda x, w: w.mul_(2.0),
    "a weight's data": lambda x, w: setattr(w, "data", tg.zeros(3)),
    "a step of an optimizer": stepped,
    "through NumPy": lambda x, w: w.detach().numpy().fill(5.0),
}


@pytest.mark.parametrize("how", CHANGES_SINCE)
def test_a_part_is_not_computed_again_from_other_values(how):
    """Nothing saved was changed, for nothing was saved; but what it would be computed from again."""
    x, w = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    w.detach().numpy()  # NumPy had it before
    z = checkpoint(lambda x: (x.exp() * w.exp()).sin().sum(), x)
    with tg.no_grad():
        CHANGES_SINCE[how](x, w)
    with pytest.raises(RuntimeError, match=r"checkpoint: exp: a value .* was changed in place since"):
        z.backward()


def test_what_a_part_changes_itself_is_no_change():
    x = tg.ones(3, requires_grad=True)

    def part(x):
        y = x * 2.0
        y.mul_(3.0)
        y[0].add_(1.0)
        return y.sum()

    for _ in range(2):
        checkpoint(part, x).backward()
    assert x.grad.tolist() == [12, 12, 12]
