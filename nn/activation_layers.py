"""The layers of the activations: a line each, over the function of the same meaning in tensorgrad.nn.activation."""

from __future__ import annotations

from typing import Any

from tensorgrad import creation
from tensorgrad.nn import activation
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.function_module import FunctionModule
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.tensor import Tensor


class ReLU(FunctionModule):
    """max(x, 0), in the input's own memory if `inplace`.

    >>> import tensorgrad
    >>> ReLU()(tensorgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    function = activation.relu
    inplace: bool

    def forward(self, input: Tensor) -> Tensor:  # the one that every network has: without a detour
        return activation.relu(input, self.inplace)


class ReLU6(FunctionModule):
    function = activation.relu6


class LeakyReLU(FunctionModule):
    function = activation.leaky_relu


class Threshold(FunctionModule):
    function = activation.threshold


class Hardtanh(FunctionModule):
    function = activation.hardtanh


class Hardsigmoid(FunctionModule):
    function = activation.hardsigmoid


class Hardswish(FunctionModule):
    function = activation.hardswish


class Hardshrink(FunctionModule):
    function = activation.hardshrink


class Softshrink(FunctionModule):
    function = activation.softshrink


class Tanhshrink(FunctionModule):
    function = activation.tanhshrink


class ELU(FunctionModule):
    function = activation.elu


class SELU(FunctionModule):
    function = activation.selu


class CELU(FunctionModule):
    function = activation.celu


class GELU(FunctionModule):
    function = activation.gelu


class SiLU(FunctionModule):
    function = activation.silu


class Mish(FunctionModule):
    function = activation.mish


class Softplus(FunctionModule):
    function = activation.softplus


class Softsign(FunctionModule):
    function = activation.softsign


class LogSigmoid(FunctionModule):
    function = activation.logsigmoid


class Tanh(FunctionModule):
    function = activation.tanh


class Sigmoid(FunctionModule):
    function = activation.sigmoid


class ScaledTanh(FunctionModule):
    function = activation.scaled_tanh


class GLU(FunctionModule):
    function = activation.glu


class _Probabilities(Module):
    """A layer along a dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Probabilities):
    """e^x / sum e^x along `dim`. For training use CrossEntropyLoss, which takes the values before it."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.softmax(input, self.dim)


class Softmin(_Probabilities):
    """softmax(-x) along `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.softmin(input, self.dim)


class LogSoftmax(_Probabilities):
    """log(softmax(x)) along `dim`."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.log_softmax(input, self.dim)


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.softmax(input, -3)


class PReLU(Module):
    """x where x > 0, else weight x, with a learnt weight for all channels or one for each. He et al. 2015.

    num_parameters  1, or the number of channels
    init            the weights at the start

    >>> import tensorgrad
    >>> PReLU(init=0.5)(tensorgrad.tensor([-2.0, 1.0])).tolist()
    [-1.0, 1.0]
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = at_least("PReLU", "num_parameters", num_parameters, 1)
        self.init = init
        self.weight = Parameter(creation.full((self.num_parameters,), float(init), dtype=dtype, device=device))

    def forward(self, input: Tensor) -> Tensor:
        return activation.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "ScaledTanh",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]
