"""Reductions by all their arguments: what NumPy gives, dtypes, and what is refused under which name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg

X = np.array([[3.0, -1.0, 0.0], [2.0, 5.0, -4.0]])
Y = np.array([[1.0, 2.0, -3.0], [4.0, 0.5, 6.0]])
HOLES = np.array([[np.nan, 1.0, 2.0], [4.0, np.nan, 0.0]])

SAME: dict[str, tuple[Any, Any]] = {
    "sum": (lambda tg, x: tg.sum(x, 1, True), X.sum(1, keepdims=True)),
    "mean": (lambda tg, x: x.mean((0, 1), True), X.mean(keepdims=True)),
    "prod": (lambda tg, x: x.prod(0, True), X.prod(0, keepdims=True)),
    "amax": (lambda tg, x: x.amax((0, 1)), X.max()),
    "amin": (lambda tg, x: x.amin(-1, True), X.min(-1, keepdims=True)),
    "max": (lambda tg, x: x.max(), X.max()),
    "min": (lambda tg, x: x.min(), X.min()),
    "max of two": (lambda tg, x: tg.max(x, tg.tensor(Y, device=x.device)), np.maximum(X, Y)),
    "min of two": (lambda tg, x: tg.min(x, tg.tensor(Y, device=x.device)), np.minimum(X, Y)),
    "max along": (lambda tg, x: tuple(x.max(1)), (X.max(1), X.argmax(1))),
    "max beside a single one": (lambda tg, x: tuple(x[:, None].max(2)), (X[:, None].max(2), X[:, None].argmax(2))),
    "min along": (lambda tg, x: tuple(x.min(0, True)), (X.min(0, keepdims=True), X.argmin(0, keepdims=True))),
    "aminmax": (lambda tg, x: tuple(tg.aminmax(x)), (X.min(), X.max())),
    "aminmax along": (lambda tg, x: tuple(tg.aminmax(x, dim=1)), (X.min(1), X.max(1))),
    "aminmax kept": (
        lambda tg, x: tuple(tg.aminmax(x, dim=0, keepdim=True)),
        (X.min(0, keepdims=True), X.max(0, keepdims=True)),
    ),
    "argmax": (lambda tg, x: x.argmax(), X.argmax()),
    "argmin kept": (lambda tg, x: x.argmin(1, True), X.argmin(1, keepdims=True)),
    "all": (lambda tg, x: x.all(1), X.all(1)),
    "any": (lambda tg, x: (x > 4).any(0, True), (X > 4).any(0, keepdims=True)),
    "all over no dimension": (lambda tg, x: x.all(()), X != 0),
    "count_nonzero": (lambda tg, x: x.count_nonzero(0), np.count_nonzero(X, 0)),
    "nansum": (lambda tg, x: tg.nansum(x * tg.tensor(HOLES, device=x.device), 1), np.nansum(X * HOLES, 1)),
    "nanmean kept": (
        lambda tg, x: tg.nanmean(x * tg.tensor(HOLES, device=x.device), 0, True),
        np.nanmean(X * HOLES, 0, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_same_as_numpy(name, device):
    function, expected = SAME[name]
    found = function(tg, tg.tensor(X, device=device))
    parts, wanted = (found, expected) if isinstance(found, tuple) else ([found], [expected])
    assert [(part.shape, part.tolist()) for part in parts] == [(z.shape, z.tolist()) for z in map(np.asarray, wanted)]


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "nansum", "nanmean"])
def test_the_dtype_asked_for(name):
    found = getattr(tg, name)(tg.tensor(X).float(), 1, dtype=tg.float64)
    assert found.dtype == tg.float64 and found.shape == (2,)


def test_the_mean_of_nothing_has_the_shape_of_any_other(device):
    nothing = tg.zeros(2, 0, 3, device=device)
    for z, shape in ((nothing.mean(1), (2, 3)), (nothing.mean((0, 1), True), (1, 1, 3)), (nothing.mean(), ())):
        assert z.shape == shape and bool(z.isnan().all())


REFUSED: dict[str, tuple[type[Exception], Any, str]] = {
    "sum too far": (IndexError, lambda tg, x: x.sum(2), "sum: "),
    "max too far": (IndexError, lambda tg, x: x.max(2), "max: "),
    "min too far": (IndexError, lambda tg, x: x.min(-3), "min: "),
    "amax too far": (IndexError, lambda tg, x: x.amax(2), "amax: "),
    "all too far": (IndexError, lambda tg, x: x.all(2), "all: "),
    "argmin too far": (IndexError, lambda tg, x: x.argmin(2), "argmin: "),
    "prod too far": (IndexError, lambda tg, x: x.prod(2), "prod: "),
    "mean of whole numbers": (RuntimeError, lambda tg, x: x.long().mean(), "mean: "),
    "min of none": (RuntimeError, lambda tg, x: x[:0].min(), "min: "),
    "max of none": (RuntimeError, lambda tg, x: x[:0].max(), "max: "),
    "amin of none": (RuntimeError, lambda tg, x: x[:0].amin(), "amin: "),
    "max along none": (IndexError, lambda tg, x: x[:0].max(0), "max: "),
    "argmax of none": (IndexError, lambda tg, x: x[:0].argmax(), "argmax: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    kind, call, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call(tg, tg.tensor(X))


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*SAME, *REFUSED])
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    if name in REFUSED:
        with pytest.raises(REFUSED[name][0]):
            REFUSED[name][1](torch, torch.tensor(X))
        return
    function, expected = SAME[name]
    found = function(torch, torch.tensor(X))
    parts, wanted = (found, expected) if isinstance(found, tuple) else ([found], [expected])
    for part, z in zip(parts, map(np.asarray, wanted)):
        assert tuple(part.shape) == z.shape
        np.testing.assert_allclose(part, z, rtol=1e-15)
