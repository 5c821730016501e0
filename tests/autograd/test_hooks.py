"""Hooks of Tensors and gradients kept for results."""

import gc
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import grad


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


def test_a_hook_sees_the_whole_gradient_and_may_replace_it():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10)
    (y.sum() + (y * y).sum()).backward()
    assert seen == [[7.0, 13.0]]  # 1 + 2 y, once
    np.testing.assert_allclose(x.grad, [210.0, 390.0])


def test_a_leaf_hook_runs_once_before_the_gradient_is_added():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()) or -g)
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5.0, 5.0]]
    np.testing.assert_allclose(x.grad, [-5.0, -5.0])
    (g,) = grad((x * 4).sum(), x)
    np.testing.assert_allclose(g, [-4.0, -4.0])
    handle.remove()
    (g,) = grad((x * 4).sum(), x)
    np.testing.assert_allclose(g, [4.0, 4.0])


def test_a_hook_of_one_of_several_results():
    x = leaf(1.0, 2.0, 3.0)
    first, second, _ = x.unbind(0)
    first.register_hook(lambda g: g * 100)
    (first + second * 5).backward()
    np.testing.assert_allclose(x.grad, [100.0, 5.0, 0.0])


def test_a_hook_under_create_graph_is_differentiated():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)  # the gradient becomes 2 x * x
    (g,) = grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach(), [8.0])
    np.testing.assert_allclose(grad(g.sum(), x)[0], [8.0])


def test_what_a_hook_keeps_is_its_own():
    x = leaf(1.0, 2.0)
    y = x * 1
    kept = []
    y.register_hook(lambda g: kept.append(g) or g.mul_(0))
    z = y + 1
    z.retain_grad()
    z.sum().backward()
    np.testing.assert_allclose(z.grad, [1.0, 1.0])
    np.testing.assert_allclose(x.grad, [0.0, 0.0])


@pytest.mark.parametrize(
    "returned, error, message",
    [
        (lambda g: 3, TypeError, "returned a int"),
        (lambda g: g.sum(), RuntimeError, "returned shape"),
        (lambda g: g.float(), RuntimeError, "dtype float32"),
    ],
)
def test_wrong_hooks(returned, error, message):
    y = leaf(1.0, 2.0) * 2
    y.register_hook(returned)
    with pytest.raises(error, match=message):
        y.sum().backward()


def test_hooks_need_a_gradient():
    with pytest.raises(RuntimeError, match="does not require grad"):
        tg.ones(2).register_hook(lambda g: None)
    with pytest.raises(TypeError, match="function"):
        leaf(1.0).register_hook(3)
    with pytest.raises(RuntimeError, match="does not require grad"):
        tg.ones(2).retain_grad()


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * x
    assert not y.retains_grad
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad and not x.retains_grad
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    np.testing.assert_allclose(y.grad, [2.0, 2.0])
    x.retain_grad()  # nothing to do for a leaf
    np.testing.assert_allclose(x.grad, 4 * x.array)


def test_after_accumulation():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_post_accumulate_grad_hook(lambda x: seen.append(x.grad.tolist()))
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    assert seen == [[2.0, 2.0], [5.0, 5.0]]
    with pytest.raises(RuntimeError, match="only a leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hooks_keep_no_graph_alive():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = x * 2
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_a_hook_that_raises_leaves_the_tape_usable():
    x = leaf(1.0)

    def angry(g):
        raise ValueError("no")

    y = x * 2
    handle = y.register_hook(angry)
    with pytest.raises(ValueError, match="no"):
        y.backward(retain_graph=True)
    handle.remove()
    y.backward()
    np.testing.assert_allclose(x.grad, [2.0])
    assert tg.is_grad_enabled()
