"""The cross entropy of scores and classes in one kernel, with its gradient, for every array library."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.errors import DimensionError

Array = Any


class LossKernels:
    """x (N, C) are scores before softmax, target (N,) whole numbers; `ignore_index` names a class that counts nothing."""

    xp: Any

    def check_classes(self, target: Array, classes: int, ignore_index: int) -> bool:
        """Whether all targets are classes and none is ignored. Here nobody looks: on a GPU that would mean to wait."""
        return False

    def cross_entropy(self, x: Array, target: Array, ignore_index: int, reduction: str) -> tuple[Array, Array]:
        """z_n = log sum_c e^x_nc - x_n,target[n], reduced, and e^x / sum e^x, which the gradient needs.

        A class that does not exist gives nan, unless `check_classes` has refused it.
        """
        xp = self.xp
        rows, index, counted, unknown = self._places(x, target, ignore_index)
        shifted = x - x.max(axis=1, keepdims=True)
        chosen = shifted[rows, index]
        p = xp.exp(shifted)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        z = xp.log(total[:, 0])
        z -= chosen
        if counted is not None:
            z = xp.where(counted, z, 0)
            z = xp.where(unknown, xp.nan, z).astype(x.dtype)
        if reduction == "none":
            return z, p
        z = z.sum()
        if reduction == "mean":
            z = z / (len(rows) if counted is None else counted.sum().astype(x.dtype))
        return z, p

    def cross_entropy_grad(self, dz: Array, p: Array, target: Array, ignore_index: int, reduction: str) -> Array:
        """dx = (p - 1 at the target) dz, 0 where the target is ignored; with 'mean' divided by how many count."""
        xp = self.xp
        rows, index, counted, unknown = self._places(p, target, ignore_index)
        if reduction == "mean":
            dz = dz / (len(rows) if counted is None else counted.sum().astype(p.dtype))
        if reduction == "none":
            dz = dz.reshape(-1, 1)
        if counted is not None:
            dz = xp.where(xp.logical_and(counted, xp.logical_not(unknown)).reshape(-1, 1), dz, 0)
        dx = p * dz
        dx[rows, index] -= dz if dz.ndim == 0 else dz[:, 0]
        return dx

    def _places(self, x: Array, target: Array, ignore_index: int) -> tuple[Array, Array, Array, Array]:
        """Rows and columns of the targets, which samples count, and which targets are no classes (both None: all is well)."""
        xp = self.xp
        count, classes = x.shape
        rows = xp.arange(count)
        if self.check_classes(target, classes, ignore_index):
            return rows, target, None, None
        known = xp.logical_and(target >= 0, target < classes)
        counted = xp.not_equal(target, ignore_index)
        return rows, xp.where(known, target, 0), counted, xp.logical_and(counted, xp.logical_not(known))


class NumpyLossKernels(LossKernels):
    """On the host looking is free: a class that does not exist is refused. The mean of nothing is nan, without a warning."""

    @numpy.errstate(all="ignore")
    def cross_entropy(self, *arguments: Any) -> tuple[Array, Array]:
        return super().cross_entropy(*arguments)

    @numpy.errstate(all="ignore")
    def cross_entropy_grad(self, *arguments: Any) -> Array:
        return super().cross_entropy_grad(*arguments)

    def check_classes(self, target: Array, classes: int, ignore_index: int) -> bool:
        if not target.size:
            return False
        low, high = int(target.min()), int(target.max())
        if 0 <= low and high < classes and not low <= ignore_index <= high:
            return True
        wrong = target[((target < 0) | (target >= classes)) & (target != ignore_index)]
        if wrong.size:
            raise DimensionError(
                f"cross_entropy: target holds class {int(wrong.flat[0])}; there are {classes} classes, 0 to {classes - 1}"
            )
        return False
