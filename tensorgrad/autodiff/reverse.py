"""Reverse mode: cotangents sent down the tape, from the roots to the leaves.

Backward keeps a heap of nodes, newest first, and the cotangents that wait at each. A node is visited once, when everything
that used its result has been visited, because whatever used it is newer. Nothing recurses, so any depth will do.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.anomaly import explain_error, refuse_changed, refuse_nan
from tensorgrad.backend import array_types, backend_of, without_warnings
from tensorgrad.gradient_hooks import run_hooks
from tensorgrad.mode import mode
from tensorgrad.primitive import Freed, Lent, NodeExtra, Output, Primitive, sum_to
from tensorgrad.primitive.saved import saved_arrays, saved_tensors
from tensorgrad.tensor import Tensor


def run_backward(
    roots: Sequence[Tensor],
    cotangents: Sequence[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
    wanted: set[Any] | None = None,
) -> dict[Any, Any]:
    """Send cotangents from the roots down the tape; returns what arrived at each leaf and at each wanted place.

    The rules run on arrays, or on Tensors if a graph of the gradient is wanted or anything at hand carries a tangent.
    With `wanted`, only nodes from which a wanted place can be reached are visited.
    """
    # place -> the sum of the cotangents that have arrived there. Of a node with several results: the list of the places
    # (Output) of those that were used.
    pending: dict[Any, Any] = {}
    # Sums made here may be added to in place; a first arrival may be shared with others and is not touched.
    own: set[Any] = set()
    arrived: dict[Any, Any] = {}
    heap: list[tuple[int, Primitive]] = []
    useful = None if wanted is None else _nodes_towards(roots, wanted)
    freed = None if retain_graph else Freed(_caller())
    heappop = heapq.heappop
    send = _sender(pending, own, heap, useful)
    recording, casting = mode.recording, mode.autocast
    mode.recording, mode.autocast = create_graph, None  # the rules work in the dtypes that forward chose
    try:
        with without_warnings():
            for root, cotangent in zip(roots, cotangents):
                send((root if root.node is None else root.node,), (cotangent,), cotangent)
            while heap:
                node = heappop(heap)[1]
                dz = pending.pop(node)
                if node in own:
                    own.remove(node)
                extra = node.extra
                if type(dz) is list:
                    dz = _collect(dz, pending, own, wanted, arrived, create_graph)
                    tensors = create_graph or any(isinstance(part, Tensor) for part in dz)
                else:
                    if extra is not None and extra.hooks:
                        dz = run_hooks(extra.hooks.get(0), dz, create_graph)
                    tensors = create_graph or isinstance(dz, Tensor)
                    if wanted is not None and node in wanted:
                        arrived[node] = _own(dz)
                if useful is not None and not any(p is not None and p in useful for p in node.parents):
                    continue
                if extra is not None:
                    grads = _special(node, extra, dz, tensors)
                elif tensors:
                    grads = node.vjp(_as_tensors(dz), *saved_tensors(node))
                else:
                    grads = node.vjp(dz, *saved_arrays(node))
                lent = type(grads) is Lent
                if type(grads) is not tuple:
                    grads = tuple(grads) if lent else (grads,)
                if node.broadcasts and node.shapes is not None:
                    grads = [g if g is None or s is None else sum_to(g, s) for g, s in zip(grads, node.shapes)]
                if freed is not None and (node.saved or node.state):  # who keeps nothing can go backward again
                    node.saved = freed
                    if node.state:
                        node.free(freed)
                send(node.parents, grads, Lent if lent else dz)
            for place, dz in pending.items():  # the leaves
                if isinstance(place, Tensor) and place.extra is not None and place.extra.hooks:
                    dz = _own(run_hooks(place.extra.hooks, dz, create_graph))  # the hooks may keep theirs
                arrived[place] = dz
    finally:
        mode.recording, mode.autocast = recording, casting
    return arrived


def _sender(
    pending: dict[Any, Any], own: set[Any], heap: list[tuple[int, Primitive]], useful: set[Any] | None
) -> Callable[[Sequence[Any], Sequence[Any], Any], None]:
    """The function that adds each cotangent to the sum at its place; what is new waits on the heap (leaves wait for the end)."""
    heappush = heapq.heappush

    def send(parents: Sequence[Any], grads: Sequence[Any], shared: Any) -> None:
        for place, g in zip(parents, grads):
            if place is None or g is None or (useful is not None and place not in useful):
                continue
            before = pending.get(place)
            if before is not None:
                if type(before) not in array_types or type(g) not in array_types:  # NumPy's scalars, Tensors
                    pending[place] = before + g
                    own.discard(place)
                elif place in own:
                    before += g
                else:
                    pending[place] = backend_of(before).add(before, g)
                    own.add(place)
            elif isinstance(place, Primitive):
                pending[place] = g
                heappush(heap, (place.order, place))
            elif isinstance(place, Tensor):
                # a leaf keeps what it gets, so it must be its own
                pending[place] = _own(g) if _is_shared(g, shared, grads) else g
                if type(g) in array_types:
                    own.add(place)
            else:
                pending[place] = g
                node = place.node
                if node not in pending:
                    pending[node] = []
                    heappush(heap, (node.order, node))
                pending[node].append(place)

    return send


def _special(node: Primitive, extra: NodeExtra, dz: Any, tensors: bool) -> Any:
    """The cotangents of a node's inputs, where it carries tangents or is watched in anomaly mode."""
    watched = extra.origin is not None
    try:
        if watched:
            refuse_changed(node)
        if tensors or extra.dual:
            grads = node.vjp(_as_tensors(dz), *saved_tensors(node))
        else:
            grads = node.vjp(dz, *saved_arrays(node))
    except Exception as error:
        if watched:
            explain_error(node, error)
        raise
    if watched:
        refuse_nan(node, dz, grads if isinstance(grads, tuple) else (grads,))
    return grads


def _collect(
    places: list[Output],
    pending: dict[Any, Any],
    own: set[Any],
    wanted: set[Any] | None,
    arrived: dict[Any, Any],
    create_graph: bool,
) -> list[Any]:
    """The cotangents of a node's several results, None for those nobody used."""
    parts: list[Any] = [None] * (1 + max(place.position for place in places))
    for place in places:
        dz = pending.pop(place)
        own.discard(place)
        extra = place.node.extra
        if extra is not None and extra.hooks:
            dz = run_hooks(extra.hooks.get(place.position), dz, create_graph)
        parts[place.position] = dz
        if wanted is not None and place in wanted:
            arrived[place] = _own(dz)
    return parts


def _own(dz: Any) -> Any:
    """A cotangent in memory of its own, for someone who keeps it."""
    return dz if isinstance(dz, Tensor) else backend_of(dz).copy(dz)


def _is_shared(g: Any, dz: Any, grads: Sequence[Any]) -> bool:
    """Whether a rule gave as g what a leaf cannot keep: memory of its cotangent dz (as addition and reshape do), what it gave
    to another input too, or one value for many places (as broadcasting does)."""
    if type(g) not in array_types:
        return False
    if dz is Lent:
        return True
    # a broadcast array has strides of 0 or, from NumPy, cannot be written; CuPy's flags do not tell
    if 0 in g.strides or not getattr(g.flags, "writeable", True) or sum(g is other for other in grads) > 1:
        return True
    may_share_memory = backend_of(g).may_share_memory
    for part in dz if type(dz) is list else (dz,):
        if type(part) is type(g) and may_share_memory(part, g):
            return True
    return False


def _nodes_towards(roots: Sequence[Tensor], wanted: set[Any]) -> set[Any]:
    """The places between the roots and the wanted ones: those from which a wanted place can be reached."""
    children: dict[Any, list[Any]] = {}
    stack = [root if root.node is None else root.node for root in roots]
    seen = set(stack)
    found = [place for place in stack if place in wanted]
    while stack:
        place = stack.pop()
        if isinstance(place, Tensor):
            continue
        below = [place.node] if type(place) is Output else place.parents
        for parent in below:
            if parent is None:
                continue
            children.setdefault(parent, []).append(place)
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
                if parent in wanted:
                    found.append(parent)
    useful = set(found)
    while found:
        for place in children.get(found.pop(), ()):
            if place not in useful:
                useful.add(place)
                found.append(place)
    return useful


def _as_tensors(dz: Any) -> Any:
    if type(dz) is list:
        return [None if part is None else _as_tensors(part) for part in dz]
    return dz if isinstance(dz, Tensor) else wrap(dz)


def wrap(array: Any) -> Tensor:
    """A Tensor around what a rule gave: an array or one of NumPy's scalars."""
    backend = backend_of(array)
    return Tensor(array if isinstance(array, backend.array_type) else backend.asarray(array))


def _caller() -> str:
    """file:line of the first frame outside of this package, for the message about a second backward."""
    frame: Any = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "tensorgrad":
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
