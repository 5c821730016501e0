"""Parts of a graph: a graph of some of its nodes, the path of the gradients, the surroundings of a name."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import replace

from tensorgrad.errors import ArgumentError, GraphError
from tensorgrad.graph.memory import path_of_gradients
from tensorgrad.graph.structure import Graph, Node


def part(graph: Graph, wanted: Collection[int]) -> Graph:
    """The graph of these nodes and the edges between them; calls stay, nodes are numbered anew."""
    kept = sorted(wanted)
    numbers = {old: new for new, old in enumerate(kept)}
    nodes = [
        replace(
            graph.nodes[old],
            number=new,
            of=numbers.get(graph.nodes[old].of or 0) if graph.nodes[old].of is not None else None,
        )
        for old, new in numbers.items()
    ]
    edges = [
        replace(edge, source=numbers[edge.source], target=numbers[edge.target])
        for edge in graph.edges
        if edge.source in numbers and edge.target in numbers
    ]
    return replace(graph, nodes=nodes, edges=edges)


def gradient_path(graph: Graph) -> Graph:
    """Only that through which gradients flow: from the outputs back to what wants one."""
    path = path_of_gradients(graph)
    if not path:
        raise GraphError(
            "draw: no gradient flows in this graph; it needs a Tensor that requires grad, outside of no_grad, and an output computed "
            "from it"
        )
    outputs = {edge.target for edge in graph.edges if edge.source in path and graph.nodes[edge.target].kind == "output"}
    return part(graph, path | outputs)


def around(graph: Graph, name: str, steps: int = 1) -> Graph:
    """What bears a name, and everything that is at most `steps` edges away from it.

    name  of a module ('layer3.0', with all in it), of a value ('layer3.0.conv1.weight', 'x') or of an operation ('conv2d')
    """
    found = {node.number for node in graph.nodes if _bears(node, name)}
    if not found:
        known = {call.path for call in graph.calls if call.path} | {node.name for node in graph.nodes if node.name}
        close = difflib.get_close_matches(name, sorted(known), 3) or sorted(known)[:5]
        raise ArgumentError(f"draw: nothing in the graph is called {name!r}; it has {', '.join(close)}, ...")
    for _ in range(steps):
        near = {edge.source for edge in graph.edges if edge.target in found}
        found |= near | {edge.target for edge in graph.edges if edge.source in found}
    return part(graph, found)


def _bears(node: Node, name: str) -> bool:
    return node.name == name or (node.path is not None and (node.path == name or node.path.startswith(f"{name}.")))
