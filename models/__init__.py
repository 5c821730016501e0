"""Networks from papers, one file a paper.

>>> import tensorgrad.models as models
>>> model = models.get_model("resnet20")
>>> "resnet50" in models.list_models()
True
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.models.alexnet import AlexNet, PaperAlexNet, alexnet, alexnet_paper
from tensorgrad.models.build import BUILDERS
from tensorgrad.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from tensorgrad.models.evaluation import (
    Ensemble,
    accuracy,
    averaged_softmax,
    center_crop,
    evaluate,
    five_crop,
    multi_crop,
    over_crops,
    ten_crop,
)
from tensorgrad.models.gcn import GCN, GraphConvolution, gcn, normalized_adjacency
from tensorgrad.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet, googlenet_paper
from tensorgrad.models.inception_v3 import InceptionOutputs, InceptionV3, inception_v3
from tensorgrad.models.lenet import (
    RBF,
    LeNet5,
    LeNet5Loss,
    LeNet5Original,
    ScaledTanh,
    Subsampling,
    TableConv2d,
    digit_prototypes,
    lenet5,
    lenet5_original,
)
from tensorgrad.models.mobilenet import MobileNetV2, mobilenet_v2
from tensorgrad.models.perceptron import Adaline, Perceptron, adaline, perceptron
from tensorgrad.models.resnet import (
    ResNet,
    plain18,
    plain34,
    preact_resnet18,
    preact_resnet34,
    preact_resnet50,
    preact_resnet101,
    preact_resnet152,
    resnet18,
    resnet34,
    resnet50,
    resnet50_v1,
    resnet101,
    resnet101_v1,
    resnet152,
    resnet152_v1,
)
from tensorgrad.models.resnet_cifar import (
    CifarResNet,
    plain20,
    plain32,
    plain44,
    plain56,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
    resnet1202,
)
from tensorgrad.models.resnext import resnext50_32x4d, resnext101_32x8d, resnext101_64x4d
from tensorgrad.models.small_cnn import SmallCNN, small_cnn
from tensorgrad.models.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from tensorgrad.models.tcn import TCN, CausalConv1d, TemporalBlock, tcn
from tensorgrad.models.transfer import FeatureExtractor, features, freeze, replace_head, unfreeze
from tensorgrad.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn
from tensorgrad.models.weights import fetch, find_weights, fitted, load_weights, renamed
from tensorgrad.models.wide_resnet import wide_resnet50_2, wide_resnet101_2
from tensorgrad.models.zfnet import ZFNet, zfnet
from tensorgrad.nn.module import Module


def list_models(*, include: str | Iterable[str] = (), exclude: str | Iterable[str] = ()) -> list[str]:
    """The names that `get_model` knows, in order.

    include, exclude  patterns as of file names ('resnet*'), one or several: only the names that fit one of `include`, if
                      there are any, and none that fits one of `exclude`

    >>> list_models(include="vgg1*", exclude=["*_bn", "vgg19"])
    ['vgg11', 'vgg13', 'vgg16']
    """
    wanted, unwanted = (
        (patterns,) if isinstance(patterns, str) else tuple(patterns) for patterns in (include, exclude)
    )
    found = set(BUILDERS)
    if wanted:
        found = {name for name in found if any(fnmatchcase(name, pattern) for pattern in wanted)}
    return sorted(name for name in found if not any(fnmatchcase(name, pattern) for pattern in unwanted))


def get_model(name: str, **settings: Any) -> Module:
    """The network of that name, in small or capital letters; the settings are its builder's.

    Raises ArgumentError for a name that is not in `list_models()`.
    """
    known = name.lower() if isinstance(name, str) else name
    if known not in BUILDERS:
        raise ArgumentError(f"get_model: got {name!r}; there are {', '.join(list_models())}")
    model: Module = BUILDERS[known](**settings)
    return model


__all__ = [
    "BUILDERS",
    "GCN",
    "RBF",
    "TCN",
    "VGG",
    "Adaline",
    "AlexNet",
    "CausalConv1d",
    "CifarResNet",
    "DenseNet",
    "Ensemble",
    "FeatureExtractor",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "GraphConvolution",
    "InceptionOutputs",
    "InceptionV3",
    "LeNet5",
    "LeNet5Loss",
    "LeNet5Original",
    "MobileNetV2",
    "PaperAlexNet",
    "Perceptron",
    "ResNet",
    "ScaledTanh",
    "SmallCNN",
    "SqueezeNet",
    "Subsampling",
    "TableConv2d",
    "TemporalBlock",
    "ZFNet",
    "accuracy",
    "adaline",
    "alexnet",
    "alexnet_paper",
    "averaged_softmax",
    "center_crop",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "digit_prototypes",
    "evaluate",
    "features",
    "fetch",
    "find_weights",
    "fitted",
    "five_crop",
    "freeze",
    "gcn",
    "get_model",
    "googlenet",
    "googlenet_paper",
    "inception_v3",
    "lenet5",
    "lenet5_original",
    "list_models",
    "load_weights",
    "mobilenet_v2",
    "multi_crop",
    "normalized_adjacency",
    "over_crops",
    "perceptron",
    "plain18",
    "plain20",
    "plain32",
    "plain34",
    "plain44",
    "plain56",
    "preact_resnet18",
    "preact_resnet34",
    "preact_resnet50",
    "preact_resnet101",
    "preact_resnet152",
    "renamed",
    "replace_head",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet50_v1",
    "resnet56",
    "resnet101",
    "resnet101_v1",
    "resnet110",
    "resnet152",
    "resnet152_v1",
    "resnet1202",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "small_cnn",
    "squeezenet1_0",
    "squeezenet1_1",
    "tcn",
    "ten_crop",
    "unfreeze",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "zfnet",
]
