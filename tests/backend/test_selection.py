"""Scans, sorting and scattering of arrays, on every backend, against the obvious way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad.backend import backend_for
from tensorgrad.errors import ShapeError

RANDOM = np.random.default_rng(5)


@pytest.fixture
def kernels(device: str) -> Any:
    return backend_for(device)


@pytest.mark.parametrize("operation", ["maximum", "minimum", "logaddexp"])
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((1, 3), 0), ((2, 8, 3), 1), ((2, 0), 1), ((5, 2), 0)])
def test_accumulate(kernels, operation, shape, axis):
    x = RANDOM.standard_normal(shape)
    found = kernels.to_host(kernels.accumulate(kernels.from_host(x), axis, operation))
    expected = x.copy()
    for i in range(1, shape[axis]):
        here, before = ((slice(None),) * axis + (place,) for place in (i, i - 1))
        expected[here] = getattr(np, operation)(expected[before], x[here])
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize(("k", "count"), [(1, 40), (3, 40), (5, 6), (0, 4), (4, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_topk_is_the_front_of_the_order(kernels, largest, k, count, dtype):
    x = np.stack([RANDOM.permutation(count) for _ in range(3)]).astype(dtype)
    found = kernels.to_host(kernels.topk(kernels.from_host(x), k, 1, largest))
    for row, places in zip(x, found):
        assert row[places].tolist() == sorted(row.tolist(), reverse=largest)[:k]


def test_order_of_rows(kernels):
    x = RANDOM.integers(0, 2, (30, 4))
    order = kernels.to_host(kernels.order_of_rows(kernels.from_host(x)))
    assert order.tolist() == sorted(range(30), key=lambda i: (*x[i].tolist(), i))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(kernels, side):
    sequence, values = np.sort(RANDOM.integers(0, 9, (3, 6)), 1), RANDOM.integers(0, 9, (3, 5))
    found = kernels.to_host(kernels.searchsorted(kernels.from_host(sequence), kernels.from_host(values), side))
    for row, wanted, places in zip(sequence, values, found):
        before = [sum(y < v if side == "left" else y <= v for y in row) for v in wanted]
        assert places.tolist() == before


@pytest.mark.parametrize("width", [3, 300])
def test_scatter_add_of_rows(kernels, width):
    """Short rows value by value, long ones row by row."""
    dz, index = RANDOM.standard_normal((5, width)), np.array([2, 0, 2, 1, 2])
    found = kernels.to_host(kernels.scatter_add(kernels.from_host(dz), (kernels.from_host(index),), (4, width)))
    expected = np.stack([dz[index == place].sum(0) for place in range(4)])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("count", [1, 3])
def test_put_along_axis(kernels, count):
    dz, index = RANDOM.standard_normal((2, count)), RANDOM.integers(0, 4, (2, count))
    found = kernels.to_host(kernels.put_along_axis(kernels.from_host(dz), kernels.from_host(index), 1, 4))
    expected = np.zeros((2, 4))
    for row in range(2):
        for value, place in zip(dz[row], index[row]):
            expected[row, place] += value
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scatter_extreme_takes_all_of_a_place(kernels):
    x, index, y = np.array([1.0, 5.0, 2.0]), np.array([0, 0, 2]), np.array([3.0, 4.0, 1.0])
    for operation, expected in [("maximum", [4, 5, 2]), ("minimum", [1, 5, 1])]:
        z = kernels.scatter_extreme(kernels.from_host(x), (kernels.from_host(index),), kernels.from_host(y), operation)
        assert kernels.to_host(z).tolist() == expected


def test_indices_are_looked_at_on_the_host_alone():
    with pytest.raises(ShapeError, match="gather: got indices -1 to 3; they must be from 0 to 2"):
        backend_for("cpu").check_index("gather", np.array([3, -1]), 3, ShapeError)
    backend_for("cpu").check_index("gather", np.zeros(0, np.int64), 0, ShapeError)
