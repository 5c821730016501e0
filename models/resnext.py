"""ResNeXt: S. Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2016 (arXiv:1611.05431).

ResNet's table with the bottleneck's 3x3 convolution in `groups` groups of `width_per_group` channels (at the first
stage; twice as many at each following one):

    32x4d    layer1 128 of 3x3, 256 out    layer2 256, 512    layer3 512, 1024    layer4 1024, 2048
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.models.build import builder
from tensorgrad.models.resnet import ResNet
from tensorgrad.nn.blocks import Bottleneck


def _resnext(depth: int, layers: tuple[int, int, int, int], groups: int, width: int) -> Callable[..., Any]:
    name = f"resnext{depth}_{groups}x{width}d"
    summary = f"ResNeXt-{depth} ({groups} groups of {width}), (N, 3, 224, 224) -> (N, 1000); Xie et al., 2016."
    return builder(name, ResNet, summary, block=Bottleneck, layers=layers, groups=groups, width_per_group=width)


resnext50_32x4d = _resnext(50, (3, 4, 6, 3), 32, 4)
resnext101_32x8d = _resnext(101, (3, 4, 23, 3), 32, 8)
resnext101_64x4d = _resnext(101, (3, 4, 23, 3), 64, 4)
