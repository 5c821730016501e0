"""Reshaping, reordering, broadcasting, joining and padding: views where NumPy makes views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import promote_types
from tensorgrad.errors import ArgumentError, DimensionError, OperandError, ShapeError
from tensorgrad.ops.indexing import Slice
from tensorgrad.ops.operands import as_tensor, cast, one_dim
from tensorgrad.primitive import Linear, Primitive, View, sum_to
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "broadcast_to",
    "cat",
    "clone",
    "flatten",
    "permute",
    "reshape",
    "squeeze",
    "stack",
    "transpose",
    "unbind",
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


class BroadcastTo(View):
    """z = x repeated along new and length-1 dimensions to `shape`        dz = dx repeated"""

    __slots__ = ("shape", "source")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Any) -> Any:
        self.source = x.shape
        return backend_of(x).broadcast_to(x, self.shape)

    def vjp(self, dz: Any) -> Any:
        return sum_to(dz, self.source)


class Unbind(View):
    """z_i = x[..., i, ...] along dim, one result each        dz_i = dx[..., i, ...]"""

    __slots__ = ("dim", "shape")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        front = (slice(None),) * self.dim
        return tuple(x[(*front, i, ...)] for i in range(x.shape[self.dim]))

    def alone(self, position: int) -> View:
        return Slice((*(slice(None),) * self.dim, position))

    def vjp(self, dzs: Any) -> Any:
        some = next(dz for dz in dzs if dz is not None)
        backend = backend_of(some)
        parts = [backend.zeros_like(some) if dz is None else dz for dz in dzs]
        parts += [backend.zeros_like(some)] * (self.shape[self.dim] - len(parts))
        return backend.stack(parts, self.dim)


class Concatenate(Linear):
    """z = the xs one after the other along dim        dz = the dxs likewise"""

    __slots__ = ("dim", "lengths")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs: Any) -> Any:
        self.lengths = [x.shape[self.dim] for x in xs]
        return backend_of(xs[0]).concatenate(xs, self.dim)

    def vjp(self, dz: Any) -> Any:
        backend = backend_of(dz)
        front = (slice(None),) * self.dim
        parts, start = [], 0
        for length in self.lengths:
            parts.append(backend.getitem(dz, (*front, slice(start, start + length))))
            start += length
        return tuple(parts)


class Stack(Linear):
    """z[..., i, ...] = x_i along a new dim        dz likewise of the dxs"""

    __slots__ = ("count", "dim")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, *xs: Any) -> Any:
        self.count = len(xs)
        return backend_of(xs[0]).stack(xs, self.dim)

    def vjp(self, dz: Any) -> Any:
        front = (slice(None),) * self.dim
        return tuple(backend_of(dz).getitem(dz, (*front, i)) for i in range(self.count))


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
    """As reshape, but refuses where a view that the user reordered would have to be copied.

    A layout that the library chose (channels-last after a convolution) counts as contiguous: it is copied if need be.
    """
    full = _full_shape("view", x, sizes("view", shape))
    z = Reshape(full)(x)
    is_view = x.extra is not None and x.extra.view is not None
    if is_view and x.array.size and not backend_of(x.array).may_share_memory(x.array, z.array):
        raise ShapeError(
            f"view: got shape {full} for a Tensor of shape {x.shape} and strides {x.stride()}, whose values do not lie in order; "
            "use .reshape(), which copies"
        )
    return z


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """x with dimensions start_dim to end_dim joined into one."""
    start, end = one_dim("flatten", start_dim, x.array.ndim), one_dim("flatten", end_dim, x.array.ndim)
    if start > end:
        raise ArgumentError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
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
    ndim = x.array.ndim
    named = range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {one_dim("squeeze", d, ndim) for d in named}
    return Reshape(tuple(n for d, n in enumerate(x.array.shape) if n != 1 or d not in gone))(x)


def permute(x: Tensor, *dims: Any) -> Tensor:
    """x with its dimensions in the order `dims`; a view."""
    order = tuple(one_dim("permute", d, x.array.ndim) for d in sizes("permute", dims))
    if sorted(order) != list(range(x.array.ndim)):
        raise DimensionError(f"permute: got dims {order}; it needs each of the {x.array.ndim} dimensions of x once")
    return Transpose(order)(x)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two dimensions exchanged; a view."""
    order = list(range(x.array.ndim))
    a, b = one_dim("transpose", dim0, x.array.ndim), one_dim("transpose", dim1, x.array.ndim)
    if order:
        order[a], order[b] = order[b], order[a]
    return Transpose(tuple(order))(x)


def transposed(x: Tensor) -> Tensor:
    """x.T: the dimensions in reverse order; a view."""
    return Transpose(tuple(reversed(range(x.array.ndim))))(x)


def expand(x: Tensor, *shape: Any) -> Tensor:
    """x repeated, without copying, to `shape`; -1 keeps a size."""
    wanted = sizes("expand", shape)
    lead = len(wanted) - x.array.ndim
    if lead < 0:
        raise ShapeError(
            f"expand: got shape {wanted} for a Tensor of shape {x.shape}; it needs at least as many dimensions"
        )
    full = tuple(x.array.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    return broadcast_to(x, full)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated, without copying, along new leading dimensions and those of length 1."""
    return BroadcastTo(tuple(shape))(x)


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
        return x.copy(order="C")

    def vjp(self, dz: Any) -> Any:
        return dz


def _same_dtype(operation: str, xs: Sequence[Tensor]) -> list[Tensor]:
    """The Tensors to be joined, in their common dtype."""
    if not isinstance(xs, (list, tuple)) or not xs:
        raise OperandError(f"{operation}: got {type(xs).__name__}; it takes a list of at least one Tensor")
    found = [as_tensor(operation, x) for x in xs]
    dtype = found[0].array.dtype
    for x in found[1:]:
        dtype = promote_types(dtype, x.array.dtype)
    return [cast(x, dtype) for x in found]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The Tensors one after the other along an existing dimension.

    >>> import tensorgrad
    >>> tensorgrad.cat([tensorgrad.zeros(2, 1), tensorgrad.ones(2, 2)], dim=1)
    tensor([[0., 1., 1.],
            [0., 1., 1.]])
    """
    xs = _same_dtype("cat", tensors)
    return Concatenate(one_dim("cat", dim, xs[0].array.ndim))(*xs)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension."""
    xs = _same_dtype("stack", tensors)
    return Stack(one_dim("stack", dim, xs[0].array.ndim + 1))(*xs)


def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along `dim`, as views."""
    found: tuple[Tensor, ...] = Unbind(one_dim("unbind", dim, x.array.ndim))(x)
    return found
