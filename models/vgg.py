"""VGG: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014
(arXiv:1409.1556), table 1: 3x3 convolutions of stride 1 and 2x2 max poolings, nothing else.

    stage       output (224x224 in)    11    13    16    19 layers with weights
    1           64 x 112 x 112         1     2     2     2    convolutions, then a pooling
    2           128 x 56 x 56          1     2     2     2
    3           256 x 28 x 28          2     2     3     4
    4           512 x 14 x 14          2     2     3     4
    5           512 x 7 x 7            2     2     3     4
    classifier  4096, 4096, 1000       three linear layers, dropout after the first two
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, gaussian, he_normal, initialise
from tensorgrad.nn.arguments import at_least
from tensorgrad.tensor import Tensor

CHANNELS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """A VGG network, (N, 3, 224, 224) -> (N, num_classes); other sizes are pooled to 7x7 before the classifier.

    convolutions  how many each of the five stages has
    batch_norm    a norm after each convolution (not in the paper)
    dropout       after each of the first two linear layers
    init_weights  None, True: as torchvision (He's rule by fan_out, linear layers of deviation 0.01, biases 0); 'paper':
                  normal with deviation 0.01, biases 0, which for the deeper nets the paper starts from the first one's
                  trained layers; False: each layer's default
    """

    def __init__(
        self,
        convolutions: Sequence[int],
        num_classes: int = 1000,
        init_weights: bool | str | None = None,
        dropout: float = 0.5,
        *,
        batch_norm: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        at_least("VGG", "num_classes", num_classes, 1)
        if len(convolutions) != len(CHANNELS) or min(convolutions) < 1:
            raise ArgumentError(
                f"VGG: convolutions is {tuple(convolutions)}; it must be {len(CHANNELS)} numbers, one for each stage, from 1 up"
            )
        with nn.init.postponed():
            self.features = nn.Sequential(*_stages(convolutions, in_channels, batch_norm))  # (N, 512, 7, 7)
            self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, num_classes),
            )
        initialise(self, init_weights, he_normal("fan_out", linear_std=0.01), gaussian(0.01))

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _stages(convolutions: Sequence[int], channels: int, batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for count, width in zip(convolutions, CHANNELS, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return layers


_CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def _vgg(depth: int, batch_norm: bool = False) -> Callable[..., Any]:
    name = f"vgg{depth}_bn" if batch_norm else f"vgg{depth}"
    summary = f"VGG-{depth}{' with batch norm' if batch_norm else ''}, (N, 3, 224, 224) -> (N, 1000); 2014."
    return builder(name, VGG, summary, convolutions=_CONVOLUTIONS[depth], batch_norm=batch_norm)


vgg11 = _vgg(11)
vgg11_bn = _vgg(11, batch_norm=True)
vgg13 = _vgg(13)
vgg13_bn = _vgg(13, batch_norm=True)
vgg16 = _vgg(16)
vgg16_bn = _vgg(16, batch_norm=True)
vgg19 = _vgg(19)
vgg19_bn = _vgg(19, batch_norm=True)
