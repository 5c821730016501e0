"""Reshaping, reordering and padding: views where NumPy makes views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import DType
from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.ops.operands import one_dim
from tensorgrad.primitive import Linear, Primitive, View
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "clone",
    "flatten",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


class Identity(View):
    """z = x        dz = dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return x[...]

    def vjp(self, dz: Any) -> Any:
        return dz


class Clone(Linear):
    """z = x in memory of its own        dz = dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).copy(x)

    def vjp(self, dz: Any) -> Any:
        return dz


class Reshape(View):
    """z = x in another shape        dz = dx in that shape"""

    __slots__ = ("shape", "source")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return backend_of(x).reshape(x, self.shape)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).reshape(dz, self.source)


class Transpose(View):
    """z = x with its dimensions in the order `dims`        dz = dx in that order"""

    __slots__ = ("dims",)

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Any) -> Any:
        return backend_of(x).transpose(x, self.dims)

    def vjp(self, dz: Any) -> Any:
        back = [0] * len(self.dims)
        for position, dim in enumerate(self.dims):
            back[dim] = position
        return backend_of(dz).transpose(dz, tuple(back))


class Pad(Primitive):
    """z = x inside a border of `value`        dz = dx inside a border of 0"""

    __slots__ = ("value", "widths")

    def __init__(self, widths: tuple[tuple[int, int], ...], value: float) -> None:
        self.widths = widths
        self.value = value

    def forward(self, x: Any) -> Any:
        return backend_of(x).pad(x, self.widths, self.value)

    def jvp(self, dx: Any) -> Any:
        return backend_of(dx).pad(dx, self.widths, 0)

    def vjp(self, dz: Any) -> Any:
        inside = tuple(slice(before, n - after) for n, (before, after) in zip(dz.shape, self.widths))
        return backend_of(dz).getitem(dz, inside)


def sizes(operation: str, given: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence."""
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    try:
        return tuple(n.__index__() for n in given)
    except AttributeError:
        raise OperandError(f"{operation}: got sizes {given}; they must be whole numbers") from None


_whole_numbers = sizes  # under a name that no argument hides


def _full_shape(operation: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with its -1 worked out."""
    size = x.array.size
    known = 1
    for n in shape:
        if n < -1:
            raise ShapeError(f"{operation}: got size {n}; sizes are not negative, but one may be -1 (worked out)")
        known *= n if n != -1 else 1
    unknown = shape.count(-1)
    fits = known == size if not unknown else known != 0 and size % known == 0
    if unknown > 1 or not fits:
        raise ShapeError(f"{operation}: got shape {shape} for a Tensor of shape {x.shape}, which has {size} values")
    return tuple(size // known if n == -1 else n for n in shape)


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x in another shape with as many values; one size may be -1. A view where the memory allows, else a copy.

    >>> import tensorgrad
    >>> tensorgrad.arange(6).reshape(2, -1).shape
    (2, 3)
    """
    return Reshape(_full_shape("reshape", x, sizes("reshape", shape)))(x)


def view(x: Tensor, *shape: Any) -> Tensor:
    """As reshape, but refuses where a view that the user reordered would have to be copied; or, given a dtype, x's bytes as that.

    A layout that the library chose (channels-last after a convolution) counts as contiguous: it is copied if need be.
    """
    if len(shape) == 1 and isinstance(shape[0], numpy.dtype):
        return _view_as_dtype(x, shape[0])
    full = _full_shape("view", x, sizes("view", shape))
    z = Reshape(full)(x)
    is_view = x.extra is not None and x.extra.view is not None
    if is_view and x.array.size and not backend_of(x.array).may_share_memory(x.array, z.array):
        raise ShapeError(
            f"view: got shape {full} for a Tensor of shape {x.shape} and strides {x.stride()}, whose values do not lie in order; "
            "use .reshape(), which copies"
        )
    return z


def _view_as_dtype(x: Tensor, dtype: DType) -> Tensor:
    """The same memory read as numbers of another type; the last dimension grows or shrinks with their size. Has no derivative."""
    old, new = x.array.dtype.itemsize, dtype.itemsize
    if old != new:
        if not x.array.ndim:
            raise ShapeError(
                f"view: a 0-d Tensor of {x.dtype} cannot be read as {dtype}, whose values have another size"
            )
        if x.stride(-1) != 1 or (x.array.shape[-1] * old) % new:
            raise ShapeError(
                f"view: got dtype {dtype} for a Tensor of {x.dtype}, shape {x.shape} and strides {x.stride()}; its last dimension "
                f"must lie in one piece and hold a multiple of {new} bytes"
            )
    z = Tensor(x.array.view(dtype))
    z.make_extra().storage = x.storage
    return z


def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x.view(other.shape)"""
    return view(x, other.shape)


def reshape_as(x: Tensor, other: Tensor) -> Tensor:
    """x.reshape(other.shape)"""
    return reshape(x, other.shape)


def ravel(x: Tensor) -> Tensor:
    """x with all its dimensions joined into one."""
    return Reshape((x.array.size,))(x)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """x with dimensions start_dim to end_dim joined into one."""
    start, end = one_dim("flatten", start_dim, x.array.ndim), one_dim("flatten", end_dim, x.array.ndim)
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    shape = x.array.shape
    joined = 1
    for n in shape[start : end + 1]:
        joined *= n
    return Reshape((*shape[:start], joined, *shape[end + 1 :]))(x)


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """x with a dimension of length 1 put in at `dim`."""
    at = one_dim("unsqueeze", dim, x.array.ndim + 1)
    return Reshape((*x.array.shape[:at], 1, *x.array.shape[at:]))(x)


def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """x without its dimensions of length 1 (all of them, or those named)."""
    shape, ndim = x.array.shape, x.array.ndim
    if type(dim) is int and -ndim <= dim < ndim:  # the usual case
        at = dim % ndim
        return Reshape(shape[:at] + shape[at + 1 :] if shape[at] == 1 else shape)(x)
    named = range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {one_dim("squeeze", d, ndim) for d in named}
    return Reshape(tuple(n for d, n in enumerate(shape) if n != 1 or d not in gone))(x)


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """x with dimension `dim` split into dimensions of these sizes, of which one may be -1.

    >>> import tensorgrad
    >>> tensorgrad.zeros(2, 6).unflatten(1, (3, -1)).shape
    (2, 3, 2)
    """
    at = one_dim("unflatten", dim, x.array.ndim)
    parts = _whole_numbers("unflatten", (sizes,))
    if not parts:
        raise ShapeError("unflatten: got no sizes; it needs at least one")
    shape = x.array.shape
    known = 1
    for n in parts:
        known *= n if n != -1 else 1
    if parts.count(-1) == 1 and known:
        parts = tuple(shape[at] // known if n == -1 else n for n in parts)
        known *= shape[at] // known
    if parts.count(-1) or known != shape[at]:
        raise ShapeError(
            f"unflatten: got sizes {tuple(sizes)}; they must multiply up to {shape[at]}, the size of dim {dim}"
        )
    return Reshape((*shape[:at], *parts, *shape[at + 1 :]))(x)


def permute(x: Tensor, *dims: Any) -> Tensor:
    """x with its dimensions in the order `dims`; a view."""
    given = _whole_numbers("permute", dims)
    if len(given) != x.array.ndim:
        raise ShapeError(f"permute: got dims {given}; it needs each of the {x.array.ndim} dimensions of x once")
    order = tuple(one_dim("permute", d, x.array.ndim) for d in given)
    if sorted(order) != list(range(x.array.ndim)):
        raise ShapeError(f"permute: got dims {given}; it needs each of the {x.array.ndim} dimensions of x once")
    return Transpose(order)(x)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two dimensions exchanged; a view."""
    order = list(range(x.array.ndim))
    a, b = one_dim("transpose", dim0, x.array.ndim), one_dim("transpose", dim1, x.array.ndim)
    if order:
        order[a], order[b] = order[b], order[a]
    return Transpose(tuple(order))(x)


swapaxes = swapdims = transpose


def movedim(x: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """x with the dimensions `source` moved to the places `destination`, the others in their order; a view.

    >>> import tensorgrad
    >>> tensorgrad.zeros(2, 3, 4).movedim(0, -1).shape
    (3, 4, 2)
    """
    ndim = x.array.ndim
    sources = [source] if isinstance(source, int) else list(source)
    destinations = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(destinations):
        raise ShapeError(f"movedim: got source {source} and destination {destination}; they must be equally many")
    come = [one_dim("movedim", d, ndim) for d in sources]
    go = [one_dim("movedim", d, ndim) for d in destinations]
    if len(set(come)) != len(come) or len(set(go)) != len(go):
        raise ShapeError(f"movedim: got source {source} and destination {destination}; a dimension appears twice")
    if not ndim:
        return Transpose(())(x)
    order: list[int] = [d for d in range(ndim) if d not in come]
    for place, d in sorted(zip(go, come)):
        order.insert(place, d)
    return Transpose(tuple(order))(x)


moveaxis = movedim


def reversed_dims(x: Tensor) -> Tensor:
    """x.T: the dimensions in reverse order; a view."""
    return Transpose(tuple(reversed(range(x.array.ndim))))(x)


def t(x: Tensor) -> Tensor:
    """x with its two dimensions exchanged; one with fewer stays as it is. A view."""
    if x.array.ndim > 2:
        raise ShapeError(f"t: got shape {x.shape}; it takes at most two dimensions, use .transpose(dim0, dim1)")
    return reversed_dims(x)


def matrix_transposed(x: Tensor) -> Tensor:
    """x.mT: the last two dimensions exchanged; a view."""
    if x.array.ndim < 2:
        raise ShapeError(f"mT: got shape {x.shape}; it needs at least two dimensions")
    return transpose(x, -2, -1)


def clone(x: Tensor) -> Tensor:
    """A copy in memory of its own, through which gradients flow."""
    return Clone()(x)


def contiguous(x: Tensor) -> Tensor:
    """x itself if its values lie in the order of its dimensions, else such a copy."""
    return x if x.is_contiguous() else Contiguous()(x)


class Contiguous(Linear):
    """z = x with its values in the order of its dimensions        dz = dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return backend_of(x).contiguous(x)

    def vjp(self, dz: Any) -> Any:
        return dz
