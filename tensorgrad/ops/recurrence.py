"""Recurrences along one dimension, in log2(n) steps and without a division: what products and scans are differentiated with.

All functions take arrays or Tensors; on Tensors they record, so what is built of them has derivatives of every order.
"""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend import backend_of


def _cut(x: Any, dim: int, start: int | None, stop: int | None) -> Any:
    return backend_of(x).getitem(x, (*(slice(None),) * dim, slice(start, stop)))


def affine_scan(a: Any, b: Any, dim: int) -> Any:
    """y_i = a_i y_{i-1} + b_i along dim, with y_{-1} = 0; a_0 plays no part.

    Two neighbouring steps are one step: y_i = (a_i a_{i-1}) y_{i-2} + (a_i b_{i-1} + b_i). So after every round each y_i
    has taken up twice as many of its predecessors (Kogge and Stone, 1973; Blelloch, "Prefix sums", 1990).
    """
    step, length = 1, b.shape[dim]
    concatenate = backend_of(b).concatenate
    a = _cut(a, dim, 1, None)  # a stands for the factors of y_step, y_step+1, ...
    while step < length:
        b = concatenate(
            [_cut(b, dim, None, step), _cut(b, dim, step, None) + a * _cut(b, dim, None, length - step)], dim
        )
        if 2 * step < length:
            a = _cut(a, dim, step, None) * _cut(a, dim, None, length - 2 * step)
        step *= 2
    return b


def running_products(x: Any, dim: int) -> Any:
    """z_i = 1 x_0 x_1 ... x_{i-1}: the product of all before."""
    length = x.shape[dim]
    one = backend_of(x).zeros_like(_cut(x, dim, None, 1)) + 1
    z = backend_of(x).concatenate([one, _cut(x, dim, None, length - 1)], dim) if length else x
    step = 1
    while step < length:
        head, tail = _cut(z, dim, None, step), _cut(z, dim, step, None)
        z = backend_of(z).concatenate([head, tail * _cut(z, dim, None, length - step)], dim)
        step *= 2
    return z


def products_of_others(x: Any, dims: tuple[int, ...]) -> Any:
    """For each value the product of all others over `dims`; exact where some are 0."""
    backend = backend_of(x)
    rest = tuple(axis for axis in range(x.ndim) if axis not in dims)
    order = (*rest, *dims)
    together = backend.transpose(x, order)
    count = math.prod(x.shape[axis] for axis in dims)
    flat = backend.reshape(together, (*(x.shape[axis] for axis in rest), count))
    dim = len(rest)
    after = backend.flip(running_products(backend.flip(flat, dim), dim), dim)
    others = backend.reshape(running_products(flat, dim) * after, together.shape)
    back = tuple(order.index(axis) for axis in range(x.ndim))
    return backend.transpose(others, back)
