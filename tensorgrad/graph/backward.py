"""The graph of a backward pass, beside the forward graph that it belongs to.

Every operation on the path of the gradients has a backward operation: its rule, which takes the cotangent of its result and
gives those of its inputs. Arrows that meet there add up. What a rule finds saved comes over a `saved` edge from where it was
computed. Every parameter, and every input that wants one, ends in a gradient.
"""

from __future__ import annotations

from dataclasses import replace

from tensorgrad.graph.costs import cost_of_backward
from tensorgrad.graph.memory import path_of_gradients
from tensorgrad.graph.select import gradient_path, part
from tensorgrad.graph.structure import Call, Edge, Graph, Node


def with_backward(graph: Graph) -> Graph:
    """The graph and its backward pass; raises GraphError where no gradient flows.

    >>> import tensorgrad
    >>> from tensorgrad.graph import read_tape
    >>> w = tensorgrad.ones(2, requires_grad=True)
    >>> whole = with_backward(read_tape((w * w).exp(), {"w": w}))
    >>> [node.name for node in whole.nodes if node.kind in ("backward", "gradient")]
    ['grad of output', 'exp backward', 'multiply backward', 'w.grad']
    """
    gradient_path(graph)  # refuses where there is none
    return _Backward(graph).build()


def backward_only(graph: Graph) -> Graph:
    """The backward pass of a graph alone."""
    whole = with_backward(graph)
    return part(whole, [node.number for node in whole.nodes if node.kind in ("backward", "gradient")])


class _Backward:
    def __init__(self, graph: Graph) -> None:
        self.graph = replace(graph, nodes=list(graph.nodes), edges=list(graph.edges), calls=list(graph.calls))
        self.into = graph.all_edges_into()
        self.away = graph.all_edges_from()
        self.path = path_of_gradients(graph)
        self.twins: dict[int, int] = {}  # a node -> the backward operation or gradient that belongs to it
        self.calls: dict[int, int] = {}

    def build(self) -> Graph:
        forward = list(self.graph.nodes)
        for node in forward:
            if node.kind == "output" and any(edge.tracked for edge in self.into[node.number]):
                self._add(node, "gradient", f"grad of {node.name}", [node.shape], [node.dtype])
        for node in reversed(forward):
            if node.number in self.path:
                if node.kind == "operation":
                    self._add_rule(node)
                else:
                    name = f"{node.name}.grad" if node.name else "grad"
                    self._add(node, "gradient", name, [node.shape], [node.dtype])
                self._connect(node)
        return self.graph

    def _add_rule(self, node: Node) -> None:
        wanted = [edge for edge in self.into[node.number] if edge.tracked]
        shapes = [self.graph.shape_of(edge) for edge in wanted]
        dtypes = [self.graph.nodes[edge.source].dtypes[edge.result] for edge in wanted]
        self._add(node, "backward", f"{node.name} backward", shapes, dtypes)
        self.graph.nodes[-1].cost = cost_of_backward(self.graph, node, self.into[node.number])

    def _add(self, node: Node, kind: str, name: str, shapes: list, dtypes: list) -> None:  # type: ignore[type-arg]
        twin = Node(
            len(self.graph.nodes),
            kind,  # type: ignore[arg-type]
            name,
            shapes=shapes,
            dtypes=dtypes,
            tracked=True,
            call=self._call(node.call),
            path=node.path,
            view=node.view,
            source=node.source,
            seconds=node.backward_seconds,
            statistics=node.gradient,
            of=node.number,
        )
        self.twins[node.number] = twin.number
        self.graph.nodes.append(twin)

    def _connect(self, node: Node) -> None:
        """The cotangents that arrive, in the order of the uses; then what is found saved."""
        twin = self.twins[node.number]
        for edge in reversed(self.away[node.number]):
            if edge.tracked and edge.target in self.twins:
                wanted = [other for other in self.into[edge.target] if other.tracked]
                result = 0 if self.graph.nodes[edge.target].kind == "output" else wanted.index(edge)
                self.graph.edges.append(Edge(self.twins[edge.target], twin, result, "dz", True))
        if node.kind != "operation":
            return
        given = {edge.argument: edge for edge in self.into[node.number]}
        for name in node.saves:
            if name in given:
                saved = replace(given[name], target=twin, tracked=False, saved=True)
            else:
                saved = Edge(node.number, twin, 0, name, saved=True)
            self.graph.edges.append(saved)

    def _call(self, number: int | None) -> int | None:
        """The backward of a call; outer ones first."""
        new = []
        while number is not None and number not in self.calls:
            new.append(number)
            number = self.graph.calls[number].outer
        outer = None if number is None else self.calls[number]
        for number in reversed(new):
            call: Call = self.graph.calls[number]
            outer = self.calls[number] = len(self.graph.calls)
            above = None if call.outer is None else self.calls[call.outer]
            self.graph.calls.append(replace(call, number=outer, outer=above, of=number))
        return outer
