"""Sliding windows as an array of their own, and the sum over them: the two maps behind unfold and fold.

Along dimension d, window o is x[..., o stride + k dilation, ...] for k = 0 .. kernel - 1. The windows' elements become new
dimensions at the end, in the order of `dims`; with NumPy's strides that costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tensorgrad.backend.windows import extent

Array = Any
Sizes = tuple[int, ...]


class SlidingKernels:
    """The kernels over the array module `self.xp`."""

    xp: Any

    def windows(self, x: Array, dims: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Array:
        """A view of x: each of `dims` becomes the number of windows along it, and the kernel's sizes stand at the end."""
        shape, strides = list(x.shape), list(x.strides)
        for dim, size, step, spread in zip(dims, kernel, stride, dilation):
            shape[dim] = (x.shape[dim] - extent(size, spread)) // step + 1
            strides[dim] = x.strides[dim] * step
        strides += [x.strides[dim] * spread for dim, spread in zip(dims, dilation)]
        return self.xp.lib.stride_tricks.as_strided(x, (*shape, *kernel), tuple(strides))

    def windows_sum(self, dz: Array, dims: Sizes, lengths: Sizes, stride: Sizes, dilation: Sizes) -> Array:
        """x with <x, y> = <dz, windows(y)> for every y whose `dims` have these lengths: windows add up where they overlap."""
        ndim = dz.ndim - len(dims)
        shape = list(dz.shape[:ndim])
        for dim, length in zip(dims, lengths):
            shape[dim] = length
        x = self.xp.zeros(tuple(shape), self.xp.float32 if dz.dtype == self.xp.float16 else dz.dtype)
        for taps, place in _places(dz.shape, ndim, dims, stride, dilation):
            x[place] += dz[(..., *taps)]
        return x.astype(dz.dtype, copy=False)


def _places(
    shape: Sizes, ndim: int, dims: Sizes, stride: Sizes, dilation: Sizes
) -> Iterator[tuple[Sizes, tuple[slice, ...]]]:
    """Each element of the window with the slices of x that it reads, over all windows."""
    for taps in product(*(range(size) for size in shape[ndim:])):
        place = [slice(None)] * ndim
        for dim, tap, step, spread in zip(dims, taps, stride, dilation):
            start = tap * spread
            place[dim] = slice(start, start + (shape[dim] - 1) * step + 1 if shape[dim] else start, step)
        yield taps, tuple(place)
