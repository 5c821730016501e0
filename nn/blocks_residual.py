"""Residual blocks: z = relu(F(x) + x). He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, and
"Identity Mappings in Deep Residual Networks", 2016."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.nn.activation_layers import ReLU
from tensorgrad.nn.arguments import at_least, one_of
from tensorgrad.nn.convolution import Conv2d
from tensorgrad.nn.linear import Identity
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import BatchNorm2d
from tensorgrad.nn.padding import pad
from tensorgrad.tensor import Tensor

MakeNorm = Callable[[int], Module]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> Conv2d:
    """A 3x3 convolution that keeps the size (for stride 1), without bias: batch norm follows."""
    return Conv2d(in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    """A 1x1 convolution without bias."""
    return Conv2d(in_channels, out_channels, 1, stride, bias=False)


class ZeroPadShortcut(Module):
    """Option A, a shortcut without parameters: every stride-th pixel, and channels of zeros around x's own.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)). He et al., 2015, section 3.3; the
    paper leaves open where the zeros go, here half of them go to either side.

    >>> import tensorgrad
    >>> ZeroPadShortcut(16, 32, stride=2)(tensorgrad.ones(1, 16, 8, 8)).shape
    (1, 32, 4, 4)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.in_channels = at_least("ZeroPadShortcut", "in_channels", in_channels, 0)
        self.out_channels = at_least("ZeroPadShortcut", "out_channels", out_channels, in_channels)
        self.stride = at_least("ZeroPadShortcut", "stride", stride, 1)

    def forward(self, input: Tensor) -> Tensor:
        x = input[:, :, :: self.stride, :: self.stride] if self.stride > 1 else input
        extra = self.out_channels - self.in_channels
        before = extra // 2
        return pad(x, (0, 0, 0, 0, before, extra - before)) if extra else x

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


class _Residual(Module):
    """What the blocks share: F's layers are a subclass's, the sum and the last activation are here."""

    expansion = 1  # channels out = expansion * planes
    downsample: Module | None

    def branch(self, x: Tensor) -> Tensor:
        """F(x)"""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Any:
        z = self.branch(input)
        if self.residual:
            z = z + (input if self.downsample is None else self.downsample(input))
        return self.relu(z)


class BasicBlock(_Residual):
    """z = relu(F(x) + x), F two 3x3 convolutions, each followed by batch norm.

    inplanes, planes  channels of the input, and of the output
    stride            of the first convolution
    downsample        what brings x to the shape of F(x) where they differ; x itself by default
    norm_layer        makes a norm from its channels; BatchNorm2d by default
    residual          False leaves `+ x` out: the block of a plain net
    groups, base_width, dilation  as in Bottleneck; only 1, 64, 1 are known here

    >>> import tensorgrad
    >>> BasicBlock(64, 64)(tensorgrad.ones(1, 64, 8, 8)).shape
    (1, 64, 8, 8)
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: MakeNorm | None = None,
        *,
        residual: bool = True,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ArgumentError(
                f"BasicBlock: groups is {groups}, base_width {base_width}; it takes only 1 and 64, use Bottleneck"
            )
        if dilation != 1:
            raise NotImplementedError(f"BasicBlock: dilation is {dilation}; it takes only 1, use Bottleneck")
        norm = norm_layer or BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = ReLU()
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride
        self.residual = residual

    def branch(self, x: Tensor) -> Any:
        z = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(z))


class Bottleneck(_Residual):
    """z = relu(F(x) + x), F a 1x1 convolution to fewer channels, a 3x3 one, and a 1x1 one to 4 planes.

    inplanes, planes    channels of the input; the output has 4 planes
    groups, base_width  the 3x3 convolution has planes base_width / 64 channels a group, times groups (ResNeXt, Wide
                        ResNet)
    stride_in           '3x3' puts the stride in the middle (v1.5), '1x1' in the first convolution (v1, the paper)
    the others          as in BasicBlock

    >>> import tensorgrad
    >>> Bottleneck(256, 64)(tensorgrad.ones(1, 256, 8, 8)).shape
    (1, 256, 8, 8)
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: MakeNorm | None = None,
        *,
        residual: bool = True,
        stride_in: str = "3x3",
    ) -> None:
        super().__init__()
        one_of("Bottleneck", "stride_in", stride_in, ("3x3", "1x1"))
        norm = norm_layer or BatchNorm2d
        width = int(planes * base_width / 64) * groups
        first, middle = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = conv1x1(inplanes, width, first)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width, middle, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = ReLU()
        self.downsample = downsample
        self.stride = stride
        self.residual = residual

    def branch(self, x: Tensor) -> Any:
        z = self.relu(self.bn1(self.conv1(x)))
        z = self.relu(self.bn2(self.conv2(z)))
        return self.bn3(self.conv3(z))


class _PreActivated(Module):
    """z = F(a) + x, a = relu(norm(x)): nothing stands between one block's sum and the next one's.

    Where the shape changes, the shortcut takes a. A block that follows the stem gets its x activated already
    (preactivated=True): it has no norm of its own, and its shortcut takes x.
    """

    expansion = 1
    downsample: Module | None

    def branch(self, a: Tensor) -> Tensor:
        """F(a)"""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Any:
        a = input if self.preactivated else self.relu(self.bn1(input))
        z = self.branch(a)
        if not self.residual:
            return z
        return z + (input if self.downsample is None else self.downsample(a))


class PreActBasicBlock(_PreActivated):
    """z = F(relu(norm(x))) + x, F two 3x3 convolutions. He et al., 2016, figure 4 (e).

    preactivated  x comes from an activation already (the first block)
    the others    as in BasicBlock

    >>> import tensorgrad
    >>> PreActBasicBlock(64, 64)(tensorgrad.ones(1, 64, 8, 8)).shape
    (1, 64, 8, 8)
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: MakeNorm | None = None,
        *,
        residual: bool = True,
        preactivated: bool = False,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64 or dilation != 1:
            raise ArgumentError(
                f"PreActBasicBlock: groups is {groups}, base_width {base_width}, dilation {dilation}; it takes only 1, "
                "64 and 1, use PreActBottleneck"
            )
        norm = norm_layer or BatchNorm2d
        self.bn1 = Identity() if preactivated else norm(inplanes)
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn2 = norm(planes)
        self.conv2 = conv3x3(planes, planes)
        self.relu = ReLU()
        self.downsample = downsample
        self.preactivated = preactivated
        self.residual = residual

    def branch(self, a: Tensor) -> Any:
        return self.conv2(self.relu(self.bn2(self.conv1(a))))


class PreActBottleneck(_PreActivated):
    """z = F(relu(norm(x))) + x, F as in Bottleneck, each convolution after a norm and an activation. He et al., 2016.

    preactivated  as in PreActBasicBlock
    the others    as in Bottleneck

    >>> import tensorgrad
    >>> PreActBottleneck(256, 64)(tensorgrad.ones(1, 256, 8, 8)).shape
    (1, 256, 8, 8)
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: MakeNorm | None = None,
        *,
        residual: bool = True,
        preactivated: bool = False,
        stride_in: str = "3x3",
    ) -> None:
        super().__init__()
        one_of("PreActBottleneck", "stride_in", stride_in, ("3x3", "1x1"))
        norm = norm_layer or BatchNorm2d
        width = int(planes * base_width / 64) * groups
        first, middle = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.bn1 = Identity() if preactivated else norm(inplanes)
        self.conv1 = conv1x1(inplanes, width, first)
        self.bn2 = norm(width)
        self.conv2 = conv3x3(width, width, middle, groups, dilation)
        self.bn3 = norm(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.relu = ReLU()
        self.downsample = downsample
        self.preactivated = preactivated
        self.residual = residual

    def branch(self, a: Tensor) -> Any:
        z = self.conv2(self.relu(self.bn2(self.conv1(a))))
        return self.conv3(self.relu(self.bn3(z)))
