"""What the transforms do to Pillow images, by Pillow's own functions. Imported freely: Pillow itself only when needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.errors import ArgumentError, ShapeError

# InterpolationMode -> the name in PIL.Image.Resampling
_RESAMPLING = {
    "nearest": "NEAREST",
    "nearest-exact": "NEAREST",
    "bilinear": "BILINEAR",
    "bicubic": "BICUBIC",
    "box": "BOX",
    "hamming": "HAMMING",
    "lanczos": "LANCZOS",
}
# the dtypes of Pillow's modes that are not bytes
_DTYPES: dict[str, Any] = {
    "I": np.int32,
    "F": np.float32,
    "I;16": np.uint16,
    "I;16L": np.uint16,
    "I;16B": np.dtype(">u2"),
}


def is_image(value: Any) -> bool:
    """Whether value is a Pillow image; does not import Pillow (without it, nothing can be one)."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def library(name: str = "Image") -> Any:
    """A module of Pillow, or an ImportError that says how to get it."""
    try:
        import importlib

        return importlib.import_module(f"PIL.{name}")
    except ImportError as error:
        raise ImportError(
            "images as files and Pillow images need Pillow, which is not installed; install the extra io: "
            "pip install 'tapegrad[io]'. Arrays and Tensors need no Pillow"
        ) from error


def size(image: Any) -> tuple[int, int, int]:
    """(channels, height, width)."""
    return len(image.getbands()), image.height, image.width


def to_array(image: Any) -> np.ndarray:
    """A Pillow image as an array (C, H, W): uint8, or int32, uint16, float32 for the modes I, I;16, F."""
    if image.mode in ("1", "P", "PA"):
        # truth values count 0 and 255, as in torchvision; a palette's numbers mean nothing without it
        image = image.convert("L" if image.mode == "1" else "RGB" if image.mode == "P" else "RGBA")
    pixels = np.array(image, dtype=_DTYPES.get(image.mode))
    if pixels.ndim == 2:
        return pixels[None]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (H, W, C) -> (C, H, W)


def pad(image: Any, sides: tuple[int, int, int, int], fill: Any, mode: str) -> Any:
    """sides: left, top, right, bottom. A palette's image is padded as the colours it shows."""
    if mode == "constant":
        return library("ImageOps").expand(image, border=sides, fill=_fill(image, fill))
    if image.mode == "P":
        image = image.convert("RGB")
    pixels = np.asarray(image)
    left, top, right, bottom = sides
    widths = ((top, bottom), (left, right)) + ((0, 0),) * (pixels.ndim - 2)
    return library().fromarray(np.pad(pixels, widths, mode=mode))  # type: ignore[call-overload]


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    return image.crop((left, top, left + width, top + height))


def resize(image: Any, height: int, width: int, interpolation: str, antialias: bool) -> Any:
    """Pillow always filters on the way down, whatever antialias says."""
    return image.resize((width, height), resampling(interpolation))


def hflip(image: Any) -> Any:
    return image.transpose(library().Transpose.FLIP_LEFT_RIGHT)


def vflip(image: Any) -> Any:
    return image.transpose(library().Transpose.FLIP_TOP_BOTTOM)


def rotate(image: Any, angle: float, interpolation: str, expand: bool, center: Any, fill: Any) -> Any:
    return image.rotate(
        angle,
        resampling(interpolation, warping=True),
        expand,
        center,
        fillcolor=_fill(image, 0 if fill is None else fill),
    )


def affine(image: Any, matrix: np.ndarray, interpolation: str, fill: Any) -> Any:
    """matrix: (2, 3), from a place in the result to one in the image, both counted from the image's centre."""
    centre = np.array([image.width / 2, image.height / 2])
    placed = np.column_stack([matrix[:, :2], matrix[:, 2] + centre - matrix[:, :2] @ centre])
    return image.transform(
        image.size,
        library().Transform.AFFINE,
        placed.ravel().tolist(),
        resampling(interpolation, warping=True),
        fillcolor=_fill(image, fill),
    )


def adjust_brightness(image: Any, factor: float) -> Any:
    return library("ImageEnhance").Brightness(image).enhance(factor)


def adjust_contrast(image: Any, factor: float) -> Any:
    return library("ImageEnhance").Contrast(image).enhance(factor)


def adjust_saturation(image: Any, factor: float) -> Any:
    return library("ImageEnhance").Color(image).enhance(factor)


def adjust_hue(image: Any, factor: float) -> Any:
    mode = image.mode
    if mode in ("L", "1", "I", "F"):
        return image  # grey has no hue
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.array(hue, dtype=np.int16) + int(factor * 255)) % 256
    hue = library().fromarray(turned.astype(np.uint8))
    return library().merge("HSV", (hue, saturation, value)).convert(mode)


def to_grayscale(image: Any, channels: int) -> Any:
    grey = image.convert("L")
    return grey if channels == 1 else library().merge("RGB", (grey, grey, grey))


def resampling(interpolation: str, warping: bool = False) -> Any:
    """Pillow's constant of an interpolation; warping knows only three of them."""
    if warping and interpolation not in ("nearest", "bilinear", "bicubic"):
        raise ArgumentError(f"interpolation={interpolation!r}: Pillow turns images by nearest, bilinear or bicubic")
    return library().Resampling[_RESAMPLING[interpolation]]


def _fill(image: Any, fill: Any) -> Any:
    """A fill colour as this image's mode needs it: one number, or a tuple with one for each band."""
    bands = len(image.getbands())
    number = float if image.mode == "F" else int
    if isinstance(fill, Sequence):
        if len(fill) not in (1, bands):
            raise ShapeError(f"fill={fill}: give one number, or one for each of the image's {bands} bands")
        values = tuple(number(value) for value in fill) * (bands // len(fill))
    else:
        values = (number(fill),) * bands
    return values if bands > 1 else values[0]
