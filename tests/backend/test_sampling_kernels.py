"""The loops that look up at the places of a grid, against the formula on arrays, over sizes, memory orders and dtypes."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy
import pytest

from tensorgrad.backend import compiled
from tensorgrad.backend.cpu import CPU
from tensorgrad.backend.fast import FastBackend
from tensorgrad.backend.parallel import set_thread_count, thread_count
from tensorgrad.ops.grid_sampling import GridSample

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
LAYOUTS = {
    "contiguous": numpy.ascontiguousarray,
    "channels-last": lambda x: numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(x, 1, -1)), -1, 1),
    "strided": lambda x: numpy.repeat(x, 2, -1)[..., ::2],
}
#: (N, C, pixels), places
SIZES = [
    ((1, 1, 1, 1), (1, 1)),
    ((2, 3, 5, 7), (4, 3)),
    ((1, 5, 1, 9), (2, 130)),  # more than a block of places
    ((3, 2, 8, 6), (17, 16)),
    ((2, 3, 4, 3, 5), (3, 2, 5)),
    ((1, 4, 2, 1, 3), (1, 7, 90)),
]
LOOKUPS = [
    GridSample(mode, padding, align)
    for mode in ("bilinear", "nearest")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
]
each_lookup = pytest.mark.parametrize("lookup", LOOKUPS, ids=repr)


@pytest.fixture(params=[1, 3], ids=["alone", "shared"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    before = thread_count()
    set_thread_count(request.param)
    yield FastBackend(numpy)
    set_thread_count(before)


def near(found: Any, wanted: Any) -> None:
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    error = 1e-5 if wanted.dtype == numpy.float32 else 1e-13
    numpy.testing.assert_allclose(found, wanted, rtol=0, atol=error * max(1.0, abs(wanted).max(initial=0)))


@each_lookup
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(fast: Any, lookup: Any, dtype: str):
    random = numpy.random.default_rng(3)
    for shape, outputs in SIZES:
        for layout in LAYOUTS.values():
            x = layout(random.standard_normal(shape).astype(dtype))
            grid = layout(random.uniform(-1.7, 1.7, (shape[0], *outputs, len(outputs))).astype(dtype))
            dz = layout(random.standard_normal((*shape[:2], *outputs)).astype(dtype))
            near(fast.sampled(lookup, x, grid), CPU.sampled(lookup, x, grid))
            for wants in ((True, True), (True, False), (False, True)):
                found = fast.sampled_grad(lookup, dz, x, grid, *wants)
                for asked, ours, wanted in zip(wants, found, CPU.sampled_grad(lookup, dz, x, grid, *wants)):
                    if asked:
                        near(ours, wanted)
                    else:
                        assert ours is wanted is None


@each_lookup
def test_places_on_pixels_and_half_way_between_them(fast: Any, lookup: Any):
    """Where the side of a kink is a matter of one rounding, both take the same."""
    x = numpy.random.default_rng(4).standard_normal((1, 2, 4, 8)).astype(numpy.float32)
    columns, rows = numpy.meshgrid(numpy.arange(-16, 17) / 8, numpy.arange(-8, 9) / 4)
    grid = numpy.stack([columns, rows], -1)[None].astype(numpy.float32)
    dz = numpy.ones((1, 2, *grid.shape[1:3]), numpy.float32)
    near(fast.sampled(lookup, x, grid), CPU.sampled(lookup, x, grid))
    for ours, wanted in zip(
        fast.sampled_grad(lookup, dz, x, grid, True, True), CPU.sampled_grad(lookup, dz, x, grid, True, True)
    ):
        near(ours, wanted)


def test_what_lies_outside_is_not_looked_at(fast: Any):
    """A place far outside, at infinity or nowhere reads and changes no pixel, be that infinite."""
    lookup = GridSample("nearest", "zeros", False)
    x = numpy.full((1, 1, 2, 2), numpy.inf, numpy.float32)
    grid = numpy.array([[[[1e30, 0], [-numpy.inf, 0], [0, numpy.nan], [3, -3]]]], numpy.float32)
    with numpy.errstate(all="ignore"):
        assert fast.sampled(lookup, x, grid).tolist() == [[[[0.0] * 4]]]
    outside, dz = numpy.full((1, 1, 4, 2), 9, numpy.float32), numpy.full((1, 1, 1, 4), numpy.inf, numpy.float32)
    for mode in ("bilinear", "nearest"):
        dx, _ = fast.sampled_grad(GridSample(mode, "zeros", False), dz, x, outside, True, False)
        assert dx.tolist() == [[[[0.0] * 2] * 2]]


def test_nothing_to_look_up(fast: Any):
    lookup = GridSample("bilinear", "zeros", False)
    for shape, outputs in [((0, 2, 3, 3), (2, 2)), ((2, 0, 3, 3), (2, 2)), ((2, 2, 3, 3), (0, 2))]:
        x, grid = numpy.ones(shape, numpy.float32), numpy.zeros((shape[0], *outputs, 2), numpy.float32)
        dz = numpy.ones((*shape[:2], *outputs), numpy.float32)
        assert fast.sampled(lookup, x, grid).shape == dz.shape
        assert [d.shape for d in fast.sampled_grad(lookup, dz, x, grid, True, True)] == [shape, grid.shape]
