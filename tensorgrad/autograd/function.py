"""A user's own differentiable function: forward, backward and, if wanted, jvp as static methods, in PyTorch's form.

An application is one node of the tape (`FunctionCall`), whose rules call the user's methods with a context that carries what
forward left there. A new operation of the library is a Primitive instead; this is for those who know PyTorch's form.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.autograd.function_call import FunctionCall, push, put_back, results_of, without_tangents
from tensorgrad.errors import GraphError, OperandError
from tensorgrad.mode import mode, no_grad
from tensorgrad.primitive import observers
from tensorgrad.primitive.tangents import levels_of
from tensorgrad.tensor import Tensor


class Context:
    """What forward hands to backward and jvp. Any attribute may be set on it; Tensors go through save_for_backward.

    needs_input_grad  a bool for every argument of forward: whether its gradient is wanted
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._for_jvp: tuple[Any, ...] | None = None
        self._versions: list[int] = []
        self._sums: list[int | None] = []  # where NumPy has the memory
        self._dirty: tuple[Tensor, ...] = ()
        self._not_differentiable: tuple[Tensor, ...] = ()
        self._materialize = True
        self._node: Callable[[], FunctionCall | None] = lambda: None  # weak: the node holds the context
        self._level: int | None = None  # of the jvp that is being computed

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or results for backward; a later change of them in place is noticed there."""
        for x in tensors:
            if x is not None and not isinstance(x, Tensor):
                raise OperandError(
                    f"save_for_backward: got a {type(x).__name__}; it takes Tensors and None, set other values as attributes "
                    "of ctx"
                )
        self._saved = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or results for jvp, where these differ from what backward needs."""
        self._for_jvp = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What save_for_backward kept (in jvp: save_for_forward, if it was called)."""
        if self._level is not None:
            kept = self._saved if self._for_jvp is None else self._for_jvp
            return tuple(x.below(self._level) if isinstance(x, Tensor) else x for x in kept)
        node = self._node()
        if node is None:
            raise GraphError("saved_tensors: the graph of this Function is gone")
        return tuple(node.checked(position, x) for position, x in enumerate(self._saved))

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward changed these inputs in place; it must return them."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that no gradient comes through these results."""
        self._not_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for results that nobody used."""
        self._materialize = value


class _Meta(type):
    """Refuses the form of PyTorch before 0.2, where a Function was an instance."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise GraphError(f"{cls.__name__}: a Function is not instantiated; call {cls.__name__}.apply(...)")


class Function(metaclass=_Meta):
    """A differentiable function of one's own.

    A subclass has static methods:

    forward(ctx, *args)            the result, a Tensor or a tuple; nothing is recorded inside
    backward(ctx, *cotangents)     a gradient for every argument of forward, None where there is none
    jvp(ctx, *tangents)            (optional) the tangents of the results; None for arguments without one
    setup_context(ctx, inputs, output)   (optional) what forward does to ctx; forward is then written without ctx

    Where backward is made of differentiable operations, so is its result: higher orders need nothing more.

    >>> import tensorgrad
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, dz):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * dz
    >>> x = tensorgrad.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    forward: Callable[..., Any]
    setup_context: Callable[..., None]

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        raise NotImplementedError(
            "this Function has no backward: define it as a static method backward(ctx, *cotangents)"
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NotImplementedError("this Function has no jvp: define it as a static method jvp(ctx, *tangents)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The function of its arguments, recorded as one node."""
        context = Context()
        tensors = [x for x in args if isinstance(x, Tensor)]
        record = mode.recording and any(x.tracked for x in tensors)
        context.needs_input_grad = tuple(isinstance(x, Tensor) and x.tracked for x in args)
        node = FunctionCall(cls)
        node.context = context
        context._node = weakref.ref(node)
        versions = [x._version for x in tensors]
        levels = sorted(levels_of(tensors))
        plain = [without_tangents(x) for x in args] if levels else args
        with no_grad():
            out = _computed(cls, context, plain)
        if levels:
            put_back(context, plain, args)
        several = isinstance(out, (tuple, list))
        if not several and out is not None and not isinstance(out, Tensor):
            raise OperandError(f"{cls.__name__}.forward: it returned a {type(out).__name__}; return Tensors")
        results = results_of(node, context, args, plain, list(out) if several else [out], record, versions)
        made = [z for z in results if isinstance(z, Tensor)]
        if levels:
            push(node, args, made, levels)
        for observer in observers:
            observer(node, tuple(tensors), tuple(made))
        return tuple(results) if several else results[0]


def _computed(function: type[Function], context: Context, args: Sequence[Any]) -> Any:
    """What forward returns, called in the form it is written in: with ctx, or without where there is a setup_context."""
    if not hasattr(function, "setup_context"):
        return function.forward(context, *args)
    out = function.forward(*args)
    function.setup_context(context, tuple(args), out)
    return out


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a backward that is not made of differentiable operations: a second derivative through it is refused."""

    @functools.wraps(backward)
    def inside(ctx: Any, *cotangents: Any) -> Any:
        if mode.recording:
            raise GraphError(
                f"{backward.__qualname__}: it is marked once_differentiable, so it cannot be differentiated; do not pass "
                "create_graph=True"
            )
        with no_grad():
            return backward(ctx, *cotangents)

    return inside
