"""ResNet: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385).

    stage    output (224x224 in)    18            34            50            101            152
    conv1    64 x 112 x 112         one 7x7 convolution of stride 2, then a 3x3 max pooling of stride 2
    layer1   64 x 56 x 56           2 basic       3 basic       3 bottle      3 bottle       3 bottle    (256 channels)
    layer2   128 x 28 x 28          2             4             4             4              8           (512)
    layer3   256 x 14 x 14          2             6             6             23             36          (1024)
    layer4   512 x 7 x 7            2             3             3             3              3           (2048)
    fc       1000                   global average, one linear layer

version "1.5", the usual one, halves the size in a bottleneck's 3x3 convolution; "1", the paper's, in its first 1x1.
shortcut: where shapes differ, "A" pads with zeros, "B" projects; "C" projects everywhere. preactivation: He et al.,
"Identity Mappings in Deep Residual Networks", 2016 (arXiv:1603.05027). residual=False: the plain nets of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder, he_everywhere, he_normal, initialise
from tensorgrad.nn.arguments import at_least, one_of
from tensorgrad.nn.blocks import (
    BasicBlock,
    Bottleneck,
    PreActBasicBlock,
    PreActBottleneck,
    ZeroPadShortcut,
    conv1x1,
)
from tensorgrad.tensor import Tensor

Block = type[BasicBlock] | type[Bottleneck] | type[PreActBasicBlock] | type[PreActBottleneck]
_PREACTIVATED: dict[Any, Any] = {BasicBlock: PreActBasicBlock, Bottleneck: PreActBottleneck}


class ResNet(nn.Module):
    """A residual network over pictures, (N, 3, H, W) -> (N, num_classes).

    block, layers        the kind of block, and how many of them each stage has
    zero_init_residual   start each block as the identity: the last norm's weight 0; the last convolution's, where no norm
                         follows it (pre-activation)
    groups, width_per_group  see nn.blocks.Bottleneck
    replace_stride_with_dilation  for stages 2, 3, 4: keep the size, spread the 3x3 convolutions instead
    norm_layer           makes a norm from its channels; BatchNorm2d by default
    version, shortcut, preactivation, residual  see the top of this file
    init_weights         None: as torchvision (He's rule by fan_out; the linear layer by its default); 'paper': He's
                         rule by fan_in everywhere; False: each layer's default

    >>> import tensorgrad
    >>> ResNet(BasicBlock, (1, 1, 1, 1), num_classes=5)(tensorgrad.zeros(2, 3, 32, 32)).shape
    (2, 5)
    """

    widths: Sequence[int] = (64, 128, 256, 512)

    def __init__(
        self,
        block: Block,
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Callable[[int], nn.Module] | None = None,
        *,
        version: str = "1.5",
        shortcut: str = "B",
        preactivation: bool = False,
        residual: bool = True,
        in_channels: int = 3,
        init_weights: bool | str | None = None,
    ) -> None:
        super().__init__()
        at_least("ResNet", "num_classes", num_classes, 1)
        self.block: Any = _PREACTIVATED.get(block, block) if preactivation else block
        self.preactivation = self.block in _PREACTIVATED.values()
        self.shortcut = one_of("ResNet", "shortcut", shortcut, ("A", "B", "C"))
        self.version = one_of("ResNet", "version", version, ("1", "1.5"))
        self.residual = residual
        self.norm_layer: Callable[[int], nn.Module] = norm_layer or nn.BatchNorm2d
        self.groups = groups
        self.base_width = width_per_group
        self.inplanes = self.widths[0]
        self.dilation = 1
        spread = (False,) * (len(layers) - 1) if replace_stride_with_dilation is None else replace_stride_with_dilation
        if len(layers) > len(self.widths) or len(spread) != len(layers) - 1:
            raise ArgumentError(
                f"{type(self).__name__}: layers is {layers}, replace_stride_with_dilation "
                f"{replace_stride_with_dilation}; there are at most {len(self.widths)} stages, and one answer for each "
                "but the first"
            )
        if zero_init_residual and not residual:
            raise ArgumentError(
                f"{type(self).__name__}: zero_init_residual is True and residual is False; a plain block that starts at 0 "
                "hands nothing on, leave one of the two out"
            )
        with nn.init.postponed():
            self._make_stem(in_channels)
            for stage, (planes, count) in enumerate(zip(self.widths, layers)):
                stretch = stage > 0 and spread[stage - 1]
                setattr(self, f"layer{stage + 1}", self._make_stage(planes, count, 1 if stage == 0 else 2, stretch))
            self.stages = len(layers)
            if self.preactivation:
                self.bn_last = self.norm_layer(self.inplanes)
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(self.inplanes, num_classes)
        initialise(self, init_weights, he_normal("fan_out"), he_everywhere)
        if zero_init_residual:
            self._start_as_identities()

    def _make_stem(self, in_channels: int) -> None:
        self.conv1 = nn.Conv2d(in_channels, self.inplanes, 7, stride=2, padding=3, bias=False)  # (N, 64, 112, 112)
        self.bn1 = self.norm_layer(self.inplanes)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)  # (N, 64, 56, 56)

    def _make_stage(self, planes: int, count: int, stride: int, stretch: bool) -> nn.Sequential:
        """`count` blocks, of which the first changes the shape."""
        before = self.dilation
        if stretch:
            self.dilation *= stride
            stride = 1
        settings: dict[str, Any] = {"groups": self.groups, "base_width": self.base_width}
        settings |= {"norm_layer": self.norm_layer, "residual": self.residual}
        if self.block.expansion > 1:
            settings["stride_in"] = "1x1" if self.version == "1" else "3x3"
        blocks: list[nn.Module] = []
        for number in range(count):
            step = stride if number == 0 else 1
            if self.preactivation:
                settings["preactivated"] = self.inplanes == self.widths[0] and planes == self.widths[0] and number == 0
            blocks.append(
                self.block(
                    self.inplanes,
                    planes,
                    step,
                    self._make_shortcut(planes, step),
                    dilation=before if number == 0 else self.dilation,
                    **settings,
                )
            )
            self.inplanes = planes * self.block.expansion
        return nn.Sequential(*blocks)

    def _make_shortcut(self, planes: int, stride: int) -> nn.Module | None:
        """What brings x to the shape of F(x); None for x itself."""
        channels = planes * self.block.expansion
        same = stride == 1 and self.inplanes == channels
        if not self.residual or (same and self.shortcut != "C"):
            return None
        if self.shortcut == "A":
            return ZeroPadShortcut(self.inplanes, channels, stride)
        projection = conv1x1(self.inplanes, channels, stride)
        if self.preactivation:  # nothing stands between the sums
            return projection
        return nn.Sequential(projection, self.norm_layer(channels))

    def _start_as_identities(self) -> None:
        lasts: dict[Any, str] = {
            BasicBlock: "bn2",
            Bottleneck: "bn3",
            PreActBasicBlock: "conv2",
            PreActBottleneck: "conv3",
        }
        for module in self.modules():
            if type(module) in lasts:
                weight = getattr(getattr(module, lasts[type(module)]), "weight", None)  # a norm may have none
                if weight is not None:
                    nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self._modules[f"layer{stage + 1}"](x)  # type: ignore[misc]
        if self.preactivation:
            x = self.relu(self.bn_last(x))
        return self.fc(self.avgpool(x).flatten(1))  # (N, C, h, w) -> (N, C) -> (N, num_classes)


_LAYERS: dict[int, tuple[Block, tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def _resnet(name: str, depth: int, kind: str = "", **row: Any) -> Callable[..., Any]:
    block, layers = _LAYERS[depth]
    summary = f"ResNet-{depth}{kind}, (N, 3, 224, 224) -> (N, 1000); He et al., 2015."
    return builder(name, ResNet, summary, block=block, layers=layers, **row)


resnet18 = _resnet("resnet18", 18)
resnet34 = _resnet("resnet34", 34)
resnet50 = _resnet("resnet50", 50)
resnet101 = _resnet("resnet101", 101)
resnet152 = _resnet("resnet152", 152)

# with the stride in the first 1x1 convolution, as in the paper
resnet50_v1 = _resnet("resnet50_v1", 50, " v1", version="1")
resnet101_v1 = _resnet("resnet101_v1", 101, " v1", version="1")
resnet152_v1 = _resnet("resnet152_v1", 152, " v1", version="1")

preact_resnet18 = _resnet("preact_resnet18", 18, " with pre-activation", preactivation=True)
preact_resnet34 = _resnet("preact_resnet34", 34, " with pre-activation", preactivation=True)
preact_resnet50 = _resnet("preact_resnet50", 50, " with pre-activation", preactivation=True)
preact_resnet101 = _resnet("preact_resnet101", 101, " with pre-activation", preactivation=True)
preact_resnet152 = _resnet("preact_resnet152", 152, " with pre-activation", preactivation=True)

plain18 = _resnet("plain18", 18, " without shortcuts, the plain net", residual=False)
plain34 = _resnet("plain34", 34, " without shortcuts, the plain net", residual=False)
