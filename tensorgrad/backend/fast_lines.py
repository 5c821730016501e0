"""Softmax, its logarithm and normalisation of lines and groups, on the vector registers of numba_lines.py and numba_groups.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.normalization import NormalizationKernels

Array = np.ndarray[Any, Any]

#: Numbers from which on a kernel, and the half second that importing Numba takes once, is worth it: NumPy makes seven passes and
#: more, for layer normalisation some thirty.
FEWEST, FEWEST_TO_NORM = 1 << 10, 1 << 6


class FastLineKernels(NormalizationKernels):
    """float32 along the last dimension; everything else goes on."""

    def softmax(self, x: Array, axis: int) -> Array:
        if not _takes(axis, x):
            return super().softmax(x, axis)
        lines = compiled.part("lines")
        return lines.values(lines.code.softmax, x)

    def log_softmax(self, x: Array, axis: int) -> Array:
        if not _takes(axis, x):
            return super().log_softmax(x, axis)
        lines = compiled.part("lines")
        return lines.values(lines.code.log_softmax, x)

    def softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        if not _takes(axis, z, dz):
            return super().softmax_grad(dz, z, axis)
        lines = compiled.part("lines")
        return lines.gradients(lines.code.softmax_gradient, dz, z)

    def log_softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        if not _takes(axis, z, dz):
            return super().log_softmax_grad(dz, z, axis)
        lines = compiled.part("lines")
        return lines.gradients(lines.code.log_softmax_gradient, dz, z)

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, count: int, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        given = [v for v in (weight, bias) if v is not None]
        if not compiled.in_registers(x, *given, least=FEWEST_TO_NORM):
            return super().layer_norm(x, weight, bias, count, eps)
        n = math.prod(x.shape[x.ndim - count :])
        return compiled.part("lines").layer_norm(x, weight, bias, n, eps)  # type: ignore[no-any-return]

    def layer_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array, count: int
    ) -> tuple[Array, Any, Any]:
        if not compiled.in_registers(x, dz, *(() if weight is None else (weight,)), least=FEWEST_TO_NORM):
            return super().layer_norm_grad(dz, x, weight, mean, inv_std, count)
        last = x.shape[x.ndim - count :]
        dx, dw, db = compiled.part("lines").layer_norm_grad(dz, x, weight, mean, inv_std, math.prod(last))
        if weight is None:
            return dx, None, dz.sum(axis=tuple(range(x.ndim - count)))
        return dx, dw.reshape(last), db.reshape(last)

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        given = [v for v in (weight, bias) if v is not None]
        if not compiled.in_registers(x, *given, least=FEWEST_TO_NORM):
            return super().group_norm(x, weight, bias, groups, eps)
        return compiled.part("groups").group_norm(x, weight, bias, groups, eps)  # type: ignore[return-value]

    def group_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array, groups: int
    ) -> tuple[Array, Array, Array]:
        if not compiled.in_registers(x, dz, *(() if weight is None else (weight,)), least=FEWEST_TO_NORM):
            return super().group_norm_grad(dz, x, weight, mean, inv_std, groups)
        return compiled.part("groups").group_norm_grad(dz, x, weight, mean, inv_std, groups)

    def rms_norm(self, x: Array, weight: Array | None, count: int, eps: float) -> tuple[Array, Array]:
        if not compiled.in_registers(x, *(() if weight is None else (weight,)), least=FEWEST_TO_NORM):
            return super().rms_norm(x, weight, count, eps)
        return compiled.part("lines").rms_norm(x, weight, math.prod(x.shape[x.ndim - count :]), eps)

    def rms_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, inv_rms: Array, count: int
    ) -> tuple[Array, Array | None]:
        if not compiled.in_registers(x, dz, *(() if weight is None else (weight,)), least=FEWEST_TO_NORM):
            return super().rms_norm_grad(dz, x, weight, inv_rms, count)
        last = x.shape[x.ndim - count :]
        dx, dw = compiled.part("lines").rms_norm_grad(dz, x, weight, inv_rms, math.prod(last))
        return dx, None if dw is None else dw.reshape(last)


def _takes(axis: int, *arrays: Array) -> bool:
    x = arrays[0]
    return axis in (-1, x.ndim - 1) and arrays[-1].shape == x.shape and compiled.in_registers(*arrays, least=FEWEST)
