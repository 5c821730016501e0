"""Functions called around the forward of a Module."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

_numbers = itertools.count()


class Hook(NamedTuple):
    """A function and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


Hooks = dict[int, Hook]


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away, as does leaving a `with` block.

    >>> import tensorgrad.nn as nn
    >>> layer = nn.Identity()
    >>> with layer.register_forward_hook(lambda module, args, output: print("called")):
    ...     _ = layer(1)
    called
    >>> layer(1)
    1
    """

    def __init__(self, hooks: Hooks, number: int) -> None:
        self._hooks = hooks
        self._number = number

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def add_hook(hooks: Hooks, hook: Hook, prepend: bool) -> RemovableHandle:
    """Put a hook at the end of `hooks`, or at the front."""
    number = next(_numbers)
    if prepend:
        others = dict(hooks)
        hooks.clear()
        hooks[number] = hook
        hooks.update(others)
    else:
        hooks[number] = hook
    return RemovableHandle(hooks, number)


def call_with_hooks(module: Any, pre_hooks: Hooks, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """module.forward between its hooks: a pre-hook may replace the arguments, a hook the output, by returning them."""
    called: set[int] = set()
    output = None
    try:
        for pre_hook in list(pre_hooks.values()):
            args, kwargs = _before(module, pre_hook, args, kwargs)
        output = module.forward(*args, **kwargs)
        for number, hook in list(hooks.items()):
            called.add(number)
            output = _after(module, hook, args, kwargs, output)
    except Exception:
        for number, hook in list(hooks.items()):
            if hook.always_call and number not in called:
                _after(module, hook, args, kwargs, output)
        raise
    return output


def _before(
    module: Any, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hook.with_kwargs:
        changed = hook.function(module, args, kwargs)
        if changed is None:
            return args, kwargs
        if not (isinstance(changed, tuple) and len(changed) == 2):
            raise RuntimeError(
                f"forward pre-hook of {type(module).__name__}: it returned {changed!r}; registered with_kwargs=True, "
                "it must return None or the pair (args, kwargs)"
            )
        return changed
    changed = hook.function(module, args)
    if changed is None:
        return args, kwargs
    return changed if isinstance(changed, tuple) else (changed,), kwargs


def _after(module: Any, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    if hook.with_kwargs:
        changed = hook.function(module, args, kwargs, output)
    else:
        changed = hook.function(module, args, output)
    return output if changed is None else changed
