"""Looking images and volumes up at arbitrary places: spatial transformers. Jaderberg et al., 2015.

A place is made of arithmetic on the grid; the values round it are gathered. So the derivatives of every order, with respect
to the picture and to the grid, are those of the arithmetic and of the gathering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, int64
from tensorgrad.errors import ArgumentError, OperandError, ShapeError, UnsupportedError
from tensorgrad.nn.arguments import one_of
from tensorgrad.ops import elementwise
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.activation import Hardtanh
from tensorgrad.ops.indexing import TakeAlongAxis
from tensorgrad.ops.matmul import matmul
from tensorgrad.ops.resampling import cubic_weights
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for grid_sample that an affine map makes: the place of every pixel, as (x, y) from -1 to 1, times theta.

    theta          (N, 2, 3) for images, (N, 3, 4) for volumes
    size           (N, C, H, W) or (N, C, D, H, W), of the result of grid_sample
    align_corners  whether -1 and 1 are the centres of the corner pixels, or their outer edges (None too)

    Returns (N, H, W, 2) or (N, D, H, W, 3).

    >>> import tensorgrad
    >>> affine_grid(tensorgrad.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2))
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    if not isinstance(theta, Tensor):
        raise OperandError(f"affine_grid: theta is a {type(theta).__name__}; it must be a Tensor")
    check_floating("affine_grid", theta)
    samples, lengths = int(size[0]), [int(n) for n in size[2:]]
    count = len(lengths)
    if count not in (2, 3):
        raise UnsupportedError(f"affine_grid: size is {tuple(size)}; it must be (N, C, H, W) or (N, C, D, H, W)")
    if theta.array.shape != (samples, count, count + 1):
        raise ArgumentError(
            f"affine_grid: theta has shape {theta.shape}; size {tuple(size)} needs {(samples, count, count + 1)}"
        )
    if min(lengths) < 1:
        raise ShapeError(f"affine_grid: size is {tuple(size)}; every length must be at least 1")
    axes = [_centres(n, bool(align_corners)) for n in lengths]
    places = numpy.meshgrid(*axes, indexing="ij")[::-1]  # x first, then y, then z
    base = numpy.stack([*places, numpy.ones(lengths)], axis=-1).reshape(-1, count + 1)
    known = Tensor(backend_of(theta.array).from_host(base.astype(theta.dtype), theta.device))
    return shapes.reshape(matmul(known, shapes.transpose(theta, 1, 2)), samples, *lengths, count)


def _centres(n: int, align_corners: bool) -> numpy.ndarray:
    """The centres of n pixels between -1 and 1."""
    if n == 1:
        return numpy.zeros(1)
    return numpy.linspace(-1, 1, n) * (1 if align_corners else (n - 1) / n)


@under_autocast
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The input at the places of the grid, between its pixels too.

    input          (N, C, H, W) or (N, C, D, H, W)
    grid           (N, OH, OW, 2) or (N, OD, OH, OW, 3): x, y (and z) of each result, -1 to 1 from edge to edge
    mode           'bilinear' (for volumes too), 'nearest', for images also 'bicubic'
    padding_mode   what lies outside: 'zeros', 'border' (the nearest edge), 'reflection'
    align_corners  whether -1 and 1 are the centres of the corner pixels, or their outer edges (None too)

    >>> import tensorgrad
    >>> picture = tensorgrad.tensor([[[[1.0, 3.0]]]])
    >>> grid_sample(picture, tensorgrad.tensor([[[[0.0, 0.0], [0.25, 0.0]]]]))
    tensor([[[[2.0000, 2.5000]]]])
    """
    count = _check(input, grid, mode, padding_mode)
    samples, channels, *lengths = input.array.shape
    wanted = grid.array.shape[1:-1]
    listed = shapes.reshape(grid, samples, 1, -1, count)
    places = [listed[..., axis] for axis in reversed(range(count))]  # (N, 1, L) each, rows before columns
    align = bool(align_corners)
    at = [_in_pixels(x, n, align) for x, n in zip(places, lengths)]
    if mode != "bicubic":
        at = [_brought_inside(x, n, padding_mode, align) for x, n in zip(at, lengths)]
    neighbours = _NEIGHBOURS[mode]
    axes = [neighbours(x) for x in at]
    flat = shapes.reshape(input, samples, channels, -1)
    z: Any = None
    for corner in product(*axes):
        part = _values_at(flat, corner, lengths, padding_mode, align)
        z = part if z is None else z + part
    return shapes.reshape(z, samples, channels, *wanted)


def _check(input: Any, grid: Any, mode: str, padding_mode: str) -> int:
    """How many dimensions are looked up."""
    for name, x in (("input", input), ("grid", grid)):
        if not isinstance(x, Tensor):
            raise OperandError(f"grid_sample: {name} is a {type(x).__name__}; it must be a Tensor")
        check_floating("grid_sample", x)
    one_of("grid_sample", "mode", mode, ("bilinear", "nearest", "bicubic"))
    one_of("grid_sample", "padding_mode", padding_mode, ("zeros", "border", "reflection"))
    count = input.array.ndim - 2
    if count not in (2, 3) or grid.array.ndim != count + 2 or grid.array.shape[-1] != count:
        raise ShapeError(
            f"grid_sample: input has shape {input.shape} and grid {grid.shape}; they must be (N, C, H, W) and (N, OH, OW, "
            "2), or (N, C, D, H, W) and (N, OD, OH, OW, 3)"
        )
    if grid.array.shape[0] != input.array.shape[0] or grid.array.dtype != input.array.dtype:
        raise ShapeError(
            f"grid_sample: input is {input.shape} of {input.dtype} and grid {grid.shape} of {grid.dtype}; they need as many "
            "samples and the same dtype"
        )
    if min(input.array.shape[2:]) < 1:
        raise ShapeError(f"grid_sample: input has shape {input.shape}; every length must be at least 1")
    if mode == "bicubic" and count == 3:
        raise ArgumentError(
            "grid_sample: mode is 'bicubic', which is for images; use 'bilinear' or 'nearest' for volumes"
        )
    return count


def _in_pixels(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """From -1 .. 1 to pixels, 0 the centre of the first."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) * 0.5


def _brought_inside(x: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(x, n, align_corners)
    return Hardtanh(0.0, float(n - 1))(x)


def _reflected(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """x mirrored at the ends as often as it takes, which are pixels' centres or edges.

    Between two mirrors the map is x -> sign x + shift; both are constants for the derivative.
    """
    low, span = (0.0, n - 1.0) if align_corners else (-0.5, float(n))
    if span == 0:
        return x * 0.0
    backend = backend_of(x.array)
    turns = backend.floor((x.array - low) / span)
    odd = turns - 2 * backend.floor(turns / 2)
    sign = 1 - 2 * odd
    shift = low - sign * (low + turns * span) + odd * span
    return x * Tensor(sign) + Tensor(shift)


# The pixels that a place is made of, along one axis: their numbers, as floating-point arrays, and their weights.

Neighbours = list[tuple[Any, Tensor]]


def _two(x: Tensor) -> Neighbours:
    left = backend_of(x.array).floor(x.array)
    part = x - Tensor(left)
    return [(left, 1 - part), (left + 1, part)]


def _one(x: Tensor) -> Neighbours:
    backend = backend_of(x.array)
    up = backend.floor(x.array + 0.5)
    half_way_to_odd = (up - x.array == 0.5) & (up - 2 * backend.floor(up / 2) == 1)
    # a weight of 1 through which the grid gets a gradient, of zeros
    return [
        (backend.where(half_way_to_odd, up - 1, up), elementwise.where(Tensor(backend.zeros(up.shape, bool_)), x, 1.0))
    ]


def _four(x: Tensor) -> Neighbours:
    left = backend_of(x.array).floor(x.array)
    return [(left + k - 1, weight) for k, weight in enumerate(cubic_weights(x - Tensor(left)))]


_NEIGHBOURS: dict[str, Callable[[Tensor], Neighbours]] = {"bilinear": _two, "nearest": _one, "bicubic": _four}


def _values_at(
    flat: Tensor, corner: tuple[tuple[Any, Tensor], ...], lengths: list[int], padding_mode: str, align_corners: bool
) -> Tensor:
    """One of the pixels round every place, times its weight: (N, C, L). Outside of the picture a true zero."""
    backend = backend_of(flat.array)
    index: Any = 0
    outside: Any = None
    weight: Any = None
    for (place, part), n in zip(corner, lengths):
        if padding_mode != "zeros":  # of bicubic; the others are inside but for neighbours of weight 0
            place = _brought_inside(Tensor(place), n, padding_mode, align_corners).array
        beyond = backend.logical_not((place >= 0) & (place <= n - 1))  # nan is beyond, too
        outside = beyond if outside is None else outside | beyond
        index = index * n + backend.cast(backend.where(beyond, 0, place), int64)
        weight = part if weight is None else weight * part
    value = TakeAlongAxis(2)(flat, Tensor(index))
    value = elementwise.where(Tensor(backend.logical_not(outside)), value, 0.0)
    return value * weight
