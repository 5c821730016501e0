"""Trees: tuples, lists and dicts of Tensors, of any depth; and what functions of them are given and return."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.tensor import Tensor

ArgNums = int | tuple[int, ...]


def leaves(tree: Any) -> list[Any]:
    """What stands in a tree, from left to right."""
    if isinstance(tree, Mapping):
        return [leaf for item in tree.values() for leaf in leaves(item)]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [] if tree is None else [tree]


def like(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form with other things in it."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {name: like(item, values) for name, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [like(item, values) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return next(values)


def tensors(operation: str, what: str, tree: Any) -> list[Tensor]:
    found = leaves(tree)
    for x in found:
        if not isinstance(x, Tensor):
            raise OperandError(
                f"{operation}: {what} holds a {type(x).__name__}; it must be Tensors, in tuples, lists or dicts"
            )
    return found


def chosen_arguments(operation: str, args: Sequence[Any], argnums: ArgNums) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(
                f"{operation}: got argnums={argnums}; the function was called with {len(args)} arguments"
            )
    chosen = tuple(number % len(args) for number in numbers)
    if len(set(chosen)) != len(chosen):
        raise ArgumentError(f"{operation}: got argnums={argnums}; an argument appears twice")
    return chosen


def split_aux(operation: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise OperandError(f"{operation}: with has_aux=True the function must return a pair (output, other)")
    return out


def detached(tree: Any) -> Any:
    return like(tree, iter([x.detach() if isinstance(x, Tensor) else x for x in leaves(tree)]))
