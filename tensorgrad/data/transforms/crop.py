"""Cutting, padding, resizing and mirroring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import functional as F
from tensorgrad.data.transforms.base import Transform, ordered_range, probability
from tensorgrad.data.transforms.functional import InterpolationMode
from tensorgrad.errors import ArgumentError


class Pad(Transform):
    """Widen the images: (H, W) -> (top + H + bottom, left + W + right).

    padding: one number for every side, (left and right, top and bottom), or (left, top, right, bottom).
    padding_mode: 'constant' (with `fill`, a number or one for each channel), 'edge', 'reflect' or 'symmetric'.

    >>> import numpy as np
    >>> Pad(2)(np.ones((28, 28), dtype=np.float32)).shape
    (32, 32)
    """

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> None:
        F.sides_of(padding)
        self.padding = padding
        self.fill = fill
        self.padding_mode = F.checked_padding_mode(padding_mode)

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        return F.pad(batch, self.padding, self.fill, self.padding_mode)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return F.pad(image, self.padding, self.fill, self.padding_mode)


class Resize(Transform):
    """Change the size, with pixels as areas (align_corners=False) and anti-aliasing on the way down.

    size: (height, width), or one number for the shorter side. max_size: the most that the longer side may become.
    interpolation: an InterpolationMode, its value or Pillow's constant; of arrays nearest, nearest-exact, bilinear or
    bicubic. antialias: widen the filter when shrinking, so that no input pixel is passed over; Pillow always does.
    Whole numbers are rounded to their own dtype.

    >>> import numpy as np
    >>> Resize(4)(np.array([[0., 4.], [0., 4.]]))[0]
    array([0., 1., 3., 4.])
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        F.resized_size(size, 1, 1, max_size)
        self.size = size
        self.interpolation = F.mode_of(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        return F.resize(batch, self.size, self.interpolation, self.max_size, self.antialias)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return F.resize(image, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of the images, of this size; smaller images are padded with 0."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = F.pair_of("CenterCrop", size)

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        return F.center_crop(batch, self.size)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return F.center_crop(image, self.size)


class RandomCrop(Transform):
    """A part of each image, of this size, from a random place.

    padding: widen the images first, as `Pad` does. pad_if_needed: widen an image that is too small, to both sides.

    >>> import numpy as np
    >>> RandomCrop(32, padding=4)(np.zeros((64, 3, 32, 32), dtype=np.uint8)).shape
    (64, 3, 32, 32)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        if padding is not None:
            F.sides_of(padding)
        self.size = F.pair_of("RandomCrop", size)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = F.checked_padding_mode(padding_mode)

    def _widened(self, images: Any) -> Any:
        if self.padding is not None:
            images = F.pad(images, self.padding, self.fill, self.padding_mode)
        height, width = self.size
        _, h, w = F.get_dimensions(images)
        if self.pad_if_needed and (h < height or w < width):
            missing = (max(width - w, 0), max(height - h, 0))
            images = F.pad(images, missing, self.fill, self.padding_mode)
            _, h, w = F.get_dimensions(images)
        if h < height or w < width:
            raise ArgumentError(
                f"RandomCrop: size={self.size} is larger than the image, {(h, w)} with its padding; "
                "use pad_if_needed=True, or a smaller size"
            )
        return images

    def _places(self, images: Any, rng: np.random.Generator, n: int) -> np.ndarray:
        """(top, left) of n crops, (n, 2)."""
        _, h, w = F.get_dimensions(images)
        return rng.integers(0, (h - self.size[0] + 1, w - self.size[1] + 1), (n, 2))

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        """Every crop goes from the padded batch straight to its place in the result."""
        batch = self._widened(batch)
        height, width = self.size
        places = self._places(batch, engine.numpy_generator(generator), len(batch))
        result = np.empty((*batch.shape[:2], height, width), batch.dtype)
        for image, crop, (top, left) in zip(batch, result, places.tolist(), strict=True):
            crop[...] = image[:, top : top + height, left : left + width]
        return result

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        image = self._widened(image)
        top, left = self._places(image, rng, 1)[0].tolist()
        return F.crop(image, top, left, *self.size)


class RandomHorizontalFlip(Transform):
    """Exchange left and right, of each image with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(type(self).__name__, p)

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        chosen = engine.numpy_generator(generator).random(len(batch)) < self.p
        result = batch.copy()
        result[chosen] = self._mirrored(batch[chosen])
        return result

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return self._mirrored(image) if rng.random() < self.p else image

    def _mirrored(self, images: Any) -> Any:
        return F.hflip(images)


class RandomVerticalFlip(RandomHorizontalFlip):
    """Exchange top and bottom, of each image with probability `p`."""

    def _mirrored(self, images: Any) -> Any:
        return F.vflip(images)


class RandomResizedCrop(Transform):
    """A part of random area and shape, brought to one size: GoogLeNet's way (C. Szegedy et al., arXiv:1409.4842).

    scale: range of the part's share of the area. ratio: range of its width over its height; the logarithm is uniform.
    Ten parts are tried; if none fits, the largest middle part whose ratio is in the range is taken.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        self.size = F.pair_of("RandomResizedCrop", size)
        self.scale = ordered_range("RandomResizedCrop", "scale", scale)
        self.ratio = ordered_range("RandomResizedCrop", "ratio", ratio)
        self.interpolation = F.mode_of(interpolation)
        self.antialias = antialias

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        _, h, w = F.get_dimensions(image)
        top, left, height, width = self.part(h, w, rng)
        return F.resized_crop(image, top, left, height, width, self.size, self.interpolation, self.antialias)

    def part(self, h: int, w: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """A random (top, left, height, width) in an image of h x w."""
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= w and 0 < height <= h:
                return int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1)), height, width
        width = min(w, round(h * self.ratio[1]))
        height = min(h, round(w / self.ratio[0]))
        return (h - height) // 2, (w - width) // 2, height, width


class FiveCrop(Transform):
    """The four corners and the middle of an image, as a tuple; what comes after must take a tuple, say a Lambda."""

    batched = False

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = F.pair_of("FiveCrop", size)

    def __call__(self, images: Any, generator: Any = None) -> tuple[Any, ...]:
        return F.five_crop(images, self.size)


class TenCrop(Transform):
    """FiveCrop of an image and of its mirror image: AlexNet's way to test.

    vertical_flip: mirror top and bottom in place of left and right.

    >>> import numpy as np
    >>> crops = TenCrop(24)(np.zeros((3, 32, 32), dtype=np.float32))
    >>> np.stack(crops).shape
    (10, 3, 24, 24)
    """

    batched = False

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        self.size = F.pair_of("TenCrop", size)
        self.vertical_flip = vertical_flip

    def __call__(self, images: Any, generator: Any = None) -> tuple[Any, ...]:
        return F.ten_crop(images, self.size, self.vertical_flip)


class RandomErasing(Transform):
    """Put something else in place of a random rectangle: Z. Zhong et al., Random Erasing, arXiv:1708.04896.

    p: the probability that an image loses one. scale: range of the rectangle's share of the area. ratio: range of its
    height over its width. value: a number, one for each channel, or 'random' for normal numbers. Comes after ToTensor.
    Ten rectangles are tried; an image into which none fits stays.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale = ordered_range("RandomErasing", "scale", scale)
        self.ratio = ordered_range("RandomErasing", "ratio", ratio)
        if self.scale[1] > 1:
            raise ArgumentError(f"RandomErasing: scale={scale} must not go beyond 1, the whole image")
        if isinstance(value, str) and value != "random":
            raise ArgumentError(f"RandomErasing: value={value!r}; use a number, one for each channel, or 'random'")
        if inplace:
            raise ArgumentError("RandomErasing: inplace=True is not done here; use the result")
        self.value = value

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        rng = engine.numpy_generator(generator)
        result = batch.copy()
        for image in result:
            if rng.random() < self.p:
                self._erase(image, rng)
        return result

    def _erase(self, image: np.ndarray, rng: np.random.Generator) -> None:
        channels, h, w = image.shape
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if not (height < h and width < w):
                continue
            top, left = int(rng.integers(h - height + 1)), int(rng.integers(w - width + 1))
            hole = image[:, top : top + height, left : left + width]
            if isinstance(self.value, str):
                hole[...] = rng.standard_normal(hole.shape)
                return
            values = np.atleast_1d(np.asarray(self.value))
            if len(values) not in (1, channels):
                raise ArgumentError(f"RandomErasing: value={self.value}; the images have {channels} channels")
            hole[...] = values[:, None, None]
            return
