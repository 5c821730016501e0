"""Changing the size of images, lines and volumes; moving channels into space and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend.resampling import Table
from tensorgrad.errors import ArgumentError, OperandError, ShapeError, UnsupportedError
from tensorgrad.nn.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tensorgrad.nn.arguments import whole
from tensorgrad.nn.module import Module
from tensorgrad.ops import resampling
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.resampling import Resample
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor

#: For each mode how many dimensions of the input are resized (0 for any number).
MODES = {"nearest": 0, "nearest-exact": 0, "area": 0, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


@under_autocast
def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input resized: (N, C, L), (N, C, H, W) or (N, C, D, H, W), one dimension after the other.

    size          the new lengths, or one for all
    scale_factor  instead of size, a factor for each length or for all; the new length is rounded down
    mode          'nearest' (the value at or before the place), 'nearest-exact' (the value at the place), 'linear' for lines,
                  'bilinear' and 'bicubic' for images, 'trilinear' for volumes, 'area' (the mean of what a place covers)
    align_corners  for the last four: the centres of the corner values fall on each other, instead of their outer edges
    recompute_scale_factor  use the ratio of the lengths, rounded as they are, instead of scale_factor itself
    antialias     for 'bilinear' and 'bicubic': let every value count when a picture gets smaller

    >>> import tensorgrad
    >>> interpolate(tensorgrad.tensor([[[1.0, 3.0]]]), size=4, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    if not isinstance(input, Tensor):
        raise OperandError(f"interpolate: input is a {type(input).__name__}; it must be a Tensor")
    count = input.array.ndim - 2
    if mode not in MODES:
        raise UnsupportedError(f"interpolate: mode is {mode!r}; it must be one of {', '.join(map(repr, MODES))}")
    if MODES[mode] not in (0, count) or count not in (1, 2, 3):
        needed = f"{MODES[mode] + 2} dimensions" if MODES[mode] else "3, 4 or 5 dimensions"
        raise UnsupportedError(f"interpolate: input has shape {input.shape}; mode {mode!r} needs {needed}")
    smooth = bool(MODES[mode])
    if align_corners is not None and not smooth:
        raise ArgumentError(f"interpolate: align_corners is {align_corners}; mode {mode!r} has no such setting")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ArgumentError(f"interpolate: antialias is for the modes 'bilinear' and 'bicubic'; got {mode!r}")
    lengths = input.array.shape[2:]
    sizes, scales = _target(lengths, size, scale_factor, bool(recompute_scale_factor))
    if min(lengths) < 1 or min(sizes) < 1 or not input.array.shape[1]:
        raise ShapeError(f"interpolate: from {tuple(input.shape)} to {sizes}; every size must be at least 1")
    if mode == "area":
        return _AREA[count](input, sizes)
    if smooth:
        check_floating("interpolate", input)
    z = input
    for dim, (inputs, outputs, scale) in enumerate(zip(lengths, sizes, scales), 2):
        table = _table(mode, inputs, outputs, scale, bool(align_corners), antialias, input.array.dtype.itemsize)
        z = Resample(dim, table)(z)
    return z


def _target(
    lengths: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The new lengths, and the factors that the user gave, if places are to be worked out from those."""
    count = len(lengths)
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate: give one of size and scale_factor")
    given = size if scale_factor is None else scale_factor
    numbers = tuple(given) if isinstance(given, (tuple, list)) else (given,) * count
    if len(numbers) != count:
        name = "size" if scale_factor is None else "scale_factor"
        raise ArgumentError(f"interpolate: {name} is {given}; it must be one number or {count}")
    if scale_factor is None:
        if recompute:
            raise ArgumentError("interpolate: recompute_scale_factor goes with scale_factor, not with size")
        return tuple(whole("interpolate", "size", n) for n in numbers), (None,) * count
    factors = tuple(float(n) for n in numbers)
    sizes = tuple(math.floor(length * factor) for length, factor in zip(lengths, factors))
    return sizes, (None,) * count if recompute else factors


def _table(
    mode: str, inputs: int, outputs: int, scale: float | None, align_corners: bool, antialias: bool, itemsize: int
) -> Table:
    dtype = "float64" if itemsize == 8 else "float32"
    if mode.startswith("nearest"):
        return resampling.nearest(inputs, outputs, scale, mode == "nearest-exact", dtype)
    if antialias:
        return resampling.antialiased(inputs, outputs, scale, align_corners, mode == "bicubic")
    kind = resampling.cubic if mode == "bicubic" else resampling.linear
    return kind(inputs, outputs, scale, align_corners, dtype)


class Upsample(Module):
    """Resizes; see `tensorgrad.nn.functional.interpolate`.

    >>> import tensorgrad
    >>> Upsample(scale_factor=2, mode="bilinear")(tensorgrad.ones(1, 3, 8, 8)).shape
    (1, 3, 16, 16)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        to = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{to}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample of mode 'nearest'."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample of mode 'bilinear' with align_corners."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


# channels into space


def _factor(operation: str, name: str, input: Any, value: Any) -> int:
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    if input.array.ndim < 3:
        raise ShapeError(f"{operation}: input has shape {input.shape}; it must be (..., C, H, W)")
    if whole(operation, name, value) < 1:
        raise ShapeError(f"{operation}: {name} is {value}; it must be at least 1")
    return int(value)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r): r^2 channels become the pixels of an r by r square. Shi et al., 2016.

    >>> import tensorgrad
    >>> pixel_shuffle(tensorgrad.tensor([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]), 2)
    tensor([[[1., 2.],
             [3., 4.]]])
    """
    r = _factor("pixel_shuffle", "upscale_factor", input, upscale_factor)
    *lead, channels, rows, columns = input.array.shape
    if channels % (r * r):
        raise ShapeError(f"pixel_shuffle: input has {channels} channels; they must be divisible by {r} * {r}")
    z = shapes.reshape(input, *lead, channels // (r * r), r, r, rows, columns)
    at = len(lead)
    z = shapes.permute(z, *range(at), at, at + 3, at + 1, at + 4, at + 2)
    return shapes.reshape(z, *lead, channels // (r * r), rows * r, columns * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r^2, H, W): the reverse of pixel_shuffle."""
    r = _factor("pixel_unshuffle", "downscale_factor", input, downscale_factor)
    *lead, channels, rows, columns = input.array.shape
    if rows % r or columns % r:
        raise ShapeError(f"pixel_unshuffle: input is {rows} by {columns}; both must be divisible by {r}")
    z = shapes.reshape(input, *lead, channels, rows // r, r, columns // r, r)
    at = len(lead)
    z = shapes.permute(z, *range(at), at, at + 2, at + 4, at + 1, at + 3)
    return shapes.reshape(z, *lead, channels * r * r, rows // r, columns // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...) with the channels of `groups` blocks dealt out in turn: 0 1 2 3 -> 0 2 1 3 for two. Zhang et al., 2018."""
    r = _factor("channel_shuffle", "groups", input, groups)
    samples, channels, *lengths = input.array.shape
    if channels % r:
        raise ShapeError(f"channel_shuffle: input has {channels} channels; groups {r} must divide them")
    z = shapes.transpose(shapes.reshape(input, samples, r, channels // r, *lengths), 1, 2)
    return shapes.reshape(z, samples, channels, *lengths)


class PixelShuffle(Module):
    """Channels into space; see `tensorgrad.nn.functional.pixel_shuffle`.

    >>> import tensorgrad
    >>> PixelShuffle(2)(tensorgrad.ones(1, 12, 4, 4)).shape
    (1, 3, 8, 8)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Space into channels; see `tensorgrad.nn.functional.pixel_unshuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of several groups mixed; see `tensorgrad.nn.functional.channel_shuffle`."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
