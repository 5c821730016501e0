"""Functions called around the forward of a Module, and with the gradients at its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tensorgrad.autograd.function import Function
from tensorgrad.tensor import Tensor


class Hook(NamedTuple):
    """A function and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


Hooks = dict[int, Hook]


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """module.forward between its hooks: a pre-hook may replace the arguments, a hook the output, by returning them."""
    hooks = module._forward_hooks
    called: set[int] = set()
    output = None
    try:
        for pre_hook in list(module._forward_pre_hooks.values()):
            args, kwargs = _before(module, pre_hook, args, kwargs)
        if module._backward_hooks or module._backward_pre_hooks:
            output = _between_gates(module, args, kwargs)
        else:
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


class _Gate(Function):
    """z = x; on its way back the cotangent goes through a function."""

    @staticmethod
    def forward(ctx: Any, passing: Callable[..., Any], *xs: Any) -> Any:
        ctx.passing = passing
        ctx.set_materialize_grads(False)
        return xs

    @staticmethod
    def backward(ctx: Any, *dzs: Any) -> Any:
        return (None, *ctx.passing(dzs))

    @staticmethod
    def jvp(ctx: Any, _: Any, *dxs: Any) -> Any:
        return dxs


def _gated(values: tuple[Any, ...], passing: Callable[..., Any]) -> tuple[Any, ...]:
    """The values, each Tensor that requires grad behind one gate; `passing` gets and gives a cotangent for each value."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        return values

    def at_places(dzs: tuple[Any, ...]) -> Any:
        whole: list[Any] = [None] * len(values)
        for i, dz in zip(places, dzs):
            whole[i] = dz
        changed = passing(tuple(whole))
        return [changed[i] for i in places]

    passed = list(values)
    for i, z in zip(places, _Gate.apply(at_places, *[values[i] for i in places])):
        passed[i] = z
    return tuple(passed)


def _between_gates(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """forward with a gate before it and one behind: the gradients that pass them are what the backward hooks see."""
    arrived: list[tuple[Any, ...]] = []  # the gradients of the output, between the two gates

    def leaving(grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        grad_output = arrived.pop() if arrived else ()
        for hook in list(module._backward_hooks.values()):
            changed = hook(module, grad_input, grad_output)
            if changed is not None:
                grad_input = _replaced("full backward hook", module, changed, grad_input)
        return grad_input

    def entering(grad_output: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in list(module._backward_pre_hooks.values()):
            changed = hook(module, grad_output)
            if changed is not None:
                grad_output = _replaced("full backward pre-hook", module, changed, grad_output)
        arrived[:] = [grad_output]
        if not gated:
            leaving((None,) * len(args))  # no gradient will come out of the module
        return grad_output

    passed = _gated(args, leaving)
    gated = passed is not args
    output = module.forward(*passed, **kwargs)
    if isinstance(output, Tensor):
        return _gated((output,), entering)[0]
    if isinstance(output, (tuple, list)):
        values = _gated(tuple(output), entering)
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    raise RuntimeError(
        f"full backward hook of {type(module).__name__}: its forward returned a {type(output).__name__}; it must return a "
        "Tensor or a tuple of Tensors"
    )


def _replaced(kind: str, module: Any, changed: Any, before: tuple[Any, ...]) -> tuple[Any, ...]:
    given = changed if isinstance(changed, tuple) else (changed,)
    if len(given) != len(before):
        raise RuntimeError(
            f"{kind} of {type(module).__name__}: it returned {len(given)} gradients instead of {len(before)}; return None or "
            "one for each"
        )
    return given


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
