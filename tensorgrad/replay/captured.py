"""A program as CUDA graphs: its kernels captured once and launched as a whole, the host's operations in Python between them.

What Python does at every replay (a step of an optimiser, which counts and reads its learning rate; random numbers, which are
drawn on the host) cuts the program into parts, and each part becomes a graph. Capturing computes nothing and changes nothing,
so where it fails, the program goes on as it was, without graphs.

A graph works on the memory it was captured with. Tensors behind the step's variables are that memory themselves (if one gets
other memory, the program is captured anew); arguments are copied into memory of the graph's; results are copied out of it.
Gradients that a step leaves are the graph's memory: the next replay overwrites them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tensorgrad.backend import backend_of
from tensorgrad.cuda.graphs import Capture
from tensorgrad.errors import GraphError
from tensorgrad.mode import mode
from tensorgrad.replay.program import Value
from tensorgrad.replay.writer import Written

#: How often a program is captured anew because Tensors got other memory, before it goes on without graphs.
MOST_CAPTURES = 4


class Ends(NamedTuple):
    """Which inputs and outputs of a program are whose.

    given    places among the inputs of the arguments' arrays
    results  how many outputs, the first ones, are what the step returns
    returns  (place among the outputs, place among the inputs): what a Tensor ends with, whose memory it began with
    """

    given: frozenset[int]
    results: int
    returns: tuple[tuple[int, int], ...]


class _Host(NamedTuple):
    """An operation of the host: called with these arguments, its results copied to where the graphs expect them."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    results: Any


def can_capture(array: Any) -> bool:
    """Whether an array is of a library that captures graphs."""
    return hasattr(getattr(getattr(backend_of(array), "xp", None), "cuda", None), "Stream")


class CapturedProgram:
    """Runs a program: as it was written at first, from its second call on as graphs."""

    def __init__(self, program: Written, ends: Ends) -> None:
        self.program = program
        self.ends = ends
        self.reason: str | None = None  # why there are no graphs
        self.launches = 0  # runs by graphs
        self.captures = 0
        self._warm = False
        self._graphs: _Graphs | None = None

    def __call__(self, inputs: list[Any]) -> list[Any]:
        if self.reason is not None or mode.capturing is not None:
            return self.program.function(inputs)
        if not self._warm:  # kernels are compiled, and libraries begun, at the first call
            self._warm = True
            return self.program.function(inputs)
        if self._graphs is None or not self._graphs.fits(inputs):
            self._graphs = None
            self._capture(inputs)
            if self._graphs is None:
                return self.program.function(inputs)
        self.launches += 1
        return self._graphs.run(inputs)

    def _capture(self, inputs: list[Any]) -> None:
        if self.captures == MOST_CAPTURES:
            self.reason = "the Tensors behind the step's variables get other memory again and again"
            return
        self.captures += 1
        try:
            self._graphs = _Graphs(self.program, self.ends, inputs)
        except (
            Exception
        ) as error:  # whatever a library says to being captured; what is wrong by itself comes up again below
            self.reason = str(error) if isinstance(error, GraphError) else f"{type(error).__name__}: {error}"


class _Graphs:
    """The graphs of one capture, and the memory they work on."""

    def __init__(self, program: Written, ends: Ends, inputs: list[Any]) -> None:
        backend = backend_of(inputs[0])
        self.device = backend.device_of(inputs[0])
        kinds = {value.kind for value in program.values if value.kind is not None}
        if kinds != {type(inputs[0])} or any(backend_of(x).device_of(x) != self.device for x in inputs):
            raise GraphError("cuda.graph: the step computes on several devices; a graph is one GPU's")
        self.xp = backend.xp
        self.ends = ends
        self.parts: list[Any] = []  # graphs and _Host, in order
        with backend.on(self.device):
            # an argument comes from other memory every time, so the graph has its own
            self.inputs = [backend.copy(x) if place in ends.given else x for place, x in enumerate(inputs)]
            self.addresses = [int(x.data.ptr) for x in inputs]
            # the pool stays as long as the graphs: what Python lets go of in it is theirs
            self.pool = self.xp.cuda.MemoryPool()
            with Capture(self.xp, self.pool) as capture:
                outputs = program.with_hosts(self._host_of(capture))(list(self.inputs))
                # what is returned is copied first: it may be a view of what a Tensor began with
                outputs[: ends.results] = [backend.copy(x) for x in outputs[: ends.results]]
                for output, place in ends.returns:
                    self.inputs[place][...] = outputs[output]
                    outputs[output] = self.inputs[place]
            self.parts.append(capture.graph)
        self.kept = capture.kept
        self.outputs = outputs

    def _host_of(self, capture: Capture) -> Callable[[Callable[..., Any], Any], Callable[..., Any]]:
        """Stands in for an operation of the host while capturing: notes it, and gives memory for its results."""

        def stand_in(call: Callable[..., Any], results: Any) -> Callable[..., Any]:
            def note(*arguments: Any) -> Any:
                self.parts.append(capture.cut())
                memory = self._memory(results)
                self.parts.append(_Host(call, arguments, memory))
                return memory

            return note

        return stand_in

    def _memory(self, results: Any) -> Any:
        if results is None:
            return None
        if type(results) is tuple and not isinstance(results, Value):
            return tuple(self._memory(part) for part in results)
        if results.kind is None:
            raise GraphError("cuda.graph: an operation of the host gives something else than arrays")
        x = self.xp.empty(results.shape, results.dtype)
        if x.strides != results.strides:
            raise GraphError("cuda.graph: an operation of the host gives an array in another order of memory")
        return x

    def fits(self, inputs: list[Any]) -> bool:
        """Whether the Tensors behind the step's variables still have the memory that was captured."""
        given = self.ends.given
        return all(
            place in given or int(x.data.ptr) == address
            for place, (x, address) in enumerate(zip(inputs, self.addresses))
        )

    def run(self, inputs: list[Any]) -> list[Any]:
        """Copy the arguments in, launch, and copy what is returned out."""
        backend = backend_of(inputs[0])
        with backend.on(self.device):
            for place in self.ends.given:
                self.inputs[place][...] = inputs[place]
            for part in self.parts:
                if isinstance(part, _Host):
                    _fill(part.results, part.call(*part.arguments))
                else:
                    part.launch()
            results = [backend.copy(x) for x in self.outputs[: self.ends.results]]
        return [*results, *self.outputs[self.ends.results :]]


def _fill(memory: Any, found: Any) -> None:
    if type(memory) is tuple:
        for part, value in zip(memory, found):
            _fill(part, value)
    elif memory is not None:
        memory[...] = found
