"""Looking an input up at the places of a grid, with the compiled loops of numba_sampling.py, for float32 and float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.resampling import ResamplingKernels

Array = np.ndarray[Any, Any]

#: Parts that the channels of a single sample are taken in, so that threads have something to share.
PARTS_OF_ONE = 4


class FastSamplingKernels(ResamplingKernels):
    """The loops from some size on; results lie in memory in the order of their axes."""

    def sampled(self, lookup: Any, x: Array, grid: Array) -> Array:
        if not _takes(x.shape[1] * math.prod(grid.shape[:-1]), x.shape, x, grid):
            return super().sampled(lookup, x, grid)
        from tensorgrad.backend import numba_sampling as loops

        values, places = _lines(x), _points(grid)
        z = np.empty((*x.shape[:2], places.shape[1]), x.dtype)
        settings = np.array(x.shape[2:]), lookup.mode == "nearest", loops.PADDING[lookup.padding_mode]
        blocks = len(x) * -(-places.shape[1] // loops.BLOCK)
        compiled.each(loops.look_up, (values, places, *settings, lookup.align_corners, z), blocks, 8 * z.size)
        return z.reshape(*x.shape[:2], *grid.shape[1:-1])

    def sampled_grad(
        self, lookup: Any, dz: Array, x: Array, grid: Array, of_x: bool, of_grid: bool
    ) -> tuple[Array | None, Array | None]:
        if not _takes(dz.size, x.shape, dz, x, grid):
            return super().sampled_grad(lookup, dz, x, grid, of_x, of_grid)
        from tensorgrad.backend import numba_sampling as loops

        cotangents, values, places = _lines(dz), _lines(x), _points(grid)
        lengths, nearest, padding = np.array(x.shape[2:]), lookup.mode == "nearest", loops.PADDING[lookup.padding_mode]
        dx = dgrid = None
        if of_x:
            dx = np.zeros_like(values)
            parts = min(x.shape[1], PARTS_OF_ONE) if len(x) == 1 else 1
            to_x = cotangents, places, lengths, nearest, padding, lookup.align_corners, parts, dx
            compiled.each(loops.put_back, to_x, len(x) * parts, 8 * dz.size)
        if of_grid and nearest:
            dgrid = np.zeros_like(places)
        elif of_grid:
            dgrid = np.empty_like(places)
            blocks = len(x) * -(-places.shape[1] // loops.BLOCK)
            to_grid = cotangents, values, places, lengths, padding, lookup.align_corners, dgrid
            compiled.each(loops.along_grid, to_grid, blocks, 8 * dz.size)
        return None if dx is None else dx.reshape(x.shape), None if dgrid is None else dgrid.reshape(grid.shape)


def _takes(results: int, shape: tuple[int, ...], *arrays: Array) -> bool:
    """Whether loops are worth it for so many results, and know the arrays; a pixel's number has 32 bits there."""
    return results >= compiled.FAST_ELEMENTS and math.prod(shape[2:]) < 1 << 31 and compiled.takes(*arrays, least=1)


def _lines(x: Array) -> Array:
    """x (N, C, ...) as contiguous (N, C, values)."""
    return np.ascontiguousarray(x).reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _points(grid: Array) -> Array:
    """A grid as contiguous (N, points, axes)."""
    return np.ascontiguousarray(grid).reshape(len(grid), math.prod(grid.shape[1:-1]), grid.shape[-1])
