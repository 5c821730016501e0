"""Contestants of the family of networks: building one, and one picture through it, here and in torchvision."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from benchmarks.steps import Step

#: Networks that torchvision has too.
NAMES = (
    "alexnet", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "squeezenet1_0", "squeezenet1_1", "googlenet", "inception_v3", "mobilenet_v2",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
    "densenet121", "densenet161", "densenet169", "densenet201",
)  # fmt: skip


def side_of(name: str) -> int:
    """Pixels of a picture's side."""
    return 299 if name == "inception_v3" else 224


def torchvision_models() -> Any:
    """torchvision.models, even where its compiled part does not fit the PyTorch beside it.

    Then the two box operations that its import asks for are declared, without a body: no network here calls them.
    """
    import torch

    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    models = importlib.import_module("torchvision.models")
    models.kept_declarations = library  # the declarations live as long as it does
    return models


def build_ours(name: str) -> Step:
    """The network with all its numbers drawn, in tensorgrad."""
    from tensorgrad import models

    return lambda: models.get_model(name)


def build_torch(name: str) -> Step:
    """The same in torchvision."""
    models = torchvision_models()
    warnings.simplefilter("ignore")  # that a default will change
    return lambda: models.get_model(name)


def forward_ours(name: str, pictures: int = 1) -> Step:
    """The scores of some pictures in evaluation; of none, the network stands there and nothing is computed."""
    import tensorgrad

    model = build_ours(name)().eval()
    if pictures == 0:
        return lambda: None
    x = tensorgrad.zeros(pictures, 3, side_of(name), side_of(name))

    def forward() -> None:
        with tensorgrad.no_grad():
            model(x)

    return forward


def forward_torch(name: str, pictures: int = 1) -> Step:
    """The same in torchvision."""
    import torch

    model = build_torch(name)().eval()
    if pictures == 0:
        return lambda: None
    x = torch.zeros(pictures, 3, side_of(name), side_of(name))

    def forward() -> None:
        with torch.no_grad():
            model(x)

    return forward
