"""The graph of one run: a model, or any function of Tensors, is run once and every application of a primitive is seen.

Also what is not recorded is seen: under no_grad, in frozen networks, in branches that lead nowhere. If the run ends in an
error, the graph up to there goes with the error, the operation that failed marked in it.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.graph.builder import Builder, Place, argument_name, checked_names, number_of, walk_modules
from tensorgrad.graph.failure import add_failure
from tensorgrad.graph.measure import line_of_program, measure_gradients, statistics_of, time_backward, time_forward
from tensorgrad.graph.structure import Graph, Node
from tensorgrad.graph.tape import primitive_at
from tensorgrad.mode import mode
from tensorgrad.ops.inplace import write_observers
from tensorgrad.primitive import Output, Primitive, View, observers
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor


def watch(
    function: Callable[..., Any],
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    names: Mapping[str, Tensor] | None = None,
    loss: Callable[[Any], Tensor] | None = None,
    statistics: bool = False,
    repeats: int = 0,
) -> Graph:
    """The graph of one run of function(*inputs, **keywords): of every primitive that is applied, recorded or not.

    function    a module, or any function of Tensors
    names       names for Tensors that the function uses without being given them
    loss        applied to what the function returns, and part of the graph: with it the graph is that of a training step
    statistics  note mean, std, smallest and largest value, share of zeros, nan and inf of every result, and of its
                gradient, if gradients flow: that of the loss, or of the sum of all outputs
    repeats     measure the time of every operation, and of its backward: the fastest of so many repetitions; 0: not

    A module is afterwards as it was: training mode, buffers, gradients and the library's random numbers. An exception of the
    run is passed on, with the graph up to there as its attribute `graph`.

    >>> import tensorgrad
    >>> graph = watch(lambda x: x * x + 1.0, tensorgrad.ones(3))
    >>> [(node.name, node.settings) for node in graph.nodes if node.kind == "operation"]
    [('multiply', {}), ('add', {'y': 1.0})]
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 0:
        raise ArgumentError(f"watch: got repeats {repeats!r}; it is a whole number, 0 or more")
    watcher = _Watcher(checked_names(names), statistics, repeats)
    if hasattr(function, "_modules"):
        watcher.enter_root(function, type(function).__name__)
        watcher.graph.title = type(function).__name__
    watcher.add_inputs(function, inputs, keywords or {})
    with unchanged(function):
        before = dict(watcher.owners)
        output = watcher.run(lambda: _with_loss(function(*inputs, **(keywords or {})), loss))
        watcher.add_outputs(output)
        if statistics:
            measure_gradients(output, watcher.held)
        watcher.graph.unused = watcher.unused_parameters(before)
    return watcher.finish()


def _with_loss(output: Any, loss: Callable[[Any], Tensor] | None) -> Any:
    return output if loss is None else loss(output)


class _Memory:
    """What is known about an array: where its values come from, and the version of its memory when that was so."""

    __slots__ = ("array", "owner", "place", "version")

    def __init__(self, x: Tensor, place: Place | Any, version: int) -> None:
        self.array = x.array  # held, so that its id stays its own
        self.owner = weakref.ref(x)  # whose version counts: an in-place operation reads through an alias
        self.place = place
        self.version = version

    def version_now(self, x: Tensor) -> int:
        """The version of the memory, seen from x and from the owner."""
        owner = self.owner()
        return x._version if owner is None else max(x._version, owner._version)


class _Watcher(Builder):
    """Values are told apart by their arrays: a detached Tensor, or an alias of one, is the same value."""

    def __init__(self, names: dict[str, Tensor], statistics: bool, repeats: int) -> None:
        super().__init__(names)
        self.thread = threading.get_ident()
        self.statistics = statistics
        self.repeats = repeats
        self.memories: dict[int, _Memory] = {}
        self.recorded: dict[int, tuple[Primitive, int]] = {}  # a node of the tape -> it, number of its node here
        self.held: list[tuple[Node, Tensor]] = []  # results whose gradients are to be looked at

    def run(self, function: Callable[[], Any]) -> Any:
        """function(), watched."""
        observers.append(self.observe)
        write_observers.append(self.observe_write)
        try:
            return function()
        except Exception as error:
            add_failure(self, error)
            error.graph = self.finish()  # type: ignore[attr-defined]
            raise
        finally:
            observers.remove(self.observe)
            write_observers.remove(self.observe_write)

    def observe(self, primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        """Called for every application of a primitive."""
        if threading.get_ident() != self.thread:
            return
        call = self.call_of(mode.scope)
        places = [self.place_of(x, call) for x in inputs]
        node = self.add_operation(primitive, call)
        node.source = line_of_program()
        node.shapes, node.dtypes = [tuple(z.shape) for z in outputs], [str(z.dtype) for z in outputs]
        node.tracked = any(z.tracked for z in outputs)
        for position, (x, place) in enumerate(zip(inputs, places)):
            if isinstance(place, tuple):
                self.connect(place, node, argument_name(primitive, position), tracked=node.tracked and x.tracked)
            elif place is not None:
                node.settings[argument_name(primitive, position)] = place
        node.reads = list(dict.fromkeys(self.piece_of(x.array) for x in inputs if isinstance(x, Tensor)))
        node.writes = [self.piece_of(z.array) for z in outputs]
        version = inputs[0]._version if isinstance(primitive, View) else 0
        for position, z in enumerate(outputs):
            self.memories[id(z.array)] = _Memory(z, (node.number, position), version)
            if z.tracked:
                self.recorded[id(primitive)] = (primitive, node.number)
        if node.tracked:
            self.note_what_is_kept(node, primitive)
        self._measure(node, primitive, inputs, outputs)

    def _measure(self, node: Node, primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        if self.statistics:
            node.statistics = statistics_of(outputs[0].array)
            if outputs[0].tracked:
                self.hold(node, outputs[0])
        if self.repeats:
            node.seconds = time_forward(primitive, inputs, self.repeats)
            if node.tracked:
                node.backward_seconds = time_backward(primitive, outputs, self.repeats)

    def unused_parameters(self, owners: dict[int, Any]) -> int:
        """How many numbers the parameters of the model hold that nothing has used."""
        unused = 0
        for array, (kind, name, owner) in owners.items():
            if kind == "parameter" and array not in self.memories:
                unused += owner._parameters[name.rpartition(".")[2]].numel()
        return unused

    def hold(self, node: Node, x: Tensor) -> None:
        """Keep a result, at the place on the tape where it stands now."""
        result = Tensor(x.array)
        result.tracked, result.node = x.tracked, x.node
        self.held.append((node, x if x.node is None else result))

    def add_value(self, x: Tensor, kind: Any, name: str, call: int | None = None) -> Node:
        """A node for a value that no operation of this graph made."""
        node = super().add_value(x, kind, name, call)
        if self.statistics:
            node.statistics = statistics_of(x.array)
            if x.tracked:
                self.hold(node, x)
        return node

    def place_of(self, x: Any, call: int | None) -> Place | Any:
        """Where a value comes from; the number that it is for a number; None for what is no Tensor."""
        if not isinstance(x, Tensor):
            return number_of(x)
        memory = self._memory_of(x, call)
        primitive = primitive_at(x.node)
        if (
            primitive is not None and id(primitive) in self.recorded
        ):  # the tape knows best, also after a change in place
            result = x.node.position if isinstance(x.node, Output) else 0
            memory.place, memory.version = (self.recorded[id(primitive)][1], result), memory.version_now(x)
        elif memory.version_now(x) > memory.version:
            memory.place, memory.version = self._changed(x, memory, call), memory.version_now(x)
        return memory.place

    def _memory_of(self, x: Tensor, call: int | None) -> _Memory:
        memory = self.memories.get(id(x.array))
        if memory is None:
            place = number_of(x)
            if place is None or x.tracked or self.is_named(x):
                place = (self.add_leaf(x, call).number, 0)
            memory = self.memories[id(x.array)] = _Memory(x, place, x._version)
        return memory

    def _changed(self, x: Tensor, memory: _Memory, call: int | None) -> Place:
        """Where the values of x come from after its memory was changed elsewhere: from its base, or by an unknown writer."""
        if x.extra is not None and x.extra.view is not None:
            parent, primitive = x.extra.view
            place = self.place_of(parent, call)
            node = self.add_operation(primitive, call)
            node.writes = [self.piece_of(x.array)]
        else:
            owner = memory.owner()
            writer = (x if owner is None or owner._version < x._version else owner).storage.writer
            place = memory.place
            node = self.add("operation", writer, call)
        node.shapes, node.dtypes = [tuple(x.shape)], [str(x.dtype)]
        if isinstance(place, tuple):
            self.connect(place, node, "x")
        return node.number, 0

    def observe_write(self, x: Tensor, z: Tensor, operation: str) -> None:
        """Called when the values of z were written into x, and nothing of it was recorded.

        x then comes from where z comes from. If x looks at the memory of a base, the base becomes the result of the writing.
        """
        if threading.get_ident() != self.thread:
            return
        call = self.call_of(mode.scope)
        source = self.place_of(z, call)
        memory = self._memory_of(x, call)
        memory.place, memory.version = source, memory.version_now(x)
        while x.extra is not None and x.extra.view is not None:
            x = x.extra.view[0]
            memory = self._memory_of(x, call)
            node = self.add("operation", operation, call, shapes=[tuple(x.shape)], dtypes=[str(x.dtype)])
            node.source = line_of_program()
            node.reads = node.writes = [self.piece_of(x.array)]
            for place, argument in ((memory.place, "x"), (source, "y")):
                if isinstance(place, tuple):
                    self.connect(place, node, argument)
                else:
                    node.settings[argument] = place
            source = (node.number, 0)
            memory.place, memory.version = source, memory.version_now(x)

    def add_inputs(self, function: Any, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        """The Tensors among the arguments, named as the function names them."""
        for name, x in named_tensors(function, inputs, keywords):
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


def named_tensors(function: Any, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """The Tensors among the arguments of a call, named as the function names them."""
    return list(_tensors_in({**dict(zip(_parameter_names(function, len(inputs)), inputs)), **keywords}))


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
def unchanged(function: Any) -> Iterator[None]:
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
