"""Nested values as named arrays and a JSON skeleton, and back.

In the skeleton a dict with plain keys is a JSON object, a list an array; what JSON has no word for is an object of one
key that begins with '$':

    {"$tensor": name}, {"$parameter": name}   a Tensor; one that requires gradients
    {"$array": name}                          a NumPy array
    {"$tuple": [...]}, {"$set": [...]}        a tuple; a set
    {"$dict": [[key, value], ...]}            a dict whose keys are not all texts, or begin with '$'
    {"$float": "nan"}, {"$bytes": base64}     numbers that JSON lacks; bytes

A Tensor is named by its place: 'state.0.momentum_buffer'.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from tensorgrad.backend import is_array
from tensorgrad.errors import OperandError
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.unpickle import Keys
from tensorgrad.tensor import Tensor

_RESERVED = "__metadata__"  # safetensors' own name
_DEEPEST = 200


def flatten(value: Any) -> tuple[dict[str, Any], Any]:
    """(arrays by name, skeleton); the skeleton is None for a dict of Tensors by name, which needs none."""
    if _is_plain_state(value):
        return dict(value), None
    walk = _Walk()
    skeleton = walk.visit(value, "", 0)
    return walk.found, skeleton


def _is_plain_state(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and key != _RESERVED and isinstance(x, Tensor) and not x.requires_grad
        for key, x in value.items()
    )


class _Walk:
    """Collects the arrays of a nested value."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._names: dict[int, str] = {}  # of the arrays that are in already
        self._keys = Keys()

    def visit(self, value: Any, path: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise OperandError(f"save: '{path:.80}' lies more than {_DEEPEST} levels deep; does it hold itself?")
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, Tensor):
            return {"$parameter" if value.requires_grad else "$tensor": self._add(value.array, path)}
        if isinstance(value, numpy.generic):
            return self.visit(value.item(), path, depth + 1)
        if is_array(value):
            return {"$array": self._add(value, path)}
        if isinstance(value, (float, int, str)):
            return self._scalar(value)
        if isinstance(value, (bytes, bytearray)):
            return {"$bytes": base64.b64encode(value).decode("ascii")}
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            items = value
            if isinstance(value, (set, frozenset)):
                items = sorted((self._checked(x, path) for x in value), key=repr)
            parts = [self.visit(x, f"{path}.{i}" if path else str(i), depth + 1) for i, x in enumerate(items)]
            if isinstance(value, list):
                return parts
            return {"$tuple" if isinstance(value, tuple) else "$set": parts}
        where = f"at '{path}'" if path else "given"
        raise OperandError(
            f"save: the value {where} is a {type(value).__name__}; a file holds dicts, lists, tuples, sets, Tensors, "
            "arrays, numbers, texts, bytes and None"
        )

    def _scalar(self, value: Any) -> Any:
        """A number or text, also of a subclass."""
        if isinstance(value, float):
            finite = float("-inf") < value < float("inf")
            return float(value) if finite else {"$float": repr(float(value))}
        return str(value) if isinstance(value, str) else int(value)

    def _mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> Any:
        parts = []
        for key, x in value.items():
            place = f"{path}.{key}" if path else str(key)
            parts.append((self._checked(key, path), self.visit(x, place, depth + 1)))
        if all(type(key) is str and not key.startswith("$") for key, _ in parts):
            return dict(parts)
        return {"$dict": [[self.visit(key, path, depth + 1), x] for key, x in parts]}

    def _add(self, array: Any, path: str) -> str:
        """The name under which the array is saved; one that appears twice is saved once."""
        if id(array) in self._names:
            return self._names[id(array)]
        base = path or "value"
        name, number = base, 2
        while name in self.found or name == _RESERVED:
            name = f"{base}#{number}"
            number += 1
        self.found[name] = array
        self._names[id(array)] = name
        return name

    def _checked(self, key: Any, path: str) -> Any:
        """A key of a dict or a member of a set, if `nest` will take it back."""
        if not self._keys.is_safe(key):
            place = f"'{path}'" if path else "the value given"
            raise OperandError(
                f"save: {place} has a key or member {key!r:.40} of type {type(key).__name__}; use texts, bytes, numbers "
                "below 2^61, and tuples of these"
            )
        return key


def nest(skeleton: Any, arrays: Mapping[str, numpy.ndarray], origin: str) -> Any:
    """The nested value of a skeleton and its arrays."""
    tensors: dict[tuple[str, str], Any] = {}
    first: dict[str, Tensor] = {}  # on the memory of each array
    bare: set[str] = set()
    keys = Keys()

    def array_of(name: Any) -> numpy.ndarray:
        if not isinstance(name, str) or name not in arrays:
            raise CheckpointError(f"load: {origin} lacks the array {name!r:.60}; it is damaged")
        return arrays[name]

    def tensor(kind: str, name: Any) -> Any:
        array = array_of(name)
        if (kind, name) not in tensors:
            z = Tensor(first.get(name, array), requires_grad=kind == "$parameter" and array.dtype.kind == "f")
            tensors[kind, name] = z
            first.setdefault(name, z)
        return tensors[kind, name]

    def numpys(name: Any) -> numpy.ndarray:
        array = array_of(name)
        bare.add(name)
        return array

    def safe(key: Any) -> Any:
        if not keys.is_safe(key):
            raise CheckpointError(
                f"load: how {origin} is nested makes no sense: a key is no text or number below 2^61, or made to collide"
            )
        return key

    readers: dict[str, Callable[[Any], Any]] = {
        "$tensor": lambda name: tensor("$tensor", name),
        "$parameter": lambda name: tensor("$parameter", name),
        "$array": numpys,
        "$tuple": lambda items: tuple(visit(x) for x in items),
        "$set": lambda items: {safe(visit(x)) for x in items},
        "$dict": lambda pairs: {safe(visit(key)): visit(x) for key, x in pairs},
        "$float": float,
        "$bytes": lambda text: base64.b64decode(text, validate=True),
    }

    def visit(part: Any) -> Any:
        if isinstance(part, list):
            return [visit(x) for x in part]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((key, content),) = part.items()
            if key in readers:
                return readers[key](content)
        if any(key.startswith("$") for key in part):
            raise CheckpointError(f"load: {origin} was written by a newer version: it holds {', '.join(part):.60}")
        return {key: visit(x) for key, x in part.items()}

    try:
        value = visit(skeleton)
        for name in bare & first.keys():
            first[name].shared_with_numpy()
        return value
    except (TypeError, ValueError, RecursionError, binascii.Error) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"load: how {origin} is nested makes no sense ({error}); it is damaged") from error
    finally:
        visit = None  # type: ignore[assignment]  # it calls itself, a circle that would hold the values
