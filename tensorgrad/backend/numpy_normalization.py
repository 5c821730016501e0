"""Batch normalisation on NumPy arrays, fast: a block at a time, so that only the first step of each pass reads main memory.

x is cut into blocks in the memory order it has:

- channels last: a block is some rows, a row several neighbouring points, so that it is long even where channels are few;
  vectors with a value per channel are repeated as often;
- channels before points, (N, C, H, W): a block is some images, or some channels of one image.

Every block writes sums of its own, and these are added up in float64: sums stay exact over many values and do not
depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.backend.normalization import NormalizationKernels
from tensorgrad.backend.parallel import share
from tensorgrad.backend.windows import chunks

Array = np.ndarray[Any, Any]

#: Elements up to which the plain formulas take less time than blocks.
FEW = 1 << 15
#: Elements of a block: 128 kB of float32.
BLOCK_ELEMENTS = 1 << 15
#: The longest row made of several points.
ROW_ELEMENTS = 1 << 10
#: Elements of x from which on threads are worth their start.
SHARED_ELEMENTS = 1 << 18


class NumpyNormalizationKernels(NormalizationKernels):
    """Batch normalisation on NumPy arrays; meaning, layouts and errors are those of NormalizationKernels, as are few numbers."""

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if x.size < FEW:
            return super().batch_norm(x, weight, bias, eps)
        if x.dtype == np.float16:
            y, mean, var, inv_std = self.batch_norm(x.astype(np.float32), weight, bias, eps)
            return y.astype(np.float16), mean, var, inv_std
        blocks = _Blocks(x)
        values = blocks.view(x)
        count = max(1, x.size // x.shape[1])
        sums, squares = blocks.sums(), blocks.sums()

        def add_up(block: _Block, scratch: Array) -> None:
            blocks.add_up(values[block.values], sums[block.sums])

        blocks.each(add_up)
        near_mean = (blocks.total(sums) / count).astype(x.dtype)
        centre = blocks.per_channel(near_mean)

        def add_up_deviations(block: _Block, scratch: Array) -> None:
            rest = np.subtract(values[block.values], centre[block.channels], out=scratch)
            blocks.add_up(rest, sums[block.sums])
            blocks.add_up(np.multiply(rest, rest, out=rest), squares[block.sums])

        blocks.each(add_up_deviations)
        mean_of_rest = blocks.total(sums) / count
        var = np.maximum(blocks.total(squares) / count - mean_of_rest**2, 0)
        mean = (near_mean + mean_of_rest).astype(x.dtype)
        inv_std = (1 / np.sqrt(var + eps)).astype(x.dtype)
        return self.normalize(x, mean, inv_std, weight, bias), mean, var.astype(x.dtype), inv_std

    def batch_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        if x.size < FEW:
            return super().batch_norm_grad(dz, x, weight, mean, inv_std)
        if x.dtype == np.float16:
            dx, dw, db = self.batch_norm_grad(dz.astype(np.float32), x.astype(np.float32), weight, mean, inv_std)
            return dx.astype(np.float16), dw, db
        blocks = _Blocks(x)
        values, cotangents = blocks.view(x), blocks.view(dz)
        count = max(1, x.size // x.shape[1])
        sums, products = blocks.sums(), blocks.sums()
        centre = blocks.per_channel(mean)

        def add_up(block: _Block, scratch: Array) -> None:
            cotangent = cotangents[block.values]
            blocks.add_up(cotangent, sums[block.sums])
            rest = np.subtract(values[block.values], centre[block.channels], out=scratch)
            blocks.add_up(np.multiply(rest, cotangent, out=rest), products[block.sums])

        blocks.each(add_up)
        db, dw = blocks.total(sums), blocks.total(products) * inv_std
        scale = inv_std if weight is None else inv_std * weight
        # dx = scale * (dz - db / count) - (x - mean) * scale * inv_std * dw / count
        factor = blocks.per_channel(scale.astype(x.dtype))
        shift = blocks.per_channel((db / count).astype(x.dtype))
        slope = blocks.per_channel((inv_std * dw / count).astype(x.dtype))
        dx = np.empty(values.shape, x.dtype)

        def fill(block: _Block, scratch: Array) -> None:
            part = dx[block.values]
            np.subtract(values[block.values], centre[block.channels], out=scratch)
            scratch *= slope[block.channels]
            np.subtract(cotangents[block.values], shift[block.channels], out=part)
            part -= scratch
            part *= factor[block.channels]

        blocks.each(fill)
        dtype = mean.dtype if weight is None else weight.dtype
        return blocks.back(dx), dw.astype(dtype), db.astype(dtype)

    def normalize(self, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None) -> Array:
        if x.size < FEW:
            return super().normalize(x, mean, inv_std, weight, bias)
        if x.dtype == np.float16:
            return self.normalize(x.astype(np.float32), mean, inv_std, weight, bias).astype(np.float16)
        blocks = _Blocks(x)
        values = blocks.view(x)
        centre = blocks.per_channel(mean.astype(x.dtype))
        scale = blocks.per_channel((inv_std if weight is None else inv_std * weight).astype(x.dtype))
        shift = None if bias is None else blocks.per_channel(bias.astype(x.dtype))
        y = np.empty(values.shape, x.dtype)

        def fill(block: _Block, scratch: Array) -> None:
            part = y[block.values]
            np.subtract(values[block.values], centre[block.channels], out=part)
            part *= scale[block.channels]
            if shift is not None:
                part += shift[block.channels]

        blocks.each(fill)
        return blocks.back(y)


class _Block(NamedTuple):
    """A block's shape, and where it lies: in the values, in a vector made by `per_channel`, and in the array of sums."""

    shape: tuple[int, ...]
    values: Any
    channels: Any
    sums: Any


class _Blocks:
    """x (N, C, ...) cut into blocks: (rows, points * C) where channels are last, else (images, channels, points)."""

    def __init__(self, x: Array) -> None:
        self.x_shape, self.dtype, self.size = x.shape, x.dtype, x.size
        images, channels = x.shape[:2]
        points = x.size // max(1, images * channels)
        self.channels_last = np.moveaxis(x, 1, -1).flags.c_contiguous
        self.list: list[_Block] = []
        if self.channels_last:
            self.repeat = max(1, ROW_ELEMENTS // max(1, channels))
            while images * points % self.repeat:
                self.repeat -= 1
            row = self.repeat * channels
            self.shape: tuple[int, ...] = images * points // self.repeat, row
            for number, rows in enumerate(chunks(self.shape[0], BLOCK_ELEMENTS // max(1, row))):
                self.list.append(_Block((rows.stop - rows.start, row), rows, slice(None), number))
            self.sums_shape = len(self.list), row
        else:
            self.repeat = 1
            self.shape = images, channels, points
            channels_of_a_block = max(1, BLOCK_ELEMENTS // max(1, points))
            images_of_a_block = channels_of_a_block // max(1, channels)
            for some in chunks(images, images_of_a_block):
                for group in chunks(channels, channels_of_a_block):
                    shape = some.stop - some.start, group.stop - group.start, points
                    self.list.append(_Block(shape, (some, group), group, (some, group)))
            self.sums_shape = images, channels
        summed = 0 if self.channels_last else 2  # the axis of a block along which `add_up` goes
        self.ones = np.ones(max((block.shape[summed] for block in self.list), default=0), x.dtype)

    def view(self, x: Array) -> Array:
        """x, or an array of its shape, in the shape that blocks are cut from; copied if its memory order is another."""
        if self.channels_last:
            x = np.moveaxis(x, 1, -1)
        return np.ascontiguousarray(x).reshape(self.shape)

    def back(self, values: Array) -> Array:
        """What `view` gave, in the shape of x."""
        if not self.channels_last:
            return values.reshape(self.x_shape)
        images, channels, *size = self.x_shape
        return np.moveaxis(values.reshape(images, *size, channels), -1, 1)

    def per_channel(self, values: Array) -> Array:
        """(C,) -> an array to be broadcast against a block."""
        return np.tile(values, self.repeat)[None, :] if self.channels_last else values[:, None]

    def sums(self) -> Array:
        """Room for the sums of every block; `total` adds them up."""
        return np.empty(self.sums_shape, self.dtype)

    def add_up(self, values: Array, sums: Array) -> None:
        """The sums of a block for every column or channel; as a product with ones, about twice as fast as `sum`."""
        if self.channels_last:
            np.matmul(self.ones[: len(values)], values, out=sums)
        else:
            np.matmul(values, self.ones, out=sums)

    def total(self, sums: Array) -> Array:
        """The sums of all blocks -> (C,), in float64."""
        return sums.sum(axis=0, dtype=np.float64).reshape(self.repeat, self.x_shape[1]).sum(axis=0)

    def each(self, task: Callable[[_Block, Array], None]) -> None:
        """task(block, scratch of its shape and x's dtype) for every block, shared among threads."""
        elements = max((math.prod(block.shape) for block in self.list), default=0)

        def work(start: int, stop: int) -> None:
            scratch = np.empty(elements, self.dtype)
            for block in self.list[start:stop]:
                task(block, scratch[: math.prod(block.shape)].reshape(block.shape))

        share(len(self.list), work, self.size >= SHARED_ELEMENTS, matrix_products=True)
