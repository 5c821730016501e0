"""Parameter: a Tensor that a Module counts as its own."""

from __future__ import annotations

from typing import Any

from tensorgrad.printing import tensor_repr
from tensorgrad.tensor import Tensor


class Parameter(Tensor):
    """A Tensor to be trained: assigned to an attribute of a Module, it is found by `parameters()` and saved with it.

    data           a Tensor or an array; the Parameter works on its memory and does not copy it
    requires_grad  whether gradients are collected

    >>> import tensorgrad
    >>> Parameter(tensorgrad.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{tensor_repr(self)}"
