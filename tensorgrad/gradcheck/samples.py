"""Samples: applications of every primitive of the library, to check it where there are no tests, as in an installed wheel.

They are recorded from the tests' table of cases by scripts/record_samples.py into samples.json, so that there is one table to
write and none to keep in step: class, settings and inputs of the application that each row is about. This file turns settings
into JSON and back.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.device import Device
from tensorgrad.errors import OperandError
from tensorgrad.primitive import Primitive

FILE = Path(__file__).with_name("samples.json")


@dataclass(frozen=True)
class Sample:
    """One application: the class's name, its settings, its inputs (arrays, numbers or None)."""

    primitive: str
    note: str
    settings: tuple[Any, ...]
    inputs: tuple[Any, ...]


def all_primitives() -> dict[str, type[Primitive]]:
    """Every primitive of the library by its class's name.

    Not those that stand for a user's own function, nor private ones, which another operation applies to what it has already
    done (a change in place) and which share that one's rules.
    """
    import tensorgrad.ops as ops

    for found_module in pkgutil.iter_modules(ops.__path__, f"{ops.__name__}."):
        importlib.import_module(found_module.name)
    found: dict[str, type[Primitive]] = {}
    stack: list[type[Primitive]] = [Primitive]
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        package, _, module = kind.__module__.partition(".")
        ours = package == "tensorgrad" and not module.startswith("autograd.") and not kind.__name__.startswith("_")
        if hasattr(kind, "forward") and ours:
            found[kind.__name__] = kind
    return dict(sorted(found.items()))


def load(primitives: Iterable[str] | None = None) -> list[Sample]:
    """The samples of these primitives, by default of all."""
    wanted = None if primitives is None else set(primitives)
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return [
        Sample(row["primitive"], row["note"], decode(row["settings"]), decode(row["inputs"]))
        for row in rows
        if wanted is None or row["primitive"] in wanted
    ]


def save(samples: Iterable[Sample]) -> None:
    """Write samples.json anew, a line a sample."""
    lines = [
        json.dumps(
            {"primitive": s.primitive, "note": s.note, "settings": encode(s.settings), "inputs": encode(s.inputs)},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        for s in samples
    ]
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


# JSON knows null, booleans, numbers, texts and lists. Everything else is {"kind": ...}.


def encode(value: Any) -> Any:
    """A setting or an input as JSON."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if numpy.isfinite(value) else {"float": str(value)}
    if isinstance(value, numpy.dtype):
        return {"dtype": value.name}
    if isinstance(value, type) and issubclass(value, numpy.generic):
        return {"dtype": numpy.dtype(value).name}
    if isinstance(value, numpy.generic):
        return encode(value.item())
    if isinstance(value, numpy.ndarray):
        return {
            "array": value.dtype.name,
            "shape": list(value.shape),
            "values": [encode(x) for x in value.ravel().tolist()],
        }
    if isinstance(value, tuple) and type(value) is tuple:
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, slice):
        return {"slice": [encode(part) for part in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, Device):
        return {"device": "cpu"}  # a sample is of the machine it is checked on
    if isinstance(value, Primitive):
        return {"primitive": type(value).__name__, "settings": [encode(getattr(value, s)) for s in value.settings]}
    if type(value).__module__.startswith("tensorgrad."):
        return {"object": f"{type(value).__module__}:{type(value).__qualname__}", "state": _state(value)}
    raise OperandError(f"samples: no way to write a {type(value).__name__} down; add one to encode and decode")


def decode(value: Any) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return [decode(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "dtype" in value:
        return numpy.dtype(value["dtype"])
    if "array" in value:
        return numpy.array([decode(x) for x in value["values"]], dtype=value["array"]).reshape(value["shape"])
    if "tuple" in value:
        return tuple(decode(part) for part in value["tuple"])
    if "slice" in value:
        return slice(*(decode(part) for part in value["slice"]))
    if "ellipsis" in value:
        return Ellipsis
    if "device" in value:
        return Device(value["device"])
    if "primitive" in value:
        return all_primitives()[value["primitive"]](*(decode(part) for part in value["settings"]))
    module, _, name = value["object"].partition(":")
    made = object.__new__(getattr(importlib.import_module(module), name))
    for key in {*_names(made), *value["state"]}:
        object.__setattr__(made, key, decode(value["state"].get(key)))
    return made


def _state(value: Any) -> dict[str, Any]:
    """The attributes of one of our plain objects; private ones are caches and stay behind."""
    names = [*getattr(value, "__dict__", ()), *_names(value)]
    return {name: encode(getattr(value, name)) for name in names if not name.startswith("_")}


def _names(value: Any) -> list[str]:
    """The names in the slots of its class."""
    return [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
