"""Fully connected layers."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.creation import empty
from tensorgrad.errors import ShapeError
from tensorgrad.nn import init
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops.arithmetic import add
from tensorgrad.ops.matmul import inner_product
from tensorgrad.tensor import Tensor


@under_autocast
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """z = x w^T + b

    input (..., in_features), weight (out_features, in_features), bias (out_features) -> (..., out_features)

    >>> import tensorgrad
    >>> linear(tensorgrad.ones(2, 3), tensorgrad.ones(4, 3)).shape
    (2, 4)
    """
    if bias is None:
        return inner_product(input, weight)
    if bias.array.shape != weight.array.shape[:1]:
        raise ShapeError(
            f"linear: got a bias of shape {bias.shape}; a weight of shape {weight.shape} needs ({weight.shape[0]},)"
        )
    if bias.array.dtype != weight.array.dtype:
        return add(inner_product(input, weight), bias)
    return inner_product(input, weight, bias)


class Linear(Module):
    """z = x w^T + b

    in_features, out_features  the last size of the input and of the output; weight is (out_features, in_features)
    bias                       whether b is added

    Both start evenly in +-1 / sqrt(in_features).

    >>> import tensorgrad
    >>> layer = Linear(3, 2)
    >>> layer(tensorgrad.ones(5, 3)).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = at_least("Linear", "in_features", in_features, 0)
        self.out_features = at_least("Linear", "out_features", out_features, 0)
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.layer_defaults_(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """z = x; takes any arguments, so that it can stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input
