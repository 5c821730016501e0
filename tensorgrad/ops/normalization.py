"""Batch and layer normalisation by the statistics of the values themselves."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor


def over(x: Any) -> tuple[int, ...]:
    """All dimensions but the channels'."""
    return (0, *range(2, x.ndim))


def per_channel(v: Any, x: Any) -> Any:
    """(C,) -> (1, C, 1, ...)"""
    return backend_of(v).reshape(v, (1, -1, *(1,) * (x.ndim - 2)))


def _in_dtype(d: Any, x: Any) -> Any:
    """A tangent or cotangent in the dtype of what it belongs to: in mixed precision x is in a lower one than the weights."""
    return d if d is None or d.dtype == x.dtype else backend_of(d).cast(d, x.dtype)


def _statistics(x: Any, eps: float) -> tuple[Any, Any]:
    """The mean and 1 / sqrt(var + eps) of every channel, each (1, C, 1, ...), computed by operations that can be recorded."""
    backend = backend_of(x)
    mean = backend.mean(x, over(x), True)
    centred = x - mean
    var = backend.mean(centred * centred, over(x), True)
    return mean, (var + eps) ** -0.5


class Normalize(Primitive):
    """z = w h + b, h = (x - mean) s, with given mean and s a channel        dz = dw h + w (s (dx - dmean) + (x - mean) ds) + db"""

    __slots__ = ()
    missing_tangents = True

    def forward(self, x: Any, mean: Any, inv_std: Any, weight: Any, bias: Any) -> Any:
        return backend_of(x).normalize(x, mean, inv_std, weight, bias)

    def jvp(
        self, dx: Any, dmean: Any, dinv_std: Any, dweight: Any, dbias: Any, x: Any, mean: Any, inv_std: Any, weight: Any
    ) -> Any:
        centred = x - per_channel(mean, x)
        dz = 0.0 * x
        if dx is not None:
            dz = dz + dx * per_channel(inv_std, x)
        if dmean is not None:
            dz = dz - per_channel(dmean * inv_std, x)
        if dinv_std is not None:
            dz = dz + centred * per_channel(dinv_std, x)
        if weight is not None:
            dz = dz * per_channel(weight, x)
        if dweight is not None:
            dz = dz + centred * per_channel(inv_std * dweight, x)
        return _in_dtype(dz if dbias is None else dz + per_channel(dbias, x), x)

    def vjp(self, dz: Any, x: Any, mean: Any, inv_std: Any, weight: Any) -> Any:
        scale = inv_std if weight is None else inv_std * weight
        exact = _in_dtype(dz, scale)  # sums over many values, in the dtype of the weights
        total: Any = None
        products: Any = None
        if self.needs(1) or self.needs(4):
            total = backend_of(exact).sum(exact, over(dz), False)
        if self.needs(2) or self.needs(3):
            along = exact * (_in_dtype(x, scale) - per_channel(mean, x))
            products = backend_of(along).sum(along, over(dz), False)
        return (
            _in_dtype(dz * per_channel(scale, dz), x) if self.needs(0) else None,
            -total * scale if self.needs(1) else None,
            (products if weight is None else products * weight) if self.needs(2) else None,
            products * inv_std if self.needs(3) else None,
            total if self.needs(4) else None,
        )


class BatchNorm(Primitive):
    """z = w h + b, h = (x - mean) s, s = 1 / sqrt(var + eps), statistics over all dimensions but channels, biased variance

    dh = s (dx - mean(dx) - h mean(h dx)) and dz = dw h + w dh + db; x -> dh is symmetric, so the cotangent of x is
    the same map applied to w dz. Ioffe & Szegedy, 2015.
    """

    __slots__ = ("eps", "inv_std", "mean", "var")
    missing_tangents = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        z, self.mean, self.var, self.inv_std = backend_of(x).batch_norm(x, weight, bias, self.eps)
        return z

    def jvp(self, dx: Any, dweight: Any, dbias: Any, x: Any, weight: Any) -> Any:
        backend = backend_of(x)
        mean, inv_std = _statistics(x, self.eps)
        normal = (x - mean) * inv_std
        dz = 0.0 * x
        if dx is not None:
            along = backend.mean(dx, over(x), True) + normal * backend.mean(normal * dx, over(x), True)
            dnormal = inv_std * (dx - along)
            dz = dnormal if weight is None else dnormal * per_channel(weight, x)
        if dweight is not None:
            dz = dz + normal * per_channel(dweight, x)
        return _in_dtype(dz if dbias is None else dz + per_channel(dbias, x), x)

    def vjp(self, dz: Any, x: Any, weight: Any) -> Any:
        if isinstance(dz, Tensor):
            wide = x if weight is None else _in_dtype(x, weight)
            dx, dweight, dbias = _gradients(_in_dtype(dz, wide), wide, weight, self.eps)
            dx = _in_dtype(dx, x)
        else:
            dx, dweight, dbias = backend_of(dz).batch_norm_grad(dz, x, weight, self.mean, self.inv_std)
        return dx, dweight if self.needs(1) else None, dbias if self.needs(2) else None


class BatchNormRelu(Primitive):
    """z = max(w h + b, 0), h as in BatchNorm        dz = what BatchNorm gives where z > 0, else 0

    One pass over memory less than the two of them, and three less on the way back: where z is 0 is found out again from x,
    which is read in any case. A Sequential takes it for a batch norm with a ReLU behind it (nn/chain.py).
    """

    __slots__ = ("eps", "inv_std", "mean", "var")
    missing_tangents = True

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        z, self.mean, self.var, self.inv_std = backend_of(x).batch_norm_relu(x, weight, bias, self.eps)
        return z

    def jvp(self, dx: Any, dweight: Any, dbias: Any, x: Any, weight: Any, out: Any) -> Any:
        dz = BatchNorm(self.eps).jvp(dx, dweight, dbias, x, weight)
        return backend_of(dz).relu_grad(dz, out)

    def vjp(self, dz: Any, x: Any, weight: Any, bias: Any, out: Any) -> Any:
        if isinstance(dz, Tensor):
            wide = x if weight is None else _in_dtype(x, weight)
            dz = backend_of(dz).relu_grad(dz, out)
            dx, dweight, dbias = _gradients(_in_dtype(dz, wide), wide, weight, self.eps)
            dx = _in_dtype(dx, x)
        else:
            statistics = self.mean, self.inv_std
            dx, dweight, dbias = backend_of(dz).batch_norm_relu_grad(dz, x, weight, bias, *statistics)
        return dx, dweight if self.needs(1) else None, dbias if self.needs(2) else None


def _gradients(dz: Tensor, x: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """What the kernel batch_norm_grad computes, by operations that can be recorded; the statistics are functions of x here."""
    backend = backend_of(x)
    mean, inv_std = _statistics(x, eps)
    normal = (x - mean) * inv_std
    dnormal = dz if weight is None else dz * per_channel(weight, x)
    along = backend.mean(dnormal, over(x), True) + normal * backend.mean(normal * dnormal, over(x), True)
    return inv_std * (dnormal - along), backend.sum(normal * dz, over(x), False), backend.sum(dz, over(x), False)


class LayerNorm(Primitive):
    """z = w h + b, h = (x - mean) s, s = 1 / sqrt(var + eps), statistics over the last `count` dimensions, biased variance

    The rules are those of BatchNorm, with a line of values for a channel. Ba, Kiros & Hinton, 2016.
    """

    __slots__ = ("count", "eps", "inv_std", "mean", "var")
    missing_tangents = True

    def __init__(self, count: int, eps: float) -> None:
        self.count = count
        self.eps = eps

    def forward(self, x: Any, weight: Any, bias: Any) -> Any:
        z, self.mean, self.var, self.inv_std = backend_of(x).layer_norm(x, weight, bias, self.count, self.eps)
        return z

    def _last(self, x: Any) -> tuple[int, ...]:
        return tuple(range(x.ndim - self.count, x.ndim))

    def normal(self, x: Any) -> tuple[Any, Any]:
        """h and s, by operations that can be recorded."""
        backend = backend_of(x)
        centred = x - backend.mean(x, self._last(x), True)
        inv_std = (backend.mean(centred * centred, self._last(x), True) + self.eps) ** -0.5
        return centred * inv_std, inv_std

    def along(self, d: Any, normal: Any, inv_std: Any) -> Any:
        """The symmetric map dx -> dh."""
        backend, last = backend_of(d), self._last(d)
        return inv_std * (d - backend.mean(d, last, True) - normal * backend.mean(normal * d, last, True))

    def jvp(self, dx: Any, dweight: Any, dbias: Any, x: Any, weight: Any) -> Any:
        normal, inv_std = self.normal(x)
        dz = 0.0 * x
        if dx is not None:
            dz = self.along(dx, normal, inv_std)
            dz = dz if weight is None else dz * weight
        if dweight is not None:
            dz = dz + normal * dweight
        return dz if dbias is None else dz + dbias

    def vjp(self, dz: Any, x: Any, weight: Any) -> Any:
        backend = backend_of(dz)
        if isinstance(dz, Tensor):
            normal, inv_std = self.normal(x)
            before = tuple(range(x.ndim - self.count))
            dx = self.along(dz if weight is None else dz * weight, normal, inv_std)
            dweight = backend.sum(normal * dz, before, False) if before else normal * dz
            dbias = backend.sum(dz, before, False) if before else dz
        else:
            dx, dweight, dbias = backend.layer_norm_grad(dz, x, weight, self.mean, self.inv_std, self.count)
        return dx, dweight if self.needs(1) else None, dbias if self.needs(2) else None
