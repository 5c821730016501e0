"""Looking images and volumes up at arbitrary places: spatial transformers. Jaderberg et al., 2015."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, OperandError, ShapeError, UnsupportedError
from tensorgrad.nn.arguments import one_of
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.grid_sampling import GridSample
from tensorgrad.ops.matmul import matmul
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
    _check(input, grid, mode, padding_mode)
    lookup = GridSample(mode, padding_mode, bool(align_corners))
    z: Tensor = lookup.formula(input, grid) if mode == "bicubic" else lookup(input, grid)
    return z


def _check(input: Any, grid: Any, mode: str, padding_mode: str) -> None:
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
