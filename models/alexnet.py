"""AlexNet: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, and the single-GPU form of A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014
(arXiv:1404.5997), which is torchvision's.

    layer    paper (227x227 in)            one weird trick (224x224 in)
    conv1    96 of 11x11, stride 4: 55x55  64 of 11x11, stride 4: 55x55
    pool1    3x3, stride 2: 27x27          the same
    conv2    256 of 5x5, two groups        192 of 5x5
    pool2    13x13                         13x13
    conv3    384 of 3x3                    384 of 3x3
    conv4    384 of 3x3, two groups        256 of 3x3
    conv5    256 of 3x3, two groups        256 of 3x3
    pool5    6x6                           6x6
    fc6-8    4096, 4096, 1000              4096, 4096, 1000

The paper normalises the responses of conv1 and conv2 (n = 5, k = 2, alpha = 1e-4, beta = 0.75, before the pooling).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, initialise, layers_decide
from tensorgrad.nn.arguments import at_least, one_of
from tensorgrad.tensor import Tensor


class AlexNet(nn.Module):
    """AlexNet in torchvision's form, (N, 3, 224, 224) -> (N, num_classes); other sizes are pooled to 6x6.

    dropout       before each of the first two linear layers
    init_weights  None, True, False: each layer's default, as torchvision
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        init_weights: bool | None = None,
    ) -> None:
        super().__init__()
        at_least("AlexNet", "num_classes", num_classes, 1)
        with nn.init.postponed():
            self.features = nn.Sequential(
                nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),  # (N, 64, 55, 55)
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2),  # (N, 64, 27, 27)
                nn.Conv2d(64, 192, 5, padding=2),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2),  # (N, 192, 13, 13)
                nn.Conv2d(192, 384, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(384, 256, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(256, 256, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
            )
            self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
            self.classifier = nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(256 * 6 * 6, 4096),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(4096, 4096),
                nn.ReLU(),
                nn.Linear(4096, num_classes),
            )
        initialise(self, init_weights, layers_decide)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


_REMOVABLE = ("conv3", "conv4", "fc6", "fc7")


class PaperAlexNet(nn.Module):
    """AlexNet as in the paper of 2012, (N, 3, 227, 227) -> (N, num_classes), its layers by the paper's names.

    groups   of conv2, conv4 and conv5: 2 as on the paper's two GPUs, 1 for all channels to all
    without  a layer to leave out or several, of conv3, conv4, fc6, fc7: the ablations of Zeiler & Fergus, 2013, table 3
    norm     'before' or 'after' the pooling, or None for no normalisation
    dropout  before the last linear layers
    init_weights  None, 'paper': weights normal with deviation 0.01, biases 1 in conv2, conv4, conv5 and fc6, fc7, and 0
                  elsewhere; True, False: each layer's default

    >>> import tensorgrad
    >>> sum(p.numel() for p in alexnet_paper().parameters())
    60965224
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        groups: int = 2,
        without: str | Sequence[str] = (),
        norm: str | None = "before",
        in_channels: int = 3,
        init_weights: bool | str | None = None,
    ) -> None:
        super().__init__()
        at_least("PaperAlexNet", "num_classes", num_classes, 1)
        without = (without,) if isinstance(without, str) else without
        for layer in without:
            one_of("PaperAlexNet", "without", layer, _REMOVABLE)
        if norm is not None:
            one_of("PaperAlexNet", "norm", norm, ("before", "after"))
        if groups not in (1, 2):
            raise ArgumentError(f"PaperAlexNet: groups is {groups}; it must be 1 or 2")
        with nn.init.postponed():
            self.features = nn.Sequential(_paper_features(in_channels, groups, without, norm))
            self.classifier = nn.Sequential(_paper_classifier(num_classes, dropout, without))
        rule = "paper" if init_weights is None else init_weights
        initialise(self, rule, layers_decide, _paper_rule)

    def forward(self, x: Tensor) -> Any:
        return self.classifier(self.features(x).flatten(1))


# name: (channels out, kernel, settings, whether it may be split into groups, whether norm and pooling follow)
_CONVOLUTIONS: dict[str, tuple[int, int, dict[str, Any], bool, bool]] = {
    "conv1": (96, 11, {"stride": 4}, False, True),  # (N, 96, 55, 55), pooled to 27x27
    "conv2": (256, 5, {"padding": 2}, True, True),  # (N, 256, 27, 27), pooled to 13x13
    "conv3": (384, 3, {"padding": 1}, False, False),
    "conv4": (384, 3, {"padding": 1}, True, False),
    "conv5": (256, 3, {"padding": 1}, True, False),  # (N, 256, 13, 13)
}


def _paper_features(channels: int, groups: int, without: Sequence[str], norm: str | None) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for name, (width, kernel, settings, splits, pools) in _CONVOLUTIONS.items():
        if name in without:
            continue
        layers[name] = nn.Conv2d(channels, width, kernel, groups=groups if splits else 1, **settings)
        layers[f"relu{name[-1]}"] = nn.ReLU()
        channels = width
        if not pools:
            continue
        after: dict[str, nn.Module] = {f"pool{name[-1]}": nn.MaxPool2d(3, stride=2)}
        if norm is not None:
            # PyTorch's formula divides alpha by n = 5, the paper's does not
            lrn = {f"norm{name[-1]}": nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)}
            after = {**lrn, **after} if norm == "before" else {**after, **lrn}
        layers |= after
    layers["pool5"] = nn.MaxPool2d(3, stride=2)  # (N, 256, 6, 6)
    return layers


def _paper_classifier(num_classes: int, dropout: float, without: Sequence[str]) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    features = 256 * 6 * 6
    for name in ("fc6", "fc7"):
        if name not in without:
            layers[f"drop{name[-1]}"] = nn.Dropout(dropout)
            layers[name] = nn.Linear(features, 4096)
            layers[f"relu{name[-1]}"] = nn.ReLU()
            features = 4096
    layers["fc8"] = nn.Linear(features, num_classes)
    return layers


_BIAS_OF_ONE = ("conv2", "conv4", "conv5", "fc6", "fc7")


def _paper_rule(name: str, layer: Any) -> bool:
    nn.init.normal_(layer.weight, 0.0, 0.01)
    nn.init.constant_(layer.bias, 1.0 if name.rpartition(".")[2] in _BIAS_OF_ONE else 0.0)
    return True


alexnet = builder("alexnet", AlexNet, "AlexNet of one column, (N, 3, 224, 224) -> (N, 1000); Krizhevsky, 2014.")
alexnet_paper = builder(
    "alexnet_paper", PaperAlexNet, "AlexNet of the paper, (N, 3, 227, 227) -> (N, 1000); Krizhevsky et al., 2012."
)
