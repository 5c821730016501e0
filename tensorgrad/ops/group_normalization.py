"""Normalisation within one sample: of groups of channels, and by the root of the mean square."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.ops.normalization import LayerNorm, over, per_channel
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor


class GroupNorm(Primitive):
    """z = w h + b, h = (x - mean) s, s = 1 / sqrt(var + eps), statistics of each of `groups` groups of channels of a sample

    x is (N, C, ...), w and b are (C). The rules are those of LayerNorm, with a group for a line. Wu & He, 2018.
    """

    __slots__ = ("eps", "groups", "inv_std", "mean", "var")
    missing_tangents = True

    def __init__(self, groups: int, eps: float) -> None:
        self.groups = groups
        self.eps = eps

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        z, self.mean, self.var, self.inv_std = backend_of(x).group_norm(x, weight, bias, self.groups, self.eps)
        return z

    def _parts(self, x: Any, d: Any) -> tuple[Any, Any]:
        """h, and the symmetric map dx -> dh applied to d (None without one), by operations that can be recorded."""
        backend, norm = backend_of(x), LayerNorm(1, self.eps)
        lines = x.shape[0] * self.groups, -1
        normal, inv_std = norm.normal(backend.reshape(x, lines))
        along = None if d is None else norm.along(backend.reshape(d, lines), normal, inv_std)
        return backend.reshape(normal, x.shape), None if along is None else backend.reshape(along, x.shape)

    def jvp(self, dx: Any, dweight: Any, dbias: Any, x: Any, weight: Any) -> Any:
        normal, along = self._parts(x, dx)
        dz = 0.0 * x
        if along is not None:
            dz = along if weight is None else along * per_channel(weight, x)
        if dweight is not None:
            dz = dz + normal * per_channel(dweight, x)
        return dz if dbias is None else dz + per_channel(dbias, x)

    def vjp(self, dz: Any, x: Any, weight: Any) -> Any:
        backend = backend_of(dz)
        if isinstance(dz, Tensor):
            normal, dx = self._parts(x, dz if weight is None else dz * per_channel(weight, x))
            dweight, dbias = backend.sum(normal * dz, over(x), False), backend.sum(dz, over(x), False)
        else:
            dx, dweight, dbias = backend.group_norm_grad(dz, x, weight, self.mean, self.inv_std, self.groups)
        return dx, dweight if self.needs(1) else None, dbias if self.needs(2) else None


class RmsNorm(Primitive):
    """z = w h, h = x s, s = 1 / sqrt(mean(x^2) + eps), the mean over the last `count` dimensions

    dh = s (dx - h mean(h dx)), dz = dw h + w dh; x -> dh is symmetric, so the cotangent of x is the same map applied to w dz.
    Zhang & Sennrich, 2019.
    """

    __slots__ = ("count", "eps", "inv_rms")
    missing_tangents = True

    def __init__(self, count: int, eps: float) -> None:
        self.count = count
        self.eps = eps

    def forward(self, x: Any, weight: Any) -> Any:
        z, self.inv_rms = backend_of(x).rms_norm(x, weight, self.count, self.eps)
        return z

    def _parts(self, x: Any, d: Any) -> tuple[Any, Any]:
        """h, and the map dx -> dh applied to d (None without one), by operations that can be recorded."""
        backend, last = backend_of(x), tuple(range(x.ndim - self.count, x.ndim))
        inv_rms = (backend.mean(x * x, last, True) + self.eps) ** -0.5
        h = x * inv_rms
        return h, None if d is None else inv_rms * (d - h * backend.mean(h * d, last, True))

    def jvp(self, dx: Any, dweight: Any, x: Any, weight: Any) -> Any:
        h, along = self._parts(x, dx)
        dz = 0.0 * x
        if along is not None:
            dz = along if weight is None else along * weight
        return dz if dweight is None else dz + h * dweight

    def vjp(self, dz: Any, x: Any, weight: Any) -> Any:
        backend = backend_of(dz)
        if isinstance(dz, Tensor):
            before = tuple(range(x.ndim - self.count))
            h, dx = self._parts(x, dz if weight is None else dz * weight)
            dweight = backend.sum(h * dz, before, False) if before else h * dz
        else:
            dx, dweight = backend.rms_norm_grad(dz, x, weight, self.inv_rms, self.count)
        return dx, dweight if self.needs(1) else None
