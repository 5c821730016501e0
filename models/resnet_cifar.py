"""ResNets for CIFAR's 32x32 pictures: K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2.

    stage     output (32x32 in)    depth 6n + 2
    conv1     16 x 32 x 32         one 3x3 convolution
    layer1    16 x 32 x 32         n basic blocks
    layer2    32 x 16 x 16         n
    layer3    64 x 8 x 8           n
    fc        10                   global average, one linear layer

Shortcuts are of option A, so that a plain net has exactly the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder
from tensorgrad.models.resnet import ResNet
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.blocks import BasicBlock


class CifarResNet(ResNet):
    """The ResNet of `depth` = 6n + 2 layers for small pictures, (N, 3, 32, 32) -> (N, num_classes).

    depth         20, 32, 44, 56, 110, 1202, ...
    shortcut, ... as in ResNet
    init_weights  None, 'paper': He's rule by fan_in; True: as ResNet for ImageNet; False: each layer's default

    >>> import tensorgrad
    >>> model = CifarResNet(20)
    >>> sum(p.numel() for p in model.parameters())
    269722
    >>> model(tensorgrad.zeros(2, 3, 32, 32)).shape
    (2, 10)
    """

    widths = (16, 32, 64)

    def __init__(
        self,
        depth: int = 20,
        num_classes: int = 10,
        *,
        shortcut: str = "A",
        init_weights: bool | str | None = "paper",
        **settings: Any,
    ) -> None:
        at_least("CifarResNet", "depth", depth, 8)
        if depth % 6 != 2:
            raise ArgumentError(f"CifarResNet: depth is {depth}; it must be 6n + 2 (20, 32, 44, 56, 110, ...)")
        each = (depth - 2) // 6
        rule = "paper" if init_weights is None else init_weights
        super().__init__(BasicBlock, (each, each, each), num_classes, shortcut=shortcut, init_weights=rule, **settings)

    def _make_stem(self, in_channels: int) -> None:
        self.conv1 = nn.Conv2d(in_channels, self.inplanes, 3, padding=1, bias=False)  # (N, 16, 32, 32)
        self.bn1 = self.norm_layer(self.inplanes)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity()  # type: ignore[assignment]


def _cifar(name: str, depth: int, **row: Any) -> Callable[..., Any]:
    kind = "Plain" if name.startswith("plain") else "ResNet"
    summary = f"{kind}-{depth} for CIFAR, (N, 3, 32, 32) -> (N, 10); He et al., 2015."
    return builder(name, CifarResNet, summary, depth=depth, **row)


resnet20 = _cifar("resnet20", 20)
resnet32 = _cifar("resnet32", 32)
resnet44 = _cifar("resnet44", 44)
resnet56 = _cifar("resnet56", 56)
resnet110 = _cifar("resnet110", 110)
resnet1202 = _cifar("resnet1202", 1202)

plain20 = _cifar("plain20", 20, residual=False)
plain32 = _cifar("plain32", 32, residual=False)
plain44 = _cifar("plain44", 44, residual=False)
plain56 = _cifar("plain56", 56, residual=False)
