"""Weight normalisation: w = g v / |v|, length and direction trained apart. Salimans & Kingma, 2016."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.mode import no_grad
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.nn.parametrize import register_parametrization
from tensorgrad.ops import reduction
from tensorgrad.tensor import Tensor


def lengths(v: Tensor, dim: int | None) -> Tensor:
    """|v| over all dimensions but `dim`, which are kept with length 1; over all, without dimensions, for None."""
    if dim is None:
        return reduction.sum(v * v) ** 0.5
    others = tuple(d for d in range(v.array.ndim) if d != dim % v.array.ndim)
    # no other dimension: every value is its own length
    return (reduction.sum(v * v, others, True) if others else v * v) ** 0.5


def product(g: Tensor, v: Tensor, dim: int | None) -> Tensor:
    """g v / |v|"""
    return v * (g / lengths(v, dim))


class _WeightNorm(Module):
    """g v / |v|; see `weight_norm`."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return product(g, v, self.dim)

    def right_inverse(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The length and the direction, not shortened, that make w."""
        return lengths(w, self.dim), w.clone()


def parametrized_weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """tensorgrad.nn.utils.parametrizations.weight_norm: module.weight = g v / |v|, g = original0 and v = original1.

    dim  |v| is taken over the others: one length for each output channel for 0, one for all for None

    >>> import tensorgrad.nn as nn
    >>> layer = parametrized_weight_norm(nn.Linear(3, 2))
    >>> list(layer.state_dict())
    ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    return register_parametrization(module, name, _WeightNorm(dim))


class _Hook:
    """Computes the weight before every forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim
        self.handle: Any = None

    def weight(self, module: Module) -> Tensor:
        return product(getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v"), self.dim)

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """tensorgrad.nn.utils.weight_norm: module.weight = weight_g weight_v / |weight_v|, computed before every forward.

    The older form, kept for its names in saved states; arguments as in parametrized_weight_norm.

    >>> import tensorgrad.nn as nn
    >>> list(weight_norm(nn.Linear(3, 2)).state_dict())
    ['bias', 'weight_g', 'weight_v']
    """
    parameter = module._parameters.get(name)
    if parameter is None:
        raise ArgumentError(f"weight_norm: {type(module).__name__} has no parameter {name!r} to normalise")
    hook = _Hook(name, dim)
    del module._parameters[name]
    with no_grad():
        module.register_parameter(f"{name}_g", Parameter(lengths(parameter, dim).detach()))
    module.register_parameter(f"{name}_v", Parameter(parameter.data))
    setattr(module, name, hook.weight(module))
    hook.handle = module.register_forward_pre_hook(hook)
    module.__dict__.setdefault("_weight_norms", {})[name] = hook
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo weight_norm: the weight is a parameter again, of the value it has."""
    hook = module.__dict__.get("_weight_norms", {}).pop(name, None)
    if hook is None:
        raise ArgumentError(f"remove_weight_norm: {type(module).__name__} has no weight norm of {name!r}")
    with no_grad():
        value = hook.weight(module)
    hook.handle.remove()
    delattr(module, name)
    del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
    module.register_parameter(name, Parameter(value.detach()))
    return module
