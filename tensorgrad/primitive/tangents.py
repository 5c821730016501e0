"""Forward mode, one application at a time: the tangents of the results from those of the inputs, level by level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy

from tensorgrad.backend import array_types, backend_of
from tensorgrad.dtypes import is_floating
from tensorgrad.mode import mode
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.primitive.node import NodeExtra, Primitive

#: The levels of the calls of jvp that are running, with what its nodes have to forget when it returns.
open_levels: dict[int, list[NodeExtra]] = {}


def levels_of(inputs: Iterable[Any]) -> set[int]:
    """The levels at which any of the inputs carries a tangent."""
    levels: set[int] = set()
    for x in inputs:
        if isinstance(x, Tensor) and x.extra is not None and x.extra.tangents:
            levels.update(x.extra.tangents)
    return levels & open_levels.keys()  # a Tensor carried out of its jvp has no tangent any more


def give_tangent(z: Tensor, level: int, dz: Tensor) -> None:
    """Let z carry dz at this level, beside what it carries at others."""
    extra = z.make_extra()
    extra.tangents = {**(extra.tangents or {}), level: dz}


def note_levels(node: Primitive, levels: set[int]) -> NodeExtra:
    """Let a recorded node know at which levels its inputs carried tangents, until their jvp returns."""
    extra = node.make_extra()
    extra.dual = levels
    for level in levels:
        open_levels[level].append(extra)
    return extra


def push_tangents(node: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], recorded: bool) -> None:
    """Give the outputs their tangents, one level after the other, the outermost (smallest) first.

    A value with tangents a at level 1 and b at level 2 stands for x + a e1 + b e2, where b may itself have a part in
    e1. The derivative of level 2 belongs to the inner call, so level 1 is everywhere part of the values it sees:
    the rule of level L runs on the inputs with all their tangents below L, and so its result has them too.
    """
    levels = levels_of(inputs)
    casting, mode.autocast = mode.autocast, None  # the rules work in the dtypes that forward chose
    try:
        for level in sorted(levels):
            _push_level(node, inputs, outputs, level, alone=not recorded and len(levels) == 1)
    finally:
        mode.autocast = casting
    if recorded and levels:
        extra = note_levels(node, levels)
        extra.output_tangents = None if outputs[0].extra is None else outputs[0].extra.tangents


def _push_level(node: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], level: int, alone: bool) -> None:
    """The tangents of one level; on bare arrays where it is alone and nothing is recorded."""
    values = [x.below(level) if isinstance(x, Tensor) else x for x in inputs]
    dxs = [x.tangent(level) if isinstance(x, Tensor) else None for x in inputs]
    plain = alone and all(dx is None or _is_plain(dx) for dx in dxs)
    if not node.missing_tangents:
        dxs = [_zero_like(x) if dx is None else dx for x, dx in zip(values, dxs)]
    out = [z.alias(None if z.extra is None else z.extra.tangents) for z in outputs]
    kept = [values[i] if i >= 0 else out[0] for i in node.jvp_keeps]
    if plain:
        dz = node.jvp(*[_array(dx) for dx in dxs], *[_array(x) for x in kept])
    else:
        dz = node.jvp(*dxs, *kept)
    dzs = dz if len(outputs) > 1 or isinstance(dz, tuple) else (dz,)
    for z, tangent in zip(outputs, dzs):
        if tangent is not None and is_floating(z.array.dtype):
            give_tangent(z, level, tangent if isinstance(tangent, Tensor) else Tensor(_as_array(tangent)))


def _is_plain(x: Tensor) -> bool:
    return not x.tracked and (x.extra is None or not x.extra.tangents)


def _zero_like(x: Any) -> Tensor | None:
    if not isinstance(x, Tensor) or not is_floating(x.array.dtype):
        return None
    return Tensor(backend_of(x.array).zeros_like(x.array))


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


def _as_array(x: Any) -> Any:
    return x if type(x) in array_types else numpy.asarray(x)
