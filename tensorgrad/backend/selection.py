"""Kernels that run along one dimension, order values or pick them, for every array library with NumPy's names.

`ScanKernels` is mixed into every backend; `NumpyScanKernels` takes what NumPy alone can do faster or check.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from tensorgrad.backend.convolution import summable

Array = Any

#: How many values a row must have for a loop over rows to be faster than one over values.
WHOLE_ROW = 128
#: Values up to which putting all of them in order is faster than finding the best first.
FEW_TO_SORT = 512


class ScanKernels:
    """Running maxima, sorting, counting and strided views over the array module `self.xp`."""

    xp: Any

    # along one axis

    def prod(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.prod(axis=axis, keepdims=keepdims)

    def all(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.all(axis=axis, keepdims=keepdims)

    def any(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.any(axis=axis, keepdims=keepdims)

    def cumsum(self, x: Array, axis: int) -> Array:
        return self.xp.cumsum(summable(self.xp, x), axis=axis).astype(x.dtype, copy=False)

    def cumprod(self, x: Array, axis: int) -> Array:
        return self.xp.cumprod(summable(self.xp, x), axis=axis).astype(x.dtype, copy=False)

    def accumulate(self, x: Array, axis: int, operation: str) -> Array:
        """z_i = x_0 o x_1 o ... o x_i along axis, for an associative operation of two arrays ('maximum', ...).

        In log2(n) steps: after the one of length s, every z_i covers the last 2s values (Hillis and Steele, 1986).
        """
        xp = self.xp
        combine = getattr(xp, operation)
        z, step = x, 1
        front = (slice(None),) * axis
        while step < x.shape[axis]:
            head, tail = z[(*front, slice(0, step))], z[(*front, slice(step, None))]
            z = xp.concatenate([head, combine(z[(*front, slice(0, -step))], tail)], axis=axis)
            step *= 2
        return z

    # order

    def argsort(self, x: Array, axis: int, descending: bool) -> Array:
        """The positions that put x in order along axis; equal values keep theirs. nan counts as the largest."""
        xp = self.xp
        if not descending:
            return xp.argsort(x, axis=axis, kind="stable").astype("int64", copy=False)
        # the reverse of the order of the reversed values: so equal values still keep their order
        order = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable").astype("int64", copy=False)
        return x.shape[axis] - 1 - xp.flip(order, axis)

    def topk(self, x: Array, k: int, axis: int, largest: bool) -> Array:
        """The positions of the k largest (smallest) values along axis, best first."""
        return self.argsort(x, axis, largest)[(*(slice(None),) * axis, slice(0, k))]

    def order_of_rows(self, x: Array) -> Array:
        """The positions that put the rows of x (N, n) in lexicographic order; equal rows keep theirs."""
        xp = self.xp
        order = xp.arange(x.shape[0])
        for column in range(x.shape[1] - 1, -1, -1):  # the least important first, as every sort is stable
            order = order[xp.argsort(x[order, column], axis=0, kind="stable")]
        return order.astype("int64", copy=False)

    def searchsorted(self, sequence: Array, values: Array, side: str) -> Array:
        """How many values of each row of `sequence` (N, n) lie before those of `values` (N, m); one row serves all."""
        xp = self.xp
        found = xp.zeros(values.shape, "int64")
        for row in range(values.shape[0]):
            found[row] = xp.searchsorted(sequence[row if sequence.shape[0] > 1 else 0], values[row], side=side)
        return found

    def bincount(self, x: Array, weights: Array | None, minlength: int) -> Array:
        return self.xp.bincount(x, weights=weights, minlength=minlength)

    # places

    def check_index(self, operation: str, index: Array, size: int, kind: type[Exception]) -> None:
        """Refuse indices outside of 0 ... size - 1; only where looking costs nothing (not on a GPU)."""

    def scatter_add(self, dz: Array, index: Any, shape: tuple[int, ...]) -> Array:
        """z = 0 of `shape`, then z[index] += dz, repeated indices adding up: the adjoint of getitem."""
        z = self.xp.zeros(shape, dz.dtype)
        self.xp.add.at(z, index, dz)
        return z

    def put_along_axis(self, dz: Array, index: Array, axis: int, size: int) -> Array:
        """z = 0, z[..., index, ...] += dz along one axis of the given size: the adjoint of take_along_axis."""
        xp = self.xp
        axis %= dz.ndim
        shape = dz.shape[:axis] + (size,) + dz.shape[axis + 1 :]
        places: list[Array] = []
        for dim, length in enumerate(dz.shape):
            if dim == axis:
                places.append(index)
            else:
                places.append(xp.arange(length).reshape((-1,) + (1,) * (dz.ndim - dim - 1)))
        return self.scatter_add(dz, tuple(places), shape)

    def scatter_extreme(self, x: Array, index: tuple[Array, ...], values: Array, operation: str) -> Array:
        """z = x, then z[index] = the 'maximum' or 'minimum' of z[index] and values, repeated indices counting all."""
        z = x.copy(order="C")
        getattr(self.xp, operation).at(z, index, values)
        return z

    def as_strided(self, x: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
        """A view of x's memory from its first value on; strides in bytes."""
        return self.xp.lib.stride_tricks.as_strided(x, shape, strides)


class NumpyScanKernels(ScanKernels):
    """What NumPy alone can do faster, or look at for free."""

    def accumulate(self, x: Array, axis: int, operation: str) -> Array:
        with numpy.errstate(all="ignore"):
            return getattr(numpy, operation).accumulate(x, axis=axis)

    def argsort(self, x: Array, axis: int, descending: bool) -> Array:
        """As everywhere, without the functions of Python around the array's own."""
        if not descending:
            return x.argsort(axis, "stable").astype("int64", copy=False)
        reverse = (*(slice(None),) * (axis % x.ndim), slice(None, None, -1))
        order = x[reverse].argsort(axis, "stable").astype("int64", copy=False)
        return x.shape[axis] - 1 - order[reverse]

    def take_along_axis(self, x: Array, index: Array, axis: int) -> Array:
        """z[..., j, ...] = x[..., index[..., j, ...], ...] along axis."""
        if x.ndim == 1 and index.ndim == 1 and index.dtype.kind == "i":
            return x[index]
        return numpy.take_along_axis(x, index, axis)

    def topk(self, x: Array, k: int, axis: int, largest: bool) -> Array:
        count = x.shape[axis]
        if not 0 < 8 * k < count or x.size < FEW_TO_SORT:
            return super().topk(x, k, axis, largest)
        # only the k are put in order; NumPy, too, counts nan as the largest
        front = (slice(None),) * axis
        best = slice(count - k, None) if largest else slice(0, k)
        found = numpy.argpartition(x, count - k if largest else k - 1, axis)[(*front, best)]
        found = numpy.sort(found, axis)  # of equal values the first comes first
        order = self.argsort(numpy.take_along_axis(x, found, axis), axis, largest)
        return numpy.take_along_axis(found, order, axis)

    def scatter_add(self, dz: Array, index: Any, shape: tuple[int, ...]) -> Array:
        """As everywhere, but whole rows of many values are added one by one: numpy.add.at would go value by value."""
        rows = index[0] if len(index) else None
        plain = (
            type(rows) is numpy.ndarray
            and rows.ndim == 1
            and all(type(part) is slice and part == slice(None) for part in index[1:])
        )
        if not plain or dz.size < WHOLE_ROW * len(dz):
            return super().scatter_add(dz, index, shape)
        z = numpy.zeros(shape, dz.dtype)
        for row, values in zip(index[0].tolist(), dz):
            z[row] += values
        return z

    def put_along_axis(self, dz: Array, index: Array, axis: int, size: int) -> Array:
        """As everywhere, but by places in one line, for which numpy.add.at takes a sixth of the time."""
        axis %= dz.ndim
        if not index.size or not 0 <= int(index.min()) <= int(index.max()) < size:
            return super().put_along_axis(dz, index, axis, size)
        z = numpy.zeros((*dz.shape[:axis], size, *dz.shape[axis + 1 :]), dz.dtype)
        if index.shape[axis] != 1 or index.shape != dz.shape:
            outer, inner = math.prod(dz.shape[:axis]), math.prod(dz.shape[axis + 1 :])
            lines = numpy.broadcast_to(index, dz.shape).reshape(outer, dz.shape[axis], inner)
            places = (lines + numpy.arange(outer).reshape(-1, 1, 1) * size) * inner + numpy.arange(inner)
            numpy.add.at(z.reshape(-1), places.reshape(-1), dz.reshape(-1))
            return z
        numpy.put_along_axis(z, index, dz, axis)  # one value a place: nothing to add up
        return z

    def check_index(self, operation: str, index: Array, size: int, kind: type[Exception]) -> None:
        if index.dtype == numpy.int64 and index.size and int(index.view(numpy.uint64).max()) < size:
            return  # one look: without a sign, negative numbers are the largest
        if index.size and not (0 <= index.min() and index.max() < size):
            raise kind(f"{operation}: got indices {index.min()} to {index.max()}; they must be from 0 to {size - 1}")
