"""Streams and events: what a GPU does in order, and what it does side by side."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tensorgrad.backend import backend_for
from tensorgrad.cuda.devices import on_device
from tensorgrad.device import Device

DeviceLike = int | str | Device | None


class Stream:
    """A queue of work on a GPU: in order within itself, side by side with other streams. Used in a `with` block.

    device    which GPU, the present one unless named
    priority  lower numbers go first
    """

    def __init__(self, device: DeviceLike = None, priority: int = 0, *, inner: Any = None) -> None:
        if inner is None:
            with on_device(device):
                inner = _cuda().Stream(non_blocking=True, priority=priority or None)
        self.inner = inner  # CuPy's

    @property
    def cuda_stream(self) -> int:
        """Its address, for other libraries."""
        return int(self.inner.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.inner == other.inner

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def __repr__(self) -> str:
        return f"Stream({self.cuda_stream:#x})"

    def __enter__(self) -> Stream:
        self.inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inner.__exit__(kind, error, trace)

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        self.inner.synchronize()

    def query(self) -> bool:
        """Whether all of its work is done."""
        return bool(self.inner.done)

    def record_event(self, event: Event | None = None) -> Event:
        """An event that comes when all of its work so far is done."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What is put into it from now on waits for the event."""
        self.inner.wait_event(event.inner)

    def wait_stream(self, stream: Stream) -> None:
        """What is put into it from now on waits for all that is in the other stream now."""
        self.wait_event(stream.record_event())


class Event:
    """A moment in a stream, to be waited for or measured to.

    enable_timing  whether elapsed_time can be asked
    blocking       synchronize sleeps instead of spinning
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.inner = _cuda().Event(block=blocking, disable_timing=not enable_timing, interprocess=interprocess)

    def record(self, stream: Stream | None = None) -> None:
        """It comes when all work so far of the stream is done; the current one unless named."""
        self.inner.record((current_stream() if stream is None else stream).inner)

    def wait(self, stream: Stream | None = None) -> None:
        """What is put into the stream from now on waits for it."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        """Whether it has come."""
        return bool(self.inner.done)

    def synchronize(self) -> None:
        """Wait for it."""
        self.inner.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another; both must have come."""
        return float(_cuda().get_elapsed_time(self.inner, end_event.inner))


class stream:
    """Inside of its `with` block the given stream is the current one; with None nothing changes."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is not None:
            self.stream.__exit__(kind, error, trace)


def current_stream(device: DeviceLike = None) -> Stream:
    """The stream that this thread puts its work into."""
    with on_device(device):
        return Stream(inner=_cuda().get_current_stream())


def default_stream(device: DeviceLike = None) -> Stream:
    """The stream that is current where no other was chosen."""
    with on_device(device):
        return Stream(inner=_cuda().Stream.null)


def set_stream(stream: Stream | None) -> None:
    """Make it the current one in this thread; None changes nothing."""
    if stream is not None:
        stream.inner.use()


def _cuda() -> Any:
    return backend_for("cuda").xp.cuda
