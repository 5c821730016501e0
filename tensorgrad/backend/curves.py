"""Activations on the kernels of numba_curves.py: prepares their memory and shares their work."""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from tensorgrad.backend import numba_curves as code
from tensorgrad.backend import team
from tensorgrad.backend.memory import address_of
from tensorgrad.backend.numba_simd import Kernel, lanes
from tensorgrad.backend.rows import like, line_of

Array = np.ndarray[Any, Any]

#: Numbers from which on threads are worth being asked: of steps, and of curves, which take some ten times as long.
SHARED_STEPS, SHARED_CURVES = 1 << 15, 1 << 13
#: name -> (kernel of values, kernel of gradients, the function's number)
KERNELS: dict[str, tuple[Kernel, Kernel, int]] = {
    **{name: (code.steps, code.steps_along, number) for number, name in enumerate(code.STEPS)},
    **{name: (code.curves, code.curves_along, number) for number, name in enumerate(code.CURVES)},
}


def _run(kernel: Kernel, number: int, arrays: tuple[Array, ...], settings: tuple[float, ...]) -> None:
    count = arrays[0].size
    numbers = array.array("f", (*settings, 0.0, 0.0, 0.0))
    words = [number, *map(address_of, arrays), count, numbers.buffer_info()[0]]
    shared = SHARED_STEPS if kernel is code.steps or kernel is code.steps_along else SHARED_CURVES
    team.run(kernel, words, -(-count // lanes()), count >= shared)


def _dense(x: Array) -> Array:
    """x itself if its numbers lie side by side, in the order of its axes or channels last; else a copy that does so."""
    x = np.asarray(x)  # a scalar of NumPy is no array
    return x if line_of(x) is not None else np.ascontiguousarray(x)


def value(name: str, x: Array, settings: tuple[float, ...]) -> Array:
    """f(x), in x's memory order if its numbers lie side by side."""
    x = _dense(x)
    kernel, _, number = KERNELS[name]
    z = like(x)
    _run(kernel, number, (x, z), settings)
    return z


def along(name: str, d: Array, kept: Array, settings: tuple[float, ...]) -> Array:
    """d times the derivative, of x or of the result, whichever is kept; in its memory order."""
    kept = _dense(kept)
    dx = like(kept)
    d = np.asarray(d)
    if d.strides != kept.strides:  # into the memory order of x
        np.copyto(dx, d)
        d = dx
    _, kernel, number = KERNELS[name]
    _run(kernel, number, (d, kept, dx), settings)
    return dx
