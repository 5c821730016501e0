"""Logarithms of probabilities, stable for logits of any size."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.ops.operands import cast, one_dim
from tensorgrad.primitive import Primitive, check_floating
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "log_softmax",
    "logsumexp",
    "softmax",
]


class LogSoftmax(Primitive):
    """z = x - log sum e^x along dim        dz = dx - sum(e^z dx)"""

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).log_softmax(x, self.dim)

    def jvp(self, dx: Any, out: Any) -> Any:
        backend = backend_of(dx)
        return dx - backend.sum(backend.exp(out) * dx, (self.dim,), True)

    def vjp(self, dz: Any, out: Any) -> Any:
        backend = backend_of(dz)
        return dz - backend.exp(out) * backend.sum(dz, (self.dim,), True)


class Softmax(Primitive):
    """z = e^x / sum e^x along dim        dz = z (dx - sum(z dx)), the same map for the cotangent"""

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).softmax(x, self.dim)

    def jvp(self, dx: Any, out: Any) -> Any:
        return self._map(dx, out)

    def vjp(self, dz: Any, out: Any) -> Any:
        return self._map(dz, out)

    def _map(self, d: Any, out: Any) -> Any:
        weighted = out * d
        return weighted - out * backend_of(weighted).sum(weighted, (self.dim,), True)


class Logsumexp(Primitive):
    """z = log sum e^x along dim        dz = sum(e^(x - z) dx)"""

    __slots__ = ("dim", "keepdim")

    def __init__(self, dim: int, keepdim: bool) -> None:
        self.dim = dim
        self.keepdim = keepdim

    def forward(self, x: Any) -> Any:
        return backend_of(x).logsumexp(x, self.dim, self.keepdim)

    def jvp(self, dx: Any, x: Any) -> Any:
        backend = backend_of(dx)
        return backend.sum(backend.softmax(x, self.dim) * dx, (self.dim,), self.keepdim)

    def vjp(self, dz: Any, x: Any) -> Any:
        backend = backend_of(dz)
        shape = (*x.shape[: self.dim], 1, *x.shape[self.dim + 1 :])
        return backend.reshape(dz, shape) * backend.softmax(x, self.dim)


def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, without the overflow and the loss of digits of that form.

    >>> import tensorgrad
    >>> tensorgrad.log_softmax(tensorgrad.tensor([0.0, 1e4]), 0)
    tensor([-10000.,      0.])
    """
    x = x if dtype is None else cast(x, dtype)
    check_floating("log_softmax", x)
    return LogSoftmax(one_dim("log_softmax", dim, x.array.ndim))(x)


def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum e^x along `dim`: positive, summing to 1."""
    x = x if dtype is None else cast(x, dtype)
    check_floating("softmax", x)
    return Softmax(one_dim("softmax", dim, x.array.ndim))(x)


def logsumexp(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """log sum e^x along `dim`, without overflow."""
    check_floating("logsumexp", x)
    return Logsumexp(one_dim("logsumexp", dim, x.array.ndim), keepdim)(x)
