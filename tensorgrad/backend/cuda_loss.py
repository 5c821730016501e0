"""The cross entropy on a GPU: two launches forward, two back, by the kernels of cuda_rows.cu."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.cuda_kernels import MOST_BLOCKS, CompiledKernels, blocks_for, contiguous
from tensorgrad.backend.cuda_normalization import team_for
from tensorgrad.backend.loss import LossKernels

Array = Any


class CudaLossKernels(CompiledKernels, LossKernels):
    """See LossKernels."""

    def cross_entropy(self, x: Array, target: Array, ignore_index: int, reduction: str) -> tuple[Array, Array]:
        if not self._takes_classes(x, target, ignore_index):
            return super().cross_entropy(x, target, ignore_index, reduction)
        xp = self.xp
        rows, classes = x.shape
        x, target = contiguous(x), contiguous(target.astype(xp.int64, copy=False))
        losses, p = xp.empty((rows,), self.computed(x)), xp.empty(x.shape, x.dtype)
        given = x, target, losses, p, rows, classes, ignore_index
        self.launch("rows", "cross_entropy_rows", x, min(rows, MOST_BLOCKS), *given, threads=team_for(classes))
        if reduction == "none":
            return losses.astype(x.dtype, copy=False), p
        z = xp.empty((), x.dtype)
        self.launch(
            "rows", "cross_entropy_total", x, 1, losses, target, z, rows, ignore_index, int(reduction == "mean")
        )
        return z, p

    def cross_entropy_grad(self, dz: Array, p: Array, target: Array, ignore_index: int, reduction: str) -> Array:
        if not self.takes(dz, p) or not self._takes_classes(p, target, ignore_index):
            return super().cross_entropy_grad(dz, p, target, ignore_index, reduction)
        xp = self.xp
        rows, classes = p.shape
        dz, p, target = contiguous(dz), contiguous(p), contiguous(target.astype(xp.int64, copy=False))
        count = None
        if reduction == "mean":
            count = xp.empty((1,), xp.float64)
            self.launch("rows", "count_targets", p, 1, target, count, rows, ignore_index)
        dx = xp.empty(p.shape, p.dtype)
        given = dz, p, target, count, dx, rows, classes, ignore_index, int(reduction == "none")
        self.launch("rows", "cross_entropy_grad", p, blocks_for(p.size), *given)
        return dx

    def _takes_classes(self, x: Array, target: Array, ignore_index: int) -> bool:
        whole = target.dtype.kind in "iu" and abs(ignore_index) < 1 << 31
        return whole and x.ndim == 2 and self.takes(x)
