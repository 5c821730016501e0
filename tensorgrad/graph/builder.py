"""What the two ways to a graph share: who is called what, which call of a module a node belongs to, and whose memory it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from tensorgrad.backend import backend_of, is_array
from tensorgrad.device import Device
from tensorgrad.errors import OperandError
from tensorgrad.graph.costs import costs_of
from tensorgrad.graph.structure import Call, Edge, Graph, Kind, Node
from tensorgrad.mode import Scope
from tensorgrad.primitive import Freed, Primitive, View
from tensorgrad.tensor import Tensor

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
        self._pieces: dict[int, int] = {}  # array that owns memory -> its number in Graph.memory
        self._owners_of_memory: list[Any] = []  # held, so that ids stay theirs

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

    def scope_of(self, outer: Scope | None, module: Any) -> Scope:
        """The latest known call of a module inside another one; a new one if nothing has happened in it yet."""
        for scope in reversed(self._scopes):
            if scope.outer is outer and scope.module() is module:
                return scope
        return Scope(outer, module)

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

    def connect(self, place: Place, target: Node, argument: str = "", tracked: bool = False) -> None:
        """A new edge."""
        self.graph.edges.append(Edge(place[0], target.number, place[1], argument, tracked))

    # memory

    def piece_of(self, array: Any) -> int:
        """The number of the memory that an array looks at: views of one array share theirs."""
        while is_array(getattr(array, "base", None)):
            array = array.base
        number = self._pieces.get(id(array))
        if number is None:
            number = self._pieces[id(array)] = len(self.graph.memory)
            self.graph.memory.append(int(array.nbytes))
            self._owners_of_memory.append(array)
        return number

    def note_what_is_kept(self, node: Node, primitive: Primitive) -> None:
        """What a recorded application keeps for backward: saved values, and arrays among its attributes."""
        held: list[tuple[str, Any]] = []
        if not isinstance(primitive.saved, Freed):
            for position, value in zip(primitive.keeps, primitive.saved):
                held.append(("out" if position < 0 else argument_name(primitive, position), value))
        for kind in type(primitive).__mro__:
            if issubclass(kind, Primitive) and kind is not Primitive:
                held += [(name, getattr(primitive, name, None)) for name in vars(kind).get("__slots__", ())]
        while held:
            name, value = held.pop(0)
            if isinstance(value, (list, tuple)):
                held[:0] = [(name, part) for part in value]
                continue
            array = value.array if isinstance(value, Tensor) else value
            if is_array(array):
                number = self.piece_of(array)
                if number not in node.keeps:
                    node.keeps.append(number)
                if name not in node.saves:
                    node.saves.append(name)

    def is_named(self, x: Any) -> bool:
        """Whether the user or a module has a name for this value."""
        return isinstance(x, Tensor) and (id(x.array) in self.given or id(x.array) in self.owners)

    def add_value(self, x: Tensor, kind: Kind, name: str, call: int | None = None) -> Node:
        """A node for a value that no operation of this graph made."""
        node = self.add(kind, name, call, shapes=[tuple(x.shape)], dtypes=[str(x.dtype)], tracked=x.tracked)
        node.writes = [self.piece_of(x.array)]
        return node

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
        node = self.add("output", name, shapes=shapes, dtypes=dtypes, tracked=source.tracked)
        node.reads = source.writes[result : result + 1]
        self.connect(place, node, tracked=source.tracked)

    def finish(self) -> Graph:
        """The graph, once everything has been added."""
        if not self.graph.title and len(self.roots) == 1:
            self.graph.title = next((call.kind for call in self.graph.calls if call.outer is None), "")
        for node, cost in zip(self.graph.nodes, costs_of(self.graph)):
            node.cost = cost
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


def checked_names(names: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """The names that a user gave, which must be of Tensors."""
    for name, x in (names or {}).items():
        if not isinstance(x, Tensor):
            raise OperandError(f"draw: names[{name!r}] is a {type(x).__name__}; names gives Tensors their names")
    return dict(names or {})
