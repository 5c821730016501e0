"""GoogLeNet: C. Szegedy et al., "Going Deeper with Convolutions", 2014 (arXiv:1409.4842), table 1.

    stage            output (224x224 in)
    conv1, pool      64 x 112 x 112, 64 x 56 x 56
    conv2, 3, pool   64, 192 x 56 x 56, 192 x 28 x 28
    3a, 3b, pool     256, 480 x 28 x 28, 480 x 14 x 14
    4a-4e, pool      512, 512, 512, 528, 832 x 14 x 14, 832 x 7 x 7      auxiliary heads after 4a and 4d
    5a, 5b           832, 1024 x 7 x 7
    fc               global average, dropout, 1000

form "torchvision": batch norm after each convolution, no biases, 3x3 where the paper has 5x5. form "paper": true 5x5,
biases, no batch norm, local response norm after the first pooling and before the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import Rule, builder, initialise, xavier_everywhere
from tensorgrad.nn.arguments import at_least, one_of
from tensorgrad.nn.blocks import ConvNormActivation, Inception
from tensorgrad.ops.joining import cat
from tensorgrad.tensor import Tensor


class GoogLeNetOutputs(NamedTuple):
    """What GoogLeNet gives in training: scores, and those of its auxiliary heads (None where there are none)."""

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


# module: (channels in, 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pooling's projection)
_INCEPTION = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


def normed_conv(in_channels: int, out_channels: int, **settings: Any) -> nn.Module:
    """Convolution without bias, batch norm, ReLU, held as conv, bn, relu."""
    return ConvNormActivation(in_channels, out_channels, norm_layer=_norm, names=("conv", "bn", "relu"), **settings)


def plain_conv(in_channels: int, out_channels: int, **settings: Any) -> nn.Module:
    """Convolution with bias, ReLU, held as conv, relu."""
    return ConvNormActivation(in_channels, out_channels, norm_layer=None, names=("conv", "", "relu"), **settings)


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=0.001)


class AuxiliaryHead(nn.Module):
    """A classifier on the way, which brings gradients to the lower layers: (N, C, 14, 14) -> (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, conv_block: Any, dropout: float = 0.7) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((4, 4))  # of 14x14: windows of 5x5, stride 3, as the paper
        self.conv = conv_block(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Any:
        x = self.conv(self.pool(x))  # (N, 128, 4, 4)
        return self.fc2(self.dropout(self.relu(self.fc1(x.flatten(1)))))


class GoogLeNet(nn.Module):
    """GoogLeNet, (N, 3, 224, 224) -> (N, num_classes); in training with heads a GoogLeNetOutputs.

    aux_logits       whether there are auxiliary heads
    transform_input  take pictures normalised by ImageNet's figures to the range [-1, 1] that Google's weights expect
    init_weights     None, True: as torchvision (normal, deviation 0.01, cut off at 2); 'paper': Glorot's rule; False:
                     each layer's default
    blocks           makers of a convolution, an Inception module and an auxiliary head, in place of the form's
    dropout, dropout_aux  before the classifier, and in the heads
    form             see the top of this file
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | str | None = None,
        blocks: Sequence[Callable[..., nn.Module]] | None = None,
        dropout: float | None = None,
        dropout_aux: float = 0.7,
        *,
        form: str = "torchvision",
    ) -> None:
        super().__init__()
        at_least("GoogLeNet", "num_classes", num_classes, 1)
        paper = one_of("GoogLeNet", "form", form, ("torchvision", "paper")) == "paper"
        own_conv = plain_conv if paper else normed_conv
        inception = partial(Inception, conv_block=own_conv, large=5 if paper else 3)
        if blocks is not None and len(blocks) != 3:
            raise ArgumentError(
                f"GoogLeNet: blocks are {len(blocks)}; they must be three, makers of a convolution, an Inception module and an "
                "auxiliary head"
            )
        conv, module, head = blocks or (own_conv, inception, partial(AuxiliaryHead, conv_block=own_conv))
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        with nn.init.postponed():
            self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)  # (N, 64, 112, 112)
            self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # (N, 64, 56, 56)
            self.norm1 = nn.LocalResponseNorm(5) if paper else nn.Identity()
            self.conv2 = conv(64, 64, kernel_size=1)
            self.conv3 = conv(64, 192, kernel_size=3, padding=1)  # (N, 192, 56, 56)
            self.norm2 = nn.LocalResponseNorm(5) if paper else nn.Identity()
            self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # (N, 192, 28, 28)
            for name, row in _INCEPTION.items():
                if name == "inception4a":
                    self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)  # (N, 480, 14, 14)
                if name == "inception5a":
                    self.maxpool4 = nn.MaxPool2d(3 if paper else 2, stride=2, ceil_mode=True)  # (N, 832, 7, 7)
                setattr(self, name, module(*row))
            self.aux1 = head(512, num_classes, dropout=dropout_aux) if aux_logits else None
            self.aux2 = head(528, num_classes, dropout=dropout_aux) if aux_logits else None
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.dropout = nn.Dropout((0.4 if paper else 0.2) if dropout is None else dropout)
            self.fc = nn.Linear(1024, num_classes)
        initialise(self, init_weights, xavier_everywhere if paper else truncated(0.01), xavier_everywhere)

    def forward(self, x: Tensor) -> Any:
        if self.transform_input:
            x = to_symmetric_range(x)
        x = self.norm1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.norm2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        with_heads = self.training and self.aux_logits
        aux1 = self.aux1(x) if with_heads and self.aux1 is not None else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if with_heads and self.aux2 is not None else None
        x = self.maxpool4(self.inception4e(x))
        x = self.avgpool(self.inception5b(self.inception5a(x)))
        z = self.fc(self.dropout(x.flatten(1)))
        return GoogLeNetOutputs(z, aux2, aux1) if with_heads else z


def truncated(std: float) -> Rule:
    """Weights of convolutions and linear layers normal with this deviation, cut off at +-2; biases by the default."""

    def rule(name: str, layer: nn.Module) -> bool:
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            return False
        if layer.bias is not None:
            layer.reset_parameters()
        nn.init.normal_(layer.weight, 0.0, std)  # 2 lies more than 20 deviations away: nothing is ever cut off
        return True

    return rule


# ImageNet's mean and deviation of red, green and blue
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def to_symmetric_range(x: Tensor) -> Tensor:
    """Pictures normalised by ImageNet's mean and deviation -> values in [-1, 1]: (x std + mean - 0.5) / 0.5."""
    planes = [
        x[:, channel : channel + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for channel, (mean, std) in enumerate(zip(_MEAN, _STD))
    ]
    return cat(planes, 1)


googlenet = builder("googlenet", GoogLeNet, "GoogLeNet, (N, 3, 224, 224) -> (N, 1000); Szegedy et al., 2014.")
googlenet_paper = builder(
    "googlenet_paper", GoogLeNet, "GoogLeNet as in the paper, (N, 3, 224, 224) -> (N, 1000); 2014.", form="paper"
)
