"""RECIPES: how each model is trained on each data set. All hyper-parameters of `tensorgrad train` stand in this table.

LeNet-5's were chosen on training images only, by cross-validation on the digits and on a validation split of the other
sets; those of small_cnn, and of the name 'short', were set by hand before the first run. No test image had a part in any.
Those of the name 'paper' are a paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tensorgrad.errors import ArgumentError


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    model, data: what is trained on what. model_arguments: for the function in tensorgrad.models, layers by their names.
    name: which of several recipes for the two it is.
    mean, std: what Normalize takes off and divides by: those of the training pixels in [0, 1], with MNIST's wider border;
    a number, or one for each channel.
    loss: 'cross entropy', with label_smoothing, or 'distances', models.LeNet5Loss.
    affine: arguments of transforms.RandomAffine, drawn anew for every image and epoch; flip: mirror half of the images;
    crop: widen images by so many zeros (of the normalised image: its mean) on each side, and cut out their old size.
    optimizer, optimizer_arguments: 'SGD', 'Adam' or 'AdamW' of tensorgrad.optim, its settings; lr is the highest rate.
    warmup: share of the steps in which the rate rises to lr.
    schedule: after that 'cosine' is half a cosine to zero; 'steps' divides the rate by ten at each of `milestones`, which
    are shares of all steps.
    validation: training images that are held out, drawn by numpy.random.default_rng(0), for every seed the same ones.
    images: train on so many of the other training images only, the first of that draw; None for all of them.
    precision: 'float32', or 'bfloat16' or 'float16' for mixed precision: see tensorgrad.autocast.
    keep: 'last' takes the model of the last epoch, 'best' the one with the fewest errors on the held-out images.
    """

    model: str
    data: str
    epochs: int
    batch_size: int
    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    optimizer: Literal["SGD", "Adam", "AdamW"]
    optimizer_arguments: Mapping[str, Any]
    warmup: float
    validation: int
    keep: Literal["last", "best"]
    loss: Literal["cross entropy", "distances"] = "cross entropy"
    label_smoothing: float = 0.0
    affine: Mapping[str, Any] | None = None
    flip: bool = False
    model_arguments: Mapping[str, Any] = field(default_factory=dict)
    name: str = "standard"
    crop: int = 0
    images: int | None = None
    schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[float, ...] = ()
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @property
    def changes_images(self) -> bool:
        """Whether the training images are changed at random."""
        return self.affine is not None or self.flip or self.crop > 0


RELU_AND_MAXIMA = {"activation": "ReLU", "pooling": "MaxPool2d"}

LENET_DIGITS = Recipe(
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
)

LENET_MNIST = Recipe(
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
)

LENET_FASHION = replace(LENET_MNIST, data="fashion-mnist", mean=0.2190, std=0.3318, affine=None)

# LeCun et al., 1998: paper at -0.1, ink at 1.175, 20 passes, the loss of equation 9, and distortions, with which the paper
# has 0.8 % errors; its own optimiser, a stochastic diagonal Levenberg-Marquardt method, is not here
LENET_1998 = replace(
    LENET_MNIST,
    model="lenet5_original",
    model_arguments={},
    mean=0.1 / 1.275,
    std=1 / 1.275,
    loss="distances",
    epochs=20,
)

SMALL_MNIST = replace(
    LENET_MNIST,
    model="small_cnn",
    model_arguments={},
    epochs=20,
    affine={"degrees": 10, "translate": (0.08, 0.08), "scale": (0.9, 1.1), "shear": 8},
    optimizer_arguments={"lr": 4e-3, "weight_decay": 0.02},
    warmup=0.1,
)

SMALL_FASHION = replace(
    SMALL_MNIST,
    data="fashion-mnist",
    mean=0.2190,
    std=0.3318,
    affine=None,
    flip=True,
    crop=2,
)

# He et al., 2015, section 4.2: 45,000 of the training images, batches of 128, 64,000 steps (182 epochs of 351), the rate
# 0.1, a tenth of it from step 32,000 and again from 48,000; crops of pictures widened by 4, mirrored; the paper takes off
# each pixel's own mean, these recipes each channel's.
CIFAR_PAPER = Recipe(
    model="resnet20",
    data="cifar10",
    name="paper",
    epochs=182,
    batch_size=128,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    flip=True,
    crop=4,
    optimizer="SGD",
    optimizer_arguments={"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    warmup=0.0,
    schedule="steps",
    milestones=(0.5, 0.75),
    validation=5000,
    keep="last",
)

# sized for two cores: ResNet-20 in some ten minutes
CIFAR_SHORT = replace(
    CIFAR_PAPER,
    name="short",
    epochs=8,
    optimizer_arguments={"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
    warmup=0.15,
    schedule="cosine",
    milestones=(),
)

CIFAR_NETWORKS = ("resnet20", "resnet32", "resnet44", "resnet56", "plain20", "plain32", "plain44", "plain56")

_TABLE = (
    LENET_DIGITS,
    LENET_MNIST,
    LENET_FASHION,
    LENET_1998,
    SMALL_MNIST,
    SMALL_FASHION,
    *(
        replace(row, model=model, data=data)
        for model in CIFAR_NETWORKS
        for data in ("cifar10", "cifar10-jpeg")
        for row in (CIFAR_PAPER, CIFAR_SHORT)
    ),
    # the paper's 110 layers begin with a low rate, until they learn at all: 0.01 for some 400 steps, here a straight line
    *(replace(CIFAR_PAPER, model="resnet110", data=data, warmup=400 / 64_000) for data in ("cifar10", "cifar10-jpeg")),
)

RECIPES = {(recipe.model, recipe.data, recipe.name): recipe for recipe in _TABLE}
MODELS = tuple(dict.fromkeys(recipe.model for recipe in _TABLE))
DATASETS = tuple(dict.fromkeys(recipe.data for recipe in _TABLE))
NAMES = tuple(dict.fromkeys(recipe.name for recipe in _TABLE))


def find_recipe(model: str, data: str | None = None, name: str | None = None) -> Recipe:
    """The row for this model, on this data, of this name; the first of several where data or name is None.

    Raises ArgumentError, naming those that there are for the model, or the models where there is none for it.

    >>> find_recipe("lenet5", "mnist").keep
    'best'
    >>> find_recipe("resnet20", "cifar10", "paper").milestones
    (0.5, 0.75)
    """
    fitting = [row for row in _TABLE if row.model == model]
    for row in fitting:
        if data in (None, row.data) and name in (None, row.name):
            return row
    known = ", ".join(f"{row.model} on {row.data} ({row.name})" for row in fitting) or f"some for {', '.join(MODELS)}"
    on_data = "" if data is None else f" on {data!r}"
    of_name = "" if name is None else f" of the name {name!r}"
    raise ArgumentError(f"there is no recipe for {model!r}{on_data}{of_name}; there are {known}")
