"""The three parts of a data set that a recipe trains, validates and tests on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.data.dataset import ImageDataset
from tensorgrad.data.digits import Digits
from tensorgrad.data.mnist import MNIST, FashionMNIST
from tensorgrad.data.transforms import (
    Compose,
    Normalize,
    Pad,
    RandomAffine,
    RandomHorizontalFlip,
    Resize,
    ToDtype,
)
from tensorgrad.errors import ArgumentError
from tensorgrad.train.recipes import Recipe

SIZE = 32  # LeNet-5 looks at 32x32 pixels


@dataclasses.dataclass(frozen=True)
class Splits:
    """Training images (augmented), held-out training images (None without) and test images, and the classes' names."""

    train: ImageDataset
    validation: ImageDataset | None
    test: ImageDataset
    classes: tuple[str, ...]


def load_splits(recipe: Recipe, folder: str | Path | None = None) -> Splits:
    """Load a recipe's data. MNIST and Fashion-MNIST are read from `folder`, and downloaded where they are not there."""
    train, test = _load(recipe.data, folder)
    if not 0 <= recipe.validation < len(train):
        raise ArgumentError(f"validation={recipe.validation}: {recipe.data} has {len(train)} training images in all")
    plain, augmented = _transforms(recipe)
    order = numpy.random.default_rng(0).permutation(len(train))
    held_out, rest = numpy.sort(order[: recipe.validation]), numpy.sort(order[recipe.validation :])
    return Splits(
        train=_part(train, rest, augmented),
        validation=_part(train, held_out, plain) if recipe.validation else None,
        test=_part(test, numpy.arange(len(test)), plain),
        classes=tuple(train.classes),
    )


def _load(data: str, folder: str | Path | None) -> tuple[ImageDataset, ImageDataset]:
    if data == "digits":
        return Digits(train=True), Digits(train=False)
    kind = {"mnist": MNIST, "fashion-mnist": FashionMNIST}[data]
    return kind(folder, train=True, download=True), kind(folder, train=False, download=True)


def _part(dataset: ImageDataset, indices: numpy.ndarray, transform: Any) -> ImageDataset:
    return ImageDataset(dataset.data[indices], dataset.targets[indices], transform)


def _transforms(recipe: Recipe) -> tuple[Compose, Compose]:
    """What is done to an image before the network sees it: without and with random changes."""
    if recipe.data == "digits":
        prepare = [ToDtype(numpy.float32, scale=16), Resize(SIZE)]  # (N, 1, 8, 8) -> (N, 1, 32, 32)
    else:
        prepare = [Pad((SIZE - 28) // 2), ToDtype(numpy.float32, scale=True)]  # (N, 1, 28, 28) -> (N, 1, 32, 32)
    change: list[Any] = []
    if recipe.affine is not None:
        change.append(RandomAffine(**recipe.affine, interpolation="bilinear"))
    if recipe.flip:
        change.append(RandomHorizontalFlip())
    normalize = Normalize(recipe.mean, recipe.std)
    return Compose([*prepare, normalize]), Compose([*prepare, *change, normalize])
