"""Runs a layer or function of ours and PyTorch's on the same numbers, and compares results and every gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg

TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 2e-4, "atol": 2e-5}}


def random(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_close(ours: Any, theirs: Any, what: str, dtype: str) -> None:
    found = ours.detach().cpu().numpy()
    expected = theirs.detach().numpy()
    assert found.shape == expected.shape, what
    assert found.dtype == expected.dtype, what
    np.testing.assert_allclose(found, expected, err_msg=what, **TOLERANCE[dtype])


def listed(z: Any) -> list[Any]:
    return list(z) if isinstance(z, tuple) else [z]


def backward_with(outputs: list[Any], cotangents: list[Any]) -> None:
    """Sends the cotangents of the floating-point outputs back."""
    for z, dz in zip(outputs, cotangents):
        if dz is not None:
            z.backward(dz)


def compare_functions(ours: Any, theirs: Any, arrays: list[np.ndarray], dtype: str = "float64") -> None:
    """ours(*Tensors) and theirs(*Tensors): results, and gradients of all floating-point inputs."""
    import torch

    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    mine = [tg.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    yours = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    z, expected = listed(ours(*mine)), listed(theirs(*yours))
    assert len(z) == len(expected)
    cotangents = [random(*y.shape, seed=5, dtype=dtype) if y.requires_grad else None for y in expected]
    for position, (a, b) in enumerate(zip(z, expected)):
        assert_close(a, b, f"result {position}", dtype)
    backward_with(z, [None if c is None else tg.tensor(c) for c in cotangents])
    backward_with(expected, [None if c is None else torch.tensor(c) for c in cotangents])
    for position, (a, b) in enumerate(zip(mine, yours)):
        assert (a.grad is None) == (b.grad is None), f"gradient of input {position}"
        if a.grad is not None:
            assert_close(a.grad, b.grad, f"gradient of input {position}", dtype)


def same_state(ours: Any, theirs: Any) -> None:
    """Gives ours the values of theirs, by PyTorch's names; any missing or unexpected name is an error."""
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})


def compare_layers(
    ours: Any, theirs: Any, x: np.ndarray, dtype: str = "float64", times: int = 1, training: bool = True
) -> None:
    """Both layers with the same parameters, called `times` times: results, gradients and buffers."""
    import torch

    ours, theirs = ours.to(np.dtype(dtype)), theirs.to(getattr(torch, dtype))
    same_state(ours, theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    ours.train(training)
    theirs.train(training)
    for time in range(times):
        compare_functions(ours, theirs, [x + time], dtype)
    parameters = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, parameters[name].grad, f"gradient of {name}", dtype)
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert_close(value, state[name], name, dtype)
