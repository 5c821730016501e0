"""RECIPES: how each model is trained on each data set. All hyper-parameters of `tensorgrad train` stand in this table.

They were chosen on training images only, by cross-validation on the digits and on a validation split of MNIST and
Fashion-MNIST; no test image had a part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tensorgrad.errors import ArgumentError


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    model, data: what is trained on what. model_arguments: for the function in tensorgrad.models, layers by their names.
    mean, std: what Normalize takes off and divides by: those of the training pixels in [0, 1], with MNIST's wider border.
    affine: arguments of transforms.RandomAffine, drawn anew for every image and epoch; flip: mirror half of the images.
    optimizer, optimizer_arguments: 'SGD', 'Adam' or 'AdamW' of tensorgrad.optim, its settings; lr is the highest rate.
    warmup: share of the steps in which the rate rises to lr; it then falls along half a cosine to zero.
    validation: training images that are held out, drawn by numpy.random.default_rng(0), for every seed the same ones.
    keep: 'last' takes the model of the last epoch, 'best' the one with the fewest errors on the held-out images.
    """

    model: str
    data: str
    epochs: int
    batch_size: int
    mean: float
    std: float
    optimizer: Literal["SGD", "Adam", "AdamW"]
    optimizer_arguments: Mapping[str, Any]
    warmup: float
    validation: int
    keep: Literal["last", "best"]
    label_smoothing: float = 0.0
    affine: Mapping[str, Any] | None = None
    flip: bool = False
    model_arguments: Mapping[str, Any] = field(default_factory=dict)


RELU_AND_MAXIMA = {"activation": "ReLU", "pooling": "MaxPool2d"}

_TABLE = (
    Recipe(
        model="lenet5",
        model_arguments=RELU_AND_MAXIMA,
        data="digits",
        epochs=60,
        batch_size=64,
        mean=0.3055,
        std=0.3761,
        affine={"degrees": 10, "translate": (0.1, 0.1), "scale": (0.9, 1.1), "shear": 5},
        optimizer="AdamW",
        optimizer_arguments={"lr": 3e-3, "weight_decay": 0.01},
        warmup=0.05,
        label_smoothing=0.1,
        validation=137,
        keep="last",
    ),
    Recipe(
        model="lenet5",
        model_arguments=RELU_AND_MAXIMA,
        data="mnist",
        epochs=12,
        batch_size=128,
        mean=0.1000,
        std=0.2752,
        affine={"degrees": 8, "translate": (0.06, 0.06), "scale": (0.9, 1.1), "shear": 5},
        optimizer="AdamW",
        optimizer_arguments={"lr": 3e-3, "weight_decay": 0.01},
        warmup=0.05,
        validation=5000,
        keep="best",
    ),
    Recipe(
        model="lenet5",
        model_arguments=RELU_AND_MAXIMA,
        data="fashion-mnist",
        epochs=12,
        batch_size=128,
        mean=0.2190,
        std=0.3318,
        optimizer="AdamW",
        optimizer_arguments={"lr": 3e-3, "weight_decay": 0.01},
        warmup=0.05,
        validation=5000,
        keep="best",
    ),
)

RECIPES = {(recipe.model, recipe.data): recipe for recipe in _TABLE}
MODELS = tuple(dict.fromkeys(recipe.model for recipe in _TABLE))
DATASETS = tuple(dict.fromkeys(recipe.data for recipe in _TABLE))


def find_recipe(model: str, data: str) -> Recipe:
    """The row for this model on this data; raises ArgumentError, naming those that there are.

    >>> find_recipe("lenet5", "mnist").keep
    'best'
    """
    try:
        return RECIPES[model, data]
    except KeyError:
        known = ", ".join(f"{m} on {d}" for m, d in RECIPES)
        raise ArgumentError(f"there is no recipe for {model!r} on {data!r}; there are {known}") from None
