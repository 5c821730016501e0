"""What is on in a thread: recording, inference, and the calls of modules it is inside of."""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Mode(threading.local):
    """What is on in this thread."""

    def __init__(self) -> None:
        self.blocks: list[tuple[Any, tuple[bool, bool]]] = []  # that are open, each with what was on around it
        self.regions: list[list[Any]] = []  # of autocast, likewise

    recording = True
    inference = False
    scope: Scope | None = None
    autocast: Any = None  # inside of a region of mixed precision, its Casting: see tensorgrad.autocasting
    capturing: Any = None  # while a CUDA graph is captured in this thread: see tensorgrad.cuda.graphs
    relu_follows: Any = None  # the batch norm or convolution that is to rectify what it makes: see tensorgrad.nn.chain
    recorder: Any = None  # where a step is being recorded, its program: see tensorgrad.replay


class Scope:
    """A call of a module inside the calls of others; its path is only looked up when somebody wants to read it."""

    __slots__ = ("module", "outer")

    def __init__(self, outer: Scope | None, module: Any) -> None:
        self.outer = outer
        self.module = weakref.ref(module)  # a node must not keep the model, nor what the model keeps, alive


def layer_path(scope: Scope | None) -> str:
    """Where in the outermost module the innermost call is, as a dotted name: 'layer3.2.conv1'.

    A module that the one around it does not hold (it lies in a plain list, say) is named by its class.
    """
    modules = []
    while scope is not None:
        module = scope.module()
        if module is not None:
            modules.append(module)
        scope = scope.outer
    modules.reverse()
    names = []
    for outer, inner in itertools.pairwise(modules):
        if inner is outer:
            continue
        names.append(next((name for name, held in outer.named_modules() if held is inner), type(inner).__name__))
    return ".".join(names)


mode = Mode()


def _enter(block: Any, before: tuple[bool, bool]) -> None:
    mode.blocks.append((block, before))


def _leave(block: Any, exception: tuple[Any, ...]) -> None:
    """What was on around the block is on again; where a generator was left out of turn, when the blocks inside are left.

    An error that leads out of the block has left all that are inside, also one whose end Ctrl-C has cut off.
    """
    blocks = mode.blocks
    if blocks and blocks[-1][0] is block:
        mode.recording, mode.inference = blocks.pop()[1]
        return
    for position in range(len(blocks) - 2, -1, -1):
        if blocks[position][0] is not block:
            continue
        if exception[0] in (None, GeneratorExit):
            blocks[position + 1] = blocks[position + 1][0], blocks[position][1]
            del blocks[position]
        else:
            mode.recording, mode.inference = blocks[position][1]
            del blocks[position:]
        return
    # entered in another thread, by a generator that is closed in this one: nothing is on here because of it


def _around(function: Any, block: Callable[[], Any]) -> Any:
    """The function, inside of a block of its own whenever it is called; of a generator, whenever it goes on."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generating(*args: Any, **kwargs: Any) -> Any:
            with block():
                generator = function(*args, **kwargs)
                resume = functools.partial(next, generator)
            while True:
                try:
                    with block():
                        value = resume()
                except StopIteration as end:
                    return end.value
                try:
                    resume = functools.partial(generator.send, (yield value))
                except GeneratorExit:
                    with block():
                        generator.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(generator.throw, error)

        return generating

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with block():
            return function(*args, **kwargs)

    return inside


class set_grad_enabled:
    """Switch recording on or off in this thread: a statement, a `with` block or a decorator.

    >>> import tensorgrad
    >>> x = tensorgrad.ones(2, requires_grad=True)
    >>> with tensorgrad.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self, enabled: bool) -> None:
        self._before = (mode.recording, mode.inference)
        self._enabled = bool(enabled)
        mode.recording = self._enabled

    def __enter__(self) -> None:
        _enter(self, self._before)
        mode.recording = self._enabled

    def __exit__(self, *exception: Any) -> None:
        _leave(self, exception)

    def __call__(self, function: _Function) -> _Function:
        mode.recording, mode.inference = self._before  # as a decorator it has no effect until the function is called
        return _around(function, lambda: set_grad_enabled(self._enabled))  # type: ignore[no-any-return]


class _GradMode:
    """A grad mode as a block or a decorator; entering nests."""

    recording = True
    inference = False

    def __new__(cls, function: Any = None) -> Any:
        block = super().__new__(cls)
        return block if function is None else block(function)  # @no_grad stands for @no_grad()

    def __enter__(self) -> None:
        _enter(self, (mode.recording, mode.inference))
        mode.recording = self.recording
        mode.inference = self.inference

    def __exit__(self, *exception: Any) -> None:
        _leave(self, exception)

    def __call__(self, function: _Function) -> _Function:
        return _around(function, type(self))  # type: ignore[no-any-return]


class no_grad(_GradMode):
    """Nothing is recorded inside: for evaluation and for parameter updates."""

    recording = False


class enable_grad(_GradMode):
    """Recording is on inside, also within no_grad."""


class inference_mode(_GradMode):
    """As no_grad; what is made inside can never take part in recording, so a slip is found at once."""

    recording = False
    inference = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return mode.recording
