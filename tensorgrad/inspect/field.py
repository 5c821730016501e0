"""What a unit sees: the smallest box of pixels outside of which nothing matters to it.

tensorgrad.graph works the box out from windows, strides and paddings, for all channels of a map together. Here that is put to
the test for the unit itself, on a copy of the network in which every weight is positive, every bias 0 and every norm without
effect: for a black picture everything in it is 0, and a bright stripe makes positive whatever looks at it, through every
branch, rectifier and maximum; nothing can cancel. Where the test disagrees (a channel that only one branch of a concatenation
reaches, a pooling of adapted windows) the edge is found by bisection.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from tensorgrad.errors import ShapeError
from tensorgrad.graph.receptive import receptive_fields
from tensorgrad.graph.trace import watch
from tensorgrad.inspect.layers import Layer, checked_unit, find_layer, run_to
from tensorgrad.inspect.running import at_rest, on_device, one_picture, to_host
from tensorgrad.mode import no_grad
from tensorgrad.nn.module import Module


class Box(NamedTuple):
    """Pixels [top, bottom) x [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, image: numpy.ndarray) -> numpy.ndarray:
        """This part of a picture (..., H, W)."""
        return image[..., self.top : self.bottom, self.left : self.right]


def receptive_field(model: Module, image: Any, layer: str, unit: tuple[int, ...]) -> Box:
    """The box of pixels that a unit (channel, row, column) of a layer sees in pictures like this one (C, H, W).

    Raises ArgumentError for an unknown layer, DimensionError for a unit that is not there.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2))
    >>> receptive_field(net, tensorgrad.zeros(1, 8, 8), "1", (0, 1, 1))
    Box(top=1, left=1, bottom=5, right=5)
    """
    images = one_picture("receptive_field", image)
    found = find_layer("receptive_field", model, images, layer)
    return Fields("receptive_field", model, images, found).box(checked_unit("receptive_field", found, unit))


class Fields:
    """The boxes of the units of one layer; what is found out for one unit serves those in its row and column."""

    def __init__(self, operation: str, model: Module, images: numpy.ndarray, layer: Layer) -> None:
        self.operation = operation
        self.layer = layer
        self.size = images.shape[2:]
        self.model = _all_positive(model)
        self.dark = numpy.zeros((1, *images.shape[1:]))
        self.guess = self._guess()
        self.base = self._values(self.dark)[0]
        self.known: dict[tuple[int, ...], tuple[int, int]] = {}

    def box(self, unit: tuple[int, ...]) -> Box:
        """What this unit sees."""
        if len(self.layer.shape) != 3:
            if len(unit) != len(self.layer.shape):
                raise ShapeError(f"{self.operation}: {self.layer.name!r} gives {self.layer.shape}; got unit {unit}")
            return Box(0, 0, *self.size) if len(self.layer.shape) == 1 else self._search(unit)
        if len(unit) != 3:
            raise ShapeError(f"{self.operation}: got unit {unit}; to see pixels it must be (channel, row, column)")
        return self._search(unit)

    def _search(self, unit: tuple[int, ...]) -> Box:
        ends = []
        for axis in (0, 1):
            key = (axis, unit[0], unit[1 + axis]) if len(unit) == 3 else (axis, *unit)
            if key not in self.known:
                self.known[key] = self._ends(axis, unit)
            ends.append(self.known[key])
        (top, bottom), (left, right) = ends
        return Box(top, left, bottom, right)

    def _ends(self, axis: int, unit: tuple[int, ...]) -> tuple[int, int]:
        """First and last pixel + 1 along an axis that the unit sees."""
        size = self.size[axis]
        low, high = 0, size
        if self.guess is not None and len(unit) == 3:
            field = self.guess[axis]
            low = round(field.low + unit[1 + axis] * field.stride)
            high = round(field.high + unit[1 + axis] * field.stride) + 1
        low, high = min(max(low, 0), size - 1), max(min(high, size), 1)
        if self.base.any() or not self._reached(unit, axis, [(0, size)])[0]:
            return low, high  # a black picture gives light, or nothing comes through: the windows alone must tell
        # light before `low` must leave the unit alone, in one pixel more it must not; from behind the same
        seen = self._reached(unit, axis, [(0, low), (0, low + 1), (high, size), (high - 1, size)])
        if seen[0] or not seen[1]:
            low = self._bisect(size, lambda t: self._reached(unit, axis, [(0, t)])[0])
        if seen[2] or not seen[3]:
            high = size - self._bisect(size, lambda t: self._reached(unit, axis, [(size - t, size)])[0])
        return low, max(high, low)

    @staticmethod
    def _bisect(size: int, reaches: Callable[[int], bool]) -> int:
        """How many pixels from an edge can be bright without reaching the unit."""
        safe, felt = 0, size + 1
        while felt - safe > 1:
            middle = (safe + felt) // 2
            if middle <= size and not reaches(middle):
                safe = middle
            else:
                felt = middle
        return min(safe, size)

    def _reached(self, unit: tuple[int, ...], axis: int, stripes: list[tuple[int, int]]) -> list[bool]:
        """Whether light in the pixels [begin, end) of an axis reaches the unit."""
        x = numpy.repeat(self.dark, len(stripes), 0)
        for picture, (begin, end) in zip(x, stripes):
            picture[(slice(None), slice(None), slice(begin, end)) if axis else (slice(None), slice(begin, end))] = 1
        place: Any = (slice(None), *unit)
        return [bool(value != 0) for value in self._values(x)[place]]

    def _values(self, x: numpy.ndarray) -> numpy.ndarray:
        with at_rest(self.model), numpy.errstate(all="ignore"):
            return to_host(run_to(self.operation, self.model, on_device(x, self.model), self.layer)[0])

    def _guess(self) -> Any:
        """The fields of the map by the windows on the way to it, None where they do not tell."""
        with at_rest(self.model):
            x = on_device(self.dark, self.model)
            graph = watch(lambda x: run_to(self.operation, self.model, x, self.layer, copy=False)[0], x)
        end = next(node for node in graph.nodes if node.kind == "output")
        return receptive_fields(graph)[end.number]


def _all_positive(model: Module) -> Any:
    """A copy of a network in which nothing can cancel, in double precision: fast products of float32 mix neighbours."""
    twin: Any = copy.deepcopy(model).double()
    with no_grad():
        for name, p in twin.named_parameters():
            if p.ndim > 1:
                p.fill_(1 / max(p.shape[1], 1))
            else:
                p.fill_(1.0 if name.endswith("weight") else 0.0)
        for name, buffer in twin.named_buffers():
            if name.endswith("running_mean"):
                buffer.zero_()
            elif name.endswith("running_var"):
                buffer.fill_(1.0)
    return twin
