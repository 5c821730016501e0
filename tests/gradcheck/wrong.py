"""Derivatives that are wrong on purpose: gradcheck must find every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gradcheck.subjects import Subject, array, normal, rule

WRONG: list[Subject] = []


def wrong(name: str, **more: Any) -> Callable[[Any], Any]:
    def add(make: Any) -> Any:
        WRONG.append(Subject(name, make, **more))
        return make

    return add


def simple(name: str, forward: Any, vjp: Any, jvp: Any = None, values: Any = None, **more: Any) -> None:
    """A row whose three maps need T for nothing."""
    arrays = [normal(5)] if values is None else values
    WRONG.append(Subject(name, lambda T: (rule(T, forward, vjp, jvp), arrays), **more))


def cube(x: Any) -> Any:
    return x * x * x


def slope_of_cube(dx: Any, x: Any) -> Any:
    return 3 * x * x * dx


# numbers that are wrong everywhere

simple("sign", lambda x: x.exp(), lambda dz, x: -dz * x.exp(), lambda dx, x: dx * x.exp(), finds="vjp")
simple("factor", cube, lambda dz, x: 2 * x * x * dz, slope_of_cube, finds="vjp")
simple("factor without forward mode", cube, lambda dz, x: 2 * x * x * dz, finds="vjp")
simple(
    "chain rule forgotten",
    lambda x: (3 * x).sin(),
    lambda dz, x: dz * (3 * x).cos(),
    lambda dx, x: 3 * dx * (3 * x).cos(),
)
simple("constant forgotten", lambda x: x / 7, lambda dz, x: dz * 1, lambda dx, x: dx / 7)
simple("a little off, 2 percent", cube, lambda dz, x: 3.06 * x * x * dz, slope_of_cube)
simple("jvp of the wrong sign", cube, slope_of_cube, lambda dx, x: -3 * x * x * dx, finds="jvp")
simple("jvp of zeros", cube, slope_of_cube, lambda dx, x: 0 * dx, finds="jvp")
simple("vjp and jvp wrong alike", cube, lambda dz, x: 2 * x * x * dz, lambda dx, x: 2 * x * x * dx)
simple("product rule, one term forgotten", lambda x: x * x.sin(), lambda dz, x: dz * x.sin())
simple(
    "quotient without the square",
    lambda x, y: x / y,
    lambda dz, x, y: (dz / y, -dz * x / y),
    values=[normal(4), normal(4, seed=1)],
)
simple("power, exponent not lowered", lambda x: x**4, lambda dz, x: 4 * x**4 * dz)
simple(
    "a derivative by coarse differences",
    lambda x: x.exp(),
    lambda dz, x: dz * ((x + 1e-2).exp() - (x - 1e-2).exp()) / 2e-2,
    lambda dx, x: dx * x.exp(),
    finds="identity",
)
simple("of tiny size", lambda x: 1e-9 * x.sin(), lambda dz, x: 2e-9 * dz * x.cos(), lambda dx, x: 2e-9 * dx * x.cos())
simple("of huge size", lambda x: 1e9 * x.sin(), lambda dz, x: 2e9 * dz * x.cos(), lambda dx, x: 2e9 * dx * x.cos())
simple("a gradient where there is none", lambda x: 0 * x + 1, lambda dz, x: 1e-3 * dz, lambda dx, x: 1e-3 * dx)
simple("a gradient of 1e-9 where there is none", lambda x: 0 * x + 1, lambda dz, x: 1e-9 * dz, lambda dx, x: 1e-9 * dx)

# numbers that are wrong in places


@wrong("one wrong element of 3000", fast=True)
def one_of_many(T: Any) -> Any:
    weights = np.ones(3000)
    weights[1234] = 1.5
    w = T.from_numpy(weights)
    return rule(T, lambda x: x.sin(), lambda dz, x: dz * w * x.cos(), lambda dx, x: dx * x.cos()), [normal(3000)]


@wrong("one wrong element of 3000 without forward mode", fast=True)
def one_of_many_reverse(T: Any) -> Any:
    weights = np.ones(3000)
    weights[77] = -1.0
    w = T.from_numpy(weights)
    return rule(T, lambda x: x.sin(), lambda dz, x: dz * w * x.cos()), [normal(3000)]


@wrong("one wrong element behind a sum of 3000", fast=True)
def one_behind_a_sum(T: Any) -> Any:
    weights = np.ones(3000)
    weights[2500] = 0.0
    w = T.from_numpy(weights)
    return rule(T, lambda x: (x * x).sum(), lambda dz, x: 2 * dz * w * x), [normal(3000)]


@wrong("one small element of 40")
def one_small(T: Any) -> Any:
    weights = np.ones(40)
    weights[-1] = 0.5
    w = T.from_numpy(weights)
    return rule(T, lambda x: x * x, lambda dz, x: 2 * x * w * dz), [np.append(normal(39), 1e-3)]


simple(
    "only for negative inputs",
    lambda x: x * (x > 0) + 0.1 * x * (x <= 0),
    lambda dz, x: dz * (x > 0) + 0.2 * dz * (x <= 0),
)
simple("only far out", lambda x: x * x, lambda dz, x: 2 * dz * x.clamp(-3, 3), values=[array(0.5, -1.0, 4.0)])


@wrong("only on the last row")
def last_row(T: Any) -> Any:
    m = np.ones((4, 3))
    m[-1] = 0.9
    w = T.from_numpy(m)
    return rule(T, lambda x: x.exp(), lambda dz, x: dz * w * x.exp()), [normal(4, 3)]


@wrong("batch, only the first sample")
def first_sample(T: Any) -> Any:
    m = np.zeros((3, 2))
    m[0] = 1
    w = T.from_numpy(m)
    return rule(T, lambda x: x.exp(), lambda dz, x: dz * w * x.exp()), [normal(3, 2)]


@wrong("stride, off by one at the edge")
def stride(T: Any) -> Any:
    def vjp(dz: Any, x: Any) -> Any:
        g = T.zeros(7, dtype=T.float64)
        g[1::2] = dz[:3]
        return g

    return rule(T, lambda x: x[::2] * 1, vjp), [normal(7)]


@wrong("window, the last tap forgotten")
def window(T: Any) -> Any:
    def vjp(dz: Any, x: Any) -> Any:
        g = T.zeros(6, dtype=T.float64)
        g[:4] = g[:4] + dz
        g[1:5] = g[1:5] + 2 * dz
        return g  # the tap 3 x[i + 2] is missing

    return rule(T, lambda x: x[:4] + 2 * x[1:5] + 3 * x[2:6], vjp), [normal(6)]


@wrong("repeated index, written instead of added")
def repeated(T: Any) -> Any:
    index = T.tensor([2, 0, 2])

    def vjp(dz: Any, x: Any) -> Any:
        g = T.zeros(3, dtype=T.float64)
        g[index] = dz
        return g

    return rule(T, lambda x: x[index], vjp), [normal(3)]


# products, reductions, broadcasting


def square_matrices() -> list[np.ndarray]:
    return [normal(3, 3), normal(3, 3, seed=1)]


@wrong("transpose forgotten")
def transpose(T: Any) -> Any:
    a = T.from_numpy(normal(3, 3))
    return rule(T, lambda x: a @ x, lambda dz, x: a @ dz, lambda dx, x: a @ dx), [normal(3)]


simple(
    "matmul, the other factor not turned",
    lambda a, b: a @ b,
    lambda dz, a, b: (dz @ b, a.T @ dz),
    values=square_matrices(),
)
simple(
    "matmul, in the wrong order", lambda a, b: a @ b, lambda dz, a, b: (b.T @ dz, a.T @ dz), values=square_matrices()
)
simple(
    "broadcast, not summed back",
    lambda x, y: x * y,
    lambda dz, x, y: (dz * y, dz * x),
    values=[normal(2, 3), normal(3)],
    torch=False,  # PyTorch's backward sums it back itself
)
simple(
    "broadcast, summed over the wrong axis",
    lambda x, y: x * y,
    lambda dz, x, y: (dz * y, (dz * x).sum(1)),
    values=[normal(3, 3), normal(3)],
)
simple(
    "broadcast, averaged instead of summed",
    lambda x, y: x + y,
    lambda dz, x, y: (dz * 1, dz.mean(0)),
    values=[normal(4, 3), normal(3)],
)
simple("mean without 1/n", lambda x: x.mean(), lambda dz, x: dz + 0 * x, values=[normal(6)])
simple("maximum, to all elements", lambda x: x.max(), lambda dz, x: dz + 0 * x)
simple("maximum, to the smallest", lambda x: x.max(), lambda dz, x: dz * (x == x.min()))
simple(
    "softmax without the coupling",
    lambda x: x.exp() / x.exp().sum(),
    lambda dz, x: dz * x.exp() / x.exp().sum(),
)
simple(
    "log-softmax without the sum",
    lambda x: x - x.exp().sum().log(),
    lambda dz, x: dz - x.exp() / x.exp().sum() * dz,
)
simple("centring, the mean not subtracted", lambda x: (x - x.mean()) ** 3, lambda dz, x: 3 * dz * (x - x.mean()) ** 2)
simple(
    "normalisation, the deviation a constant",
    lambda x: (x - x.mean()) / ((x - x.mean()) ** 2).mean().sqrt(),
    lambda dz, x: (dz - dz.mean()) / ((x - x.mean()) ** 2).mean().sqrt(),
)

# several outputs

simple("second output ignored", lambda x: (x.sin(), x.cos()), lambda a, b, x: a * x.cos())
simple("cotangents exchanged", lambda x: (x.sin(), x.exp()), lambda a, b, x: b * x.cos() + a * x.exp())


@wrong("wrong where an output is not used", finds="unused output")
def unused_output(T: Any) -> Any:
    class Both(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x.sin(), x.exp()

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            (x,) = ctx.saved_tensors
            if b is None:
                return a * x.sin()
            if a is None:
                return b * x.exp()
            return a * x.cos() + b * x.exp()

    return Both.apply, [normal(3)]


# higher orders

simple("second order, history of x cut", cube, lambda dz, x: 3 * x.detach() * x * dz, order=2, finds="vjp")
simple("second order, all history cut", cube, lambda dz, x: 3 * x.detach() * x.detach() * dz, order=2)
simple(
    "third order",
    lambda x: x**4,
    lambda dz, x: 4 * x * x * x.detach() * dz + 4 * x.detach() ** 2 * (x - x.detach()) * dz,
    order=3,
)


@wrong("another gradient while recording", order=2, finds="create_graph")
def while_recording(T: Any) -> Any:
    def vjp(dz: Any, x: Any) -> Any:
        return 3 * x * x * dz * (1.1 if T.is_grad_enabled() else 1.0)

    return rule(T, cube, vjp), [normal(4)]


# not a linear map of the cotangent, not the same at each call, not in float64

simple("cotangent clipped", cube, lambda dz, x: 3 * x * x * dz.clamp(-0.5, 0.5), finds="not linear")
simple("cotangent rectified", cube, lambda dz, x: 3 * x * x * dz * (dz > 0), finds="not linear")
simple("float32 in the vjp", cube, lambda dz, x: (3 * x * x * dz).float().double(), slope_of_cube, finds="not linear")
simple("float32 in the jvp", cube, slope_of_cube, lambda dx, x: (3 * x * x * dx).float().double(), finds="not linear")
simple("float32 in the slope", cube, lambda dz, x: 3 * (x * x).float().double() * dz, slope_of_cube, finds="identity")
simple(
    "float32 in the function",
    lambda x: x.float().exp().double(),
    lambda dz, x: (dz.float() * x.float().exp()).double(),
    finds="not linear",
)


@wrong("noise in the gradient", finds="non-deterministic")
def noisy_gradient(T: Any) -> Any:
    noise = np.random.default_rng(5)
    return rule(T, cube, lambda dz, x: 3 * x * x * dz * (1 + 1e-6 * noise.standard_normal())), [normal(4)]


@wrong("noise in the function", finds="non-deterministic")
def noisy_function(T: Any) -> Any:
    noise = np.random.default_rng(5)
    return lambda x: x * x + 1e-9 * noise.standard_normal(), [normal(4)]


@wrong("state in the function", finds="non-deterministic")
def stateful_function(T: Any) -> Any:
    calls: list[int] = []

    def function(x: Any) -> Any:
        calls.append(1)
        return x * x * len(calls)

    return function, [normal(4)]


@wrong("state in the gradient", finds="non-deterministic")
def stateful_gradient(T: Any) -> Any:
    calls: list[int] = []

    def vjp(dz: Any, x: Any) -> Any:
        calls.append(1)
        return 3 * x * x * dz * (1.0 if len(calls) < 2 else 2.0)

    return rule(T, cube, vjp), [normal(4)]


# history, memory, infinities, kinks

WRONG.append(Subject("history cut by detach", lambda T: (lambda x: x.detach() * x, [normal(3)])))
WRONG.append(
    Subject("history cut by NumPy", lambda T: (lambda x: T.from_numpy(np.sin(x.detach().numpy())) + 0 * x, [normal(3)]))
)


@wrong("cut off wholly", finds="no gradient")
def cut_off(T: Any) -> Any:
    return lambda x, y: x.detach() * y, [normal(3), normal(3, seed=1)]


@wrong("input changed in place", finds="in place")
def input_in_place(T: Any) -> Any:
    def function(x: Any) -> Any:
        z = x * x
        with T.no_grad():
            x.data.mul_(1.5)
        return z

    return function, [normal(3)]


simple("cotangent changed in place", cube, lambda dz, x: dz.mul_(3 * x * x), slope_of_cube, finds="in place")


@wrong("the same memory each time", finds="aliasing", torch=False)
def same_memory(T: Any) -> Any:
    from tensorgrad.primitive import Primitive

    buffer = np.zeros(4)

    class DoubleInOneBuffer(Primitive):
        """z = 2 x        dz = 2 dx, the gradient always in one buffer"""

        __slots__ = ()

        def forward(self, x: Any) -> Any:
            return 2 * x

        def jvp(self, dx: Any) -> Any:
            return 2 * dx

        def vjp(self, dz: Any) -> Any:
            return np.multiply(2, dz, out=buffer) if isinstance(dz, np.ndarray) else 2 * dz

    return lambda x: DoubleInOneBuffer()(x), [normal(4)]


@wrong("two gradients in one memory", finds="aliasing", torch=False)
def one_memory(T: Any) -> Any:
    from tensorgrad.primitive import Primitive

    class SumInOneMemory(Primitive):
        """z = 2 x + 2 y        dz = 2 dx + 2 dy, the second gradient a view of the first"""

        __slots__ = ()

        def forward(self, x: Any, y: Any) -> Any:
            return 2 * x + 2 * y

        def jvp(self, dx: Any, dy: Any) -> Any:
            return 2 * dx + 2 * dy

        def vjp(self, dz: Any) -> Any:
            g = 2 * dz
            return g, g[:]

    return lambda x, y: SumInOneMemory()(x, y), [normal(4), normal(4, seed=1)]


simple(
    "not finite",
    lambda x: (x * x).sqrt(),
    lambda dz, x: dz * x / (x * x).sqrt(),
    values=[array(0.0, 1.0)],
    finds="not finite",
)
simple("infinite", lambda x: x * x, lambda dz, x: 2 * dz * x * x / x, values=[array(0.0, 1.0)], finds="not finite")
simple(
    "slope outside of a kink",
    lambda x: x.abs(),
    lambda dz, x: dz * (2.0 * (x == 0) + x.sign()),
    values=[array(0.0, 1.0)],
    finds="kink",
)
simple(
    "slope of a jump",
    lambda x: x * (x > 0) + 1.0 * (x > 0),
    lambda dz, x: dz * ((x > 0) - 3.0 * (x == 0)),
    values=[array(0.0, 1.0)],
    finds="kink",
)
