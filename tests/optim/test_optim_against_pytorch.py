"""Optimisers and schedules against PyTorch, many steps of a small network."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import optim

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "maximize": True}),
]
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((8, 5)), RANDOM.standard_normal((8, 3))
W1, W2 = RANDOM.standard_normal((4, 5)), RANDOM.standard_normal((3, 4))


def train(library, make_optimizer, tensor, dtype, steps=12, make_scheduler=None):
    """The parameters (and rates) after every step."""
    w1, w2 = (tensor(w.astype(dtype)) for w in (W1, W2))
    x, y = (tensor(a.astype(dtype), False) for a in (X, Y))
    optimizer = make_optimizer([w1, w2])
    scheduler = None if make_scheduler is None else make_scheduler(optimizer)
    parameters, rates = [], []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((library.tanh(x @ w1.T) @ w2.T - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
        parameters.append([w.detach().numpy().copy() for w in (w1, w2)])
    return parameters, rates


def ours(array, requires_grad=True):
    return tg.tensor(array, requires_grad=requires_grad)


def theirs(array, requires_grad=True):
    return torch.tensor(array, requires_grad=requires_grad)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("name, settings", SETTINGS, ids=str)
def test_an_optimiser(name, settings, dtype, tolerance):
    found, _ = train(tg, lambda p: getattr(optim, name)(p, **settings), ours, dtype)
    expected, _ = train(torch, lambda p: getattr(torch.optim, name)(p, **settings), theirs, dtype)
    for step, (a, b) in enumerate(zip(found, expected)):
        for w, v in zip(a, b):
            assert w.dtype == v.dtype
            np.testing.assert_allclose(w, v, rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.001}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("OneCycleLR", {"max_lr": 0.2, "total_steps": 25}),
    ("OneCycleLR", {"max_lr": 0.2, "epochs": 5, "steps_per_epoch": 5, "three_phase": True}),
    ("OneCycleLR", {"max_lr": [0.2], "total_steps": 30, "anneal_strategy": "linear", "pct_start": 0.15}),
]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name, settings", SCHEDULES, ids=[name for name, _ in SCHEDULES])
def test_a_schedule(name, settings, kind):
    more = {"momentum": 0.9} if kind == "SGD" else {}
    results = []
    for library, module, tensor in ((tg, optim, ours), (torch, torch.optim, theirs)):
        make = getattr(module.lr_scheduler, name)
        results.append(
            train(
                library,
                lambda p, module=module: getattr(module, kind)(p, lr=0.05, **more),
                tensor,
                "float64",
                steps=24,
                make_scheduler=lambda optimizer, make=make: make(optimizer, **settings),
            )
        )
    (found, found_rates), (expected, expected_rates) = results
    np.testing.assert_allclose(found_rates, expected_rates, rtol=1e-10, atol=1e-15)
    for a, b in zip(found[-1], expected[-1]):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_the_states_have_the_same_names():
    """A state dict of ours has PyTorch's keys, so that the one can be turned into the other."""
    for name, settings in (("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True})):
        w, v = ours(W1), theirs(W1)
        a, b = getattr(optim, name)([w], **settings), getattr(torch.optim, name)([v], **settings)
        for optimizer, p in ((a, w), (b, v)):
            (p * p).sum().backward()
            optimizer.step()
        mine, yours = a.state_dict(), b.state_dict()
        assert set(mine["state"][0]) == set(yours["state"][0])
        assert set(mine["param_groups"][0]) <= set(yours["param_groups"][0])
