"""The stand-in's `cuda`: devices, streams, events, memory, and graphs that are captured as CuPy captures them.

While a stream captures, nothing is computed: results are filled with nan (0 for whole numbers), changes in place do not
happen, and reading values on the host or copying from there is refused, as CUDA does. Graph.launch then computes, into the same
memory. Every name is one of CuPy's (tests/backend/test_cupy_names.py compares them).
"""

from __future__ import annotations

import threading
import types
from typing import Any

import numpy


class Working(threading.local):
    """What is going on in this thread: the launches being captured, the streams and devices entered."""

    capturing: list[Any] | None = None
    streams: list[Any] = []  # noqa: RUF012  (only read; replaced as a whole)
    device = 0


working = Working()
counted = types.SimpleNamespace(launches=0, waits=0)  # kernels and graphs; waits for streams; of all threads


def arrays_in(value: Any) -> list[numpy.ndarray]:
    if isinstance(value, numpy.ndarray):
        return [value]
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in arrays_in(part)]
    return arrays_in(list(value.values())) if isinstance(value, dict) else []


def computed(function: Any, *arguments: Any, **settings: Any) -> Any:
    """function(*arguments) of NumPy; a result is a kernel's launch, unless it is a view."""
    with numpy.errstate(all="ignore"):
        found = function(*arguments, **settings)
    found = numpy.asarray(found) if isinstance(found, numpy.generic) else found
    given = arrays_in([*arguments, *settings.values(), getattr(function, "__self__", None)])
    fresh = [x for x in arrays_in(found) if not any(numpy.may_share_memory(x, y) for y in given)]
    if not fresh:
        return found
    counted.launches += 1
    if working.capturing is not None:

        def launch() -> None:
            with numpy.errstate(all="ignore"):
                again = function(*arguments, **settings)
            for memory, values in zip(arrays_in(found), arrays_in(numpy.asarray(again)) or arrays_in(again)):
                memory[...] = values

        working.capturing.append(launch)
        for x in fresh:
            x.fill(numpy.nan if x.dtype.kind == "f" else 0)
    return found


def changed(function: Any, *arguments: Any) -> None:
    """A change in place, function(*arguments)."""
    counted.launches += 1
    if working.capturing is not None:
        working.capturing.append(lambda: function(*arguments))
        return
    with numpy.errstate(all="ignore"):
        function(*arguments)


def from_host(nbytes: int) -> None:
    """Values of the host are about to be copied to the device, by way of pinned memory."""
    CUDA.alloc_pinned_memory(nbytes)


def to_host() -> None:
    """Values are about to be read on the host."""
    if working.capturing is not None:
        raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")


def product_by_cupy(operands: Any) -> None:
    """A matrix product is about to be made by CuPy, which refuses to give one to cuBLAS while a stream captures."""
    if working.capturing is not None and operands[0].dtype.kind == "f":
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


class Graph:
    """What a stream has captured."""

    def __init__(self, launches: list[Any]) -> None:
        self.launches = launches

    def launch(self, stream: Any = None) -> None:
        assert working.capturing is None
        counted.launches += 1
        with numpy.errstate(all="ignore"):
            for launch in self.launches:
                launch()

    def debug_dot_str(self) -> str:
        return "digraph { " + " -> ".join(f"n{i}" for i in range(len(self.launches))) + " }"


class Stream:
    """A stream; work is done at once."""

    null: Any
    made = 0

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None
    ) -> None:
        Stream.made += 0 if null else 1
        self.ptr = 0 if null else 0x100 + Stream.made
        self.is_non_blocking = non_blocking
        self.device_id = -1 if null else working.device
        self.done = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __enter__(self) -> Stream:
        working.streams = [*working.streams, self]
        return self

    def __exit__(self, *exception: Any) -> None:
        working.streams = working.streams[:-1]

    def use(self) -> Stream:
        working.streams = [*working.streams[:-1], self]
        return self

    def synchronize(self) -> None:
        to_host()
        counted.waits += 1

    def wait_event(self, event: Event) -> None:
        assert event.recorded is not None

    def record(self, event: Event) -> Event:
        event.record(self)
        return event

    def begin_capture(self, mode: Any = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert working.capturing is None
        working.capturing = []

    def end_capture(self) -> Graph:
        launches, working.capturing = working.capturing, None
        assert launches is not None
        return Graph(launches)

    def is_capturing(self) -> bool:
        return working.capturing is not None


Stream.null = Stream(null=True)


class Event:
    """A moment, counted in launches."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.timed = not disable_timing
        self.recorded: int | None = None
        self.done = True

    def record(self, stream: Any = None) -> None:
        self.recorded = counted.launches

    def synchronize(self) -> None:
        to_host()


class MemoryPool:
    """A pool that counts nothing by itself: `used` and `total` are set by tests."""

    used = total = 0

    def malloc(self, size: int) -> Any:
        return size

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.total

    def free_all_blocks(self) -> None:
        self.total = self.used


class MemoryHook:
    """What is told of allocations, while entered."""

    name = ""
    entered: list[Any] = []  # noqa: RUF012

    def malloc_postprocess(self, **what: Any) -> None: ...

    def free_postprocess(self, **what: Any) -> None: ...

    def __enter__(self) -> Any:
        if any(hook.name == self.name for hook in MemoryHook.entered):
            raise KeyError(f"memory hook {self.name} already exists")
        MemoryHook.entered.append(self)
        return self

    def __exit__(self, *exception: Any) -> None:
        MemoryHook.entered.remove(self)


class using_allocator:
    """Inside, memory comes from there."""

    stack: list[Any] = []  # noqa: RUF012

    def __init__(self, allocator: Any = None) -> None:
        self.allocator = allocator

    def __enter__(self) -> None:
        using_allocator.stack.append(self.allocator)

    def __exit__(self, *exception: Any) -> None:
        using_allocator.stack.pop()


class PinnedMemory(bytearray):
    """Memory that counts as pinned."""

    made: list[Any] = []  # noqa: RUF012

    def holds(self, address: int) -> bool:
        start: int = numpy.frombuffer(self, numpy.uint8).__array_interface__["data"][0]
        return start <= address < start + len(self)


class PinnedPool(MemoryPool):
    def malloc(self, size: int) -> PinnedMemory:
        PinnedMemory.made.append(PinnedMemory(size))
        del PinnedMemory.made[:-50]
        return PinnedMemory.made[-1]


pinned_pool = PinnedPool()
default_pool = MemoryPool()


class CUDA:
    """standin.cuda: a machine with two devices, one of which is current."""

    Stream, Event, MemoryPool, MemoryHook, Graph = Stream, Event, MemoryPool, MemoryHook, Graph
    using_allocator = using_allocator
    _pinned_allocator: Any = pinned_pool.malloc

    class Device:
        def __init__(self, number: int | None = None) -> None:
            number = working.device if number is None else number
            if number not in (0, 1):
                raise RuntimeError(f"cudaErrorInvalidDevice: {number}")
            self.id = number
            self._before: list[int] = []

        def __enter__(self) -> CUDA.Device:
            self._before.append(working.device)
            working.device = self.id
            return self

        def __exit__(self, *exception: Any) -> None:
            working.device = self._before.pop()

        def __eq__(self, other: object) -> bool:
            return isinstance(other, CUDA.Device) and self.id == other.id

        def __hash__(self) -> int:
            return self.id

        def use(self) -> None:
            working.device = self.id

        def synchronize(self) -> None:
            to_host()

    class runtime:
        streamCaptureModeRelaxed = 2

        @staticmethod
        def getDeviceCount() -> int:
            return 2

        @staticmethod
        def getDeviceProperties(number: int) -> dict[str, Any]:
            return {
                "name": f"stand-in {number}".encode(),
                "major": 9,
                "minor": number,
                "totalGlobalMem": 1 << 34,
                "multiProcessorCount": 3,
            }

        @staticmethod
        def memGetInfo() -> tuple[int, int]:
            return (1 << 33) + working.device, 1 << 34

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def get_current_stream() -> Stream:
        return working.streams[-1] if working.streams else Stream.null

    @staticmethod
    def get_elapsed_time(start: Event, end: Event) -> float:
        if not (start.timed and end.timed):
            raise RuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
        assert start.recorded is not None and end.recorded is not None
        return float(end.recorded - start.recorded)

    class pinned_memory:
        @staticmethod
        def is_memory_pinned(address: int) -> bool:
            return any(memory.holds(address) for memory in PinnedMemory.made)

    @staticmethod
    def set_pinned_memory_allocator(allocator: Any = None) -> None:
        CUDA._pinned_allocator = allocator

    @staticmethod
    def alloc_pinned_memory(size: int) -> Any:
        return CUDA._pinned_allocator(size)
