"""A step as a list of operations on numbered arrays, entered while it runs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from tensorgrad.backend import array_types
from tensorgrad.mode import mode
from tensorgrad.replay.recorded import Recorded, raw, recorded_kind, recording_backend

#: NumPy's functions that are operators of Python: shorter to call, and many times faster on a single number.
OPERATORS = {
    numpy.add: "{0} + {1}",
    numpy.subtract: "{0} - {1}",
    numpy.multiply: "{0} * {1}",
    numpy.negative: "-{0}",
}
_ARITHMETIC = {*OPERATORS.values(), "{0} += {1}", "{0} -= {1}", "{0} *= {1}"}
#: The types whose values stand for themselves in a program.
PLAIN = (bool, int, float, str, bytes, type(None), type(Ellipsis))


class Value(NamedTuple):
    """What is known of a numbered array; everything else is a Value too, of kind None."""

    kind: type | None = None
    shape: tuple[int, ...] = ()
    dtype: Any = None
    strides: tuple[int, ...] = ()
    nbytes: int = 0


class Slot(NamedTuple):
    """The place of a numbered value in an operation's arguments; the value itself is not held."""

    number: int


class Operation:
    """One line: what is called with what, and the numbers of its results."""

    __slots__ = ("arguments", "changes", "function", "host", "name", "results", "settings", "text")

    def __init__(
        self,
        function: Any,
        name: str,
        arguments: tuple[Any, ...],
        settings: dict[str, Any],
        text: str | None,
        changes: bool,
    ) -> None:
        self.function = function
        self.name = name
        self.arguments = arguments
        self.settings = settings
        self.text = text  # as an expression, with the arguments' places; or None for a call
        self.changes = changes  # whether it changes its first argument and gives nothing
        self.host = False  # done by Python at every replay
        self.results: Any = None

    @property
    def is_arithmetic(self) -> bool:
        """Element by element, by an operator: no matter whether it meets a scalar or an array."""
        return self.text in _ARITHMETIC


class Program:
    """What is entered while a step runs in one thread."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.values: list[Value] = []
        self.reason: str | None = None  # why it cannot be replayed
        self.open = True
        self.thread = threading.get_ident()
        self.inputs: list[int] = []
        self.raised: dict[int, int] = {}  # id of a Tensor -> how often steps made in Python raised its version
        self.things: dict[int, tuple[Any, int]] = {}  # results that are no arrays: id -> (the thing itself, its number)

    def spoil(self, reason: str) -> None:
        """From now on nothing is entered; the first reason counts."""
        if self.open and self.reason is None and threading.get_ident() == self.thread:
            self.reason = reason

    @property
    def entering(self) -> bool:
        return self.open and self.reason is None and threading.get_ident() == self.thread

    def backend_for(self, inner: Any) -> Any:
        """Asked by `tensorgrad.backend.backend_for` in the thread that records."""
        return recording_backend(inner)

    def number(self, array: Any) -> int:
        """A new number for an array."""
        self.values.append(Value(type(array), array.shape, array.dtype, array.strides, array.nbytes))
        return len(self.values) - 1

    def input(self, array: Any) -> Recorded:
        """An array that a replay is given."""
        value = recorded_kind(array)(array, self.number(array), self)
        self.inputs.append(value.number)
        return value

    def enter(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        settings: dict[str, Any] | None = None,
        *,
        text: str | None = None,
        changes: bool = False,
        name: str = "",
        replayed: Any = None,
    ) -> Any:
        """Compute function(*arguments, **settings) and write it down; recorded arrays come out."""
        settings = settings or {}
        is_method = text is not None and re.fullmatch(r"\{0\}\.\w+", text) is not None
        plain = raw(arguments)
        found = function(plain[0]) if is_method else function(*plain, **raw(settings))
        if not self.entering:
            return numpy.asarray(found) if isinstance(found, numpy.generic) else found
        if "getitem" in (name, getattr(function, "__name__", "")) and _has_mask(arguments[1:]):
            self.spoil("an index is a mask: the shape of its result depends on values")
        function = replayed or function
        if text is None and not settings and function in OPERATORS:
            text = OPERATORS[function]
        places, named = self._slots(arguments), self._slots(settings)
        operation = Operation(function, name or getattr(function, "__name__", "call"), places, named, text, changes)
        self.operations.append(operation)
        results = self._numbered(found)
        operation.results = self._places(results)
        return results

    def host(self, call: Callable[..., Any], arguments: tuple[Any, ...], name: str, gives: bool = False) -> Any:
        """Something done anew in Python at every replay, as drawing random numbers: call(*arguments)."""
        mode.recorder = None
        try:
            found = call(*raw(arguments))
        finally:
            mode.recorder = self
        if not self.entering:
            return found
        operation = Operation(call, name, self._slots(arguments), {}, None, False)
        operation.host = True
        self.operations.append(operation)
        if not gives:
            return found
        results = self._numbered(found)
        operation.results = self._places(results)
        return results

    def used(self) -> set[int]:
        """The numbers that stand in an operation's arguments."""
        return {
            part.number
            for operation in self.operations
            for part in (*flat(operation.arguments), *flat(operation.settings))
            if isinstance(part, Slot)
        }

    def _slots(self, part: Any) -> Any:
        """Arguments with places for what is numbered; an array that is not spoils the program."""
        if isinstance(part, Recorded):
            if part.program is not self:
                self.spoil("an array of another recording is used")
            return Slot(part.number)
        if id(part) in self.things:
            return Slot(self.things[id(part)][1])
        if type(part) in array_types:
            self.spoil("an array is used that was reached neither by the arguments nor by the step's variables")
        if type(part) in (tuple, list):
            return type(part)(self._slots(inner) for inner in part)
        if type(part) is dict:
            return {key: self._slots(inner) for key, inner in part.items()}
        if type(part) is slice:
            return slice(self._slots(part.start), self._slots(part.stop), self._slots(part.step))
        return part

    def _numbered(self, found: Any) -> Any:
        """A kernel's result with recorded arrays in place of its arrays."""
        if type(found) is tuple:
            return tuple(self._numbered(part) for part in found)
        if isinstance(found, numpy.generic):
            found = numpy.asarray(found)
        if type(found) in array_types:
            return recorded_kind(found)(found, self.number(found), self)
        if type(found) in (bool, int, float):
            self.spoil("a kernel gives a number of Python")
        elif type(found) not in PLAIN:
            self.values.append(Value())
            self.things[id(found)] = (found, len(self.values) - 1)
        return found

    def _places(self, results: Any) -> Any:
        if isinstance(results, Recorded):
            return results.number
        if type(results) is tuple:
            return tuple(self._places(part) for part in results)
        thing = self.things.get(id(results))
        return None if thing is None else thing[1]


def _has_mask(x: Any) -> bool:
    return any(isinstance(part, Recorded) and part.dtype.kind == "b" for part in flat(x))


def flat(x: Any) -> list[Any]:
    """The leaves of nested tuples, lists, dicts and slices."""
    if type(x) in (tuple, list):
        return [leaf for part in x for leaf in flat(part)]
    if type(x) is dict:
        return [leaf for part in x.values() for leaf in flat(part)]
    if type(x) is slice:
        return flat((x.start, x.stop, x.step))
    return [x]
