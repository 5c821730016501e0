"""gather and scatter: an index for every value, running along one dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, float32, int64, is_floating
from tensorgrad.errors import DtypeError, OperandError, ShapeError
from tensorgrad.ops.broadcasting import broadcast_to, common_shape
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.indexing import Gather, ScatterAdd, Slice, TakeAlongAxis
from tensorgrad.ops.joining import cat
from tensorgrad.ops.operands import cast, one_dim, scalar_like
from tensorgrad.ops.shape import reshape
from tensorgrad.primitive import Linear, Primitive
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "gather",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take_along_dim",
]


class Scattered(Linear):
    """z = x, but z[index] = y for an index with arrays        dz = dx, but dz[index] = dy"""

    __slots__ = ("index",)

    def __init__(self, index: tuple[Any, ...]) -> None:
        self.index = index

    def forward(self, x: Any, y: Any) -> Any:
        z = backend_of(x).copy(x)
        z[self.index] = y
        return z

    def vjp(self, dz: Any) -> Any:
        part = backend_of(dz).getitem(dz, self.index)
        return self.again(dz, backend_of(part).zeros_like(part)), part


class ScatterExtreme(Primitive):
    """z = x, then z[index] = the 'maximum' or 'minimum' of z[index] and all y that go there

    The tied share dz evenly. With include_self False, x counts only where no y goes.
    """

    __slots__ = ("extreme", "include_self", "index")

    def __init__(self, index: tuple[Any, ...], extreme: str, include_self: bool) -> None:
        self.index = index
        self.extreme = extreme
        self.include_self = include_self

    def forward(self, x: Any, y: Any) -> Any:
        backend = backend_of(x)
        if not self.include_self:
            last = backend.amin(y, None, False) if self.extreme == "maximum" else backend.amax(y, None, False)
            x = backend.copy(x)
            x[self.index] = last  # no y is beyond it, so it does not count
        return backend.scatter_extreme(x, self.index, y, self.extreme)

    def shares(self, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
        """What part of its place's result each x and each y takes: 1/k for the k tied, else 0."""
        backend = backend_of(x)
        tied_x = backend.cast(x == out, x.dtype)
        tied_y = backend.cast(y == backend.getitem(out, self.index), y.dtype)
        if not self.include_self:
            touched = backend.scatter_add(backend.zeros_like(tied_y) + 1, self.index, x.shape)
            tied_x = backend.where(touched > 0, 0.0, tied_x)
        count = tied_x + backend.scatter_add(tied_y, self.index, x.shape)
        return tied_x / count, tied_y / backend.getitem(count, self.index)

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any, out: Any) -> Any:
        share_x, share_y = self.shares(x, y, out)
        return dx * share_x + backend_of(dy).scatter_add(dy * share_y, self.index, dx.shape)

    def vjp(self, dz: Any, x: Any, y: Any, out: Any) -> Any:
        share_x, share_y = self.shares(x, y, out)
        return dz * share_x, backend_of(dz).getitem(dz, self.index) * share_y


# An index along one dimension: as large as the values it stands for, in the other dimensions not larger than x.


def check_index(operation: str, x: Tensor, dim: int, index: Any, src: Tensor | None = None) -> int:
    """The dimension counted from the front, where `index` suits x (and src)."""
    at = one_dim(operation, dim, x.array.ndim)
    if not isinstance(index, Tensor):
        raise OperandError(f"{operation}: got an index that is a {type(index).__name__}; it must be a Tensor")
    if not index.array.size:
        return at
    if index.array.dtype.kind != "i" or index.array.dtype.itemsize < 4:
        raise DtypeError(f"{operation}: got an index of dtype {index.dtype}; it must be int64 (or int32)")
    shape, own = index.array.shape or (1,), x.array.shape or (1,)
    if len(shape) != len(own) or any(n > m for d, (n, m) in enumerate(zip(shape, own)) if d != at):
        raise ShapeError(
            f"{operation}: got an index of shape {index.shape} for a Tensor of shape {x.shape}; it needs as many dimensions, and no "
            f"larger sizes but in dim {dim}"
        )
    if src is not None:
        given = src.array.shape or (1,)
        if len(given) != len(shape) or any(n > m for n, m in zip(shape, given)):
            raise ShapeError(
                f"{operation}: got src of shape {src.shape} for an index of shape {index.shape}; it must not be smaller"
            )
        if src.array.dtype != x.array.dtype:
            raise DtypeError(f"{operation}: got src of dtype {src.dtype} for a Tensor of {x.dtype}; they must be equal")
    backend_of(index.array).check_index(operation, index.array, own[at], ShapeError)
    return at


def places_along(index: Any, dim: int) -> tuple[Any, ...]:
    """The array `index`, which runs along dim, as an index of all dimensions."""
    backend = backend_of(index)
    places: list[Any] = []
    for axis, n in enumerate(index.shape):
        counted = backend.arange(0, n, 1, int64).reshape((-1,) + (1,) * (index.ndim - axis - 1))
        places.append(index.copy() if axis == dim else counted)
    return tuple(places)


def corner(x: Tensor, shape: Sequence[int], dim: int | None = None) -> Tensor:
    """The first values of x in every dimension but dim, as many as `shape` says."""
    index = tuple(slice(None) if axis == dim else slice(0, n) for axis, n in enumerate(shape))
    return x if all(part.stop in (None, n) for part, n in zip(index, x.array.shape)) else Slice(index)(x)


def at_least_1d(x: Any) -> Any:
    """A Tensor without dimensions with one; anything else as it is."""
    return reshape(x, 1) if isinstance(x, Tensor) and not x.array.ndim else x


def gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """z[i][j][k] = x[index[i][j][k]][j][k] for dim = 0, and so on; z has the shape of index.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x.gather(1, tensorgrad.tensor([[0], [1]]))
    tensor([[1.],
            [4.]])
    """
    if sparse_grad:
        raise NotImplementedError("gather: sparse_grad=True asks for a sparse gradient; gradients are dense here")
    at = check_index("gather", x, dim, index)
    if not index.array.size:
        nothing = backend_of(x.array).zeros((0,), int64)
        return reshape(Gather((nothing,))(reshape(x, -1)), index.array.shape)
    if not x.array.ndim or not index.array.ndim:
        return reshape(gather(at_least_1d(x), 0, at_least_1d(index)), index.shape)
    return TakeAlongAxis(at)(corner(x, index.array.shape, at), index)


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, but the other dimensions of x and indices broadcast; without dim both count as flat."""
    if indices.array.dtype != int64:
        raise DtypeError(f"take_along_dim: got indices of dtype {indices.dtype}; they must be int64")
    if dim is None:
        return take_along_dim(reshape(x, -1), reshape(indices, -1), 0)
    if x.array.ndim != indices.array.ndim:
        raise ShapeError(f"take_along_dim: got shapes {x.shape} and {indices.shape}; they need equally many dimensions")
    at = one_dim("take_along_dim", dim, x.array.ndim)
    own, given = x.array.shape, indices.array.shape
    rest = common_shape("take_along_dim", [Slice((*(slice(None),) * at, slice(0, 1)))(y) for y in (x, indices)])
    x = broadcast_to(x, (*rest[:at], own[at], *rest[at + 1 :]))
    places = backend_of(indices.array).where(indices.array < 0, indices.array + own[at], indices.array)
    return gather(x, at, broadcast_to(Tensor(places), (*rest[:at], given[at], *rest[at + 1 :])))


def scatter(
    x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Tensor:
    """x, but z[index[i][j]][j] = src[i][j] for dim = 0, and so on; src may be one number. The adjoint of `gather`.

    Where an index comes twice, one of its values stays, and both get the cotangent, as in PyTorch. reduce='add' or
    'multiply' puts them together instead.

    >>> import tensorgrad
    >>> tensorgrad.zeros(3).scatter(0, tensorgrad.tensor([2, 0]), tensorgrad.tensor([5.0, 7.0]))
    tensor([7., 0., 5.])
    """
    given = value if src is None else src
    if given is None:
        raise OperandError("scatter: got neither src nor value; give one")
    y = given if isinstance(given, Tensor) else broadcast_to(scalar_like(given, x), index.array.shape)
    at = check_index("scatter", x, dim, index, y if src is given else None)
    y = broadcast_to(y, index.array.shape) if y.array.ndim == 0 else y
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ShapeError(f"scatter: got reduce {reduce!r}; it is 'add' or 'multiply'")
        return scatter_reduce(x, dim, index, y, "sum" if reduce == "add" else "prod")
    if not index.array.size:
        return x.clone()
    wide, index, y = at_least_1d(x), at_least_1d(index), cast(at_least_1d(y), x.array.dtype)
    z: Tensor = Scattered(places_along(index.array, at))(wide, corner(y, index.array.shape))
    return reshape(z, x.array.shape)


@under_autocast
def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x, but z[index[i][j]][j] += src[i][j] for dim = 0, and so on; repeated indices add up.

    >>> import tensorgrad
    >>> tensorgrad.zeros(2).scatter_add(0, tensorgrad.tensor([1, 1, 0]), tensorgrad.ones(3))
    tensor([1., 2.])
    """
    at = check_index("scatter_add", x, dim, index, src)
    if not index.array.size:
        return x.clone()
    index, src, wide = at_least_1d(index), at_least_1d(src), at_least_1d(x)
    sums = ScatterAdd(places_along(index.array, at), wide.array.shape)(corner(src, index.array.shape))
    return reshape(wide + sums, x.array.shape)


def scatter_reduce(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """x, but z[index[i][j]][j] for dim = 0 is the 'sum', 'prod', 'mean', 'amax' or 'amin' of all src that go there, and of x itself.

    Without include_self what stood in x counts only where nothing goes. Ties share the gradient evenly.

    >>> import tensorgrad
    >>> x, index = tensorgrad.ones(2), tensorgrad.tensor([0, 0])
    >>> x.scatter_reduce(0, index, tensorgrad.tensor([3.0, 5.0]), "mean")
    tensor([3., 1.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ShapeError(f"scatter_reduce: got reduce {reduce!r}; it is 'sum', 'prod', 'mean', 'amax' or 'amin'")
    at = check_index("scatter_reduce", x, dim, index, src)
    if not index.array.size:
        return x.clone()
    index, src, wide = at_least_1d(index), at_least_1d(src), at_least_1d(x)
    places, y = places_along(index.array, at), corner(src, index.array.shape)
    if reduce in ("amax", "amin"):
        z = ScatterExtreme(places, "maximum" if reduce == "amax" else "minimum", include_self)(wide, y)
    elif reduce == "prod":
        z = _scattered_products(wide, places, y, include_self)
    else:
        backend = backend_of(x.array)
        own = wide if include_self else where(_touched(wide, places, y), backend.zeros((), x.dtype), wide)
        z = own + ScatterAdd(places, wide.array.shape)(y)
        if reduce == "mean":
            ones = Tensor(backend.ones(y.array.shape, x.dtype))
            count = ScatterAdd(places, wide.array.shape)(ones) + (1 if include_self else 0)
            count = where(count == 0, Tensor(backend.ones((), x.dtype)), count)
            z = z / count if is_floating(x.array.dtype) else Tensor(z.array // count.array)
    return reshape(z, x.array.shape)


def _touched(x: Tensor, places: tuple[Any, ...], y: Tensor) -> Tensor:
    """Whether any value goes to a place of x."""
    ones = backend_of(y.array).ones(y.array.shape, float32)
    return ScatterAdd(places, x.array.shape)(Tensor(ones)) > 0


def _scattered_products(x: Tensor, places: tuple[Any, ...], y: Tensor, include_self: bool) -> Tensor:
    """x times all y that go to each place, by multiplications alone: so zeros have their derivatives too, to every order.

    The values are put in the order of their places; then each takes up its predecessors of the same place, first one, then
    two, then four, ... (Blelloch, "Prefix sums", 1990: a segmented scan). The last of a place has the product.
    """
    backend = backend_of(x.array)
    numbers = backend.arange(0, x.array.size, 1, int64)
    targets = numbers.reshape(x.array.shape)[places].reshape(-1)
    values = reshape(y, -1)
    if include_self:
        targets = backend.concatenate([numbers, targets], 0)
        values = cat([reshape(x, -1), values])
    order = backend.argsort(targets, 0, False)
    targets = targets[order]
    values, step = Gather((order,))(values), 1
    while step < targets.size:
        head, tail = Slice((slice(0, step),))(values), Slice((slice(step, None),))(values)
        together = Tensor(targets[step:] == targets[:-step])
        values = cat([head, where(together, tail * Slice((slice(0, -step),))(values), tail)])
        step *= 2
    last = backend.concatenate([targets[:-1] != targets[1:], backend.ones((1,), bool_)], 0)
    (ends,) = backend.nonzero(last)
    return reshape(Scattered((targets[ends],))(reshape(x, -1), Gather((ends,))(values)), x.array.shape)
