"""Colours, changed at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import arrays, pillow, warp
from tensorgrad.data.transforms import functional as F
from tensorgrad.data.transforms.base import Transform, probability
from tensorgrad.errors import ArgumentError, ShapeError

# Principal components of the colours of ImageNet's pixels, counted from 0 to 1: standard deviations along them, and
# their directions in red, green and blue, one in each column. As published in the code of A. Krizhevsky, cuda-convnet,
# and S. Gross and M. Wilber, fb.resnet.torch.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue of each image by random amounts, in a random order.

    brightness, contrast, saturation: the factor is uniform in [max(0, 1 - value), 1 + value], or in the range
    (low, high). hue: turns of the colour wheel in [-hue, hue] or (low, high), at most half a turn.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = _around("brightness", brightness, 1.0, 0.0, float("inf"))
        self.contrast = _around("contrast", contrast, 1.0, 0.0, float("inf"))
        self.saturation = _around("saturation", saturation, 1.0, 0.0, float("inf"))
        self.hue = _around("hue", hue, 0.0, -0.5, 0.5)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        steps: list[tuple[Callable[[Any, float], Any], tuple[float, float] | None]] = [
            (F.adjust_brightness, self.brightness),
            (F.adjust_contrast, self.contrast),
            (F.adjust_saturation, self.saturation),
            (F.adjust_hue, self.hue),
        ]
        for i in rng.permutation(len(steps)):
            adjust, limits = steps[i]
            if limits is not None:
                image = adjust(image, rng.uniform(*limits))
        return image


def _around(
    argument: str, value: float | Sequence[float], middle: float, lowest: float, highest: float
) -> tuple[float, float] | None:
    """The range of a factor; None where it would always be `middle`, which changes nothing."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ArgumentError(f"ColorJitter: {argument}={value} must not be negative; or give a range (low, high)")
        low, high = middle - value, middle + value
        low = max(low, 0.0) if middle else low
    elif len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise ArgumentError(f"ColorJitter: {argument}={value}; use a number or a range (low, high)")
    if not lowest <= low <= high <= highest:
        raise ArgumentError(f"ColorJitter: {argument}={value}; the range must rise, within [{lowest:g}, {highest:g}]")
    return None if low == high == middle else (low, high)


class Grayscale(Transform):
    """Grey in place of colours, in one channel or three equal ones."""

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(f"Grayscale: num_output_channels={num_output_channels}; use 1 or 3")
        self.num_output_channels = num_output_channels

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        return F.to_grayscale(batch, self.num_output_channels)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return F.to_grayscale(image, self.num_output_channels)


class RandomGrayscale(Transform):
    """Grey in place of colours with probability p; the number of channels stays."""

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability("RandomGrayscale", p)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        return F.to_grayscale(image, F.get_dimensions(image)[0]) if rng.random() < self.p else image


class PCALighting(Transform):
    """AlexNet's change of light: add sum_i alpha_i lambda_i p_i to every pixel, alpha_i normal, anew for each image.

    A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012,
    section 4.1.

    alphastd: standard deviation of alpha. eigval: lambda, (3,), for colours from 0 to 1. eigvec: p, (3, 3), one in each
    column. Unless given, ImageNet's; `PCALighting.of(images)` computes those of other images.
    Whole numbers and Pillow images are taken to span their dtype's range, rounded, and kept in it.
    """

    def __init__(
        self,
        alphastd: float = 0.1,
        eigval: Sequence[float] = IMAGENET_EIGENVALUES,
        eigvec: Sequence[Sequence[float]] = IMAGENET_EIGENVECTORS,
    ) -> None:
        self.alphastd = alphastd
        self.eigval = np.asarray(eigval, dtype=np.float64)
        self.eigvec = np.asarray(eigvec, dtype=np.float64)
        if alphastd < 0:
            raise ArgumentError(f"PCALighting: alphastd={alphastd} must not be negative")
        if self.eigval.shape != (3,) or self.eigvec.shape != (3, 3):
            raise ShapeError(
                f"PCALighting: eigval has shape {self.eigval.shape} and eigvec {self.eigvec.shape}; use (3,) and (3, 3)"
            )

    @classmethod
    def of(cls, images: np.ndarray, alphastd: float = 0.1) -> PCALighting:
        """The same for other images, (N, 3, H, W): the principal components of their pixels' colours."""
        pixels = np.moveaxis(images, 1, 0).reshape(3, -1) / arrays.top_value(images.dtype)  # (3, N * H * W)
        variances, directions = np.linalg.eigh(np.cov(pixels))
        order = np.argsort(variances)[::-1]
        return cls(alphastd, np.sqrt(np.maximum(variances[order], 0)).tolist(), directions[:, order].tolist())

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        if batch.shape[1] != 3:
            raise ShapeError(f"PCALighting: the images have {batch.shape[1]} channels; it needs red, green and blue")
        alpha = engine.numpy_generator(generator).standard_normal((len(batch), 3)) * self.alphastd
        x = warp.floating(batch)
        light = (alpha * self.eigval) @ self.eigvec.T * arrays.top_value(batch.dtype)  # (N, 3)
        return warp.back_to(batch.dtype, x + light.astype(x.dtype)[:, :, None, None])

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        if not pillow.is_image(image):
            return self.apply(image[None], rng)[0]
        lit = self.apply(pillow.to_array(image)[None], rng)[0]
        return F.to_pil_image(engine.wrap(lit), image.mode)
