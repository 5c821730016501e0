"""DenseNet: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional Networks", 2016
(arXiv:1608.06993), table 1. Each layer sees what all layers before it in its block have made.

    stage              output (224x224 in)    121    169    201    161 (growth 48, 96 at first)
    conv0, pool        64 x 56 x 56           7x7 of stride 2, 3x3 max pooling of stride 2
    block1, transition 256 x 56 -> 128 x 28   6      6      6      6   layers of growth 32
    block2, transition 512 x 28 -> 256 x 14   12     12     12     12
    block3, transition        14 -> 7         24     32     48     36
    block4                     7 x 7          16     32     32     24
    classifier         1000                   global average, one linear layer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, he_normal, initialise
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.functional import dropout
from tensorgrad.ops.joining import cat
from tensorgrad.tensor import Tensor
from tensorgrad.utils.checkpoint import checkpoint


class DenseLayer(nn.Module):
    """A 1x1 convolution to bn_size growth_rate channels and a 3x3 one to growth_rate, each after norm and ReLU."""

    def __init__(
        self, in_channels: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, bn_size * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        if self.memory_efficient and any(x.requires_grad for x in features):
            z = checkpoint(self.bottleneck, *features, use_reentrant=False)
        else:
            z = self.bottleneck(*features)
        z = self.conv2(self.relu2(self.norm2(z)))
        return dropout(z, self.drop_rate, self.training)

    def bottleneck(self, *features: Tensor) -> Any:
        """What has many channels, and what memory_efficient computes again in backward."""
        x = cat(list(features), 1) if len(features) > 1 else features[0]
        return self.conv1(self.relu1(self.norm1(x)))


class DenseBlock(nn.ModuleDict):
    """Layers of which each takes the block's input and the outputs of all before it; the result is all of them."""

    def __init__(
        self,
        count: int,
        in_channels: int,
        growth_rate: int,
        bn_size: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        for number in range(count):
            channels = in_channels + number * growth_rate
            layer = DenseLayer(channels, growth_rate, bn_size, drop_rate, memory_efficient)
            self[f"denselayer{number + 1}"] = layer

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(features))
        return cat(features, 1)


class Transition(nn.Sequential):
    """Norm, ReLU, a 1x1 convolution to fewer channels, and a 2x2 average: (N, C, H, W) -> (N, out, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            {
                "norm": nn.BatchNorm2d(in_channels),
                "relu": nn.ReLU(),
                "conv": nn.Conv2d(in_channels, out_channels, 1, bias=False),
                "pool": nn.AvgPool2d(2, stride=2),
            }
        )


class DenseNet(nn.Module):
    """DenseNet-BC, (N, 3, 224, 224) -> (N, num_classes).

    growth_rate        channels that each layer adds
    block_config       layers of each block
    num_init_features  channels of the first convolution
    bn_size            the bottleneck has bn_size growth_rate channels
    drop_rate          dropout after each layer
    memory_efficient   keep nothing of the layers' wide parts for backward, but compute them again there
    init_weights       None, True: as torchvision (He's normal rule by fan_in, the classifier's bias 0); False: each
                       layer's default

    >>> import tensorgrad
    >>> DenseNet(8, (2, 2), 16, num_classes=3)(tensorgrad.zeros(1, 3, 32, 32)).shape
    (1, 3)
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0.0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        *,
        in_channels: int = 3,
        init_weights: bool | None = None,
    ) -> None:
        super().__init__()
        at_least("DenseNet", "num_classes", num_classes, 1)
        if not block_config:
            raise ArgumentError("DenseNet: block_config is empty; it must say how many layers each block has")
        channels = num_init_features
        with nn.init.postponed():
            layers: dict[str, nn.Module] = {
                "conv0": nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False),  # (N, 64, 112, 112)
                "norm0": nn.BatchNorm2d(channels),
                "relu0": nn.ReLU(),
                "pool0": nn.MaxPool2d(3, stride=2, padding=1),  # (N, 64, 56, 56)
            }
            for number, count in enumerate(block_config, 1):
                layers[f"denseblock{number}"] = DenseBlock(
                    count, channels, growth_rate, bn_size, drop_rate, memory_efficient
                )
                channels += count * growth_rate
                if number < len(block_config):
                    layers[f"transition{number}"] = Transition(channels, channels // 2)
                    channels //= 2
            layers["norm5"] = nn.BatchNorm2d(channels)
            self.features = nn.Sequential(layers)
            self.relu = nn.ReLU()
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.classifier = nn.Linear(channels, num_classes)
        initialise(self, init_weights, _usual)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.avgpool(self.relu(self.features(x))).flatten(1))


def _usual(name: str, layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        layer.reset_parameters()
        nn.init.zeros_(layer.bias)
        return True
    return he_normal("fan_in")(name, layer)


_CONFIGS: dict[int, dict[str, Any]] = {
    121: {"growth_rate": 32, "block_config": (6, 12, 24, 16), "num_init_features": 64},
    161: {"growth_rate": 48, "block_config": (6, 12, 36, 24), "num_init_features": 96},
    169: {"growth_rate": 32, "block_config": (6, 12, 32, 32), "num_init_features": 64},
    201: {"growth_rate": 32, "block_config": (6, 12, 48, 32), "num_init_features": 64},
}


def _densenet(depth: int) -> Callable[..., Any]:
    summary = f"DenseNet-{depth}, (N, 3, 224, 224) -> (N, 1000); Huang et al., 2016."
    return builder(f"densenet{depth}", DenseNet, summary, **_CONFIGS[depth])


densenet121 = _densenet(121)
densenet161 = _densenet(161)
densenet169 = _densenet(169)
densenet201 = _densenet(201)
