"""Blocks from which networks are composed, so that a new member of a family is a table.

>>> import tensorgrad.nn as nn
>>> stage = nn.Sequential(nn.blocks.BasicBlock(16, 16), nn.blocks.BasicBlock(16, 16))
"""

from tensorgrad.nn.blocks_convolution import ConvNormActivation, Fire, Inception, NaiveInception
from tensorgrad.nn.blocks_residual import (
    BasicBlock,
    Bottleneck,
    PreActBasicBlock,
    PreActBottleneck,
    ZeroPadShortcut,
    conv1x1,
    conv3x3,
)

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "ConvNormActivation",
    "Fire",
    "Inception",
    "NaiveInception",
    "PreActBasicBlock",
    "PreActBottleneck",
    "ZeroPadShortcut",
    "conv1x1",
    "conv3x3",
]
