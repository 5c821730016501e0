"""Rows: reductions."""

from __future__ import annotations

import numpy as np
from ops.rows.table import apart, reseed, row, signed, strided, whole

import tensorgrad as tg

reseed(__name__)

for _note, _shape, _dim, _keepdim in [
    ("all", (2, 3), None, False),
    ("all-keep", (2, 3), None, True),
    ("first", (2, 3), 0, False),
    ("last-keep", (2, 3), -1, True),
    ("two", (2, 3, 2), (0, 2), False),
    ("0d", (), None, False),
    ("one-long", (2, 1), 1, False),
    ("empty", (0, 3), 1, False),
]:
    for _name, _function, _method in [
        ("Sum", tg.sum, "sum"),
        ("Mean", tg.mean, "mean"),
        ("Amax", tg.amax, "max"),
        ("Amin", tg.amin, "min"),
    ]:
        row(
            _name,
            _note,
            lambda x, f=_function, d=_dim, k=_keepdim: f(x, d, k),
            [apart(*_shape)],
            lambda x, m=_method, d=_dim, k=_keepdim: getattr(x, m)(axis=d, keepdims=k),
            oracle=lambda torch, x, name=_name, d=_dim, k=_keepdim: getattr(torch, name.lower())(
                x, () if d is None else d, keepdim=k
            ),
        )
row("Sum", "strided", lambda x: x.sum(1), [strided(signed(2, 3))], lambda x: x[:, 0] + x[:, 1] + x[:, 2])
row("Sum", "none", lambda x: x.sum(), [signed(0)], lambda x: np.array(0.0))
row("Sum", "none-along", lambda x: x.sum(0), [signed(0, 2)], lambda x: np.zeros(2))
row(
    "Mean", "var", lambda x: x.var(1), [signed(2, 3)], lambda x: x.var(axis=1, ddof=1), oracle=lambda torch, x: x.var(1)
)
row("Mean", "std", lambda x: x.std(), [signed(2, 3)], lambda x: x.std(ddof=1), oracle=lambda torch, x: x.std())
for _note, _x, _dim, _keepdim in [
    ("all", signed(2, 3), None, False),
    ("along", signed(2, 3), 1, False),
    ("keep", strided(signed(3, 2)), 0, True),
    ("all-keep", signed(2, 2, 3), None, True),
    ("two", signed(2, 3, 2), (0, 2), False),
]:
    row(
        "Length",
        _note,
        lambda x, d=_dim, k=_keepdim: x.norm(2, d, k),
        [_x],
        lambda x, d=_dim, k=_keepdim: np.sqrt((x * x).sum(axis=d, keepdims=k)),
        oracle=lambda torch, x, d=_dim, k=_keepdim: torch.linalg.vector_norm(x, 2, d, k),
    )
for _note, _x in [
    ("matrix", signed(2, 3)),
    ("strided", strided(signed(3, 2))),
    ("number", np.array(-1.5)),
    ("image", signed(2, 1, 3, 2)),
]:
    row(
        "MeanOfSquares",
        _note,
        lambda x: tg.nn.functional.mse_loss(x, tg.zeros_like(x)),
        [_x],
        lambda x: (x * x).mean(),
        oracle=lambda torch, x: torch.nn.functional.mse_loss(x, torch.zeros_like(x)),
    )
row("Length", "empty", lambda x: x.norm(2, 1), [signed(2, 0)], lambda x: np.zeros(2))
for _name, _function, _numpy in [("Argmax", tg.argmax, np.argmax), ("Argmin", tg.argmin, np.argmin)]:
    row(_name, "all", _function, [apart(2, 3)], _numpy)
    row(_name, "along", lambda x, f=_function: f(x, 1), [apart(2, 3)], lambda x, f=_numpy: f(x, 1))
    row(_name, "keep", lambda x, f=_function: f(x, 0, True), [apart(2, 3)], lambda x, f=_numpy: f(x, 0, keepdims=True))
    row(_name, "tie", _function, [np.array([3.0, 3.0, 3.0])], lambda x: np.array(0))
for _note, _x, _dim, _keepdim in [
    ("all", signed(2, 3), None, False),
    ("last", signed(2, 3), 1, False),
    ("keep", strided(signed(3, 2)), 0, True),
    ("zero", np.array([[0.0, 2.0, 3.0], [1.0, -4.0, 5.0]]), 1, False),
    ("zeros", np.array([0.0, 2.0, 0.0]), None, False),
    ("none", signed(2, 0), 1, False),
    ("0d", signed(), None, False),
]:
    row(
        "Prod",
        _note,
        lambda x, d=_dim, k=_keepdim: x.prod() if d is None else x.prod(d, k),
        [_x],
        lambda x, d=_dim, k=_keepdim: x.prod(axis=d, keepdims=k),
        oracle=lambda torch, x, d=_dim, k=_keepdim: x.prod() if d is None else x.prod(d, k),
    )
for _name, _function, _numpy in [("All", tg.all, np.all), ("Any_", tg.any, np.any)]:
    row(_name, "whole", _function, [np.array([[True, False], [True, True]])], lambda x, f=_numpy: np.asarray(f(x)))
    row(_name, "along", lambda x, f=_function: f(x, 0), [whole(2, 3, 4)], lambda x, f=_numpy: f(x, 0))
    row(_name, "none", lambda x, f=_function: f(x, 0), [signed(0, 2)], lambda x, f=_numpy: f(x, 0))
