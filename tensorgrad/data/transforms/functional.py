"""The transforms without randomness, as functions with torchvision's names: of Pillow images, arrays and Tensors.

An array or Tensor is (H, W), (C, H, W) or (..., C, H, W), and comes back as what it came. pillow.py does the work on
Pillow images, arrays.py on arrays; here the arguments are checked, once for both.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import arrays, pillow, warp
from tensorgrad.data.transforms.convert import convert_image_dtype, normalize, pil_to_tensor, to_pil_image, to_tensor
from tensorgrad.errors import ArgumentError, OperandError, ShapeError

__all__ = [
    "InterpolationMode",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine",
    "center_crop",
    "convert_image_dtype",
    "crop",
    "erase",
    "five_crop",
    "get_dimensions",
    "get_image_size",
    "hflip",
    "normalize",
    "pad",
    "pil_to_tensor",
    "resize",
    "resized_crop",
    "rgb_to_grayscale",
    "rotate",
    "ten_crop",
    "to_grayscale",
    "to_pil_image",
    "to_tensor",
    "vflip",
]


class InterpolationMode(enum.Enum):
    """How pixels between pixels are found. Wherever one is asked for, its value and Pillow's constant do too."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


# Pillow's numbers of its filters
_FROM_PILLOW = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def mode_of(interpolation: Any) -> str:
    """The value of an InterpolationMode, given as such, as its value, or as Pillow's constant."""
    if isinstance(interpolation, int) and not isinstance(interpolation, bool) and interpolation in _FROM_PILLOW:
        return _FROM_PILLOW[interpolation]
    try:
        return str(InterpolationMode(interpolation).value)
    except ValueError:
        names = ", ".join(repr(mode.value) for mode in InterpolationMode)
        raise OperandError(f"interpolation={interpolation!r}: use an InterpolationMode, or one of {names}") from None


def _on(name: str, img: Any, *arguments: Any) -> Any:
    """Apply the kernel of this name to whatever img is."""
    if pillow.is_image(img):
        return getattr(pillow, name)(img, *arguments)
    if engine.is_tensor(img):
        return engine.wrap(_on(name, engine.host_array(name, img), *arguments))
    if not isinstance(img, np.ndarray):
        raise OperandError(f"{name}: img is a {type(img).__name__}; use a Pillow image, a NumPy array or a Tensor")
    if img.ndim < 2:
        raise ShapeError(f"{name}: img has shape {img.shape}; it needs (H, W), (C, H, W) or (..., C, H, W)")
    return getattr(arrays, name)(img, *arguments)


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]."""
    return list(pillow.size(img) if pillow.is_image(img) else arrays.size(img))


def get_image_size(img: Any) -> list[int]:
    """[width, height]."""
    _, height, width = get_dimensions(img)
    return [width, height]


# --- cutting and padding ------------------------------------------------------------------------------------------


def pad(img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Widen an image; padding is one number for every side, (left and right, top and bottom) or (left, top, right, bottom).

    padding_mode: 'constant' (with fill, a number or one for each channel), 'edge', 'reflect' or 'symmetric'.
    """
    return _on("pad", img, sides_of(padding), fill, checked_padding_mode(padding_mode))


def sides_of(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom)."""
    sides = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sides) not in (1, 2, 4) or any(side < 0 for side in sides):
        raise ArgumentError(f"Pad: padding={padding}; use one, two or four numbers, none below 0")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom


def checked_padding_mode(mode: str) -> str:
    if mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ArgumentError(f"Pad: padding_mode={mode!r}; use constant, edge, reflect or symmetric")
    return mode


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A part of an image; what lies outside of it is 0."""
    return _on("crop", img, top, left, height, width)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of an image; a smaller image is padded with 0.

    >>> import numpy as np
    >>> center_crop(np.arange(25).reshape(5, 5), 3)[0].tolist()
    [6, 7, 8]
    """
    height, width = pair_of("center_crop", output_size)
    _, h, w = get_dimensions(img)
    if width > w or height > h:
        left, top = max(0, (width - w) // 2), max(0, (height - h) // 2)
        img = pad(img, (left, top, max(0, (width - w + 1) // 2), max(0, (height - h + 1) // 2)))
        _, h, w = get_dimensions(img)
    # Python's rounding to the even number decides where the middle is, as in torchvision
    return crop(img, round((h - height) / 2), round((w - width) / 2), height, width)


def pair_of(name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width); one number counts for both."""
    numbers = (size,) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(numbers) not in (1, 2) or any(number < 1 for number in numbers):
        raise ArgumentError(f"{name}: size={size}; use a number above 0, or (height, width)")
    return int(numbers[0]), int(numbers[-1])


def resized_size(size: int | Sequence[int], height: int, width: int, max_size: int | None) -> tuple[int, int]:
    """(height, width) that `resize` gives: one number is the shorter side's, and the other one keeps the proportion."""
    numbers = (size,) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(numbers) not in (1, 2) or any(number < 1 for number in numbers):
        raise ArgumentError(f"Resize: size={size} must be at least 1: the shorter side, or (height, width)")
    if len(numbers) == 2:
        if max_size is not None:
            raise ArgumentError("Resize: max_size goes with one number for size, not with (height, width)")
        return int(numbers[0]), int(numbers[1])
    short, long = int(numbers[0]), int(numbers[0] * max(height, width) / min(height, width))
    if max_size is not None:
        if max_size <= short:
            raise ArgumentError(f"Resize: max_size={max_size} must be above size={short}")
        if long > max_size:
            short, long = int(max_size * short / long), max_size
    return (long, short) if height > width else (short, long)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """An image of another size.

    size: (height, width), or one number for the shorter side. max_size: the most that the longer side may become.
    interpolation: of arrays nearest, nearest-exact, bilinear or bicubic. antialias: filter on the way down; Pillow
    always does. Whole numbers are rounded to their own dtype.
    """
    mode = mode_of(interpolation)
    if not pillow.is_image(img) and mode not in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        raise ArgumentError(
            f"resize: interpolation={mode!r} is for Pillow images; arrays know nearest, bilinear, bicubic"
        )
    _, h, w = get_dimensions(img)
    if min(h, w) == 0:
        raise ShapeError(f"resize: the image is {h} high and {w} wide; there is nothing to enlarge")
    height, width = resized_size(size, h, w, max_size)
    if (height, width) == (h, w):
        return img
    return _on("resize", img, height, width, mode, bool(antialias))


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """A part of an image, brought to a size."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return _on("hflip", img)


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return _on("vflip", img)


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """The four corners (upper left, upper right, lower left, lower right) and the middle."""
    height, width = pair_of("five_crop", size)
    _, h, w = get_dimensions(img)
    if height > h or width > w:
        raise ArgumentError(f"five_crop: size={(height, width)} is larger than the image, {(h, w)}")
    corners = [(top, left) for top in (0, h - height) for left in (0, w - width)]
    return (*(crop(img, top, left, height, width) for top, left in corners), center_crop(img, (height, width)))


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """five_crop of the image and of its mirror image."""
    mirrored = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(mirrored, size)


# --- turning ------------------------------------------------------------------------------------------------------


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Any:
    """Turn counter-clockwise by `angle` degrees, about the middle or `center` (x, y), counted from the upper left corner.

    expand: make the result as large as the turned image (which is then turned about its middle). fill: colour of what
    was outside; a number, or one for each channel.
    """
    if center is not None and len(center) != 2:
        raise ArgumentError(f"rotate: center={center} needs two numbers, x and y")
    return _on("rotate", img, float(angle), mode_of(interpolation), expand, center, fill)


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: Any = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Any:
    """p' = c + translate + scale R(angle) Sy Sx (p - c): turn clockwise, scale, shear, and shift by (x, y) pixels.

    shear: degrees along x, or (along x, along y). center: c, the image's middle unless given.
    """
    if not scale > 0:
        raise ArgumentError(f"affine: scale={scale} must be above 0")
    shears = (shear, 0.0) if isinstance(shear, (int, float)) else tuple(shear) + (0.0,) * (2 - len(shear))
    if len(translate) != 2 or len(shears) != 2:
        raise ArgumentError(f"affine: translate={translate} and shear={shear} need two numbers, along x and y")
    _, h, w = get_dimensions(img)
    place = (0.0, 0.0) if center is None else (center[0] - w / 2, center[1] - h / 2)
    numbers = [np.array([float(v)]) for v in (angle, shears[0], shears[1], scale, translate[0], translate[1])]
    matrix = warp.inverse_affine(*numbers, center=place)[0]
    return _on("affine", img, matrix, mode_of(interpolation), 0 if fill is None else fill)


# --- colours ------------------------------------------------------------------------------------------------------


def _factor(name: str, value: float) -> float:
    if not value >= 0:
        raise ArgumentError(f"{name}: the factor is {value}; it must not be negative")
    return float(value)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Every value times the factor: 0 is black, 1 changes nothing."""
    return _on("adjust_brightness", img, _factor("adjust_brightness", brightness_factor))


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """factor * image + (1 - factor) * its mean grey: 0 is grey all over, 1 changes nothing."""
    return _on("adjust_contrast", img, _factor("adjust_contrast", contrast_factor))


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """factor * image + (1 - factor) * the image in grey: 0 is black and white, 1 changes nothing."""
    return _on("adjust_saturation", img, _factor("adjust_saturation", saturation_factor))


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turn the colour wheel by hue_factor turns, from -1/2 to 1/2; grey stays."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ArgumentError(f"adjust_hue: hue_factor={hue_factor} must lie in [-0.5, 0.5]")
    return _on("adjust_hue", img, float(hue_factor))


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Grey with one channel, or three equal ones: 0.2989 red + 0.587 green + 0.114 blue (ITU-R BT.601)."""
    if num_output_channels not in (1, 3):
        raise ArgumentError(f"to_grayscale: num_output_channels={num_output_channels}; use 1 or 3")
    return _on("to_grayscale", img, num_output_channels)


rgb_to_grayscale = to_grayscale


def erase(img: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Any:
    """Set the rectangle of h rows from i and w columns from j to v, which broadcasts to (C, h, w)."""
    if inplace:
        raise ArgumentError("erase: inplace=True is not done here; use the result")
    if pillow.is_image(img):
        raise OperandError("erase: img is a Pillow image; put ToTensor() before it")
    return _on("erase", img, i, j, h, w, engine.host_array("erase", v) if engine.is_tensor(v) else v)
