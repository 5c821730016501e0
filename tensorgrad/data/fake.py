"""Images of noise, to try a program on before its data is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.data.dataset import Dataset
from tensorgrad.errors import ArgumentError, DimensionError


class FakeData(Dataset[tuple[Any, Any]]):
    """Noise: image `index` is an array of uint8 of shape image_size that depends on the index alone, its class too.

    size: how many. image_size: (C, H, W). num_classes: the classes are drawn from 0 to num_classes - 1.
    random_offset: added to the index before it seeds, so that two sets can differ.

    >>> image, label = FakeData(10, (3, 8, 8), num_classes=5)[7]
    >>> image.shape, 0 <= label < 5
    ((3, 8, 8), True)
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        random_offset: int = 0,
    ) -> None:
        if size < 0 or num_classes < 1 or len(image_size) != 3:
            raise ArgumentError(
                f"FakeData: size={size}, image_size={image_size}, num_classes={num_classes}; use 0 or more images of "
                "(C, H, W) and at least one class"
            )
        self.size = size
        self.image_size = tuple(image_size)
        self.num_classes = num_classes
        self.transform = transform
        self.target_transform = target_transform
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise DimensionError(f"FakeData: index {index}; there are {self.size} images")
        rng = np.random.default_rng((self.random_offset % 2**64, index))
        image: Any = rng.integers(0, 256, self.image_size, dtype=np.uint8)
        target: Any = int(rng.integers(self.num_classes))
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return self.size
