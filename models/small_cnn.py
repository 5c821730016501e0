"""A small network for digits and other pictures of one colour, of this library: no paper's, but made of well-known parts.

stage    output (32x32 in)    3x3 convolutions, each with batch norm (Ioffe & Szegedy, 2015) and ReLU
1        16 x 32 x 32         1, then 2x2 maxima
2        32 x 16 x 16         2, then 2x2 maxima
3        64 x 8 x 8           2, then 2x2 maxima
4        128 x 4 x 4          1
fc       10                   dropout (Srivastava et al., 2014), one linear layer over all 2,048 values
"""

from __future__ import annotations

from typing import Any

from tensorgrad import nn
from tensorgrad.models.build import builder
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.blocks import ConvNormActivation
from tensorgrad.tensor import Tensor

# stage: the channels of its convolutions; between stages the size is halved
STAGES = ((16,), (32, 32), (64, 64), (128,))


class SmallCNN(nn.Module):
    """The network above, (N, in_channels, 32, 32) -> scores (N, num_classes).

    dropout  share of the last layer's inputs that is left out in training

    >>> import tensorgrad
    >>> model = SmallCNN()
    >>> sum(p.numel() for p in model.parameters())
    164154
    >>> model(tensorgrad.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, dropout: float = 0.3) -> None:
        super().__init__()
        at_least("SmallCNN", "num_classes", num_classes, 1)
        at_least("SmallCNN", "in_channels", in_channels, 1)
        layers: list[nn.Module] = []
        before = in_channels
        for stage, widths in enumerate(STAGES):
            if stage > 0:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers.append(ConvNormActivation(before, width, 3))
                before = width
        self.features = nn.Sequential(*layers)  # (N, 128, 4, 4)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(before * 4 * 4, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.dropout(self.flatten(self.features(x))))


small_cnn = builder("small_cnn", SmallCNN, "A small network for pictures of one colour, (N, 1, 32, 32) -> (N, 10).")
