"""Logarithms of probabilities, stable for logits of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import get_default_dtype, is_floating
from tensorgrad.ops.operands import cast, dims, one_dim, put_on_tape
from tensorgrad.ops.shape import clone, permute, reshape
from tensorgrad.primitive import Primitive, check_floating, tape
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
        return backend_of(dz).log_softmax_grad(dz, out, self.dim)


class Softmax(Primitive):
    """z = e^x / sum e^x along dim        dz = z (dx - sum(z dx)), the same map for the cotangent"""

    __slots__ = ("dim",)

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return backend_of(x).softmax(x, self.dim)

    def jvp(self, dx: Any, out: Any) -> Any:
        return backend_of(dx).softmax_grad(dx, out, self.dim)

    def vjp(self, dz: Any, out: Any) -> Any:
        return backend_of(dz).softmax_grad(dz, out, self.dim)


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


class CrossEntropy(Primitive):
    """z_n = log sum_c e^x_nc - x_n,target[n], reduced        dz_n = sum_c (softmax(x)_nc - [c = target[n]]) dx_nc

    x is (N, C), target (N,) whole numbers; what is `ignore_index` counts nothing. reduction is 'none', 'sum' or 'mean', over what
    counts. The same as -log_softmax(x)[target], without its steps in memory.
    """

    __slots__ = ("ignore_index", "probabilities", "reduction")
    missing_tangents = True
    state = ("probabilities",)

    def __init__(self, ignore_index: int, reduction: str) -> None:
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        z, self.probabilities = backend_of(x).cross_entropy(x, target, self.ignore_index, self.reduction)
        return z

    def _slope(self, x: Any, target: Any) -> Any:
        """softmax(x) - [c = target], 0 for what is ignored, divided by how many count if the mean is taken: (N, C)."""
        numbers = target.array if isinstance(target, Tensor) else target
        backend = backend_of(numbers)
        classes = backend.arange(0, x.shape[1], 1, numbers.dtype)
        column = backend.reshape(numbers, (-1, 1))
        chosen = backend.cast(backend.equal(column, classes), x.dtype)
        counts = backend.cast(backend.not_equal(column, self.ignore_index), x.dtype)
        chosen *= counts
        share = counts
        if self.reduction == "mean":
            share = counts / counts.sum()
            chosen = chosen / counts.sum()
        if isinstance(x, Tensor):
            return backend_of(x).softmax(x, 1) * Tensor(share) - Tensor(chosen)
        return backend.softmax(x, 1) * share - chosen

    def jvp(self, dx: Any, dtarget: Any, x: Any, target: Any) -> Any:
        along = self._slope(x, target) * dx
        return backend_of(along).sum(along, (1,) if self.reduction == "none" else (0, 1), False)

    def vjp(self, dz: Any, x: Any, target: Any) -> Any:
        if isinstance(dz, Tensor):
            column = backend_of(dz).reshape(dz, (-1, 1)) if self.reduction == "none" else dz
            return self._slope(x, target) * column, None
        kernel = backend_of(self.probabilities).cross_entropy_grad
        return kernel(dz, self.probabilities, target, self.ignore_index, self.reduction), None


@under_autocast
def log_softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, without the overflow and the loss of digits of that form.

    >>> import tensorgrad
    >>> tensorgrad.log_softmax(tensorgrad.tensor([0.0, 1e4]), 0)
    tensor([-10000.,      0.])
    """
    x = x if dtype is None else cast(x, dtype)
    check_floating("log_softmax", x)
    return _along(LogSoftmax(one_dim("log_softmax", dim, x.array.ndim)), x)


@under_autocast
def softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum e^x along `dim`: positive, summing to 1."""
    x = x if dtype is None else cast(x, dtype)
    check_floating("softmax", x)
    return _along(Softmax(one_dim("softmax", dim, x.array.ndim)), x)


def _along(primitive: Primitive, x: Tensor) -> Tensor:
    """Along a dimension; a Tensor without one counts as a vector of one value."""
    if x.array.ndim:
        z: Tensor = primitive(x)
        return z
    return reshape(primitive(reshape(x, (1,))), ())


@under_autocast
def logsumexp(x: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """log sum e^x over `dim`, one or several, without overflow; integers count as the default floating-point type."""
    x = x if is_floating(x.array.dtype) else cast(x, get_default_dtype())
    over = dims("logsumexp", dim, x.array.ndim)
    if not over:
        return clone(x)
    if len(over) == 1:
        return Logsumexp(over[0], keepdim)(x)
    rest = [axis for axis in range(x.array.ndim) if axis not in over]
    sizes = [x.array.shape[axis] for axis in rest]
    together = reshape(permute(x, *rest, *over), (*sizes, math.prod(x.array.shape[axis] for axis in over)))
    z = Logsumexp(len(rest), False)(together)
    return reshape(z, [1 if d in over else n for d, n in enumerate(x.array.shape)]) if keepdim else z


def _softmax_grad(dz: Tensor, out: Tensor, dim: int) -> Tensor:
    weighted = out * dz
    return weighted - out * weighted.sum(dim, True)


def _log_softmax_grad(dz: Tensor, out: Tensor, dim: int) -> Tensor:
    return dz - tape.exp(out) * dz.sum(dim, True)


put_on_tape(softmax_grad=_softmax_grad, log_softmax_grad=_log_softmax_grad)
