"""benchmarks/leaks.py: what is left behind by counting references alone, by everything the library does."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # benchmarks/ is no part of the package
from benchmarks import leaks

#: Of every kind of thing one, run by default; slow: many of everything.
SOME = (
    "Matmul-matrices",
    "layer BatchNorm2d",
    "loss 0 L1Loss",
    "optimiser Adam",
    "step of perceptron",
)

KEPT: list[object] = []


class Circle:
    """An object that refers to itself: freed by the garbage collector alone."""

    def __init__(self) -> None:
        self.itself = self


#: name -> (what leaks at every run, where it is counted)
PLANTED = {
    "an array": (lambda: KEPT.append(np.zeros(100)), "arrays"),
    "a small object": (lambda: KEPT.append(float(len(KEPT)) + 0.5), "blocks"),
    "a circle": (lambda: Circle() and None, "objects"),
    "a list": (lambda: KEPT.append([1]), "objects"),
    "memory of the C library": (lambda: ctypes.CDLL(None).malloc(256), "native"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_leak_is_seen(name: str):
    run, kind = PLANTED[name]
    if kind == "native" and leaks.native_bytes() == 0:
        pytest.skip("the C library does not tell what it has given out")
    KEPT.clear()
    left = leaks.left_by(name, run)
    assert left.grows and getattr(left, kind) >= leaks.RUNS
    assert f"**grows** {name}" in "\n".join(leaks.table([left], 0))


def test_what_keeps_nothing_does_not_grow():
    cache: dict[int, list[int]] = {}
    left = leaks.left_by("a cache", lambda: cache.setdefault(0, [1]))
    assert not left.grows and left.arrays == left.objects == 0
    assert leaks.left_by("a step", lambda: np.ones(1000).sum()).arrays == 0


def test_an_error_in_the_middle_is_in_the_middle():
    import tensorgrad as tg

    done = []

    def run() -> None:
        x = tg.ones(3, requires_grad=True)
        for place in range(6):
            x = x * 2.0
            done.append(place)

    halfway = leaks.failing(run)
    halfway()
    assert done == [0, 1, 2, 3, 4, 5, 0, 1, 2]  # whole to count, then up to the fourth


def test_some_of_everything_leaves_nothing():
    found = list(leaks.measure("|".join(SOME)))
    assert all(any(name in left.name for left in found) for name in SOME)
    assert not [left for left in found if left.grows]


@pytest.mark.slow
def test_nothing_leaves_anything():
    """Of 18,500 things every 31st, of every kind and direction; `python -m benchmarks.leaks` counts all, in half an hour."""
    found = list(leaks.measure(share=31))
    assert len(found) > 500
    grown = [left for left in found if left.grows]
    assert not grown, "\n".join(leaks.table(grown, 0))
