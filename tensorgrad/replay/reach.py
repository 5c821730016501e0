"""What a step can see: the Tensors and the plain Python values behind a function's variables, and whether they have changed.

The walk goes through closures, the global names in the code, bound objects, modules, containers and attributes. From it come
the Tensors that a recording works on, and the Guards: the recording holds only while every plain value (a number, a
string, a flag such as `training`), every container's length and every object found is what it was. What the walk leaves
out: classes, modules and functions of this and other libraries, data sets and loaders, containers of more than MANY things.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy

from tensorgrad.amp.scaler import GradScaler
from tensorgrad.data.dataset import Dataset
from tensorgrad.nn.module import Module
from tensorgrad.optim.lr_scheduler import LRScheduler
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.random import Generator
from tensorgrad.tensor import Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None), numpy.dtype)
MANY = 1000
_MISSING = object()
_LEFT_OUT = (*PLAIN, type, types.ModuleType, types.BuiltinFunctionType, numpy.ndarray, numpy.generic, numpy.ufunc)
_LEFT_OUT_OF_OURS = (Generator, Dataset)


class Guards:
    """The plain values and objects in dicts, lists and cells, as they were."""

    def __init__(self) -> None:
        self.dicts: list[tuple[str, dict[Any, Any], list[tuple[Any, Any]], int]] = []
        self.lists: list[tuple[str, list[Any], list[Any]]] = []
        self.cells: list[tuple[str, Any, Any]] = []

    def change(self) -> str | None:
        """The first thing found that is not as it was, or None."""
        for path, table, items, length in self.dicts:
            if len(table) != length and length >= 0:
                return f"{path} has other keys"
            for key, value in items:
                now = table.get(key, _MISSING)
                if now is not value and not _equal(now, value):
                    return f"{path}[{key!r}]"
        for path, held, items_held in self.lists:
            if len(held) != len(items_held):
                return f"the length of {path}"
            for now, value in zip(held, items_held):
                if now is not value and not _equal(now, value):
                    return path
        for path, cell, value in self.cells:
            now = _contents(cell)
            if now is not value and not _equal(now, value):
                return path
        return None


def _equal(now: Any, before: Any) -> bool:
    """Whether a plain value is the same; other things are only themselves."""
    return type(now) is type(before) and _is_plain(before) and bool(now == before)


def _is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (type(value) is tuple and all(_is_plain(part) for part in value))


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return _MISSING


class Reach:
    """The Tensors behind some objects, in the order in which they are found, the modules, and the guards."""

    def __init__(self, *roots: Any) -> None:
        self.tensors: list[Tensor] = []
        self.modules: list[Module] = []
        self.hosts: list[Any] = []  # optimisers, schedulers and scalers, whose steps are made in Python
        self.guards = Guards()
        self._seen: set[int] = set()
        self._kept: list[Any] = []  # so that no id is given anew meanwhile
        stack = [("the step", root) for root in reversed(roots)]
        while stack:
            path, thing = stack.pop()
            if isinstance(thing, _LEFT_OUT) or id(thing) in self._seen:
                continue
            self._seen.add(id(thing))
            self._kept.append(thing)
            stack.extend(reversed(list(self._inside(path, thing))))

    def _inside(self, path: str, thing: Any) -> Iterator[tuple[str, Any]]:
        """What an object holds; its plain values go to the guards."""
        if isinstance(thing, Tensor):
            self.tensors.append(thing)
        elif isinstance(thing, (tuple, frozenset)):
            for part in thing:
                yield path, part
        elif isinstance(thing, (list, set)):
            if isinstance(thing, list) and len(thing) <= MANY:
                self.guards.lists.append((path, thing, list(thing)))
                for position, part in enumerate(thing):
                    yield f"{path}[{position}]", part
        elif isinstance(thing, dict):
            yield from self._of_dict(path, thing, list(thing))
        elif isinstance(thing, types.FunctionType):
            yield from self._of_function(path, thing)
        elif isinstance(thing, types.MethodType):
            yield path, thing.__self__
            yield path, thing.__func__
        elif isinstance(thing, LRScheduler):
            self.hosts.append(thing)
            yield path, thing.optimizer
        elif isinstance(thing, GradScaler):
            self.hosts.append(thing)
            yield f"{path}.scale", thing._scale
        elif isinstance(thing, Optimizer):
            self.hosts.append(thing)
            for group in thing.param_groups:  # its settings count anew at every step
                yield f"{path}.param_groups", group["params"]
        elif isinstance(thing, Module):
            self.modules.append(thing)
            yield from self._of_class(path, type(thing))
            yield path, thing.__dict__
        elif not isinstance(thing, _LEFT_OUT_OF_OURS):
            if not _is_ours(type(thing).__module__):
                yield from self._of_class(path, type(thing))
                yield from self._of_dict(path, getattr(thing, "__dict__", {}), None)
            elif hasattr(thing, "__wrapped__"):  # another compiled step, say
                yield path, thing.__wrapped__
            elif isinstance(thing, functools.partial):
                yield path, (thing.func, thing.args, thing.keywords)

    def _of_dict(self, path: str, table: dict[Any, Any], keys: list[Any] | None) -> Iterator[tuple[str, Any]]:
        keys = list(table) if keys is None else keys
        if len(keys) > MANY:
            return
        self.guards.dicts.append((path, table, [(key, table[key]) for key in keys], len(table)))
        for key in keys:
            yield f"{path}.{key}", table[key]

    def _of_class(self, path: str, kind: type) -> Iterator[tuple[str, Any]]:
        """The methods of a class of the user's, and what its instances share."""
        for base in kind.__mro__:
            if _is_ours(base.__module__) or id(base) in self._seen:
                continue
            self._seen.add(id(base))
            shared = vars(base)
            plain = [(name, value) for name, value in shared.items() if _is_plain(value) and not name.startswith("__")]
            self.guards.dicts.append((base.__name__, shared, plain, -1))  # type: ignore[arg-type]
            for value in shared.values():
                if isinstance(value, types.FunctionType):
                    yield path, value

    def _of_function(self, path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        written_in = function.__globals__.get("__name__")  # of a decorated function that of the decorator
        home = sys.modules.get(written_in or "")
        if _is_ours(written_in) and home is not None and function.__globals__ is vars(home):
            return  # (the examples in our docstrings bear our name, but live elsewhere)
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or ()):
            self.guards.cells.append((name, cell, _contents(cell)))
            yield name, _contents(cell)
        used = [name for name in _names(function.__code__) if name in function.__globals__]
        space = function.__globals__
        self.guards.dicts.append(("a global variable ", space, [(name, space[name]) for name in used], -1))
        for name in used:
            yield name, space[name]
        yield path, function.__defaults__
        yield path, function.__kwdefaults__


def _names(code: types.CodeType) -> set[str]:
    """The global names in a function's code and in the functions written inside it."""
    names = {line.argval for line in dis.get_instructions(code) if line.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _is_ours(module: str | None) -> bool:
    """Whether a function or class belongs to a library, whose variables the user does not change."""
    top = (module or "").partition(".")[0]
    return top in ("tensorgrad", "numpy", "cupy") or top in sys.stdlib_module_names
