"""Derivatives of a function at a point: its products jvp, vjp and hvp, and its whole matrices, jacobian and hessian."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.autodiff.gradients import grad, listed
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.mode import enable_grad, mode
from tensorgrad.primitive import open_levels, tape
from tensorgrad.tensor import Tensor

_levels = itertools.count(1)


def new_level() -> int:
    """The number of a derivative in forward mode, larger than all before it."""
    return next(_levels)


def jvp(function: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of function(*primals) and its derivative along `tangents`, in one forward pass.

    primals, tangents  a Tensor or a tuple of Tensors, tangents of the primals' shapes and dtypes
    Returns (output, tangent of the output), each a Tensor or a tuple as the function gives. Calls nest to any order, and
    mix with backward and grad.

    >>> import tensorgrad
    >>> x, dx = tensorgrad.tensor([1.0, 2.0]), tensorgrad.tensor([1.0, 0.0])
    >>> jvp(lambda x: x * x, (x,), (dx,))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    xs, dxs = listed(primals), listed(tangents)
    if len(xs) != len(dxs):
        raise ArgumentError(f"jvp: got {len(xs)} primals and {len(dxs)} tangents; give one tangent for each primal")
    level = next(_levels)
    duals = []
    for position, (x, dx) in enumerate(zip(xs, dxs)):
        if x.shape != dx.shape or x.dtype != dx.dtype:
            raise ShapeError(
                f"jvp: tangent {position} has shape {dx.shape} and dtype {dx.dtype}; its primal has {x.shape} and {x.dtype}"
            )
        before = None if x.extra is None else x.extra.tangents
        duals.append(x.alias({**(before or {}), level: dx}))
    open_levels[level] = []
    try:
        out = function(*duals)
        results = [_split(z, level) for z in listed(out)]
    finally:
        for node_extra in open_levels.pop(level):
            node_extra.close(level)
    if isinstance(out, (list, tuple)):
        return tuple(z for z, _ in results), tuple(dz for _, dz in results)
    return results[0]


def _split(z: Tensor, level: int) -> tuple[Tensor, Tensor]:
    if not isinstance(z, Tensor):
        raise OperandError(f"jvp: the function returned a {type(z).__name__}; it must return Tensors")
    dz = z.tangent(level)
    if dz is None:
        dz = Tensor(backend_of(z.array).zeros_like(z.array))
    return z.below(level), dz


def vjp(function: Callable[..., Any], *primals: Tensor) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """The value of function(*primals), and the map from a cotangent of it to the cotangents of the primals.

    >>> import tensorgrad
    >>> out, pullback = vjp(lambda x: x * x, tensorgrad.tensor([1.0, 2.0]))
    >>> pullback(tensorgrad.tensor([1.0, 1.0]))
    (tensor([2., 4.]),)
    """
    xs = fresh(primals)
    with enable_grad():
        out = function(*xs)
    outs = listed(out)

    def pullback(*cotangents: Tensor) -> tuple[Tensor, ...]:
        outer = mode.recording and any(has_history(dz) for dz in [*cotangents, *primals])
        return grad(outs, xs, list(cotangents), retain_graph=True, create_graph=outer, materialize_grads=True)

    return out, pullback


def has_history(x: Tensor) -> bool:
    """Whether gradients or tangents lead to it."""
    return x.tracked or (x.extra is not None and bool(x.extra.tangents))


def fresh(primals: Sequence[Tensor]) -> list[Tensor]:
    """The same values as inputs of their own, still attached to what they came from."""
    fresh = []
    with enable_grad():
        for x in primals:
            z = tape.identity(x)
            if not z.tracked:
                z.requires_grad = True
            fresh.append(z)
    return fresh


def jacobian(function: Callable[..., Tensor], x: Tensor, create_graph: bool = False) -> Tensor:
    """The m-by-n Jacobian J[i, j] = df_i/dx_j of f at x, of shape (*output shape, *input shape), row by row in reverse mode.

    >>> import tensorgrad
    >>> jacobian(lambda x: x * x, tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    (z,) = fresh([x])
    with enable_grad():
        out = function(z)
    backend = backend_of(out.array)
    rows = []
    for i in range(out.array.size):
        unit = backend.zeros((out.array.size,), out.dtype)
        unit[i] = 1
        (row,) = grad(
            out,
            z,
            Tensor(backend.reshape(unit, out.shape)),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        rows.append(row)
    if not rows:
        return Tensor(backend.zeros((*out.shape, *x.shape), out.dtype))
    return tape.reshape(tape.stack(rows, 0), (*out.shape, *x.shape))


def hessian(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """The matrix of second derivatives of a scalar f at x, of shape (*x.shape, *x.shape).

    >>> import tensorgrad
    >>> hessian(lambda x: (x ** 3).sum(), tensorgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacobian(lambda y: _gradient(function, y), x)


def hvp(function: Callable[..., Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and the Hessian of f at x times v, forward over reverse: about four evaluations of f, no matrix.

    >>> import tensorgrad
    >>> hvp(lambda x: (x ** 3).sum(), tensorgrad.tensor([1.0, 2.0]), tensorgrad.tensor([0.0, 1.0]))[1]
    tensor([ 0., 12.])
    """
    value: list[Tensor] = []

    def gradient(y: Tensor) -> Tensor:
        return _gradient(function, y, value)

    _, product = jvp(gradient, (x,), (v,))
    # without a history of x or v, the product's leads only to the leaf that _gradient made
    return Tensor(value[0].array), product if has_history(x) or has_history(v) else Tensor(product.array)


def _gradient(function: Callable[..., Tensor], x: Tensor, value: list[Tensor] | None = None) -> Tensor:
    (z,) = fresh([x])
    with enable_grad():
        out = function(z)
    if value is not None:
        value.append(out)
    return grad(out, z, create_graph=True, materialize_grads=True)[0]
