"""Blocks of convolutions that many networks share: convolution, norm and activation; Inception modules; Fire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.nn.activation_layers import ReLU
from tensorgrad.nn.arguments import IntOrPair, pair
from tensorgrad.nn.containers import Sequential
from tensorgrad.nn.convolution import Conv2d
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import BatchNorm2d
from tensorgrad.nn.pooling import MaxPool2d
from tensorgrad.ops.joining import cat
from tensorgrad.tensor import Tensor

MakeModule = Callable[..., Module]


class ConvNormActivation(Sequential):
    """activation(norm(convolution(x)))

    in_channels, out_channels, kernel_size, stride, groups, dilation  the convolution's
    padding           by default what keeps the size at stride 1
    norm_layer        makes the norm from its channels; None for none
    activation_layer  makes the activation; None for none
    bias              of the convolution; by default only without a norm, which would take it away again
    names             under which the three are held

    >>> import tensorgrad
    >>> ConvNormActivation(3, 8, 3, stride=2)(tensorgrad.ones(2, 3, 8, 8)).shape
    (2, 8, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair = 3,
        stride: IntOrPair = 1,
        padding: str | IntOrPair | None = None,
        groups: int = 1,
        norm_layer: MakeModule | None = BatchNorm2d,
        activation_layer: MakeModule | None = ReLU,
        dilation: IntOrPair = 1,
        bias: bool | None = None,
        names: tuple[str, str, str] = ("0", "1", "2"),
    ) -> None:
        if padding is None:
            kernel, spread = pair("ConvNormActivation", "kernel_size", kernel_size), pair("", "dilation", dilation)
            padding = ((kernel[0] - 1) // 2 * spread[0], (kernel[1] - 1) // 2 * spread[1])
        with_bias = norm_layer is None if bias is None else bias
        layers: dict[str, Module] = {
            names[0]: Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=with_bias)
        }
        if norm_layer is not None:
            layers[names[1]] = norm_layer(out_channels)
        if activation_layer is not None:
            layers[names[2]] = activation_layer()
        super().__init__(layers)
        self.out_channels = out_channels


class NaiveInception(Module):
    """Convolutions of 1x1, 3x3 and 5x5 and a max pooling of 3x3 side by side, all of x's channels into each.

    (N, in_channels, H, W) -> (N, ch1x1 + ch3x3 + ch5x5 + in_channels, H, W). Szegedy et al., "Going Deeper with
    Convolutions", 2014, figure 2 (a).

    conv_block  makes a convolution of the channels in and out and the keywords kernel_size, padding

    >>> import tensorgrad
    >>> NaiveInception(256, 128, 192, 96)(tensorgrad.ones(1, 256, 4, 4)).shape
    (1, 672, 4, 4)
    """

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3: int, ch5x5: int, conv_block: MakeModule = ConvNormActivation
    ) -> None:
        super().__init__()
        self.branch1 = conv_block(in_channels, ch1x1, kernel_size=1, padding=0)
        self.branch2 = conv_block(in_channels, ch3x3, kernel_size=3, padding=1)
        self.branch3 = conv_block(in_channels, ch5x5, kernel_size=5, padding=2)
        self.branch4 = MaxPool2d(3, stride=1, padding=1)
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + in_channels

    def forward(self, input: Tensor) -> Tensor:
        return cat([self.branch1(input), self.branch2(input), self.branch3(input), self.branch4(input)], 1)


class Inception(Module):
    """The Inception module with bottlenecks: 1x1 convolutions before the wide ones, and after the pooling.

    (N, in_channels, H, W) -> (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W). Szegedy et al., 2014, figure 2 (b).

    ch3x3red, ch5x5red  channels of the 1x1 convolutions before the 3x3 and the 5x5 one
    large               size of the third branch's convolution: 5 in the paper
    conv_block          as in NaiveInception

    >>> import tensorgrad
    >>> Inception(192, 64, 96, 128, 16, 32, 32)(tensorgrad.ones(1, 192, 4, 4)).shape
    (1, 256, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: MakeModule = ConvNormActivation,
        large: int = 5,
    ) -> None:
        super().__init__()
        self.branch1 = conv_block(in_channels, ch1x1, kernel_size=1, padding=0)
        self.branch2 = Sequential(
            conv_block(in_channels, ch3x3red, kernel_size=1, padding=0),
            conv_block(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = Sequential(
            conv_block(in_channels, ch5x5red, kernel_size=1, padding=0),
            conv_block(ch5x5red, ch5x5, kernel_size=large, padding=large // 2),
        )
        self.branch4 = Sequential(
            MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            conv_block(in_channels, pool_proj, kernel_size=1, padding=0),
        )
        self.out_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj

    def forward(self, input: Tensor) -> Tensor:
        return cat([self.branch1(input), self.branch2(input), self.branch3(input), self.branch4(input)], 1)


class Fire(Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 ones side by side. Iandola et al., SqueezeNet, 2016.

    (N, inplanes, H, W) -> (N, expand1x1_planes + expand3x3_planes, H, W)

    >>> import tensorgrad
    >>> Fire(96, 16, 64, 64)(tensorgrad.ones(1, 96, 4, 4)).shape
    (1, 128, 4, 4)
    """

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.squeeze = Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = ReLU()
        self.expand1x1 = Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = ReLU()
        self.expand3x3 = Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = ReLU()

    def forward(self, input: Tensor) -> Any:
        x = self.squeeze_activation(self.squeeze(input))
        return cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)
