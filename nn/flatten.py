"""Layers that only change shapes."""

from __future__ import annotations

from collections.abc import Sequence

from tensorgrad.errors import ShapeError
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.operands import one_dim
from tensorgrad.tensor import Tensor


class Flatten(Module):
    """Dimensions start_dim to end_dim joined into one; by default all but the batch's.

    >>> import tensorgrad
    >>> Flatten()(tensorgrad.ones(2, 16, 5, 5)).shape
    (2, 400)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return shapes.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Dimension `dim` split into `unflattened_size`, of which one size may be -1: the reverse of Flatten.

    >>> import tensorgrad
    >>> Unflatten(1, (16, 5, 5))(tensorgrad.ones(2, 400)).shape
    (2, 16, 5, 5)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        at = one_dim("unflatten", self.dim, input.array.ndim)
        length, sizes = input.array.shape[at], self.unflattened_size
        known = 1
        for n in sizes:
            known *= n if n != -1 else 1
        if sizes.count(-1) > 1 or (known != length if -1 not in sizes else known == 0 or length % known):
            raise ShapeError(
                f"unflatten: dimension {at} of a Tensor of shape {input.shape} cannot be split into {sizes}"
            )
        whole = tuple(length // known if n == -1 else n for n in sizes)
        return shapes.reshape(input, *input.array.shape[:at], *whole, *input.array.shape[at + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
