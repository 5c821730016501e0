"""The graph of a computation as plain data: what was applied to what, in which module. Everything drawn is a view of it.

    Graph       nodes in the order in which they came into being, the edges between them, the calls of modules
    Node        an operation (one application of a primitive), or a value that enters or leaves: input, parameter, ...
    Edge        result number `result` of one node is argument `argument` of another
    Call        one call of a module inside another call; a module called twice has two

Nodes, edges and calls hold names, numbers and shapes, never a Tensor: a graph keeps nothing of the computation alive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy

from tensorgrad.backend import backend_of, is_array
from tensorgrad.device import Device
from tensorgrad.mode import Scope
from tensorgrad.primitive import Primitive, View
from tensorgrad.tensor import Tensor

Kind = Literal["operation", "input", "parameter", "buffer", "constant", "output"]
Shape = tuple[int, ...]


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


@dataclass(frozen=True)
class Edge:
    """Result number `result` of node `source` is the argument called `argument` of node `target`."""

    source: int
    target: int
    result: int = 0
    argument: str = ""


@dataclass
class Call:
    """One call of a module.

    name    its name in the calling module ('conv1'); the dotted way to it where modules that are not called themselves
            (a ModuleList) lie between ('blocks.0')
    path    its dotted path from the outermost module, '' for that one
    kind    its class
    outer   the call it happened in, a number in Graph.calls
    repeat  1 for the first call of this module, 2 for the second, ...
    """

    number: int
    name: str
    path: str
    kind: str
    outer: int | None
    repeat: int = 1


@dataclass
class Graph:
    """What was computed from what."""

    title: str = ""
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __repr__(self) -> str:
        operations = sum(node.kind == "operation" for node in self.nodes)
        name = f"{self.title!r}, " if self.title else ""
        return f"Graph({name}{operations} operations, {len(self.nodes) - operations} values, {len(self.calls)} calls)"

    def edges_into(self, node: Node) -> list[Edge]:
        """The edges that end at a node, in the order of its arguments."""
        return [edge for edge in self.edges if edge.target == node.number]

    def edges_from(self, node: Node) -> list[Edge]:
        """The edges that start at a node, in the order of their use."""
        return [edge for edge in self.edges if edge.source == node.number]

    def number_of_parameters(self) -> int:
        """How many numbers the parameters that it uses hold together; a shared parameter counts once."""
        return sum(node.size for node in self.nodes if node.kind == "parameter")


Place = tuple[int, int]  # where a value comes from: the number of a node, and which of its results


class Builder:
    """Puts a graph together; the two ways to trace (reading the tape, watching a run) are built on it.

    names  names that the user gives to Tensors; on the tape, a named leaf without a gradient is an input
    """

    def __init__(self, names: dict[str, Tensor]) -> None:
        self.graph = Graph()
        self.given = {id(x.array): name for name, x in names.items()}
        self.owners: dict[int, tuple[Kind, str, Any]] = {}  # of parameters and buffers: kind, full name, module
        self.roots: dict[int, str] = {}  # outermost module -> its path
        self._modules: list[Any] = []  # of the calls; held, so that ids stay theirs
        self._calls: dict[int, int] = {}  # Scope -> number of its call
        self._scopes: list[Scope] = []
        self._children: dict[int, dict[int, str]] = {}
        self._times: dict[str, int] = {}

    # modules

    def call_of(self, scope: Scope | None) -> int | None:
        """The number of the call that a scope stands for; new ones are entered from the outside in."""
        new: list[Scope] = []
        while scope is not None and id(scope) not in self._calls:
            new.append(scope)
            scope = scope.outer
        number = None if scope is None else self._calls[id(scope)]
        for scope in reversed(new):
            number = self._enter(scope, number)
        return number

    def _enter(self, scope: Scope, outer: int | None) -> int:
        module = scope.module()
        kind = "module" if module is None else type(module).__name__  # the model is gone, its tape is not
        if outer is None:
            path = name = self.enter_root(module, kind)
        else:
            name = self._names_below(self._modules[outer]).get(id(module), kind)
            above = self.graph.calls[outer].path
            path = f"{above}.{name}" if above else name
        repeat = 1
        if module is not None:
            repeat = self._times[path] = self._times.get(path, 0) + 1
        number = len(self.graph.calls)
        self.graph.calls.append(Call(number, name, path, kind, outer, repeat))
        self._modules.append(module)
        self._scopes.append(scope)
        self._calls[id(scope)] = number
        return number

    def enter_root(self, module: Any, kind: str) -> str:
        """An outermost module: its path is '' if it is the first one, else its class, numbered if need be."""
        if id(module) not in self.roots:
            path, number = kind if self.roots else "", 2
            while path in self.roots.values():
                path, number = f"{kind} {number}", number + 1
            self.roots[id(module)] = path
            self._enter_state(module, path)
        return self.roots[id(module)]

    def _names_below(self, module: Any) -> dict[int, str]:
        """The modules inside of a module, by identity, with their dotted way from it; the nearest way counts."""
        if id(module) not in self._children:
            found: dict[int, str] = {}
            level = [("", module)]
            while level:
                below = []
                for prefix, parent in level:
                    for name, child in getattr(parent, "_modules", {}).items():
                        if child is not None and id(child) not in found:
                            found[id(child)] = prefix + name
                            below.append((f"{prefix}{name}.", child))
                level = below
            self._children[id(module)] = found
        return self._children[id(module)]

    def _enter_state(self, root: Any, path: str) -> None:
        """Learn the names of the parameters and buffers of an outermost module and of all modules inside."""
        for prefix, module in walk_modules(root, path):
            tables: list[tuple[Kind, str]] = [("parameter", "_parameters"), ("buffer", "_buffers")]
            for kind, table in tables:
                for name, value in getattr(module, table, {}).items():
                    if value is not None and id(value.array) not in self.owners:
                        self.owners[id(value.array)] = (kind, f"{prefix}.{name}" if prefix else name, module)

    # nodes

    def add(self, kind: Kind, name: str, call: int | None = None, **known: Any) -> Node:
        """A new node."""
        path = None if call is None else self.graph.calls[call].path
        node = Node(len(self.graph.nodes), kind, name, call=call, path=path, **known)
        self.graph.nodes.append(node)
        return node

    def connect(self, place: Place, target: Node, argument: str = "") -> None:
        """A new edge."""
        self.graph.edges.append(Edge(place[0], target.number, place[1], argument))

    def is_named(self, x: Any) -> bool:
        """Whether the user or a module has a name for this value."""
        return isinstance(x, Tensor) and (id(x.array) in self.given or id(x.array) in self.owners)

    def add_value(self, x: Tensor, kind: Kind, name: str, call: int | None = None) -> Node:
        """A node for a value that no operation of this graph made."""
        return self.add(kind, name, call, shapes=[tuple(x.shape)], dtypes=[str(x.dtype)], tracked=x.tracked)

    def add_leaf(self, x: Tensor, call: int | None) -> Node:
        """A node for a value that the operation in `call` is the first to use: a parameter, a buffer or a constant.

        A parameter stands in the call of the module that owns it, seen from `call` outwards.
        """
        given = self.given.get(id(x.array))
        if id(x.array) in self.owners:
            kind, name, owner = self.owners[id(x.array)]
            at = call
            while at is not None and self._modules[at] is not owner:
                at = self.graph.calls[at].outer
            return self.add_value(x, kind, given or name, call if at is None else at)
        if x.tracked:
            return self.add_value(x, "parameter", given or "", call)
        return self.add_value(x, "input" if given else "constant", given or "", None if given else call)

    def add_operation(self, primitive: Primitive, call: int | None) -> Node:
        """A node for the application of a primitive, without its results and arguments."""
        settings = {name: plain(getattr(primitive, name)) for name in primitive.settings}
        if "kernel_size" not in settings and hasattr(primitive, "kernel_size"):
            settings["kernel_size"] = plain(primitive.kernel_size)  # a convolution has it from its weight
        view = isinstance(primitive, View)
        return self.add("operation", primitive.name.strip("_"), call, settings=settings, view=view)

    def add_output(self, place: Place, name: str) -> None:
        """A node for a value that leaves."""
        source, result = self.graph.nodes[place[0]], place[1]
        shapes, dtypes = source.shapes[result : result + 1], source.dtypes[result : result + 1]
        self.connect(place, self.add("output", name, shapes=shapes, dtypes=dtypes, tracked=source.tracked))

    def finish(self) -> Graph:
        """The graph, once everything has been added."""
        if not self.graph.title and len(self.roots) == 1:
            self.graph.title = next((call.kind for call in self.graph.calls if call.outer is None), "")
        return self.graph


def walk_modules(root: Any, path: str = "") -> list[tuple[str, Any]]:
    """A module and all modules inside, each once, with their dotted paths."""
    found: list[tuple[str, Any]] = []
    seen = {id(root)}
    stack = [(path, root)]
    while stack:
        prefix, module = stack.pop()
        found.append((prefix, module))
        children = list(getattr(module, "_modules", {}).items())
        for name, child in reversed(children):
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                stack.append((f"{prefix}.{name}" if prefix else name, child))
    return found


def argument_name(primitive: Primitive, position: int) -> str:
    """What a primitive calls one of its inputs; the position where it takes any number of them."""
    return primitive.inputs[position] if position < len(primitive.inputs) else str(position)


def plain(value: Any) -> Any:
    """A setting as numbers, texts and tuples of them, so that a graph holds no arrays and can be written anywhere."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return tuple(plain(part) for part in value)
    if isinstance(value, slice):
        start, stop, step = ("" if part is None else str(part) for part in (value.start, value.stop, value.step))
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    if value is Ellipsis:
        return "..."
    if isinstance(value, Tensor) or is_array(value):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, Primitive):
        return value.name
    if isinstance(value, (numpy.dtype, Device)):
        return str(value)
    return type(value).__name__


def number_of(x: Any) -> Any:
    """The number that an operand is: a Python number, or a Tensor of no dimensions; None for anything else."""
    if isinstance(x, (bool, int, float)):
        return x
    if isinstance(x, Tensor) and not x.shape:
        return backend_of(x.array).to_host(x.array).item()
    return None
