"""The NumPy backend with compiled kernels, the extra `fast`.

A kernel here decides whether a compiled one computes its case, prepares memory for it, and shares its work among threads;
every other case, and every array too small to be worth it, goes on to the NumPy kernel it overrides. What is decided depends
on shapes, strides and dtypes alone, so a program computes the same numbers every time it runs. There are two kinds:
loops in plain Python (numba_jit.py), for float32 and float64, and kernels on vector registers (numba_simd.py) for float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.backend import compiled, ordering
from tensorgrad.backend.compiled import loops_in_use, why_not
from tensorgrad.backend.cpu import ALONE_IN_BLAS, CPU, CPUBackend
from tensorgrad.backend.fast_convolution import FastConvolutionKernels
from tensorgrad.backend.fast_lines import FastLineKernels
from tensorgrad.backend.fast_normalization import FastNormalizationKernels
from tensorgrad.backend.fast_pooling import FastPoolingKernels
from tensorgrad.backend.fast_sampling import FastSamplingKernels
from tensorgrad.backend.fast_selection import FastScanKernels
from tensorgrad.backend.memory import spare

__all__ = ["FastBackend", "cpu_backend", "loops_in_use", "why_not"]

Array = np.ndarray[Any, Any]


class FastBackend(
    FastConvolutionKernels,
    FastPoolingKernels,
    FastNormalizationKernels,
    FastLineKernels,
    FastScanKernels,
    FastSamplingKernels,
    CPUBackend,
):
    """Kernels on numpy.ndarray, compiled ones where there are any."""

    # copies in the order of the dimensions

    def reshape(self, x: Array, shape: Any) -> Array:
        if x.flags.c_contiguous or x.size < ordering.FEWEST or type(shape) is not tuple or math.prod(shape) != x.size:
            return x.reshape(shape)
        dims = ordering.merged(x)
        z = None if ordering.is_view(dims, shape) else ordering.in_order(x, dims)
        return x.reshape(shape) if z is None else z.reshape(shape)

    def contiguous(self, x: Array) -> Array:
        z = ordering.in_order(x)
        return super().contiguous(x) if z is None else z

    # functions of one element by itself: one pass over memory for those that numba_curves.py knows

    def value(self, curve: Any, x: Array) -> Array:
        if x.dtype == np.float32 and curve.name in FEWEST and compiled.in_registers(x, least=FEWEST[curve.name]):
            return compiled.part("curves").value(
                curve.name, x, tuple([getattr(curve, name) for name in curve.settings])
            )
        return super().value(curve, x)

    def along(self, curve: Any, d: Array, *kept: Array) -> Array:
        if d.dtype == np.float32 and curve.name in FEWEST and d.shape == kept[0].shape:
            if compiled.in_registers(d, *kept, least=FEWEST[curve.name]):
                settings = tuple([getattr(curve, name) for name in curve.settings])
                return compiled.part("curves").along(curve.name, d, kept[0], settings)
        return super().along(curve, d, *kept)

    def sigmoid(self, x: Array) -> Array:
        return self._curve("sigmoid", x) if compiled.in_registers(x, least=FEWEST["sigmoid"]) else super().sigmoid(x)

    def erf(self, x: Array) -> Array:
        return self._curve("erf", x) if compiled.in_registers(x, least=FEWEST["erf"]) else super().erf(x)

    def erfc(self, x: Array) -> Array:
        return self._curve("erfc", x) if compiled.in_registers(x, least=FEWEST["erfc"]) else super().erfc(x)

    def clamp(self, x: Array, low: Any, high: Any) -> Array:
        if _are_numbers(low, high) and compiled.in_registers(x):
            return self._curve("clamp", x, -np.inf if low is None else low, np.inf if high is None else high)
        return super().clamp(x, low, high)

    def _curve(self, name: str, x: Array, *settings: float) -> Array:
        return compiled.part("curves").value(name, x, settings)

    def relu(self, x: Array) -> Array:
        if not compiled.in_registers(x):
            return super().relu(x)
        rows = compiled.part("rows")
        line = rows.line_of(x)
        if line is None:
            return super().relu(x)
        z, result = (x, line) if spare.array is x else rows.new_line(x)
        rows.each(rows.code.positive, [line, result])
        return z

    def relu_grad(self, dz: Array, z: Array) -> Array:
        if dz.shape != z.shape or not compiled.takes(z, dz):
            return super().relu_grad(dz, z)
        rows = compiled.part("rows")
        values = rows.line_of(z)
        if values is None:
            return super().relu_grad(dz, z)
        dx, result = rows.new_line(z)
        cotangents = rows.line_of(dz) if dz.strides == z.strides else None
        if cotangents is None and z.dtype == np.float32 and rows.rows_of(z) is not None:
            cotangents = rows.rows_like(dz, z)
        elif cotangents is None and z.dtype == np.float32 and compiled.part("batch").is_batch_last(z):
            cotangents = rows.line_of(compiled.part("batch").to_batch_last(dz))
        elif cotangents is None:  # into the memory order of z
            np.copyto(dx, dz)
            cotangents = result
        if z.dtype == np.float32:
            rows.each(rows.code.positive_gradient, [cotangents, values, result])
            return dx
        from tensorgrad.backend import numba_elementwise as loops

        compiled.each(loops.relu_grad, (cotangents, values, result), z.size, z.size // 2)
        return dx

    def prelu(self, x: Array, weight: Array) -> Array:
        if not compiled.in_registers(x, weight):
            return super().prelu(x, weight)
        from tensorgrad.backend import prelu

        return prelu.value(x, weight)

    def prelu_grad(self, dz: Array, x: Array, weight: Array) -> tuple[Array, Array]:
        if not compiled.in_registers(x, dz, weight):
            return super().prelu_grad(dz, x, weight)
        from tensorgrad.backend import prelu

        return prelu.gradients(dz, x, weight)

    def matmul(self, x: Array, y: Array) -> Array:
        if x.ndim == 2 and y.ndim == 2 and x.shape[1] == y.shape[0]:
            if x.size * y.shape[1] > ALONE_IN_BLAS and compiled.in_registers(x, y):
                from tensorgrad.backend import matrix

                z = matrix.product(x, y)
                if z is not None:
                    return z
        return super().matmul(x, y)

    def inner_product_bias(self, x: Array, w: Array, b: Array) -> Array:
        if x.ndim == 2 and x.size * w.shape[0] > ALONE_IN_BLAS and compiled.in_registers(x, w, b):
            from tensorgrad.backend import matrix

            z = matrix.product(x, w.T, b)
            if z is not None:
                return z
        return super().inner_product_bias(x, w, b)

    def add(self, x: Array, y: Array) -> Array:
        """x + y; large arrays of one shape and memory order, or with a y (C, 1, 1) for channels, by all threads."""
        if x.size >= LARGE and type(y) is np.ndarray and compiled.in_registers(x, y):
            from tensorgrad.backend import numba_rows, rows

            if x.shape == y.shape and x.strides == y.strides:
                one, other = rows.line_of(x), rows.line_of(y)
                if one is not None and other is not None:
                    z, line = rows.new_line(x)
                    rows.each(numba_rows.total, [one, other, line])
                    return z
            elif y.ndim == x.ndim - 1 > 0 and y.size == y.shape[0] == x.shape[1]:
                points = rows.rows_of(x)
                if points is not None:
                    z, result = rows.new_rows(x)
                    rows.shifted(points, y.reshape(-1), result)
                    return z
        return np.add(x, y)

    def concatenate(self, xs: Sequence[Array], dim: int) -> Array:
        """numpy.concatenate; the channels of large channels-last images by all threads."""
        first = xs[0]
        if dim == 1 and first.ndim == 4 and sum(x.size for x in xs) >= LARGE and compiled.in_registers(*xs, least=1):
            from tensorgrad.backend import direct, rows

            parts = [rows.rows_of(x) for x in xs]
            if all(part is not None for part in parts):
                n, _, h, w = first.shape
                z = direct.images_of((n, sum(x.shape[1] for x in xs), h, w))
                rows.side_by_side(parts, rows.rows_of(z))  # type: ignore[arg-type]
                return z
        result: Array = np.concatenate(xs, dim)
        return result

    def sgd_update(self, w: Array, dw: Array, velocity: Array | None, *settings: Any) -> None:
        arrays = (w, dw) if velocity is None else (w, dw, velocity)
        if not compiled.in_registers(*arrays):
            super().sgd_update(w, dw, velocity, *settings)
            return
        from tensorgrad.backend import steps

        if not steps.sgd(w, dw, velocity, *settings):
            super().sgd_update(w, dw, velocity, *settings)

    def adam_update(self, w: Array, dw: Array, m: Array, v: Array, largest: Array | None, *settings: Any) -> None:
        if largest is None and compiled.in_registers(w, dw, m, v):
            from tensorgrad.backend import steps

            if steps.adam(w, dw, m, v, *settings):
                return
        super().adam_update(w, dw, m, v, largest, *settings)

    def sum(self, x: Array, axis: Any, keepdims: bool) -> Array:
        """The sum: for every channel of images (N, C, ...), of everything, and over last dimensions by kernels."""
        if not compiled.in_registers(x, least=FEWEST_SUMMANDS):
            return super().sum(x, axis, keepdims)
        summed = _summed(x, axis)
        if x.size >= LARGE and x.ndim > 1 and summed == (0, *range(2, x.ndim)):
            sums = _channel_sums(x)
        else:
            sums = _line_sums("sums", x, summed)
        if sums is None:
            return super().sum(x, axis, keepdims)
        return np.expand_dims(sums, summed) if keepdims else sums

    def sum_of_squares(self, x: Array, axis: Any, keepdims: bool) -> Array:
        summed = _summed(x, axis)
        sums = _line_sums("sums_of_squares", x, summed) if compiled.in_registers(x, least=FEWEST_SUMMANDS) else None
        if sums is None:
            return super().sum_of_squares(x, axis, keepdims)
        return np.expand_dims(sums, summed) if keepdims else sums


def _summed(x: Array, axis: Any) -> tuple[int, ...]:
    """The dimensions that are summed over, in order."""
    return tuple(range(x.ndim)) if axis is None else tuple(sorted([i % x.ndim for i in axis]))


def _channel_sums(x: Array) -> Array | None:
    """(C), added up in float64 by all threads, of images that are channels last or batch last in memory; None of others."""
    from tensorgrad.backend import batch, rows

    points = rows.rows_of(x)
    if points is not None:
        return rows.column_sums(points).astype(x.dtype)
    return batch.channel_sums(x) if batch.is_batch_last(x) else None


def _line_sums(kernel: str, x: Array, summed: tuple[int, ...]) -> Array | None:
    """The sums over the last dimensions, of x in one block of memory; None of others, of other memory, and of short lines."""
    kept = x.shape[: x.ndim - len(summed)]
    lines = math.prod(kept)
    whole = x.flags.c_contiguous or (x.flags.f_contiguous and not kept)
    if not whole or x.size < lines * SHORTEST_LINE or summed != tuple(range(len(kept), x.ndim)):
        return None
    part = compiled.part("lines")
    return part.sums(getattr(part.code, kernel), x, x.size // lines).reshape(kept)  # type: ignore[no-any-return]


#: The functions of numba_curves.py, and the numbers from which on a pass of its is worth it: those made of straight lines are
#: few passes of NumPy's; erf is some forty. A program of few numbers is spared the half second of importing Numba.
FEWEST = {
    **dict.fromkeys(
        ("leaky_relu", "threshold", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "huber"),
        1 << 12,
    ),
    **dict.fromkeys(("sigmoid", "silu", "mish", "softplus", "logsigmoid", "elu", "gelu_tanh"), 1 << 10),
    **dict.fromkeys(("gelu", "erf", "erfc"), 1 << 8),
}
#: Elements from which on an addition is worth more than one thread.
LARGE = 1 << 16
#: Numbers that NumPy adds up in the time of a kernel's call, and lines of how many it adds up in less.
FEWEST_SUMMANDS, SHORTEST_LINE = 1 << 14, 32


def cpu_backend() -> CPUBackend:
    """The backend for NumPy's arrays: with compiled loops where Numba is installed, without them elsewhere."""
    return FastBackend(np) if why_not() is None else CPU


def _are_numbers(*bounds: Any) -> bool:
    return all(bound is None or isinstance(bound, (int, float)) for bound in bounds)
