"""What optimisers, schedulers and loss scalers do is Python's: they count, read learning rates, and a scaler reads whether to skip a step.

While a step is recorded each such call is entered as one operation, which is made in Python at every replay, between the graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tensorgrad.amp.scaler import GradScaler
from tensorgrad.mode import mode
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.replay.program import Program
from tensorgrad.replay.recorded import Recorded
from tensorgrad.tensor import Tensor

#: The methods of a scaler's that are made in Python.
_OF_SCALERS = ("unscale_", "step", "update")


@contextmanager
def steps_of_their_own(hosts: list[Any], program: Program) -> Iterator[None]:
    """Inside, the hosts' methods are entered as one operation a call."""
    with ExitStack() as stack:
        for host in hosts:
            for name in _OF_SCALERS if isinstance(host, GradScaler) else ("step",):
                stack.callback(_put_back, host, name, host.__dict__.get(name))
                setattr(host, name, functools.partial(_host_step, host, name, program))
        yield


def _put_back(host: Any, name: str, own: Any) -> None:
    delattr(host, name)
    if own is not None:
        setattr(host, name, own)


def _host_step(host: Any, name: str, program: Program, *arguments: Any, **named: Any) -> Any:
    """Stands in for a method of a host's while recording."""
    method = getattr(type(host), name)
    if mode.recorder is None:  # a scaler makes an optimiser's step
        return method(host, *arguments, **named)
    optimizer = host
    if isinstance(host, GradScaler):
        plain = name != "update" and len(arguments) == 1 and isinstance(arguments[0], Optimizer) and not named
        optimizer = arguments[0] if plain else None
        if not (plain or (name == "update" and not arguments and not named)):
            program.spoil(f"GradScaler.{name} is given more than an optimiser")
    elif arguments or named:
        program.spoil(f"{type(host).__name__}.step is given arguments")
    parameters = [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"]]
    gradients = [None if p._grad is None else p._grad.array for p in parameters]
    scale = getattr(host, "_scale", None)  # of a scaler: changed in place
    tensors = parameters if scale is None else [*parameters, scale]
    arrays = [x.array for x in tensors]

    def step(gradients: list[Any]) -> Any:
        for p, gradient in zip(parameters, gradients):
            p._grad = None if gradient is None else Tensor(gradient)
        return method(host, *arguments, **named)

    for x in tensors:
        if isinstance(x.array, Recorded):
            x.array = x.array.array
    real = [x.array for x in tensors]
    grads = [x._grad for x in tensors]
    versions = [x._version for x in tensors]
    result = program.host(step, (gradients,), f"{type(host).__name__}_{name}")
    for x, version in zip(tensors, versions):
        program.raised[id(x)] = program.raised.get(id(x), 0) + x._version - version
    for x, array, own, grad in zip(tensors, arrays, real, grads):
        if x.array is not own:
            program.spoil(f"{type(host).__name__} replaces a parameter's array")
        x.array = array
        x._grad = grad
    return result
