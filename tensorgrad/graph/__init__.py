"""Computation graphs: `draw` makes a picture of a result's history or of a model; `read_tape` and `watch` give it as data.

>>> import tensorgrad
>>> w = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
>>> x = tensorgrad.tensor([3.0, 4.0])
>>> picture = draw((w * x).sum().tanh(), names={"w": w, "x": x})
>>> [node.name for node in picture.graph.nodes]
['w', 'x', 'multiply', 'sum', 'tanh', 'output']
"""

from tensorgrad.graph.backward import backward_only, with_backward
from tensorgrad.graph.costs import Cost, costs_of_calls, total_cost
from tensorgrad.graph.drawing import draw, picture_of
from tensorgrad.graph.json_file import from_json, to_json
from tensorgrad.graph.memory import StepMemory, step_memory
from tensorgrad.graph.picture import NO_DOT, GraphvizError, Picture, dot_is_here
from tensorgrad.graph.receptive import Field, receptive_fields
from tensorgrad.graph.repeats import fold
from tensorgrad.graph.select import around, gradient_path
from tensorgrad.graph.structure import Call, Edge, Graph, Node
from tensorgrad.graph.tape import read_tape
from tensorgrad.graph.trace import watch

__all__ = [
    "NO_DOT",
    "Call",
    "Cost",
    "Edge",
    "Field",
    "Graph",
    "GraphvizError",
    "Node",
    "Picture",
    "StepMemory",
    "around",
    "backward_only",
    "costs_of_calls",
    "dot_is_here",
    "draw",
    "fold",
    "from_json",
    "gradient_path",
    "picture_of",
    "read_tape",
    "receptive_fields",
    "step_memory",
    "to_json",
    "total_cost",
    "watch",
    "with_backward",
]
