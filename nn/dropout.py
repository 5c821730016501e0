"""Dropout."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float32
from tensorgrad.errors import OperandError
from tensorgrad.nn.arguments import probability
from tensorgrad.nn.module import Module
from tensorgrad.ops.inplace import mul_
from tensorgrad.primitive import check_floating
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each value is 0 with probability p, else x / (1 - p), so that the mean stays; x itself outside of training.

    Srivastava et al., 2014.

    >>> import tensorgrad
    >>> dropout(tensorgrad.ones(3), p=1.0)
    tensor([0., 0., 0.])
    """
    chance = probability("dropout", "p", p)
    if not isinstance(input, Tensor):
        raise OperandError(f"dropout: input is a {type(input).__name__}; it must be a Tensor")
    if not training or chance == 0.0:
        return input
    check_floating("dropout", input)
    x = input.array
    backend = backend_of(x)
    kept = (
        default_generator.uniform(x.shape, float32, input.device) >= chance
    )  # never at p = 1: the numbers are below 1
    mask = backend.cast(kept, x.dtype)
    if chance < 1.0:
        mask *= 1.0 / (1.0 - chance)
    factor = Tensor(mask)
    return mul_(input, factor) if inplace else input * factor


class Dropout(Module):
    """Each value is 0 with probability p while training, else x / (1 - p); x itself after `eval()`.

    >>> import tensorgrad
    >>> layer = Dropout(0.5).eval()
    >>> layer(tensorgrad.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = probability("Dropout", "p", p)
        self.inplace = inplace

    def forward(self, input: Tensor) -> Any:
        return dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
