"""Reading and writing parts of a Tensor."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_of, is_array
from tensorgrad.dtypes import int64
from tensorgrad.errors import DeviceError, DimensionError, OperandError
from tensorgrad.mode import mode
from tensorgrad.ops.operands import put_on_tape
from tensorgrad.primitive import Linear, Primitive, View
from tensorgrad.tensor import Tensor


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

    What writing into a view does to its base. `view` is an application of a View primitive.
    """

    __slots__ = ("view",)

    def __init__(self, view: View) -> None:
        self.view = view

    def forward(self, x: Any, y: Any) -> Any:
        z = x.copy(order="C")  # of values in order every view is a view: a reshape of others may copy
        part = self.part(z)
        assert part.size == 0 or backend_of(z).may_share_memory(part, z), f"{self.view!r} of a copy is no view"
        part[...] = y
        return z

    def part(self, z: Any) -> Any:
        """The part of an array that the view looks at."""
        return self.view.again(z)

    def vjp(self, dz: Any) -> Any:
        dy = self.part(dz)
        return self.again(dz, backend_of(dy).zeros_like(dy)), dy


class Index:
    """x[index] in two steps, as PyTorch takes it: first numbers, slices and None (a view), then the arrays.

    So a number beside an array is no array: x[0, :, [1, 2]] is x[0][:, [1, 2]], where NumPy would move the picked dimension
    to the front. `basic` indexes x; `arrays` indexes what that gives, or is None where there are none.
    """

    __slots__ = ("arrays", "basic")

    def __init__(self, operation: str, x: Tensor, index: Any) -> None:
        parts = self._with_arrays(operation, x, index if isinstance(index, tuple) else (index,))
        used = sum(_dims_taken(part) for part in parts)
        if used > x.array.ndim:
            raise DimensionError(f"{operation}: got {used} indices for a Tensor of shape {x.shape}")
        if sum(part is Ellipsis for part in parts) > 1:
            raise DimensionError(f"{operation}: got '...' twice; it can stand for the rest once")
        basic: list[Any] = []
        arrays: list[Any] = []
        picks = False
        backend = backend_of(x.array)
        for part in parts:
            if part is Ellipsis:
                rest = [slice(None)] * (x.array.ndim - used)
                basic += rest
                arrays += rest
            elif part is None or isinstance(part, slice):
                basic.append(part)
                arrays.append(slice(None))
            elif isinstance(part, bool):  # a new dimension of length 1, kept or emptied
                basic.append(None)
                arrays.append(backend.arange(0, int(part), 1, int64))
                picks = True
            elif isinstance(part, int):
                basic.append(part)
            elif part.dtype.kind == "b":
                dim = sum(_dims_taken(former) for former in basic)
                if part.shape != x.array.shape[dim : dim + part.ndim]:
                    raise DimensionError(
                        f"{operation}: a mask of shape {part.shape} does not fit a Tensor of shape {x.shape} from its "
                        f"dimension {dim} on"
                    )
                basic += [slice(None)] * part.ndim
                arrays += backend.nonzero(part)
                picks = True
            else:
                basic.append(slice(None))
                arrays.append(part)
                picks = True
        while basic and isinstance(basic[-1], slice) and basic[-1] == slice(None):
            basic.pop()
        self.basic = tuple(basic)
        self.arrays = tuple(arrays) if picks else None

    @staticmethod
    def _with_arrays(operation: str, x: Tensor, index: tuple[Any, ...]) -> list[Any]:
        """The parts of an index: Tensors and lists as arrays on x's device, single values as Python's."""
        parts: list[Any] = []
        for part in index:
            if isinstance(part, (list, range)):
                part = _array_of_list(operation, x, part)
            elif isinstance(part, Tensor):
                part = part.array
            if is_array(part):
                if part.dtype.kind not in "iub":
                    raise DimensionError(
                        f"{operation}: an index has dtype {part.dtype}; indices are whole numbers or Booleans"
                    )
                part = beside(operation, x, part) if part.ndim else backend_of(part).to_host(part).item()
            elif isinstance(part, (numpy.integer, numpy.bool_)):
                part = part.item()
            elif not (part is None or part is Ellipsis or isinstance(part, (bool, int, slice))):
                raise DimensionError(
                    f"{operation}: an index is a {type(part).__name__}; use numbers, slices, None, ... or Tensors of them"
                )
            if isinstance(part, slice):
                part = slice(*(None if end is None else end.__index__() for end in (part.start, part.stop, part.step)))
            parts.append(part)
        if not any(part is Ellipsis for part in parts):
            parts.append(Ellipsis)
        return parts

    def part(self, x: Tensor) -> Tensor:
        """What numbers, slices and None leave of x: a view, or x itself where the arrays alone index it."""
        return x if self.arrays is not None and not self.basic else Slice(self.basic)(x)


def _dims_taken(part: Any) -> int:
    """How many dimensions of a Tensor a part of an index stands for."""
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if is_array(part) and part.dtype.kind == "b" else 1


def _array_of_list(operation: str, x: Tensor, values: Any) -> Any:
    try:
        array = numpy.asarray(values, dtype=None if len(values) else numpy.int64)
    except (ValueError, TypeError) as error:
        raise OperandError(f"{operation}: an index is a list that is no array: {error}") from None
    return backend_of(x.array).from_host(array)


def beside(operation: str, x: Tensor, index: Any) -> Any:
    """An array of indices on x's device: moved there from the host, as in PyTorch, but from no other device.

    Where x is on the tape it is a copy: backward needs the index as it is now.
    """
    if type(index) is type(x.array) or backend_of(index) is backend_of(x.array):  # the latter where a step is recorded
        return index.copy() if x.tracked and mode.recording else index
    if not isinstance(index, numpy.ndarray):
        place = backend_of(index).device_of(index)
        raise DeviceError(
            f"{operation}: the index is on '{place}', the Tensor on '{x.device}'; move one with .to(device)"
        )
    return index if isinstance(x.array, numpy.ndarray) else backend_of(x.array).from_host(index, x.device)


def out_of_range(operation: str, x: Tensor, index: Any, error: IndexError) -> DimensionError:
    """What is raised where the array library refuses an index."""
    return DimensionError(f"{operation}: a Tensor of shape {x.shape} with {index!r}: {error}")


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index]: a view for slices and numbers, a copy where arrays or masks pick values."""
    found = Index("indexing", x, index)
    try:
        part = found.part(x)
        return part if found.arrays is None else Gather(found.arrays)(part)
    except IndexError as error:
        if isinstance(error, DimensionError):
            raise
        raise out_of_range("indexing", x, index, error) from error


def _getitem_on_tape(x: Tensor, index: Any) -> Tensor:
    return Gather(index)(x) if any(is_array(part) for part in index) else Slice(index)(x)


put_on_tape(getitem=_getitem_on_tape)
