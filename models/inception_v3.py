"""Inception v3: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception Architecture for
Computer Vision", 2015 (arXiv:1512.00567).

    stage                    output (299x299 in)
    1a, 2a, 2b, pool         32 x 149, 32 x 147, 64 x 147, 64 x 73
    3b, 4a, pool             80 x 73, 192 x 71, 192 x 35
    5b, 5c, 5d               256, 288, 288 x 35 x 35
    6a                       768 x 17 x 17, by stride 2
    6b, 6c, 6d, 6e           768 x 17 x 17, 7x7 as 1x7 and 7x1; the auxiliary head after 6e
    7a                       1280 x 8 x 8, by stride 2
    7b, 7c                   2048 x 8 x 8, 3x3 as 1x3 and 3x1 side by side
    fc                       global average, dropout, 1000
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, initialise
from tensorgrad.models.googlenet import normed_conv, to_symmetric_range
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.functional import avg_pool2d, max_pool2d
from tensorgrad.ops.joining import cat
from tensorgrad.tensor import Tensor


class InceptionOutputs(NamedTuple):
    """What Inception v3 gives in training: scores, and those of its auxiliary head."""

    logits: Any
    aux_logits: Any


class Conv(NamedTuple):
    """A convolution of a branch: its name, channels out, kernel and stride; it keeps the size at stride 1."""

    name: str
    channels: int
    kernel: Any = 1
    stride: int = 1


# A module is branches side by side, a branch convolutions one after the other; several in one place stand side by side.
Branches = tuple[tuple[Any, ...], ...]


def _module_a(pooled: int) -> Branches:
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5)),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3)),
        ("average", Conv("branch_pool", pooled)),
    )


_MODULE_B: Branches = (
    (Conv("branch3x3", 384, 3, 2),),
    (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3, 2)),
    ("max",),
)


def _module_c(c: int) -> Branches:
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", c), Conv("branch7x7_2", c, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        (
            Conv("branch7x7dbl_1", c),
            Conv("branch7x7dbl_2", c, (7, 1)),
            Conv("branch7x7dbl_3", c, (1, 7)),
            Conv("branch7x7dbl_4", c, (7, 1)),
            Conv("branch7x7dbl_5", 192, (1, 7)),
        ),
        ("average", Conv("branch_pool", 192)),
    )


_MODULE_D: Branches = (
    (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 2)),
    (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, (1, 7)),
        Conv("branch7x7x3_3", 192, (7, 1)),
        Conv("branch7x7x3_4", 192, 3, 2),
    ),
    ("max",),
)

_MODULE_E: Branches = (
    (Conv("branch1x1", 320),),
    (Conv("branch3x3_1", 384), (Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1)))),
    (
        Conv("branch3x3dbl_1", 448),
        Conv("branch3x3dbl_2", 384, 3),
        (Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))),
    ),
    ("average", Conv("branch_pool", 192)),
)

# module: (its kind, channels in, settings of its maker)
_MODULES: dict[str, tuple[str, int, dict[str, int]]] = {
    "Mixed_5b": ("A", 192, {"pool_features": 32}),
    "Mixed_5c": ("A", 256, {"pool_features": 64}),
    "Mixed_5d": ("A", 288, {"pool_features": 64}),
    "Mixed_6a": ("B", 288, {}),
    "Mixed_6b": ("C", 768, {"channels_7x7": 128}),
    "Mixed_6c": ("C", 768, {"channels_7x7": 160}),
    "Mixed_6d": ("C", 768, {"channels_7x7": 160}),
    "Mixed_6e": ("C", 768, {"channels_7x7": 192}),
    "Mixed_7a": ("D", 768, {}),
    "Mixed_7b": ("E", 1280, {}),
    "Mixed_7c": ("E", 2048, {}),
}


class Mixed(nn.Module):
    """Branches side by side by a table like those above; poolings are 3x3, 'average' of stride 1 and 'max' of 2."""

    def __init__(self, in_channels: int, branches: Branches) -> None:
        super().__init__()
        self.branches = branches
        for branch in branches:
            channels = in_channels
            for step in branch:
                if isinstance(step, str):
                    continue
                group = (step,) if isinstance(step, Conv) else step
                for conv in group:
                    setattr(self, conv.name, _make_conv(channels, conv))
                channels = sum(conv.channels for conv in group)

    def forward(self, x: Tensor) -> Tensor:
        return cat([self._run(branch, x) for branch in self.branches], 1)

    def _run(self, branch: tuple[Any, ...], x: Tensor) -> Any:
        for step in branch:
            if step == "average":
                x = avg_pool2d(x, 3, stride=1, padding=1)
            elif step == "max":
                x = max_pool2d(x, 3, stride=2)
            elif isinstance(step, Conv):
                x = getattr(self, step.name)(x)
            else:
                x = cat([getattr(self, conv.name)(x) for conv in step], 1)
        return x


def _make_conv(in_channels: int, conv: Conv) -> nn.Module:
    settings = {"padding": 0} if conv.stride > 1 else {}
    return normed_conv(in_channels, conv.channels, kernel_size=conv.kernel, stride=conv.stride, **settings)


class InceptionHead(nn.Module):
    """The classifier on the way: (N, 768, 17, 17) -> (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = normed_conv(in_channels, 128, kernel_size=1)
        self.conv1 = normed_conv(128, 768, kernel_size=5, padding=0)
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Any:
        x = self.conv0(avg_pool2d(x, 5, stride=3))  # (N, 128, 5, 5)
        return self.fc(self.pool(self.conv1(x)).flatten(1))


#: What makes a convolution, a module of each kind, and the head.
_BLOCKS: tuple[Callable[..., nn.Module], ...] = (
    normed_conv,
    lambda in_channels, pool_features: Mixed(in_channels, _module_a(pool_features)),
    lambda in_channels: Mixed(in_channels, _MODULE_B),
    lambda in_channels, channels_7x7: Mixed(in_channels, _module_c(channels_7x7)),
    lambda in_channels: Mixed(in_channels, _MODULE_D),
    lambda in_channels: Mixed(in_channels, _MODULE_E),
    InceptionHead,
)


class InceptionV3(nn.Module):
    """Inception v3, (N, 3, 299, 299) -> (N, num_classes); in training with a head an InceptionOutputs.

    aux_logits       whether there is an auxiliary head
    transform_input  as in GoogLeNet
    init_weights     None, True: as torchvision (normal, deviation 0.1; in the head 0.01 and 0.001); False: each layer's
                     default
    inception_blocks  makers of a convolution, of modules A to E and of the head, in place of the paper's
    dropout          before the classifier
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        inception_blocks: Sequence[Callable[..., nn.Module]] | None = None,
        init_weights: bool | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        at_least("InceptionV3", "num_classes", num_classes, 1)
        if inception_blocks is not None and len(inception_blocks) != len(_BLOCKS):
            raise ArgumentError(
                f"InceptionV3: inception_blocks are {len(inception_blocks)}; they must be {len(_BLOCKS)}, makers of a "
                "convolution, of modules A to E and of the auxiliary head"
            )
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        with nn.init.postponed():
            conv, *modules, head = inception_blocks or _BLOCKS
            make = dict(zip("ABCDE", modules, strict=True))
            self.Conv2d_1a_3x3 = conv(3, 32, kernel_size=3, stride=2, padding=0)  # (N, 32, 149, 149)
            self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3, padding=0)
            self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
            self.maxpool1 = nn.MaxPool2d(3, stride=2)  # (N, 64, 73, 73)
            self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
            self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3, padding=0)
            self.maxpool2 = nn.MaxPool2d(3, stride=2)  # (N, 192, 35, 35)
            for name, (kind, channels, settings) in _MODULES.items():
                if name == "Mixed_7a":
                    self.AuxLogits = head(channels, num_classes) if aux_logits else None
                setattr(self, name, make[kind](channels, **settings))
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.dropout = nn.Dropout(dropout)
            self.fc = nn.Linear(2048, num_classes)
        initialise(self, init_weights, _usual)

    def forward(self, x: Tensor) -> Any:
        if self.transform_input:
            x = to_symmetric_range(x)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.maxpool2(x)
        aux = None
        for name in _MODULES:
            x = self._modules[name](x)  # type: ignore[misc]
            if name == "Mixed_6e" and self.training and self.AuxLogits is not None:
                aux = self.AuxLogits(x)
        z = self.fc(self.dropout(self.avgpool(x)).flatten(1))
        return InceptionOutputs(z, aux) if self.training and self.aux_logits else z


_STDS = {"AuxLogits.conv1.conv": 0.01, "AuxLogits.fc": 0.001}


def _usual(name: str, layer: Any) -> bool:
    if not isinstance(layer, (nn.Conv2d, nn.Linear)):
        return False
    if layer.bias is not None:
        layer.reset_parameters()
    nn.init.normal_(layer.weight, 0.0, _STDS.get(name, 0.1))  # torchvision cuts off at 2, 20 deviations away
    return True


inception_v3 = builder(
    "inception_v3", InceptionV3, "Inception v3, (N, 3, 299, 299) -> (N, 1000); Szegedy et al., 2015."
)
