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
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.5, 0.7), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.05, "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
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
    if name == "NAdam":
        tolerance = max(tolerance, 1e-6)  # PyTorch keeps the product of its momenta in float32
    for step, (a, b) in enumerate(zip(found, expected)):
        for w, v in zip(a, b):
            assert w.dtype == v.dtype
            np.testing.assert_allclose(w, v, rtol=tolerance, atol=tolerance, err_msg=f"step {step}")


SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9 if epoch % 2 else 1.05}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 6}),
    ("PolynomialLR", {"total_iters": 7, "power": 1.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "step_size_down": 5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "exp_range", "gamma": 0.95}),
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


def sequential(module, optimizer):
    s = module.lr_scheduler
    warm, rest = s.LinearLR(optimizer, 0.1, total_iters=4), s.ExponentialLR(optimizer, 0.7)
    return s.SequentialLR(optimizer, [warm, s.CosineAnnealingLR(optimizer, 6), rest], milestones=[4, 10])


def chained(module, optimizer):
    s = module.lr_scheduler
    return s.ChainedScheduler([s.ConstantLR(optimizer, 0.5, 3), s.ExponentialLR(optimizer, 0.9)])


def averaging(module, optimizer):
    return module.swa_utils.SWALR(optimizer, swa_lr=0.2, anneal_epochs=5, anneal_strategy="linear")


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("make", [sequential, chained, averaging])
def test_schedules_of_schedules(make):
    rates = []
    for library, module, tensor in ((tg, optim, ours), (torch, torch.optim, theirs)):
        rates.append(
            train(
                library,
                lambda p, module=module: module.SGD(p, lr=0.05),
                tensor,
                "float64",
                steps=15,
                make_scheduler=lambda optimizer, module=module: make(module, optimizer),
            )[1]
        )
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-10)


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "max"}, {"threshold_mode": "abs", "threshold": 0.05}, {"cooldown": 2}], ids=str
)
def test_a_plateau(settings):
    losses = [1.0, 0.9, 0.91, 0.92, 0.95, 0.89, 0.89, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    found = []
    for module, tensor in ((optim, ours), (torch.optim, theirs)):
        optimizer = module.SGD([tensor(W1)], lr=1.0)
        scheduler = module.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, min_lr=0.1, **settings)
        rates = []
        for loss in losses:
            scheduler.step(loss)
            rates.append(optimizer.param_groups[0]["lr"])
        found.append(rates)
    np.testing.assert_allclose(*found)


def rosenbrock(x):
    return ((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2).sum()


def test_lbfgs_without_a_line_search():
    """Step by step the same weights: several calls of step, a short history."""
    found = []
    for module, tensor in ((optim, ours), (torch.optim, theirs)):
        w1, w2 = tensor(W1), tensor(W2)
        x, y = tensor(X, False), tensor(Y, False)
        optimizer = module.LBFGS([w1, w2], lr=0.5, max_iter=4, history_size=3)

        def closure(optimizer=optimizer, w1=w1, w2=w2, x=x, y=y):
            optimizer.zero_grad()
            loss = ((x @ w1.T @ w2.T - y) ** 2).mean()
            loss.backward()
            return loss

        values = []
        for _ in range(5):
            loss = optimizer.step(closure)
            values.append([float(loss.detach()), *w1.detach().numpy().ravel(), *w2.detach().numpy().ravel()])
        found.append(values)
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-8)


def test_lbfgs_with_a_line_search_solves_rosenbrock():
    start = np.array([-1.2, 1.0, -0.5, 0.8])
    evaluations = []
    for module, tensor in ((optim, ours), (torch.optim, theirs)):
        x = tensor(start)
        optimizer = module.LBFGS([x], max_iter=100, line_search_fn="strong_wolfe")

        def closure(optimizer=optimizer, x=x):
            optimizer.zero_grad()
            loss = rosenbrock(x)
            loss.backward()
            return loss

        optimizer.step(closure)
        np.testing.assert_allclose(x.detach().numpy(), 1.0, atol=1e-5)
        evaluations.append(
            optimizer.state[x]["func_evals"] if module is optim else optimizer.state[optimizer._params[0]]["func_evals"]
        )
    assert evaluations[0] <= 1.5 * evaluations[1]
