"""SqueezeNet: F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
2016 (arXiv:1602.07360), table 1; version 1.1 is from the authors' repository, with 2.4 times less work.

    version   1.0                                   1.1
    conv1     96 of 7x7, stride 2: 109x109          64 of 3x3, stride 2: 111x111
    pool      54x54                                 55x55
    fire      128, 128, 256; pool: 27x27            128, 128; pool: 27x27
              256, 384, 384, 512; pool: 13x13       256, 256; pool: 13x13
              512                                   384, 384, 512, 512
    conv10    1000 of 1x1, global average           the same
"""

from __future__ import annotations

from typing import Any

from tensorgrad import nn
from tensorgrad.models.build import builder, initialise
from tensorgrad.nn.arguments import at_least, one_of
from tensorgrad.nn.blocks import Fire
from tensorgrad.tensor import Tensor

# what follows the first convolution and its pooling: (squeeze, each of the two expansions), or a pooling
_POOL = "pool"
_LAYERS: dict[str, tuple[Any, ...]] = {
    "1_0": ((16, 64), (16, 64), (32, 128), _POOL, (32, 128), (48, 192), (48, 192), (64, 256), _POOL, (64, 256)),
    "1_1": ((16, 64), (16, 64), _POOL, (32, 128), (32, 128), _POOL, (48, 192), (48, 192), (64, 256), (64, 256)),
}
_FIRST = {"1_0": (96, 7), "1_1": (64, 3)}


class SqueezeNet(nn.Module):
    """SqueezeNet, (N, 3, 224, 224) -> (N, num_classes).

    version       '1_0' or '1_1'
    dropout       before the last convolution
    init_weights  None, True: as torchvision (He's uniform rule, the last convolution of deviation 0.01, biases 0);
                  False: each layer's default

    >>> import tensorgrad
    >>> SqueezeNet("1_1", num_classes=7)(tensorgrad.zeros(1, 3, 64, 64)).shape
    (1, 7)
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        init_weights: bool | None = None,
    ) -> None:
        super().__init__()
        one_of("SqueezeNet", "version", version, tuple(_LAYERS))
        self.num_classes = at_least("SqueezeNet", "num_classes", num_classes, 1)
        with nn.init.postponed():
            channels, kernel = _FIRST[version]
            layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel, stride=2), nn.ReLU(), _pool()]
            for row in _LAYERS[version]:
                if row == _POOL:
                    layers.append(_pool())
                else:
                    squeeze, expand = row
                    layers.append(Fire(channels, squeeze, expand, expand))
                    channels = 2 * expand
            self.features = nn.Sequential(*layers)  # (N, 512, 13, 13)
            self.classifier = nn.Sequential(
                nn.Dropout(dropout), nn.Conv2d(channels, num_classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))
            )
        initialise(self, init_weights, _usual)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.features(x)).flatten(1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _usual(name: str, layer: Any) -> bool:
    if name == "classifier.1":
        nn.init.normal_(layer.weight, 0.0, 0.01)
    else:
        nn.init.kaiming_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return True


_SUMMARY = "SqueezeNet {}, (N, 3, 224, 224) -> (N, 1000); Iandola et al., 2016."
squeezenet1_0 = builder("squeezenet1_0", SqueezeNet, _SUMMARY.format("1.0"), version="1_0")
squeezenet1_1 = builder("squeezenet1_1", SqueezeNet, _SUMMARY.format("1.1"), version="1_1")
