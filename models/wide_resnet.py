"""Wide ResNet: S. Zagoruyko, N. Komodakis, "Wide Residual Networks", 2016 (arXiv:1605.07146): ResNet's table with twice
the channels in the bottleneck's 3x3 convolution.

    layer1 128 of 3x3, 256 out    layer2 256, 512    layer3 512, 1024    layer4 1024, 2048
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.models.build import builder
from tensorgrad.models.resnet import ResNet
from tensorgrad.nn.blocks import Bottleneck


def _wide(depth: int, layers: tuple[int, int, int, int]) -> Callable[..., Any]:
    summary = f"Wide ResNet-{depth}-2, (N, 3, 224, 224) -> (N, 1000); Zagoruyko & Komodakis, 2016."
    return builder(f"wide_resnet{depth}_2", ResNet, summary, block=Bottleneck, layers=layers, width_per_group=128)


wide_resnet50_2 = _wide(50, (3, 4, 6, 3))
wide_resnet101_2 = _wide(101, (3, 4, 23, 3))
