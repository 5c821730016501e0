"""Filling parameters before training, under PyTorch's names.

Every function here writes into the Tensor it is given, outside of the tape, and returns it. Random ones draw from
`generator`, by default the one that `tensorgrad.manual_seed` seeds.

A layer z = w x with `fan_in` inputs a value keeps the variance of what flows through it if w has the variance
gain^2 / fan_in, and that of the gradient if gain^2 / fan_out; Glorot takes the mean of the two fans, He one of them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from tensorgrad.mode import mode, no_grad
from tensorgrad.nn.arguments import one_of
from tensorgrad.ops.inplace import copy_, fill_
from tensorgrad.random import Generator, default_generator
from tensorgrad.tensor import Tensor


def _check(operation: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise OperandError(f"{operation}: got a {type(tensor).__name__}; it fills a Tensor")
    if not is_floating(tensor.dtype):
        raise DtypeError(f"{operation}: got dtype {tensor.dtype}; it fills floating-point Tensors")


def _write(tensor: Tensor, array: Any) -> Tensor:
    with no_grad():
        return copy_(tensor, Tensor(array))


def _draw(tensor: Tensor, kind: str, factor: float, shift: float, generator: Generator | None) -> Tensor:
    """factor x + shift, x drawn from [0, 1) ('random') or the standard normal distribution ('standard_normal')."""
    stream = generator or default_generator
    array = tensor.array
    if isinstance(array, numpy.ndarray) and array.flags.c_contiguous and array.dtype.char in "fd" and tensor.is_leaf:
        if mode.recorder is None:  # straight into the memory: of a large network's weights there is no second copy
            tensor.storage.written("init")
            stream.fill(array, kind, factor, shift)
            return tensor
    draw = stream.uniform if kind == "random" else stream.normal
    values = draw(tensor.shape, tensor.dtype, tensor.device)
    values *= factor
    values += shift
    return _write(tensor, values)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Numbers drawn evenly from [a, b)."""
    _check("uniform_", tensor)
    if not a <= b:
        raise ArgumentError(f"uniform_: got the range {a} to {b}; a must not be above b")
    return _draw(tensor, "random", b - a, a, generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Numbers drawn from the normal distribution with this mean and standard deviation."""
    _check("normal_", tensor)
    if not std >= 0:
        raise ArgumentError(f"normal_: std is {std}; it must not be negative")
    return _draw(tensor, "standard_normal", std, mean, generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers with this mean and standard deviation, drawn again as long as they lie outside of [a, b]."""
    _check("trunc_normal_", tensor)
    if not a < b:
        raise ArgumentError(f"trunc_normal_: got the range {a} to {b}; a must be below b")
    inside = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    if inside < 1e-3:
        raise ArgumentError(
            f"trunc_normal_: the range {a} to {b} holds {inside:.1g} of the normal distribution of mean {mean} and "
            f"std {std}; choose a range nearer to the mean"
        )
    stream = generator or default_generator
    backend = backend_of(tensor.array)
    values = stream.numpy.standard_normal(tensor.shape) * std + mean
    while True:
        outside = (values < a) | (values > b)
        count = int(outside.sum())
        if not count:
            break
        values[outside] = stream.numpy.standard_normal(count) * std + mean
    return _write(tensor, backend.from_host(values.astype(tensor.dtype), tensor.device))


def _normal_cdf(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def constant_(tensor: Tensor, val: float) -> Tensor:
    """`val` everywhere."""
    with no_grad():
        return fill_(tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return constant_(tensor, 1.0)


def _matrix(operation: str, tensor: Tensor) -> None:
    _check(operation, tensor)
    if tensor.array.ndim != 2:
        raise ArgumentError(f"{operation}: got shape {tensor.shape}; it fills matrices")


def _from_host(tensor: Tensor, values: numpy.ndarray) -> Tensor:
    """Values computed on the host, in the Tensor's dtype and on its device."""
    return _write(tensor, backend_of(tensor.array).from_host(values.astype(tensor.dtype), tensor.device))


def eye_(tensor: Tensor) -> Tensor:
    """The identity: a linear layer gives back its input, as far as its size allows."""
    _matrix("eye_", tensor)
    return _from_host(tensor, numpy.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """1 in the middle of kernel i for channel i: a convolution (O, C, ...) gives back its input channels, in each group."""
    _check("dirac_", tensor)
    if tensor.array.ndim not in (3, 4, 5):
        raise ArgumentError(
            f"dirac_: got shape {tensor.shape}; it fills the kernels of convolutions, of 3 to 5 dimensions"
        )
    features, channels, *kernel = tensor.shape
    if features % groups:
        raise ArgumentError(f"dirac_: groups={groups} does not divide the {features} kernels")
    values = numpy.zeros(tensor.shape)
    middle = tuple(n // 2 for n in kernel)
    for group in range(groups):
        for channel in range(min(features // groups, channels)):
            values[(group * (features // groups) + channel, channel, *middle)] = 1
    return _from_host(tensor, values)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer; (O, ...) counts as O rows.

    The Q of a normally distributed matrix's QR decomposition, with the signs of R's diagonal, which makes it uniformly
    distributed. Saxe et al., 2013.
    """
    _check("orthogonal_", tensor)
    if tensor.array.ndim < 2:
        raise ArgumentError(f"orthogonal_: got shape {tensor.shape}; it needs at least two dimensions")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draws = (generator or default_generator).normal((max(rows, columns), min(rows, columns)), numpy.float64)
    q, r = numpy.linalg.qr(draws)
    q = q * numpy.sign(numpy.diagonal(r))
    return _from_host(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Normal numbers of deviation std, a share `sparsity` of every column 0. Martens, 2010."""
    _matrix("sparse_", tensor)
    stream = generator or default_generator
    rows, columns = tensor.shape
    values = std * stream.normal((rows, columns), numpy.float64)
    order = numpy.argsort(stream.uniform((rows, columns), numpy.float64), axis=0)
    numpy.put_along_axis(values, order[: math.ceil(sparsity * rows)], 0.0, axis=0)
    return _from_host(tensor, values)


def fans(operation: str, tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, ...): how many inputs feed an output, how many outputs an input feeds.

    >>> import tensorgrad
    >>> fans("example", tensorgrad.empty(6, 1, 5, 5))
    (25, 150)
    """
    shape = tensor.shape
    if len(shape) < 2:
        raise ShapeError(
            f"{operation}: got a Tensor of shape {shape}; its fans need a weight of two dimensions (out, in) or more"
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much a non-linearity shrinks what flows through it, to be made up for in the weights before it.

    linear, conv1d..3d, sigmoid: 1; tanh: 5/3; relu: sqrt 2; leaky_relu: sqrt(2 / (1 + slope^2)), slope = param
    or 0.01; selu: 3/4

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ArgumentError(
                f"calculate_gain: param is {param!r}; for leaky_relu it must be the negative slope, a number"
            )
        return math.sqrt(2.0 / (1.0 + slope**2))
    gains = dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0)
    gains |= {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 3.0 / 4.0}
    one_of("calculate_gain", "nonlinearity", nonlinearity, (*gains, "leaky_relu"))
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Even numbers in +-gain sqrt(6 / (fan_in + fan_out)). Glorot & Bengio, 2010."""
    fan_in, fan_out = fans("xavier_uniform_", tensor)
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal numbers of standard deviation gain sqrt(2 / (fan_in + fan_out)). Glorot & Bengio, 2010."""
    fan_in, fan_out = fans("xavier_normal_", tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)), generator)


def _he_std(operation: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    one_of(operation, "mode", mode, ("fan_in", "fan_out"))
    fan_in, fan_out = fans(operation, tensor)
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Even numbers in +-gain sqrt(3 / fan); `a` is the negative slope of leaky_relu. He et al., 2015."""
    bound = math.sqrt(3.0) * _he_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers of standard deviation gain / sqrt(fan); `a` is as in kaiming_uniform_. He et al., 2015."""
    return normal_(tensor, 0.0, _he_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


class _Postponed(threading.local):
    depth = 0


_postponed = _Postponed()


@contextmanager
def postponed() -> Iterator[None]:
    """Inside, and in this thread only, new layers draw no numbers: their weights hold whatever was in the memory.

    For networks that are filled as a whole afterwards: by a rule of their own, or from a file.

    >>> import tensorgrad.nn as nn
    >>> with postponed():
    ...     layer = nn.Linear(4096, 4096)
    >>> _ = ones_(layer.weight), zeros_(layer.bias)
    """
    _postponed.depth += 1
    try:
        yield
    finally:
        _postponed.depth -= 1


def is_postponed() -> bool:
    """Whether this is inside of `postponed`."""
    return _postponed.depth > 0


def layer_defaults_(weight: Tensor, bias: Tensor | None) -> None:
    """What PyTorch gives linear layers and convolutions: weight and bias evenly in +-1 / sqrt(fan_in).

    For the weight this is kaiming_uniform_ with a = sqrt 5: gain sqrt(2 / 6), so the bound is sqrt(3) sqrt(1/3) /
    sqrt(fan_in). Draws nothing inside of `postponed`.
    """
    if is_postponed():
        return
    kaiming_uniform_(weight, a=math.sqrt(5.0))
    if bias is not None:
        fan_in, _ = fans("layer_defaults_", weight)
        bound = 1.0 / math.sqrt(fan_in) if fan_in else 0.0
        uniform_(bias, -bound, bound)
