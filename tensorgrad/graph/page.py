"""A graph as one HTML page that needs nothing else: zoom, pan, search, modules that open and close, hover for costs."""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Any

from tensorgrad.graph.json_file import to_data
from tensorgrad.graph.receptive import Fields, receptive_fields
from tensorgrad.graph.repeats import find_repeats
from tensorgrad.graph.structure import Graph, Node
from tensorgrad.graph.texts import settings_text, shape_text
from tensorgrad.graph.view import View

#: What the page calls the costs; the others are not shown.
WORDS = {
    "parameters": "parameters",
    "trainable": "trainable parameters",
    "macs": "MACs",
    "flops": "FLOPs",
    "backward_flops": "FLOPs backward",
    "activation": "bytes of activations",
    "kept": "bytes kept for backward",
    "seconds": "time forward",
    "backward_seconds": "time backward",
}


def page_of(graph: Graph, dark: bool = False) -> str:
    """The page's text; layout and behaviour are in page.js, looks in page.html beside this file."""
    folder = resources.files("tensorgrad.graph")
    # "</" would end the script element, and "<!--" open a comment, wherever they stand in it
    data = json.dumps(_data(graph), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "__THEME__": "dark" if dark else "light",
        "__TITLE__": html.escape(graph.title or "computation graph"),
        "__SCRIPT__": (folder / "page.js").read_text(encoding="utf-8"),
        "__DATA__": data,
    }
    text = (folder / "page.html").read_text(encoding="utf-8")
    for name, value in parts.items():
        before, after = text.split(name, 1)
        text = before + value + after
    return text


def _data(graph: Graph) -> dict[str, Any]:
    data = to_data(graph)
    hidden = View(graph).hidden
    fields = receptive_fields(graph)
    into = graph.all_edges_into()
    repeats = find_repeats(graph)
    aliases = [_with_backward(graph, repeat.alias) for repeat in repeats]
    nodes = []
    for node, known in zip(graph.nodes, data["nodes"]):
        flowing = [edge.source for edge in into[node.number] if not edge.saved]
        nodes.append(
            {
                **{name: known.get(name) for name in ("cost", "statistics", "gradient", "source", "failed")},
                "number": node.number,
                "kind": node.kind,
                "name": node.name,
                "label": _label(node),
                "text": "" if node.failed else settings_text(node),
                "shape": shape_text(node.shape),
                "dtype": node.dtype,
                "call": node.call,
                "path": node.path,
                "of": node.of,
                "saves": node.saves,
                "hidden": node.number in hidden,
                "through": flowing[0] if flowing else None,
                "field": _field_text(fields[node.number]),
            }
        )
    edges = [
        {
            "source": edge.source,
            "target": edge.target,
            "tracked": edge.tracked,
            "saved": edge.saved,
            "shape": shape_text(graph.shape_of(edge)),
        }
        for edge in graph.edges
    ]
    parameters = graph.number_of_parameters()
    return {
        "title": f"{graph.title or 'computation graph'}: {parameters:,} parameters",
        "words": WORDS,
        "nodes": nodes,
        "edges": edges,
        "calls": data["calls"],
        "repeats": [
            {"copies": repeat.copies, "alias": sorted(alias.items())} for repeat, alias in zip(repeats, aliases)
        ],
    }


def _with_backward(graph: Graph, alias: dict[int, int]) -> dict[int, int]:
    """Backward operations and gradients go the way of what they belong to."""
    twins = {node.of: node.number for node in graph.nodes if node.of is not None}
    return {**alias, **{twins[a]: twins[b] for a, b in alias.items() if a in twins and b in twins}}


def _label(node: Node) -> str:
    name = node.name
    return name[len(node.path) + 1 :] if node.path and name.startswith(f"{node.path}.") else name


def _field_text(fields: Fields | None) -> str:
    if fields is None:
        return ""
    sizes, strides, centres = (
        [f"{getattr(field, what):g}" for field in fields] for what in ("size", "stride", "centre")
    )
    return f"{'×'.join(sizes)}, stride {'×'.join(strides)}, centre ({', '.join(centres)})"
