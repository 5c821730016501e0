"""The memory of a training step, piece by piece, as the tape takes and frees it: forward, then backward, newest node first.

Kernels' own working space and the optimiser's state do not count. In forward a piece is free after its last use, unless a
recorded node keeps it. In backward the rule of a node takes memory for the cotangents of its inputs; afterwards its own
cotangent is free, and what it kept. Gradients of parameters stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy

from tensorgrad.graph.structure import VALUES, Edge, Graph, Node

#: Rules that hand on their cotangent itself: no new memory.
_HANDS_ON = ("add", "identity", "reshape", "transpose")


@dataclass
class StepMemory:
    """Bytes of one training step: fixed (parameters, buffers, input), gradients of parameters, what is kept between forward and
    backward beside the fixed, and the peak of all together, with the operation at which it is reached ('' in front for
    forward's, 'backward of' for backward's)."""

    fixed: int
    gradients: int
    kept: int
    peak: int
    peak_at: str


def step_memory(graph: Graph) -> StepMemory:
    """The memory of a training step on this graph, which starts with the gradient of its outputs.

    >>> import tensorgrad
    >>> from tensorgrad.graph import watch
    >>> w, x = tensorgrad.ones(1000, requires_grad=True), tensorgrad.ones(1000)
    >>> step = step_memory(watch(lambda x: (w * x).exp(), x))
    >>> step.fixed, step.gradients, step.kept  # w and x; w's gradient; the result of exp
    (8000, 4000, 4000)
    """
    return _Step(graph).run()


class _Step:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.into = graph.all_edges_into()
        self.fixed = {piece for node in graph.nodes if node.kind in (*VALUES, "input") for piece in node.writes}
        self.alive: dict[int, int] = {piece: graph.memory[piece] for piece in self.fixed}
        self.peak, self.peak_at = 0, ""
        self.path = path_of_gradients(graph)
        # cotangents: pieces of their own, numbered down from -1
        self.users: dict[int, int] = {}
        self.pending: dict[tuple[int, int], int] = {}

    def note(self, where: str) -> None:
        """Look whether it is more than ever."""
        size = sum(self.alive.values())
        if size > self.peak:
            self.peak, self.peak_at = size, where

    def run(self) -> StepMemory:
        self._forward()
        kept = sum(self.graph.memory[piece] for piece in self.keepers if piece not in self.fixed)
        self._backward()
        fixed = sum(self.graph.memory[piece] for piece in self.fixed)
        gradients = sum(self.alive[piece] for piece in set(self.pending.values()))
        return StepMemory(fixed, gradients, kept, self.peak, self.peak_at)

    def _forward(self) -> None:
        last: dict[int, int] = {}
        for node in self.graph.nodes:
            for piece in (*node.reads, *node.writes):
                last[piece] = node.number
        self.keepers: dict[int, int] = {}
        self.results = {piece for node in self.graph.nodes if node.kind == "output" for piece in node.reads}
        for node in self.graph.nodes:
            if node.number in self.path:
                for piece in node.keeps:
                    self.keepers[piece] = self.keepers.get(piece, 0) + 1
        ends: dict[int, list[int]] = {}
        for piece, number in last.items():
            ends.setdefault(number, []).append(piece)
        for node in self.graph.nodes:
            for piece in (*node.writes, *node.keeps):
                self.alive.setdefault(piece, self.graph.memory[piece])
            self.note(node.name)
            for piece in ends.get(node.number, ()):
                self._free(piece)

    def _free(self, piece: int) -> None:
        if piece not in self.fixed and piece not in self.results and not self.keepers.get(piece):
            self.alive.pop(piece, None)

    def _backward(self) -> None:
        for node in self.graph.nodes:
            if node.kind == "output":
                for edge in self.into[node.number]:
                    if edge.tracked:
                        self._send(edge, self._new(edge))
        for node in reversed(self.graph.nodes):
            if node.number in self.path and node.kind == "operation":
                self._rule(node)

    def _rule(self, node: Node) -> None:
        cotangents = [self.pending.pop(place) for place in list(self.pending) if place[0] == node.number]
        tracked = [edge for edge in self.into[node.number] if edge.tracked]
        sent = []
        for edge in tracked:
            same = (
                cotangents and self.graph.shape_of(edge) is not None and self._size(edge) == self.alive[cotangents[0]]
            )
            if node.name in _HANDS_ON and same and not self._is_leaf(edge):
                self.users[cotangents[0]] += 1
                sent.append(cotangents[0])
            else:
                sent.append(self._new(edge))
        self.note(f"backward of {node.name}")
        for edge, piece in zip(tracked, sent):
            self._send(edge, piece)
        for piece in cotangents:
            self._drop(piece)
        for piece in node.keeps:
            self.keepers[piece] -= 1
            self._free(piece)

    def _new(self, edge: Edge) -> int:
        piece = -1 - len(self.users)
        self.users[piece] = 1
        self.alive[piece] = self._size(edge)
        return piece

    def _drop(self, piece: int) -> None:
        self.users[piece] -= 1
        if not self.users[piece]:
            self.alive.pop(piece, None)

    def _send(self, edge: Edge, piece: int) -> None:
        """A cotangent arrives at the value on an edge: it is added to what is there, or waits; at a parameter it stays."""
        place = (edge.source, edge.result)
        if place in self.pending:
            before = self.pending[place]
            if self.users[before] > 1:  # a sum in memory of its own
                self._drop(before)
                self.pending[place] = self._new(edge)
                self.note("a sum of gradients")
            self._drop(piece)
        else:
            self.pending[place] = piece

    def _is_leaf(self, edge: Edge) -> bool:
        return self.graph.nodes[edge.source].kind != "operation"

    def _size(self, edge: Edge) -> int:
        source = self.graph.nodes[edge.source]
        shape, dtype = self.graph.shape_of(edge), source.dtypes[edge.result]
        return 0 if shape is None or dtype is None else math.prod(shape) * numpy.dtype(dtype).itemsize


def path_of_gradients(graph: Graph) -> set[int]:
    """The nodes through which a gradient flows from an output back to a value that wants one."""
    into = graph.all_edges_into()
    found: set[int] = set()
    stack = [node.number for node in graph.nodes if node.kind == "output"]
    while stack:
        for edge in into[stack.pop()]:
            if edge.tracked and edge.source not in found:
                found.add(edge.source)
                stack.append(edge.source)
    return found
