"""Picking by index and running sums with the compiled loops of numba_moving.py, for float32 and float64 of some size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.selection import NumpyScanKernels

Array = np.ndarray[Any, Any]


class FastScanKernels(NumpyScanKernels):
    """The loops where they pay; everything else, and every index that must be refused, is NumPy's."""

    def cumsum(self, x: Array, axis: int) -> Array:
        if not compiled.takes(x):
            return super().cumsum(x, axis)
        from tensorgrad.backend import numba_moving as loops

        return _running(loops.running_sums, x, axis)

    def cumprod(self, x: Array, axis: int) -> Array:
        if not compiled.takes(x):
            return super().cumprod(x, axis)
        from tensorgrad.backend import numba_moving as loops

        return _running(loops.running_products, x, axis)

    def take_along_axis(self, x: Array, index: Array, axis: int) -> Array:
        fits = x.ndim and index.dtype == np.int64 and _same_but(x.shape, index.shape, axis % x.ndim)
        if not (fits and index.size >= compiled.FAST_ELEMENTS and compiled.takes(x)):
            return super().take_along_axis(x, index, axis)
        from tensorgrad.backend import numba_moving as loops

        axis %= x.ndim
        z, wrong = np.empty(index.shape, x.dtype), np.zeros(1, np.int64)
        arrays = _three(x, axis), _three(index, axis), _three(z, axis)
        compiled.each(loops.take, (*arrays, wrong), len(arrays[0]), index.size)
        return super().take_along_axis(x, index, axis) if wrong[0] else z  # which refuses the index

    def put_along_axis(self, dz: Array, index: Array, axis: int, size: int) -> Array:
        if not (index.shape == dz.shape and index.dtype == np.int64 and compiled.takes(dz)):
            return super().put_along_axis(dz, index, axis, size)
        from tensorgrad.backend import numba_moving as loops

        axis %= dz.ndim
        z, wrong = np.zeros((*dz.shape[:axis], size, *dz.shape[axis + 1 :]), dz.dtype), np.zeros(1, np.int64)
        arrays = _three(dz, axis), _three(index, axis), _three(z, axis)
        compiled.each(loops.put, (*arrays, wrong), len(arrays[0]), index.size)
        return super().put_along_axis(dz, index, axis, size) if wrong[0] else z

    def scatter_add(self, dz: Array, index: Any, shape: tuple[int, ...]) -> Array:
        """Whole rows picked by one array of any shape are added in compiled code, columns shared among threads."""
        rows = index[0] if len(index) else None
        whole = all(type(part) is slice and part == slice(None) for part in index[1:])
        if not (whole and type(rows) is np.ndarray and rows.dtype == np.int64 and compiled.takes(dz)):
            return super().scatter_add(dz, index, shape)
        if not _inside(rows, shape[0]) or dz.shape != (*rows.shape, *shape[1:]):
            return super().scatter_add(dz, index, shape)
        from tensorgrad.backend import numba_moving as loops

        z = np.zeros(shape, dz.dtype)
        columns = math.prod(shape[1:])
        arrays = dz.reshape(rows.size, columns), np.ascontiguousarray(rows).reshape(-1), z.reshape(shape[0], columns)
        compiled.each(loops.add_rows, (np.ascontiguousarray(arrays[0]), *arrays[1:]), columns, dz.size)
        return z


def _three(x: Array, axis: int) -> Array:
    """x as (outer, length, inner), contiguous; a view where x is contiguous."""
    inner = math.prod(x.shape[axis + 1 :])
    return np.ascontiguousarray(x).reshape(-1, x.shape[axis], inner)


def _running(loop: Any, x: Array, axis: int) -> Array:
    z = np.empty(x.shape, x.dtype)
    values = _three(x, axis)
    compiled.each(loop, (values, _three(z, axis)), len(values), x.size)
    return z


def _same_but(one: tuple[int, ...], other: tuple[int, ...], axis: int) -> bool:
    return len(one) == len(other) and one[:axis] == other[:axis] and one[axis + 1 :] == other[axis + 1 :]


def _inside(index: Array, length: int) -> bool:
    """Whether all indices are there, negative ones counting from the end."""
    return bool(index.size) and -length <= int(index.min()) and int(index.max()) < length
