"""What of a graph is drawn: which boxes stand in which frames, and which arrows run between them.

Plumbing is left out, deep modules stay closed as one box, and a module that does a single thing is that one box.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tensorgrad.graph.costs import Cost
from tensorgrad.graph.structure import OPERATIONS, VALUES, Call, Edge, Graph, Node, Shape

PLUMBING = ("identity", "contiguous")


@dataclass
class Box:
    """What is drawn as one.

    kind   that of its node, or 'module' for a closed call of a module
    nodes  its node, or all that a closed call holds
    call   the call whose name it bears: a closed one, or one that holds nothing but this node
    frame  the call in whose frame it stands; None for none
    """

    kind: Literal["operation", "input", "parameter", "buffer", "constant", "output", "backward", "gradient", "module"]
    nodes: list[Node]
    call: Call | None
    frame: int | None
    leaving: list[Shape | None] = field(default_factory=list)  # shapes of what leaves a closed call
    cost: Cost = field(default_factory=Cost)  # of all that it holds, parameters that are not drawn included


@dataclass(frozen=True)
class Arrow:
    """A value on its way from box `tail` to box `head`: result `result` of node `source`, as `argument` of node `target`."""

    tail: int
    head: int
    source: int
    result: int
    target: int
    argument: str
    saved: bool = False


class View:
    """Boxes and arrows of a graph, by what the reader wants to see; for the arguments see `tensorgrad.graph.draw`."""

    def __init__(
        self,
        graph: Graph,
        *,
        parameters: bool = True,
        plumbing: bool = False,
        depth: int | Literal["layers"] | None = None,
        close_layers: bool = False,
    ) -> None:
        self.graph = graph
        self.close_layers = close_layers or depth == "layers"
        depth = None if depth == "layers" else depth
        self.boxes: dict[int, Box] = {}  # by the number of the node, or -1 - number of the closed call
        self.arrows: list[Arrow] = []
        self._into: list[list[Edge]] = [[] for _ in graph.nodes]
        for edge in graph.edges:
            self._into[edge.target].append(edge)
        self._levels = graph.levels()
        self._has_calls = {call.outer for call in graph.calls}
        self.hidden = set() if plumbing else self._plumbing()
        shown = [
            node for node in graph.nodes if node.number not in self.hidden and (parameters or node.kind not in VALUES)
        ]
        self._box_of: dict[int, int] = {}  # number of a node -> its box
        self._make_boxes(shown, depth)
        self._make_arrows(shown)
        self.frames = self._make_frames()

    def _plumbing(self) -> set[int]:
        """Identities, views of parameters and the like, views that lead nowhere, and reshapes that are reshaped again."""
        uses = [0] * len(self.graph.nodes)
        for edge in self.graph.edges:
            uses[edge.source] += 1
        hidden: set[int] = set()
        for node in reversed(self.graph.nodes):
            if node.view and not uses[node.number] and node.kind == "operation":
                hidden.add(node.number)
                for edge in self._into[node.number]:
                    uses[edge.source] -= 1
        for node in self.graph.nodes:
            if node.kind == "operation" and self._into[node.number]:
                origin = self._seen_end(self._into[node.number][0], hidden)[0]
                if node.name in PLUMBING or (node.view and self.graph.nodes[origin].kind in VALUES):
                    hidden.add(node.number)
                elif node.name == "reshape" and self.graph.nodes[origin].name == "reshape" and uses[origin] == 1:
                    hidden.add(origin)
        away = self.graph.all_edges_from()
        for node in self.graph.nodes:  # what has nothing to show has no backward to show, nor has a view of a parameter
            if node.kind == "backward" and sum(not edge.saved for edge in self._into[node.number]) == 1:
                ends = [self.graph.nodes[edge.target].kind for edge in away[node.number]]
                if node.of in hidden or (node.view and ends == ["gradient"]):
                    hidden.add(node.number)
        return hidden

    def _seen_end(self, edge: Edge, hidden: set[int]) -> tuple[int, int]:
        """Where an edge starts once the hidden nodes are passed over: a node and its result."""
        source, result = edge.source, edge.result
        while source in hidden and self._into[source]:
            before = self._into[source][0]
            source, result = before.source, before.result
        return source, result

    def _make_boxes(self, shown: list[Node], depth: int | None) -> None:
        held = [0] * len(self.graph.calls)  # how many nodes a call holds, those of inner calls included
        directly = [0] * len(self.graph.calls)
        for node in shown:
            if node.call is not None:
                directly[node.call] += 1
                held[node.call] += 1
        for call in reversed(self.graph.calls):  # inner calls come after outer ones
            if call.outer is not None:
                held[call.outer] += held[call.number]
        for node in shown:
            at = None if node.call is None else self.graph.calls[node.call]
            closed = None if at is None else self._closed_around(at, depth)
            if closed is not None:
                box = self.boxes.setdefault(-1 - closed.number, Box("module", [], closed, closed.outer))
                box.nodes.append(node)
                self._box_of[node.number] = -1 - closed.number
                continue
            self._box_of[node.number] = node.number
            if at is not None and at.outer is not None and held[at.number] == 1 and node.kind in OPERATIONS:
                self.boxes[node.number] = Box(node.kind, [node], at, at.outer)
            else:
                self.boxes[node.number] = Box(node.kind, [node], None, node.call)
        self._add_costs(depth)

    def _add_costs(self, depth: int | None) -> None:
        """To every box the costs of its nodes, those of repeated inner calls as often as they are repeated."""
        for node in self.graph.nodes:
            at = None if node.call is None else self.graph.calls[node.call]
            closed = None if at is None else self._closed_around(at, depth)
            box = self.boxes.get(node.number if closed is None else -1 - closed.number)
            if box is None or node.cost is None:
                continue
            times = 1
            while at is not None and closed is not None and at.number != closed.number:
                times *= at.times
                at = None if at.outer is None else self.graph.calls[at.outer]
            for _ in range(times):
                box.cost += node.cost

    def _closed_around(self, call: Call, depth: int | None) -> Call | None:
        """The outermost closed call around this one: that of level `depth`, if this one lies so deep; else, where the
        innermost modules are closed, this one if no other call happened in it."""
        if depth is None or self._levels[call.number] < depth:
            innermost = self.close_layers and call.number not in self._has_calls and call.outer is not None
            return call if innermost else None
        while (
            call.outer is not None and self._levels[call.outer] >= depth
        ):  # a group has the level of what is around it
            call = self.graph.calls[call.outer]
        return call

    def _make_arrows(self, shown: list[Node]) -> None:
        seen: set[tuple[int, ...]] = set()
        left: set[tuple[int, int]] = set()
        for node in shown:
            head = self._box_of[node.number]
            for edge in self._into[node.number]:
                source, result = self._seen_end(edge, self.hidden)
                tail = self._box_of.get(source)
                if tail is None:
                    continue  # a parameter that is not wanted
                if tail < 0 or head < 0:
                    backward = edge.saved or self.graph.nodes[source].kind == "backward"
                    # one arrow for all that is saved in a module, or flows back between two
                    key = (head, -1, tail, edge.saved) if backward else (head, source, result, edge.saved)
                    if tail == head or key in seen:
                        continue  # inside of a closed module, or one value that is used in it more than once
                    if tail < 0 and (source, result) not in left and not edge.saved:
                        left.add((source, result))
                        self.boxes[tail].leaving.append(self.graph.nodes[source].shapes[result])
                    seen.add(key)
                self.arrows.append(Arrow(tail, head, source, result, node.number, edge.argument, edge.saved))

    def _make_frames(self) -> list[Call]:
        """The calls that are drawn as frames: those with a box in them. The outermost one only if something else happened."""
        used: set[int] = set()
        for box in self.boxes.values():
            at = box.frame
            while at is not None and at not in used:
                used.add(at)
                at = self.graph.calls[at].outer
        outermost = {call.number for call in self.graph.calls if call.outer is None and call.number in used}
        inside = (*OPERATIONS, "module")
        outside = any(box.frame is None and box.kind in inside for box in self.boxes.values())
        if len(outermost) == 1 and not outside:
            used -= outermost
        return [call for call in self.graph.calls if call.number in used]
