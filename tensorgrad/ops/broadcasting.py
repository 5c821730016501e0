"""Repeating along new dimensions and those of length 1, without copying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import ShapeError
from tensorgrad.ops.shape import sizes
from tensorgrad.primitive import View, sum_to
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
]


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


def expand(x: Tensor, *shape: Any) -> Tensor:
    """x repeated, without copying, to `shape`; -1 keeps a size."""
    return broadcast_to(x, sizes("expand", shape))


def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x.expand(other.shape)"""
    return broadcast_to(x, other.shape)


def broadcast_to(x: Tensor, size: Sequence[int]) -> Tensor:
    """x repeated, without copying, along new leading dimensions and those of length 1."""
    wanted = tuple(size)
    own = x.array.shape
    lead = len(wanted) - len(own)
    wanted = tuple(own[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted))
    if lead < 0 or any(n < 0 for n in wanted) or any(a not in (1, b) for a, b in zip(own, wanted[lead:])):
        raise ShapeError(
            f"broadcast_to: got shape {wanted} for a Tensor of shape {own}; sizes must be equal, or 1 in the Tensor"
        )
    return BroadcastTo(wanted)(x)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The Tensors repeated, without copying, to their common shape."""
    xs = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)
    shape = common_shape("broadcast_tensors", xs)
    return tuple(broadcast_to(x, shape) for x in xs)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape to which Tensors of these shapes broadcast; a number counts as a shape of one dimension.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return numpy.broadcast_shapes(*given)
    except ValueError:
        listed = ", ".join(map(str, given))
        raise ShapeError(f"broadcast_shapes: got {listed}; sizes must be equal or 1, compared from the last") from None


def common_shape(operation: str, xs: Sequence[Tensor]) -> tuple[int, ...]:
    """The shape to which all of them broadcast."""
    try:
        return numpy.broadcast_shapes(*(x.array.shape for x in xs))
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ShapeError(
            f"{operation}: got shapes {shapes}; sizes must be equal or 1, compared from the last"
        ) from None
