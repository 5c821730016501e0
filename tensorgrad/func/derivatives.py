"""Derivatives of functions of trees, in reverse mode and in forward mode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tensorgrad import autodiff
from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError, OperandError, ShapeError
from tensorgrad.func.trees import ArgNums, chosen_arguments, detached, leaves, like, split_aux, tensors
from tensorgrad.mode import enable_grad, mode
from tensorgrad.tensor import Tensor


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """func(*primals), and the map from a cotangent of its output to the tuple of the primals' cotangents.

    With `has_aux`, func returns (output, other), and so does vjp: (output, map, other).

    >>> import tensorgrad
    >>> out, pullback = vjp(lambda x: x.sin(), tensorgrad.tensor([0.0]))
    >>> pullback(tensorgrad.tensor([2.0]))
    (tensor([2.]),)
    """
    aux: list[Any] = []
    form: list[Any] = []

    def flat(*xs: Tensor) -> tuple[Tensor, ...]:
        out, other = split_aux("vjp", func(*like(primals, iter(xs))), has_aux)
        aux.append(other)
        form.append(out)
        return tuple(tensors("vjp", "the output", out))

    outs, pullback = autodiff.vjp(flat, *tensors("vjp", "a primal", primals))

    def on_trees(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple[Any, ...]:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        found: tuple[Any, ...] = like(primals, iter(pullback(*tensors("vjp", "the cotangent", given))))
        return found

    out = like(form[0], iter(outs))
    if not mode.recording or not any(x.tracked for x in leaves(primals)):
        out = detached(out)
    return (out, on_trees, aux[0]) if has_aux else (out, on_trees)


def _gradients(
    operation: str, func: Callable[..., Any], argnums: ArgNums, has_aux: bool, args: tuple[Any, ...], kwargs: Any
) -> tuple[Any, Any, Any]:
    """Gradients, value and other of a scalar function."""
    chosen = chosen_arguments(operation, args, argnums)
    wanted = [args[number] for number in chosen]
    xs = autodiff.fresh(tensors(operation, "a differentiated argument", wanted))
    replaced = dict(zip(chosen, like(wanted, iter(xs))))
    with enable_grad():
        value, other = split_aux(operation, func(*[replaced.get(i, x) for i, x in enumerate(args)], **kwargs), has_aux)
        if not isinstance(value, Tensor) or value.array.size != 1:
            got = f"shape {value.shape}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise GraphError(f"{operation}: the function returned {got}; it must return a scalar Tensor")
    outer = mode.recording and any(autodiff.has_history(x) for x in leaves([args, kwargs]) if isinstance(x, Tensor))
    if value.tracked:
        found = autodiff.grad(value, xs, create_graph=outer, materialize_grads=True)
    else:
        found = tuple(Tensor(backend_of(x.array).zeros_like(x.array)) for x in xs)
    grads = like(wanted, iter(found))
    if not outer:
        value, other = detached(value), detached(other) if other is not None else None
    return grads[0] if isinstance(argnums, int) else tuple(grads), value, other


def grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of a scalar function with respect to argument(s) `argnums`.

    >>> import tensorgrad
    >>> grad(grad(lambda x: x ** 3))(tensorgrad.tensor(2.0))
    tensor(12.)
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        grads, _, other = _gradients("grad", func, argnums, has_aux, args, kwargs)
        return (grads, other) if has_aux else grads

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As grad, but the function gives (gradient, value), or (gradient, (value, other)) with `has_aux`.

    >>> import tensorgrad
    >>> grad_and_value(lambda x: x * x)(tensorgrad.tensor(3.0))
    (tensor(6.), tensor(9.))
    """

    @functools.wraps(func)
    def both(*args: Any, **kwargs: Any) -> Any:
        grads, value, other = _gradients("grad_and_value", func, argnums, has_aux, args, kwargs)
        return (grads, (value, other)) if has_aux else (grads, value)

    return both


def value_and_grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As grad_and_value, in the other order: (value, gradient), or ((value, other), gradient) with `has_aux`.

    >>> import tensorgrad
    >>> value_and_grad(lambda x: x * x)(tensorgrad.tensor(3.0))
    (tensor(9.), tensor(6.))
    """

    @functools.wraps(func)
    def both(*args: Any, **kwargs: Any) -> Any:
        grads, value, other = _gradients("value_and_grad", func, argnums, has_aux, args, kwargs)
        return ((value, other), grads) if has_aux else (value, grads)

    return both


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """func(*primals) and its derivative along `tangents`, in one forward pass.

    >>> import tensorgrad
    >>> jvp(lambda x: x * x, (tensorgrad.tensor(3.0),), (tensorgrad.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise OperandError("jvp: primals and tangents must be tuples, one entry for each argument: jvp(f, (x,), (dx,))")
    xs, dxs = tensors("jvp", "a primal", primals), tensors("jvp", "a tangent", tangents)
    aux: list[Any] = []
    form: list[Any] = []

    def flat(*duals: Tensor) -> tuple[Tensor, ...]:
        out, other = split_aux("jvp", func(*like(primals, iter(duals))), has_aux)
        aux.append(other)
        form.append(out)
        return tuple(tensors("jvp", "the output", out))

    outs, douts = autodiff.jvp(flat, tuple(xs), tuple(dxs))
    out, dout = like(form[0], iter(outs)), like(form[0], iter(douts))
    return (out, dout, detached(aux[0])) if has_aux else (out, dout)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the linear map J from tangents of the primals to the tangent of the output, func run only once.

    J is the transpose of the transpose: u -> J^T u is recorded, is linear in u, and its own pullback is J.

    >>> import tensorgrad
    >>> out, push = linearize(lambda x: x.sin(), tensorgrad.tensor([0.0, 1.0]))
    >>> push(tensorgrad.tensor([1.0, 0.0]))
    tensor([1., 0.])
    """
    xs = autodiff.fresh(tensors("linearize", "a primal", primals))
    with enable_grad():
        out = func(*like(primals, iter(xs)))
        outs = tensors("linearize", "the output", out)
        us = [Tensor(backend_of(z.array).zeros_like(z.array), requires_grad=True) for z in outs]
        moving = [(z, u) for z, u in zip(outs, us) if z.tracked]
        back = autodiff.grad(
            [z for z, _ in moving], xs, [u for _, u in moving], create_graph=True, materialize_grads=True
        )

    def push(*tangents: Any) -> Any:
        dxs = tensors("linearize", "a tangent", tangents)
        for x, dx in zip(xs, dxs):
            if x.shape != dx.shape:
                raise ShapeError(f"linearize: a tangent has shape {dx.shape}; its primal has {x.shape}")
        pairs = [(g, dx) for g, dx in zip(back, dxs) if g.tracked]
        douts = (
            autodiff.grad([g for g, _ in pairs], us, [dx for _, dx in pairs], retain_graph=True, materialize_grads=True)
            if pairs
            else tuple(Tensor(backend_of(z.array).zeros_like(z.array)) for z in outs)
        )
        return like(out, iter(douts))

    return detached(out), push
