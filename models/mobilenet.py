"""MobileNetV2: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L. Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", 2018 (arXiv:1801.04381), table 2.

    output (224x224 in)    expansion  channels  blocks  stride of the first
    32 x 112 x 112         -          32        1 conv  2
    16 x 112 x 112         1          16        1       1
    24 x 56 x 56           6          24        2       2
    32 x 28 x 28           6          32        3       2
    64 x 14 x 14           6          64        4       2
    96 x 14 x 14           6          96        3       1
    160 x 7 x 7            6          160       3       2
    320 x 7 x 7            6          320       1       1
    1280 x 7 x 7           -          1280      1 conv of 1x1; then a global average and a linear layer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, he_normal, initialise
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.blocks import ConvNormActivation
from tensorgrad.tensor import Tensor

MakeNorm = Callable[[int], nn.Module]

_SETTING = (
    # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Many channels by 1x1, one 3x3 filter for each, few by 1x1 without activation; + x where the shapes are equal.

    expand_ratio  the wide part has expand_ratio in_channels channels; 1 leaves the first convolution out
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expand_ratio: int,
        norm_layer: MakeNorm | None = None,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ArgumentError(f"InvertedResidual: stride is {stride}; it must be 1 or 2")
        norm = norm_layer or nn.BatchNorm2d
        wide = in_channels * expand_ratio
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(_conv(in_channels, wide, 1, norm=norm))
        layers.append(_conv(wide, wide, 3, stride, groups=wide, norm=norm))
        layers.append(nn.Conv2d(wide, out_channels, 1, bias=False))
        layers.append(norm(out_channels))
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Any:
        return x + self.conv(x) if self.adds else self.conv(x)


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, norm: Any = None
) -> ConvNormActivation:
    return ConvNormActivation(
        in_channels, out_channels, kernel, stride, groups=groups, norm_layer=norm, activation_layer=nn.ReLU6
    )


class MobileNetV2(nn.Module):
    """MobileNetV2, (N, 3, 224, 224) -> (N, num_classes).

    width_mult                 factor of all channels, which are then rounded to multiples of round_nearest
    inverted_residual_setting  rows (expansion, channels, blocks, stride) in place of the paper's
    block                      makes a block as InvertedResidual, from the same arguments
    norm_layer                 makes a norm from its channels
    dropout                    before the classifier
    init_weights               None, True: as torchvision (He's rule by fan_out, the classifier of deviation 0.01);
                               False: each layer's default

    >>> import tensorgrad
    >>> MobileNetV2(5, width_mult=0.25)(tensorgrad.zeros(1, 3, 64, 64)).shape
    (1, 5)
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: MakeNorm | None = None,
        dropout: float = 0.2,
        *,
        in_channels: int = 3,
        init_weights: bool | None = None,
    ) -> None:
        super().__init__()
        at_least("MobileNetV2", "num_classes", num_classes, 1)
        rows = _SETTING if inverted_residual_setting is None else inverted_residual_setting
        if not rows or any(len(row) != 4 for row in rows):
            raise ArgumentError(
                f"MobileNetV2: inverted_residual_setting is {rows}; it must be rows (expansion, channels, blocks, stride)"
            )
        if not width_mult > 0:
            raise ArgumentError(f"MobileNetV2: width_mult is {width_mult}; it must be positive")
        norm = norm_layer or nn.BatchNorm2d
        make = block or InvertedResidual
        channels = round_channels(32 * width_mult, round_nearest)
        last = round_channels(1280 * max(1.0, width_mult), round_nearest)
        with nn.init.postponed():
            layers: list[nn.Module] = [_conv(in_channels, channels, 3, 2, norm=norm)]
            for expansion, width, blocks, stride in rows:
                out = round_channels(width * width_mult, round_nearest)
                for number in range(blocks):
                    step = stride if number == 0 else 1
                    layers.append(make(channels, out, step, expand_ratio=expansion, norm_layer=norm))
                    channels = out
            layers.append(_conv(channels, last, 1, norm=norm))
            self.features = nn.Sequential(*layers)
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        initialise(self, init_weights, he_normal("fan_out", linear_std=0.01))

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def round_channels(channels: float, multiple: int) -> int:
    """The nearest multiple, at least one, and never less than nine tenths of `channels`.

    >>> round_channels(32 * 0.35, 8)
    16
    """
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded if rounded >= 0.9 * channels else rounded + multiple


mobilenet_v2 = builder("mobilenet_v2", MobileNetV2, "MobileNetV2, (N, 3, 224, 224) -> (N, 1000); Sandler et al., 2018.")
