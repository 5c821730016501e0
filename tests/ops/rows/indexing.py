"""Rows: indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import apart, reseed, row, signed, whole

from tensorgrad.primitive import tape

reseed(__name__)

for _note, _index, _shape in [
    ("number", 1, (3, 2)),
    ("value", 2, (3,)),
    ("negative", -1, (3, 2)),
    ("slice", slice(1, None), (3, 2)),
    ("step", slice(None, None, 2), (5,)),
    ("backward", slice(None, None, -1), (3,)),
    ("several", (slice(None), 1, slice(0, 2)), (2, 3, 3)),
    ("new-axis", (None, slice(None), None), (3,)),
    ("dots", (..., 0), (2, 2, 3)),
    ("dots-value", (..., 0), (3,)),
    ("nothing", (), (2,)),
    ("nothing-0d", (), ()),
    ("empty", slice(0, 0), (3, 2)),
]:
    row("Slice", _note, lambda x, i=_index: x[i], [signed(*_shape)], lambda x, i=_index: x[i])
    row(
        "Unslice",
        _note,
        lambda x, i=_index, s=_shape: tape.unslice(x, i if isinstance(i, tuple) else (i,), s),
        [np.asarray(signed(*_shape)[_index])],
        lambda x, i=_index, s=_shape: _placed(x, i, s),
    )


def _placed(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    z = np.zeros(shape)
    z[index] = x
    return z


def _added(x: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """z[places[j]] += x[j]"""
    z = np.zeros((length, *x.shape[1:]))
    for value, place in zip(x, places):
        z[place] += value
    return z


row(
    "Gather",
    "repeated",
    lambda x, i: x[i],
    [signed(3, 2), np.array([2, 0, 2])],
    lambda x, i: np.array([x[2], x[0], x[2]]),
)
row(
    "ScatterAdd",
    "long rows",
    lambda x, i: tape.scatter_add(x, (i.array,), (3, 200)),
    [signed(3, 200), np.array([2, 0, 2])],
    lambda x, i: _added(x, i, 3),
)
row("Gather", "list", lambda x: x[[0, 0, -1]], [signed(3)], lambda x: np.array([x[0], x[0], x[-1]]))
row("Gather", "two", lambda x, i, j: x[i, j], [signed(3, 3), whole(3, 4), whole(3, 4)], lambda x, i, j: x[i, j])
row("Gather", "with-slice", lambda x, i: x[:, i], [signed(2, 3), whole(3, 2, 2)], lambda x, i: x[:, i])
row(
    "Gather", "mask", lambda x: x[x > 0], [np.array([[1.0, -2.0], [-3.0, 4.0]])], lambda x: np.array([x[0, 0], x[1, 1]])
)
row("Gather", "mask-rows", lambda x, m: x[m], [signed(3, 2), np.array([True, False, True])], lambda x, m: x[[0, 2]])
row("Gather", "none", lambda x: x[[]], [signed(3)], lambda x: x[:0])
row(
    "ScatterAdd",
    "repeated",
    lambda x, i: tape.scatter_add(x, (i.array,), (3, 2)),
    [signed(4, 2), np.array([2, 0, 2, 2])],
    lambda x, i: _added(x, i, 3),
)
row(
    "TakeAlongAxis",
    "max",
    lambda x: x.max(1).values,
    [apart(2, 3)],
    lambda x: x.max(1),
    oracle=lambda torch, x: x.max(1)[0],
)
row("TakeAlongAxis", "min", lambda x: x.min(0, True)[0], [apart(2, 3)], lambda x: x.min(0, keepdims=True))
row(
    "PutAlongAxis",
    "repeated",
    lambda x, i: tape.put_along_axis(x, i, 0, 4),
    [signed(3), np.array([1, 3, 1])],
    lambda x, i: np.array([0, x[0] + x[2], 0, x[1]]),
)
row(
    "PutAlongAxis",
    "last",
    lambda x, i: tape.put_along_axis(x, i, 1, 3),
    [signed(2, 2), np.array([[0, 0], [2, 1]])],
    lambda x, i: np.array([[x[0, 0] + x[0, 1], 0, 0], [0, x[1, 1], x[1, 0]]]),
)
