"""Two ways to the graph of a computation: read the tape behind a result, or watch a run.

The tape knows what gradients flow through, and nothing of the rest; no run is needed, but a node of the tape does not hold
its result, so a shape may stay unknown. A run that is watched shows everything.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy

from tensorgrad.errors import GraphError, OperandError
from tensorgrad.graph.structure import Builder, Graph, Place, Shape, argument_name, number_of, walk_modules
from tensorgrad.mode import mode
from tensorgrad.primitive import Freed, Output, Primitive, View, observers
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor

# the tape


def read_tape(outputs: Tensor | Sequence[Tensor], names: Mapping[str, Tensor] | None = None) -> Graph:
    """The graph of what was recorded behind some results.

    outputs  a Tensor or several, computed from Tensors that require grad
    names    names for leaves and outputs: {"w": w, "x": x}; a leaf that requires grad is drawn as a parameter, another
             one as an input if it is named here, else as a constant

    Raises GraphError for a Tensor without a history.

    >>> import tensorgrad
    >>> w = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> graph = read_tape((w * 3.0).sum(), names={"w": w})
    >>> [(node.kind, node.name, node.shape) for node in graph.nodes]
    [('parameter', 'w', (2,)), ('operation', 'multiply', (2,)), ('operation', 'sum', ()), ('output', 'output', ())]
    """
    roots: list[Any] = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    names = _checked(names)
    for root in roots:
        if not isinstance(root, Tensor):
            raise OperandError(f"draw: an output is a {type(root).__name__}; give Tensors, or a module and its inputs")
        if root.node is None:
            raise GraphError(
                f"draw: the Tensor of shape {root.shape} has no recorded history; compute it from Tensors with requires_grad=True "
                "outside of no_grad, before any .detach(), or draw the module and its inputs: draw(model, x)"
            )
    return _TapeReader(names).read(roots)


class _TapeReader(Builder):
    def read(self, roots: list[Tensor]) -> Graph:
        nodes = self._nodes_behind(roots)
        results = _Results(nodes, roots)
        for primitive in nodes:  # the calls first: they know the names of the parameters
            self.call_of(primitive.scope)
        numbers: dict[int, int] = {}  # Primitive, or array of a leaf -> number of its node
        for primitive in nodes:
            call = self.call_of(primitive.scope)
            places = [
                self._place_of(parent, saved, call, numbers)
                for parent, saved in zip(primitive.parents, _saved_inputs(primitive))
            ]
            node = self.add_operation(primitive, call)
            node.tracked = True
            node.shapes, node.dtypes = results.of(primitive)
            numbers[id(primitive)] = node.number
            for position, place in enumerate(places):
                if isinstance(place, tuple):
                    self.connect(place, node, argument_name(primitive, position))
                elif place is not None:
                    node.settings[argument_name(primitive, position)] = place
        for position, root in enumerate(roots):
            name = self.given.get(id(root.array), "output" if len(roots) == 1 else f"output[{position}]")
            place = self._place_of(root.node, None, None, numbers)
            assert isinstance(place, tuple)
            self.add_output(place, name)
        return self.finish()

    def _nodes_behind(self, roots: list[Tensor]) -> list[Primitive]:
        """All applications behind the roots, oldest first."""
        stack = [_primitive(root.node) for root in roots]
        seen: set[Primitive] = set()
        while stack:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                stack.extend(_primitive(parent) for parent in node.parents)
        return sorted(seen, key=lambda node: -node.order)

    def _place_of(self, parent: Any, saved: Any, call: int | None, numbers: dict[int, int]) -> Place | Any:
        """Where an input comes from; for one without a gradient the number that it is, None where the tape has forgotten."""
        if isinstance(parent, Output):
            return numbers[id(parent.node)], parent.position
        if isinstance(parent, Primitive):
            return numbers[id(parent)], 0
        leaf = parent if isinstance(parent, Tensor) else _base(saved)
        if parent is None and not self.is_named(leaf) and number_of(leaf) is not None:
            return number_of(leaf)  # written into the operation that uses it
        if not isinstance(leaf, Tensor):
            return None
        if id(leaf.array) not in numbers:
            numbers[id(leaf.array)] = self.add_leaf(leaf, call).number
        return numbers[id(leaf.array)], 0


def _primitive(place: Any) -> Primitive | None:
    return place.node if isinstance(place, Output) else place if isinstance(place, Primitive) else None


def _base(saved: Any) -> Any:
    """What an unrecorded view looks at: a constant vector, where matmul saved it as a column."""
    while isinstance(saved, Tensor) and saved.node is None and saved.extra is not None and saved.extra.view is not None:
        saved = saved.extra.view[0]
    return saved


def _saved_inputs(node: Primitive) -> list[Any]:
    """What a node still holds of each of its inputs, None for the rest."""
    found: list[Any] = [None] * len(node.parents)
    if not isinstance(node.saved, Freed):
        for position, value in zip(node.keeps, node.saved):
            if position >= 0:
                found[position] = value
    return found


class _Results:
    """The shapes and dtypes of results, put together from what the tape happens to hold.

    A node does not hold its result. But leaves and roots are at hand, saved values have shapes, a view knows what it looked
    at, and operands that were not broadcast have the shape of the result.
    """

    def __init__(self, nodes: list[Primitive], roots: list[Tensor]) -> None:
        self.known: dict[tuple[int, int], tuple[Shape, str | None]] = {}
        self.counts: dict[int, int] = {}  # of results
        for root in roots:
            self._learn(root.node, root.shape, root.dtype)
        for node in nodes:
            for parent in node.parents:
                if isinstance(parent, Output):
                    self._count(parent)
            self._learn_from_saved(node)
            self._learn_from_attributes(node)
        for order in (nodes, nodes[::-1], nodes):
            for node in order:
                if node.broadcasts:
                    self._learn_from_broadcast(node)
                elif isinstance(node, View) and "shape" not in node.settings:
                    self._look_again(node)

    def of(self, node: Primitive) -> tuple[list[Shape | None], list[str | None]]:
        """The shapes and dtypes of all results of a node that anything is known about."""
        found = [self.known.get((id(node), at), (None, None)) for at in range(self.counts.get(id(node), 1))]
        return [shape for shape, _ in found], [dtype for _, dtype in found]

    def _count(self, place: Output) -> None:
        self.counts[id(place.node)] = max(self.counts.get(id(place.node), 1), place.position + 1)

    def _learn(self, place: Any, shape: Any, dtype: Any = None) -> None:
        if isinstance(place, (Primitive, Output)):
            if isinstance(place, Output):
                self._count(place)
            key = (id(place.node), place.position) if isinstance(place, Output) else (id(place), 0)
            before = self.known.get(key)
            if before is None or before[1] is None:
                self.known[key] = (tuple(shape), None if dtype is None else str(dtype))

    def _shape(self, place: Any) -> Shape | None:
        if isinstance(place, Tensor):
            return place.shape
        key = (id(place.node), place.position) if isinstance(place, Output) else (id(place), 0)
        return self.known[key][0] if key in self.known else None

    def _learn_from_saved(self, node: Primitive) -> None:
        if isinstance(node.saved, Freed):
            return
        for position, value in zip(node.keeps, node.saved):
            if position >= 0 and hasattr(value, "shape"):
                self._learn(node.parents[position], value.shape, value.dtype)
            elif position < 0 and isinstance(value, tuple):
                for at, part in enumerate(value):
                    self._learn(Output(node, at), part.shape, part.dtype)
            elif position < 0:
                self._learn(node, value.shape, value.dtype)

    def _learn_from_attributes(self, node: Primitive) -> None:
        """By the library's habit a setting `shape` is the result's shape, and an attribute `shape` or `source` the input's."""
        if "shape" in node.settings:
            self._learn(node, getattr(node, "shape"))  # noqa: B009
        for name in ("shape", "source"):
            shape = None if name in node.settings else getattr(node, name, None)
            if isinstance(shape, tuple):
                self._learn(node.parents[0], shape)

    def _learn_from_broadcast(self, node: Primitive) -> None:
        parents = [parent for parent in node.parents if parent is not None]
        shapes = [shape for shape in map(self._shape, [node, *parents]) if shape is not None]
        if node.shapes is None:  # nothing was broadcast: all have the result's shape
            for place in [node, *parents] if shapes else []:
                self._learn(place, shapes[0])
            return
        for parent, shape in zip(node.parents, node.shapes):
            if shape is not None:
                self._learn(parent, shape)
        operands = [
            _shape_of(saved) if p is None else self._shape(p) for p, saved in zip(node.parents, _saved_inputs(node))
        ]
        known = [shape for shape in operands if shape is not None]
        if len(known) == len(operands):
            self._learn(node, numpy.broadcast_shapes(*known))

    def _look_again(self, node: View) -> None:
        """A view looks in the same way at an array of its input's shape that has no memory (all strides are 0)."""
        shape = self._shape(node.parents[0])
        if shape is not None:
            parts = node.again(numpy.broadcast_to(numpy.float32(0), shape))
            for position, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
                self._learn(Output(node, position) if isinstance(parts, tuple) else node, part.shape)


def _shape_of(value: Any) -> Shape | None:
    return tuple(value.shape) if hasattr(value, "shape") else None if value is None else ()


# a run


def watch(
    function: Callable[..., Any],
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    names: Mapping[str, Tensor] | None = None,
) -> Graph:
    """The graph of one run of function(*inputs, **keywords): of every primitive that is applied, recorded or not.

    function  a module, or any function of Tensors
    names     names for Tensors that the function uses without being given them

    A module is afterwards as it was: training mode, buffers, gradients and the library's random numbers.

    >>> import tensorgrad
    >>> graph = watch(lambda x: x * x + 1.0, tensorgrad.ones(3))
    >>> [(node.name, node.settings) for node in graph.nodes if node.kind == "operation"]
    [('multiply', {}), ('add', {'y': 1.0})]
    """
    watcher = _Watcher(_checked(names))
    if hasattr(function, "_modules"):
        watcher.enter_root(function, type(function).__name__)
        watcher.graph.title = type(function).__name__
    watcher.add_inputs(function, inputs, keywords or {})
    with _unchanged(function):
        observers.append(watcher.observe)
        try:
            output = function(*inputs, **(keywords or {}))
        finally:
            observers.remove(watcher.observe)
        watcher.add_outputs(output)
    return watcher.finish()


class _Memory:
    """What is known about an array: where its values come from, and the version of its memory when that was so."""

    __slots__ = ("array", "owner", "place", "reader", "version")

    def __init__(self, x: Tensor, place: Place | Any, version: int) -> None:
        self.array = x.array  # held, so that its id stays its own
        self.owner = weakref.ref(x)  # whose version counts: an in-place operation reads through an alias
        self.place = place
        self.version = version
        self.reader: int | None = None  # the latest operation that read it

    def version_now(self, x: Tensor) -> int:
        """The version of the memory, seen from x and from the owner."""
        owner = self.owner()
        return x._version if owner is None else max(x._version, owner._version)


class _Watcher(Builder):
    """Values are told apart by their arrays: a detached Tensor, or an alias of one, is the same value."""

    def __init__(self, names: dict[str, Tensor]) -> None:
        super().__init__(names)
        self.thread = threading.get_ident()
        self.memories: dict[int, _Memory] = {}
        self.recorded: dict[int, tuple[Primitive, int]] = {}  # a node of the tape -> it, number of its node here
        self.readers: dict[int, int] = {}  # number of a node -> the latest operation that read its result

    def observe(self, primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        """Called for every application of a primitive."""
        if threading.get_ident() != self.thread:
            return
        call = self.call_of(mode.scope)
        places = [self.place_of(x, call) for x in inputs]
        node = self.add_operation(primitive, call)
        node.shapes, node.dtypes = [tuple(z.shape) for z in outputs], [str(z.dtype) for z in outputs]
        node.tracked = any(z.tracked for z in outputs)
        for position, (x, place) in enumerate(zip(inputs, places)):
            if isinstance(place, tuple):
                self.connect(place, node, argument_name(primitive, position))
                self.readers[place[0]] = node.number
                self.memories[id(x.array)].reader = node.number
            elif place is not None:
                node.settings[argument_name(primitive, position)] = place
        version = inputs[0]._version if isinstance(primitive, View) else 0
        for position, z in enumerate(outputs):
            self.memories[id(z.array)] = _Memory(z, (node.number, position), version)
            if z.tracked:
                self.recorded[id(primitive)] = (primitive, node.number)

    def place_of(self, x: Any, call: int | None) -> Place | Any:
        """Where a value comes from; the number that it is for a number; None for what is no Tensor."""
        if not isinstance(x, Tensor):
            return number_of(x)
        memory = self.memories.get(id(x.array))
        if memory is None:
            place = number_of(x)
            if place is None or x.tracked or self.is_named(x):
                place = (self.add_leaf(x, call).number, 0)
            memory = self.memories[id(x.array)] = _Memory(x, place, x._version)
        primitive = _primitive(x.node)
        if (
            primitive is not None and id(primitive) in self.recorded
        ):  # the tape knows best, also after a change in place
            result = x.node.position if isinstance(x.node, Output) else 0
            memory.place, memory.version = (self.recorded[id(primitive)][1], result), memory.version_now(x)
        elif memory.version_now(x) > memory.version:
            memory.place, memory.version = self._written_in_place(x, memory, call), memory.version_now(x)
        return memory.place

    def _written_in_place(self, x: Tensor, memory: _Memory, call: int | None) -> Place:
        """Where the values come from that were written over those of x, none of it recorded.

        x.mul_(y) is z = x * y on an alias of x's array, then z copied over x. So z is the last in the chain of operations
        that began with the latest reader of the array; nothing else reads it. The source of a bare copy leaves no trace;
        then, and where only a part was written, the writing itself becomes an operation.
        """
        owner = memory.owner()
        writer = (x if owner is None or owner._version < x._version else owner).storage.writer
        source = memory.reader
        while source is not None and source in self.readers:
            source = self.readers[source]
        computed = writer.endswith("_") and writer not in ("copy_", "fill_", "zero_")
        if computed and source is not None and self.graph.nodes[source].shape == x.shape:
            return source, 0
        node = self.add("operation", writer, call, shapes=[tuple(x.shape)], dtypes=[str(x.dtype)])
        if isinstance(memory.place, tuple):
            self.connect(memory.place, node, "x")
        if computed and source is not None:
            self.connect((source, 0), node, "y")
        return node.number, 0

    def add_inputs(self, function: Any, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        """The Tensors among the arguments, named as the function names them."""
        given = {**dict(zip(_parameter_names(function, len(inputs)), inputs)), **keywords}
        for name, x in _tensors_in(given):
            if id(x.array) not in self.memories:
                node = self.add_value(x, "input", self.given.get(id(x.array), name))
                self.memories[id(x.array)] = _Memory(x, (node.number, 0), x._version)

    def add_outputs(self, output: Any) -> None:
        """The Tensors among the results."""
        found = list(_tensors_in({"output": output}))
        if not found:
            raise OperandError(
                f"draw: the model returned a {type(output).__name__} without a Tensor; there is nothing to draw"
            )
        for name, z in found:
            place = self.place_of(z, None)
            if not isinstance(place, tuple):  # a constant number is the result
                place = (self.add_value(z, "constant", "").number, 0)
            self.add_output(place, self.given.get(id(z.array), name))


def _checked(names: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    for name, x in (names or {}).items():
        if not isinstance(x, Tensor):
            raise OperandError(f"draw: names[{name!r}] is a {type(x).__name__}; names gives Tensors their names")
    return dict(names or {})


def _parameter_names(function: Any, count: int) -> list[str]:
    """What a function calls its first `count` arguments."""
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):  # some callables have no signature to read
        parameters = {}.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "input")
    return names + [f"{rest}[{i}]" for i in range(count - len(names))]


def _tensors_in(named: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The Tensors in nested tuples, lists and dicts, with names such as output[0] and output['loss']."""
    stack = list(reversed(list(named.items())))
    while stack:
        name, value = stack.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, (tuple, list)):
            stack.extend((f"{name}[{i}]", part) for i, part in reversed(list(enumerate(value))))
        elif isinstance(value, Mapping):
            stack.extend((f"{name}[{key!r}]", part) for key, part in reversed(list(value.items())))


@contextmanager
def _unchanged(function: Any) -> Iterator[None]:
    """Puts a module and the random numbers back as they were: training mode, buffers and their values, gradients."""
    modules = [module for _, module in walk_modules(function)] if hasattr(function, "_modules") else []
    training = [(module, module.training) for module in modules if hasattr(module, "training")]
    tables = [(module._buffers, dict(module._buffers)) for module in modules if hasattr(module, "_buffers")]
    buffers = [x for _, table in tables for x in table.values() if x is not None]
    values = [(x, x.array, x.array.copy(), x._version) for x in buffers]
    parameters = [p for module in modules for p in getattr(module, "_parameters", {}).values() if p is not None]
    gradients = [(p, p._grad) for p in parameters]
    random = default_generator.get_state()
    for p in parameters:
        p._grad = None  # what a run inside may add to must not be the user's
    try:
        yield
    finally:
        default_generator.set_state(random)
        for p, gradient in gradients:
            p._grad = gradient
        for table, before in tables:
            table.clear()
            table.update(before)
        for x, array, copy, version in values:
            x.array = array
            x.array[...] = copy
            if x._version != version:
                x.storage.version = version
        for module, flag in training:
            module.training = flag
