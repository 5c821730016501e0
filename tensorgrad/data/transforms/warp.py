"""Sampling arrays at other places: resizing by small matrices, and affine maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def floating(images: np.ndarray) -> np.ndarray:
    """Images as float64 or float32; float16 is too coarse to compute places in, and becomes float32 like integers."""
    return images if images.dtype in (np.float64, np.float32) else images.astype(np.float32)


def back_to(dtype: np.dtype, images: np.ndarray) -> np.ndarray:
    """Computed values in the images' own dtype; whole numbers are rounded and held in their range."""
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(images), limits.min, limits.max).astype(dtype)
    return images.astype(dtype, copy=False)


# --- resizing -----------------------------------------------------------------------------------------------------


def _triangle(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - distance)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """R. Keys: Cubic convolution interpolation for digital image processing, IEEE Trans. ASSP 29 (6), 1981."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


@lru_cache(maxsize=64)
def resize_matrix(old: int, new: int, antialias: bool, kind: str = "bilinear") -> np.ndarray:
    """Weights (new, old) of resizing along one axis; rows add up to 1.

    Output pixel i has its centre at (i + 1/2) old/new - 1/2 in the input. From there the weight falls, for 'bilinear' in
    a straight line to zero at a distance of one pixel, for 'bicubic' by Keys' curve to two; with anti-aliasing the
    distances are stretched by old/new, if that is more than 1. Without it, a place beyond the edge counts as the edge.
    'nearest' and 'nearest-exact' take one pixel: that at floor(i old/new), or the one whose centre is nearest.
    """
    ratio = old / new
    weights = np.zeros((new, old))
    if kind in ("nearest", "nearest-exact"):
        places = np.arange(new) + (0.5 if kind == "nearest-exact" else 0.0)
        weights[np.arange(new), np.minimum((places * ratio).astype(int), old - 1)] = 1
    elif antialias:
        centres = (np.arange(new) + 0.5) * ratio - 0.5
        distance = np.abs(centres[:, None] - np.arange(old)) / max(ratio, 1.0)
        weights = _triangle(distance) if kind == "bilinear" else _cubic(distance, a=-0.5)
        weights /= weights.sum(axis=1, keepdims=True)
    else:
        centres = (np.arange(new) + 0.5) * ratio - 0.5
        if kind == "bilinear":
            centres = np.clip(centres, 0, old - 1)
        first = np.floor(centres).astype(int)
        for step in range(-1, 3):
            distance = np.abs(centres - (first + step))
            weight = _triangle(distance) if kind == "bilinear" else _cubic(distance, a=-0.75)
            np.add.at(weights, (np.arange(new), np.clip(first + step, 0, old - 1)), weight)
    weights.setflags(write=False)  # shared by every caller
    return weights


def resize(images: np.ndarray, height: int, width: int, interpolation: str, antialias: bool) -> np.ndarray:
    """Each axis is one small matrix: result = R x C^T. (..., H, W) -> (..., height, width)"""
    *front, h, w = images.shape
    if interpolation.startswith("nearest"):
        rows = resize_matrix(h, height, False, interpolation).argmax(axis=1)
        columns = resize_matrix(w, width, False, interpolation).argmax(axis=1)
        return images[..., rows[:, None], columns]
    x = floating(images)
    down = resize_matrix(h, height, antialias, interpolation).astype(x.dtype)  # (height, H)
    across = resize_matrix(w, width, antialias, interpolation).astype(x.dtype)  # (width, W)
    wide = x.reshape(-1, w) @ across.T  # (..., H, W) -> (... * H, width)
    return back_to(images.dtype, down @ wide.reshape(*front, h, width))  # -> (..., height, width)


# --- affine maps --------------------------------------------------------------------------------------------------


def inverse_affine(
    angle: np.ndarray,
    shear_x: np.ndarray,
    shear_y: np.ndarray,
    scale: np.ndarray,
    shift_x: np.ndarray,
    shift_y: np.ndarray,
    *,
    center: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """The inverse of p' = center + shift + s R(angle) Sy Sx (p - center), (N, 2, 3), from N of each number.

    Sx and Sy shear along x and y; angles are in degrees, clockwise as y points down. Where the places are counted from is
    the caller's choice, and `center` is counted from there too.
    """
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    tan_x, tan_y = np.tan(np.radians(shear_x)), np.tan(np.radians(shear_y))
    # forward = R(angle) Sy Sx has determinant 1, so its inverse is [[d, -b], [-c, a]]
    a, c = cos + sin * tan_y, sin - cos * tan_y
    b, d = -sin - a * tan_x, cos - c * tan_x
    result = np.empty((len(a), 2, 3))
    result[:, 0, 0], result[:, 0, 1] = d / scale, -b / scale
    result[:, 1, 0], result[:, 1, 1] = -c / scale, a / scale
    out_x, out_y = center[0] + shift_x, center[1] + shift_y  # where the centre goes
    result[:, 0, 2] = center[0] - result[:, 0, 0] * out_x - result[:, 0, 1] * out_y
    result[:, 1, 2] = center[1] - result[:, 1, 0] * out_x - result[:, 1, 1] * out_y
    return result


def in_pixels(matrices: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Maps between places counted from the images' centres -> maps between pixels, the first one's centre being (0, 0).

    old, new: (height, width) of the image and of the result.
    """
    old_centre = np.array([(old[1] - 1) / 2, (old[0] - 1) / 2])
    new_centre = np.array([(new[1] - 1) / 2, (new[0] - 1) / 2])
    result = matrices.copy()
    result[:, :, 2] += old_centre - matrices[:, :, :2] @ new_centre
    return result


def size_after(matrix: np.ndarray, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the smallest upright frame of whole pixels around the image's corners, mapped by `matrix`."""
    half = np.array([width / 2, height / 2])
    corners = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * half
    places = corners @ matrix[:, :2].T + matrix[:, 2] + half
    high, low = (np.rint(edge * 1e4) / 1e4 for edge in (places.max(axis=0), places.min(axis=0)))
    new_width, new_height = np.ceil(high) - np.floor(low)
    return int(new_height), int(new_width)


def warp_affine(
    images: np.ndarray,
    matrices: np.ndarray,
    fill: float | Sequence[float] = 0.0,
    size: tuple[int, int] | None = None,
    nearest: bool = False,
) -> np.ndarray:
    """Sample each image at (x, y) = M (x', y', 1), for every pixel (x', y') of the result.

    images: (N, C, H, W); floating point, or any dtype if `nearest`. matrices: (N, 2, 3) in pixels, with the first
    pixel's centre at (0, 0). Pixels outside of the image count as `fill`: a number, or one for each channel.
    size: (height, width) of the result, that of the images unless given.
    nearest: take the pixel nearest to the place; otherwise bilinear between four. Returns (N, C, *size).
    """
    n, channels, h, w = images.shape
    height, width = (h, w) if size is None else size
    result = np.empty((n, channels, height, width), images.dtype)
    fills = np.broadcast_to(np.asarray(fill, dtype=images.dtype), channels)
    places = images.dtype if images.dtype in (np.float32, np.float64) else np.dtype(np.float32)
    # A few images at a time: temporaries of 64 kB stay in cache and in malloc's pool, 3x faster than a batch of 64.
    step = max(1, 16384 // max(1, height * width))
    for start in range(0, n, step):
        part = slice(start, start + step)
        _warp(images[part], matrices[part].astype(places), fills, result[part], nearest)
    return result


def _warp(images: np.ndarray, matrices: np.ndarray, fills: np.ndarray, result: np.ndarray, nearest: bool) -> None:
    n, channels, h, w = images.shape
    m = matrices[:, :, :, None]  # (N, 2, 3, 1)
    columns = np.arange(result.shape[3], dtype=matrices.dtype)
    rows = np.arange(result.shape[2], dtype=matrices.dtype)
    x = (m[:, 0, 0] * columns)[:, None, :] + (m[:, 0, 1] * rows + m[:, 0, 2])[:, :, None]  # (N, OH, OW)
    y = (m[:, 1, 0] * columns)[:, None, :] + (m[:, 1, 1] * rows + m[:, 1, 2])[:, :, None]

    # A border of one pixel before and two behind holds `fill`: a place beyond it is as good as one on it, and the four
    # neighbours of any place kept so lie inside the padded image, where no test for the edge is needed.
    np.clip(x, -1, w, out=x)
    np.clip(y, -1, h, out=y)
    x0, y0 = (np.rint(x), np.rint(y)) if nearest else (np.floor(x), np.floor(y))
    x -= x0  # the fractions
    y -= y0
    pitch = w + 3
    first = (y0.astype(np.intp) + 1) * pitch + (x0.astype(np.intp) + 1)  # of the neighbour up and left, in its image
    first += np.arange(n)[:, None, None] * ((h + 3) * pitch)  # and in all padded images end to end

    padded = np.empty((n, h + 3, pitch), images.dtype)
    for channel in range(channels):
        padded.fill(fills[channel])
        padded[:, 1 : h + 1, 1 : w + 1] = images[:, channel]
        flat = padded.reshape(-1)
        if nearest:
            result[:, channel] = flat.take(first)
            continue
        top = _between(flat, first, x)
        bottom = _between(flat[pitch:], first, x)
        bottom -= top
        bottom *= y
        np.add(top, bottom, out=result[:, channel])


def _between(flat: np.ndarray, first: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """flat[first] + fraction * (flat[first + 1] - flat[first])."""
    left = flat.take(first)
    right = flat[1:].take(first)
    right -= left
    right *= fraction
    right += left
    return right
