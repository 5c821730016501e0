"""Batch norm's settings, against its formula in NumPy; the rest of it is in test_layers.py, and joined with a ReLU in test_chain.py."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

X = np.random.default_rng(5).standard_normal((4, 3, 2)) * 2 + 1
W, B = np.array([0.5, -2.0, 3.0]), np.array([7.0, 0.25, -4.0])
MEAN, VAR = np.array([0.5, -1.0, 2.0]), np.array([4.0, 0.5, 1.5])


def formula(mean, var, eps, w, b):
    mean, var, w, b = (np.asarray(value).reshape(1, -1, 1) for value in (mean, var, w, b))
    return (X - mean) / np.sqrt(var + eps) * w + b


SETTINGS = {
    "as it comes": ({}, 1e-5, W, B),
    "eps": ({"eps": 0.5}, 0.5, W, B),
    "no bias": ({"bias": False}, 1e-5, W, 0.0),
    "not affine": ({"affine": False}, 1e-5, 1.0, 0.0),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name, tracked, training, device):
    settings, eps, w, b = SETTINGS[name]
    layer = nn.BatchNorm1d(3, **settings, track_running_stats=tracked, dtype=tg.float64, device=device).train(training)
    given = {"weight": W, "bias": B, "running_mean": MEAN, "running_var": VAR}
    state = {key: tg.tensor(given.get(key, 0)) for key in layer.state_dict()}
    layer.load_state_dict(state)
    assert {value.dtype for key, value in layer.state_dict().items() if key in given} <= {tg.float64}
    z = layer(tg.tensor(X, device=device))
    by_batch = training or not tracked
    statistics = (X.mean((0, 2)), X.var((0, 2))) if by_batch else (MEAN, VAR)
    np.testing.assert_allclose(z.detach().tolist(), formula(*statistics, eps, w, b), rtol=1e-10)
    if tracked:
        part = 0.1 if training else 0.0
        mean, var = (1 - part) * MEAN + part * X.mean((0, 2)), (1 - part) * VAR + part * X.var((0, 2), ddof=1)
        np.testing.assert_allclose(layer.running_mean.tolist(), mean, rtol=1e-10)
        np.testing.assert_allclose(layer.running_var.tolist(), var, rtol=1e-10)
        assert layer.num_batches_tracked.item() == int(training)


def test_what_it_says_of_itself_and_starting_anew():
    layer = nn.BatchNorm1d(3, affine=False)
    assert repr(layer) == "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=True)"
    layer(tg.tensor(X))
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0] * 3 and layer.running_var.tolist() == [1] * 3
    assert layer.num_batches_tracked.item() == 0
    with pytest.raises(ValueError, match=r"BatchNorm1d: .*num_features"):
        nn.BatchNorm1d(-1)


def test_nothing_at_all():
    nothing = tg.zeros(0)
    z = F.batch_norm(nothing, None, None)
    assert z.shape == (0,) and z is not nothing
