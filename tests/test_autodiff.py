"""backward, grad, jvp, vjp, jacobian, hessian, hvp: arguments, results and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import backward, grad, hessian, hvp, jacobian, jvp, vjp
from tensorgrad.errors import ArgumentError, GraphError, OperandError, ShapeError
from tensorgrad.tensor import Tensor


def leaf(*values: float, device: str = "cpu") -> Tensor:
    return tg.tensor(values, dtype=tg.float64, device=device, requires_grad=True)


# backward


def test_gradients_add_up_over_calls(device):
    x = leaf(1, 2, device=device)
    (x * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [2 + 3, 4 + 3]
    assert not x.grad.requires_grad and x.grad.device.type == x.device.type
    x.grad = None
    x.backward(tg.ones_like(x))
    assert x.grad.tolist() == [1, 1]


def test_a_sequence_of_outputs(device):
    x = leaf(1, 2, device=device)
    y, z = x * x, x.sum()
    backward([y, z], [tg.tensor([1.0, 10.0], dtype=tg.float64, device=device), None])
    assert x.grad.tolist() == [2 + 1, 40 + 1]


def test_an_output_that_leads_to_another():
    x = leaf(3)
    y = x * x
    z = (y * y).sum()
    backward([z, y.sum()])
    assert x.grad.tolist() == [4 * 27 + 6]


def test_only_the_named_inputs_collect():
    x, w = leaf(1, 2), leaf(3, 4)
    hidden = x * w
    backward((hidden * hidden).sum(), inputs=[w])
    assert x.grad is None and w.grad.tolist() == [6, 32]
    hidden = x * w
    backward((hidden * hidden).sum(), inputs=[hidden, x])
    assert hidden.grad.tolist() == [6, 16] and x.grad.tolist() == [18, 64] and w.grad.tolist() == [6, 32]


def test_named_inputs_must_require_grad():
    x, w = leaf(1), tg.ones(1)
    with pytest.raises(GraphError, match=r"an input of shape \(1,\) does not require grad"):
        backward((x * x).sum(), inputs=[w])
    with pytest.raises(OperandError, match="an input is a float"):
        backward((x * x).sum(), inputs=[1.0])


def test_create_graph_of_backward():
    x = leaf(2)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad and x.grad.tolist() == [12]
    (second,) = grad(x.grad.sum(), x)
    assert second.tolist() == [12]
    x.grad = None  # the gradient's graph holds x, and x its gradient: PyTorch advises the same


def test_gradient_of_an_integer_result():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="no history"):
        x.argmax().backward()


# grad


def test_grad_leaves_grad_alone():
    x = leaf(1, 2)
    assert grad((x * x).sum(), x)[0].tolist() == [2, 4] and x.grad is None


def test_grad_of_what_is_no_leaf():
    x = leaf(1, 2)
    y = x * 3
    z = (y * y).sum()
    dy, dx = grad(z, [y, x])
    assert (dy.tolist(), dx.tolist()) == ([6, 12], [18, 36])


def test_grad_with_respect_to_the_output_itself():
    x = leaf(1, 2)
    y = x * 2
    z = y.sum()
    assert grad(z, z, retain_graph=True)[0].item() == 1
    dz, dy = grad([z, z], [z, y])
    assert dz.item() == 2 and dy.tolist() == [2, 2]


def test_unused_inputs():
    x, unused = leaf(1, 2), leaf(5)
    with pytest.raises(GraphError, match=r"do not depend on input 1, of shape \(1,\); pass allow_unused=True"):
        grad((x * x).sum(), [x, unused])
    found = grad((x * x).sum(), [x, unused], allow_unused=True)
    assert found[0].tolist() == [2, 4] and found[1] is None
    assert grad((x * x).sum(), [unused, x], materialize_grads=True)[0].tolist() == [0]


def test_grad_visits_only_what_leads_to_its_inputs():
    x, w = leaf(1, 2), leaf(3, 4)
    aside = w.exp()
    z = (x * 2 + aside).sum()
    grad(z, x)
    assert type(aside.grad_fn.saved) is list, "the branch of w was not visited, so nothing of it is used up"
    with pytest.raises(RuntimeError, match="requires_grad=True on it first"):
        grad((x * 2).sum(), tg.ones(2))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_orders_of_one_function(order, device):
    """The n-th derivative of e^(2x) is 2^n e^(2x), reverse over reverse and forward over forward."""
    x = leaf(0.3, device=device)
    z = (2 * x).exp()
    for _ in range(order):
        (z,) = grad(z.sum(), x, create_graph=True)
    assert z.item() == pytest.approx(2**order * math.exp(0.6))

    def nested(n: int):
        if n == 0:
            return lambda y: (2 * y).exp()
        return lambda y: jvp(nested(n - 1), y, tg.ones_like(y))[1]

    assert nested(order)(x.detach()).item() == pytest.approx(2**order * math.exp(0.6))


# forward mode


def test_nested_levels_are_kept_apart():
    """d/dx (x d/dy (x y)) = d/dx (x x) = 2x: with confused levels it would come out as something else."""

    def outer(x: Tensor) -> Tensor:
        _, slope = jvp(lambda y: x * y, tg.ones_like(x), tg.ones_like(x))
        return x * slope

    x = tg.tensor([3.0])
    assert jvp(outer, x, tg.ones(1))[1].tolist() == [6]
    # and d/dx of something in which only the inner direction depends on x: d/dx d/dy (y^2)|y=1 . x = 2
    assert jvp(lambda x: jvp(lambda y: y * y, tg.ones(1), x)[1], x, tg.ones(1))[1].tolist() == [2]


def test_forward_mode_of_several_inputs_and_results():
    x, y = leaf(1, 2).detach(), leaf(3, 4).detach()
    dx, dy = leaf(1, 0).detach(), leaf(0, 1).detach()
    (product, total), (dproduct, dtotal) = jvp(lambda x, y: (x * y, x.sum()), (x, y), (dx, dy))
    assert product.tolist() == [3, 8] and total.item() == 3
    assert dproduct.tolist() == [3, 2] and dtotal.item() == 1
    out, dout = jvp(lambda x: tg.ones(2), x, dx)
    assert out.tolist() == [1, 1] and dout.tolist() == [0, 0]


def test_forward_mode_is_not_switched_off_by_no_grad():
    x, dx = leaf(1, 2), leaf(1, 1).detach()
    with tg.no_grad():
        assert jvp(lambda y: y * y, x, dx)[1].tolist() == [2, 4]


def test_detach_and_cast_under_forward_mode():
    x, dx = tg.tensor([2.0]), tg.ones(1)
    assert jvp(lambda y: y.detach() * y, x, dx)[1].tolist() == [2]
    assert jvp(lambda y: y.double() * 3, x, dx)[1].dtype == tg.float64
    assert jvp(lambda y: (y > 1).float(), x, dx)[1].tolist() == [0]


def test_tangents_are_written_into_buffers():
    def function(y: Tensor) -> Tensor:
        buffer = tg.zeros(2, 2)
        buffer[0] = y
        buffer[1].copy_(y * y)
        return buffer

    out, dout = jvp(function, tg.tensor([2.0, 3.0]), tg.tensor([1.0, 10.0]))
    assert out.tolist() == [[2, 3], [4, 9]] and dout.tolist() == [[1, 10], [4, 60]]


def test_a_value_carried_out_of_jvp_has_no_tangent():
    kept: list[Tensor] = []
    x = leaf(2.0)

    def function(y: Tensor) -> Tensor:
        kept.append(y * y)
        return kept[0] * 1

    jvp(function, x, tg.ones_like(x))
    z = (kept[0] * kept[0]).sum()
    assert z.extra is None or not z.extra.tangents
    assert grad(z, x)[0].tolist() == [4 * 8]


def test_errors_of_forward_mode():
    x = tg.ones(2)
    with pytest.raises(ArgumentError, match="got 1 primals and 2 tangents"):
        jvp(lambda x: x, (x,), (x, x))
    with pytest.raises(ShapeError, match=r"tangent 0 has shape \(3,\)"):
        jvp(lambda x: x, x, tg.ones(3))
    with pytest.raises(OperandError, match="the function returned a float"):
        jvp(lambda x: 1.0, x, x)


# vjp, jacobian, hessian, hvp


def test_vjp_of_several_inputs_and_results(device):
    x, y = leaf(1, 2, device=device), leaf(3, 4, device=device)
    (product, total), pullback = vjp(lambda x, y: (x * y, x.sum()), x, y)
    assert product.tolist() == [3, 8] and total.item() == 3
    u, s = tg.tensor([1.0, 10.0], dtype=tg.float64, device=device), tg.tensor(100.0, dtype=tg.float64, device=device)
    for _ in range(2):  # as often as one likes
        dx, dy = pullback(u, s)
        assert (dx.tolist(), dy.tolist()) == ([103, 140], [1, 20])
    assert x.grad is None


def test_vjp_can_be_differentiated():
    x = leaf(2.0)
    _, pullback = vjp(lambda y: y**3, x)
    u = leaf(1.0)
    (g,) = pullback(u)
    assert [d.tolist() for d in grad(g.sum(), [x, u])] == [[12], [12]]


def test_jacobian_and_hessian_worked_by_hand(device):
    x = leaf(1, 2, device=device)

    def function(y: Tensor) -> Tensor:
        return tg.stack([y[0] * y[1], y[0] ** 2, y[1].exp()])

    assert np.allclose(jacobian(function, x).tolist(), [[2, 1], [2, 0], [0, math.exp(2)]])
    # f = x0^2 x1 + x1^3: H = [[2 x1, 2 x0], [2 x0, 6 x1]]
    cubic = lambda y: y[0] ** 2 * y[1] + y[1] ** 3  # noqa: E731
    assert hessian(cubic, x).tolist() == [[4, 2], [2, 12]]
    value, product = hvp(cubic, x, tg.tensor([1.0, 10.0], dtype=tg.float64, device=device))
    assert value.item() == 10 and product.tolist() == [24, 122]
    assert jacobian(lambda y: y.reshape(1, 2) * 2, x).shape == (1, 2, 2)


def test_jacobian_with_a_graph():
    x = leaf(1.0, 2.0)
    found = jacobian(lambda y: y**3, x, create_graph=True)
    assert [[round(v, 9) for v in row] for row in found.tolist()] == [[3, 0], [0, 12]]
    assert grad(found.sum(), x)[0].tolist() == [6, 12]


def test_derivatives_inside_no_grad():
    x = leaf(1.0, 2.0)
    with tg.no_grad():
        assert hessian(lambda y: (y**3).sum(), x).tolist() == [[6, 0], [0, 12]]
        assert hvp(lambda y: (y**3).sum(), x, tg.ones_like(x))[1].tolist() == [6, 12]
        assert vjp(lambda y: y * y, x)[1](tg.ones_like(x))[0].tolist() == [2, 4]


# against PyTorch: one function with everything in it


@pytest.mark.oracle
def test_hessian_against_pytorch():
    torch = pytest.importorskip("torch")
    start = np.random.default_rng(0).standard_normal((3, 2))

    def ours(x: Tensor) -> Tensor:
        z = tg.log_softmax(x @ x.T, 1)
        return (z * z.exp()).sum() + (x.sum(0) ** 2).mean() / (1 + x[0, 0] ** 2)

    def theirs(x):
        z = torch.log_softmax(x @ x.T, 1)
        return (z * z.exp()).sum() + (x.sum(0) ** 2).mean() / (1 + x[0, 0] ** 2)

    expected = torch.autograd.functional.hessian(theirs, torch.tensor(start)).numpy()
    x = tg.tensor(start)
    np.testing.assert_allclose(hessian(ours, x).array, expected, rtol=1e-9, atol=1e-9)
    v = tg.ones_like(x)
    np.testing.assert_allclose(hvp(ours, x, v)[1].array, expected.sum(axis=(2, 3)), rtol=1e-9, atol=1e-9)
