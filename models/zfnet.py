"""ZFNet: M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", 2013 (arXiv:1311.2901), figure 3:
AlexNet with a smaller first window and stride, so that less is lost between the pixels.

    layer    output (224x224 in)
    conv1    96 of 7x7, stride 2: 110 x 110; pool: 55 x 55; normalised
    conv2    256 of 5x5, stride 2: 26 x 26; pool: 13 x 13; normalised
    conv3-5  384, 384, 256 of 3x3: 13 x 13; pool: 6 x 6
    fc6-8    4096, 4096, 1000
"""

from __future__ import annotations

from typing import Any

from tensorgrad import nn
from tensorgrad.models.build import builder, gaussian, initialise, layers_decide
from tensorgrad.nn.arguments import at_least
from tensorgrad.tensor import Tensor


class ZFNet(nn.Module):
    """ZFNet, (N, 3, 224, 224) -> (N, num_classes).

    dropout       after each of the first two linear layers
    init_weights  None, True, False: each layer's default; 'paper': deviation 0.01, biases 0
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        init_weights: bool | str | None = None,
    ) -> None:
        super().__init__()
        at_least("ZFNet", "num_classes", num_classes, 1)
        with nn.init.postponed():
            self.features = nn.Sequential(
                nn.Conv2d(in_channels, 96, 7, stride=2, padding=1),  # (N, 96, 110, 110)
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 96, 55, 55)
                nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
                nn.Conv2d(96, 256, 5, stride=2),  # (N, 256, 26, 26)
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 256, 13, 13)
                nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
                nn.Conv2d(256, 384, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(384, 384, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
            )
            self.classifier = nn.Sequential(
                nn.Linear(256 * 6 * 6, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, num_classes),
            )
        initialise(self, init_weights, layers_decide, gaussian(0.01))

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.features(x).flatten(1))


zfnet = builder("zfnet", ZFNet, "ZFNet, (N, 3, 224, 224) -> (N, 1000); Zeiler & Fergus, 2013.")
