"""Image transforms on NumPy arrays: one image (H, W) or (C, H, W), or a whole batch (N, C, H, W) at once.

Names and arguments are torchvision's where it has them. A random transform draws from the generator it is given, and
otherwise from `current_generator()`: the loader's own stream for the batch at hand, or the library's default generator,
so that one `tensorgrad.manual_seed` governs augmentation too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.errors import ArgumentError, OperandError, ShapeError

Range = tuple[float, float]


class Transform:
    """A map of images. A subclass writes `apply` for a batch (N, C, H, W); calling it takes any of the three forms.

    `batched = True` tells a dataset that it may hand over a whole batch; any other callable gets one image at a time.
    Arrays come back as arrays, Tensors (on the CPU) as Tensors.
    """

    batched = True

    def __call__(self, images: Any, generator: Any = None) -> Any:
        if engine.is_tensor(images):
            return engine.wrap(self(engine.array_of(images), generator))
        if not isinstance(images, np.ndarray):
            raise OperandError(
                f"{type(self).__name__}: images is a {type(images).__name__}; use a NumPy array or a Tensor"
            )
        if images.ndim not in (2, 3, 4):
            raise ShapeError(
                f"{type(self).__name__}: images has shape {images.shape}; use (H, W), (C, H, W) or (N, C, H, W)"
            )
        added = 4 - images.ndim
        batch = images.reshape((1,) * added + images.shape)
        result = self.apply(batch, generator)
        return result.reshape(result.shape[added:])

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        """Transform a batch (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} must write apply(batch, generator)")


class Compose:
    """One transform after another: Compose([f, g])(x) = g(f(x)).

    >>> import numpy as np
    >>> prepare = Compose([ToDtype(np.float32, scale=True), Normalize(mean=0.5, std=0.5)])
    >>> prepare(np.array([[0, 255]], dtype=np.uint8))
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = list(transforms)
        for i, transform in enumerate(self.transforms):
            if not callable(transform):
                raise OperandError(f"Compose: transforms[{i}] is a {type(transform).__name__}; it must be callable")

    @property
    def batched(self) -> bool:
        """Whether every part can take a whole batch."""
        return all(getattr(transform, "batched", False) for transform in self.transforms)

    def __call__(self, images: Any, generator: Any = None) -> Any:
        for transform in self.transforms:
            ours = isinstance(transform, (Transform, Compose))
            images = transform(images, generator) if ours else transform(images)
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class ToDtype(Transform):
    """Convert to `dtype`, and with `scale` bring whole numbers into [0, 1].

    scale: True divides by the largest value of the integer type the images have (255 for uint8, as torchvision's
    ToTensor does); a number divides by that number; False only converts.

    >>> import numpy as np
    >>> ToDtype(np.float32, scale=16)(np.array([[0, 4, 16]], dtype=np.uint8))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """

    def __init__(self, dtype: Any = np.float32, scale: bool | float = False) -> None:
        self.dtype = np.dtype(dtype)
        self.scale = scale
        if scale is not False and self.dtype.kind != "f":
            raise ArgumentError(f"ToDtype: scale={scale} needs a floating-point dtype, got {self.dtype}")
        if scale is not False and scale is not True and not scale > 0:
            raise ArgumentError(f"ToDtype: scale={scale} must be above 0")

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        converted = batch.astype(self.dtype, copy=False)
        if self.scale is False:
            return converted
        if self.scale is not True:
            return converted * self.dtype.type(1 / self.scale)
        if batch.dtype.kind not in "ui":
            return converted  # floating-point images are in [0, 1] already, as in torchvision
        return converted * self.dtype.type(1 / np.iinfo(batch.dtype).max)

    def __repr__(self) -> str:
        return f"ToDtype({self.dtype}, scale={self.scale})"


class Normalize(Transform):
    """(x - mean) / std, with one mean and std for all channels or one for each."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = np.atleast_1d(np.asarray(mean, dtype=np.float64))
        self.std = np.atleast_1d(np.asarray(std, dtype=np.float64))
        if self.mean.ndim != 1 or self.std.ndim != 1:
            raise ShapeError(f"Normalize: mean and std must be numbers or flat lists, got {mean} and {std}")
        if not (self.std > 0).all():
            raise ArgumentError(f"Normalize: std={std} must be above 0")

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        channels = batch.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ShapeError(f"Normalize: {name} has {len(values)} values, the images have {channels} channels")
        batch = floating(batch)
        slope = (1 / self.std).astype(batch.dtype)[:, None, None]
        offset = (-self.mean / self.std).astype(batch.dtype)[:, None, None]
        result = batch * slope
        result += offset
        return result

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"


class Pad(Transform):
    """Widen the images: (H, W) -> (top + H + bottom, left + W + right).

    padding: one number for every side, (left and right, top and bottom), or (left, top, right, bottom).
    padding_mode: 'constant' (with `fill`), 'edge', 'reflect' or 'symmetric'.

    >>> import numpy as np
    >>> Pad(2)(np.ones((28, 28), dtype=np.float32)).shape
    (32, 32)
    """

    def __init__(self, padding: int | Sequence[int], fill: float = 0, padding_mode: str = "constant") -> None:
        sides = (padding,) if isinstance(padding, int) else tuple(padding)
        if len(sides) not in (1, 2, 4) or any(side < 0 for side in sides):
            raise ArgumentError(f"Pad: padding={padding}; use one, two or four numbers, none below 0")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ArgumentError(f"Pad: padding_mode={padding_mode!r}; use constant, edge, reflect or symmetric")
        self.padding = padding
        self.left, self.top, self.right, self.bottom = sides * (4 // len(sides))
        self.fill = fill
        self.padding_mode = padding_mode

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        widths = ((0, 0), (0, 0), (self.top, self.bottom), (self.left, self.right))
        if self.padding_mode == "constant":
            return np.pad(batch, widths, constant_values=self.fill)
        return np.pad(batch, widths, mode=self.padding_mode)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"Pad({self.padding}, fill={self.fill}, padding_mode={self.padding_mode!r})"


class Resize(Transform):
    """Change the size bilinearly, with pixels as areas (align_corners=False) and anti-aliasing on the way down.

    Each axis is one small matrix, result = R x C^T, whose row i holds the triangle weights of output pixel i. Whole
    numbers come back as float32, unrounded.

    size: (H, W), or one number for both (torchvision reads one number as the shorter side).
    antialias: widen the triangle when shrinking, so that no input pixel is passed over.

    >>> import numpy as np
    >>> Resize(4)(np.array([[0., 4.], [0., 4.]]))[0]
    array([0., 1., 3., 4.])
    """

    def __init__(self, size: int | tuple[int, int], antialias: bool = True) -> None:
        self.height, self.width = (size, size) if isinstance(size, int) else size
        if self.height < 1 or self.width < 1:
            raise ArgumentError(f"Resize: size={size} must be at least 1")
        self.antialias = antialias

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        batch = floating(batch)
        n, c, h, w = batch.shape
        rows = resize_matrix(h, self.height, self.antialias).astype(batch.dtype)  # (OH, H)
        columns = resize_matrix(w, self.width, self.antialias).astype(batch.dtype)  # (OW, W)
        wide = batch.reshape(n * c * h, w) @ columns.T  # (N, C, H, W) -> (N*C*H, OW)
        return rows @ wide.reshape(n, c, h, self.width)  # -> (N, C, OH, OW)

    def __repr__(self) -> str:
        return f"Resize({(self.height, self.width)}, antialias={self.antialias})"


class RandomHorizontalFlip(Transform):
    """Mirror left and right, each image with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomHorizontalFlip: p={p} must lie in [0, 1]")
        self.p = p

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        flip = engine.numpy_generator(generator).random(len(batch)) < self.p
        return np.where(flip[:, None, None, None], batch[..., ::-1], batch)

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


class RandomAffine(Transform):
    """Rotate, shear, scale and shift each image by its own random amounts, sampled bilinearly.

    The map is p' = centre + shift + s R(angle) Sy Sx (p - centre), where Sx and Sy shear along x and y; outside of the
    image is `fill`. The amounts are uniform and each image takes six numbers from the generator, so that a batch gets
    what its images would get one by one.

    degrees: angle in [-degrees, degrees], or the range (low, high).
    translate: (a, b), shift in [-a W, a W] and [-b H, b H]; not rounded to whole pixels as torchvision does.
    scale: range of s.
    shear: along x in [-shear, shear] degrees; (low, high) along x; or (low x, high x, low y, high y).
    """

    def __init__(
        self,
        degrees: float | Range,
        translate: Range | None = None,
        scale: Range | None = None,
        shear: float | Sequence[float] | None = None,
        fill: float = 0.0,
    ) -> None:
        self.degrees = _range("degrees", degrees)
        self.translate = (0.0, 0.0) if translate is None else tuple(translate)
        if len(self.translate) != 2 or not all(0 <= t <= 1 for t in self.translate):
            raise ArgumentError(f"RandomAffine: translate={translate}; use two fractions of the size, from 0 to 1")
        self.scale = (1.0, 1.0) if scale is None else _range("scale", scale)
        if not self.scale[0] > 0:
            raise ArgumentError(f"RandomAffine: scale={scale} must be above 0")
        shear = 0.0 if shear is None else shear
        four = isinstance(shear, Sequence) and len(shear) == 4
        self.shear_x = _range("shear", shear[:2] if four else shear)  # type: ignore[index,arg-type]
        self.shear_y = _range("shear", shear[2:]) if four else (0.0, 0.0)  # type: ignore[index,arg-type]
        self.fill = fill

    def matrices(self, n: int, height: int, width: int, generator: Any = None) -> np.ndarray:
        """Random maps of n images, (N, 2, 3), from a pixel of the result to its place in the image."""
        shift_x, shift_y = self.translate[0] * width, self.translate[1] * height
        ranges = np.array(
            [self.degrees, self.shear_x, self.shear_y, self.scale, (-shift_x, shift_x), (-shift_y, shift_y)]
        )
        random = engine.numpy_generator(generator).random((n, 6))
        angle, shear_x, shear_y, scale, tx, ty = (ranges[:, 0] + random * (ranges[:, 1] - ranges[:, 0])).T
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        tan_x, tan_y = np.tan(np.radians(shear_x)), np.tan(np.radians(shear_y))
        # forward = R(angle) Sy Sx has determinant 1, so its inverse is [[d, -b], [-c, a]]
        a, c = cos + sin * tan_y, sin - cos * tan_y
        b, d = -sin - a * tan_x, cos - c * tan_x
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        result = np.empty((n, 2, 3))
        result[:, 0, 0], result[:, 0, 1] = d / scale, -b / scale
        result[:, 1, 0], result[:, 1, 1] = -c / scale, a / scale
        out_x, out_y = centre_x + tx, centre_y + ty  # where the centre goes
        result[:, 0, 2] = centre_x - result[:, 0, 0] * out_x - result[:, 0, 1] * out_y
        result[:, 1, 2] = centre_y - result[:, 1, 0] * out_x - result[:, 1, 1] * out_y
        return result

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        n, _, h, w = batch.shape
        return warp_affine(floating(batch), self.matrices(n, h, w, generator), self.fill)

    def __repr__(self) -> str:
        return (
            f"RandomAffine(degrees={self.degrees}, translate={self.translate}, scale={self.scale}, "
            f"shear={self.shear_x + self.shear_y}, fill={self.fill})"
        )


def warp_affine(images: np.ndarray, matrices: np.ndarray, fill: float = 0.0) -> np.ndarray:
    """Sample each image bilinearly at (x, y) = M (x', y', 1), for every pixel (x', y') of the result.

    images: (N, C, H, W), floating point. matrices: (N, 2, 3) in pixels, with the first pixel's centre at (0, 0).
    Pixels outside of the image count as `fill`. Returns (N, C, H, W).
    """
    n, _, h, w = images.shape
    result = np.empty_like(images, order="C")
    # A few images at a time: temporaries of 64 kB stay in cache and in malloc's pool, 3x faster than a batch of 64.
    step = max(1, 16384 // (h * w))
    for start in range(0, n, step):
        part = slice(start, start + step)
        _warp(images[part], matrices[part].astype(images.dtype), fill, result[part])
    return result


def _warp(images: np.ndarray, matrices: np.ndarray, fill: float, result: np.ndarray) -> None:
    n, channels, h, w = images.shape
    m = matrices[:, :, :, None]  # (N, 2, 3, 1)
    columns, rows = np.arange(w, dtype=images.dtype), np.arange(h, dtype=images.dtype)
    x = (m[:, 0, 0] * columns)[:, None, :] + (m[:, 0, 1] * rows + m[:, 0, 2])[:, :, None]  # (N, H, W)
    y = (m[:, 1, 0] * columns)[:, None, :] + (m[:, 1, 1] * rows + m[:, 1, 2])[:, :, None]

    # A border of one pixel before and two behind holds `fill`: a place beyond it is as good as one on it, and the four
    # neighbours of any place kept so lie inside the padded image, where no test for the edge is needed.
    np.clip(x, -1, w, out=x)
    np.clip(y, -1, h, out=y)
    x0, y0 = np.floor(x), np.floor(y)
    x -= x0  # the fractions
    y -= y0
    pitch = w + 3
    first = (y0.astype(np.intp) + 1) * pitch + (x0.astype(np.intp) + 1)  # of the neighbour up and left, in its image
    first += np.arange(n)[:, None, None] * ((h + 3) * pitch)  # and in all padded images end to end

    padded = np.empty((n, h + 3, pitch), images.dtype)
    for channel in range(channels):
        padded.fill(fill)
        padded[:, 1 : h + 1, 1 : w + 1] = images[:, channel]
        flat = padded.reshape(-1)
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


@lru_cache(maxsize=64)
def resize_matrix(old: int, new: int, antialias: bool) -> np.ndarray:
    """Weights (new, old) of bilinear resizing along one axis; rows add up to 1.

    Output pixel i has its centre at (i + 1/2) old/new - 1/2 in the input. From there the weight falls in a straight
    line to zero at a distance of one pixel, or with anti-aliasing of old/new pixels if that is more.
    """
    ratio = old / new
    reach = max(ratio, 1.0) if antialias else 1.0
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    if not antialias:
        centres = np.clip(centres, 0, old - 1)
    distance = np.abs(centres[:, None] - np.arange(old))
    weights = np.maximum(0, 1 - distance / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    weights.setflags(write=False)  # shared by every caller
    return weights


def floating(images: np.ndarray) -> np.ndarray:
    """Images as float64 or float32; float16 is too coarse to compute places in, and becomes float32 like integers."""
    return images if images.dtype in (np.float64, np.float32) else images.astype(np.float32)


def _range(name: str, value: float | Sequence[float]) -> Range:
    """(-value, value) of a number; a pair stays, in rising order."""
    if isinstance(value, (int, float)):
        if value < 0 or math.isnan(value):
            raise ArgumentError(f"RandomAffine: {name}={value} must not be negative; or give a range (low, high)")
        return (-float(value), float(value))
    if len(value) != 2 or not value[0] <= value[1]:
        raise ArgumentError(f"RandomAffine: {name}={value}; use a number or a range (low, high)")
    return (float(value[0]), float(value[1]))
