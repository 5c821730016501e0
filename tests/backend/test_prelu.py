"""Parametric ReLU on vector registers, against the formula in NumPy, in every memory order."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy
import pytest

from tensorgrad.backend import compiled
from tensorgrad.backend.cpu import CPU
from tensorgrad.backend.fast import FastBackend
from tensorgrad.backend.parallel import set_thread_count, thread_count

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
LAYOUTS = {
    "contiguous": numpy.ascontiguousarray,
    "channels-last": lambda x: numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(x, 1, -1)), -1, 1),
    "batch-last": lambda x: numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(x, 0, -1)), -1, 0),
    "strided": lambda x: numpy.repeat(x, 2, -1)[..., ::2],
}


@pytest.fixture(params=[1, 3], ids=["alone", "shared"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from tensorgrad.backend import prelu, rows

    monkeypatch.setattr(prelu, "SHARED_NUMBERS", 0)
    monkeypatch.setattr(rows, "SHARED_NUMBERS", 0)
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    before = thread_count()
    set_thread_count(request.param)
    yield FastBackend(numpy)
    set_thread_count(before)


def draw(shape: tuple[int, ...], seed: int) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize(
    "shape", [(3, 1), (5, 16), (150, 37), (2, 3, 7), (2, 5, 3, 11), (3, 17, 9, 8), (2, 4, 3, 3, 50)]
)
@pytest.mark.parametrize("each", [False, True], ids=["one slope", "a slope each"])
def test_values_and_gradients(fast: Any, shape: Any, layout: Any, each: bool):
    x, weight = layout(draw(shape, 1)), draw((shape[1] if each else 1,), 3)
    z = fast.prelu(x, weight)
    assert z.dtype == numpy.float32
    numpy.testing.assert_array_equal(z, CPU.prelu(x, weight))
    for other in LAYOUTS.values():  # the cotangent may lie in memory as it likes
        dz = other(draw(shape, 2))
        dx, dw = fast.prelu_grad(dz, x, weight)
        wide = [v.astype(numpy.float64) for v in (dz, x, weight)]
        exact_dx, exact_dw = CPU.prelu_grad(*wide)
        assert dx.dtype == dw.dtype == numpy.float32
        numpy.testing.assert_allclose(dx, exact_dx, rtol=1e-6)
        numpy.testing.assert_allclose(dw, exact_dw, rtol=0, atol=1e-5 * abs(exact_dw).max())


def test_numbers_beyond_all_bounds(fast: Any):
    inf, nan = numpy.inf, numpy.nan
    x = numpy.array([[inf, -inf, nan, 0.0, 1.0, -1.0]] * 5, numpy.float32)
    dz = numpy.array([[nan, 1.0, 2.0, 3.0, inf, 4.0]] * 5, numpy.float32)
    for weight in (numpy.array([0.25], numpy.float32), draw((6,), 3)):
        with numpy.errstate(all="ignore"):
            numpy.testing.assert_array_equal(fast.prelu(x, weight), CPU.prelu(x, weight))
            for ours, exact in zip(fast.prelu_grad(dz, x, weight), CPU.prelu_grad(dz, x, weight)):
                numpy.testing.assert_allclose(ours, exact, rtol=1e-6)


def test_float64_is_computed_by_the_formula(fast: Any):
    x, weight = draw((4, 6, 5), 1).astype(numpy.float64), draw((6,), 2).astype(numpy.float64)
    numpy.testing.assert_array_equal(fast.prelu(x, weight), CPU.prelu(x, weight))
    assert fast.prelu_grad(x, x, weight)[0].dtype == numpy.float64
