"""Picking by index, adding back and running sums in compiled loops, against NumPy's own, in every layout."""

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
SHAPES = [(7,), (9, 5), (3, 11, 4), (2, 3, 1, 6), (1, 1), (0, 3), (3, 0)]
LAYOUTS = {
    "contiguous": numpy.ascontiguousarray,
    "Fortran": numpy.asfortranarray,
    "strided": lambda x: numpy.repeat(x, 2, -1)[..., ::2],
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
each_shape = pytest.mark.parametrize("shape", SHAPES)
each_dtype = pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64])


@pytest.fixture(params=[1, 3], ids=["alone", "shared"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    before = thread_count()
    set_thread_count(request.param)
    yield FastBackend(numpy)
    set_thread_count(before)


def draw(shape: tuple[int, ...], dtype: Any) -> numpy.ndarray:
    return numpy.random.default_rng(7).standard_normal(shape).astype(dtype)


@each_dtype
@each_layout
@each_shape
def test_running_sums_and_products(fast: Any, shape: Any, layout: Any, dtype: Any):
    x = layout(draw(shape, dtype))
    for axis in range(x.ndim):
        for name in ("cumsum", "cumprod"):
            found = getattr(fast, name)(x, axis)
            assert found.dtype == dtype and found.shape == shape
            exact = getattr(numpy, name)(x.astype(numpy.float64), axis=axis)
            numpy.testing.assert_allclose(found, exact, rtol=2e-7 if dtype == numpy.float32 else 1e-13)


@each_dtype
@each_layout
@each_shape
def test_take_and_put_along_an_axis(fast: Any, shape: Any, layout: Any, dtype: Any):
    x, random = layout(draw(shape, dtype)), numpy.random.default_rng(1)
    for axis in range(x.ndim):
        length = shape[axis]
        count = (*shape[:axis], 6, *shape[axis + 1 :])
        if not length:
            continue
        index = layout(random.integers(-length, length, count))  # every place several times, some from the end
        z = fast.take_along_axis(x, index, axis)
        numpy.testing.assert_array_equal(z, numpy.take_along_axis(x, index, axis))
        dz = layout(draw(count, dtype))
        wanted = CPU.put_along_axis(dz, index, axis, length)
        numpy.testing.assert_allclose(fast.put_along_axis(dz, index, axis, length), wanted, atol=1e-6)


@each_dtype
@each_layout
@pytest.mark.parametrize("rows", [(5,), (2, 3), (1,), (0,)])
def test_rows_are_added_where_they_came_from(fast: Any, rows: Any, layout: Any, dtype: Any):
    for shape in ((4, 3), (6,), (3, 2, 5)):
        index = numpy.random.default_rng(2).integers(-shape[0], shape[0], rows)
        dz = layout(draw((*rows, *shape[1:]), dtype))
        wanted = numpy.zeros(shape, dtype)
        numpy.add.at(wanted, index, dz)
        numpy.testing.assert_allclose(fast.scatter_add(dz, (index,), shape), wanted, atol=1e-6)


def test_an_index_out_of_range_is_refused(fast: Any):
    x, index = draw((4, 3), numpy.float32), numpy.array([[4, 0, 0]])
    with pytest.raises(IndexError):
        fast.take_along_axis(x, index, 0)
    with pytest.raises(IndexError):
        fast.put_along_axis(x[:1], index, 0, 4)
    with pytest.raises(IndexError):
        fast.scatter_add(x, (numpy.array([0, 1, 2, -5]),), (4, 3))


def test_long_sums_keep_their_digits(fast: Any):
    """A million times 0.1 in float32, one after the other, would be off by a tenth of a per cent and more."""
    x = numpy.full(1_000_000, 0.1, numpy.float32)
    assert abs(fast.cumsum(x, 0)[-1] - 100000.0015) < 0.01


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, -1, -2, 3.0, 0.5, 2.5, 0])
def test_powers(exponent: float):
    x = numpy.abs(draw((50,), numpy.float64)) + 0.1
    numpy.testing.assert_allclose(CPU.power(x, exponent), numpy.power(x, exponent), rtol=1e-14)
    assert CPU.power(x.astype(numpy.float32), exponent).dtype == numpy.float32
