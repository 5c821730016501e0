"""methods.pyi, which type checkers read, says what tensorgrad.ops.methods attaches."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import tensorgrad
from tensorgrad.ops.methods import METHODS, OPERATORS, PROPERTIES
from tensorgrad.tensor import Tensor

DECLARED = {
    node.name: node
    for node in ast.walk(ast.parse(Path(tensorgrad.__file__).with_name("methods.pyi").read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef)
}


def test_the_names_are_the_same():
    attached = {*OPERATORS, *METHODS, *PROPERTIES}
    assert not attached - set(DECLARED), "attached, but not in methods.pyi"
    assert not {name for name in DECLARED if not hasattr(Tensor, name)}, "in methods.pyi, but not attached"


def declared(arguments: ast.arguments) -> list[tuple[str, str, str]]:
    """(name, kind, default) of every parameter after self."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    found = [(a.arg, "positional", ast.unparse(d) if d else "") for a, d in zip(plain, defaults)][1:]
    if arguments.vararg:
        found.append((arguments.vararg.arg, "any number", ""))
    found += [
        (a.arg, "keyword", ast.unparse(d) if d else "") for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults)
    ]
    if arguments.kwarg:
        found.append((arguments.kwarg.arg, "any keyword", ""))
    return found


KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
    inspect.Parameter.VAR_POSITIONAL: "any number",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_KEYWORD: "any keyword",
}


def attached(function: object) -> list[tuple[str, str, str]]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [(p.name, KINDS[p.kind], "" if p.default is p.empty else repr(p.default)) for p in parameters]


def in_place_of(name: str) -> object:
    """What says the parameters of a method: an in-place form takes those of the operation itself."""
    made = [p.name for p in inspect.signature(METHODS[name]).parameters.values()] == ["x", "arguments", "settings"]
    return METHODS[name[:-1]] if made and name.endswith("_") else METHODS[name]


@pytest.mark.parametrize("name", METHODS)
def test_the_parameters_are_the_same(name: str):
    assert declared(DECLARED[name].args) == attached(in_place_of(name))
