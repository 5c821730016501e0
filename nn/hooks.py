"""Functions called around the forward of a Module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Hook(NamedTuple):
    """A function and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


Hooks = dict[int, Hook]


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
