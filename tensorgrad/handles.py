"""Functions that a user registers to be called, and the handles that take them away again."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

_numbers = itertools.count()
_Registered = TypeVar("_Registered")


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

    def __init__(self, hooks: dict[int, Any], number: int) -> None:
        self._hooks = hooks
        self._number = number

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def register(hooks: dict[int, _Registered], hook: _Registered, prepend: bool = False) -> RemovableHandle:
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
