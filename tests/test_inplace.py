"""Changes in place: what they record, which views see them, and which saved values they spoil."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import grad, jvp
from tensorgrad.errors import DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.gradcheck import gradcheck
from tensorgrad.tensor import Tensor

START = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def make(device: str = "cpu", dtype: Any = tg.float64) -> Tensor:
    return tg.tensor(START, dtype=dtype, device=device, requires_grad=True)


# values and gradients

CHANGES = {
    "add": lambda z: z.add_(2.0),
    "sub": lambda z: z.sub_(z * 0.5),
    "mul": lambda z: z.mul_(z.clone()),
    "div": lambda z: z.div_(4.0),
    "pow": lambda z: z.pow_(2),
    "neg": lambda z: z.neg_(),
    "exp": lambda z: z.div_(5.0).exp_(),
    "log": lambda z: z.log_(),
    "sqrt": lambda z: z.sqrt_(),
    "tanh": lambda z: z.tanh_(),
    "sigmoid": lambda z: z.sigmoid_(),
    "relu": lambda z: z.sub_(2.5).relu_(),
    "abs": lambda z: z.sub_(2.5).abs_(),
    "clamp": lambda z: z.clamp_(1.5, 4.5),
    "copy": lambda z: z.copy_(z.flatten()[:2] * 2),
    "fill": lambda z: z.fill_(3.0),
    "fill with a Tensor": lambda z: z.fill_(z[1, 1] * 2),
    "zero": lambda z: z.zero_(),
    "row": lambda z: z[1].mul_(3.0),
    "value": lambda z: z[1, 0].mul_(z[0, 1].clone()),
    "column": lambda z: z[:, 1].exp_(),
    "turned": lambda z: z.T[0].mul_(z[:, 1].exp().log()),
    "reshaped": lambda z: z.view(6)[1:4].add_(z.view(6)[2:5]),
    "iteration": lambda z: [part.mul_(float(i)) for i, part in enumerate(z)],
    "unbind": lambda z: z.unbind(1)[0].exp_(),
    "squeezed": lambda z: z.unsqueeze(0).squeeze(0).mul_(2.0),
    "flipped": lambda z: z[::-1].copy_(z.clone()),
    "setitem row": lambda z: z.__setitem__(0, z[1] * 2),
    "setitem number": lambda z: z.__setitem__((slice(None), 0), 7),
    "setitem list": lambda z: z.__setitem__([2, 0], z[:2] * 3),
    "setitem mask": lambda z: z.__setitem__(z > 2.5, 0.0),
    "twice": lambda z: [z[0].mul_(2.0).add_(z[1]), z.mul_(z.clone())],
}
IN_NUMPY = {
    "add": lambda z: z + 2,
    "sub": lambda z: z / 2,
    "mul": lambda z: z * z,
    "div": lambda z: z / 4,
    "pow": lambda z: z * z,
    "neg": lambda z: -z,
    "exp": lambda z: np.exp(z / 5),
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z - 2.5, 0),
    "abs": lambda z: np.abs(z - 2.5),
    "clamp": lambda z: np.clip(z, 1.5, 4.5),
    "copy": lambda z: np.array([[2.0, 4.0]] * 3),
    "fill": lambda z: np.full((3, 2), 3.0),
    "fill with a Tensor": lambda z: np.full((3, 2), 8.0),
    "zero": lambda z: 0 * z,
    "row": lambda z: np.array([[1.0, 2], [9, 12], [5, 6]]),
    "value": lambda z: np.array([[1.0, 2], [6, 4], [5, 6]]),
    "column": lambda z: np.array([[1, np.exp(2)], [3, np.exp(4)], [5, np.exp(6)]]),
    "turned": lambda z: np.array([[2.0, 2], [12, 4], [30, 6]]),
    "reshaped": lambda z: np.array([[1.0, 5], [7, 9], [5, 6]]),
    "iteration": lambda z: np.array([[0.0, 0], [3, 4], [10, 12]]),
    "unbind": lambda z: np.array([[np.exp(1), 2], [np.exp(3), 4], [np.exp(5), 6]]),
    "squeezed": lambda z: 2 * z,
    "flipped": lambda z: z[::-1],
    "setitem row": lambda z: np.array([[6.0, 8], [3, 4], [5, 6]]),
    "setitem number": lambda z: np.array([[7.0, 2], [7, 4], [7, 6]]),
    "setitem list": lambda z: np.array([[9.0, 12], [3, 4], [3, 6]]),
    "setitem mask": lambda z: np.array([[1.0, 2], [0, 0], [0, 0]]),
    "twice": lambda z: np.array([[25.0, 64], [9, 16], [25, 36]]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name, device):
    def function(x: Tensor) -> Tensor:
        z = x * 1
        view = z[1:]  # made before the change, looked at after it
        CHANGES[name](z)
        return z * z + view.sum()

    x = make(device)
    changed = np.asarray(IN_NUMPY[name](np.array(START)))
    np.testing.assert_allclose(function(x).tolist(), changed**2 + changed[1:].sum(), rtol=1e-12)
    assert gradcheck(function, x)
    assert gradcheck(
        lambda y: grad(function(y).sum(), y, create_graph=True)[0] if y.requires_grad else y, x, directions=1
    )


@pytest.mark.parametrize("name", ["mul", "column", "setitem list", "twice"])
def test_changes_under_nested_forward_mode(name):
    """The second derivative along v, forward over forward, against differences of the first."""
    v = tg.ones(3, 2, dtype=tg.float64)

    def function(x: Tensor) -> Tensor:
        z = x * 1
        CHANGES[name](z)
        return z * z

    def slope(x: Tensor) -> Tensor:
        found: Tensor = jvp(function, x, v)[1]
        return found

    x, h = make().detach(), 1e-5
    found = np.array(jvp(slope, x, v)[1].tolist())
    expected = (np.array(slope(x + h * v).tolist()) - np.array(slope(x - h * v).tolist())) / (2 * h)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_in_place_returns_itself_in_its_own_memory(device):
    x = tg.ones(2, 3, device=device)
    array = x.array
    assert x.add_(1.0) is x and x.array is array
    x += 1
    x *= tg.tensor([1.0, 2.0, 3.0], device=device)
    x -= 1
    x /= 2
    x **= 2
    assert x.array is array and x.tolist() == [[1, 6.25, 16]] * 2


def test_assigning_single_values(device):
    """x[i] of a one-dimensional Tensor is one value, and still a view."""
    x = tg.zeros(3, device=device)
    x[0] = 5
    x[1].add_(2.0)
    x.unbind()[2].fill_(7.0)
    assert x.tolist() == [5, 2, 7]
    y = tg.zeros((), device=device)
    y[()] = 3.0
    y[...].add_(1.0)
    assert y.item() == 4


def test_setitem_takes_shapes_that_broadcast(device):
    x = tg.zeros(2, 3, device=device)
    x[:, 1:] = tg.tensor([[1.0], [2.0]], device=device)
    x[0] = tg.ones(1, 3, device=device)
    x[tg.tensor([True, False], device=device)] += 1
    assert x.tolist() == [[2, 2, 2], [0, 2, 2]]
    with pytest.raises(RuntimeError, match=r"\(2, 3\)|\(4,\)"):
        x[:] = tg.ones(4, device=device)
    with pytest.raises(OperandError, match="got a str"):
        x[0] = "seven"


def test_results_that_do_not_fit(device):
    x = tg.ones(2, device=device)
    with pytest.raises(ShapeError, match=r"add_: the result has shape \(3, 2\)"):
        x.add_(tg.ones(3, 2, device=device))
    with pytest.raises(DtypeError, match="add_: the result is float32 and does not fit into a Tensor of int64"):
        tg.arange(3, device=device).add_(0.5)
    assert tg.ones(2, device=device).add_(tg.ones(2, dtype=tg.float64, device=device)).dtype == tg.float32
    with pytest.raises(GraphError, match=r"share one place in memory"):
        tg.ones(1, device=device).expand(3).add_(1.0)


# leaves


def test_leaves_may_not_change_while_recording():
    x = tg.ones(3, requires_grad=True)
    for change in (
        lambda: x.add_(1.0),
        lambda: x[0].add_(1.0),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.view(3).zero_(),
    ):
        with pytest.raises(GraphError, match="leaf Tensor that requires grad cannot be changed in place"):
            change()
    assert x.tolist() == [1, 1, 1]
    with tg.no_grad():
        x.add_(1.0)
        x[0] = 5.0
    assert x.tolist() == [5, 2, 2] and x.is_leaf and x.requires_grad
    x.detach().zero_()
    assert x.tolist() == [0, 0, 0]


def test_a_constant_takes_up_history(device):
    """Writing what needs a gradient into a Tensor that does not: from then on it does."""
    w = tg.tensor([2.0, 3.0], device=device, requires_grad=True)
    buffer = tg.zeros(2, 2, device=device)
    row = buffer[1]
    buffer[0] = w * w
    assert buffer.requires_grad and not buffer.is_leaf and row.requires_grad
    (buffer * buffer).sum().backward(retain_graph=True)
    assert w.grad.tolist() == [4 * 8, 4 * 27]
    row.copy_(w)
    buffer.sum().backward()
    assert w.grad.tolist() == [4 * 8 + 4 + 1, 4 * 27 + 6 + 1]


def test_a_leaf_is_written_into_others(device):
    """The gradient goes to the leaf, whatever it was written into."""
    w = tg.tensor([2.0, 3.0], device=device, requires_grad=True)
    buffer = tg.zeros(2, 2, device=device)
    buffer[0] = w
    buffer[tg.tensor([1], device=device)] = w * 3
    copied = tg.zeros(2, device=device).copy_(w)
    number = tg.tensor(5.0, device=device, requires_grad=True)
    filled = tg.zeros(3, device=device).fill_(number)
    assert not copied.is_leaf and not filled.is_leaf
    (buffer.sum() + copied.sum() + filled.sum()).backward()
    assert w.grad.tolist() == [5, 5] and number.grad.item() == 3 and copied.grad is None


def test_a_factor_that_is_the_result_is_refused():
    """x.mul_(x) needs the x that is gone, as in PyTorch."""
    z = make() * 1
    z.mul_(z)
    with pytest.raises(GraphError, match="multiply: its input y"):
        z.sum().backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z.fill_(3.0),
        lambda z: z.zero_(),
        lambda z: z.copy_(tg.ones(3, 2)),
        lambda z: z.__setitem__(slice(None), 0),
    ],
)
def test_what_is_overwritten_whole_still_requires_grad(change):
    x = make()
    z = x * 1
    change(z)
    assert z.requires_grad and not z.is_leaf
    z.sum().backward()
    assert x.grad.tolist() == [[0, 0]] * 3


def test_overlapping_copies(device):
    x = tg.arange(5, dtype=tg.float32, device=device)
    x[1:].copy_(x[:-1])
    assert x.tolist() == [0, 0, 1, 2, 3]


def test_overwritten_values_get_no_gradient(device):
    x = make(device)
    z = x * 1
    z[0] = 0.0
    z[1:].fill_(1.0)
    (gradient,) = grad(z.sum(), x)
    assert gradient.tolist() == [[0, 0]] * 3


# views and versions


def test_views_see_changes_of_their_base_and_the_other_way_round(device):
    x = make(device)
    z = x * 1
    first, turned = z[0], z.T
    z.mul_(10.0)
    assert first.tolist() == [10, 20]
    assert grad(first.sum(), x, retain_graph=True)[0].tolist() == [[10, 10], [0, 0], [0, 0]]
    first.add_(1.0)
    assert turned.tolist() == [[11, 30, 50], [21, 40, 60]]
    assert grad(turned[0].sum(), x)[0].tolist() == [[10, 0], [10, 0], [10, 0]]


def test_views_made_before_under_no_grad_keep_no_history():
    x = make()
    z = x * 1
    with tg.no_grad():
        y = z[0]
    assert not y.requires_grad
    z.mul_(2.0)
    assert y.tolist() == [2, 4]


def saved_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x.exp()
    return y, y * 1


def saved_factor(x: Tensor) -> tuple[Tensor, Tensor]:
    y = x + 1
    return y, y * y


SPOILERS = {
    "directly": lambda y: y.add_(1.0),
    "a value": lambda y: y.__setitem__((0, 0), 1.0),
    "with a list": lambda y: y.__setitem__([0], 1.0),
    "through a view": lambda y: y[0].zero_(),
    "through a view of a view": lambda y: y.T[0].zero_(),
    "through detach": lambda y: y.detach().add_(1.0),
    "through detach of a view": lambda y: y[1].detach().add_(1.0),
    "under no_grad": lambda y: tg.no_grad()(lambda: y.add_(1.0))(),
}


@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.parametrize("create_graph", [False, True])
def test_a_saved_value_changed_in_place_is_refused(how, create_graph, device):
    for what, saved, operation, shape in [
        ("its result", saved_exp, "exp", ""),
        ("its input x", saved_factor, "multiply", r" of shape \(3, 2\)"),
    ]:
        y, z = saved(make(device))
        SPOILERS[how](y)
        with pytest.raises(
            GraphError, match=f"{operation}: {what}{shape} is needed for the gradient, but was changed in place by"
        ):
            z.sum().backward(create_graph=create_graph)


def test_the_refusal_names_who_changed_it():
    y, z = saved_factor(make())
    y.mul_(2.0)
    with pytest.raises(
        RuntimeError, match=r"changed in place by mul_ \(now at version 1\); change a \.clone\(\) instead"
    ):
        z.sum().backward()


def test_a_view_made_first_then_its_base_changed(device):
    x = make(device)
    base = x * 1
    view = base[1:]
    z = view * view
    base.add_(1.0)
    with pytest.raises(GraphError, match=r"multiply: its input x of shape \(2, 2\)"):
        z.sum().backward()
    base = x * 1
    view = base[1:]
    z = base * base
    view.add_(1.0)
    with pytest.raises(GraphError, match=r"multiply: its input x of shape \(3, 2\)"):
        z.sum().backward()


def test_what_is_not_saved_may_change(device):
    x = make(device)
    y = x * 3
    z = y + 1  # an addition keeps nothing
    y.zero_()
    z.sum().backward()
    assert x.grad.tolist() == [[3, 3]] * 3
    w = x.exp()
    v = w.log()  # keeps w, as exp does; a change of v spoils neither
    v.mul_(2.0)
    x.grad = None
    v.sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), [[2, 2]] * 3)


def test_a_result_changed_before_it_is_saved_again(device):
    """A version that was already above 0 when the value was saved."""
    x = make(device)
    y = x * 1
    y.add_(1.0)
    z = y * y
    z.sum().backward()
    assert x.grad.tolist() == [[2 * (v + 1) for v in row] for row in START]
    y = x * 1
    y.add_(1.0)
    z = y * y
    y.add_(1.0)
    with pytest.raises(GraphError, match="now at version 2"):
        z.sum().backward()


def test_parameters_changed_between_forward_and_backward():
    """The classic: a step of the optimiser before the backward of a loss that still needs the weights."""
    w = tg.ones(2, requires_grad=True)
    loss = (w * w).sum()
    with tg.no_grad():
        w.sub_(0.1)
    with pytest.raises(GraphError, match="multiply: its input x"):
        loss.backward()


def test_gradient_accumulates_in_place_and_counts_as_a_change():
    x = tg.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    y = tg.ones(2, requires_grad=True)
    z = (y * x.grad).sum()
    (x * 2).sum().backward()
    with pytest.raises(GraphError, match="changed in place by backward"):
        z.backward()


def test_dropping_a_view_does_not_drop_the_base():
    x = make()
    z = x * 1
    for row in range(3):
        z[row].mul_(float(row + 1))
    assert len(z.storage.views) <= 8
    for _ in range(100):
        z.view(6)
    assert len(z.storage.views) < 50, "dead views are swept out"
    (g,) = grad(z.sum(), x)
    assert g.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_copy_from_another_dtype_and_device():
    x = tg.zeros(2, device="standin")
    x.copy_(tg.tensor([1, 2]))
    assert x.tolist() == [1, 2] and x.dtype == tg.float32 and x.device.type == "standin"
    w = tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True)
    y = tg.zeros(2, 2, device="standin").copy_(w)
    y.sum().backward()
    assert w.grad.tolist() == [2, 2] and w.grad.dtype == tg.float64 and w.grad.device.type == "cpu"


@pytest.mark.parametrize("compute", [lambda x: x / 2, lambda x: x**2, lambda x: x / (x * x), lambda x: x + 1])
def test_results_that_are_not_saved_may_change(compute):
    """Quotients and powers by a number do not need their result, as in PyTorch."""
    x = make()
    z = compute(x)
    (expected,) = grad(z.sum(), x, retain_graph=True)
    z.add_(1.0)
    z[0] += 1
    assert grad(z.sum(), x)[0].tolist() == expected.tolist()


def test_a_dividend_is_saved_only_for_the_divisor():
    x, y = make() * 1, make()
    z = x / 2
    x.zero_()
    z.sum().backward()
    x = make() * 1
    z = x / y
    x.zero_()
    with pytest.raises(GraphError, match="divide: its input x"):
        z.sum().backward()


def test_an_empty_part_may_be_written_on_the_tape(device):
    x = tg.ones(3, device=device, requires_grad=True)
    z = x * 2
    z[3:] = 5.0
    z[:0].mul_(7.0)
    assert z.tolist() == [2, 2, 2] and grad(z.sum(), x)[0].tolist() == [2, 2, 2]


def test_a_view_of_a_base_that_lies_in_another_order_is_written(device):
    """The base lies in memory column by column, the view flattens it that way."""
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], device=device, requires_grad=True)
    z = (x * 1).t()
    z.t().view(-1)[1:3].mul_(10.0)
    assert z.tolist() == [[1, 30, 5], [20, 4, 6]]
    (first,) = grad((z * z).sum(), x, create_graph=True)
    assert first.tolist() == [[2, 400], [600, 8], [10, 12]]
    assert grad(first.sum(), x)[0].tolist() == [[2, 200], [200, 2], [2, 2]]


def test_a_part_of_what_is_expanded_is_written_where_each_value_stands_once():
    """NumPy makes what is broadcast read-only, and every part of it."""
    x = tg.ones(3, 4)
    x.expand(2, 3, 4)[1].mul_(5)
    assert x.tolist() == [[5.0] * 4] * 3
    y = tg.ones(3, 4, requires_grad=True) * 1
    for write in (lambda: y.expand(2, 3, 4)[0][1].zero_(), lambda: x.expand(2, 3, 4)[0].copy_(y)):
        with pytest.raises(GraphError, match=r"copy_: .* write into what was expanded"):
            write()
    with pytest.raises(GraphError, match="share one place in memory"):
        x.expand(2, 3, 4).zero_()


def test_memory_that_is_read_only_is_not_written():
    values = np.ones(3)
    values.flags.writeable = False
    for x in (tg.Tensor(values), tg.Tensor(values)[:2], tg.Tensor(np.frombuffer(bytes(8), np.float32))):
        with pytest.raises(GraphError, match=r"add_: .* looks at memory that is read-only; use a .clone"):
            x.add_(1)
