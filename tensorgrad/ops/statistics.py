"""Variances, order statistics and counts."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float32, float64, int64, is_floating
from tensorgrad.errors import ArgumentError, DtypeError, ShapeError
from tensorgrad.ops.arithmetic import divide
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.matmul import matmul
from tensorgrad.ops.norm import Length
from tensorgrad.ops.operands import cast, dims
from tensorgrad.ops.reduction import Dims, Sum, count_of, mean
from tensorgrad.ops.shape import reshape, unsqueeze
from tensorgrad.ops.unary import sqrt
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "bincount",
    "corrcoef",
    "cov",
    "histc",
    "std",
    "std_mean",
    "var",
    "var_mean",
]


def _variance(
    operation: str, x: Tensor, dim: Any, unbiased: Any, correction: float | None, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """The variance and the mean, which keeps the dimensions as ones."""
    centred, centre, over, below = _centred(operation, x, dim, unbiased, correction)
    return divide(Sum(over, keepdim)(centred * centred), below), centre


def _deviation(
    operation: str, x: Tensor, dim: Any, unbiased: Any, correction: float | None, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """The root of the variance, its slope 0 where it is 0, and the mean, which keeps the dimensions as ones."""
    centred, centre, over, below = _centred(operation, x, dim, unbiased, correction)
    return divide(Length(over, keepdim)(centred), math.sqrt(below)), centre


def _centred(
    operation: str, x: Tensor, dim: Any, unbiased: Any, correction: float | None
) -> tuple[Tensor, Tensor, tuple[int, ...], float]:
    """x less its mean, the mean, the dimensions, and what a sum of squares is divided by."""
    if isinstance(dim, bool):  # var(x, unbiased), the older form
        dim, unbiased = None, dim
    if isinstance(unbiased, bool):
        correction = 1 if unbiased else 0
    if not is_floating(x.array.dtype):
        raise DtypeError(f"{operation}: got dtype {x.dtype}; it needs floating point, use .float()")
    over = dims(operation, dim, x.array.ndim)
    centre = mean(x, over, True)
    below = float(count_of(x.array.shape, over) - (1 if correction is None else correction))
    return x - centre, centre, over, max(below, 0.0)


def var(
    x: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The variance over `dim`: sum of (x - mean)^2 / (n - correction), where correction is 1 unless given.

    The older form var(x, dim, unbiased) stands for a correction of 1 or 0. Over no more values than the correction it is nan
    (or inf), as in PyTorch.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 2.0, 3.0]).var()
    tensor(1.)
    """
    return _variance("var", x, dim, unbiased, correction, keepdim)[0]


def std(
    x: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """The standard deviation over `dim`: the square root of `var`; the gradient where it is 0 is 0, as in PyTorch."""
    return _deviation("std", x, dim, unbiased, correction, keepdim)[0]


def var_mean(
    x: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The variance, as `var`, and the mean over `dim`."""
    variance, centre = _variance("var_mean", x, dim, unbiased, correction, keepdim)
    return variance, reshape(centre, variance.shape)


def std_mean(
    x: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None
) -> tuple[Tensor, Tensor]:
    """The standard deviation, as `std`, and the mean over `dim`."""
    deviation, centre = _deviation("std_mean", x, dim, unbiased, correction, keepdim)
    return deviation, reshape(centre, deviation.shape)


def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many values fall into each of `bins` equal parts of [min, max]; with min = max the range of x itself.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1.0, 2.0, 1.0]).histc(4, 0, 3)
    tensor([0., 2., 1., 0.])
    """
    if bins <= 0:
        raise ShapeError(f"histc: got {bins} bins; it needs at least one")
    if max < min:
        raise ShapeError(f"histc: got the range {min} to {max}; max must not be less than min")
    if not is_floating(x.array.dtype):
        raise DtypeError(f"histc: got dtype {x.dtype}; it needs floating point, use .float()")
    values, backend = x.array.reshape(-1), backend_of(x.array)
    low, high = backend.full((), min, x.dtype), backend.full((), max, x.dtype)
    if min == max and values.size:
        low, high = values.min(), values.max()
        single = low == high
        low, high = backend.where(single, low - 1, low), backend.where(single, high + 1, high)
    inside = (values >= low) & (values <= high)
    part = backend.cast((backend.where(inside, values, low) - low) / (high - low) * bins, int64)
    part = backend.minimum(part, bins - 1)  # max itself belongs to the last
    counts = backend.bincount(backend.where(inside, part, bins), None, bins + 1)[:bins]
    return Tensor(backend.cast(counts, x.dtype))


def bincount(x: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2, ... stands in x (one-dimensional, whole numbers); with weights, their sums instead.

    >>> import tensorgrad
    >>> tensorgrad.tensor([0, 2, 2]).bincount()
    tensor([1, 0, 2])
    """
    if x.array.ndim != 1 or x.array.dtype.kind not in "iu":
        raise ShapeError(f"bincount: got {x.dtype} of shape {x.shape}; it needs one dimension of whole numbers")
    if minlength < 0:
        raise ShapeError(f"bincount: got minlength {minlength}; it must not be negative")
    if weights is not None and weights.array.shape != x.array.shape:
        raise ShapeError(f"bincount: got weights of shape {weights.shape}; they must have the shape of x, {x.shape}")
    backend = backend_of(x.array)
    if x.array.dtype.kind == "i":
        backend.check_index("bincount", x.array, 1 << 62, ShapeError)
    if weights is None:
        return Tensor(backend.cast(backend.bincount(x.array, None, minlength), int64))
    sums = backend.bincount(x.array, weights.array, minlength)
    return Tensor(backend.cast(sums, weights.dtype if weights.dtype == float32 else float64))


def cov(x: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    """The covariances of the rows of x (variables, observations): (variables, variables).

    fweights counts how often each observation was made, aweights says how much each is worth.
    """
    if x.array.ndim > 2:
        raise ShapeError(f"cov: got shape {x.shape}; it takes at most two dimensions (variables, observations)")
    rows = x if x.array.ndim == 2 else reshape(x, 1, -1)
    rows = rows if is_floating(rows.array.dtype) else cast(rows, float32)
    count = rows.array.shape[1]
    weight = _weights(fweights, aweights, count)
    if weight is None:
        centred = scaled = rows - mean(rows, 1, True)
        norm: Any = float(max(count - correction, 0))
    else:
        total = weight.sum()
        centred = rows - (rows * weight).sum(1, True) / total
        scaled = centred * weight
        norm = total - correction
        if aweights is not None and correction:
            norm = total - correction * (weight * aweights).sum() / total
        norm = where(norm > 0, norm, 0.0) if is_floating(norm.dtype) else cast(norm.clamp(min=0), rows.dtype)
    return divide(matmul(scaled, centred.T), norm).squeeze()


def _weights(fweights: Tensor | None, aweights: Tensor | None, count: int) -> Tensor | None:
    """The product of the weights there are."""
    found: Tensor | None = None
    for name, weight in (("fweights", fweights), ("aweights", aweights)):
        if weight is None:
            continue
        if weight.array.shape != (count,):
            raise ShapeError(f"cov: got {name} of shape {weight.shape}; there are {count} observations")
        if (weight.array.dtype.kind in "iu") is not (name == "fweights"):
            raise DtypeError(
                f"cov: got {name} of dtype {weight.dtype}; fweights are whole numbers, aweights floating point"
            )
        if bool((weight < 0).any()):
            raise ShapeError(f"cov: a value of {name} is negative; weights must not be")
        found = weight if found is None else found * weight
    return found


def corrcoef(x: Tensor) -> Tensor:
    """The coefficients of correlation of the rows of x: `cov` divided by the standard deviations, kept within [-1, 1]."""
    if x.array.ndim > 2:
        raise ArgumentError(f"corrcoef: got shape {x.shape}; it takes at most two dimensions (variables, observations)")
    covariance = cov(x)
    if not covariance.array.ndim:
        return covariance / covariance
    deviation = sqrt(covariance.diagonal())
    z = covariance / unsqueeze(deviation, 1) / unsqueeze(deviation, 0)
    return z.clamp(-1.0, 1.0)
