"""The 1,797 handwritten digits of 8x8 pixels that come with the library (source and licence: DIGITS.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from tensorgrad.data.dataset import ImageDataset

SHA256 = "bcef9298e0306dfccb92e2d486022628cd1f62841a970b5f1e906b48daba34de"
_NAMES = ("images", "labels", "train_indices", "test_indices")


class Digits(ImageDataset):
    """The UCI digits: images (1, 8, 8) of uint8 with values 0 to 16, and their class, 0 to 9.

    train: the 1,437 training images, or else the 360 test images, of a split that is stored with the data.
    transform: applied to the image; see `tensorgrad.data.transforms`.

    >>> image, label = Digits(train=False)[0]
    >>> image.shape, label
    ((1, 8, 8), 5)
    """

    classes = tuple("0123456789")

    def __init__(
        self,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        arrays = load()
        indices = arrays["train_indices" if train else "test_indices"]
        super().__init__(arrays["images"][indices], arrays["labels"][indices], transform, target_transform)
        self.train = train


@lru_cache(maxsize=1)
def load() -> Mapping[str, np.ndarray]:
    """The stored arrays: images (1797, 8, 8), labels (1797,), train_indices (1437,) and test_indices (360,)."""
    source = resources.files("tensorgrad.data").joinpath("digits.npz")
    with source.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in _NAMES}
    got = digest(arrays)
    if got != SHA256:
        raise ValueError(
            f"Digits: {source} is damaged: sha256 of its arrays is {got}, needed {SHA256}; install tensorgrad anew"
        )
    return arrays


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over the bytes of the four arrays, in the order of `_NAMES`."""
    total = hashlib.sha256()
    for name in _NAMES:
        total.update(np.ascontiguousarray(arrays[name]).astype("<u2").tobytes())
    return total.hexdigest()
