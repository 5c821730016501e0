"""Functions that a user wants called with the gradient of a Tensor while backward runs, and gradients kept for results.

A hook of a result is kept by its node (the Tensor may be gone when the gradient arrives), one of a leaf by the Tensor.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError, OperandError, ShapeError
from tensorgrad.handles import RemovableHandle, register
from tensorgrad.primitive import Output
from tensorgrad.tensor import Tensor

Hook = Callable[[Tensor], "Tensor | None"]


def register_hook(self: Tensor, hook: Hook) -> RemovableHandle:
    """Call hook(gradient) whenever a backward has the whole gradient of this Tensor; a Tensor it returns takes its place.

    Hooks run in the order in which they were registered, each on what the one before returned. Raises GraphError for a
    Tensor that does not require grad.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> y = x * 3
    >>> handle = y.register_hook(lambda gradient: gradient * 10)
    >>> y.sum().backward()
    >>> x.grad
    tensor([30., 30.])
    """
    if not self.tracked:
        raise GraphError("register_hook: this Tensor does not require grad, so no gradient will arrive at it")
    if not callable(hook):
        raise OperandError(f"register_hook: the hook is a {type(hook).__name__}; give a function of the gradient")
    handle: RemovableHandle = register(_hooks_of(self), hook)
    return handle


def _hooks_of(x: Tensor) -> dict[int, Hook]:
    """Where the hooks of the place on the tape are at which x stands now."""
    place = x.node
    if place is None or isinstance(place, Tensor):  # a leaf, or an alias of one
        extra = (x if place is None else place).make_extra()
        if extra.hooks is None:
            extra.hooks = {}
        return extra.hooks
    node, position = (place.node, place.position) if isinstance(place, Output) else (place, 0)
    node_extra = node.make_extra()
    if node_extra.hooks is None:
        node_extra.hooks = {}
    hooks: dict[int, Hook] = node_extra.hooks.setdefault(position, {})
    return hooks


def run_hooks(hooks: dict[int, Hook] | None, dz: Any, create_graph: bool) -> Any:
    """The cotangent as the hooks leave it: an array for an array, unless a graph of it is wanted."""
    if not hooks:
        return dz
    arrays = not isinstance(dz, Tensor)
    g = Tensor(backend_of(dz).copy(backend_of(dz).asarray(dz))) if arrays else dz  # what a hook keeps is its own
    for hook in list(hooks.values()):
        changed = hook(g)
        if changed is None:
            continue
        if not isinstance(changed, Tensor):
            raise OperandError(
                f"Tensor hook {_named(hook)}: it returned a {type(changed).__name__}; return a Tensor or None"
            )
        if changed.shape != g.shape or changed.dtype != g.dtype:
            raise ShapeError(
                f"Tensor hook {_named(hook)}: it returned shape {changed.shape}, dtype {changed.dtype} for a gradient "
                f"of shape {g.shape}, dtype {g.dtype}"
            )
        g = changed
    return g.array if arrays and not create_graph else g


def _named(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call hook(self) after every backward that added to this leaf's `.grad`: to step an optimiser at once, say.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0], requires_grad=True)
    >>> handle = x.register_post_accumulate_grad_hook(lambda x: print(x.grad))
    >>> (x * 2).backward()
    tensor([2.])
    """
    if not self.tracked or self.node is not None:
        raise GraphError("register_post_accumulate_grad_hook: only a leaf that requires grad collects gradients")
    extra = self.make_extra()
    hooks: dict[int, Callable[[Tensor], Any]] = extra.after or {}
    extra.after = hooks
    return register(hooks, hook)


def retain_grad(self: Tensor) -> None:
    """Let this result of an operation keep its gradient in `.grad`, as leaves do anyway.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> y = x * x
    >>> y.retain_grad()
    >>> y.sum().backward()
    >>> y.grad
    tensor([1., 1.])
    """
    if not self.tracked:
        raise GraphError("retain_grad: this Tensor does not require grad, so no gradient will arrive at it")
    if self.node is None or retains_grad(self):
        return
    keeper: Hook = _Keeper(self)
    register(_hooks_of(self), keeper)


class _Keeper:
    """The hook that adds a gradient to the `.grad` of a Tensor, which it does not keep alive."""

    def __init__(self, x: Tensor) -> None:
        self.tensor = weakref.ref(x)

    def __call__(self, gradient: Tensor) -> Tensor | None:
        x = self.tensor()
        if x is not None:
            x._grad = gradient if x._grad is None else x._grad + gradient
        return None


def retains_grad(self: Tensor) -> bool:
    """Whether a result of an operation keeps its gradient."""
    if not self.tracked or self.node is None:
        return False
    return any(isinstance(hook, _Keeper) and hook.tensor() is self for hook in _hooks_of(self).values())
