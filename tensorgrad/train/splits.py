"""The three parts of a data set that a recipe trains, validates and tests on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.data.cifar import CIFAR10
from tensorgrad.data.dataset import ImageDataset
from tensorgrad.data.digits import Digits
from tensorgrad.data.folder import ImageFolder
from tensorgrad.data.mnist import MNIST, FashionMNIST, data_folder
from tensorgrad.data.transforms import (
    Compose,
    Normalize,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    ToDtype,
)
from tensorgrad.errors import ArgumentError
from tensorgrad.train.recipes import Recipe

SIZE = 32  # all networks that have a recipe look at 32x32 pixels


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
    if recipe.images is not None and not 1 <= recipe.images <= len(train) - recipe.validation:
        raise ArgumentError(
            f"images={recipe.images}: {recipe.data} has {len(train) - recipe.validation} training images that are not held out"
        )
    plain, augmented = _transforms(recipe)
    order = numpy.random.default_rng(0).permutation(len(train))
    held_out, rest = order[: recipe.validation], order[recipe.validation :]
    held_out, rest = numpy.sort(held_out), numpy.sort(rest[: recipe.images])
    return Splits(
        train=_part(train, rest, augmented),
        validation=_part(train, held_out, plain) if recipe.validation else None,
        test=_part(test, numpy.arange(len(test)), plain),
        classes=tuple(train.classes),
    )


def _load(data: str, folder: str | Path | None) -> tuple[ImageDataset, ImageDataset]:
    if data == "digits":
        return Digits(train=True), Digits(train=False)
    if data == "cifar10-jpeg":
        root = _pictures(data_folder(folder))
        return ImageFolder(root / "train").in_memory(), ImageFolder(root / "test").in_memory()
    kind: Any = {"mnist": MNIST, "fashion-mnist": FashionMNIST, "cifar10": CIFAR10}[data]
    return kind(folder, train=True, download=True), kind(folder, train=False, download=True)


def _pictures(folder: Path) -> Path:
    """Where CIFAR-10 lies as pictures, train/CLASS and test/CLASS: a folder or an archive."""
    for place in (folder / "cifar10-jpeg", folder / "cifar10-jpeg.zip"):
        if place.exists():
            return place
    raise FileNotFoundError(
        f"cifar10-jpeg: there is neither a folder cifar10-jpeg nor an archive cifar10-jpeg.zip in {folder}, with pictures "
        "in train/CLASS and test/CLASS; use --data cifar10, which is downloaded, or name the folder they are in by --data-dir"
    )


def _part(dataset: ImageDataset, indices: numpy.ndarray, transform: Any) -> ImageDataset:
    return ImageDataset(dataset.data[indices], dataset.targets[indices], transform)


def _transforms(recipe: Recipe) -> tuple[Compose, Compose]:
    """What is done to an image before the network sees it: without and with random changes."""
    if recipe.data == "digits":
        prepare = [ToDtype(numpy.float32, scale=16), Resize(SIZE)]  # (N, 1, 8, 8) -> (N, 1, 32, 32)
    elif recipe.data.startswith("cifar10"):
        prepare = [ToDtype(numpy.float32, scale=True)]  # (N, 3, 32, 32)
    else:
        prepare = [Pad((SIZE - 28) // 2), ToDtype(numpy.float32, scale=True)]  # (N, 1, 28, 28) -> (N, 1, 32, 32)
    change: list[Any] = []
    if recipe.affine is not None:
        change.append(RandomAffine(**recipe.affine, interpolation="bilinear"))
    if recipe.flip:
        change.append(RandomHorizontalFlip())
    normalize = Normalize(recipe.mean, recipe.std)
    crop = [RandomCrop(SIZE, padding=recipe.crop)] if recipe.crop else []  # of normalised images: 0 is their mean
    return Compose([*prepare, normalize]), Compose([*prepare, *change, normalize, *crop])
