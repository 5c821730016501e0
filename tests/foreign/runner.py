"""Runs a network that others wrote for PyTorch on tensorgrad, in a process where `import torch` gives tensorgrad.

    python runner.py FOLDER FILE CONSTRUCTOR SIZE OUT

FOLDER is where torchvision is installed; FILE one of its model definitions, which is executed as it stands. What it imports
besides torch (registries of weights, preprocessing) is replaced by empty shells. Writes the parameters, the input, the output,
the gradients and the buffers after a step in training mode to OUT, in float64.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import tensorgrad

AS_TORCH = (
    "nn", "nn.functional", "nn.init", "nn.utils", "optim", "optim.lr_scheduler", "utils", "utils.data",
    "utils.checkpoint", "autograd", "jit", "func", "cuda", "backends",
)  # fmt: skip


class Shell(ModuleType):
    """A module in which every name is there and does nothing: for what has to do with weights and pictures, not with networks."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


class _Permissive:
    """A class, a decorator and a decorator with arguments in one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)

    @classmethod
    def verify(cls, weights: Any) -> Any:
        return weights


def _nothing(*args: Any, **kwargs: Any) -> Any:
    """As a decorator it gives back the function, with arguments a decorator that does; as a function None."""
    if len(args) == 1 and not kwargs and callable(args[0]):
        return args[0]
    return _nothing


def install(folder: Path) -> None:
    """Put tensorgrad in torch's place, and shells around torchvision's definitions."""
    sys.modules["torch"] = tensorgrad
    for name in AS_TORCH:
        sys.modules[f"torch.{name}"] = importlib.import_module(f"tensorgrad.{name}")
    fx = Shell("torch.fx")
    sys.modules["torch.fx"] = fx
    tensorgrad.fx = fx  # type: ignore[attr-defined]
    tensorgrad._assert = lambda condition, message: None if condition else _fail(message)  # type: ignore[attr-defined]
    for package, path in (
        ("torchvision", folder),
        ("torchvision.models", folder / "models"),
        ("torchvision.ops", folder / "ops"),
    ):
        module = ModuleType(package)
        module.__path__ = [str(path)]
        sys.modules[package] = module
    for name in (
        "torchvision.transforms",
        "torchvision.transforms._presets",
        "torchvision.utils",
        "torchvision.models._meta",
    ):
        sys.modules[name] = Shell(name)
    sys.modules["torchvision.transforms"].__path__ = []
    api = Shell("torchvision.models._api")
    api.Weights = api.WeightsEnum = _Permissive
    sys.modules["torchvision.models._api"] = api
    sys.modules["torchvision.transforms._presets"].InterpolationMode = _Permissive(BICUBIC=0, BILINEAR=0)
    sys.modules["torchvision.transforms._presets"].ImageClassification = _Permissive
    tools = Shell("torchvision.models._utils")
    tools._make_divisible = _make_divisible
    tools._ovewrite_named_param = _set  # spelt as there
    sys.modules["torchvision.models._utils"] = tools
    operations = sys.modules["torchvision.ops"]
    misc = importlib.import_module("torchvision.ops.misc")
    depth = importlib.import_module("torchvision.ops.stochastic_depth")
    for module in (misc, depth):
        operations.__dict__.update({k: v for k, v in vars(module).items() if isinstance(v, type)})


def _fail(message: str) -> None:
    raise AssertionError(message)


def _set(settings: dict[str, Any], name: str, value: Any) -> None:
    settings[name] = value


def _make_divisible(value: float, divisor: int, least: int | None = None) -> int:
    """The multiple of divisor nearest to value, not more than a tenth below it."""
    rounded = max(divisor if least is None else least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def main(folder: str, file: str, constructor: str, size: str, out: str) -> None:
    install(Path(folder))
    module = importlib.import_module(f"torchvision.models.{file}")
    tensorgrad.manual_seed(0)
    model = getattr(module, constructor)().double()
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim == 1 and name.endswith(("running_mean", "bias")):
            value.copy_(tensorgrad.tensor(random.uniform(-0.2, 0.2, value.shape)))
        if value.is_floating_point() and name.endswith("running_var"):
            value.copy_(tensorgrad.tensor(random.uniform(0.5, 1.5, value.shape)))
        found[f"state/{name}"] = value.numpy().copy()
    x = tensorgrad.tensor(random.standard_normal((2, 3, int(size), int(size))), requires_grad=True)
    found["input"] = x.detach().numpy().copy()
    model.eval()
    z = model(x)
    (z * z).sum().backward()
    found["output"] = z.detach().numpy()
    found["input_gradient"] = x.grad.numpy()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[f"gradient/{name}"] = parameter.grad.numpy()
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
