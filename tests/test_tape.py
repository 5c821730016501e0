"""The tape: what is recorded, kept, freed and refused; graphs of any depth; several results; the five hard cases together."""

from __future__ import annotations

import gc
import re
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import backward, grad, jvp, vjp
from tensorgrad.backend import backend_of
from tensorgrad.errors import DeviceError, GraphError, ShapeError
from tensorgrad.gradcheck import gradcheck
from tensorgrad.ops.elementwise import Exp
from tensorgrad.primitive import Bilinear, Linear, Primitive, observers, tape
from tensorgrad.tensor import Tensor

# primitives defined here, for what no primitive of the library does


class HalfAndDouble(Linear):
    """z1 = x / 2, z2 = 2 x        dz likewise"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return x / 2, x * 2

    def vjp(self, dzs: Any) -> Any:
        half, double = [*dzs, None][:2]
        if double is None:
            return half / 2
        return double * 2 if half is None else half / 2 + double * 2


class SquareWithRoot(Primitive):
    """z1 = x^2, z2 = number of values, a whole number        dz1 = 2 x dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return x * x, np.array(x.size)

    def jvp(self, dx: Any, x: Any) -> Any:
        return 2 * x * dx, None

    def vjp(self, dzs: Any, x: Any) -> Any:
        return 2 * x * dzs[0]


class SameTwice(Linear):
    """z = x + 2 y        dz = dx + 2 dy; its vjp hands out one array twice on purpose, scaled in the forward"""

    __slots__ = ()

    def forward(self, x: Any, y: Any) -> Any:
        return 2 * x + 2 * y

    def vjp(self, dz: Any) -> Any:
        g = 2 * dz
        return g, g


# classes


def test_a_primitive_is_checked_when_it_is_defined():
    with pytest.raises(TypeError, match=r"NoFormula.*docstring"):
        type("NoFormula", (Linear,), {"forward": lambda self, x: x, "vjp": lambda self, dz: dz})
    with pytest.raises(TypeError, match="NoVjp has no vjp"):
        type("NoVjp", (Linear,), {"__doc__": "z = x", "forward": lambda self, x: x})
    with pytest.raises(TypeError, match="NoJvp has no jvp"):
        type("NoJvp", (Primitive,), {"__doc__": "z = x", "forward": lambda self, x: x, "vjp": lambda self, dz: dz})
    with pytest.raises(TypeError, match="BadSetting: a setting is called 'order'"):

        class BadSetting(Linear):
            """z = x"""

            def __init__(self, order: int) -> None:
                self.order = order

            def forward(self, x: Any) -> Any:
                return x

            def vjp(self, dz: Any) -> Any:
                return dz

    with pytest.raises(TypeError, match=r"Misnamed: vjp asks for 'y'; there are x and out"):
        type(
            "Misnamed",
            (Linear,),
            {"__doc__": "z = x", "forward": lambda self, x: x, "vjp": lambda self, dz, y: dz},
        )


@pytest.mark.parametrize("name", ["Exp", "Conv2d", "Sum", "Matmul", "Relu_grad", "Name"])
def test_a_primitive_of_a_user_does_not_take_the_place_of_the_library_s(name):
    """The rules of other primitives call these names: their derivatives would silently become something else."""
    rules = {
        "forward": lambda self, x: x,
        "jvp": lambda self, dx: dx,
        "vjp": lambda self, dz: dz,
        "__doc__": "z = x",
        "__module__": "somebody.s",
    }
    with pytest.raises(TypeError, match=rf"primitive {name}: '\w+' is on the tape already.*another name"):
        type(name, (Primitive,), rules)
    x = tg.tensor([2.0], requires_grad=True)
    (g,) = grad(x.exp().sum(), x, create_graph=True)
    assert g.item() == pytest.approx(np.exp(2.0))


def test_a_module_may_define_its_own_primitive_anew():
    """As a notebook does when a cell runs again; somebody else's module may not."""
    found = []
    for factor in (2.0, 3.0):

        class Times(Linear):
            """z = factor x"""

            by = factor

            def forward(self, x: Any) -> Any:
                return self.by * x

            def vjp(self, dz: Any) -> Any:
                return backend_of(dz).times(dz) if isinstance(dz, tg.Tensor) else self.by * dz

        x = tg.tensor(1.0, requires_grad=True)
        found.append((Times()(x).item(), grad(Times()(x), x, create_graph=True)[0].item()))
    assert found == [(2, 2), (3, 3)]
    with pytest.raises(TypeError, match="'times' is on the tape already"):
        type("Times", (Times,), {"__doc__": "z = x", "__module__": "somebody.s"})


def test_what_is_read_off_a_class():
    assert Exp.name == "exp" and Exp.inputs == ("x",) and Exp.keeps == (-1,)
    conv = type(
        tape.conv2d(tg.ones(1, 1, 2, 2, requires_grad=True), tg.ones(1, 1, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1).node
    )
    assert conv.name == "conv2d" and conv.settings == ("stride", "padding", "dilation", "groups")
    assert (
        repr(conv((1, 1), (0, 0, 0, 0), (1, 1), 1))
        == "Conv2d(stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1)"
    )
    assert issubclass(type((tg.ones(2, requires_grad=True) * 2).node), Bilinear)


def test_the_tape_names_what_it_does_not_have():
    with pytest.raises(AttributeError, match="the tape has no operation 'fourier'"):
        tape.fourier(tg.ones(2))
    with pytest.raises(AttributeError, match="has no kernel 'fourier'"):
        backend_of(np.ones(2)).fourier(np.ones(2))


# recording


def test_only_what_needs_a_gradient_is_recorded():
    x, w = tg.ones(2), tg.ones(2, requires_grad=True)
    assert (x * x).is_leaf and not (x * x).requires_grad
    z = x * w
    assert not z.is_leaf and z.requires_grad and z.grad_fn.parents == [None, w]
    assert z.grad_fn.saved[1] is None, "the factor that needs no gradient is not needed for the other's"
    assert (x > w).is_leaf and (w.argmax()).is_leaf and not w.long().requires_grad


def test_a_node_holds_no_output():
    x = tg.ones(3, requires_grad=True)
    z = x.exp()
    node, gone = z.grad_fn, weakref.ref(z)
    del z
    assert gone() is None and node.parents == [x]


def test_observers_see_every_application():
    seen: list[tuple[str, int, int]] = []

    def observe(primitive: Any, inputs: Any, outputs: Any) -> None:
        seen.append((type(primitive).__name__, len(inputs), len(outputs)))

    observers.append(observe)
    try:
        x = tg.ones(2, 3)
        (x * 2).exp().unbind(0)
        with tg.no_grad():
            x.requires_grad_().sum()
    finally:
        observers.remove(observe)
    assert seen == [("Multiply", 2, 1), ("Exp", 1, 1), ("Unbind", 1, 2), ("Sum", 1, 1)]


# several results


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1), (1, 1, 0)])
def test_several_results(used, device):
    x = tg.tensor([1.0, 3.0], dtype=tg.float64, device=device, requires_grad=True)

    def f(x: Tensor) -> Tensor:
        outs = HalfAndDouble()(x * x)
        total = outs[used[0]].sum()
        for position in used[1:]:
            total = total + (outs[position] * outs[position]).sum()
        return total

    assert gradcheck(f, x)
    assert gradcheck(lambda y: grad(f(y), y, create_graph=True)[0], x)


def test_a_whole_number_among_the_results_has_no_gradient():
    x = tg.tensor([1.0, 3.0], requires_grad=True)
    square, count = SquareWithRoot()(x)
    assert square.requires_grad and not count.requires_grad and count.is_leaf
    square.sum().backward()
    assert x.grad.tolist() == [2, 6]
    (value, number), (dvalue, dnumber) = jvp(lambda y: SquareWithRoot()(y), (x,), (tg.ones(2),))
    assert dvalue.tolist() == [2, 6] and dnumber.tolist() == 0 and number.item() == 2 and value.tolist() == [1, 9]


def test_results_of_one_node_are_inputs_of_grad():
    x = tg.tensor([1.0, 3.0], requires_grad=True)
    half, double = HalfAndDouble()(x)
    z = (half * double).sum()
    found = grad(z, [half, double, x])
    assert [g.tolist() for g in found] == [[2, 6], [0.5, 1.5], [2, 6]]


def test_unused_parts_of_unbind():
    x = tg.arange(6, dtype=tg.float32).reshape(3, 2).requires_grad_()
    _, second, _ = x.unbind()
    second.sum().backward()
    assert x.grad.tolist() == [[0, 0], [1, 1], [0, 0]]


# backward twice, retain_graph, what is freed


def test_backward_twice_names_the_place_of_the_first():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = (x * x).exp().sum()
    z.backward()
    line = sys._getframe().f_lineno - 1
    message = re.escape(f"freed by the backward call at {__file__}:{line}")
    with pytest.raises(GraphError, match=f"{message}.*retain_graph=True"):
        z.backward()
    with pytest.raises(RuntimeError, match=r"sum|exp|multiply"):
        grad(z, x)


def test_what_keeps_nothing_can_go_backward_again():
    x = tg.ones(2, requires_grad=True)
    z = (x + 1).reshape(1, 2).sum()
    z.backward()
    z.backward()
    assert x.grad.tolist() == [2, 2]


def test_retain_graph():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = (x * x).exp().sum()
    z.backward(retain_graph=True)
    once = x.grad.clone()
    z.backward()
    assert x.grad.tolist() == (2 * once).tolist()
    with pytest.raises(GraphError, match="retain_graph"):
        z.backward()


def test_pooling_winners_are_freed_and_kept():
    x = tg.randn(1, 1, 4, 4, requires_grad=True)
    z = tape.max_pool2d(x, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)
    node = z.grad_fn
    z.sum().backward(retain_graph=True)
    assert node.winners is not None
    z.sum().backward()
    assert node.winners is None
    with pytest.raises(GraphError, match="max_pool2d"):
        z.backward(tg.ones(1, 1, 2, 2))


def test_saved_values_go_as_they_are_used():
    x = tg.ones(1000, requires_grad=True)
    y = x * 2
    kept = weakref.ref(y)
    z = (y * y).sum()
    del y
    assert kept() is not None
    z.backward()
    assert kept() is None


# memory


def test_reference_counting_frees_the_graph():
    """A training loop, with Python's collector of cycles switched off: nothing is left of any step."""
    w = tg.randn(4, 3, requires_grad=True)
    b = tg.zeros(4, requires_grad=True)
    data = tg.randn(5, 3)
    gone = []
    gc.collect()
    gc.disable()
    try:
        for step in range(3):
            hidden = (tape.inner_product(data, w) + b).relu()
            view = hidden[:2]
            parts = hidden.unbind()
            in_place = hidden.clone().mul_(2.0)
            loss = hidden.sum() + view.exp().sum() + parts[0].sum() + in_place[1:].sum()
            gone += [weakref.ref(z) for z in (hidden, view, *parts, in_place, loss)]
            nodes = hidden.grad_fn, loss.grad_fn
            kept = tuple(weakref.ref(node.array) for node in (hidden, loss))
            if step == 1:
                loss.backward(create_graph=False)
            elif step == 2:
                (g,) = grad(loss, w, create_graph=True)
                g.sum().backward()
                gone.append(weakref.ref(g))
                del g
            with tg.no_grad():
                if w.grad is not None:
                    w -= 0.1 * w.grad
                w.grad = None
            del hidden, view, parts, in_place, loss, nodes
            assert [ref for ref in (*gone, *kept) if ref() is not None] == []
        assert gc.collect() == 0 or not any(ref() for ref in gone)
    finally:
        gc.enable()


def test_forward_mode_leaves_nothing_behind():
    gc.collect()
    gc.disable()
    try:
        x, dx = tg.randn(3, requires_grad=True), tg.randn(3)
        out, dz = jvp(lambda y: (y * y).exp(), x, dx)
        refs = [weakref.ref(out), weakref.ref(dz), weakref.ref(dz.array)]
        del out, dz
        assert all(ref() is None for ref in refs)
    finally:
        gc.enable()


def test_deep_graphs():
    """100,000 operations in a row, forward, backward and freed: nothing recurses."""
    x = tg.tensor(1.0, dtype=tg.float64, requires_grad=True)
    z = x
    for _ in range(50_000):
        z = z * 1.0 + 1e-5
    assert z.item() == pytest.approx(1.5)
    z.backward()
    assert x.grad.item() == 1
    del z  # every node drops the one before it
    y = x
    for _ in range(100_000):
        y = -y
    first = weakref.ref(y.array)
    del y  # freed without ever having gone backward
    assert first() is None


def test_deep_graphs_of_views():
    x = tg.ones(2, 2, requires_grad=True)
    z = x
    for _ in range(20_000):
        z = z.T
    z.sum().backward()
    assert x.grad.tolist() == [[1, 1], [1, 1]]
    del z


# gradients and memory


def test_gradients_of_a_sum_are_apart():
    a, b = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    (a + b).backward(tg.ones(3))
    assert not np.shares_memory(a.grad.array, b.grad.array)
    a.grad.mul_(5.0)
    assert b.grad.tolist() == [1, 1, 1]


def test_a_rule_that_gives_one_array_twice():
    a, b = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    SameTwice()(a, b).sum().backward()
    assert not np.shares_memory(a.grad.array, b.grad.array)
    a.grad.zero_()
    assert b.grad.tolist() == [2, 2, 2]


def test_gradients_of_broadcasts_can_be_written(device):
    for reduce in (lambda x: x.sum(), lambda x: x.mean(), lambda x: x.reshape(6).mean(), lambda x: x.sum(0).mean()):
        x = tg.ones(2, 3, device=device, requires_grad=True)
        reduce(x).backward()
        x.grad[0] = 7.0
        assert x.grad.tolist()[0] == [7, 7, 7] and 7 not in x.grad.tolist()[1]
        reduce(x).backward()


def test_the_cotangent_given_is_not_taken_over():
    x, u = tg.ones(3, requires_grad=True), tg.ones(3)
    x.backward(u)
    x.backward(u)
    assert u.tolist() == [1, 1, 1] and x.grad.tolist() == [2, 2, 2]


def test_fan_out_adds_up(device):
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    y = x * 3
    (y * y + y + y.exp() * 0 + y[0]).sum().backward()
    # 2 y 3 + 3, and y[0] is in both sums: + 3 + 3 for the first
    assert x.grad.tolist() == [2 * 3 * 3 + 3 + 6, 2 * 6 * 3 + 3]


# errors


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("other, error", [((1, 1 << 40), MemoryError), ((3, 1), ShapeError)])
def test_an_error_that_was_caught_keeps_no_memory(other, error, tracked):
    """Who runs out of memory catches that and goes on with less: what failed must be freed at once, without the collector."""
    gc.collect()
    gc.disable()
    try:
        x, y = tg.ones(1 << 20, 1, requires_grad=tracked), Tensor(np.broadcast_to(np.float32(1), other))
        kept = weakref.ref(x.array)
        for operation in (tg.multiply, tg.maximum):
            with pytest.raises(error):
                operation(x, y)
        del x
        assert kept() is None
    finally:
        gc.enable()


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"add: got x of shape \(2,\), y of shape \(3,\)"):
        tg.ones(2) + tg.ones(3)
    with pytest.raises(RuntimeError, match=r"matmul.*\(2, 3\).*\(2, 3\)"):
        tg.ones(2, 3) @ tg.ones(2, 3)


@pytest.mark.parametrize(
    "operation", [tg.add, tg.multiply, tg.matmul, tg.maximum, lambda x, y: tg.cat([x, y]), lambda x, y: x == y]
)
def test_devices_that_do_not_fit(operation):
    x, y = tg.ones(2, 2, requires_grad=True), tg.ones(2, 2, device="standin")
    with pytest.raises(DeviceError, match=r"on 'cpu'.*on 'standin:0'.*\.to\(device\)"):
        operation(x, y)
    with pytest.raises(RuntimeError, match=r"on 'standin:0'.*on 'cpu'"):
        operation(y, x)


def test_backward_of_what_was_not_recorded():
    with pytest.raises(GraphError, match="does not require grad and has no history"):
        tg.ones(()).backward()
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"shape \(2,\).*must be a scalar"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient has shape \(3,\); the output has shape \(2,\)"):
        (x * 2).backward(tg.ones(3))
    with pytest.raises(TypeError, match="gradient is a list"):
        backward([x * 2], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="got 2 gradients for 1 outputs"):
        backward([x * 2], [tg.ones(2), tg.ones(2)])


# the hard cases, all in one function: Conv2d, BatchNorm, an in-place view, MaxPool2d and Multiply


def network(x: Tensor, w: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    z = tape.conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1)  # (2, 2, 4, 4) -> (2, 3, 4, 4)
    z = tape.batch_norm(z, scale, shift, 1e-3)
    z[:, 0].mul_(scale[0])
    z.transpose(0, 1)[1].exp_()
    z = tape.max_pool2d(z, (3, 3), (1, 1), (0, 0, 0, 0), (1, 1), False)  # -> (2, 3, 2, 2), windows overlap
    return z * z.flatten(2).sum(2).unsqueeze(2).unsqueeze(3)


def network_inputs(device: str, dtype: Any) -> list[Tensor]:
    random = np.random.default_rng(5)
    shapes = [(2, 2, 4, 4), (3, 2, 3, 3), (3,), (3,)]
    return [tg.tensor(0.5 * random.standard_normal(s), dtype=dtype, device=device, requires_grad=True) for s in shapes]


def test_hard_cases_together(device):
    inputs = network_inputs(device, tg.float64)
    assert gradcheck(network, inputs)
    del inputs[2:]
    scale, shift = network_inputs(device, tg.float64)[2:]

    def gradient(x: Tensor, w: Tensor) -> Tensor:
        x, w = (y if y.requires_grad else y.detach().requires_grad_() for y in (x, w))
        z = (network(x, w, scale, shift) ** 2).sum()
        return grad(z, w, create_graph=True)[0]

    assert gradcheck(gradient, inputs, directions=1)

    # mixed: reverse over forward, and forward over forward, against differences of the tangent
    v = tg.ones_like(inputs[1])

    def tangent(x: Tensor, w: Tensor) -> Tensor:
        found: Tensor = jvp(lambda w: network(x, w, scale, shift), w, v)[1]
        return found

    assert gradcheck(tangent, inputs, directions=1)


def test_hard_cases_in_float32(device):
    wide, narrow = network_inputs(device, tg.float64), network_inputs(device, tg.float32)
    for inputs in (wide, narrow):
        z = network(*inputs)
        assert z.dtype == inputs[0].dtype
        z.sum().backward()
    for x, y in zip(wide, narrow):
        assert y.grad.dtype == tg.float32
        np.testing.assert_allclose(
            y.grad.tolist(), x.grad.tolist(), rtol=2e-3, atol=2e-3 * float(tg.absolute(x.grad).max())
        )


def test_vjp_of_the_network_is_the_same_on_the_stand_in():
    found = []
    for device in ("cpu", "standin"):
        inputs = network_inputs(device, tg.float64)
        out, pullback = vjp(network, *inputs)
        found.append([g.tolist() for g in pullback(tg.ones_like(out))])
    for here, there in zip(*found):
        np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-12)


def test_a_gradient_of_another_dtype_is_brought_to_the_output_s():
    x = tg.ones(2, requires_grad=True)
    (x * 2).backward(tg.ones(2, dtype=tg.float64))
    assert x.grad.dtype == tg.float32 and x.grad.tolist() == [2, 2]
