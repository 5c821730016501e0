"""A graph as JSON text, and back.

    {"format": "tensorgrad graph", "version": 1, "title": ..., "unused": 0,
     "nodes": [{"number": 0, "kind": "input", "name": "x", "shapes": [[1, 3]], "dtypes": ["float32"], ...}, ...],
     "edges": [{"source": 0, "target": 1, "result": 0, "argument": "x", "tracked": false, "saved": false}, ...],
     "calls": [{"number": 0, "name": "", "path": "", "kind": "Net", "outer": null, "repeat": 1, ...}, ...],
     "memory": [12, ...]}

Names are those of tensorgrad.graph.structure, costs those of tensorgrad.graph.costs. What is at its default is left out of
nodes; nan and infinities, which JSON does not have, are written as the texts "nan", "inf" and "-inf".
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, fields
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.graph.costs import Cost
from tensorgrad.graph.structure import Call, Edge, Graph, Node

FORMAT, VERSION = "tensorgrad graph", 1


def to_json(graph: Graph, indent: int | None = None) -> str:
    """The text; the same graph gives the same text.

    >>> import tensorgrad
    >>> from tensorgrad.graph import watch
    >>> graph = watch(lambda x: x * 2.0, tensorgrad.ones(3))
    >>> from_json(to_json(graph)) == graph
    True
    """
    return json.dumps(to_data(graph), indent=indent, ensure_ascii=False, allow_nan=False)


def to_data(graph: Graph) -> dict[str, Any]:
    """The graph as dictionaries and lists of what JSON knows."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "title": graph.title,
        "unused": graph.unused,
        "nodes": [_node_data(node) for node in graph.nodes],
        "edges": [asdict(edge) for edge in graph.edges],
        "calls": [asdict(call) for call in graph.calls],
        "memory": graph.memory,
    }


def from_json(text: str) -> Graph:
    """The graph of a text that `to_json` wrote; raises ArgumentError for another one."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ArgumentError(f"from_json: this is no JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArgumentError(f"from_json: this is no graph; its 'format' must be {FORMAT!r}")
    if data.get("version") != VERSION:
        raise ArgumentError(f"from_json: got version {data.get('version')!r}; this library reads version {VERSION}")
    try:
        return Graph(
            data["title"],
            [_node_from(node) for node in data["nodes"]],
            [Edge(**edge) for edge in data["edges"]],
            [Call(**call) for call in data["calls"]],
            data["memory"],
            data["unused"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArgumentError(f"from_json: the graph is damaged: {error!r}") from error


def _node_data(node: Node) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for part in fields(Node):
        value = getattr(node, part.name)
        default = part.default_factory() if part.default_factory is not MISSING else part.default
        if value == default:
            continue
        if isinstance(value, Cost):
            value = {name: amount for name, amount in asdict(value).items() if amount}
        data[part.name] = _writable(value)
    return data


def _writable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _writable(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(part) for part in value]
    return value


def _node_from(data: dict[str, Any]) -> Node:
    known = dict(data)
    for name in ("statistics", "gradient"):
        if name in known:
            known[name] = {key: float(value) for key, value in known[name].items()}
    if "cost" in known:
        known["cost"] = Cost(**known["cost"])
    if "settings" in known:
        known["settings"] = {key: _tuples(value) for key, value in known["settings"].items()}
    if "shapes" in known:
        known["shapes"] = [None if shape is None else tuple(shape) for shape in known["shapes"]]
    return Node(**known)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return float(value) if value in ("nan", "inf", "-inf") else value
