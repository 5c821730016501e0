"""Derivatives that are right and awkward: gradcheck must pass every one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gradcheck.subjects import Subject, array, normal, rule

RIGHT: list[Subject] = []


def right(name: str, **more: Any) -> Callable[[Any], Any]:
    def add(make: Any) -> Any:
        RIGHT.append(Subject(name, make, **more))
        return make

    return add


def plain(name: str, function: Any, *arrays: np.ndarray, **more: Any) -> None:
    """A row of a function that needs T for nothing."""
    RIGHT.append(Subject(name, lambda T: (function, arrays), **more))


# scales

plain("large values", lambda x: 1e9 * x.sin(), normal(4), order=2)
plain("tiny values", lambda x: 1e-9 * x.sin(), normal(4), order=2)
plain("tiny slopes beside a large value", lambda x: 1 + 1e-9 * x.sin(), normal(4))
plain("far from zero", lambda x: x.sin(), array(1e8, 3e7), order=2)
plain("close to the end of the domain", lambda x: x.log(), array(1e-8, 1e-5, 1e8), order=2)
plain("inputs of every size", lambda x: x * x, array(1e-6, 1e-3, 1.0, 1e3, 1e6))
plain("a large number added and taken away", lambda x: (x + 1e10) - 1e10, normal(3))
plain("steep", lambda x: (50 * x).exp(), array(0.1, -0.2))
plain("oscillating", lambda x: (1000 * x).sin(), normal(3))
plain("strong curvature", lambda x: 1e6 * x * x, array(0.0, 1e-3, 1.0))
plain("a sharp bend", lambda x: (1e4 * x).tanh(), array(0.0, 1e-5, 1.0))
plain("cancellation", lambda x: (1 - x.cos()) / (x * x), array(1e-3, 0.5))
plain("a sum of many", lambda x: (x * x).sum(), normal(5000), fast=True)
plain("large weights", lambda x, w: (x @ w) * 1e6, normal(2, 3), normal(3, 2))
plain("powers of ten", lambda x: 10.0 ** (8 * x), array(-1.0, 0.0, 1.0))
plain(
    "normalised, of little variance",
    lambda x: (x - x.mean()) / (((x - x.mean()) ** 2).mean() + 1e-5).sqrt(),
    1.0 + 1e-4 * normal(5),
    order=2,
)

# Jacobians of zeros and nearly so

plain("flat", lambda x: x**4, array(0.0, 1e-4, 0.1), order=2)
plain("a saddle", lambda x: x[0] * x[1], array(0.0, 0.0), order=2)
plain("nothing left", lambda x: x - x, normal(3), order=2)
plain("times zero", lambda x: 0 * x, normal(3), order=2)
plain("saturated softmax", lambda x: x.softmax(0), array(0.0, 800.0, 1.7), order=2)
plain("saturated sigmoid", lambda x: x.sigmoid(), array(-800.0, -30.0, 0.0, 30.0, 800.0), order=2)
plain("saturated tanh", lambda x: x.tanh(), array(-30.0, 12.0, 0.3), order=2)
plain("an input that is not used", lambda x, y: x.exp() + 0 * y, normal(3), normal(3, seed=1))
plain("an output that does not depend", lambda x, y: (x * x, y.exp()), normal(3), normal(2))
plain("a constant output", lambda x: (x * x, 0 * x.detach() + 3.0), normal(3))

# arguments and results

RIGHT.append(Subject("whole numbers", lambda T: (lambda x, i: x[i], [normal(4), np.array([2, 0, 2, 3])]), order=2))
plain("a mask", lambda x: x[x > 0], array(-1.0, 2.0, 3.0))
plain("views", lambda x: (x.T[1:, ::2].reshape(-1), x[0]), normal(4, 3), order=2)
plain("several outputs", lambda x: (x.sin(), x.sum(), x @ x), normal(3), order=2)
plain("an output of whole numbers", lambda x: x.max(1), normal(2, 3))
plain("the same input twice", lambda x: x * x * x + x, normal(3), order=3)
plain("no dimensions", lambda x, y: x * y, np.asarray(1.3), np.asarray(-0.4), order=2)
plain("no elements", lambda x, y: x * y, np.zeros((0, 3)), normal(3))
plain("strided inputs", lambda x: x.exp().sum(1), normal(4, 6)[::2, ::-1], order=2)
plain("broadcasting", lambda x, y, z: x * y + z, normal(2, 1, 3), normal(4, 1), np.asarray(0.5), order=2)
plain("float32 results", lambda x: x.float() * 2, normal(3))


@right("changed in place inside", order=2)
def in_place(T: Any) -> Any:
    def function(x: Any) -> Any:
        z = x.clone()
        z[1:].mul_(x[:-1])
        z.exp_()
        return z

    return function, [normal(4)]


@right("two hundred steps")
def recursion(T: Any) -> Any:
    def function(x: Any) -> Any:
        z = x
        for _ in range(200):
            z = (1.01 * z).sin()
        return z

    return function, [normal(3)]


@right("a gradient inside", order=2)
def gradient_inside(T: Any) -> Any:
    def function(x: Any) -> Any:
        return T.autograd.grad((x * x * x).sum(), x, create_graph=True)[0]

    return function, [normal(3)]


@right("only backward")
def only_backward(T: Any) -> Any:
    return rule(T, lambda x: x.exp(), lambda dz, x: dz * x.exp()), [normal(3)]


# kinks

plain("a kink at 1e-3", lambda x: x.relu(), array(1e-3, -1e-3, 1.0))
plain("a kink at 1e-7", lambda x: x.relu(), array(1e-7, 1.0))
plain("a kink at 1e-9", lambda x: x.abs(), array(-1e-9, 1.0))
plain("relu at its kink", lambda x: x.relu(), array(0.0, 1.0), finds="kink")
plain("relu of zeros", lambda x: x.relu(), np.zeros(4), finds="kink")
plain("abs at its kink", lambda x: x.abs(), array(0.0, -2.0), finds="kink")
plain("abs with curvature", lambda x: 1000 * x * x + 0.1 * x.abs(), array(0.0, 1.0), finds="kink")
plain("maximum at a tie", lambda x: x.amax(0), array(1.0, 2.0, 2.0), finds="kink")
plain("clamp at its bound", lambda x: x.clamp(-1.0, 1.0), array(-1.0, 0.3, 1.0), finds="kink")
plain("a jump", lambda x: 0 * x + 1.0 * (x > 0), array(0.0, 1.0), finds="jump")
plain("a root with its end outside", lambda x: x.sqrt(), array(1e-6, 1.0))
plain("the end of the domain", lambda x: x**1.5, array(0.0, 1.0), finds="edge")
plain("a continuous slope with a bend", lambda x: x * x.abs(), array(0.0, 1.0))
plain("kinks among many, fast", lambda x: x.relu(), np.concatenate([[0.0], normal(300)]), fast=True, finds="kink")


@right("logarithm kept from zero")
def kept_from_zero(T: Any) -> Any:
    def function(x: Any) -> Any:
        positive = x > 0
        return T.where(positive, T.where(positive, x, T.ones_like(x)).log(), T.zeros_like(x))

    return function, [array(-1.0, 0.5, 2.0)]


@right("kinks of a network", fast=True)
def network(T: Any) -> Any:
    weights = [T.from_numpy(normal(20, 30)), T.from_numpy(normal(30, 10, seed=1))]
    return lambda x: ((x @ weights[0]).relu() @ weights[1]).softmax(1), [normal(50, 20, seed=2)]
