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
from tensorgrad.dtypes import can_cast
from tensorgrad.errors import DimensionError, DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.mode import mode
from tensorgrad.ops.broadcasting import broadcast_to
from tensorgrad.ops.indexing import Index, Overwrite, out_of_range
from tensorgrad.ops.operands import as_tensor, cast, scalar_like, tensors
from tensorgrad.ops.scatter import Scattered
from tensorgrad.ops.shape import Identity, clone
from tensorgrad.primitive import View
from tensorgrad.storage import Storage
from tensorgrad.tensor import Tensor

# Called as observer(x, z, operation) after the values of z were written into x without being recorded. Empty and free.
write_observers: list[Callable[[Tensor, Tensor, str], None]] = []


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
    check_writable(x, operation, recorded)
    storage = x.storage
    value = z.array
    if backend_of(value).may_share_memory(value, x.array):  # CuPy, unlike NumPy, does not look out for an overlap
        value = backend_of(value).copy(value)
    storage.written(operation)
    x.array[...] = value
    if not recorded:
        for observer in write_observers:
            observer(x, z, operation)
        return
    if x.tracked and not z.tracked and base is x:
        z = _overwritten(x, z, Identity())  # as in PyTorch it still requires grad; what was there gets a gradient of 0
    take_place(x, z)
    while x.extra is not None and x.extra.view is not None:  # up to the base, each the overwritten former one
        parent, view = x.extra.view
        take_place(parent, _overwritten(parent, x, view))
        x = parent
    refresh_views(base)


def check_writable(x: Tensor, operation: str, recorded: bool = False) -> None:
    """Refuse to change leaves that backward needs, memory that shows one value in several places, and what is read-only."""
    if mode.recording:
        for leaf, what in ((x, "a leaf Tensor"), (_root(x), "a view of a leaf Tensor")):
            if leaf.tracked and (leaf.node is None or isinstance(leaf.node, Tensor)):
                raise GraphError(
                    f"{operation}: {what} that requires grad cannot be changed in place while recording; do it under no_grad(), "
                    "or change a .clone()"
                )
    if not getattr(x.array.flags, "writeable", True):
        _allow_writing(x, operation, recorded)
    if x.array.flags.c_contiguous:
        return
    reach = 0  # from the innermost dimension outward, each step must lead beyond all that lies inside
    for stride, n in sorted((abs(s), n) for s, n in zip(x.array.strides, x.array.shape) if n > 1):
        if stride <= reach and x.array.size:
            raise GraphError(
                f"{operation}: several values of this Tensor of shape {x.shape} share one place in memory; use a .clone()"
            )
        reach += (n - 1) * stride


def _allow_writing(x: Tensor, operation: str, recorded: bool) -> None:
    """NumPy makes what is broadcast read-only, and every part of it, which may show each value once all the same."""
    if not _root(x).array.flags.writeable:
        raise GraphError(
            f"{operation}: this Tensor of shape {x.shape} looks at memory that is read-only; use a .clone()"
        )
    if recorded:
        raise GraphError(
            f"{operation}: this Tensor of shape {x.shape} is a part of one that was expanded, and writing into it is not "
            "recorded; write into what was expanded, or use a .clone()"
        )
    x.array.flags.writeable = True


def take_place(x: Tensor, z: Tensor) -> None:
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
    result: Tensor = _WrittenInPlace(fresh)(before, value)
    return result


class _WrittenInPlace(Overwrite):
    """z = x, but the part of it that `view` looks at is y: here already written, so forward has nothing to do"""

    __slots__ = ()

    def forward(self, x: Any, y: Any) -> Any:
        return x

    def again(self, *inputs: Any) -> Any:
        return Overwrite(self.view).again(*inputs)


def refresh_views(base: Tensor) -> None:
    """Make the history of every living view of this memory anew from what it looks at, parents first."""
    for ref in list(base.storage.views):
        view = ref()
        if view is None or view.extra is None or view.extra.view is None:
            continue
        parent, primitive = view.extra.view
        take_place(view, primitive.again(parent))


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
            if not can_cast(z.array.dtype, x.array.dtype):
                raise DtypeError(f"{operation}: the result is {z.dtype} and does not fit into a Tensor of {x.dtype}")
            z = cast(z, x.array.dtype)
        assign(x, z, operation)
        return x

    apply.__name__ = apply.__qualname__ = operation
    apply.__doc__ = f"As `{compute.__name__}`, into x's own memory; returns x."
    return apply


def write(x: Tensor, source: Tensor, operation: str) -> Tensor:
    """The values of `source`, broadcast and in x's dtype, into x, in the name of an operation; returns x."""
    z = cast(source.to(x.device), x.array.dtype)
    assign(x, z if z.array.shape == x.array.shape else broadcast_to(z, x.array.shape), operation)
    return x


def copy_(x: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write the values of `src`, broadcast and in x's dtype, into x; gradients flow to `src`."""
    return write(x, as_tensor("copy_", src), "copy_")


def fill_(x: Tensor, value: Any) -> Tensor:
    """Write one number everywhere."""
    number = value if isinstance(value, Tensor) else scalar_like(value, x)
    return copy_(x, number)


def zero_(x: Tensor) -> Tensor:
    """Write zeros everywhere."""
    return fill_(x, 0)


def setitem(x: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, broadcast; gradients flow to the value."""
    operation = "x[index] = value"
    found = Index(operation, x, index)
    if not isinstance(value, Tensor):
        if not isinstance(value, (bool, int, float)) and not hasattr(value, "dtype"):
            raise OperandError(f"{operation}: got a {type(value).__name__}; it takes Tensors, arrays and numbers")
        _, value = tensors(operation, x, value)
        value = value if isinstance(value, Tensor) else scalar_like(value, x)
    value = cast(value, x.array.dtype)
    try:
        part = found.part(x)
        shape = part.array.shape if found.arrays is None else part.array[found.arrays].shape
    except IndexError as error:
        if isinstance(error, DimensionError):
            raise
        raise out_of_range(operation, x, index, error) from error
    while value.array.ndim > len(shape) and value.array.shape[0] == 1:
        value = value.squeeze(0)
    value = value if value.array.shape == shape else broadcast_to(value, shape)
    if found.arrays is None:
        assign(part, value, operation)
    elif _has_history(part) or _has_history(value) or write_observers:
        assign(part, Scattered(found.arrays)(part, value), operation)
    else:  # no need to copy the rest
        check_writable(part, operation)
        shared = backend_of(x.array).may_share_memory(x.array, value.array)
        values = backend_of(x.array).copy(value.array) if shared else value.array
        part.storage.written(operation)
        part.array[found.arrays] = values
