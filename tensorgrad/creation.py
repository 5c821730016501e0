"""Making Tensors: from data, filled with a number, or random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.backend import ArrayBackend, backend_for, backend_of, is_array
from tensorgrad.device import Device, as_device
from tensorgrad.dtypes import get_default_dtype, int64, is_floating
from tensorgrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from tensorgrad.ops.operands import cast
from tensorgrad.ops.shape import sizes
from tensorgrad.random import Generator, default_generator
from tensorgrad.tensor import Tensor

Place = str | Device | None


def _dtype_for(data: Any) -> Any:
    """The dtype PyTorch gives to data: NumPy's own for arrays, the default one for Python floats."""
    if isinstance(data, (numpy.ndarray, numpy.generic)):
        return data.dtype
    array = numpy.asarray(data)
    if array.size == 0 or is_floating(array.dtype):
        return get_default_dtype()
    return array.dtype


def tensor(data: Any, *, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """A new Tensor with a copy of `data`: a number, nested lists, an array or a Tensor (cut off from its history).

    Python floats become the default floating-point type, whole numbers int64, Booleans bool; arrays keep their dtype.

    >>> tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    >>> tensor([1, 2]).dtype
    dtype('int64')
    """
    if isinstance(data, Tensor):
        data = data.array
    if is_array(data) and not isinstance(data, numpy.ndarray):
        array = backend_of(data).copy(data)
        z = Tensor(array if dtype is None else backend_of(array).cast(array, dtype))
        z = z if device is None else z.to(device)
    else:
        if isinstance(data, (list, tuple)):
            data = _plain(data)
        try:
            values = numpy.array(data, dtype=_dtype_for(data) if dtype is None else dtype)
        except (ValueError, TypeError) as error:
            raise OperandError(f"tensor: got data that is no regular array of numbers ({error})") from error
        if values.dtype.kind not in "biuf":
            raise OperandError(f"tensor: got data of type {values.dtype}; it takes numbers and Booleans")
        z = _made(device, lambda backend: backend.from_host(values))
    if requires_grad:
        z.requires_grad = True
    return z


def _plain(data: Any) -> Any:
    """Nested lists with the Tensors in them as NumPy arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(part) for part in data]
    return data.detach().cpu().array if isinstance(data, Tensor) else data


def as_tensor(data: Any, dtype: Any = None, device: Place = None) -> Tensor:
    """A Tensor of `data`, on its own memory where that is possible."""
    if isinstance(data, Tensor) or is_array(data):
        z = data if isinstance(data, Tensor) else Tensor(data)
        z = z if dtype is None else cast(z, dtype)
        return z if device is None else z.to(device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: numpy.ndarray) -> Tensor:
    """A Tensor on the memory of a NumPy array: a change of one is seen by the other."""
    if not isinstance(array, numpy.ndarray):
        raise OperandError(f"from_numpy: got a {type(array).__name__}; it takes a NumPy array")
    return Tensor(array)


def _made(device: Place, make: Callable[[ArrayBackend], Any], requires_grad: bool = False) -> Tensor:
    """A Tensor of the array that `make` gives on this device."""
    chosen = as_device(device)
    backend = backend_for(chosen)
    with backend.on(chosen):
        return Tensor(make(backend), requires_grad)


def _checked_shape(operation: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    shape = sizes(operation, given)
    if any(n < 0 for n in shape):
        raise ShapeError(f"{operation}: got shape {shape}; sizes are not negative")
    return shape


def zeros(*size: Any, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the given size.

    >>> zeros(2, 3).shape
    (2, 3)
    """
    shape = _checked_shape("zeros", size)
    return _made(device, lambda backend: backend.zeros(shape, numpy.dtype(dtype or get_default_dtype())), requires_grad)


def ones(*size: Any, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given size."""
    shape = _checked_shape("ones", size)
    return _made(device, lambda backend: backend.ones(shape, numpy.dtype(dtype or get_default_dtype())), requires_grad)


def empty(*size: Any, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Whatever lies in memory, of the given size."""
    shape = _checked_shape("empty", size)
    return _made(device, lambda backend: backend.empty(shape, numpy.dtype(dtype or get_default_dtype())), requires_grad)


def full(
    size: Any, fill_value: float, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` everywhere; its type decides the dtype unless that is named."""
    shape = _checked_shape("full", (size,))
    kind = numpy.dtype(dtype) if dtype is not None else _dtype_for(fill_value)
    return _made(device, lambda backend: backend.full(shape, fill_value, kind), requires_grad)


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def like(x: Tensor, *, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
        return make(*x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)

    like.__name__ = like.__qualname__ = f"{make.__name__}_like"
    like.__doc__ = f"As `{make.__name__}`, of x's shape, dtype and device."
    return like


def full_like(
    x: Tensor, fill_value: float, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` everywhere, of x's shape, dtype and device."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end (one argument: 0 to below it); int64 for whole numbers.

    >>> arange(3)
    tensor([0, 1, 2])
    """
    if end is None:
        start, end = 0, start
    if step == 0:
        raise ArgumentError("arange: step is 0; it must be positive or negative")
    if dtype is None:
        dtype = int64 if all(isinstance(v, (int, numpy.integer)) for v in (start, end, step)) else get_default_dtype()
    return _made(device, lambda backend: backend.arange(start, end, step, numpy.dtype(dtype)), requires_grad)


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` values from start to end, both included, evenly spaced."""
    values = numpy.linspace(start, end, steps, dtype=numpy.dtype(dtype or get_default_dtype()))
    return _made(device, lambda backend: backend.from_host(values), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """The n-by-m matrix with ones on its diagonal."""
    values = numpy.eye(n, m, dtype=numpy.dtype(dtype or get_default_dtype()))
    return _made(device, lambda backend: backend.from_host(values), requires_grad)


def _random_dtype(operation: str, dtype: Any) -> Any:
    kind = numpy.dtype(dtype or get_default_dtype())
    if not is_floating(kind):
        raise DtypeError(f"{operation}: got dtype {kind}; it makes floating-point numbers, use randint for whole ones")
    return kind


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn evenly from [0, 1)."""
    shape, kind = _checked_shape("rand", size), _random_dtype("rand", dtype)
    return Tensor((generator or default_generator).uniform(shape, kind, device), requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers drawn from the normal distribution of mean 0 and variance 1."""
    shape, kind = _checked_shape("randn", size), _random_dtype("randn", dtype)
    return Tensor((generator or default_generator).normal(shape, kind, device), requires_grad)


def randint(
    low: int,
    high: Any,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Place = None,
) -> Tensor:
    """Whole numbers drawn evenly from low (0 if only one bound is given) to below high."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise ArgumentError(f"randint: got the range {low} to {high}; high must be above low")
    values = (generator or default_generator).numpy.integers(low, high, _checked_shape("randint", (size,)))
    return _made(device, lambda backend: backend.from_host(numpy.asarray(values, dtype=numpy.dtype(dtype or int64))))


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Place = None) -> Tensor:
    """The whole numbers below n in random order."""
    values = (generator or default_generator).numpy.permutation(n).astype(numpy.dtype(dtype or int64), copy=False)
    return _made(device, lambda backend: backend.from_host(values))


zeros_like = _like(zeros)
ones_like = _like(ones)
empty_like = _like(empty)
rand_like = _like(rand)
randn_like = _like(randn)
