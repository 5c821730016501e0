"""Indices of every kind, drawn at random: what x[index] and x[index] = value give, beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.autograd import grad

SHAPE = (3, 2, 4)


@st.composite
def indices(draw: Any) -> tuple[Any, ...]:
    """Up to one part a dimension: numbers, slices, arrays that broadcast to (2,), masks, with None and ... between them."""
    parts: list[Any] = []
    for n in SHAPE[: draw(st.integers(0, 3))]:
        kind = draw(st.sampled_from(["number", "slice", "array", "mask", "one"]))
        if kind == "number":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            ends = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(ends), draw(ends), draw(st.none() | st.integers(1, 2))))
        elif kind == "array":
            parts.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=2, max_size=2))))
        elif kind == "one":
            parts.append(np.array([[draw(st.integers(0, n - 1))]]))
        else:  # true in two places, so that it goes with the arrays
            mask = np.zeros(n, bool)
            mask[draw(st.permutations(range(n)))[:2]] = True
            parts.append(mask)
    for _ in range(draw(st.integers(0, 2))):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.append(Ellipsis)
    return tuple(parts)


@pytest.mark.oracle
@settings(max_examples=300, deadline=None, derandomize=True)
@given(indices())
def test_as_pytorch(index: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    values = np.arange(24.0).reshape(SHAPE)
    theirs = torch.tensor(values, requires_grad=True)
    there = tuple(torch.tensor(part) if isinstance(part, np.ndarray) else part for part in index)
    ours = tg.tensor(values, requires_grad=True)
    here = tuple(tg.tensor(part) if isinstance(part, np.ndarray) else part for part in index)
    found, expected = ours[here], theirs[there]
    np.testing.assert_array_equal(found.array, expected.detach().numpy())
    u = np.random.default_rng(1).standard_normal(found.shape)
    (slope,) = torch.autograd.grad(expected, theirs, torch.tensor(u))
    np.testing.assert_allclose(grad(found, ours, tg.tensor(u))[0].array, slope.numpy(), rtol=1e-12)
    # writing one number, so that it does not matter which of two equal places is written last
    written, w = theirs * 1, torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    written[there] = w
    z, v = ours * 1, tg.tensor(-1.0, dtype=tg.float64, requires_grad=True)
    z[here] = v
    np.testing.assert_array_equal(z.array, written.detach().numpy())
    slopes = torch.autograd.grad(written.pow(2).sum(), [theirs, w])
    for a, b in zip(grad((z * z).sum(), [ours, v], materialize_grads=True), slopes):
        np.testing.assert_allclose(a.array, b.numpy(), rtol=1e-12)
