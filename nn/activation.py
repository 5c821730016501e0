"""Activations: functions of one value, and probabilities."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import OperandError
from tensorgrad.nn.module import Module
from tensorgrad.ops import elementwise, loss
from tensorgrad.ops.inplace import relu_
from tensorgrad.tensor import Tensor


def _check(operation: str, input: Any) -> None:
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), in the input's own memory if `inplace`; the gradient at 0 is 0."""
    _check("relu", input)
    return relu_(input) if inplace else elementwise.relu(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    _check("tanh", input)
    return elementwise.tanh(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow for any x."""
    _check("sigmoid", input)
    return elementwise.sigmoid(input)


def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum e^x along `dim`: positive, summing to 1."""
    _check("softmax", input)
    return loss.softmax(input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, for values of any size."""
    _check("log_softmax", input)
    return loss.log_softmax(input, dim, dtype)


class ReLU(Module):
    """max(x, 0), in the input's own memory if `inplace`.

    >>> import tensorgrad
    >>> ReLU()(tensorgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return relu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


class Sigmoid(Module):
    """1 / (1 + e^-x)"""

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)


class _Probabilities(Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Probabilities):
    """e^x / sum e^x along `dim`. For training use CrossEntropyLoss, which takes the values before it."""

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim)


class LogSoftmax(_Probabilities):
    """log(softmax(x)) along `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim)
