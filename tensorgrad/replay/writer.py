"""A program as a Python function.

Its text is straight-line code, an operation a line, in which v12 is array number 12. It calls the same kernels in the same
order as the step did, so a replay computes the same numbers; only the tape is gone. Large values are let go after their
last use, and where a value with memory of its own is used for the last time, by an operation element by element whose
result is of the same kind, the result takes over its memory.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from tensorgrad.replay.program import OPERATORS, PLAIN, Operation, Program, Slot, Value, flat

_FUNCTIONS = {text: function for function, text in OPERATORS.items()}
#: Values of at least so many bytes are let go by the program when they are no longer needed; smaller ones at its end.
LET_GO = 1 << 12


class Written(NamedTuple):
    """A program as a function (arrays of its inputs) -> arrays of the outputs, and what it is made of.

    hosts  names in the text of the host's operations -> (the operation, the Values of its results)
    """

    function: Callable[[list[Any]], list[Any]]
    text: str
    code: Any
    names: dict[str, Any]
    hosts: dict[str, tuple[Callable[..., Any], Any]]
    values: list[Value]

    def with_hosts(self, stand_in: Callable[[Callable[..., Any], Any], Callable[..., Any]]) -> Callable[..., Any]:
        """The same function with stand_in(operation, results) in place of each operation of the host."""
        names = {**self.names, **{name: stand_in(*found) for name, found in self.hosts.items()}}
        exec(self.code, names)
        function: Callable[..., Any] = names["replay"]
        return function


def written(program: Program, outputs: list[int]) -> Written:
    """The program as straight-line code."""
    writer = _Writer(program, outputs)
    text = writer.text()
    code = compile(text, "<recorded step>", "exec")
    names = dict(writer.names)
    exec(code, names)
    return Written(names["replay"], text, code, writer.names, writer.hosts, program.values)


class _Writer:
    def __init__(self, program: Program, outputs: list[int]) -> None:
        self.program = program
        self.outputs = outputs
        self.names: dict[str, Any] = {"asarray": numpy.asarray}
        self.constants: dict[int, str] = {}
        self.hosts: dict[str, tuple[Callable[..., Any], Any]] = {}
        self.last: dict[int, int] = {}  # number -> the last operation that uses it
        self.whole: set[int] = set(outputs)  # must be arrays, for something needs more than their number
        self.seen: set[int] = set(program.inputs) | set(outputs)  # may have other eyes on their memory
        self.changed: set[int] = set()
        for position, operation in enumerate(program.operations):
            used = self._used(operation)
            if operation.changes:
                self.changed.add(operation.arguments[0].number)
            for number in used:
                self.last[number] = position
            for number in self._given(operation.results):
                self.last.setdefault(number, position)
                if not operation.is_arithmetic:
                    self.seen.add(number)
            if not operation.is_arithmetic:
                self.whole.update(used)
                self.seen.update(used)

    def _used(self, operation: Operation) -> list[int]:
        parts = (*flat(operation.arguments), *flat(operation.settings))
        return [part.number for part in parts if isinstance(part, Slot)]

    def _given(self, results: Any) -> list[int]:
        return [number for number in flat(results) if number is not None]

    def text(self) -> str:
        lines = ["def replay(inputs):"]
        if self.program.inputs:
            lines.append(f"    {', '.join(f'v{n}' for n in self.program.inputs)}, = inputs")
        for n in self.program.inputs:
            if self._may_be_scalar(n) and n not in self.whole | self.changed:
                lines.append(f"    v{n} = v{n}[()]")  # NumPy is faster on scalars than on arrays without dimensions
        kept = set(self.outputs)
        for position, operation in enumerate(self.program.operations):
            lines.append("    " + self._line(operation, position))
            gone = {n for n in (*self._used(operation), *self._given(operation.results)) if self.last[n] == position}
            gone = {
                n for n in gone - kept if self.program.values[n].kind is None or self.program.values[n].nbytes >= LET_GO
            }
            if gone:
                lines.append(f"    {' = '.join(f'v{n}' for n in sorted(gone))} = None")
        lines.append(f"    return [{', '.join(f'v{n}' for n in self.outputs)}]")
        return "\n".join([*lines, ""])

    def _line(self, operation: Operation, position: int) -> str:
        arguments = [self._source(part) for part in operation.arguments]
        if operation.changes:
            assert operation.text is not None
            return operation.text.format(*arguments)
        if operation.is_arithmetic:
            return self._arithmetic(operation, arguments, position)
        if operation.text is not None and not operation.text.endswith(tuple("}]")):  # a method: {0}.name
            target, *arguments = arguments
            call = f"{operation.text.format(target)}({self._listed(arguments, operation.settings)})"
        elif operation.text is not None:
            call = operation.text.format(*arguments)
        else:
            name = self._name(operation.name, operation.function)
            if operation.host:
                self.hosts[name] = operation.function, self._values(operation.results)
            call = f"{name}({self._listed(arguments, operation.settings)})"
        return self._bound(operation.results, call)

    def _values(self, results: Any) -> Any:
        if type(results) is tuple:
            return tuple(self._values(part) for part in results)
        return None if results is None else self.program.values[results]

    def _arithmetic(self, operation: Operation, arguments: list[str], position: int) -> str:
        assert operation.text is not None
        number = operation.results
        value = self.program.values[number]
        if self._may_be_scalar(number):
            call = operation.text.format(*arguments)
            return f"v{number} = asarray({call})" if number in self.whole else f"v{number} = {call}"
        for part in operation.arguments:
            if not isinstance(part, Slot) or part.number in self.seen or self.last[part.number] != position:
                continue
            if self.program.values[part.number] == value and value.kind is numpy.ndarray:
                function = self._name(_FUNCTIONS[operation.text].__name__, _FUNCTIONS[operation.text])
                return f"v{number} = {function}({', '.join(arguments)}, v{part.number})"
        return f"v{number} = {operation.text.format(*arguments)}"

    def _bound(self, results: Any, call: str) -> str:
        if results is None:
            return call
        if type(results) is tuple:
            target = self._target(results)
            whole = [n for n in flat(results) if n is not None and self._is_number(n)]
            ensure = "".join(f"; v{n} = asarray(v{n})" for n in whole)
            return f"{target} = {call}{ensure}"
        if self._is_number(results):
            call = f"asarray({call})"
        return f"v{results} = {call}"

    def _may_be_scalar(self, n: int) -> bool:
        """Whether NumPy may give a scalar in place of an array: where there are no dimensions."""
        return self.program.values[n].kind is numpy.ndarray and not self.program.values[n].shape

    def _is_number(self, n: int) -> bool:
        """Whether NumPy may give a scalar where an array is needed."""
        return self._may_be_scalar(n) and n in self.whole

    def _target(self, results: Any) -> str:
        if type(results) is tuple:
            return f"({', '.join(self._target(part) for part in results)},)"
        return "_" if results is None else f"v{results}"

    def _listed(self, arguments: list[str], settings: dict[str, Any]) -> str:
        return ", ".join([*arguments, *(f"{key}={self._source(value)}" for key, value in settings.items())])

    def _source(self, part: Any) -> str:
        """An argument as Python text."""
        if isinstance(part, Slot):
            return f"v{part.number}"
        if type(part) is tuple:
            return f"({', '.join(self._source(p) for p in part)}{',' if len(part) == 1 else ''})"
        if type(part) is list:
            return f"[{', '.join(self._source(p) for p in part)}]"
        if type(part) is slice:
            return f"slice({self._source(part.start)}, {self._source(part.stop)}, {self._source(part.step)})"
        if type(part) in PLAIN and repr(part) not in ("inf", "-inf", "nan"):
            text = repr(part)
            return f"({text})" if text.startswith("-") else text
        return self._name("c", part)

    def _name(self, name: str, thing: Any) -> str:
        """A name for a function or constant, the same for the same thing."""
        known = self.constants.get(id(thing))
        if known is not None and self.names[known] is thing:
            return known
        clean = re.sub(r"\W", "_", name.strip("<>")) or "c"
        if keyword.iskeyword(clean) or re.fullmatch(r"v\d+|inputs|replay|_", clean):
            clean += "_"
        fresh, count = clean, 1
        while fresh in self.names:
            count += 1
            fresh = f"{clean}_{count}"
        self.names[fresh] = thing
        self.constants[id(thing)] = fresh
        return fresh
