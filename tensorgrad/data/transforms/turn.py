"""Random rotations and affine maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import arrays, pillow, warp
from tensorgrad.data.transforms import functional as F
from tensorgrad.data.transforms.base import Transform
from tensorgrad.data.transforms.functional import InterpolationMode
from tensorgrad.errors import ArgumentError

Range = tuple[float, float]


class RandomAffine(Transform):
    """Rotate, shear, scale and shift each image by its own random amounts.

    The map is p' = center + shift + s R(angle) Sy Sx (p - center), where Sx and Sy shear along x and y; outside of the
    image is `fill`. The amounts are uniform and each image takes six numbers from the generator, so that a batch gets
    what its images would get one by one.

    degrees: angle in [-degrees, degrees], or the range (low, high).
    translate: (a, b), shift in [-a W, a W] and [-b H, b H]; not rounded to whole pixels as torchvision does.
    scale: range of s.
    shear: along x in [-shear, shear] degrees; (low, high) along x; or (low x, high x, low y, high y).
    interpolation: nearest or bilinear; of Pillow images bicubic too. center: (x, y) from the upper left corner, the
    middle unless given.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: Any = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        self.degrees = _range("RandomAffine", "degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else tuple(translate)
        if len(self.translate) != 2 or not all(0 <= t <= 1 for t in self.translate):
            raise ArgumentError(f"RandomAffine: translate={translate}; use two fractions of the size, from 0 to 1")
        self.scale = (1.0, 1.0) if scale is None else _range("RandomAffine", "scale", scale)
        if not self.scale[0] > 0:
            raise ArgumentError(f"RandomAffine: scale={scale} must be above 0")
        shear = 0.0 if shear is None else shear
        four = isinstance(shear, Sequence) and len(shear) == 4
        self.shear_x = _range("RandomAffine", "shear", shear[:2] if four else shear)  # type: ignore[index]
        self.shear_y = _range("RandomAffine", "shear", shear[2:]) if four else (0.0, 0.0)  # type: ignore[index]
        self.shear = self.shear_x + self.shear_y
        self.interpolation = F.mode_of(interpolation)
        self.fill = 0 if fill is None else fill
        self.center = _center("RandomAffine", center)

    def draw(self, n: int, height: int, width: int, generator: Any = None) -> np.ndarray:
        """Random maps of n images, (N, 2, 3), from a place in the result to one in the image, counted from the centres."""
        shift_x, shift_y = self.translate[0] * width, self.translate[1] * height
        ranges = np.array(
            [self.degrees, self.shear_x, self.shear_y, self.scale, (-shift_x, shift_x), (-shift_y, shift_y)]
        )
        random = engine.numpy_generator(generator).random((n, 6))
        amounts = (ranges[:, 0] + random * (ranges[:, 1] - ranges[:, 0])).T
        return warp.inverse_affine(*amounts, center=_from_middle(self.center, height, width))

    def matrices(self, n: int, height: int, width: int, generator: Any = None) -> np.ndarray:
        """As `draw`, in pixels, with the first pixel's centre at (0, 0): what `warp_affine` takes."""
        return warp.in_pixels(self.draw(n, height, width, generator), (height, width), (height, width))

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        n, _, h, w = batch.shape
        return arrays.warp_each(batch, self.draw(n, h, w, generator), self.interpolation, self.fill, (h, w))

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        _, h, w = F.get_dimensions(image)
        matrix = self.draw(1, h, w, rng)[0]
        kernels: Any = pillow if pillow.is_image(image) else arrays
        return kernels.affine(image, matrix, self.interpolation, self.fill)


class RandomRotation(Transform):
    """Turn each image by its own random angle.

    degrees: angle in [-degrees, degrees], or the range (low, high), counter-clockwise. expand: make the result as large
    as the turned image; then one image at a time. center: (x, y), the middle unless given. fill: what was outside.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: Any = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        self.degrees = _range("RandomRotation", "degrees", degrees)
        self.interpolation = F.mode_of(interpolation)
        self.expand = expand
        self.center = _center("RandomRotation", center)
        self.fill = 0 if fill is None else fill
        self.batched = not expand  # type: ignore[misc]

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        n, _, h, w = batch.shape
        if self.expand:
            return super().apply(batch, generator)
        angles = engine.numpy_generator(generator).uniform(*self.degrees, (n,))
        zeros, place = np.zeros(n), _from_middle(self.center, h, w)
        maps = warp.inverse_affine(-angles, zeros, zeros, np.ones(n), zeros, zeros, center=place)
        return arrays.warp_each(batch, maps, self.interpolation, self.fill, (h, w))

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        angle = rng.uniform(*self.degrees)
        return F.rotate(image, angle, self.interpolation, self.expand, self.center, self.fill)


def _from_middle(center: Sequence[float] | None, height: int, width: int) -> tuple[float, float]:
    """A place counted from the upper left corner -> counted from the image's middle, which None is."""
    return (0.0, 0.0) if center is None else (center[0] - width / 2, center[1] - height / 2)


def _center(name: str, center: Sequence[float] | None) -> Sequence[float] | None:
    if center is not None and len(center) != 2:
        raise ArgumentError(f"{name}: center={center} needs two numbers, x and y")
    return center


def _range(name: str, argument: str, value: Any) -> Range:
    """(-value, value) of a number; a pair stays, in rising order."""
    if isinstance(value, (int, float)):
        if value < 0 or math.isnan(value):
            raise ArgumentError(f"{name}: {argument}={value} must not be negative; or give a range (low, high)")
        return (-float(value), float(value))
    if len(value) != 2 or not value[0] <= value[1]:
        raise ArgumentError(f"{name}: {argument}={value}; use a number or a range (low, high)")
    return (float(value[0]), float(value[1]))
