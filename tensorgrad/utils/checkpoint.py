"""Activation checkpointing: a part of a network saves nothing for backward but its inputs, and is computed again there.

The part's nodes are recorded as always, so its derivatives are the usual ones, of any order; only what they saved is taken
from them. The first node that backward asks runs the part again, with the random numbers of the first time, and every node
takes what its twin saved. (Chen et al. 2016, "Training deep nets with sublinear memory cost".)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from tensorgrad.autocasting import same_autocast
from tensorgrad.errors import ArgumentError, GraphError
from tensorgrad.locks import lock
from tensorgrad.mode import enable_grad, mode
from tensorgrad.primitive import Deferred, Primitive, observers
from tensorgrad.random import get_rng_state, set_rng_state
from tensorgrad.saved import is_recorded
from tensorgrad.tensor import Tensor


class _Recomputed(Deferred):
    """The saved values of node number `index` of a part."""

    __slots__ = ("index", "part")

    def __init__(self, part: _Part, index: int) -> None:
        self.part = part
        self.index = index

    def restore(self, node: Primitive) -> list[Any]:
        saved, state = self.part.values_of(self.index, node)
        for name, value in zip(node.state, state):
            setattr(node, name, value)
        return saved


class _Part:
    """One call of a function whose nodes keep nothing."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], preserve: bool
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.rng_state = get_rng_state() if preserve else None
        self.casting = mode.autocast
        self.kinds: list[str] = []
        self.inputs: list[list[Any]] = []  # of each node, see _states
        self.values: dict[int, tuple[list[Any], list[Any]]] = {}

    def strip(self, node: Primitive, inputs: tuple[Any, ...]) -> None:
        """Take from a new node what it saved."""
        node.free(_Recomputed(self, len(self.kinds)))
        self.kinds.append(node.name)
        self.inputs.append(_states(inputs))

    def values_of(self, index: int, node: Primitive) -> tuple[list[Any], list[Any]]:
        if index not in self.values:
            self._run_again()
        return self.values.pop(index)

    def _run_again(self) -> None:
        twins: list[Primitive] = []
        states: list[list[Any]] = []

        def watch(node: Primitive, inputs: tuple[Any, ...]) -> None:
            twins.append(node)
            states.append(_states(inputs))

        now = None if self.rng_state is None else get_rng_state()
        if self.rng_state is not None:
            set_rng_state(self.rng_state)
        try:
            with enable_grad(), same_autocast(self.casting), _Watch(watch):
                result = self.function(
                    *[_again(x) for x in self.args], **{k: _again(x) for k, x in self.kwargs.items()}
                )
        finally:
            if now is not None:
                set_rng_state(now)
        kinds = [twin.name for twin in twins]
        if kinds != self.kinds:
            place = next(
                (i for i, pair in enumerate(zip(kinds, self.kinds)) if pair[0] != pair[1]),
                min(len(kinds), len(self.kinds)),
            )
            raise GraphError(
                f"checkpoint: run again, the function did other operations than before: {len(kinds)} instead of "
                f"{len(self.kinds)}, the first difference at operation {place}; it must do the same every time (no choice by "
                "random numbers or by what has changed since)"
            )
        for twin, state_then, state_now in zip(twins, self.inputs, states):
            if state_then != state_now:
                raise GraphError(
                    f"checkpoint: {twin.name}: a value that the part is computed again from was changed in place since, or through "
                    "NumPy; change a .clone() instead, after backward"
                )
        for index, twin in enumerate(twins):
            state = [getattr(twin, name, None) for name in twin.state]
            self.values[index] = (twin.saved if type(twin.saved) is list else twin.saved.restore(twin), state)
        del result


def _states(inputs: tuple[Any, ...]) -> list[Any]:
    """How often each input was changed, and where NumPy has it a checksum: two runs are alike if these are."""
    return [(x._version, x.storage.sum_of(x.array) if x.is_lent else None) for x in inputs if isinstance(x, Tensor)]


def _again(x: Any) -> Any:
    """An argument as it was: the same memory, tangents and need of a gradient."""
    if not isinstance(x, Tensor):
        return x
    return x.alias(None if x.extra is None else x.extra.tangents)


_Watcher = Callable[[Primitive, "tuple[Any, ...]"], None]


class _Watchers(threading.local):
    def __init__(self) -> None:
        self.stack: list[_Watcher] = []


_watchers = _Watchers()
_open = 0
_lock = lock()


class _Watch:
    """Inside, and in this thread, the innermost watcher is told of every node that is recorded."""

    def __init__(self, watcher: _Watcher) -> None:
        self.watcher = watcher

    def __enter__(self) -> None:
        global _open
        _watchers.stack.append(self.watcher)
        with _lock:
            _open += 1
            if _open == 1:
                observers.append(_observe)

    def __exit__(self, *exception: Any) -> None:
        global _open
        _watchers.stack.pop()
        with _lock:
            _open -= 1
            if not _open:
                observers.remove(_observe)


def _observe(primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
    if _watchers.stack and is_recorded(primitive, outputs):
        _watchers.stack[-1](primitive, inputs)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] | None = None,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), saving nothing for backward but the arguments: backward computes the function again.

    use_reentrant       accepted for PyTorch's sake; both give the same here
    preserve_rng_state  draw the same random numbers the second time (dropout)
    context_fn          gives two context managers, for the first run and for the second

    The function must do the same operations both times, on the same values; GraphError in backward if it does not, also where
    an argument or a weight was changed in place since. A change of state (batch
    norm's running statistics) happens twice, as in PyTorch.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * x).sin().sum(), x).backward()
    >>> bool((x.grad == 2 * x * (x * x).cos()).all())
    True
    """
    if determinism_check not in ("default", "none"):
        raise ArgumentError(f"checkpoint: got determinism_check={determinism_check!r}; give 'default' or 'none'")
    first, second = (nullcontext(), nullcontext()) if context_fn is None else context_fn()
    if not mode.recording:
        with first:
            return function(*args, **kwargs)

    def again(*args: Any, **kwargs: Any) -> Any:
        with second:
            return function(*args, **kwargs)

    part = _Part(again, args, kwargs, preserve_rng_state)
    # weights are cast anew within the part, for so they are when it runs again
    with first, same_autocast(part.casting), _Watch(part.strip):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions (or the modules of a Sequential) one after the other, in `segments` parts of which each is checkpointed.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> checkpoint_sequential(net, 2, tensorgrad.ones(4, 3)).shape
    (4, 1)
    """
    steps = list(functions)
    if not 1 <= segments <= len(steps):
        raise ArgumentError(
            f"checkpoint_sequential: got {segments} segments for {len(steps)} functions; give 1 to {len(steps)}"
        )
    size = len(steps) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(_chain(steps[start : start + size]), input, use_reentrant=use_reentrant, **kwargs)
    return _chain(steps[size * (segments - 1) :])(input)


def _chain(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return run
