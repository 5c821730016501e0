"""Batch normalisation and the softmax family on a GPU, by the kernels of cuda_normalization.cu and cuda_rows.cu."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend.cuda_kernels import MOST_BLOCKS, THREADS, CompiledKernels, blocks_for, contiguous
from tensorgrad.backend.normalization import NormalizationKernels

Array = Any

#: Numbers a thread takes of a channel before another block is worth it, and blocks beyond which a GPU is full anyway.
EACH, FULL = 8, 1024
#: Blocks that may share a channel; their results are merged by the threads of one block.
MOST_SPLITS = 64


class CudaNormalizationKernels(CompiledKernels, NormalizationKernels):
    """See NormalizationKernels for what each computes. Statistics take one launch, what is done with them another."""

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if not self.takes(x) or x.shape[1] > MOST_BLOCKS:
            return super().batch_norm(x, weight, bias, eps)
        xp, x = self.xp, contiguous(x)
        shape = outer, channels, inner = _channels(x)
        splits = _splits(outer * inner, channels)
        computed = self.computed(x)
        parts = xp.empty((channels * splits, 3), xp.float64)
        self.launch("normalization", "channel_statistics", x, channels * splits, x, parts, *shape, splits)
        y = xp.empty(x.shape, x.dtype)
        mean, var, inv_std = (xp.empty((channels,), computed) for _ in range(3))
        affine = _as(weight, computed), _as(bias, computed)
        given = x, *affine, parts, y, mean, var, inv_std, *shape, splits, float(eps)
        self.launch("normalization", "normalize_by_parts", x, channels * splits, *given)
        return y, mean, var, inv_std

    def batch_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        if not self.takes(x, dz) or mean.dtype != self.computed(x) or x.shape[1] > MOST_BLOCKS:
            return super().batch_norm_grad(dz, x, weight, mean, inv_std)
        xp, x, dz = self.xp, contiguous(x), contiguous(dz)
        shape = outer, channels, inner = _channels(x)
        splits = _splits(outer * inner, channels)
        parts = xp.empty((channels * splits, 2), xp.float64)
        statistics = contiguous(mean), contiguous(inv_std)
        given: tuple[Any, ...] = dz, x, *statistics, parts, *shape, splits
        self.launch("normalization", "gradient_sums", x, channels * splits, *given)
        dx = xp.empty(x.shape, x.dtype)
        dw, db = (xp.empty((channels,), mean.dtype) for _ in range(2))
        given = dz, x, _as(weight, mean.dtype), *statistics, parts, dx, dw, db, *shape, splits
        self.launch("normalization", "gradient_by_parts", x, channels * splits, *given)
        dtype = mean.dtype if weight is None else weight.dtype
        return dx, dw.astype(dtype, copy=False), db.astype(dtype, copy=False)

    def normalize(self, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None) -> Array:
        if not self.takes(x):
            return super().normalize(x, mean, inv_std, weight, bias)
        x, computed = contiguous(x), self.computed(x)
        _, channels, inner = _channels(x)
        y = self.xp.empty(x.shape, x.dtype)
        affine = [_as(values, computed) for values in (mean, inv_std, weight, bias)]
        self.launch("normalization", "normalize", x, blocks_for(x.size), x, *affine, y, x.size, channels, inner)
        return y

    # along one dimension

    def softmax(self, x: Array, axis: int) -> Array:
        return self._along(x, axis, "softmax") if self.takes(x) else super().softmax(x, axis)

    def log_softmax(self, x: Array, axis: int) -> Array:
        return self._along(x, axis, "log_softmax") if self.takes(x) else super().log_softmax(x, axis)

    def softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        if not self.takes(dz, z) or dz.shape != z.shape:
            return super().softmax_grad(dz, z, axis)
        return self._along(z, axis, "softmax_grad", dz)

    def log_softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        if not self.takes(dz, z) or dz.shape != z.shape:
            return super().log_softmax_grad(dz, z, axis)
        return self._along(z, axis, "log_softmax_grad", dz)

    def logsumexp(self, x: Array, axis: int | tuple[int, ...], keepdims: bool) -> Array:
        if not isinstance(axis, int) or not self.takes(x):
            return super().logsumexp(x, axis, keepdims)
        along = axis % x.ndim
        shape = (*x.shape[:along], *(1,) * keepdims, *x.shape[along + 1 :])
        z = self.xp.empty(shape, x.dtype)
        self._rows(x, along, "logsumexp", contiguous(x), z)
        return z

    def _along(self, x: Array, axis: int, kernel: str, *before: Array) -> Array:
        """A kernel of arrays like x, with a result like it."""
        z = self.xp.empty(x.shape, x.dtype)
        self._rows(x, axis % x.ndim, kernel, *(contiguous(array) for array in before), contiguous(x), z)
        return z

    def _rows(self, x: Array, axis: int, kernel: str, *arrays: Array) -> None:
        n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
        rows = x.size // n
        self.launch("rows", kernel, x, min(rows, MOST_BLOCKS), *arrays, rows, n, inner, threads=team_for(n))


def team_for(n: int) -> int:
    """Threads for a row of n numbers: a power of two."""
    return min(THREADS, max(32, 1 << (n - 1).bit_length()))


def _channels(x: Array) -> tuple[int, int, int]:
    """(outer, channels, inner) of x (N, C, ...)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _splits(numbers: int, channels: int) -> int:
    """How many blocks share a channel of so many numbers: enough to fill a GPU, as far as each has something to do."""
    return max(1, min(MOST_SPLITS, numbers // (THREADS * EACH), FULL // channels))


def _as(values: Array | None, dtype: Any) -> Array | None:
    return None if values is None else contiguous(values.astype(dtype, copy=False))
