"""LeNet-5: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE 86(11), 1998.

    layer     C1        S2       C3        S4       C5 (linear)   F6 (linear)   output (linear)
    maps      6 of 5x5  / 2      16 of 5x5 / 2      120           84            10
    weights   156       0        2,416     0        48,120        10,164        850             61,706 in all

This is the modern form. The paper's C3 sees only some of S2's maps, its S2 and S4 have a trained factor and offset,
and its output measures distances to drawn prototypes (60,000 parameters); here C3 is dense, the pooling has no
parameters, and the output is linear, to be trained with cross entropy.
"""

from __future__ import annotations

from collections.abc import Callable

from tensorgrad import nn
from tensorgrad.nn.arguments import at_least
from tensorgrad.tensor import Tensor

MakeLayer = Callable[[], nn.Module]


class LeNet5(nn.Module):
    """LeNet-5 for pictures of 32x32; see `lenet5`."""

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        activation: MakeLayer = nn.Tanh,
        pooling: Callable[[int], nn.Module] = nn.AvgPool2d,
    ) -> None:
        super().__init__()
        at_least("LeNet5", "num_classes", num_classes, 1)
        at_least("LeNet5", "in_channels", in_channels, 1)
        self.features = nn.Sequential(
            # (N, in_channels, 32, 32)
            nn.Conv2d(in_channels, 6, kernel_size=5),  # C1: (N, 6, 28, 28)
            activation(),
            pooling(2),  # S2: (N, 6, 14, 14)
            nn.Conv2d(6, 16, kernel_size=5),  # C3: (N, 16, 10, 10)
            activation(),
            pooling(2),  # S4: (N, 16, 5, 5)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, 400)
            nn.Linear(400, 120),  # C5: (N, 120)
            activation(),
            nn.Linear(120, 84),  # F6: (N, 84)
            activation(),
            nn.Linear(84, num_classes),  # (N, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def lenet5(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    activation: MakeLayer = nn.Tanh,
    pooling: Callable[[int], nn.Module] = nn.AvgPool2d,
) -> LeNet5:
    """LeNet-5 in its modern form, (N, in_channels, 32, 32) -> scores (N, num_classes); LeCun et al., 1998.

    activation  makes the non-linear layers: nn.Tanh, nn.ReLU, ...
    pooling     makes the pooling layers from their window's size: nn.AvgPool2d, nn.MaxPool2d

    >>> import tensorgrad
    >>> model = lenet5()
    >>> sum(p.numel() for p in model.parameters())
    61706
    >>> model(tensorgrad.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """
    return LeNet5(num_classes, in_channels, activation, pooling)
