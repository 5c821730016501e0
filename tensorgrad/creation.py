"""Making Tensors: from data, or filled with numbers. The random ones are in tensorgrad.sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.backend import ArrayBackend, backend_for, backend_of, is_array
from tensorgrad.device import Device, as_device
from tensorgrad.dtypes import DType, category, get_default_dtype, int64, is_floating
from tensorgrad.errors import DtypeError, OperandError, RangeError, ShapeError
from tensorgrad.ops.operands import as_tensor as checked
from tensorgrad.ops.operands import cast
from tensorgrad.ops.shape import sizes as sizes_of
from tensorgrad.tensor import Tensor

__all__ = [
    "arange",
    "as_tensor",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
    "zeros",
    "zeros_like",
]

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
        if values.dtype.kind not in "biuf" and not is_floating(values.dtype):
            raise OperandError(f"tensor: got data of type {values.dtype}; it takes numbers and Booleans")
        z = made(device, lambda backend: backend.from_host(values))
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
        z = data if isinstance(data, Tensor) else Tensor(data).shared_with_numpy()
        z = z if dtype is None else cast(z, dtype)
        return z if device is None else z.to(device)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: Any = None, device: Place = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of `obj`, on its own memory where that is possible; with `copy=True` always on new memory."""
    z = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)
    return z.requires_grad_() if requires_grad else z


def from_numpy(array: numpy.ndarray) -> Tensor:
    """A Tensor on the memory of a NumPy array: a change of one is seen by the other."""
    if not isinstance(array, numpy.ndarray):
        raise OperandError(f"from_numpy: got a {type(array).__name__}; it takes a NumPy array")
    return Tensor(array).shared_with_numpy()


def made(device: Place, make: Callable[[ArrayBackend], Any], requires_grad: bool = False) -> Tensor:
    """A Tensor of the array that `make` gives on this device."""
    chosen = as_device(device)
    backend = backend_for(chosen)
    with backend.on(chosen):
        return Tensor(make(backend), requires_grad)


def kind_of(operation: str, dtype: Any) -> DType:
    """The dtype asked for, the default floating-point one for None; what is no number type of ours is refused."""
    try:
        kind = get_default_dtype() if dtype is None else numpy.dtype(dtype)
    except TypeError:
        raise OperandError(f"{operation}: got dtype {dtype!r}; give one like tensorgrad.float32") from None
    category(kind)
    return kind


def floating_dtype(operation: str, dtype: Any) -> DType:
    """The floating-point dtype asked for, the default one for None."""
    kind = kind_of(operation, dtype)
    if not is_floating(kind):
        raise DtypeError(f"{operation}: got dtype {kind}; it makes floating-point numbers, use randint for whole ones")
    return kind


def checked_shape(operation: str, given: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """Sizes, given one by one, as a sequence, or by the name of size."""
    if given and size is not None:
        raise OperandError(f"{operation}: got the size twice, {given} and size={size}")
    shape = sizes_of(operation, given if size is None else (size,))
    if any(n < 0 for n in shape):
        raise ShapeError(f"{operation}: got shape {shape}; sizes are not negative")
    return shape


def zeros(
    *shape: Any, size: Any = None, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the given size.

    >>> zeros(2, 3).shape
    (2, 3)
    """
    sizes, kind = checked_shape("zeros", shape, size), kind_of("zeros", dtype)
    return made(device, lambda backend: backend.zeros(sizes, kind), requires_grad)


def ones(*shape: Any, size: Any = None, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Ones of the given size."""
    sizes, kind = checked_shape("ones", shape, size), kind_of("ones", dtype)
    return made(device, lambda backend: backend.ones(sizes, kind), requires_grad)


def empty(
    *shape: Any, size: Any = None, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """Whatever lies in memory, of the given size."""
    sizes, kind = checked_shape("empty", shape, size), kind_of("empty", dtype)
    return made(device, lambda backend: backend.empty(sizes, kind), requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """`fill_value` everywhere; its type decides the dtype unless that is named.

    >>> full((2,), 7)
    tensor([7, 7])
    """
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    shape = checked_shape("full", (size,))
    kind = kind_of("full", _dtype_for(value) if dtype is None else dtype)
    return made(device, lambda backend: backend.full(shape, value, kind), requires_grad)


def scalar_tensor(s: float, *, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """A number as a Tensor without dimensions, of the default floating-point type unless named."""
    return full((), s, dtype=kind_of("scalar_tensor", dtype), device=device, requires_grad=requires_grad)


def _like(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def like(input: Tensor, *, dtype: Any = None, device: Place = None, requires_grad: bool = False) -> Tensor:
        x = checked(f"{make.__name__}_like", input)
        kind = x.dtype if dtype is None else dtype
        return make(*x.shape, dtype=kind, device=device or x.device, requires_grad=requires_grad)

    like.__name__ = like.__qualname__ = f"{make.__name__}_like"
    like.__doc__ = f"As `{make.__name__}`, of x's shape, dtype and device."
    return like


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`fill_value` everywhere, of x's shape, dtype and device."""
    x = checked("full_like", input)
    kind = x.dtype if dtype is None else dtype
    return full(x.shape, fill_value, dtype=kind, device=device or x.device, requires_grad=requires_grad)


def _bound(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, numpy.generic)) else value


def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below end (one argument: 0 to below it); int64 for whole numbers.

    >>> arange(1, 8, 3)
    tensor([1, 4, 7])
    """
    if end is None:
        start, end = 0, start
    start, end, step = _bound(start), _bound(end), _bound(step)
    if not all(math.isfinite(value) for value in (start, end, step)):
        raise RangeError(f"arange: got {start}, {end}, {step}; all must be finite")
    if step == 0:
        raise RangeError("arange: step is 0; it must be positive or negative")
    if (end - start) * step < 0:
        raise RangeError(f"arange: a step of {step} does not lead from {start} to {end}")
    if dtype is None:
        dtype = int64 if all(isinstance(v, int) for v in (start, end, step)) else get_default_dtype()
    kind = kind_of("arange", dtype)
    if kind.kind in "iu":
        start, end, step = int(start), int(end), int(step)
    return made(device, lambda backend: backend.arange(start, end, step, kind), requires_grad)


def _evenly(start: Any, end: Any, steps: int, kind: DType, rounded: bool = True) -> numpy.ndarray:
    """Evenly spaced values; of whole numbers from and to whole bounds, and by default in that dtype, as PyTorch has it."""
    bounds = [_bound(start), _bound(end)]
    if kind.kind in "iu":
        bounds = [int(bound) for bound in bounds]
    values = numpy.linspace(bounds[0], bounds[1], steps)
    return values.astype(kind) if rounded else values


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` values from start to end, both included, evenly spaced."""
    if steps < 0:
        raise RangeError(f"linspace: got steps={steps}; it is not negative")
    values = _evenly(start, end, steps, kind_of("linspace", dtype))
    return made(device, lambda backend: backend.from_host(values), requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` values from base^start to base^end, both included, their logarithms evenly spaced.

    >>> logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    if steps < 0:
        raise RangeError(f"logspace: got steps={steps}; it is not negative")
    kind = kind_of("logspace", dtype)
    with numpy.errstate(over="ignore", invalid="ignore"):
        values = (numpy.float64(base) ** _evenly(start, end, steps, kind, rounded=False)).astype(kind)
    return made(device, lambda backend: backend.from_host(values), requires_grad)


def eye(
    n: int, m: int | None = None, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """The n-by-m matrix with ones on its diagonal."""
    if n < 0 or (m is not None and m < 0):
        raise RangeError(f"eye: got the size {n} by {n if m is None else m}; sizes are not negative")
    values = numpy.eye(n, m, dtype=kind_of("eye", dtype))
    return made(device, lambda backend: backend.from_host(values), requires_grad)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Place = None) -> Tensor:
    """Where the lower triangle of a matrix stands, up to the diagonal `offset`: (2, how many)."""
    values = numpy.stack(numpy.tril_indices(row, offset, col)).astype(kind_of("tril_indices", dtype))
    return made(device, lambda backend: backend.from_host(values))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = int64, device: Place = None) -> Tensor:
    """Where the upper triangle of a matrix stands, from the diagonal `offset` on: (2, how many)."""
    values = numpy.stack(numpy.triu_indices(row, offset, col)).astype(kind_of("triu_indices", dtype))
    return made(device, lambda backend: backend.from_host(values))


zeros_like = _like(zeros)
ones_like = _like(ones)
empty_like = _like(empty)


def _new(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def new(
        self: Tensor,
        *shape: Any,
        size: Any = None,
        dtype: Any = None,
        device: Place = None,
        requires_grad: bool = False,
    ) -> Tensor:
        kind = self.dtype if dtype is None else dtype
        given = shape if size is None else (*shape, size)
        return make(*given, dtype=kind, device=device or self.device, requires_grad=requires_grad)

    new.__name__ = new.__qualname__ = f"new_{make.__name__}"
    new.__doc__ = f"As `tensorgrad.{make.__name__}`, in x's dtype and on its device unless named."
    return new


def _new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """As `tensorgrad.tensor`, in x's dtype and on its device unless named."""
    kind = self.dtype if dtype is None else dtype
    return tensor(data, dtype=kind, device=device or self.device, requires_grad=requires_grad)


def _new_full(
    self: Tensor, size: Any, fill_value: float, *, dtype: Any = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """As `tensorgrad.full`, in x's dtype and on its device unless named."""
    kind = self.dtype if dtype is None else dtype
    return full(size, fill_value, dtype=kind, device=device or self.device, requires_grad=requires_grad)


#: The methods of Tensor that make others.
NEW: dict[str, Callable[..., Tensor]] = {
    "new_tensor": _new_tensor,
    "new_zeros": _new(zeros),
    "new_ones": _new(ones),
    "new_empty": _new(empty),
    "new_full": _new_full,
}
