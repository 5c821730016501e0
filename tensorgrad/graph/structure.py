"""The graph of a computation as plain data: what was applied to what, in which module. Everything drawn is a view of it.

    Graph       nodes in the order in which they came into being, the edges between them, the calls of modules, the memory
    Node        an operation (one application of a primitive), or a value that enters or leaves: input, parameter, ...
    Edge        result number `result` of one node is argument `argument` of another
    Call        one call of a module inside another call; a module called twice has two

Nodes, edges and calls hold names, numbers and shapes, never a Tensor: a graph keeps nothing of the computation alive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy

if TYPE_CHECKING:
    from tensorgrad.graph.costs import Cost

Kind = Literal["operation", "input", "parameter", "buffer", "constant", "output", "backward", "gradient"]
Shape = tuple[int, ...]

#: The kind of a call that is none: several calls that are repeated together.
GROUP = "repeated"
#: Kinds of nodes that compute something.
OPERATIONS = ("operation", "backward")
#: Kinds of values that a computation uses besides its inputs.
VALUES = ("parameter", "buffer", "constant")


@dataclass
class Node:
    """An operation, or a value that enters or leaves the computation.

    number    its position in Graph.nodes
    name      an operation's name on the tape ('conv2d'), a value's name ('conv1.weight', 'x')
    settings  an operation's settings, as numbers, texts and tuples of them
    shapes, dtypes  of every result; None where the tape does not tell
    tracked   whether gradients flow through it
    call      the call of a module it belongs to, a number in Graph.calls; None outside of all modules
    path      the dotted path of that module, '' for the outermost one; None outside
    view      the operation only looks at its input's memory in another way
    reads, writes, keeps  the memory that it reads, that holds its results, and that it keeps for backward: numbers in
              Graph.memory
    source    the line of the program that applied it, 'models/lenet.py:60'
    seconds, backward_seconds  how long it took, where that was measured
    statistics, gradient  mean, std, ... of its first result, and of the gradient of that, where they were asked for
    cost      what it costs, see tensorgrad.graph.costs
    failed    what went wrong, for the operation at which a run ended
    saves     what it keeps for backward, by name: arguments, 'out' for its result, attributes such as 'winners'
    of        the operation (or parameter) that this backward operation (or gradient) belongs to
    """

    number: int
    kind: Kind
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    shapes: list[Shape | None] = field(default_factory=list)
    dtypes: list[str | None] = field(default_factory=list)
    tracked: bool = False
    call: int | None = None
    path: str | None = None
    view: bool = False
    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    keeps: list[int] = field(default_factory=list)
    saves: list[str] = field(default_factory=list)
    source: str = ""
    seconds: float | None = None
    backward_seconds: float | None = None
    statistics: dict[str, float] | None = None
    gradient: dict[str, float] | None = None
    cost: Cost | None = None
    failed: str = ""
    of: int | None = None

    @property
    def shape(self) -> Shape | None:
        """The shape of its first result."""
        return self.shapes[0] if self.shapes else None

    @property
    def dtype(self) -> str | None:
        """The dtype of its first result."""
        return self.dtypes[0] if self.dtypes else None

    @property
    def size(self) -> int:
        """How many numbers its first result holds; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes all its results are, as far as known."""
        known = [(shape, dtype) for shape, dtype in zip(self.shapes, self.dtypes) if shape is not None and dtype]
        return sum(math.prod(shape) * numpy.dtype(dtype).itemsize for shape, dtype in known)


@dataclass(frozen=True)
class Edge:
    """Result number `result` of node `source` is the argument called `argument` of node `target`.

    tracked  whether a gradient flows back along it
    saved    it is a value that backward finds saved, not one that flows
    """

    source: int
    target: int
    result: int = 0
    argument: str = ""
    tracked: bool = False
    saved: bool = False


@dataclass
class Call:
    """One call of a module.

    name    its name in the calling module ('conv1'); the dotted way to it where modules that are not called themselves
            (a ModuleList) lie between ('blocks.0')
    path    its dotted path from the outermost module, '' for that one
    kind    its class
    outer   the call it happened in, a number in Graph.calls
    repeat  1 for the first call of this module, 2 for the second, ...
    of      the call whose backward this is
    times   how many equal calls it stands for, where repeats are folded
    """

    number: int
    name: str
    path: str
    kind: str
    outer: int | None
    repeat: int = 1
    of: int | None = None
    times: int = 1


@dataclass
class Graph:
    """What was computed from what.

    memory  bytes of each piece of memory that the nodes read, write and keep
    unused  how many numbers the parameters hold that the model has and did not use
    """

    title: str = ""
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    unused: int = 0

    def __repr__(self) -> str:
        operations = sum(node.kind in OPERATIONS for node in self.nodes)
        name = f"{self.title!r}, " if self.title else ""
        return f"Graph({name}{operations} operations, {len(self.nodes) - operations} values, {len(self.calls)} calls)"

    def edges_into(self, node: Node) -> list[Edge]:
        """The edges that end at a node, in the order of its arguments."""
        return [edge for edge in self.edges if edge.target == node.number]

    def edges_from(self, node: Node) -> list[Edge]:
        """The edges that start at a node, in the order of their use."""
        return [edge for edge in self.edges if edge.source == node.number]

    def all_edges_into(self) -> list[list[Edge]]:
        """For every node the edges that end there."""
        into: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            into[edge.target].append(edge)
        return into

    def all_edges_from(self) -> list[list[Edge]]:
        """For every node the edges that start there."""
        away: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            away[edge.source].append(edge)
        return away

    def shape_of(self, edge: Edge) -> Shape | None:
        """The shape of the value on an edge."""
        shapes = self.nodes[edge.source].shapes
        return shapes[edge.result] if edge.result < len(shapes) else None

    def number_of_parameters(self) -> int:
        """How many numbers the parameters that it uses hold together; a shared parameter counts once."""
        return sum(node.size for node in self.nodes if node.kind == "parameter")

    def failure(self) -> Node | None:
        """The operation at which the run ended, None where it did not fail."""
        return next((node for node in self.nodes if node.failed), None)

    def levels(self) -> list[int]:
        """How deep each call lies: 0 for an outermost one. A group of repeated calls is no level of its own."""
        levels: list[int] = []
        for call in self.calls:
            above = -1 if call.outer is None else levels[call.outer]
            levels.append(above if call.kind == GROUP else above + 1)
        return levels
