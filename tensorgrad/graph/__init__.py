"""Computation graphs: `draw` makes a picture of a result's history or of a model; `read_tape` and `watch` give it as data.

>>> import tensorgrad
>>> w = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
>>> x = tensorgrad.tensor([3.0, 4.0])
>>> picture = draw((w * x).sum().tanh(), names={"w": w, "x": x})
>>> [node.name for node in picture.graph.nodes]
['w', 'x', 'multiply', 'sum', 'tanh', 'output']
"""

from tensorgrad.graph.picture import (
    NO_DOT,
    GraphvizError,
    Picture,
    dot_is_here,
    draw,
    picture_of,
)
from tensorgrad.graph.structure import Call, Edge, Graph, Node
from tensorgrad.graph.trace import read_tape, watch

__all__ = [
    "NO_DOT",
    "Call",
    "Edge",
    "Graph",
    "GraphvizError",
    "Node",
    "Picture",
    "dot_is_here",
    "draw",
    "picture_of",
    "read_tape",
    "watch",
]
