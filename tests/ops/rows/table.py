"""What the table of cases is made of: rows, and the values that stand in them.

The rows are in the files beside this one, one for each file of tensorgrad/ops; tests/ops/cases.py gathers them and
tests/ops/test_cases.py runs all its checks on each.

A row is a function of Tensors that applies the primitive, inputs, and the same function written the obvious way in NumPy.
Inputs that are floating point are differentiated; they stay away from kinks (ties, zeros of |x|, bounds), which have tests of
their own in tests/ops/test_kinks.py. Where PyTorch has the same function, the row names it too.

To add a primitive: add its class in tensorgrad/ops, then a row in the file of the same name; a test fails until then.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Case:
    """One row. `expected` gives one array or a list of them; `oracle` takes the module torch and its tensors."""

    primitive: str
    note: str
    function: Callable[..., Any]
    inputs: Sequence[np.ndarray]
    expected: Callable[..., Any]
    oracle: Callable[..., Any] | None = None
    step: float = 1e-6  # of the central differences; a map that rounds needs a long one, a linear map can take one
    rtol: float = 1e-6
    keeps_dtype: bool = True  # float32 in, float32 out
    rows32: float = 2e-5  # how far float32 may be from float64, relative to the largest value
    floats: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.floats = [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def __str__(self) -> str:
        return f"{self.primitive}-{self.note}"


CASES: list[Case] = []


def row(primitive: str, note: str, function: Any, inputs: Sequence[np.ndarray], expected: Any, **more: Any) -> None:
    CASES.append(Case(primitive, note, function, inputs, expected, **more))


# Values. Each row gets its own, the same at every run.

_random = np.random.default_rng(20260101)


def reseed(name: str) -> None:
    """Called first in every file of rows, so that a row added in one changes no value in another."""
    global _random
    _random = np.random.default_rng(zlib.crc32(name.encode()))


def signed(*shape: int) -> np.ndarray:
    """Of magnitude 0.4 to 1.6, either sign."""
    return np.asarray(_random.uniform(0.4, 1.6, shape) * _random.choice([-1.0, 1.0], shape))


def positive(*shape: int) -> np.ndarray:
    """0.5 to 2."""
    return np.asarray(_random.uniform(0.5, 2.0, shape))


def tenths(*shape: int) -> np.ndarray:
    """-0.5, -0.4, ... 0.5"""
    return np.asarray(_random.integers(-5, 6, shape) / 10)


def between(*shape: int) -> np.ndarray:
    """-0.55, -0.45, ... 0.55: never near one of the tenths."""
    return np.asarray(_random.integers(-6, 6, shape) / 10 + 0.05)


def apart(*shape: int) -> np.ndarray:
    """No two values closer than 0.1, none closer than 0.05 to 0."""
    count = int(np.prod(shape))
    values = 0.1 * (np.arange(count) - count // 2) + 0.05
    return np.asarray(_random.permutation(values).reshape(shape))


def strided(x: np.ndarray) -> np.ndarray:
    """The same values, every second place of a larger array whose axes are in reverse order."""
    z = np.empty(tuple(2 * n for n in reversed(x.shape)))[tuple(slice(None, None, 2) for _ in x.shape)].transpose()
    z[...] = x
    assert x.ndim == 0 or not z.flags.c_contiguous
    return z


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) lying in memory as (N, H, W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def whole(high: int, *shape: int) -> np.ndarray:
    """Whole numbers below `high`."""
    return np.asarray(_random.integers(0, high, shape))


def mask(*shape: int) -> np.ndarray:
    return np.asarray(_random.random(shape) < 0.5)
