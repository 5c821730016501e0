"""What the transforms do to arrays (..., C, H, W): the same names and arguments as in pillow.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.data.transforms import warp
from tensorgrad.errors import ArgumentError, ShapeError

# weights of red, green and blue in grey, ITU-R BT.601
GREY = (0.2989, 0.587, 0.114)


def size(images: np.ndarray) -> tuple[int, int, int]:
    """(channels, height, width); an array (H, W) has one channel."""
    return (1 if images.ndim == 2 else images.shape[-3]), images.shape[-2], images.shape[-1]


def top_value(dtype: np.dtype) -> float:
    """What counts as full brightness: 1 for floating point, else the largest number."""
    return 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)


def pad(images: np.ndarray, sides: tuple[int, int, int, int], fill: Any, mode: str) -> np.ndarray:
    """sides: left, top, right, bottom. fill: a number, or one for each channel."""
    left, top, right, bottom = sides
    widths = ((0, 0),) * (images.ndim - 2) + ((top, bottom), (left, right))
    if mode != "constant":
        return np.pad(images, widths, mode=mode)  # type: ignore[call-overload]
    *front, h, w = images.shape
    result = np.empty((*front, top + h + bottom, left + w + right), images.dtype)
    result[...] = _colour(images, fill)
    result[..., top : top + h, left : left + w] = images
    return result


def crop(images: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """What lies outside of the image is 0."""
    _, h, w = size(images)
    inside = images[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if 0 <= top and 0 <= left and top + height <= h and left + width <= w:
        return inside
    result = np.zeros((*images.shape[:-2], height, width), images.dtype)
    y, x = max(-top, 0), max(-left, 0)
    result[..., y : y + inside.shape[-2], x : x + inside.shape[-1]] = inside
    return result


resize = warp.resize


def hflip(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1].copy()


def vflip(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1, :].copy()


def rotate(images: np.ndarray, angle: float, interpolation: str, expand: bool, center: Any, fill: Any) -> np.ndarray:
    """Counter-clockwise by `angle` degrees about `center` (x, y), counted from the upper left corner."""
    _, h, w = size(images)
    place = (0.0, 0.0) if center is None or expand else (center[0] - w / 2, center[1] - h / 2)
    zero, one = np.zeros(1), np.ones(1)
    matrix = warp.inverse_affine(np.array([-angle]), zero, zero, one, zero, zero, center=place)
    new = warp.size_after(matrix[0], h, w) if expand else (h, w)
    return _warped(images, matrix[0], interpolation, 0 if fill is None else fill, new)


def affine(images: np.ndarray, matrix: np.ndarray, interpolation: str, fill: Any) -> np.ndarray:
    """matrix: (2, 3), from a place in the result to one in the image, both counted from the image's centre."""
    return _warped(images, matrix, interpolation, fill, images.shape[-2:])


def _warped(images: np.ndarray, matrix: np.ndarray, interpolation: str, fill: Any, new: tuple[int, ...]) -> np.ndarray:
    """All images by the same map."""
    channels, h, w = size(images)
    batch = images.reshape(-1, channels, h, w)
    result = warp_each(batch, np.repeat(matrix[None], len(batch), axis=0), interpolation, fill, (new[0], new[1]))
    return result.reshape(*images.shape[:-2], *new)


def warp_each(
    batch: np.ndarray, matrices: np.ndarray, interpolation: str, fill: Any, new: tuple[int, int]
) -> np.ndarray:
    """Each image by its own map, counted from the centres. (N, C, H, W), (N, 2, 3) -> (N, C, *new), in the images' dtype."""
    if interpolation not in ("nearest", "bilinear"):
        raise ArgumentError(f"interpolation={interpolation!r}: arrays are turned by nearest or bilinear")
    pixels = warp.in_pixels(matrices, batch.shape[-2:], new)
    if interpolation == "nearest":
        return warp.warp_affine(batch, pixels, fill, new, nearest=True)
    return warp.back_to(batch.dtype, warp.warp_affine(warp.floating(batch), pixels, fill, new))


# --- colours ------------------------------------------------------------------------------------------------------


def adjust_brightness(images: np.ndarray, factor: float) -> np.ndarray:
    return _blend(images, np.zeros(1, np.float32), factor)


def adjust_contrast(images: np.ndarray, factor: float) -> np.ndarray:
    mean = _grey(images).astype(np.float32).mean(axis=(-3, -2, -1), keepdims=True)
    return _blend(images, mean, factor)


def adjust_saturation(images: np.ndarray, factor: float) -> np.ndarray:
    return images if size(images)[0] == 1 else _blend(images, _grey(images), factor)


def adjust_hue(images: np.ndarray, factor: float) -> np.ndarray:
    """Turn the colour wheel by `factor`, which counts full turns."""
    if size(images)[0] == 1:
        return images
    _three("adjust_hue", images)
    top = top_value(images.dtype)
    red, green, blue = np.moveaxis(warp.floating(images) / np.float32(top), -3, 0)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    grey = spread == 0
    unit = np.where(grey, 1, spread)
    sixths = np.select(
        [value == red, value == green],
        [(green - blue) / unit, 2 + (blue - red) / unit],
        4 + (red - green) / unit,
    )
    hue = np.where(grey, 0, sixths / 6 + factor) % 1
    # each channel falls from `value` by `spread` times a trapezium of the hue, at 5, 3 and 1 sixths
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue * 6) % 6
        channels.append(value - spread * np.clip(np.minimum(k, 4 - k), 0, 1))
    turned = np.stack(channels, axis=-3)
    if images.dtype.kind == "f":
        return turned.astype(images.dtype, copy=False)
    return np.clip(turned * (top + 1 - 1e-3), 0, top).astype(images.dtype)


def to_grayscale(images: np.ndarray, channels: int) -> np.ndarray:
    _three("to_grayscale", images, also=1)
    grey = _grey(images)
    return np.repeat(grey, channels, axis=-3) if channels > 1 else grey


def _grey(images: np.ndarray) -> np.ndarray:
    """(..., 3, H, W) -> (..., 1, H, W), in the images' dtype; grey stays."""
    if size(images)[0] == 1:
        return images
    _three("grey", images)
    x = warp.floating(images)
    mixed = GREY[0] * x[..., 0:1, :, :] + GREY[1] * x[..., 1:2, :, :] + GREY[2] * x[..., 2:3, :, :]
    return mixed.astype(images.dtype)


def _blend(images: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    """factor * images + (1 - factor) * other, held in range; whole numbers are cut off, as torchvision does."""
    x = warp.floating(images)
    mixed = x * x.dtype.type(factor) + other * x.dtype.type(1 - factor)
    return np.clip(mixed, 0, top_value(images.dtype)).astype(images.dtype)


def erase(images: np.ndarray, top: int, left: int, height: int, width: int, value: Any) -> np.ndarray:
    result = images.copy()
    result[..., top : top + height, left : left + width] = value
    return result


def _three(name: str, images: np.ndarray, also: int = 3) -> None:
    channels = size(images)[0]
    if channels not in (3, also):
        raise ShapeError(f"{name}: images has shape {images.shape}, {channels} channels; colours need 3, grey 1")


def _colour(images: np.ndarray, fill: float | Sequence[float]) -> np.ndarray:
    """fill as it goes into images: a number, or (C, 1, 1)."""
    values = np.atleast_1d(np.asarray(fill))
    channels = size(images)[0]
    if values.ndim != 1 or len(values) not in (1, channels):
        raise ShapeError(f"fill={fill}: give one number, or one for each of the {channels} channels")
    if images.dtype.kind in "ui" and not math.isfinite(float(values.sum())):
        raise ArgumentError(f"fill={fill}: images of {images.dtype} cannot hold it")
    return values.astype(images.dtype)[:, None, None] if len(values) > 1 else values.astype(images.dtype)
