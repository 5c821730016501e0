"""Parametric ReLU on the kernels of numba_prelu.py: prepares their memory and shares their work."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_prelu as code
from tensorgrad.backend import rows, team
from tensorgrad.backend.memory import address_of

Array = np.ndarray[Any, Any]

#: Numbers from which on threads are worth being asked.
SHARED_NUMBERS = 1 << 15
#: Numbers of a line where all have one slope.
PIECE = 1 << 12


def _in_order(x: Array, weight: Array) -> tuple[Array, bool]:
    """x, copied where no kernel knows its memory, and whether it is rows of channels with a slope each."""
    if weight.size == 1:
        return (x if rows.line_of(x) is not None else np.ascontiguousarray(x)), False
    in_rows = rows.rows_of(x) is not None
    return (x if in_rows else np.ascontiguousarray(x)), in_rows


def _lines(x: Array, weight: Array) -> tuple[list[int], int]:
    """Length of a line, numbers, slopes and how many; and the number of lines."""
    length = PIECE if weight.size == 1 else x.size // (x.shape[0] * x.shape[1])
    return [length, x.size, address_of(weight), weight.size], -(-x.size // length)


def value(x: Array, weight: Array) -> Array:
    """z, in x's memory order if its numbers lie side by side."""
    x, in_rows = _in_order(x, weight)
    z = rows.like(x)
    pair = [address_of(x), address_of(z)]
    if in_rows:
        full = rows.vector(weight)
        words, count = [*pair, x.shape[1], address_of(full)], x.size // x.shape[1]
    else:
        weight = np.ascontiguousarray(weight)
        settings, count = _lines(x, weight)
        words = [*pair, *settings]
    team.run(code.rows if in_rows else code.lines, words, count, x.size >= SHARED_NUMBERS)
    return z


def gradients(dz: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    """(dx, dw); dx in x's memory order if its numbers lie side by side."""
    x, in_rows = _in_order(x, weight)
    dx = rows.like(x)
    if dz.strides != x.strides:  # into the memory order of x
        np.copyto(dx, dz)
        dz = dx
    if in_rows:
        full = rows.vector(weight)
        arrays = [rows.rows_like(v, x) for v in (dz, x, dx)]
        (sums,) = rows.sums_of(code.rows_gradient, arrays, [address_of(full)], 1, 1)
        return dx, sums.sum(axis=0).astype(np.float32)
    weight = np.ascontiguousarray(weight)
    settings, count = _lines(x, weight)
    sums = np.empty((count // weight.size, weight.size), np.float32)
    words = [*map(address_of, (dz, x, dx)), *settings, address_of(sums)]
    team.run(code.lines_gradient, words, count, x.size >= SHARED_NUMBERS)
    return dx, sums.sum(axis=0, dtype=np.float64).astype(np.float32)
