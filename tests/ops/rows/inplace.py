"""Rows: changes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ops.rows.table import reseed, row, signed

import tensorgrad as tg
from tensorgrad.ops.indexing import Overwrite, Slice
from tensorgrad.ops.shape import Transpose
from tensorgrad.tensor import Tensor

reseed(__name__)


def _written(change: Callable[[Tensor, Tensor], Any]) -> Callable[[Tensor, Tensor], Tensor]:
    def function(x: Tensor, y: Tensor) -> Tensor:
        z = x.clone()
        change(z, y)
        return z

    return function


def _rows_replaced(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:1], y + np.zeros((2, 2))])


row(
    "Overwrite",
    "rows",
    lambda x, y: Overwrite(Slice((slice(1, 3),)))(x, y),
    [signed(3, 2), signed(2, 2)],
    _rows_replaced,
)
row(
    "Overwrite",
    "turned",
    lambda x, y: Overwrite(Transpose((1, 0)))(x, y),
    [signed(3, 2), signed(2, 3)],
    lambda x, y: y.T,
)
row(
    "_WrittenInPlace",
    "setitem",
    _written(lambda z, y: z.__setitem__(slice(1, 3), y)),
    [signed(3, 2), signed(2)],
    _rows_replaced,
)
row(
    "_WrittenInPlace",
    "multiply-view",
    _written(lambda z, y: z[1:].mul_(y)),
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0], x[1] * y, x[2] * y]),
)
row(
    "_WrittenInPlace",
    "view-of-view",
    _written(lambda z, y: z.T[1].exp_().mul_(y)),
    [signed(3, 2), signed(3)],
    lambda x, y: np.array([x[:, 0], np.exp(x[:, 1]) * y]).T,
)
row("_WrittenInPlace", "value", _written(lambda z, y: z[1].add_(y)), [signed(3), signed()], lambda x, y: x + [0, y, 0])
row(
    "_WrittenInPlace",
    "cotangent-broadcast",
    lambda x, y: _written(lambda z, y: z.view(6)[2:5].mul_(y))(x, y).sum(0),
    [signed(3, 2), signed(3)],
    lambda x, y: np.array([x[0, 0] + x[1, 0] * y[0] + x[2, 0] * y[2], x[0, 1] + x[1, 1] * y[1] + x[2, 1]]),
)
row(
    "_WrittenInPlace",
    "cotangent-turned",
    lambda x, y: _written(lambda z, y: z.view(6)[:2].mul_(y))(x, y).T * 1,
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0] * y, x[1], x[2]]).T,
)
row(
    "_WrittenInPlace",
    "base-turned",
    lambda x, y: _written(lambda z, y: z.T.view(6)[1:3].mul_(y))(x.T, y).sum(1),
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0, 0] + x[1, 0] * y[1] + x[2, 0], x[0, 1] * y[0] + x[1, 1] + x[2, 1]]),
)
row(
    "Scattered",
    "list",
    _written(lambda z, y: z.__setitem__([2, 0], y)),
    [signed(3, 2), signed(2, 2)],
    lambda x, y: np.array([y[1], x[1], y[0]]),
)
row(
    "Scattered",
    "mask",
    _written(lambda z, y: z.__setitem__(tg.tensor([True, False, True]).to(z.device), y)),
    [signed(3), signed()],
    lambda x, y: np.array([y, x[1], y]),
)
