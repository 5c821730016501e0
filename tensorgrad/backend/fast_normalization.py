"""Batch normalisation with compiled kernels: numba_rows.py in vector registers where it can, the loops of
numba_normalization.py elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.memory import spare
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels, _Blocks

Array = np.ndarray[Any, Any]


class FastNormalizationKernels(NumpyNormalizationKernels):
    """Batch normalisation in one pass over memory for the statistics, and one for what is made of them."""

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if not compiled.takes(x):
            return super().batch_norm(x, weight, bias, eps)
        x = _in_known_order(x)
        values = _rows(x)
        if values is not None:
            from tensorgrad.backend import rows

            y, result = rows.new_rows(x)
            return y, *rows.batch_norm(values, weight, bias, eps, result)
        from tensorgrad.backend import numba_normalization as loops

        channels = x.shape[1]
        blocks = _Blocks(x)
        values = blocks.view(x)
        loop, parts = _parts(loops, blocks, loops.moments_of_rows, loops.moments_of_planes)
        means, squares = np.empty(parts), np.empty(parts)
        compiled.each(loop, (values, means, squares), len(means), x.size)
        counts = _counts(values, parts, loops.BLOCK)
        # the variance of all is the mean of the parts' variances and the variance of the parts' means
        mean = _by_channel(counts * means, channels) / (x.size // channels)
        between = counts * (means - np.tile(mean, parts[1] // channels)) ** 2
        var = (_by_channel(squares, channels) + _by_channel(between, channels)) / (x.size // channels)
        inv_std = (1 / np.sqrt(var + eps)).astype(x.dtype)
        mean = mean.astype(x.dtype)
        return self.normalize(x, mean, inv_std, weight, bias), mean, var.astype(x.dtype), inv_std

    def batch_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        if not compiled.takes(x, dz):
            return super().batch_norm_grad(dz, x, weight, mean, inv_std)
        x, dz = _in_known_order(x), _in_known_order(dz)
        channels = x.shape[1]
        count = x.size // channels
        values = _rows(x)
        if values is not None:
            from tensorgrad.backend import rows

            dx, result = rows.new_rows(x)
            settings = weight, None, mean, inv_std, result, False
            dw, db = rows.batch_norm_grad(rows.rows_like(dz, x), values, *settings)
            return dx, *_in_dtype_of(weight, dw, db)
        from tensorgrad.backend import numba_normalization as loops

        blocks = _Blocks(x)
        values, cotangents = blocks.view(x), blocks.view(dz)
        loop, parts = _parts(loops, blocks, loops.products_of_rows, loops.products_of_planes)
        sums, products = np.empty(parts), np.empty(parts)
        centre = _vector(mean, blocks, x.dtype)
        compiled.each(loop, (cotangents, values, centre, sums, products), len(sums), x.size)
        db, dw = _by_channel(sums, channels), _by_channel(products, channels) * inv_std
        scale = inv_std if weight is None else inv_std * weight
        # dx = scale * (dz - db / count - (x - mean) * inv_std * dw / count)
        vectors = [_vector(vector, blocks, x.dtype) for vector in (inv_std * dw / count, db / count, scale)]
        dx = np.empty(values.shape, x.dtype)
        loop = loops.gradient_of_rows if blocks.channels_last else loops.gradient_of_planes
        compiled.each(loop, (cotangents, values, centre, *vectors, dx), len(dx), x.size)
        dtype = mean.dtype if weight is None else weight.dtype
        return blocks.back(dx), dw.astype(dtype), db.astype(dtype)

    def batch_norm_relu(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        values = _rows(x) if compiled.takes(x) else None
        if values is None:
            return super().batch_norm_relu(x, weight, bias, eps)
        from tensorgrad.backend import rows

        y, result = rows.new_rows(x)
        return y, *rows.batch_norm(values, weight, bias, eps, result, positive=True)

    def batch_norm_relu_grad(
        self, dz: Array, x: Array, weight: Array | None, bias: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        values = _rows(x) if compiled.takes(x, dz) else None
        if values is None:
            return super().batch_norm_relu_grad(dz, x, weight, bias, mean, inv_std)
        from tensorgrad.backend import rows

        dx, result = rows.new_rows(x)
        settings = weight, bias, mean, inv_std, result, True
        dw, db = rows.batch_norm_grad(rows.rows_like(dz, x), values, *settings)
        return dx, *_in_dtype_of(weight, dw, db)

    def normalize(self, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None) -> Array:
        if not compiled.takes(x):
            return super().normalize(x, mean, inv_std, weight, bias)
        x = _in_known_order(x)
        scale = inv_std if weight is None else inv_std * weight
        shift = np.zeros(x.shape[1], x.dtype) if bias is None else bias
        values = _rows(x)
        if values is not None:
            from tensorgrad.backend import rows

            y, result = (x, values) if spare.array is x else rows.new_rows(x)
            rows.normalize(values, mean, scale, shift, result)
            return y
        from tensorgrad.backend import numba_normalization as loops

        blocks = _Blocks(x)
        values = blocks.view(x)
        vectors = [_vector(vector, blocks, x.dtype) for vector in (mean, scale, shift)]
        y = np.empty(values.shape, x.dtype)
        loop = loops.normalize_rows if blocks.channels_last else loops.normalize_planes
        compiled.each(loop, (values, *vectors, y), len(y), x.size)
        return blocks.back(y)


def _in_dtype_of(weight: Array | None, dw: Array, db: Array) -> tuple[Array, Array]:
    """The gradients of weight and bias in the dtype that these have; float32 where there is no weight."""
    if weight is None or weight.dtype == np.float32:
        return dw, db
    return dw.astype(weight.dtype), db.astype(weight.dtype)


def _in_known_order(x: Array) -> Array:
    """x as it is, or as planes where its memory is batch last, which the kernels here do not know."""
    if x.dtype != np.float32 or x.strides[0] != x.itemsize:
        return x
    from tensorgrad.backend import batch

    return batch.to_planes(x) if batch.is_batch_last(x) else x


def _rows(x: Array) -> Array | None:
    """x as rows of channels, for the kernels on registers; None where its memory or dtype is another."""
    if x.dtype != np.float32:
        return None
    from tensorgrad.backend import rows

    return rows.rows_of(x)


def _parts(loops: Any, blocks: _Blocks, of_rows: Any, of_planes: Any) -> tuple[Any, tuple[int, int]]:
    """The loop over this memory order, and how many sums it takes: (blocks, K) of rows, (N, C) of planes."""
    if blocks.channels_last:
        return of_rows, (-(-blocks.shape[0] // loops.BLOCK), blocks.shape[1])
    return of_planes, blocks.shape[:2]  # type: ignore[return-value]


def _counts(values: Array, parts: tuple[int, int], block: int) -> Any:
    """How many values each part has, to be broadcast against the parts."""
    if values.ndim == 3:
        return values.shape[2]
    counts = np.full((parts[0], 1), block)
    counts[-1] = len(values) - (parts[0] - 1) * block
    return counts


def _by_channel(sums: Array, channels: int) -> Array:
    """The sums of all parts -> (C,); in a row of several points the channels repeat."""
    return sums.sum(axis=0).reshape(-1, channels).sum(axis=0)


def _vector(values: Array, blocks: _Blocks, dtype: Any) -> Array:
    """(C,) as contiguous values for a row, repeated as often as the row has points, or for the planes as they are."""
    return np.tile(values.astype(dtype), blocks.repeat)
