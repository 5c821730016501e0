"""Layers with batch norms as after a training, for the tests that fold them."""

from __future__ import annotations

import numpy as np

import tensorgrad as tg
from tensorgrad import nn

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def trained(module: nn.Module, dtype: str = "float64") -> nn.Module:
    """In eval mode, with statistics and weights that no norm starts with."""
    numbers = np.random.default_rng(7)
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            for x, low, high in (
                (norm.running_mean, -0.5, 0.5),
                (norm.running_var, 0.5, 2.0),
                (norm.weight, -1.5, 1.5),
                (norm.bias, -1.0, 1.0),
            ):
                if x is not None:
                    x.data.copy_(tg.tensor(numbers.uniform(low, high, x.shape)))
    return module.to(getattr(tg, dtype)).eval()


def values(*shape: int, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(np.random.default_rng(1).standard_normal(shape).astype(dtype))


def assert_same(found: tg.Tensor, expected: tg.Tensor) -> None:
    assert found.dtype == expected.dtype
    tolerance = TOLERANCE[str(expected.dtype)]
    np.testing.assert_allclose(
        found.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=tolerance, atol=tolerance
    )


def norms_in(model: nn.Module) -> list[str]:
    return [name for name, m in model.named_modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
