"""Resampling along one axis: every output is a weighted sum of a few inputs, told by a table.

    z[..., o, ...] = sum over k of weight[k, o] x[..., index[k, o], ...]

Interpolation, adaptive pooling and borders made of the input itself are such maps, and so is the adjoint of each: the same
table read from the other side. A table is worked out on the host from sizes alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from tensorgrad.backend.tables import table as constant

Array = Any


class Tap(NamedTuple):
    """One term of the sum, for the outputs that have it: at `places` (None for all) weight (None for 1) times x[reads]."""

    places: slice | numpy.ndarray | None
    reads: numpy.ndarray
    weight: numpy.ndarray | None


class Table:
    """Which inputs make up each output of an axis, and with what weights.

    index    (K, outputs) of whole numbers from 0 to inputs - 1
    weight   (K, outputs), 0 for a term that is not there, or None where all are 1
    inputs   the length of the axis before
    """

    __slots__ = ("_taps", "_transposed", "index", "inputs", "weight")

    def __init__(self, index: numpy.ndarray, weight: numpy.ndarray | None, inputs: int) -> None:
        self.index = index
        self.weight = weight
        self.inputs = inputs
        self._transposed: Table | None = None
        self._taps: list[Tap] | None = None

    def __repr__(self) -> str:
        return f"{self.inputs}->{self.index.shape[1]} of {self.index.shape[0]}"

    def taps(self) -> list[Tap]:
        """The terms, without those of weight 0: what is not there is not read, be it infinite."""
        if self._taps is None:
            weight = numpy.ones(self.index.shape) if self.weight is None else self.weight
            self._taps = [_tap(index, worth) for index, worth in zip(self.index, weight) if worth.any()]
        return self._taps

    def transposed(self) -> Table:
        """The table of the adjoint map."""
        if self._transposed is None:
            self._transposed = self._turned()
        return self._transposed

    def _turned(self) -> Table:
        outputs = self.index.shape[1]
        weight = numpy.ones(self.index.shape) if self.weight is None else self.weight
        used = numpy.nonzero(weight.ravel())[0]
        users = self.index.ravel()[used]  # which input each used entry reads
        order = numpy.argsort(users, kind="stable")
        count = numpy.bincount(users, minlength=self.inputs)
        # the entries of an input one below the other
        row = numpy.arange(used.size) - (numpy.cumsum(count) - count)[users[order]]
        index = numpy.zeros((int(count.max(initial=0)), self.inputs), numpy.int64)
        turned = numpy.zeros(index.shape)
        index[row, users[order]] = used[order] % max(outputs, 1)
        turned[row, users[order]] = weight.ravel()[used][order]
        return Table(index, turned, outputs)


def _tap(index: numpy.ndarray, weight: numpy.ndarray) -> Tap:
    used = numpy.nonzero(weight)[0]
    worth = None if (weight[used] == 1).all() else weight[used]
    if used.size == weight.size:
        return Tap(None, index, worth)
    unbroken = used[-1] - used[0] + 1 == used.size
    return Tap(slice(int(used[0]), int(used[-1]) + 1) if unbroken else used, index[used], worth)


class ResamplingKernels:
    """The kernels over the array module `self.xp`."""

    xp: Any

    def resample(self, x: Array, dim: int, table: Table) -> Array:
        """x with dimension `dim`, of length table.inputs, resampled; of x's dtype (float16 is summed in float32)."""
        xp = self.xp
        front, broadcast = (slice(None),) * dim, (-1,) + (1,) * (x.ndim - dim - 1)
        wide = x.astype(xp.float32) if x.dtype == xp.float16 and table.weight is not None else x
        z: Any = None
        for places, reads, weight in table.taps():
            part = xp.take(wide, constant(xp, reads), dim)
            if weight is not None:
                part *= constant(xp, weight, wide.dtype).reshape(broadcast)
            if places is None:
                if z is None:
                    z = part
                else:
                    z += part
                continue
            if z is None:
                z = xp.zeros((*x.shape[:dim], table.index.shape[1], *x.shape[dim + 1 :]), wide.dtype)
            z[(*front, places if isinstance(places, slice) else constant(xp, places))] += part
        if z is None:  # the adjoint of a map that had no outputs
            z = xp.zeros((*x.shape[:dim], table.index.shape[1], *x.shape[dim + 1 :]), wide.dtype)
        return z.astype(x.dtype, copy=False)

    def sampled(self, lookup: Any, x: Array, grid: Array) -> Array:
        """x at the places of a grid, by the formula of `lookup` (tensorgrad/ops/grid_sampling.py); a backend that has it as
        loops takes those."""
        return lookup.formula(x, grid)

    def sampled_grad(
        self, lookup: Any, dz: Array, x: Array, grid: Array, of_x: bool, of_grid: bool
    ) -> tuple[Array | None, Array | None]:
        """The cotangents of x and of the grid, None for what is not asked for."""
        return lookup.gradients(dz, x, grid, of_x, of_grid)

    def resample_argmax(self, x: Array, dim: int, table: Table) -> Array:
        """Which of its inputs is the greatest, for every output: int64 places along `dim`.

        Of equal ones the first wins; a nan over everything, and of several the last, as in max_pool2d.
        """
        xp = self.xp
        shape = (-1,) + (1,) * (x.ndim - dim - 1)
        best = winner = None
        for index in table.index:
            place = constant(xp, index)
            value = xp.take(x, place, dim)
            place = place.reshape(shape)
            if best is None:
                best, winner = value, xp.zeros(value.shape, xp.int64) + place
            else:
                better = (value > best) | xp.isnan(value)
                best = xp.where(better, value, best)
                winner = xp.where(better, place, winner)
        return winner
