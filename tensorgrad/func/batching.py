"""vmap: a function of one example, applied to many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tensorgrad.errors import ArgumentError, GraphError
from tensorgrad.func.trees import leaves, like
from tensorgrad.primitive import tape
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that applies `func` to every slice of its arguments and stacks the results.

    in_dims     the dimension to slice, for all arguments or for each (None: the argument is passed whole)
    out_dims    where the new dimension goes in the results
    randomness  'error' refuses random numbers inside; 'different' draws new ones for each slice; 'same' the same ones

    It runs func slice by slice, so it works with every operation and every derivative, and saves writing the loop, not time.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> vmap(lambda row: (row * row).sum())(x)
    tensor([ 5., 25.])
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(f"vmap: got randomness={randomness!r}; give 'error', 'different' or 'same'")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        dims_in = _dims_like(args, tuple(in_dims) if isinstance(in_dims, (tuple, list)) else in_dims, "in_dims")
        given = leaves(args)
        sizes = {x.shape[d] for x, d in zip(given, dims_in) if d is not None}
        if len(sizes) != 1:
            what = "no argument is mapped over" if not sizes else f"the mapped dimensions have sizes {sorted(sizes)}"
            raise ArgumentError(f"vmap: {what}; at least one must be mapped, and all to the same size")
        (size,) = sizes
        state = default_generator.get_state()
        outs = []
        for i in range(size):
            if randomness == "same":
                default_generator.set_state(state)
            slices = [x if d is None else x.unbind(d)[i] for x, d in zip(given, dims_in)]
            outs.append(func(*like(args, iter(slices)), **kwargs))
            if randomness == "error" and default_generator.get_state() != state:
                default_generator.set_state(state)
                raise GraphError("vmap: the function drew random numbers; choose randomness='different' or 'same'")
        if not outs:
            raise ArgumentError("vmap: the mapped dimension has size 0, so there is no result to take the form from")
        dims_out = _dims_like(outs[0], out_dims, "out_dims")
        columns = zip(*[leaves(out) for out in outs])
        return like(outs[0], iter([tape.stack(list(column), d) for column, d in zip(columns, dims_out)]))

    return mapped


def _dims_like(tree: Any, dims: Any, name: str) -> list[Any]:
    """A dimension for every leaf: one number for all, or a tree that begins like the other."""
    if dims is None or isinstance(dims, int):
        return [dims if isinstance(x, Tensor) else None for x in leaves(tree)]
    if isinstance(tree, Tensor) or len(tree) != len(dims):
        raise ArgumentError(f"vmap: got {name}={dims}; it must be a number, or one entry for each argument")
    items = tree.values() if isinstance(tree, Mapping) else tree
    entries = [dims[key] for key in tree] if isinstance(tree, Mapping) and isinstance(dims, Mapping) else dims
    return [d for item, entry in zip(items, entries) for d in _dims_like(item, entry, name)]
