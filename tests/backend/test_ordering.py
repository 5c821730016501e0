"""Copies in the order of the dimensions, against NumPy's: which ones the kernel makes, and that reshape stays a view."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy
import pytest

import tensorgrad as tg
from tensorgrad.backend import compiled, ordering
from tensorgrad.backend.fast import FastBackend
from tensorgrad.backend.parallel import set_thread_count, thread_count

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)


@pytest.fixture(params=[1, 3], ids=["alone", "shared"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    from tensorgrad.backend import batch

    monkeypatch.setattr(batch, "SHARED_NUMBERS", 0)
    monkeypatch.setattr(ordering, "FEWEST", 1)
    monkeypatch.setattr(ordering, "SHORTEST_SIDE", 2)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    before = thread_count()
    set_thread_count(request.param)
    yield FastBackend(numpy)
    set_thread_count(before)


def draw(*shape: int) -> numpy.ndarray:
    return numpy.arange(math.prod(shape), dtype=numpy.float32).reshape(shape)


# what has another order than its dimensions -> whether the kernel copies it
ORDERS = {
    "transposed": (lambda: draw(33, 50).T, True),
    "a side of two": (lambda: draw(2, 50).T, True),
    "whole registers": (lambda: draw(64, 48).T, True),
    "of each pair": (lambda: draw(3, 17, 40).transpose(0, 2, 1), True),
    "channels last to planes": (lambda: draw(2, 7, 5, 18).transpose(0, 3, 1, 2), True),
    "planes to channels last": (lambda: draw(2, 18, 7, 5).transpose(0, 2, 3, 1), True),
    "batch last": (lambda: draw(3, 5, 7, 16).transpose(3, 0, 1, 2), True),
    "with a dimension of one": (lambda: draw(17, 1, 20).transpose(2, 1, 0), True),
    "part of the columns": (lambda: draw(30, 40)[:, 3:29].T, True),
    "every other row": (lambda: draw(30, 40)[::2].T, True),
    "repeated": (lambda: numpy.broadcast_to(draw(20, 30).T, (4, 30, 20)), True),
    "matrices backwards": (lambda: draw(4, 20, 30)[::-1].transpose(0, 2, 1), True),
    "rows backwards": (lambda: draw(20, 30)[::-1].T, False),
    "every other column": (lambda: draw(20, 30)[:, ::2].T, False),
    "overlapping rows": (lambda: numpy.lib.stride_tricks.sliding_window_view(draw(60), 20).T, False),
    "all turned round": (lambda: draw(6, 7, 8).transpose(2, 1, 0), False),
    "lines that lie": (lambda: draw(6, 7, 8).transpose(1, 0, 2), False),
    "in order": (lambda: draw(6, 7, 8), False),
    "float64": (lambda: draw(33, 50).T.astype(numpy.float64), False),
}


@pytest.mark.parametrize(("make", "by_kernel"), ORDERS.values(), ids=ORDERS.keys())
def test_a_copy_in_order(fast: Any, make: Any, by_kernel: bool):
    x = make()
    copied = ordering.in_order(x)
    assert (copied is not None) == by_kernel
    for z in (fast.contiguous(x), fast.reshape(x, x.shape[::-1]), fast.reshape(x, (x.size,))):
        assert z.dtype == x.dtype and (z.flags.c_contiguous or not by_kernel)
        numpy.testing.assert_array_equal(z.reshape(x.shape), numpy.array(x, order="C"))
    numpy.testing.assert_array_equal(fast.contiguous(x), x)
    assert not numpy.shares_memory(fast.contiguous(x), x)


SHAPES = {
    "transposed": (lambda: draw(4, 6).T, [(6, 4), (2, 3, 4), (6, 2, 2), (6, 1, 4)], [(24,), (4, 6), (3, 8), (12, 2)]),
    "of each pair": (lambda: draw(3, 4, 6).transpose(0, 2, 1), [(3, 3, 2, 4), (3, 6, 4, 1)], [(18, 4), (3, 24), (72,)]),
    "parts of rows": (lambda: draw(4, 6)[:, :4], [(2, 2, 4), (4, 2, 2)], [(16,), (8, 2)]),
    "repeated": (lambda: numpy.broadcast_to(draw(1, 6), (4, 6)), [(2, 2, 6), (4, 2, 3)], [(24,)]),
}


@pytest.mark.parametrize(("make", "views", "copies"), SHAPES.values(), ids=SHAPES.keys())
def test_what_is_a_view_stays_one(fast: Any, make: Any, views: Any, copies: Any):
    x = make()
    for shape in [*views, *copies]:
        z = fast.reshape(x, shape)
        assert numpy.shares_memory(z, x) == (shape in views) == ordering.is_view(ordering.merged(x), shape)
        numpy.testing.assert_array_equal(z, x.reshape(shape))


def test_a_shape_of_other_sizes_is_refused_as_ever(fast: Any):
    for shape in [(25,), (0,), (4, 7), (3, 0)]:
        with pytest.raises(ValueError, match="cannot reshape"):
            fast.reshape(draw(4, 6).T, shape)


def test_gradients_through_large_transposed_copies():
    """The library's own thresholds: sum of w times the copy, whose gradients are w and x in the other's order."""
    x = tg.tensor(draw(130, 140) / 1000, requires_grad=True)
    w = tg.tensor(draw(140 * 130)[::-1].copy() / 1000, requires_grad=True)
    for turned in (x.T.reshape(-1), x.T.contiguous().view(-1), x.mT.flatten()):
        dx, dw = tg.autograd.grad((turned * w).sum(), (x, w))
        numpy.testing.assert_array_equal(dx.array, w.array.reshape(140, 130).T)
        numpy.testing.assert_array_equal(dw.array, numpy.array(x.array.T, order="C").reshape(-1))
