"""Functions of one element on vector registers: against their formulas in float64, at every kind of number, in every layout."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy
import pytest

from tensorgrad.backend import backend_of, compiled
from tensorgrad.backend.cpu import CPU
from tensorgrad.backend.parallel import set_thread_count, thread_count
from tensorgrad.ops import activation

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)

#: Each function with usual and unusual settings.
FUNCTIONS = {
    "leaky_relu": activation.LeakyRelu(0.01),
    "leaky_relu, negative": activation.LeakyRelu(-0.3),
    "threshold": activation.Threshold(0.5, -2.0),
    "hardtanh": activation.Hardtanh(-1.0, 1.0),
    "relu6": activation.Hardtanh(0.0, 6.0),
    "hardsigmoid": activation.Hardsigmoid(),
    "hardswish": activation.Hardswish(),
    "hardshrink": activation.Hardshrink(0.5),
    "softshrink": activation.Softshrink(0.5),
    "huber": activation.Huber(1.5),
    "silu": activation.Silu(),
    "gelu": activation.Gelu(),
    "gelu_tanh": activation.GeluTanh(),
    "mish": activation.Mish(),
    "softplus": activation.Softplus(1.0, 20.0),
    "softplus, steep": activation.Softplus(3.0, 5.0),
    "logsigmoid": activation.Logsigmoid(),
    "elu": activation.Elu(1.0, 1.0, 1.0),
    "selu": activation.Elu(1.6732632, 1.0507010, 1.0),
    "celu": activation.Elu(2.0, 1.0, 0.5),
}
#: Largest errors of values and derivatives, in units of the last place of the result, or of 1/8 if that is larger.
ULPS = {"gelu_tanh": 20}  # else 8
EXACT = ("leaky_relu", "threshold", "hardtanh", "relu6", "hardshrink", "softshrink")

each_function = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.fixture(autouse=True)
def arrays_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorgrad.backend.fast.FEWEST", dict.fromkeys(fast_names(), 0))
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says


def fast_names() -> list[str]:
    from tensorgrad.backend import numba_curves

    return [*numba_curves.STEPS, *numba_curves.CURVES]


def fast() -> Any:
    from tensorgrad.backend.fast import FastBackend

    return FastBackend(numpy)


def numbers() -> numpy.ndarray:
    random = numpy.random.default_rng(5)
    return numpy.concatenate(
        [
            numpy.linspace(-15, 15, 4001),
            random.standard_normal(4000) * 1e-4,
            random.standard_normal(1000) * 60,
            [0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 1e-30, -1e-30, 87.5, -87.5, 104.0, -104.0, 1e30, -1e30],
        ]
    ).astype(numpy.float32)


def compare(found: Any, wanted: Any, name: str) -> None:
    assert found.dtype == numpy.float32
    if name in EXACT:
        numpy.testing.assert_array_equal(found, wanted.astype(numpy.float32))
        return
    size = numpy.maximum(numpy.abs(wanted), 0.125)
    error = numpy.abs(found.astype(numpy.float64) - wanted) / numpy.spacing(size.astype(numpy.float32))
    assert error.max() <= ULPS.get(name, 8), (name, error.max(), error.argmax())


@each_function
def test_values(name: str):
    x = numbers()
    curve = FUNCTIONS[name]
    compare(fast().value(curve, x), curve.formula(CPU, x if name in EXACT else x.astype(numpy.float64)), name)


@each_function
def test_derivatives(name: str):
    x = numbers()
    curve = FUNCTIONS[name]
    wide = (lambda v: v) if name in EXACT else (lambda v: v.astype(numpy.float64))
    with numpy.errstate(all="ignore"):
        wanted = curve.times_slope(CPU, wide(numpy.ones_like(x)), wide(x))
    compare(fast().along(curve, numpy.ones_like(x), x), wanted, name)
    d = numpy.random.default_rng(1).standard_normal(x.shape).astype(numpy.float32)
    numpy.testing.assert_allclose(fast().along(curve, d, x), d * wanted, rtol=3e-6, atol=3e-6)


@each_function
def test_infinities_and_nan(name: str):
    x = numpy.array([numpy.nan, numpy.inf, -numpy.inf, 0.0], numpy.float32)
    curve = FUNCTIONS[name]
    with numpy.errstate(all="ignore"):
        numpy.testing.assert_allclose(fast().value(curve, x), curve.formula(CPU, x), rtol=1e-6, atol=1e-37)
        nan = numpy.array([numpy.nan], numpy.float32)
        one = numpy.ones(1, numpy.float32)
        numpy.testing.assert_array_equal(fast().along(curve, one, nan), curve.times_slope(CPU, one, nan))
        numpy.testing.assert_array_equal(numpy.isnan(fast().along(curve, nan, x[3:])), [name not in zero_slopes()])


def zero_slopes() -> tuple[str, ...]:
    """Where the derivative at 0 is a true zero, whatever comes along."""
    return ("threshold", "relu6", "hardshrink", "softshrink")


@pytest.mark.parametrize(
    ("name", "exact", "ulps"),
    [
        ("erf", math.erf, 3),
        ("erfc", math.erfc, 6),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0, 3),
    ],
)
def test_special_functions(name: str, exact: Any, ulps: int):
    x = numbers()
    wanted = numpy.array([exact(float(v)) for v in x])
    found = getattr(fast(), name)(x)
    ordinary = numpy.abs(wanted) > 1e-37  # below it numbers have fewer digits
    error = numpy.abs(found.astype(numpy.float64) - wanted) / numpy.spacing(numpy.abs(wanted).astype(numpy.float32))
    assert error[ordinary].max() <= ulps
    assert numpy.abs(found[~ordinary] - wanted[~ordinary]).max() < 1e-37
    ends = numpy.array([numpy.nan, numpy.inf, -numpy.inf], numpy.float32)
    numpy.testing.assert_array_equal(
        getattr(fast(), name)(ends), {"erf": [numpy.nan, 1, -1], "erfc": [numpy.nan, 0, 2]}.get(name, [numpy.nan, 1, 0])
    )


@pytest.mark.parametrize("bounds", [(-1, 1), (None, 0.5), (0.25, None), (2, -1)])
def test_clamp(bounds: Any):
    x = numpy.append(numbers(), numpy.float32("nan"))
    numpy.testing.assert_array_equal(fast().clamp(x, *bounds), CPU.clamp(x, *bounds))


def layouts() -> dict[str, numpy.ndarray]:
    x = numpy.random.default_rng(2).standard_normal((3, 5, 4, 7)).astype(numpy.float32)
    return {
        "contiguous": x,
        "channels last": numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "transposed": numpy.ascontiguousarray(x.T).T,
        "strided": numpy.repeat(x, 2, 3)[..., ::2],
        "reversed": x[:, ::-1][:, ::-1],
        "one number": x[:1, :1, :1, :1],
        "no dimensions": x[0, 0, 0, 0:1].reshape(()),
        "empty": x[:0],
    }


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", layouts())
def test_every_layout(layout: str, threads: int, monkeypatch: pytest.MonkeyPatch):
    from tensorgrad.backend import curves

    monkeypatch.setattr(curves, "SHARED_STEPS", 0)
    monkeypatch.setattr(curves, "SHARED_CURVES", 0)
    before = thread_count()
    set_thread_count(threads)
    try:
        x = layouts()[layout]
        for d in (x.copy(order="C"), x, x[..., ::-1] if x.ndim else x):
            for name in ("gelu", "hardswish"):
                curve = FUNCTIONS[name]
                z, dx = fast().value(curve, x), fast().along(curve, d, x)
                assert z.shape == dx.shape == x.shape
                numpy.testing.assert_allclose(z, curve.formula(CPU, x), atol=1e-6)
                numpy.testing.assert_allclose(dx, curve.times_slope(CPU, d, x), atol=1e-6)
    finally:
        set_thread_count(before)


def test_float64_and_small_arrays_go_by_their_formulas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    wide = numpy.linspace(-3, 3, 5000)
    curve = FUNCTIONS["gelu"]
    numpy.testing.assert_array_equal(backend_of(wide).value(curve, wide), curve.formula(CPU, wide))
    small = wide[::100].astype(numpy.float32)
    numpy.testing.assert_array_equal(backend_of(small).value(curve, small), curve.formula(CPU, small))


@pytest.mark.parametrize(("name", "exact"), [("erf", math.erf), ("erfc", math.erfc)])
def test_few_numbers_go_through_pythons_own_functions(name: str, exact: Any):
    x = numbers()[::50].reshape(-1, 1)[:, ::-1]
    assert x.size <= 256
    wanted = numpy.array([[exact(float(v))] for v in x[:, 0]]).astype(numpy.float32)
    numpy.testing.assert_array_equal(getattr(CPU, name)(x), wanted)
