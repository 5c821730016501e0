"""Rows: gather, scatter and their reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import apart, reseed, row, signed, whole

import tensorgrad as tg

reseed(__name__)

INDEX = np.array([[0, 2, 2], [3, 0, 2]])  # (2, 3): towards rows of a (4, 3)


def _reduced(x: np.ndarray, y: np.ndarray, how: str, include_self: bool, index: np.ndarray = INDEX) -> np.ndarray:
    """The obvious way: a list of values for every place."""
    z = x.copy()
    for place in np.ndindex(*x.shape):
        values = [y[i, place[1]] for i in range(index.shape[0]) if index[i, place[1]] == place[0]]
        if values:
            values += [x[place]] if include_self else []
            z[place] = {"sum": sum, "prod": np.prod, "mean": np.mean, "amax": max, "amin": min}[how](values)
    return z


def _on(x: Any, index: np.ndarray) -> Any:
    """An index beside x, on its device."""
    return tg.tensor(index, device=x.device)


row(
    "TakeAlongAxis",
    "gather",
    lambda x: x.gather(0, _on(x, INDEX)),
    [signed(4, 5)],
    lambda x: np.array([[x[INDEX[i, j], j] for j in range(3)] for i in range(2)]),
    oracle=lambda torch, x: x.gather(0, torch.tensor(INDEX)),
)
row(
    "TakeAlongAxis",
    "first",
    lambda x, i: tg.take_along_dim(x, i, 0),
    [signed(3, 2), whole(3, 4, 2)],
    lambda x, i: np.array([[x[i[j, k], k] for k in range(2)] for j in range(4)]),
    oracle=lambda torch, x, i: torch.take_along_dim(x, i, 0),
)
row(
    "TakeAlongAxis",
    "last",
    lambda x, i: tg.take_along_dim(x, i, -1),
    [signed(2, 3), np.array([[0, 0], [2, 1]])],
    lambda x, i: np.array([[x[0, 0], x[0, 0]], [x[1, 2], x[1, 1]]]),
    oracle=lambda torch, x, i: torch.take_along_dim(x, i, -1),
)
row(
    "TakeAlongAxis",
    "broadcast",
    lambda x, i: tg.take_along_dim(x, i, 1),
    [signed(1, 3), np.array([[0], [2]])],
    lambda x, i: np.array([[x[0, 0]], [x[0, 2]]]),
    oracle=lambda torch, x, i: torch.take_along_dim(x, i, 1),
)
SOME = np.array([[3, 0, 2], [1, 2, 0]])
row(
    "Scattered",
    "scatter",
    lambda x, y: x.scatter(0, _on(x, SOME), y),
    [signed(4, 3), signed(2, 3)],
    lambda x, y: _reduced(x, y, "sum", False, SOME),
    oracle=lambda torch, x, y: x.scatter(0, torch.tensor(SOME), y),
)
row(
    "Scattered",
    "scatter-part",
    lambda x, y: x.scatter(0, _on(x, SOME), y),
    [signed(4, 3), signed(3, 4)],
    lambda x, y: _reduced(x, y, "sum", False, SOME),
)
row(
    "Scattered",
    "scatter-number",
    lambda x: x.scatter(0, _on(x, SOME), 3.0),
    [signed(4, 3)],
    lambda x: _reduced(x, np.full((2, 3), 3.0), "sum", False, SOME),
)
row(
    "ScatterAdd",
    "scatter_add",
    lambda x, y: x.scatter_add(0, _on(x, INDEX), y),
    [signed(4, 3), signed(2, 3)],
    lambda x, y: _reduced(x, y, "sum", True),
    oracle=lambda torch, x, y: x.scatter_add(0, torch.tensor(INDEX), y),
)
for _how, _primitive in [("sum", "ScatterAdd"), ("mean", "ScatterAdd"), ("prod", "Gather")] + [
    (how, "ScatterExtreme") for how in ("amax", "amin")
]:
    for _include in (True, False):
        row(
            _primitive,
            f"reduce-{_how}-{'with' if _include else 'without'}-self",
            lambda x, y, how=_how, s=_include: x.scatter_reduce(0, _on(x, INDEX), y, how, include_self=s),
            [apart(4, 3), apart(2, 3) + 0.03],
            lambda x, y, how=_how, s=_include: _reduced(x, y, how, s),
            oracle=None
            if _how == "prod"
            else lambda torch, x, y, how=_how, s=_include: x.scatter_reduce(
                0, torch.tensor(INDEX), y, how, include_self=s
            ),
        )
row(
    "Gather",
    "reduce-prod-zeros",
    lambda x, y: x.scatter_reduce(0, _on(x, np.array([0, 0, 1])), y, "prod"),
    [np.array([2.0, 3.0]), np.array([0.0, 0.0, 5.0])],
    lambda x, y: np.array([0.0, 15.0]),
)
