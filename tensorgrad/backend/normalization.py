"""Batch normalisation and the softmax family, written once for every array library.

Batch normalisation (S. Ioffe, C. Szegedy, "Batch Normalization", 2015) takes each channel's mean and biased variance
over all axes but 1:

    t = (x - mean) * inv_std       inv_std = 1 / sqrt(var + eps)       y = weight * t + bias

Derivation of the gradient, for one channel of m values. With s = 1 / inv_std: mean and s depend on every x, and
d mean = sum(dx) / m, d s = sum(t dx) / m. Hence

    dt = (dx - d mean - t d s) / s

and, read backwards for a cotangent dz of y,

    db = sum(dz)       dw = sum(dz * t)       dx = weight * inv_std * (dz - db / m - t * dw / m)

The statistics are taken in two passes (mean first, then squares of what is left), because E[x^2] - E[x]^2 loses
all digits where the mean is large. Sums are taken in float64, everything else in the dtype of x, or float32 for float16.
"""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend.convolution import summable

Array = Any


class NormalizationKernels:
    """Batch normalisation, softmax, log_softmax and logsumexp over the array module `self.xp`."""

    xp: Any

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        """(y, mean, var, inv_std) of x (N, C, ...) with the statistics of x itself.

        y is of x's shape and dtype; the others are (C,), float32 for float16. var is the biased variance.
        weight and bias are (C,) or None.
        """
        xp = self.xp
        values = summable(xp, x)
        count = max(1, x.size // x.shape[1])
        axes = _all_but_channels(x)
        near_mean = (values.sum(axis=axes, dtype=xp.float64) / count).astype(values.dtype)
        # rounding the mean leaves a small mean in the rest: take it out, too
        rest = values - _per_channel(near_mean, x)
        mean_of_rest = rest.sum(axis=axes, dtype=xp.float64) / count
        var = xp.square(rest).sum(axis=axes, dtype=xp.float64) / count - xp.square(mean_of_rest)
        var = xp.maximum(var, 0)
        mean = (near_mean + mean_of_rest).astype(values.dtype)
        inv_std = (1 / xp.sqrt(var + eps)).astype(values.dtype)
        return self.normalize(x, mean, inv_std, weight, bias), mean, var.astype(values.dtype), inv_std

    def batch_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        """(dx, dw, db) for the cotangent dz of batch_norm's y; dz, x (N, C, ...), mean and inv_std as batch_norm gave them.

        dx has the dtype of x; dw and db are (C,) and have that of weight, or of mean where weight is None.
        """
        xp = self.xp
        part = summable(xp, dz)
        count = max(1, x.size // x.shape[1])
        axes = _all_but_channels(x)
        t = (summable(xp, x) - _per_channel(mean, x)) * _per_channel(inv_std, x)
        db = part.sum(axis=axes, dtype=xp.float64).astype(part.dtype)
        dw = (part * t).sum(axis=axes, dtype=xp.float64).astype(part.dtype)
        scale = inv_std if weight is None else inv_std * weight
        dx = (part - _per_channel(db / count, x) - t * _per_channel(dw / count, x)) * _per_channel(scale, x)
        dtype = mean.dtype if weight is None else weight.dtype
        return dx.astype(x.dtype, copy=False), dw.astype(dtype, copy=False), db.astype(dtype, copy=False)

    def normalize(self, x: Array, mean: Array, inv_std: Array, weight: Array | None, bias: Array | None) -> Array:
        """y = weight * (x - mean) * inv_std + bias channel by channel, of x's shape (N, C, ...) and dtype.

        The mean is taken off first: x * scale + shift would round away what is left of a large mean.
        """
        scale = inv_std if weight is None else inv_std * weight
        y = summable(self.xp, x) - _per_channel(mean, x)
        y *= _per_channel(scale, x)
        if bias is not None:
            y += _per_channel(bias, x)
        return y.astype(x.dtype, copy=False)

    def batch_norm_relu(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        """batch_norm with max(y, 0) for y."""
        y, *statistics = self.batch_norm(x, weight, bias, eps)
        return self.xp.maximum(y, 0), *statistics  # type: ignore[return-value]

    def batch_norm_relu_grad(
        self, dz: Array, x: Array, weight: Array | None, bias: Array | None, mean: Array, inv_std: Array
    ) -> tuple[Array, Array, Array]:
        """(dx, dw, db) for the cotangent dz of batch_norm_relu's y; where y is 0 is found out again from x."""
        y = self.normalize(x, mean, inv_std, weight, bias)
        return self.batch_norm_grad(self.xp.where(y > 0, dz, 0).astype(dz.dtype, copy=False), x, weight, mean, inv_std)

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, count: int, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        """(y, mean, var, inv_std) of x by the statistics over its last `count` dimensions, which are those of weight and bias.

        The same as batch_norm of (1, lines, values), a channel for every line.
        """
        rows = _lines(x, count)
        y, mean, var, inv_std = self.batch_norm(rows, None, None, eps)
        y = y.reshape(x.shape)
        if weight is not None:
            y = y * weight
        return y if bias is None else y + bias, mean, var, inv_std

    def layer_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array, count: int
    ) -> tuple[Array, Array, Array]:
        """(dx, dw, db) for the cotangent dz of layer_norm's y."""
        rows = _lines(x, count)
        part = dz if weight is None else dz * weight
        dx, _, _ = self.batch_norm_grad(_lines(part, count), rows, None, mean, inv_std)
        t = ((rows - _per_channel(mean, rows)) * _per_channel(inv_std, rows)).reshape(x.shape)
        before = tuple(range(x.ndim - count))
        dw = (dz * t).sum(axis=before).astype(dz.dtype, copy=False)
        return dx.reshape(x.shape), dw, summable(self.xp, dz).sum(axis=before).astype(dz.dtype, copy=False)

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Array, Array, Array]:
        """(y, mean, var, inv_std) of x (N, C, ...) by the statistics of each of `groups` groups of channels of each sample.

        weight and bias are (C) or None, the statistics (N groups): batch_norm of lines, a line for every group.
        """
        y, mean, var, inv_std = self.batch_norm(_groups(x, groups), None, None, eps)
        y = y.reshape(x.shape)
        if weight is not None:
            y *= _per_channel(weight, x)
        if bias is not None:
            y += _per_channel(bias, x)
        return y, mean, var, inv_std

    def group_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, mean: Array, inv_std: Array, groups: int
    ) -> tuple[Array, Array, Array]:
        """(dx, dw, db) for the cotangent dz of group_norm's y; dw and db (C)."""
        lines = _groups(x, groups)
        part = dz if weight is None else dz * _per_channel(weight, x)
        dx, _, _ = self.batch_norm_grad(_groups(part, groups), lines, None, mean, inv_std)
        t = ((lines - _per_channel(mean, lines)) * _per_channel(inv_std, lines)).reshape(x.shape)
        t *= dz
        db = summable(self.xp, dz).sum(axis=_all_but_channels(x))
        dw = t.sum(axis=_all_but_channels(x))
        return dx.reshape(x.shape), dw.astype(dz.dtype, copy=False), db.astype(dz.dtype, copy=False)

    def rms_norm(self, x: Array, weight: Array | None, count: int, eps: float) -> tuple[Array, Array]:
        """(y, inv_rms), y = weight x inv_rms, inv_rms = 1 / sqrt(mean(x^2) + eps) over the last `count` dimensions, a
        number for every line; float16 is computed in float32."""
        values = _lines(summable(self.xp, x), count)[0]
        inv_rms = 1 / self.xp.sqrt((values * values).mean(axis=1) + eps)
        y = (values * inv_rms[:, None]).reshape(x.shape)
        if weight is not None:
            y *= weight
        return y.astype(x.dtype, copy=False), inv_rms

    def rms_norm_grad(
        self, dz: Array, x: Array, weight: Array | None, inv_rms: Array, count: int
    ) -> tuple[Array, Array | None]:
        """(dx, dw) for the cotangent dz of rms_norm's y: dx = s (g - h mean(g h)), g = weight dz, h = s x, s = inv_rms."""
        wide = summable(self.xp, dz)
        h = _lines(summable(self.xp, x), count)[0] * inv_rms[:, None]
        g = _lines(wide if weight is None else wide * weight, count)[0]
        dx = g - h * (g * h).mean(axis=1, keepdims=True)
        dx *= inv_rms[:, None]
        dx = dx.reshape(x.shape).astype(x.dtype, copy=False)
        if weight is None:
            return dx, None
        h *= _lines(wide, count)[0]
        return dx, h.sum(axis=0).reshape(weight.shape).astype(weight.dtype, copy=False)

    def move_running(self, running: Array, value: Array, momentum: float, factor: float) -> None:
        """running = (1 - momentum) running + momentum factor value, in place."""
        running *= 1.0 - momentum
        running += momentum * (value if factor == 1.0 else value * factor)

    def logsumexp(self, x: Array, axis: int | tuple[int, ...], keepdims: bool) -> Array:
        """log(sum(e^x)) over axis, of x's dtype; -inf over nothing but -inf, inf where there is an inf.

        The greatest value m is taken out: m + log(sum(e^(x - m))), so that no e^ overflows and one of them is 1.
        """
        xp = self.xp
        values = summable(xp, x)
        top = self._greatest(values, axis)
        # An infinite m is not taken off (inf - inf is nan), and then e^ is kept from overflowing by the minimum, which
        # changes nothing where m is finite. The logarithm of a sum of 0 is never taken: m = -inf is the result.
        shift = xp.where(xp.isfinite(top), top, 0)
        total = xp.exp(xp.minimum(values - shift, 0)).sum(axis=axis, keepdims=True)
        z = top + xp.log(xp.where(total == 0, 1, total))
        if not keepdims:
            z = z.squeeze(axis)
        return z.astype(x.dtype, copy=False)

    def softmax(self, x: Array, axis: int) -> Array:
        """e^x / sum(e^x) along axis; nan throughout where nothing but -inf or an inf stands, as in PyTorch."""
        exps = self.xp.exp(self._below_greatest(summable(self.xp, x), axis))
        exps /= exps.sum(axis=axis, keepdims=True)
        return exps.astype(x.dtype, copy=False)

    def log_softmax(self, x: Array, axis: int) -> Array:
        """x - logsumexp(x) along axis, without the rounding of log(softmax(x)); nan as softmax."""
        xp = self.xp
        z = self._below_greatest(summable(xp, x), axis)
        if z.size:
            z -= xp.log(xp.exp(z).sum(axis=axis, keepdims=True))
        return z.astype(x.dtype, copy=False)

    def softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        """z (dz - sum(z dz)) along axis: the cotangent for z = softmax(x), and its tangent from dx in place of dz."""
        weighted = summable(self.xp, z) * dz
        dx = weighted - z * weighted.sum(axis=axis, keepdims=True)
        return dx.astype(z.dtype, copy=False)

    def log_softmax_grad(self, dz: Array, z: Array, axis: int) -> Array:
        """dz - e^z sum(dz) along axis: the cotangent for z = log_softmax(x)."""
        d = summable(self.xp, dz)
        return (d - self.xp.exp(z) * d.sum(axis=axis, keepdims=True)).astype(z.dtype, copy=False)

    def _below_greatest(self, x: Array, axis: int) -> Array:
        """x - max(x) along axis, a new array; nan where the maximum is infinite (and no inf - inf is computed)."""
        xp = self.xp
        top = self._greatest(x, axis)
        return x - xp.where(xp.isfinite(top), top, xp.nan)

    def _greatest(self, x: Array, axis: int | tuple[int, ...]) -> Array:
        """max(x) over axis, kept as axes of length 1; -inf where there is nothing to compare."""
        if x.size:
            return x.max(axis=axis, keepdims=True)
        shape = list(x.shape)
        for dim in axis if isinstance(axis, tuple) else (axis,):
            shape[dim] = 1
        return self.xp.full(shape, -self.xp.inf, x.dtype)


def _all_but_channels(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _lines(x: Array, count: int) -> Array:
    """x as (1, lines, values), the last `count` dimensions being one line."""
    values = math.prod(x.shape[x.ndim - count :])
    return x.reshape(1, -1, values)


def _groups(x: Array, groups: int) -> Array:
    """x (N, C, ...) as (1, N groups, values), every group of channels being one line."""
    return x.reshape(1, x.shape[0] * groups, -1)


def _per_channel(values: Array, x: Array) -> Array:
    """(C,) -> (C, 1, ..., 1), to be broadcast against x (N, C, ...)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))
