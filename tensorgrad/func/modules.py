"""Modules as functions of their parameters, and several of them as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor


@contextmanager
def _swapped(module: Any, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the module's parameters and buffers of these names are these Tensors."""
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, value in values.items():
            place, _, name = path.rpartition(".")
            owner = module.get_submodule(place)
            for table in (owner._parameters, owner._buffers):
                if name in table:
                    before.append((table, name, table[name]))
                    table[name] = value
                    break
        yield
    finally:
        for table, name, value in reversed(before):
            table[name] = value


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with these Tensors in the places of its parameters and buffers of these names.

    tie_weights  give the value of one name of a shared parameter to its other names too
    strict       refuse names that are missing

    Raises KeyError for a name that the module has not.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> functional_call(layer, {"weight": tensorgrad.tensor([[1.0, 2.0]])}, tensorgrad.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    dicts = (
        [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, Mapping) else parameter_and_buffer_dicts
    )
    values: dict[str, Tensor] = {}
    for given in dicts:
        twice = values.keys() & given.keys()
        if twice:
            raise ArgumentError(f"functional_call: {sorted(twice)[0]!r} is given twice")
        values.update(given)
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    unknown = sorted(values.keys() - named.keys())
    if unknown:
        raise KeyError(f"functional_call: {type(module).__name__} has no parameter or buffer {unknown[0]!r}")
    if tie_weights:
        by_value = {id(named[name]): value for name, value in values.items()}
        values.update({name: by_value[id(x)] for name, x in named.items() if id(x) in by_value and name not in values})
    missing = sorted(named.keys() - values.keys())
    if strict and missing:
        raise KeyError(
            f"functional_call: {missing[0]!r} is missing; with strict=True every parameter and buffer must be given"
        )
    arguments = args if isinstance(args, tuple) else () if args is None else (args,)
    with _swapped(module, values):
        return module(*arguments, **(kwargs or {}))


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and buffers of several models of one kind, stacked along a new first dimension: an ensemble for vmap."""
    if not models:
        raise ArgumentError("stack_module_state: got no models")
    parameters = {
        name: tape.stack([dict(model.named_parameters())[name].detach() for model in models], 0).requires_grad_()
        for name, _ in models[0].named_parameters()
    }
    buffers = {
        name: tape.stack([dict(model.named_buffers())[name].detach() for model in models], 0)
        for name, _ in models[0].named_buffers()
    }
    return parameters, buffers
