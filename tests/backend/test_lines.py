"""Softmax, its logarithm and normalisation of lines and groups on vector registers, against NumPy in float64, for many lengths."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy
import pytest

from tensorgrad.backend import compiled, fast_lines
from tensorgrad.backend import fast as fast_backend
from tensorgrad.backend.cpu import CPU
from tensorgrad.backend.fast import FastBackend
from tensorgrad.backend.parallel import set_thread_count, thread_count

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
EPS = 1e-5
SHAPES = [(1,), (15,), (16,), (17,), (5, 1), (3, 33), (40, 7), (2, 3, 64), (300, 20), (3, 5000)]
LAYOUTS = {
    "contiguous": numpy.ascontiguousarray,
    "Fortran": numpy.asfortranarray,
    "strided": lambda x: numpy.repeat(x, 2, -1)[..., ::2],
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
each_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture(params=[1, 3], ids=["alone", "shared"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from tensorgrad.backend import lines

    monkeypatch.setattr(lines, "SHARED_NUMBERS", 0)
    monkeypatch.setattr(fast_lines, "FEWEST", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    before = thread_count()
    set_thread_count(request.param)
    yield FastBackend(numpy)
    set_thread_count(before)


def draw(shape: tuple[int, ...], seed: int = 3) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


def wide(x: numpy.ndarray) -> numpy.ndarray:
    return x.astype(numpy.float64)


def near(found: Any, wanted: Any, error: float = 1e-6) -> None:
    assert found.dtype == numpy.float32 and found.shape == wanted.shape
    numpy.testing.assert_allclose(found, wanted, rtol=0, atol=error * max(1.0, numpy.abs(wanted).max(initial=0)))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), None),
        ((4095,), None),
        ((4096,), (0,)),
        ((4097,), (-1,)),
        ((3, 4099), (1,)),
        ((5, 127), (-1,)),
        ((4, 6, 70), (1, 2)),
        ((4, 6, 70), (2, 1)),
        ((4, 6, 70), (0, 1, 2)),
        ((4, 6, 70), (0, 2)),
        ((7, 3), (1,)),
        ((2, 100_003), (1,)),
    ],
)
@each_layout
def test_sums(fast: Any, monkeypatch: pytest.MonkeyPatch, shape: Any, axis: Any, keepdims: bool, layout: Any):
    """Of all numbers and of last dimensions by the kernel, of others by NumPy; the mean is the same sum."""
    from tensorgrad.backend import lines

    monkeypatch.setattr(fast_backend, "FEWEST_SUMMANDS", 1)
    monkeypatch.setattr(lines, "FEWEST_SHARED_SUMMANDS", 1)
    x = layout(draw(shape) + 1)
    wanted = wide(x).sum(axis, keepdims=keepdims)
    error = 1e-6 if x.flags.c_contiguous else 3e-6  # NumPy adds up strided numbers one after the other
    near(fast.sum(x, axis, keepdims), wanted, error)
    near(fast.mean(x, axis, keepdims), wide(x).mean(axis, keepdims=keepdims), error)


def test_a_sum_is_the_same_for_any_number_of_threads_and_tells_what_is_not_finite(fast: Any):
    x = draw((300_001,))
    together = fast.sum(x, None, False)
    set_thread_count(1)
    assert fast.sum(x, None, False) == together
    for at, bad in ((0, numpy.inf), (150_000, -numpy.inf), (300_000, numpy.nan)):
        y = x.copy()
        y[at] = bad
        numpy.testing.assert_equal(fast.sum(y, None, False), bad)


def test_a_sum_of_a_million_equal_numbers_costs_no_digits(fast: Any):
    x = numpy.full(1 << 20, 0.1, numpy.float32)
    numpy.testing.assert_allclose(fast.sum(x, None, False), 0.1 * (1 << 20), rtol=1e-6)


@each_layout
@each_shape
def test_softmax_and_its_logarithm(fast: Any, shape: Any, layout: Any):
    x, d = layout(draw(shape) * 4), layout(draw(shape, 4))
    axis = len(shape) - 1
    for name in ("softmax", "log_softmax"):
        z = getattr(fast, name)(x, axis)
        wanted = getattr(CPU, name)(wide(x), -1)
        near(z, wanted)
        if name == "softmax":
            numpy.testing.assert_allclose(z, wanted, rtol=2e-6)
        found = getattr(fast, f"{name}_grad")(d, layout(z), axis)
        near(found, getattr(CPU, f"{name}_grad")(wide(d), wanted, -1), 3e-6)


def test_a_long_line_of_equal_numbers_costs_no_digits(fast: Any):
    """Equal numbers added one after the other are all rounded the same way, the more the narrower a register is."""
    x = numpy.full((1, 1 << 14), numpy.log(0.1), numpy.float32)
    x[0, 0] = 0
    d = x + 2
    for name in ("softmax", "log_softmax"):
        z, wanted = getattr(fast, name)(x, 1), getattr(CPU, name)(wide(x), 1)
        numpy.testing.assert_allclose(z, wanted, rtol=2e-6)
        dx, exact = getattr(fast, f"{name}_grad")(d, z, 1), getattr(CPU, f"{name}_grad")(wide(d), wide(z), 1)
        numpy.testing.assert_allclose(dx, exact, rtol=0, atol=2e-6 * numpy.abs(exact).max())


def test_softmax_of_numbers_beyond_all_bounds(fast: Any):
    inf, nan = numpy.inf, numpy.nan
    for line in (
        [1e30, 1e30, -1e30],
        [-inf, 0.0, 1.0],
        [-inf, -inf, -inf],
        [inf, 0.0, 1.0],
        [nan, 1.0, 2.0],
        [5.0, nan, 9.0],
    ):
        for count in (1, 17):  # in the last register, and in one before
            x = numpy.array(line * count, numpy.float32)
            with numpy.errstate(all="ignore"):
                for name in ("softmax", "log_softmax"):
                    numpy.testing.assert_allclose(getattr(fast, name)(x, 0), getattr(CPU, name)(x, 0), rtol=1e-6)


@each_layout
@each_shape
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(fast: Any, shape: Any, layout: Any, affine: bool):
    x, dz = layout(draw(shape) * 2 + 3), layout(draw(shape, 4))
    for count in range(1, len(shape) + 1):
        last = shape[len(shape) - count :]
        if numpy.prod(last) < 2:
            continue
        weight, bias = (draw(last, 5), draw(last, 6)) if affine else (None, None)
        vectors = [None if v is None else wide(v) for v in (weight, bias)]
        found = fast.layer_norm(x, weight, bias, count, EPS)
        wanted = CPU.layer_norm(wide(x), *vectors, count, EPS)
        for ours, theirs in zip(found, wanted):
            near(ours, theirs, 3e-6)
        gradients = fast.layer_norm_grad(dz, x, weight, found[1], found[3], count)
        exact = CPU.layer_norm_grad(wide(dz), wide(x), vectors[0], wanted[1], wanted[3], count)
        for ours, theirs in zip(gradients, exact):
            if ours is not None:
                near(ours, theirs, 1e-5)


def test_a_large_mean_costs_no_digits(fast: Any):
    x = (numpy.arange(1000, dtype=numpy.float32).reshape(2, 500) % 7) + 1e6  # exact in float32
    z, mean, var, _ = fast.layer_norm(x, None, None, 1, EPS)
    numpy.testing.assert_allclose(mean, wide(x).mean(1), rtol=1e-7)
    numpy.testing.assert_allclose(var, wide(x).var(1), rtol=1e-4)
    near(z, CPU.layer_norm(wide(x), None, None, 1, EPS)[0], 1e-4)


@each_layout
@pytest.mark.parametrize("shape", [(1, 2, 8), (3, 4), (2, 6, 1), (2, 6, 33), (2, 4, 5, 7), (3, 2, 9, 40)])
@pytest.mark.parametrize("given", ["weight and bias", "bias", "none"])
def test_group_norm(fast: Any, shape: Any, layout: Any, given: str):
    x, dz = layout(draw(shape) * 2 + 3), layout(draw(shape, 4))
    weight = draw(shape[1:2], 5) if "weight" in given else None
    bias = draw(shape[1:2], 6) if "bias" in given else None
    vectors = [None if v is None else wide(v) for v in (weight, bias)]
    for groups in (1, 2, shape[1]):
        if x[0].size == groups:
            continue
        found = fast.group_norm(x, weight, bias, groups, EPS)
        wanted = CPU.group_norm(wide(x), *vectors, groups, EPS)
        for ours, theirs in zip(found, wanted):
            near(ours, theirs, 3e-6)
        gradients = fast.group_norm_grad(dz, x, weight, found[1], found[3], groups)
        exact = CPU.group_norm_grad(wide(dz), wide(x), vectors[0], wanted[1], wanted[3], groups)
        for ours, theirs in zip(gradients, exact):
            near(ours, theirs, 1e-5)


def test_a_large_mean_costs_group_norm_no_digits(fast: Any):
    x = (numpy.arange(2000, dtype=numpy.float32).reshape(2, 4, 250) % 7) + 1e6  # exact in float32
    z, mean, _, _ = fast.group_norm(x, None, None, 2, EPS)
    numpy.testing.assert_allclose(mean, wide(x).reshape(4, 500).mean(1), rtol=1e-7)
    near(z, CPU.group_norm(wide(x), None, None, 2, EPS)[0], 1e-4)


@each_layout
@each_shape
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(fast: Any, shape: Any, layout: Any, affine: bool):
    x, dz = layout(draw(shape) * 2 + 1), layout(draw(shape, 4))
    for count in range(1, len(shape) + 1):
        last = shape[len(shape) - count :]
        weight = draw(last, 5) if affine else None
        exact = None if weight is None else wide(weight)
        z, inverse = fast.rms_norm(x, weight, count, EPS)
        wanted, exact_inverse = CPU.rms_norm(wide(x), exact, count, EPS)
        near(z, wanted, 3e-6)
        near(inverse, exact_inverse, 3e-6)
        dx, dw = fast.rms_norm_grad(dz, x, weight, inverse, count)
        exact_dx, exact_dw = CPU.rms_norm_grad(wide(dz), wide(x), exact, exact_inverse, count)
        near(dx, exact_dx, 1e-5)
        if affine:
            near(dw, exact_dw, 1e-5)
        else:
            assert dw is exact_dw is None


@pytest.mark.parametrize("shape", [(5,), (4096,), (70, 100), (300_001,), (1 << 22,)], ids=str)
def test_lengths_of_equal_numbers_are_exact(fast: Any, shape: Any):
    """BLAS adds up one product after the other: of 2^22 equal numbers it is a thousandth off."""
    x = numpy.full(shape, 0.3, numpy.float32)
    axes = tuple(range(x.ndim))
    wanted = float(numpy.float32(0.3)) ** 2 * x.size
    for backend in (fast, CPU):
        numpy.testing.assert_allclose(backend.sum_of_squares(x, axes, False), wanted, rtol=2e-6)
        numpy.testing.assert_allclose(backend.length(x, axes, False), numpy.sqrt(wanted), rtol=1e-6)
