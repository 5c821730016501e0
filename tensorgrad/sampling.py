"""Making random Tensors. All draw from one stream on the host, so that a seed gives the same numbers on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.creation import Place, checked_shape, floating_dtype, kind_of, made
from tensorgrad.dtypes import int64, is_floating
from tensorgrad.errors import DtypeError, RangeError, ShapeError
from tensorgrad.ops.operands import as_tensor, cast
from tensorgrad.random import Generator, default_generator
from tensorgrad.tensor import Tensor

__all__ = [
    "bernoulli",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
]


def _stream(generator: Generator | None) -> numpy.random.Generator:
    return (generator or default_generator).numpy


def _beside(x: Tensor, values: Any, dtype: Any = None) -> Tensor:
    """Values drawn on the host, in x's dtype (or another) on x's device."""
    kind = x.dtype if dtype is None else dtype
    z = made(x.device, lambda backend: backend.from_host(numpy.asarray(values)))
    return cast(z, kind)


def rand(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn evenly from [0, 1)."""
    sizes, kind = checked_shape("rand", shape, size), floating_dtype("rand", dtype)
    return Tensor((generator or default_generator).uniform(sizes, kind, device), requires_grad)


def randn(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn from the normal distribution of mean 0 and variance 1."""
    sizes, kind = checked_shape("randn", shape, size), floating_dtype("randn", dtype)
    return Tensor((generator or default_generator).normal(sizes, kind, device), requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Whole numbers drawn evenly from low (0 if only one bound is given) to below high.

    >>> randint(10, (2, 3)).shape
    (2, 3)
    """
    if size is None or high is None:
        low, high, size = 0, low, high if size is None else size
    if high <= low:
        raise RangeError(f"randint: got the range {low} to {high}; high must be above low")
    values = _stream(generator).integers(low, high, checked_shape("randint", (size,)))
    kind = kind_of("randint", int64 if dtype is None else dtype)
    return made(device, lambda backend: backend.from_host(numpy.asarray(values).astype(kind)), requires_grad)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """The whole numbers below n in random order."""
    if n < 0:
        raise RangeError(f"randperm: got n={n}; it is not negative")
    kind = kind_of("randperm", int64 if dtype is None else dtype)
    values = _stream(generator).permutation(n).astype(kind, copy=False)
    return made(device, lambda backend: backend.from_host(values), requires_grad)


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def like(
        input: Tensor,
        *,
        generator: Generator | None = None,
        dtype: Any = None,
        device: Place = None,
        requires_grad: bool = False,
    ) -> Tensor:
        x = as_tensor(f"{make.__name__}_like", input)
        return make(
            *x.shape,
            generator=generator,
            dtype=x.dtype if dtype is None else dtype,
            device=device or x.device,
            requires_grad=requires_grad,
        )

    like.__name__ = like.__qualname__ = f"{make.__name__}_like"
    like.__doc__ = f"As `{make.__name__}`, of x's shape, dtype and device."
    return like


rand_like = _like(rand)
randn_like = _like(randn)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """As `randint`, of x's shape, dtype and device."""
    low, high = (0, low) if high is None else (low, high)
    return randint(
        low,
        high,
        input.shape,
        generator=generator,
        dtype=input.dtype if dtype is None else dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers of the normal distribution of this mean and this standard deviation: numbers with a size, or Tensors.

    >>> normal(0.0, 1.0, (2, 3)).shape
    (2, 3)
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not tensors:
        if size is None:
            raise RangeError("normal: mean and std are numbers; name the size")
        if std < 0:
            raise RangeError(f"normal: got std={std}; it is not negative")
        z = randn(size, generator=generator, dtype=dtype, device=device) * std + mean
        return z.requires_grad_(requires_grad)
    if isinstance(std, Tensor) and bool((std < 0).any()):
        raise RangeError("normal: a standard deviation is negative")
    shape = numpy.broadcast_shapes(*[value.shape for value in tensors])
    like = tensors[0]
    z = randn(shape, generator=generator, dtype=like.dtype, device=like.device)
    return (z * (std.detach() if isinstance(std, Tensor) else std)) + (
        mean.detach() if isinstance(mean, Tensor) else mean
    )


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that stands in each place of x (or p everywhere), else 0, in x's dtype.

    >>> import tensorgrad
    >>> bernoulli(tensorgrad.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor("bernoulli", input)
    chances = x.detach().cpu().array.astype(numpy.float64) if p is None else numpy.float64(p)
    if not bool(((chances >= 0) & (chances <= 1)).all()):
        raise DtypeError("bernoulli: a probability lies between 0 and 1")
    return _beside(x, _stream(generator).random(x.shape) < chances)


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Numbers of the Poisson distribution whose rates stand in x, in x's dtype."""
    x = as_tensor("poisson", input)
    rates = x.detach().cpu().array.astype(numpy.float64)
    if not bool((rates >= 0).all()):
        raise DtypeError("poisson: a rate is negative")
    return _beside(x, _stream(generator).poisson(rates))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn in proportion to the weights that stand in x, (C,) or (N, C) -> (num_samples,) or (N, num_samples).

    >>> import tensorgrad
    >>> multinomial(tensorgrad.tensor([0.0, 3.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    x = as_tensor("multinomial", input)
    if not is_floating(x.dtype) or x.ndim not in (1, 2):
        raise ShapeError(
            f"multinomial: got {x.dtype} of shape {x.shape}; it takes floating-point weights, (C,) or (N, C)"
        )
    weights = x.detach().cpu().array.astype(numpy.float64)
    if not numpy.isfinite(weights).all() or (weights < 0).any() or (weights.sum(axis=-1) <= 0).any():
        raise ShapeError("multinomial: the weights must be finite, not negative, and not all 0")
    rows = weights.reshape(-1, weights.shape[-1])
    if num_samples <= 0 or (not replacement and num_samples > int((rows > 0).sum(axis=1).min(initial=num_samples))):
        raise ShapeError(
            f"multinomial: got num_samples={num_samples}; it must be positive and, without replacement, at most the "
            "number of weights that are not 0"
        )
    stream = _stream(generator)
    if replacement:
        sums = rows.cumsum(axis=1) / rows.sum(axis=1, keepdims=True)
        places = [numpy.searchsorted(line, stream.random(num_samples), side="right") for line in sums]
        found = numpy.minimum(numpy.reshape(places, (-1, num_samples)), rows.shape[1] - 1)
    else:  # the least of exponential times, each divided by its weight, come in the order of drawing
        with numpy.errstate(divide="ignore"):
            times = stream.standard_exponential(rows.shape) / rows
        found = times.argsort(axis=1)[:, :num_samples]
    return _beside(x, found.reshape((*x.shape[:-1], num_samples)), int64)
