"""torchvision's networks as an oracle, and one training step of theirs and ours, compared."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg

sys.path.append(str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the package
from benchmarks import family


@functools.cache
def torchvision_models() -> Any:
    """torchvision.models; the test is skipped where it is not installed."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads wait by turning round, which costs more than they bring
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    return family.torchvision_models()


def build_theirs(name: str, **settings: Any) -> Any:
    """torchvision's network, without any memory: on PyTorch's device `meta`."""
    import torch

    models = torchvision_models()
    if name in ("googlenet", "inception_v3"):
        settings = {"init_weights": False, **settings}
    with torch.device("meta"):
        return getattr(models, name)(**settings)


def with_state_of(theirs: Any, ours: Any) -> Any:
    """Theirs with a copy of our parameters and buffers, in float64."""
    import torch

    state = {name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True, assign=True)
    for parameter in theirs.parameters():
        parameter.requires_grad_(True)
    return theirs


def stir(model: Any, seed: int = 0) -> Any:
    """Norms away from 1 and 0, in float64: a mistake in their order or their gradients must show."""
    random = np.random.default_rng(seed)
    model.double()
    for name, value in model.state_dict(keep_vars=True).items():
        if value.ndim == 1 and value.dtype == np.float64:
            low, high = (0.5, 1.5) if name.endswith(("weight", "running_var")) else (-0.2, 0.2)
            value.array[...] = random.uniform(low, high, value.shape)
    return model


def scores_of(output: Any) -> list[Any]:
    """A network's one result or, with auxiliary heads, its several."""
    return list(output) if isinstance(output, tuple) else [output]


def assert_near(found: Any, expected: Any, what: str, rtol: float = 1e-7) -> None:
    """Equal but for a relative part of the largest value: sums come in another order."""
    expected = expected.detach().numpy()
    found = found.detach().numpy()
    assert found.shape == expected.shape, what
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * (np.abs(expected).max() + 1e-6), err_msg=what)


def compare_training_step(ours: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    """Scores, every gradient and every buffer of a step in training; then scores in evaluation.

    The networks must hold the same values, in float64, and drop nothing.
    """
    import torch

    random = np.random.default_rng(7)
    x = random.standard_normal(shape)
    ours.train()
    theirs.train()
    mine, yours = scores_of(ours(tg.tensor(x))), scores_of(theirs(torch.tensor(x)))
    assert len(mine) == len(yours)
    losses: list[Any] = [0.0, 0.0]
    for number, (z, expected) in enumerate(zip(mine, yours)):
        assert_near(z, expected, f"scores {number}")
        weights = random.standard_normal(expected.shape)
        losses[0] = (z * tg.tensor(weights)).sum() + losses[0]
        losses[1] = (expected * torch.tensor(weights)).sum() + losses[1]
    for loss in losses:
        loss.backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert_near(parameter.grad, gradients[name].grad, f"gradient of {name}", 1e-6)
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert_near(value, state[name], name)
    ours.eval()
    theirs.eval()
    with tg.no_grad(), torch.no_grad():
        assert_near(ours(tg.tensor(x)), theirs(torch.tensor(x)), "scores in evaluation")
