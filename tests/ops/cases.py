"""The table of cases: for every primitive at least one row (tests/ops/rows), on which test_cases.py runs all its checks."""

from __future__ import annotations

import importlib
import pkgutil

import ops.rows  # tests/ops/rows
from ops.rows.table import CASES, Case

import tensorgrad.ops
from tensorgrad.primitive import Primitive

for _package in (tensorgrad.ops, ops.rows):
    for _module in pkgutil.iter_modules(_package.__path__, f"{_package.__name__}."):
        importlib.import_module(_module.name)

__all__ = ["CASES", "Case", "all_primitives"]


def all_primitives() -> dict[str, type[Primitive]]:
    """Every primitive of the library by its class's name."""
    found: dict[str, type[Primitive]] = {}
    stack: list[type[Primitive]] = [Primitive]
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        if hasattr(kind, "forward") and kind.__module__.partition(".")[0] == "tensorgrad":
            found[kind.__name__] = kind
    return found
