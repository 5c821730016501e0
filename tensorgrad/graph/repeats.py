"""Repeated blocks: calls of modules, one after the other, that do the same. Folded, the first stands for all.

Two calls do the same if their operations, settings, shapes and connections are the same. A run of them is folded only if
nothing is lost by it: each copy takes what the one before gives (or what all take alike), and nobody else uses what is
given in between. So the 36 blocks of ResNet-152's third stage are the first, which halves the size, and the 35 others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tensorgrad.graph.structure import GROUP, VALUES, Call, Edge, Graph

LONGEST = 4  # calls that may be repeated together: convolution, norm, activation, pooling


@dataclass
class Repeat:
    """Copies of one or more neighbouring calls; `alias` leads from the nodes of the later copies to those of the first."""

    copies: list[list[int]]
    alias: dict[int, int]

    @property
    def times(self) -> int:
        """How many copies there are."""
        return len(self.copies)


def find_repeats(graph: Graph) -> list[Repeat]:
    """All runs that can be folded, outer ones first; within a run only the first copy is looked into."""
    return _Finder(graph).run()


def fold(graph: Graph) -> Graph:
    """The graph with every run of equal blocks as one block, its call bearing how many `times` it stands for."""
    repeats = find_repeats(graph)
    alias: dict[int, int] = {}
    for repeat in repeats:
        alias.update(repeat.alias)
    keep = [node.number for node in graph.nodes if node.number not in alias]
    numbers = {old: new for new, old in enumerate(keep)}

    def seen(number: int) -> int:
        while number in alias:
            number = alias[number]
        return numbers[number]

    edges: dict[tuple[int, int, int, str], Edge] = {}
    for edge in graph.edges:
        if edge.target in numbers:
            moved = replace(edge, source=seen(edge.source), target=numbers[edge.target])
            edges.setdefault((moved.source, moved.target, moved.result, moved.argument), moved)
    calls, places = _fold_calls(graph, repeats)
    nodes = []
    for old, new in numbers.items():
        call = graph.nodes[old].call
        nodes.append(replace(graph.nodes[old], number=new, call=None if call is None else places[call]))
    return replace(graph, nodes=nodes, edges=list(edges.values()), calls=calls)


def _fold_calls(graph: Graph, repeats: list[Repeat]) -> tuple[list[Call], dict[int, int]]:
    """The calls that stay, numbered anew, with groups around those that are repeated together; old number -> new."""
    starts = {repeat.copies[0][0]: repeat for repeat in repeats}
    grouped: dict[int, Repeat] = {call: repeat for repeat in repeats for call in repeat.copies[0]}
    gone = {call for repeat in repeats for copy in repeat.copies[1:] for call in copy}
    calls: list[Call] = []
    places: dict[int, int] = {}
    groups: dict[int, int] = {}  # first call of a repeat -> number of its group
    for call in graph.calls:
        if call.number in gone or (call.outer is not None and call.outer not in places):
            gone.add(call.number)
            continue
        outer = None if call.outer is None else places[call.outer]
        repeat = grouped.get(call.number)
        times, name = 1, call.name
        if repeat is not None and len(repeat.copies[0]) == 1:
            times, name = repeat.times, _span(graph, repeat)
        elif repeat is not None:
            if call.number in starts:
                groups[call.number] = len(calls)
                calls.append(Call(len(calls), _span(graph, repeat), call.path, GROUP, outer, times=repeat.times))
            outer = groups[repeat.copies[0][0]]
        places[call.number] = len(calls)
        calls.append(replace(call, number=len(calls), outer=outer, times=times, name=name))
    return calls, places


def _span(graph: Graph, repeat: Repeat) -> str:
    first, last = graph.calls[repeat.copies[0][0]], graph.calls[repeat.copies[-1][-1]]
    return first.name if first.name == last.name else f"{first.name} … {last.name}"


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.into = graph.all_edges_into()
        # what backward takes of a block goes with the block
        self.away = [[edge for edge in edges if not self._is_backward(edge)] for edges in graph.all_edges_from()]
        self.inner: dict[int | None, list[int]] = {}
        for call in graph.calls:
            self.inner.setdefault(call.outer, []).append(call.number)
        self.operations: list[list[int]] = [[] for _ in graph.calls]  # those of inner calls included, in order
        for node in graph.nodes:
            at = node.call if node.kind == "operation" else None
            while at is not None:
                self.operations[at].append(node.number)
                at = graph.calls[at].outer
        self.signatures = [self._signature(call) for call in graph.calls]

    def _is_backward(self, edge: Edge) -> bool:
        return self.graph.nodes[edge.target].kind in ("backward", "gradient")

    def run(self) -> list[Repeat]:
        found = []
        queue: list[int | None] = [None]
        while queue:
            siblings = self.inner.get(queue.pop(0), [])
            at = 0
            while at < len(siblings):
                repeat = self._best_from(siblings, at)
                if repeat is None:
                    queue.append(siblings[at])
                    at += 1
                else:
                    found.append(repeat)
                    queue.extend(repeat.copies[0])
                    at += repeat.times * len(repeat.copies[0])
        return found

    def _best_from(self, siblings: list[int], at: int) -> Repeat | None:
        """The run from here that covers most calls; of equal ones that of the shortest block."""
        best: Repeat | None = None
        for period in range(1, LONGEST + 1):
            wanted = [self.signatures[call] for call in siblings[at : at + period]]
            times = 1
            while [self.signatures[c] for c in siblings[at + times * period : at + (times + 1) * period]] == wanted:
                times += 1
            covered = 0 if best is None else best.times * len(best.copies[0])
            while times > 1 and times * period > covered:
                copies = [siblings[at + i * period : at + (i + 1) * period] for i in range(times)]
                alias = self._alias(copies)
                if alias is not None:
                    best = Repeat(copies, alias)
                    break
                times -= 1
        return best

    def _signature(self, call: Call) -> Any:
        """All that a call does, without the names of modules and values outside of it."""
        inside = {number: i for i, number in enumerate(self.operations[call.number])}
        outside: dict[tuple[int, int], int] = {}
        said: list[Any] = [call.kind, len(call.path)] if not inside else [call.kind]
        for number in inside:
            node = self.graph.nodes[number]
            path = (node.path or "")[len(call.path) :]
            sources: list[Any] = []
            for edge in self.into[number]:
                source = self.graph.nodes[edge.source]
                if edge.source in inside:
                    where: Any = inside[edge.source]
                elif source.kind in VALUES:
                    where = (source.kind, source.shape, source.dtype)
                else:
                    where = (
                        "outside",
                        outside.setdefault((edge.source, edge.result), len(outside)),
                        self.graph.shape_of(edge),
                    )
                # what comes from outside may need no gradient in the first copy and yet in the others
                tracked = edge.tracked if edge.source in inside or source.kind in VALUES else None
                sources.append((edge.argument, edge.result, tracked, where))
            said.append((node.name, path, repr(node.settings), tuple(node.shapes), tuple(node.dtypes), tuple(sources)))
        return tuple(map(repr, said))

    def _alias(self, copies: list[list[int]]) -> dict[int, int] | None:
        """From every node of the later copies to that of the first; None if folding would lose something."""
        listed = [sorted(n for call in copy for n in self.operations[call]) for copy in copies]
        if len(listed[0]) < 2:
            return None
        place = {number: (i, j) for i, copy in enumerate(listed) for j, number in enumerate(copy)}
        alias: dict[int, int] = {}
        taken: list[list[Any]] = []
        for i, copy in enumerate(listed):
            outside: list[Any] = []
            for j, number in enumerate(copy):
                if i:
                    alias[number] = listed[0][j]
                for k, edge in enumerate(self.into[number]):
                    source = self.graph.nodes[edge.source]
                    if source.kind in VALUES:
                        first = self.into[listed[0][j]][k].source
                        if edge.source != first:
                            alias[edge.source] = first
                    elif edge.source not in place:
                        outside.append(edge.source)
                    elif place[edge.source][0] != i:
                        if place[edge.source][0] != i - 1:
                            return None
                        outside.append(("before", place[edge.source][1], edge.result))
                if i < len(listed) - 1 and any(
                    edge.target not in place or place[edge.target][0] not in (i, i + 1) for edge in self.away[number]
                ):
                    return None
            taken.append(outside)
        if any(outside != taken[1] for outside in taken[2:]) or len(taken[0]) != len(taken[1]):
            return None
        if any(not isinstance(b, tuple) and a != b for a, b in zip(taken[0], taken[1])):
            return None
        if any(alias.get(source) == source or first in alias for source, first in alias.items()):
            return None
        return alias if self._values_are_theirs(alias, place) else None

    def _values_are_theirs(self, alias: dict[int, int], place: dict[int, tuple[int, int]]) -> bool:
        """Whether the parameters that would vanish are used by nothing but what vanishes with them."""
        return all(edge.target in alias for number in alias if number not in place for edge in self.away[number])
