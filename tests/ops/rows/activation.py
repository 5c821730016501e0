"""Rows: activations with settings, each beside its formula written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ops.rows.table import apart, channels_last, positive, reseed, row, strided

import tensorgrad.nn.functional as F
from tensorgrad.ops.activation import FlooredLog

reseed(__name__)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[float])(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _elu(x: np.ndarray, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> np.ndarray:
    return np.where(x > 0, scale * x, scale * alpha * (np.exp(rate * np.minimum(x, 0)) - 1))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


# name of the primitive, of the function, its settings, the formula
ACTIVATIONS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("LeakyRelu", "leaky_relu", {}, lambda x: np.maximum(x, 0) + 0.01 * np.minimum(x, 0)),
    ("LeakyRelu", "leaky_relu", {"negative_slope": 0.3}, lambda x: np.maximum(x, 0) + 0.3 * np.minimum(x, 0)),
    ("Threshold", "threshold", {"threshold": 0.1, "value": 5.0}, lambda x: np.where(x > 0.1, x, 5.0)),
    ("Hardtanh", "hardtanh", {}, lambda x: np.clip(x, -1, 1)),
    ("Hardtanh", "hardtanh", {"min_val": -0.3, "max_val": 0.7}, lambda x: np.clip(x, -0.3, 0.7)),
    ("Hardtanh", "relu6", {}, lambda x: np.clip(x, 0, 6)),
    ("Hardsigmoid", "hardsigmoid", {}, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    ("Hardswish", "hardswish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    ("Hardshrink", "hardshrink", {}, lambda x: x * (abs(x) > 0.5)),
    ("Softshrink", "softshrink", {"lambd": 0.3}, lambda x: np.sign(x) * np.maximum(abs(x) - 0.3, 0)),
    ("Elu", "elu", {"alpha": 1.7}, lambda x: _elu(x, 1.7)),
    ("Elu", "selu", {}, lambda x: _elu(x, 1.6732632423543772, 1.0507009873554805)),
    ("Elu", "celu", {"alpha": 0.5}, lambda x: _elu(x, 0.5, 1.0, 2.0)),
    ("Gelu", "gelu", {}, lambda x: x * (1 + _erf(x / np.sqrt(2))) / 2),
    ("GeluTanh", "gelu", {"approximate": "tanh"}, _gelu_tanh),
    ("Silu", "silu", {}, lambda x: x * _sigmoid(x)),
    ("Mish", "mish", {}, lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    ("Softplus", "softplus", {}, lambda x: np.log1p(np.exp(x))),
    ("Softplus", "softplus", {"beta": 3.0, "threshold": 5.0}, lambda x: np.log1p(np.exp(3 * x)) / 3),
    ("Softsign", "softsign", {}, lambda x: x / (1 + abs(x))),
    ("Logsigmoid", "logsigmoid", {}, lambda x: -np.log1p(np.exp(-x))),
]

for _primitive, _name, _settings, _formula in ACTIVATIONS:
    _note = "-".join([_name, *map(str, _settings.values())])

    def _function(x: Any, name: str = _name, settings: Any = _settings) -> Any:
        return getattr(F, name)(x, **settings)

    def _oracle(torch: Any, x: Any, name: str = _name, settings: Any = _settings) -> Any:
        return getattr(torch.nn.functional, name)(x, **settings)

    for _shape in [(5, 4), (), (0, 3)]:
        _x = apart(*_shape)
        if _name == "softplus" and "beta" in _settings:
            _x = _x / 1.5  # below the threshold, above which it is x
        _whole_oracle = None if _name == "hardsigmoid" else _oracle  # PyTorch has no second derivative of it
        row(
            _primitive, f"{_note}-{'x'.join(map(str, _shape)) or '0d'}", _function, [_x], _formula, oracle=_whole_oracle
        )
    row(_primitive, f"{_note}-strided", _function, [strided(apart(2, 3))], _formula)

# far away: no overflow, and the straight parts
_FAR = np.array([-800.0, -40.0, 40.0, 800.0])
for _primitive, _name, _values in [
    ("Softplus", "softplus", [0.0, np.exp(-40), 40.0, 800.0]),
    ("Logsigmoid", "logsigmoid", [-800.0, -40.0, -np.exp(-40), 0.0]),
    ("Elu", "elu", [-1.0, np.exp(-40) - 1, 40.0, 800.0]),
    ("Silu", "silu", [0.0, -40 * np.exp(-40), 40.0, 800.0]),
    ("Mish", "mish", [0.0, -40 * np.exp(-40), 40.0, 800.0]),
    ("Gelu", "gelu", [0.0, 0.0, 40.0, 800.0]),
    ("Hardsigmoid", "hardsigmoid", [0.0, 0.0, 1.0, 1.0]),
    ("Hardswish", "hardswish", [0.0, 0.0, 40.0, 800.0]),
]:

    def _function(x: Any, name: str = _name) -> Any:
        return getattr(F, name)(x)

    row(_primitive, f"{_name}-far", _function, [_FAR], lambda x, z=_values: np.array(z), step=1e-4)

for _shape in [(4,), (), (0, 2)]:
    row("FlooredLog", f"{len(_shape)}d", lambda x: FlooredLog()(x), [positive(*_shape)], np.log)
row("FlooredLog", "zero", lambda x: FlooredLog()(x + 0.5), [np.array([0.5])], lambda x: np.log(x + 0.5))
row(
    "Huber",
    "both",
    lambda x, y: F.huber_loss(x, y, "none", 0.7),
    [apart(2, 3), 3 * apart(2, 3)],
    lambda x, y: np.where(abs(x - y) < 0.7, (x - y) ** 2 / 2, 0.7 * (abs(x - y) - 0.35)),
    oracle=lambda torch, x, y: torch.nn.functional.huber_loss(x, y, "none", 0.7),
)


def _prelu(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    slope = w[0] if w.size == 1 else w.reshape(-1, *[1] * (x.ndim - 2))
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


for _note, _x, _slopes in [
    ("one", apart(2, 3), 1),
    ("line", apart(5), 1),
    ("number", apart(), 1),
    ("vectors", apart(2, 3), 3),
    ("images", apart(2, 3, 2, 2), 3),
    ("channels-last", channels_last(apart(2, 3, 2, 2)), 3),
    ("strided", strided(apart(2, 3, 2)), 3),
]:
    row(
        "Prelu",
        _note,
        F.prelu,
        [_x, positive(_slopes)],
        _prelu,
        oracle=lambda torch, x, w: torch.nn.functional.prelu(x, w),
    )
