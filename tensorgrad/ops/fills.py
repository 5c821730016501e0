"""Writing into a Tensor's own memory what does not depend on it: a constant, a diagonal, random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.backend import backend_for
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DtypeError, RangeError
from tensorgrad.ops.inplace import fill_, write
from tensorgrad.random import Generator, default_generator
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = ["fill"]

#: From 2^n on not every whole number is there: the range of random_ in floating point ends at it.
_WHOLE_UP_TO = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


def _written(self: Tensor, operation: str, values: numpy.ndarray) -> Tensor:
    """Random values drawn on the host (one stream for every device), in x's dtype."""
    backend = backend_for(self.device)
    array = backend.cast(backend.from_host(numpy.asarray(values), self.device), self.array.dtype)
    return write(self, Tensor(array), operation)


def _floating(self: Tensor, operation: str) -> None:
    if not is_floating(self.array.dtype):
        raise DtypeError(
            f"{operation}: got dtype {self.dtype}; it writes floating-point numbers, use random_ for whole ones"
        )


def _stream(generator: Generator | None) -> numpy.random.Generator:
    return (generator or default_generator).numpy


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers drawn evenly from [a, b); returns self.

    >>> import tensorgrad
    >>> x = tensorgrad.empty(100).uniform_(-1, 1)
    >>> bool((x >= -1).all()) and bool((x < 1).all())
    True
    """
    _floating(self, "uniform_")
    if not a <= b:
        raise RangeError(f"uniform_: got the range {a} to {b}; it must not end before it begins")
    values = (generator or default_generator).uniform(
        self.shape, numpy.float64 if self.itemsize == 8 else numpy.float32, "cpu"
    )
    return _written(self, "uniform_", values * (b - a) + a)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers of the normal distribution; returns self."""
    _floating(self, "normal_")
    if std < 0:
        raise RangeError(f"normal_: got std={std}; it is not negative")
    values = (generator or default_generator).normal(
        self.shape, numpy.float64 if self.itemsize == 8 else numpy.float32, "cpu"
    )
    return _written(self, "normal_", values * std + mean)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Write 1 with probability p (a number or a Tensor, broadcast), else 0; returns self."""
    chances = p.detach().cpu().array if isinstance(p, Tensor) else p
    if not numpy.all((numpy.asarray(chances) >= 0) & (numpy.asarray(chances) <= 1)):
        raise RangeError("bernoulli_: a probability lies between 0 and 1")
    return _written(self, "bernoulli_", _stream(generator).random(self.shape) < chances)


def random_(
    self: Tensor, from_: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Write whole numbers drawn evenly from `from_` (0) to below `to`; with one argument from 0 to below it; returns self.

    Without an end the range is all that the dtype holds, in floating point every number up to 2^24 (float32).
    """
    if to is None and from_ is not None:
        from_, to = 0, from_
    low = from_ or 0
    if to is None:
        kind = self.dtype.kind
        ends = {"b": 2, "f": 1 + (1 << _WHOLE_UP_TO.get(str(self.dtype), 0)), "V": 257}
        to = ends[kind] if kind in ends else int(numpy.iinfo(self.dtype).max) + 1
    if not low < to:
        raise RangeError(f"random_: got the range {low} to {to}; it must not end before it begins")
    return _written(self, "random_", _stream(generator).integers(low, to - 1, self.shape, endpoint=True))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers of the density lambd e^(-lambd x); returns self."""
    _floating(self, "exponential_")
    if lambd <= 0:
        raise RangeError(f"exponential_: got lambd={lambd}; it must be positive")
    return _written(self, "exponential_", _stream(generator).standard_exponential(self.shape) / lambd)


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Write how many draws it took to the first success of probability p; returns self."""
    if not 0 < p < 1:
        raise RangeError(f"geometric_: got p={p}; it lies between 0 and 1")
    return _written(self, "geometric_", _stream(generator).geometric(p, self.shape))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Write numbers of the Cauchy distribution; returns self."""
    _floating(self, "cauchy_")
    return _written(self, "cauchy_", _stream(generator).standard_cauchy(self.shape) * sigma + median)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Write e^x for x of the normal distribution; returns self."""
    _floating(self, "log_normal_")
    if std <= 0:
        raise RangeError(f"log_normal_: got std={std}; it must be positive")
    return _written(self, "log_normal_", numpy.exp(_stream(generator).standard_normal(self.shape) * std + mean))


def fill(input: Tensor, value: Any) -> Tensor:
    """`value` (a number or a Tensor of one) everywhere, of x's shape, dtype and device; its gradient is the sum."""
    return fill_(input.clone(), value)


FILLS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f for f in (uniform_, normal_, bernoulli_, random_, exponential_, geometric_, cauchy_, log_normal_)
}
