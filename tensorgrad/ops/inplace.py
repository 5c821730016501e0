"""Changing a Tensor in place.

What is recorded is the out-of-place operation: x.mul_(y) computes z = x * y, copies z into x's memory, and x takes z's place
on the tape. If x looks at the memory of a base, the base changes too: its new value is Overwrite(base, z), and every view of
it is made anew from that. Every change raises the version that saved values are checked against.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.mode import mode
from tensorgrad.ops import arithmetic, elementwise
from tensorgrad.ops.indexing import Gather, Overwrite, Slice, clean_index
from tensorgrad.ops.operands import as_tensor, cast, scalar_like, tensors
from tensorgrad.ops.shape import Identity, broadcast_to, clone
from tensorgrad.primitive import Linear, View
from tensorgrad.tensor import Storage, Tensor


def _has_history(x: Tensor) -> bool:
    return (x.tracked and mode.recording) or (x.extra is not None and bool(x.extra.tangents))


def _root(x: Tensor) -> Tensor:
    """The Tensor that owns the memory x looks at."""
    while x.extra is not None and x.extra.view is not None:
        x = x.extra.view[0]
    return x


def assign(x: Tensor, z: Tensor, operation: str) -> None:
    """Give x the value, and the history, of z."""
    if z.array.shape != x.array.shape:
        raise ShapeError(
            f"{operation}: the result has shape {z.shape}, which does not fit into a Tensor of shape {x.shape}"
        )
    if z.tracked and z.node is None and mode.recording:
        z = clone(z)  # x shall come from the leaf z, not become one
    recorded = _has_history(z) or _has_history(x)
    base = _root(x)
    if mode.recording:
        for leaf, what in ((x, "a leaf Tensor"), (base, "a view of a leaf Tensor")):
            if leaf.tracked and (leaf.node is None or isinstance(leaf.node, Tensor)):
                raise GraphError(
                    f"{operation}: {what} that requires grad cannot be changed in place while recording; do it under no_grad(), "
                    "or change a .clone()"
                )
    if 0 in x.array.strides and x.array.size > 1 and any(n > 1 and s == 0 for n, s in zip(x.shape, x.array.strides)):
        raise GraphError(
            f"{operation}: several values of this Tensor of shape {x.shape} share one place in memory; use a .clone()"
        )
    storage = x.storage
    value = z.array
    if backend_of(value).may_share_memory(value, x.array):  # CuPy, unlike NumPy, does not look out for an overlap
        value = backend_of(value).copy(value)
    x.array[...] = value
    storage.version += 1
    storage.writer = operation
    if not recorded:
        return
    if x.tracked and not z.tracked and base is x:
        z = _overwritten(x, z, Identity())  # as in PyTorch it still requires grad; what was there gets a gradient of 0
    _take_place(x, z)
    while x.extra is not None and x.extra.view is not None:  # up to the base, each the overwritten former one
        parent, view = x.extra.view
        _take_place(parent, _overwritten(parent, x, view))
        x = parent
    refresh_views(base)


def _take_place(x: Tensor, z: Tensor) -> None:
    """x stands where z stands on the tape."""
    x.tracked, x.node = z.tracked, z.node
    tangents = None if z.extra is None else z.extra.tangents
    if tangents or x.extra is not None:
        x.make_extra().tangents = tangents


def _overwritten(parent: Tensor, x: Tensor, view: View) -> Tensor:
    """The value of `parent` after x was written into the part that `view` sees: recorded, with the memory as it is."""
    before = parent.alias(None if parent.extra is None else parent.extra.tangents)
    value = x.alias(None if x.extra is None else x.extra.tangents)
    fresh = type(view)(*[getattr(view, name) for name in view.settings])
    fresh.forward(before.array)  # lets it note the shapes it needs
    strides = before.array.strides
    written = _WrittenInPlace(fresh)
    written.layout = tuple(sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))
    result: Tensor = written(before, value)
    return result


class _WrittenInPlace(Overwrite):
    """z = x, but the part of it that `view` looks at is y: here already written, so forward has nothing to do"""

    __slots__ = ()

    def forward(self, x: Any, y: Any) -> Any:
        return x


def refresh_views(base: Tensor) -> None:
    """Make the history of every living view of this memory anew from what it looks at, parents first."""
    for ref in list(base.storage.views):
        view = ref()
        if view is None or view.extra is None or view.extra.view is None:
            continue
        parent, primitive = view.extra.view
        _take_place(view, primitive.again(parent))


def in_place(operation: str, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of an operation: x.operation_(...)."""

    def apply(x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        before = x.alias(None if x.extra is None else x.extra.tangents)
        extra = before.make_extra()
        extra.storage = Storage()
        if extra.tangents:  # the rules for tangents keep aliases of it, which would see the change
            before.array = backend_of(x.array).copy(x.array)
        z = compute(before, *arguments, **settings)
        kept = weakref.ref(before)
        del before
        former = kept()
        if former is not None and former.array is x.array:  # a node needs the value that is about to be overwritten
            former.array = backend_of(x.array).copy(x.array)
        if z.array.dtype != x.array.dtype:
            if z.array.dtype.kind == "f" and x.array.dtype.kind != "f":
                raise DtypeError(f"{operation}: the result is {z.dtype} and does not fit into a Tensor of {x.dtype}")
            z = cast(z, x.array.dtype)
        assign(x, z, operation)
        return x

    apply.__name__ = apply.__qualname__ = operation
    apply.__doc__ = f"As `{compute.__name__}`, into x's own memory; returns x."
    return apply


def copy_(x: Tensor, source: Tensor) -> Tensor:
    """Write the values of `source`, broadcast and in x's dtype, into x; gradients flow to `source`."""
    z = as_tensor("copy_", source)
    z = cast(z.to(x.device), x.array.dtype)
    assign(x, z if z.array.shape == x.array.shape else broadcast_to(z, x.array.shape), "copy_")
    return x


def fill_(x: Tensor, value: Any) -> Tensor:
    """Write one number everywhere."""
    number = value if isinstance(value, Tensor) else scalar_like(value, x)
    return copy_(x, number)


def zero_(x: Tensor) -> Tensor:
    """Write zeros everywhere."""
    return fill_(x, 0)


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


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, broadcast; gradients flow to the value."""
    clean, advanced = clean_index("x[index] = value", x, index)
    if not isinstance(value, Tensor):
        if not isinstance(value, (bool, int, float)) and not hasattr(value, "dtype"):
            raise OperandError(f"x[index] = value: got a {type(value).__name__}; it takes Tensors, arrays and numbers")
        _, value = tensors("x[index] = value", x, value)
        value = value if isinstance(value, Tensor) else scalar_like(value, x)
    value = cast(value, x.array.dtype)
    if not advanced:
        part = Slice(clean)(x)
        while value.array.ndim > part.array.ndim and value.array.shape[0] == 1:
            value = value.squeeze(0)
        assign(part, value if value.shape == part.shape else broadcast_to(value, part.shape), "x[index] = value")
        return
    shape = Gather(clean).forward(x.array).shape
    assign(x, Scattered(clean)(x, value if value.shape == shape else broadcast_to(value, shape)), "x[index] = value")


add_ = in_place("add_", arithmetic.add)
sub_ = in_place("sub_", arithmetic.subtract)
mul_ = in_place("mul_", arithmetic.multiply)
div_ = in_place("div_", arithmetic.divide)
pow_ = in_place("pow_", arithmetic.power)
neg_ = in_place("neg_", arithmetic.negative)
exp_ = in_place("exp_", elementwise.exp)
log_ = in_place("log_", elementwise.log)
sqrt_ = in_place("sqrt_", elementwise.sqrt)
tanh_ = in_place("tanh_", elementwise.tanh)
sigmoid_ = in_place("sigmoid_", elementwise.sigmoid)
relu_ = in_place("relu_", elementwise.relu)
abs_ = in_place("abs_", elementwise.absolute)
clamp_ = in_place("clamp_", elementwise.clamp)
