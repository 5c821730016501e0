"""Layers by name, and what comes out of them, whichever way they are called.

A name is a module's path ('layer3.1.conv2'), or the path of a module and the name on the tape of an operation in it:
'layer3.1/add', '/relu' for an operation of the outermost module. Where a module is called, or an operation applied, several
times, ':1' is the first time, ':2' the second; without a number the last is meant.

Values are caught as they leave the layer, copied, and with the place on the tape where they stand then: what happens to
their memory later (an activation in place) changes nothing, and calls of one module for several layers are told apart.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, DimensionError, OperandError, ShapeError
from tensorgrad.inspect.running import at_rest, on_device, pictures, through, warn_if_untrained
from tensorgrad.mode import mode
from tensorgrad.nn.module import Module
from tensorgrad.primitive import observers
from tensorgrad.tensor import Tensor


@dataclass(frozen=True)
class Layer:
    """Where something comes out of a network: its name, which time it does, and the shape for one picture (no N)."""

    name: str
    time: int
    shape: tuple[int, ...]

    @property
    def full_name(self) -> str:
        """The name with its time."""
        return f"{self.name}:{self.time}"


class _Reached(Exception):
    """Leaves a network whose later layers need not run."""


class Watch:
    """Calls found(name, time, value) for everything that leaves a module or an operation, in one run of a model."""

    def __init__(self, model: Module, found: Callable[[str, int, Tensor], None]) -> None:
        self.found = found
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.modules = [module for _, module in model.named_modules()]
        self.times: dict[str, int] = {}
        self.thread = threading.get_ident()
        self.handles: list[Any] = []

    def __enter__(self) -> Watch:
        self.handles = [module.register_forward_hook(self._after) for module in self.modules]
        observers.append(self._observe)
        return self

    def __exit__(self, *exception: Any) -> None:
        observers.remove(self._observe)
        for handle in self.handles:
            handle.remove()

    def _after(self, module: Any, args: Any, output: Any) -> None:
        while isinstance(output, (tuple, list)) and output:
            output = output[0]
        if isinstance(output, Tensor):
            self._tell(self.paths[id(module)], output)

    def _observe(self, primitive: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        if threading.get_ident() != self.thread:
            return
        scope = mode.scope
        while scope is not None and id(scope.module()) not in self.paths:
            scope = scope.outer
        if scope is not None:
            self._tell(f"{self.paths[id(scope.module())]}/{primitive.name}", outputs[0])

    def _tell(self, name: str, value: Tensor) -> None:
        time = self.times[name] = self.times.get(name, 0) + 1
        self.found(name, time, value)


def layers(model: Module, image: Any, operations: bool = False) -> list[Layer]:
    """What comes out of a network for a picture (C, H, W): every call of a module, in the order in which they end.

    operations  also every operation of the tape inside of them

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> [(layer.name, layer.shape) for layer in layers(net, tensorgrad.zeros(1, 8, 8))]
    [('0', (2, 6, 6)), ('1', (2, 6, 6)), ('', (2, 6, 6))]
    """
    found = _all_layers("layers", model, pictures("layers", image)[:1])
    return [layer for layer in found if operations or "/" not in layer.name]


def _all_layers(operation: str, model: Module, images: Any, real: bool = True) -> list[Layer]:
    found: list[Layer] = []
    with at_rest(model):
        x = on_device(images, model)
        with Watch(model, lambda name, time, z: found.append(Layer(name, time, tuple(z.shape[1:])))):
            scores = through(operation, model, x)
        warn_if_untrained(model, scores if real else None)
    return found


def find_layer(operation: str, model: Module, images: Any, name: str, real: bool = True) -> Layer:
    """The layer of that name, as it is for these pictures (N, C, H, W), of which the first is tried.

    real  whether they are pictures of something: what a network says to noise does not tell whether it was trained

    Raises ArgumentError with the nearest names for one that is not there.
    """
    if not isinstance(name, str):
        raise OperandError(
            f"{operation}: the layer is a {type(name).__name__}; give its name, such as 'layer3.1.conv2'"
        )
    found = _all_layers(operation, model, images[:1], real)
    known: dict[str, Layer] = {}
    for layer in found:
        known[layer.name] = known[layer.full_name] = layer  # the last time has the plain name
    if name in known:
        return known[name]
    if name in dict(model.named_modules()):
        raise ArgumentError(
            f"{operation}: {type(model).__name__} does not call its layer {name!r}; choose a part of it, or another"
        )
    names = list(dict.fromkeys(layer.name for layer in found if layer.name))
    close = difflib.get_close_matches(name, names, 5, 0.4) or names[:5]
    raise ArgumentError(
        f"{operation}: {type(model).__name__} has no layer {name!r}; the nearest names are {', '.join(map(repr, close))} "
        "(inspect.layers lists all)"
    )


def checked_unit(operation: str, layer: Layer, unit: Any) -> tuple[int, ...]:
    """A channel, or (channel, row, column), of a layer; in its range."""
    place = tuple(unit) if isinstance(unit, (tuple, list)) else (unit,)
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in place):
        raise OperandError(f"{operation}: got unit {unit!r}; give a channel, or (channel, row, column)")
    if len(place) not in (1, len(layer.shape)):
        raise ShapeError(f"{operation}: got unit {unit!r}; layer {layer.name!r} gives {layer.shape} for a picture")
    for i, size in zip(place, layer.shape):
        if not 0 <= i < size:
            raise DimensionError(
                f"{operation}: got unit {unit!r}; layer {layer.name!r} gives {layer.shape} for a picture, so it ends at "
                f"{tuple(n - 1 for n in layer.shape)[: len(place)]}"
            )
    return place


def run_to(
    operation: str, model: Module, x: Tensor, layer: Layer, stop: bool = True, copy: bool = True
) -> tuple[Tensor, Any]:
    """model(x) up to a layer; (its value, the result of the model, None if it was stopped there).

    The value is a copy at the layer's place on the tape, so that gradients with respect to it can be taken.
    """
    caught: list[Tensor] = []

    def found(name: str, time: int, value: Tensor) -> None:
        if name == layer.name and time == layer.time:
            z = Tensor(backend_of(value.array).copy(value.array) if copy else value.array)
            z.tracked, z.node = value.tracked, value.node
            if z.tracked and z.node is None:  # the input itself
                z.node = value
            caught.append(z)
            if stop:
                raise _Reached

    result = None
    with Watch(model, found):
        try:
            result = through(operation, model, x)
        except _Reached:
            pass
    if not caught:
        raise ArgumentError(
            f"{operation}: this time {layer.full_name!r} was not reached; the model decides by its input"
        )
    return caught[0], result
