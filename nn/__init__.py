"""Layers and networks, under PyTorch's names: modules that hold parameters and call the operations.

>>> import tensorgrad, tensorgrad.nn as nn
>>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 14 * 14, 10))
>>> net(tensorgrad.zeros(8, 1, 32, 32)).shape
(8, 10)
"""

from tensorgrad.nn import activation_layers, blocks, functional, init, utils
from tensorgrad.nn.activation_layers import *
from tensorgrad.nn.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
)
from tensorgrad.nn.attention import MultiheadAttention
from tensorgrad.nn.containers import ModuleDict, ModuleList, Sequential
from tensorgrad.nn.convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tensorgrad.nn.difference_loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineSimilarity,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    PairwiseDistance,
    SmoothL1Loss,
)
from tensorgrad.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from tensorgrad.nn.embedding import Embedding
from tensorgrad.nn.flatten import Flatten, Unflatten
from tensorgrad.nn.folding import Fold, Unfold
from tensorgrad.nn.group_normalization import GroupNorm, LayerNorm, RMSNorm
from tensorgrad.nn.instance_normalization import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from tensorgrad.nn.linear import Identity, Linear
from tensorgrad.nn.local_response import LocalResponseNorm
from tensorgrad.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from tensorgrad.nn.margin_loss import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    MultiLabelMarginLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    SoftMarginLoss,
    TripletMarginLoss,
    TripletMarginWithDistanceLoss,
)
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm
from tensorgrad.nn.padding import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from tensorgrad.nn.parameter import Parameter
from tensorgrad.nn.parameter_containers import ParameterDict, ParameterList
from tensorgrad.nn.pooling import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    DistancePool2d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    Maxout,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    SumPool2d,
)
from tensorgrad.nn.resizing import (
    ChannelShuffle,
    PixelShuffle,
    PixelUnshuffle,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
)
from tensorgrad.nn.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "DistancePool2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "FeatureAlphaDropout",
    "Flatten",
    "Fold",
    "GroupNorm",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Maxout",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "RMSNorm",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Sequential",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "SumPool2d",
    "SyncBatchNorm",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "Unflatten",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "blocks",
    "functional",
    "init",
    "utils",
]
__all__ += activation_layers.__all__
