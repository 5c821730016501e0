"""Jacobians and Hessians, row by row or column by column."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from tensorgrad import autodiff
from tensorgrad.backend import backend_of
from tensorgrad.func.derivatives import vjp
from tensorgrad.func.trees import ArgNums, chosen_arguments, detached, leaves, like, split_aux, tensors
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor


def _units(x: Tensor) -> Iterator[Tensor]:
    """The unit vectors of x's space."""
    backend = backend_of(x.array)
    for i in range(x.array.size):
        unit = backend.zeros((x.array.size,), x.array.dtype)
        unit[i] = 1
        yield Tensor(backend.reshape(unit, x.shape))


def jacrev(
    func: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """The function that gives the Jacobian of `func` with respect to argument(s) `argnums`, row by row in reverse mode.

    A Tensor of shape (*output shape, *input shape) for each output and input, in the outputs' tree of the inputs' trees.
    chunk_size is accepted for PyTorch's sake: rows are computed one at a time.

    >>> import tensorgrad
    >>> jacrev(lambda x: x * x)(tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        chosen = chosen_arguments("jacrev", args, argnums)
        wanted = [args[number] for number in chosen]

        def of_wanted(*replaced: Any) -> Any:
            places = dict(zip(chosen, replaced))
            return func(*[places.get(i, x) for i, x in enumerate(args)], **kwargs)

        found = vjp(of_wanted, *wanted, has_aux=has_aux)
        out, pullback = found[0], found[1]
        outs = leaves(out)
        blocks = []
        for position, z in enumerate(outs):
            rows = []
            for unit in _units(z):
                us = [
                    unit if i == position else Tensor(backend_of(y.array).zeros_like(y.array))
                    for i, y in enumerate(outs)
                ]
                rows.append(leaves(pullback(like(out, iter(us)))))
            xs = leaves(wanted)
            columns = [
                tape.reshape(tape.stack([row[i] for row in rows], 0), (*z.shape, *x.shape))
                if rows
                else Tensor(backend_of(z.array).zeros((*z.shape, *x.shape), z.array.dtype))
                for i, x in enumerate(xs)
            ]
            tree = like(wanted, iter(columns))
            blocks.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = like(out, iter(blocks))
        return (result, found[2]) if has_aux else result

    return jacobian


def jacfwd(
    func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """As jacrev, column by column in forward mode: for functions with fewer inputs than outputs.

    randomness is accepted for PyTorch's sake: every column runs the function anew.

    >>> import tensorgrad
    >>> jacfwd(lambda x: x * x)(tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        chosen = chosen_arguments("jacfwd", args, argnums)
        wanted = [args[number] for number in chosen]
        xs = tensors("jacfwd", "a differentiated argument", wanted)
        other: list[Any] = []
        form: list[Any] = []

        def flat(*duals: Tensor) -> tuple[Tensor, ...]:
            places = dict(zip(chosen, like(wanted, iter(duals))))
            out, aux = split_aux("jacfwd", func(*[places.get(i, x) for i, x in enumerate(args)], **kwargs), has_aux)
            other[:], form[:] = [aux], [out]
            return tuple(tensors("jacfwd", "the output", out))

        columns: list[list[Any]] = []  # by input, then by unit vector: the tangents of the outputs
        for position, x in enumerate(xs):
            columns.append([])
            for unit in _units(x):
                dxs = [
                    unit if i == position else Tensor(backend_of(y.array).zeros_like(y.array)) for i, y in enumerate(xs)
                ]
                columns[-1].append(autodiff.jvp(flat, tuple(xs), tuple(dxs))[1])
        if not form:
            flat(*xs)
        outs = leaves(form[0])
        blocks = []
        for number, z in enumerate(outs):
            parts = []
            for x, tangents in zip(xs, columns):
                if not tangents:
                    parts.append(Tensor(backend_of(z.array).zeros((*z.shape, *x.shape), z.array.dtype)))
                    continue
                stacked = tape.stack([dz[number] for dz in tangents], z.ndim)
                parts.append(tape.reshape(stacked, (*z.shape, *x.shape)))
            tree = like(wanted, iter(parts))
            blocks.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = like(form[0], iter(blocks))
        if not any(autodiff.has_history(x) for x in leaves([args, kwargs]) if isinstance(x, Tensor)):
            result = detached(result)  # what history it has is that of derivatives inside, which nobody can reach
        return (result, detached(other[0])) if has_aux else result

    return jacobian


def hessian(func: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives: forward over reverse.

    >>> import tensorgrad
    >>> hessian(lambda x: (x ** 3).sum())(tensorgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
