"""Whose memory a gradient is: on every row of the table of cases, nobody's but the leaf's own.

A leaf keeps what it gets and the next backward adds to it in place, so whatever shared that memory would change with it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case, all_primitives

from tensorgrad.autograd import backward
from tensorgrad.tensor import Tensor

DIFFERENTIABLE = [
    case
    for case in CASES
    if all_primitives()[case.primitive].differentiable and case.primitive != "ToDevice"  # which needs another device
]


def seeds_of(outputs: list[Tensor], ones: bool) -> list[Tensor]:
    random = np.random.default_rng(0)
    return [
        Tensor(np.ones(z.shape, z.dtype) if ones else np.asarray(random.standard_normal(z.shape)).astype(z.dtype))
        for z in outputs
    ]


def saved_by(z: Tensor) -> list[Any]:
    node = getattr(z.node, "node", z.node)
    found = node.saved if type(node.saved) is list else []
    return [x.array if isinstance(x, Tensor) else x for x in found]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_a_gradient_shares_no_memory(case: Case) -> None:
    for ones in (True, False):  # a rule may give its other factor itself where the cotangent is 1
        check(case, ones)


def check(case: Case, ones: bool) -> None:
    inputs = [Tensor(x.copy()) for x in case.inputs]
    leaves = [inputs[i].requires_grad_() for i in case.floats]
    made = case.function(*inputs)
    outputs = [z for z in (made if isinstance(made, (tuple, list)) else [made]) if z.requires_grad]
    seeds = seeds_of(outputs, ones)
    theirs = [x.array for x in (*inputs, *outputs, *seeds)]
    before = [x.copy() for x in theirs]
    backward(outputs, seeds, retain_graph=True)
    reached = [x for x in leaves if x.grad is not None]
    gradients = [x.grad.array for x in reached]
    others = theirs + [x for z in outputs for x in saved_by(z) if isinstance(x, np.ndarray)]
    for one, other in [*itertools.combinations(gradients, 2), *itertools.product(gradients, others)]:
        assert not np.shares_memory(one, other)
    first = [g.copy() for g in gradients]
    for g in gradients:
        g[...] = 1e6  # each of its values has a place of its own, and may be written to
        assert g.size == 0 or g.sum() == 1e6 * g.size
    for x in leaves:
        x.grad = None
    backward(outputs, seeds)
    for x, expected in zip(reached, first):
        np.testing.assert_array_equal(x.grad.array, expected)
    for x, was in zip(theirs, before):
        np.testing.assert_array_equal(x, was)
