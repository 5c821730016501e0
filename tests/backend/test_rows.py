"""Sums over the rows of wide and narrow matrices, against NumPy in float64: what batch norms and biases are made of."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy
import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)

SIZES = [(1, 1), (3, 5), (4, 16), (63, 17), (64, 33), (65, 7), (130, 48), (1024, 3), (1100, 130), (70, 2048)]


def draw(rows: int, channels: int, kind: str) -> numpy.ndarray:
    """Normal numbers; far from 0; or with a first row that is far from all others, and so from the first block's mean."""
    x = numpy.random.default_rng(rows * channels).standard_normal((rows, channels))
    if kind == "far from 0":
        x += 1e4
    elif kind == "first row apart":
        x[0] += 1e4
    return x.astype(numpy.float32)


@pytest.mark.parametrize("kind", ["normal", "far from 0", "first row apart"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_statistics_and_sums(size: Any, kind: str):
    from tensorgrad.backend import rows

    x = draw(*size, kind)
    exact = x.astype(numpy.float64)
    bound = 1e-6 * numpy.abs(exact).sum(axis=0)
    assert (numpy.abs(rows.column_sums(x) - exact.sum(axis=0)) <= bound).all()
    mean, var, inverse = rows.batch_norm(x, None, None, 1e-5, numpy.empty_like(x))
    numpy.testing.assert_allclose(mean, exact.mean(axis=0), rtol=4e-7, atol=2e-7)  # a few roundings
    numpy.testing.assert_allclose(var, exact.var(axis=0), rtol=2e-6, atol=1e-12)
    numpy.testing.assert_allclose(inverse, 1 / numpy.sqrt(exact.var(axis=0) + 1e-5), rtol=2e-6)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_gradients_of_weight_and_bias(size: Any, positive: bool):
    from tensorgrad.backend import rows

    x, dz = draw(*size, "normal"), draw(*size, "normal")[::-1].copy()
    weight, bias = numpy.float32([1.5] * size[1]), numpy.float32([0.25] * size[1])
    mean, _, inverse = rows.batch_norm(x, weight, bias, 1e-5, numpy.empty_like(x))
    dw, db = rows.batch_norm_grad(dz, x, weight, bias, mean, inverse, numpy.empty_like(x), positive)
    normal = (x.astype(numpy.float64) - mean) * inverse
    taken = dz * (normal * 1.5 + 0.25 > 0) if positive else dz.astype(numpy.float64)
    bound = 1e-5 * numpy.abs(taken).sum(axis=0) + 1e-12
    assert (numpy.abs(db - taken.sum(axis=0)) <= bound).all()
    assert (numpy.abs(dw - (taken * normal).sum(axis=0)) <= bound * numpy.abs(normal).max(axis=0, initial=1)).all()


def test_what_is_not_finite_is_told():
    from tensorgrad.backend import rows

    for bad in (numpy.inf, numpy.nan):
        for row in (0, 70, 149):
            x = draw(150, 20, "normal")
            x[row, 3] = bad
            numpy.testing.assert_equal(rows.column_sums(x)[3], bad)
            with numpy.errstate(invalid="ignore"):
                mean, var, _ = rows.batch_norm(x, None, None, 1e-5, numpy.empty_like(x))
            assert not numpy.isfinite(mean[3]) and numpy.isnan(var[3])
            assert numpy.isfinite(numpy.delete(mean, 3)).all() and numpy.isfinite(numpy.delete(var, 3)).all()
