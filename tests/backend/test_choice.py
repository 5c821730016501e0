"""Which kernel computes a convolution, and how that is shown and overruled."""

from __future__ import annotations

import threading

import numpy
import pytest

from tensorgrad import backend
from tensorgrad.backend import choice, compiled
from tensorgrad.errors import ArgumentError, ShapeError

CASES = [
    # (direction, images, w, outputs, dtype, stride, dilation, groups, register, memory, kernel)
    ("forward", 8, (64, 64, 3, 3), (56, 56), "float32", 1, 1, 1, 16, "channels last", "winograd"),
    ("weight grad", 8, (64, 64, 3, 3), (56, 56), "float32", 1, 1, 1, 16, "channels last", "winograd"),
    ("forward", 8, (512, 512, 3, 3), (7, 7), "float32", 1, 1, 1, 16, "channels last", "direct"),
    ("forward", 8, (128, 64, 3, 3), (28, 28), "float32", 2, 1, 1, 16, "channels last", "direct"),
    ("forward", 8, (64, 3, 7, 7), (112, 112), "float32", 2, 1, 1, 16, "planes", "direct"),
    ("forward", 8, (64, 64, 3, 3), (56, 56), "float64", 1, 1, 1, 16, "channels last", "numpy"),
    ("forward", 8, (64, 64, 3, 3), (56, 56), "float32", 1, 1, 1, 0, "channels last", "numpy"),
    ("forward", 64, (6, 1, 5, 5), (28, 28), "float32", 1, 1, 1, 16, "planes", "batch"),
    ("forward", 60, (6, 1, 5, 5), (28, 28), "float32", 1, 1, 1, 16, "planes", "loops"),
    ("forward", 64, (16, 6, 5, 5), (10, 10), "float32", 1, 1, 1, 16, "batch last", "batch"),
    ("forward", 64, (16, 6, 5, 5), (10, 10), "float32", 1, 1, 1, 16, "planes", "direct"),
    ("input grad", 64, (6, 3, 5, 5), (28, 28), "float32", 2, 1, 1, 16, "planes", "direct"),
    ("weight grad", 64, (6, 3, 5, 5), (28, 28), "float32", 2, 1, 1, 16, "planes", "batch"),
    ("forward", 8, (64, 1, 3, 3), (56, 56), "float32", 2, 1, 64, 16, "channels last", "depthwise"),
    ("forward", 8, (60, 1, 3, 3), (56, 56), "float32", 1, 1, 60, 16, "channels last", "numpy"),
    ("forward", 8, (64, 32, 3, 3), (56, 56), "float32", 1, 1, 2, 16, "channels last", "direct"),
    ("forward", 8, (64, 64, 3, 3), (56, 56), "float32", 1, 2, 1, 16, "channels last", "direct"),
    ("input grad", 8, (64, 64, 3, 3), (56, 56), "float32", 2, 2, 1, 16, "channels last", "numpy"),
    ("forward", 8, (60, 64, 3, 3), (56, 56), "float32", 1, 1, 1, 16, "channels last", "direct"),
]


@pytest.mark.parametrize("case", CASES)
def test_kernels_of_cases(case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", "auto")
    direction, images, w, outputs, dtype, stride, dilation, groups, register, memory, wanted = case
    settings = numpy.dtype(dtype), (stride, stride), (dilation, dilation), groups, register, memory
    assert choice.kernel_for(direction, images, w, outputs, *settings) == wanted
    monkeypatch.setattr(choice, "_chosen", "exact")
    exact = choice.kernel_for(direction, images, w, outputs, *settings)
    assert exact == ("direct" if wanted == "winograd" else wanted)
    for name in ("direct", "winograd", "depthwise", "batch", "loops", "numpy"):
        monkeypatch.setattr(choice, "_chosen", name)
        found = choice.kernel_for(direction, images, w, outputs, *settings)
        assert found == name or name not in choice._possible(direction, images, w, outputs, *settings[:-1])


def test_exact_results_differ_from_winograds(monkeypatch: pytest.MonkeyPatch):
    if not compiled.numba_works():
        pytest.skip("Numba is not used")
    random = numpy.random.default_rng(3)
    x = random.standard_normal((8, 64, 16, 16)).astype(numpy.float32)
    w = random.standard_normal((64, 64, 3, 3)).astype(numpy.float32)
    conv = backend.backend_of(x).conv2d
    settings = (1, 1), (1, 1, 1, 1), (1, 1), 1
    wanted = conv(x.astype(numpy.float64), w.astype(numpy.float64), *settings)
    errors = {}
    before = backend.choose("auto")
    try:
        for name in ("auto", "exact"):
            backend.choose(name)
            errors[name] = float(numpy.abs(conv(x, w, *settings) - wanted).max() / numpy.abs(wanted).max())
    finally:
        backend.choose(before)
    assert errors["exact"] < 2e-6 < errors["auto"] < 2e-5


def test_explain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", "auto")
    text = backend.explain((2, 3, 8, 8), (4, 3, 3, 3), dtype="float64")
    assert text.split("\n")[0] == "forward      numpy          0 M products"
    with pytest.raises(ShapeError, match="conv2d"):
        backend.explain((2, 3, 8, 8), (4, 2, 3, 3))
    with pytest.raises(ArgumentError, match="fastest"):
        backend.choose("fastest")


def test_warmup_in_the_background_and_at_once():
    """Everything is compiled (read from the cache) in this process; a second time costs nothing."""
    if not compiled.numba_works():
        assert backend.warmup() == 0.0
        return
    assert backend.warmup(background=True) == 0.0
    for thread in threading.enumerate():
        if thread.name == "tensorgrad-warmup":
            thread.join()
    backend.warmup()
    assert backend.warmup() < 0.1
    assert {"numba_winograd.whole", "numba_direct.convolve"} <= set(compiled.loops_in_use())
