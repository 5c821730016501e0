"""Reading and writing parts of a Tensor."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_of, is_array
from tensorgrad.errors import DeviceError, DimensionError, DtypeError, OperandError
from tensorgrad.ops.operands import one_dim, put_on_tape
from tensorgrad.primitive import Linear, Primitive, View
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "take_along_dim",
]


class Slice(View):
    """z = x[index] for slices, whole numbers, None and ...        dz = dx[index]"""

    __slots__ = ("index", "shape")

    def __init__(self, index: tuple[Any, ...]) -> None:
        self.index = index

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        z = x[self.index]
        # one value: NumPy gives a number, which is no view, unless the index has an ellipsis
        return z if z.shape else x[(*(part for part in self.index if part is not Ellipsis), ...)]

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).unslice(dz, self.index, self.shape)


class Unslice(Linear):
    """z = 0 of `shape` but z[index] = x        dz likewise of dx"""

    __slots__ = ("index", "shape")

    def __init__(self, index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        self.index = index
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return backend_of(x).unslice(x, self.index, self.shape)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).getitem(dz, self.index)


class Gather(Linear):
    """z = x[index] with arrays of whole numbers among the indices        dz = dx[index]"""

    __slots__ = ("index", "shape")

    def __init__(self, index: tuple[Any, ...]) -> None:
        self.index = index

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return backend_of(x).getitem(x, self.index)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).scatter_add(dz, self.index, self.shape)


class ScatterAdd(Linear):
    """z = 0 of `shape`, then z[index] += x, repeated indices adding up        dz likewise of dx"""

    __slots__ = ("index", "shape")

    def __init__(self, index: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        self.index = index
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return backend_of(x).scatter_add(x, self.index, self.shape)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).getitem(dz, self.index)


class TakeAlongAxis(Primitive):
    """z[..., j, ...] = x[..., index[..., j, ...], ...] along axis        dz likewise of dx"""

    __slots__ = ("axis", "length")

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Any, index: Any) -> Any:
        self.length = x.shape[self.axis]
        return backend_of(x).take_along_axis(x, index, self.axis)

    def jvp(self, dx: Any, _: Any, index: Any) -> Any:
        return backend_of(dx).take_along_axis(dx, index, self.axis)

    def vjp(self, dz: Any, index: Any) -> Any:
        return backend_of(dz).put_along_axis(dz, index, self.axis, self.length), None


class PutAlongAxis(Primitive):
    """z = 0, then z[..., index[..., j, ...], ...] += x[..., j, ...] along axis, of the given length        dz likewise of dx"""

    __slots__ = ("axis", "length")

    def __init__(self, axis: int, length: int) -> None:
        self.axis = axis
        self.length = length

    def forward(self, x: Any, index: Any) -> Any:
        return backend_of(x).put_along_axis(x, index, self.axis, self.length)

    def jvp(self, dx: Any, _: Any, index: Any) -> Any:
        return backend_of(dx).put_along_axis(dx, index, self.axis, self.length)

    def vjp(self, dz: Any, index: Any) -> Any:
        return backend_of(dz).take_along_axis(dz, index, self.axis), None


class Overwrite(Linear):
    """z = x, but the part of it that `view` looks at is y        dz = dx, but that part is dy

    What writing into a view does to its base. `view` is an application of a View primitive. `layout` names the dimensions as
    they lie in the base's memory, outermost first: a copy of another layout need not have that view (a reshape may copy).
    """

    __slots__ = ("layout", "view")

    layout: tuple[int, ...] | None

    def __init__(self, view: View) -> None:
        self.view = view
        self.layout = None

    def forward(self, x: Any, y: Any) -> Any:
        backend = backend_of(x)
        layout = self.layout or tuple(range(x.ndim))
        back = tuple(layout.index(axis) for axis in range(x.ndim))
        z = backend.transpose(backend.transpose(x, layout).copy(order="C"), back)
        part = self.part(z)
        assert part.size == 0 or backend.may_share_memory(part, z), f"{self.view!r} of a copy is no view"
        part[...] = y
        return z

    def again(self, *inputs: Any) -> Any:
        fresh = Overwrite(self.view)
        fresh.layout = self.layout
        return fresh(*inputs) if any(isinstance(x, Tensor) for x in inputs) else fresh.forward(*inputs)

    def part(self, z: Any) -> Any:
        """The part of an array that the view looks at."""
        return self.view.again(z)

    def vjp(self, dz: Any) -> Any:
        dy = self.part(dz)
        return self.again(dz, backend_of(dy).zeros_like(dy)), dy


def clean_index(operation: str, x: Tensor, index: Any) -> tuple[tuple[Any, ...], bool]:
    """The index as a tuple of slices, numbers, None, ... and arrays of x's device, and whether arrays are among them.

    Boolean masks become the positions of their true values.
    """
    parts = index if isinstance(index, tuple) else (index,)
    backend = backend_of(x.array)
    clean: list[Any] = []
    advanced = False
    for part in parts:
        if isinstance(part, Tensor):
            part = part.array
        elif isinstance(part, (list, range)):
            part = backend.from_host(numpy.asarray(part, dtype=None if len(part) else numpy.int64))
        if isinstance(part, (bool, numpy.bool_)):
            raise OperandError(f"{operation}: an index is a single bool; use a slice, or a mask of the Tensor's shape")
        if isinstance(part, numpy.integer):
            part = int(part)
        if is_array(part):
            part = _beside(operation, x, part)
            if part.dtype.kind == "b":
                _check_mask(operation, x, part, clean)
                clean.extend(backend.nonzero(part))
                advanced = True
                continue
            if part.dtype.kind not in "iu":
                raise DtypeError(f"{operation}: an index has dtype {part.dtype}; indices are whole numbers or Booleans")
            advanced = True
        elif isinstance(part, float) or not (part is None or part is Ellipsis or isinstance(part, (int, slice))):
            raise OperandError(
                f"{operation}: an index is a {type(part).__name__}; use numbers, slices, None, ... or Tensors of them"
            )
        clean.append(part)
    used = sum(1 for part in clean if part is not None and part is not Ellipsis)
    if used > x.array.ndim:
        raise DimensionError(f"{operation}: got {used} indices for a Tensor of shape {x.shape}")
    return tuple(clean), advanced


def _beside(operation: str, x: Tensor, index: Any) -> Any:
    """An array of indices on x's device: moved there from the host, as in PyTorch, but from no other device."""
    if type(index) is type(x.array):
        return index
    if not isinstance(index, numpy.ndarray):
        place = backend_of(index).device_of(index)
        raise DeviceError(
            f"{operation}: the index is on '{place}', the Tensor on '{x.device}'; move one with .to(device)"
        )
    return index if isinstance(x.array, numpy.ndarray) else backend_of(x.array).from_host(index, x.device)


def _check_mask(operation: str, x: Tensor, mask: Any, before: list[Any]) -> None:
    start = sum(1 for part in before if part is not None and part is not Ellipsis)
    if (
        Ellipsis not in [part for part in before if not is_array(part)]
        and mask.shape != x.shape[start : start + mask.ndim]
    ):
        raise DimensionError(f"{operation}: a mask of shape {mask.shape} does not fit a Tensor of shape {x.shape}")


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: a view for slices and numbers, a copy where arrays or masks pick values."""
    clean, advanced = clean_index("indexing", x, index)
    try:
        return Gather(clean)(x) if advanced else Slice(clean)(x)
    except IndexError as error:
        if isinstance(error, DimensionError):
            raise
        raise DimensionError(f"indexing a Tensor of shape {x.shape} with {index!r}: {error}") from error


def _getitem_on_tape(x: Tensor, index: Any) -> Tensor:
    return Gather(index)(x) if any(is_array(part) for part in index) else Slice(index)(x)


def take_along_dim(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """The values of x at `indices` along `dim`; the other dimensions are those of both."""
    return TakeAlongAxis(one_dim("take_along_dim", dim, x.array.ndim))(x, indices)


put_on_tape(getitem=_getitem_on_tape)
