"""Two names for one memory: gradients that others hold, Tensors made of Tensors, changes that were interrupted."""

import copy

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.autograd import grad
from tensorgrad.autograd.function import Function


def fresh(values=(1.0, 2.0, 3.0)):
    return tg.tensor(list(values), requires_grad=True)


# gradients that somebody else holds


def test_what_a_hook_kept_is_not_added_to_by_the_next_backward():
    x, kept = fresh(), []
    x.register_hook(kept.append)
    (x * 2.0).sum().backward()
    (x * 3.0).sum().backward()
    assert [g.tolist() for g in kept] == [[2, 2, 2], [3, 3, 3]] and x.grad.tolist() == [5, 5, 5]


@pytest.mark.parametrize("where", ["the leaf", "a result"])
def test_what_a_hook_returns_stays_its_own(where):
    x, constant = fresh(), tg.full((3,), 7.0)
    y = x if where == "the leaf" else x.reshape(3)
    y.register_hook(lambda g: constant)
    for _ in range(2):
        (y * 1.0).sum().backward()
    (g,) = grad((y * 1.0).sum(), x)
    with tg.no_grad():
        x.grad.mul_(100.0)
        g.mul_(100.0)
    assert constant.tolist() == [7, 7, 7] and x.grad.tolist() == [1400, 1400, 1400]


def test_a_hook_that_changes_what_it_gets_changes_nobody_elses():
    x, y = fresh(), fresh()
    a, b = x * 1.0, y * 1.0

    def ten(g):
        g.mul_(10.0)

    a.register_hook(ten)
    (a + b).sum().backward()  # one cotangent for both
    assert x.grad.tolist() == [10, 10, 10] and y.grad.tolist() == [1, 1, 1]


class ByKept(Function):
    """x . w, whose gradient along x is w itself."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(w)
        return (x * w).sum()

    @staticmethod
    def backward(ctx, dz):
        return ctx.saved_tensors[0], None


class ByViews(Function):
    """x + y, whose two gradients are one memory."""

    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, dz):
        g = dz * 1.0
        return g, g[:].view(3)


def test_a_function_may_return_what_it_saved():
    x, w = fresh(), tg.full((3,), 5.0)
    for _ in range(2):
        ByKept.apply(x, w).backward()
    (g,) = grad(ByKept.apply(x, w), x)
    g.zero_()
    assert w.tolist() == [5, 5, 5] and x.grad.tolist() == [10, 10, 10]


def test_a_function_may_return_one_memory_twice():
    x, y = fresh(), fresh()
    ByViews.apply(x, y).sum().backward()
    ByViews.apply(x, y).sum().backward()
    assert not np.shares_memory(x.grad.array, y.grad.array)
    assert x.grad.tolist() == [2, 2, 2] and y.grad.tolist() == [2, 2, 2]


def test_an_input_that_is_named_twice_gets_its_gradient_once():
    x = fresh()
    y = x * 2.0
    (y * 3.0).sum().backward(inputs=[y, y, x])
    assert y.grad.tolist() == [3, 3, 3] and x.grad.tolist() == [6, 6, 6]


def test_no_retained_gradient_is_anothers():
    x = fresh()
    a, b = x * 2.0, x * 3.0
    z = a + b
    for y in (a, b, z):
        y.retain_grad()
    seed = tg.ones(3)
    z.backward(seed)
    arrays = [y.grad.array for y in (a, b, z, x)] + [seed.array]
    assert not any(np.shares_memory(p, q) for i, p in enumerate(arrays) for q in arrays[:i])


# Tensors on the memory of others

OTHERS = {
    "Tensor": tg.Tensor,
    "Parameter": lambda x: nn.Parameter(x).detach(),
    "copy": copy.copy,
    "a view of one": lambda x: tg.Tensor(x)[1:],
    "its data": lambda x: nn.Parameter(x).data,
    "its array": lambda x: tg.Tensor(x).numpy(),
}


@pytest.mark.parametrize("way", OTHERS)
@pytest.mark.parametrize("saved", ["the first", "the other"])
def test_a_tensor_made_of_another_notices_its_changes(way, saved):
    x = tg.tensor([1.0, 2.0, 3.0])
    other = OTHERS[way](x)
    assert np.shares_memory(x.array, np.asarray(other))
    if saved == "the other" and isinstance(other, tg.Tensor):
        x, other = other, x
    y = tg.ones(*x.shape, requires_grad=True)
    z = (y * x).sum()
    other[0] = 9.0
    with pytest.raises(RuntimeError, match=r"changed in place|behind tensorgrad's back"):
        z.backward()


def test_copy_copies_leaves_only():
    x = fresh()
    y = copy.copy(x)
    assert y is not x and y.requires_grad and y.is_leaf and y.grad is None
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.copy(x * 2.0)
    kept = copy.copy(nn.Parameter(tg.ones(2), requires_grad=False))
    assert isinstance(kept, nn.Parameter) and not kept.requires_grad


# changes that were interrupted


class Cut(np.ndarray):
    """Memory whose writing Ctrl-C cuts off after the first value."""

    def _first(self, value):
        np.asarray(self).flat[0] = value
        raise KeyboardInterrupt

    def __setitem__(self, index, value):
        self._first(9.0)

    def __iadd__(self, other):
        self._first(9.0)

    def __isub__(self, other):
        self._first(9.0)

    def __imul__(self, other):
        self._first(9.0)


def stepped(w):
    w.grad = tg.ones(3)
    tg.optim.SGD([w], lr=0.1).step()


def clipped(w):
    fresh = tg.ones(3)
    fresh.grad = w
    nn.utils.clip_grad_norm_([fresh], 0.1)


def accumulated(w):
    x = tg.ones(3, requires_grad=True)
    x.grad = w
    (x * 2.0).sum().backward()


INTERRUPTED = {
    "in place": lambda w: w.mul_(2.0),
    "an index of places": lambda w: w.__setitem__(tg.tensor([0, 2]), 2.0),
    "a step": stepped,
    "clipping": clipped,
    "backward into a gradient": accumulated,
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_a_change_that_was_interrupted_is_noticed(how):
    """The version is raised before the first value is written, not after the last."""
    w = tg.Tensor(np.array([1.0, 2.0, 3.0], dtype="float32"))
    x = tg.ones(3, requires_grad=True)
    z = (x * w).sum()
    array, w.array = w.array, w.array.view(Cut)
    with pytest.raises(KeyboardInterrupt), tg.no_grad() if how != "backward into a gradient" else tg.enable_grad():
        INTERRUPTED[how](w)
    w.array = array
    assert tg.is_grad_enabled()
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()
