"""Parameters computed from others: `layer.weight` becomes a function of what is really trained. tensorgrad.nn.utils.parametrize."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.mode import no_grad
from tensorgrad.nn.containers import ModuleDict
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.tensor import Tensor


class Parametrized(Module):
    """What is trained, and the module that makes the parameter of it: original, or original0, original1, ... if it is several."""

    def __init__(self, parametrization: Module, originals: Tensor | tuple[Tensor, ...]) -> None:
        super().__init__()
        several = isinstance(originals, tuple)
        values = originals if isinstance(originals, tuple) else (originals,)
        self.names = [f"original{i}" for i in range(len(values))] if several else ["original"]
        for name, value in zip(self.names, values):
            self.register_parameter(name, Parameter(value.detach()))
        self.add_module("0", parametrization)

    def forward(self) -> Tensor:
        z: Tensor = getattr(self, "0")(*[getattr(self, name) for name in self.names])
        return z


def register_parametrization(module: Module, tensor_name: str, parametrization: Module) -> Module:
    """Let `module.tensor_name` be parametrization(original), computed whenever it is read; returns the module.

    parametrization  a Module whose forward makes the parameter, and whose right_inverse(value), if it has one, gives the
                     original or the tuple of originals that make `value`; without it the original is the value itself

    One parametrization a parameter.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> class Positive(nn.Module):
    ...     def forward(self, x):
    ...         return x.exp()
    ...     def right_inverse(self, w):
    ...         return w.log()
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = layer.weight.data.fill_(2.0)
    >>> _ = register_parametrization(layer, "weight", Positive())
    >>> layer.parametrizations.weight.original
    Parameter containing:
    tensor([[0.6931]], requires_grad=True)
    """
    if tensor_name not in module._parameters or module._parameters[tensor_name] is None:
        raise ArgumentError(
            f"register_parametrization: {type(module).__name__} has no parameter {tensor_name!r} (a parameter takes one "
            f"parametrization); it has {', '.join(module._parameters)}"
        )
    parameter = module._parameters[tensor_name]
    assert parameter is not None
    inverse = getattr(parametrization, "right_inverse", None)
    with no_grad():
        # memory of its own, so that removing the parametrization finds the parameter as it was
        made = Parametrized(parametrization, parameter.clone() if inverse is None else inverse(parameter))
        value = made()
    if value.shape != parameter.shape:
        raise ShapeError(
            f"register_parametrization: {type(parametrization).__name__} makes a Tensor of shape {value.shape}; the "
            f"parameter {tensor_name!r} has shape {parameter.shape}"
        )
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
        kind = type(module)
        module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {"__doc__": kind.__doc__})
    del module._parameters[tensor_name]
    module.parametrizations[tensor_name] = made
    setattr(type(module), tensor_name, property(lambda self: self.parametrizations[tensor_name]()))
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module, or its `tensor_name`, is computed from other parameters."""
    known: Any = module._modules.get("parametrizations")
    if not isinstance(known, ModuleDict):
        return False
    return len(known) > 0 if tensor_name is None else tensor_name in known


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` a parameter again, of the value it has (or of its original); returns the module."""
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(
            f"remove_parametrizations: {type(module).__name__} has no parametrization of {tensor_name!r}"
        )
    made = module.parametrizations[tensor_name]
    if not leave_parametrized and len(made.names) > 1:
        raise ArgumentError(
            "remove_parametrizations: leave_parametrized=False needs a single original; there are several"
        )
    with no_grad():
        value = made().clone() if leave_parametrized else made.original
    del module.parametrizations[tensor_name]
    delattr(type(module), tensor_name)
    module.register_parameter(tensor_name, Parameter(value.detach()))
    if not len(module.parametrizations):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module
