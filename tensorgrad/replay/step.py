"""`tensorgrad.compile`: a step that is recorded once and then replayed without the tape."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgrad.dtypes import get_default_dtype
from tensorgrad.locks import lock
from tensorgrad.mode import mode
from tensorgrad.primitive import observers
from tensorgrad.replay.captured import CapturedProgram
from tensorgrad.replay.reach import PLAIN
from tensorgrad.replay.recording import Recording
from tensorgrad.tensor import Tensor

#: Recordings kept for one kind of arguments, and recordings that may fail, before the step is left as it is.
MOST_RECORDINGS, MOST_FAILURES = 8, 2
_one_at_a_time = lock(reentrant=True)


def compile(step: Callable[..., Any], *, capture: bool = True) -> Compiled:
    """A step that is recorded as its operations on arrays, and from then on replayed without the tape.

    step     a function, its forward pass, backward and optimiser step together, or only some of it; also a Module, for inference
    capture  on a GPU, launch what is replayed as CUDA graphs, from the second replay on: see tensorgrad.replay.captured
    Returns a callable with the same arguments and results; what it returns has no history.

    The first call runs the step as it is, the second records it, the third and later replay: the same kernels in the same
    order, so the same numbers. Random numbers are drawn anew, and optimisers and schedulers run as they are, so that a
    learning rate may change.

    The step is recorded anew when something that it depends on has changed: the arguments' shapes, dtypes, memory orders
    or plain values; a plain value, container or Tensor behind the step's variables, such as a flag `training` (see
    tensorgrad.replay.reach); the grad mode or the default dtype. It is left as it is, forever slower and right, where it reads
    values on the host (`.item()`, `if x > 0`), brings values from there, changes variables of Python, has hooks, or returns
    what can still go backward; `why()` tells. What no look can find, as a clock that is read or a line that is printed, happens
    only while recording: leave it outside of the step.

    >>> import tensorgrad
    >>> w = tensorgrad.ones(3, requires_grad=True)
    >>> optimizer = tensorgrad.optim.SGD([w], lr=0.5)
    >>> @tensorgrad.compile
    ... def step(x):
    ...     optimizer.zero_grad()
    ...     loss = (w * x).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> [step(tensorgrad.ones(3)).item() for _ in range(4)]
    [3.0, 1.5, 0.0, -1.5]
    >>> step.replays
    2
    """
    if not callable(step):
        raise TypeError(f"compile: got a {type(step).__name__}; it takes a function or a Module")
    return Compiled(step, capture)


class Compiled:
    """A step with its recordings."""

    def __init__(self, step: Callable[..., Any], capture: bool = True) -> None:
        functools.update_wrapper(self, step)
        self.step = step
        self.capture = capture
        self.replays = 0
        self._kinds: dict[Any, _Kind] = {}

    def __repr__(self) -> str:
        return f"compiled {self.step!r}"

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if mode.recorder is not None or mode.capturing is not None:  # inside of another step's, or of a graph's
            return self.step(*arguments, **named)
        tensors: list[Tensor] = []
        try:
            key = (
                _kind_of((arguments, named), tensors),
                mode.recording,
                mode.inference,
                get_default_dtype(),
                len(observers),
                None if mode.autocast is None else mode.autocast.key(),
            )
            kind = self._kinds.setdefault(key, _Kind())
        except _CannotTell as reason:
            kind = self._kinds.setdefault(str(reason), _Kind())
            kind.failures = MOST_FAILURES
            kind.reason = str(reason)
        for recording in kind.recordings:
            if recording.holds(tensors):
                self.replays += 1
                return recording.replay(tensors)
        kind.calls += 1
        if kind.calls == 1 or kind.failures >= MOST_FAILURES or len(kind.recordings) >= MOST_RECORDINGS:
            return self.step(*arguments, **named)
        with _one_at_a_time:
            recording = Recording(self.step, arguments, named, tensors, self.capture)
        if recording.reason is None:
            kind.recordings.append(recording)
        else:
            kind.failures += 1
            kind.reason = recording.reason
        if recording.error is not None:
            raise recording.error
        return recording.result

    def why(self) -> list[str]:
        """Why steps were not recorded, or on a GPU not captured; empty where all is well."""
        reasons = [kind.reason for kind in self._kinds.values() if kind.reason is not None]
        for program in self._captured():
            if program.reason is not None:
                reasons.append(f"replayed without a CUDA graph: {program.reason}")
        return reasons

    @property
    def launches(self) -> int:
        """How many of the replays were CUDA graphs."""
        return sum(program.launches for program in self._captured())

    def _captured(self) -> list[CapturedProgram]:
        recordings = [recording for kind in self._kinds.values() for recording in kind.recordings]
        return [recording.captured for recording in recordings if recording.captured is not None]

    def source(self) -> str:
        """The newest recording as Python."""
        for kind in reversed(self._kinds.values()):
            if kind.recordings:
                return kind.recordings[-1].text
        return ""


class _Kind:
    """The recordings for arguments of one kind."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.reason: str | None = None
        self.recordings: list[Recording] = []


class _CannotTell(Exception):
    """An argument of which nobody can tell whether it is the same next time."""


def _kind_of(value: Any, tensors: list[Tensor]) -> Any:
    """A key for what an argument is, apart from the Tensors' values; the Tensors are collected."""
    if isinstance(value, Tensor):
        tensors.append(value)
        array = value.array
        return type(array), array.shape, array.dtype, array.strides, value.tracked
    if isinstance(value, PLAIN):
        return type(value), value
    if isinstance(value, (tuple, list)):
        return (type(value), *(_kind_of(part, tensors) for part in value))
    if isinstance(value, dict):
        return (dict, *((key, _kind_of(part, tensors)) for key, part in value.items()))
    raise _CannotTell(
        f"an argument is a {type(value).__name__}; a recording takes Tensors, numbers and containers of them"
    )
