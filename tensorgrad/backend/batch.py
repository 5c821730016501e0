"""Convolutions of thin images whose memory is (C, H, W, N), on the kernels of numba_batch.py: memory and work for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import numba_batch as code
from tensorgrad.backend import team
from tensorgrad.backend.direct import SHARED_PRODUCTS, address
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.numba_simd import lanes
from tensorgrad.backend.numba_tile import tables
from tensorgrad.backend.windows import Padding, Pair

Array = np.ndarray[Any, Any]

#: Products that a sum of a weight gradient takes in one register before it is added to others.
LONGEST_SUM = 1 << 12
#: Pieces of work of a weight gradient, so that every thread finds some.
PIECES = 16
#: Numbers of a matrix from which on threads transpose it together.
SHARED_NUMBERS = 1 << 15


def is_batch_last(x: Array) -> bool:
    """Whether the memory of x (N, ...) is (..., N), and N whole registers."""
    return x.ndim > 1 and x.strides[0] == x.itemsize and len(x) % lanes() == 0 and _last(x).flags.c_contiguous


def _last(x: Array) -> Array:
    """A view of x (N, ...) as (..., N)."""
    return x.transpose(*range(1, x.ndim), 0)


def new(shape: tuple[int, ...]) -> Array:
    """An uninitialised (N, ...) of float32 with batch-last memory."""
    return aligned((*shape[1:], shape[0]), np.float32).transpose(len(shape) - 1, *range(len(shape) - 1))


def turned(matrix: Array) -> Array:
    """matrix (M, K) of float32, its rows contiguous, as a new (K, M)."""
    result = aligned(matrix.shape[::-1], np.float32)
    turn_into(result, matrix, 1, 0, matrix.strides[0], *matrix.shape)
    return result


def turn_into(z: Array, x: Array, count: int, apart: int, step: int, rows: int, columns: int) -> None:
    """`count` matrices in the memory of x, `apart` bytes from each to the next and rows `step` bytes, transposed into z's."""
    words = [address(x), apart, step, rows, columns, address(z)]
    team.run(code.turned, words, count * -(-columns // lanes()), z.size >= SHARED_NUMBERS)


def to_batch_last(x: Array) -> Array:
    """x (N, ...) of float32 and of any strides, with batch-last memory; x itself where it has it."""
    if is_batch_last(x):
        return x
    lines = turned(np.ascontiguousarray(x).reshape(len(x), -1))
    return lines.reshape(*x.shape[1:], len(x)).transpose(x.ndim - 1, *range(x.ndim - 1))


def to_planes(x: Array) -> Array:
    """x (N, ...) with batch-last memory, made contiguous."""
    return turned(_last(x).reshape(-1, len(x))).reshape(x.shape)


def channel_sums(x: Array) -> Array:
    """The sums of x (N, C, ...), batch last, over all but its channels: (C)."""
    sums: Array = _last(x).reshape(x.shape[1], -1).sum(axis=1)
    return sums


def conv2d(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair
) -> Array:
    """x * w + bias; see ConvolutionKernels.conv2d."""
    x, w = to_batch_last(x), np.ascontiguousarray(w)
    bias = None if bias is None else np.ascontiguousarray(bias)
    images, channels, height, width = x.shape
    z = new((images, len(w), *outputs))
    settings = [
        address(tables()), address(x), images, channels, height, width, padding[0], padding[2], *stride, *dilation,
        *w.shape[2:], address(w), address(bias), address(z), len(w), *outputs,
    ]  # fmt: skip
    items = outputs[0] * -(-images // (2 * lanes()))
    team.run(code.convolve, settings, items, z.size * w[0].size >= SHARED_PRODUCTS)
    return z


def conv2d_input_grad(dz: Array, w: Array, input_size: Pair, padding: Padding, dilation: Pair) -> Array:
    """dx with a stride of 1: dz convolved by the kernel turned round; see ConvolutionKernels.conv2d_input_grad."""
    beyond = [(size - 1) * step for size, step in zip(w.shape[2:], dilation)]
    around = beyond[0] - padding[0], beyond[0] - padding[1], beyond[1] - padding[2], beyond[1] - padding[3]
    turned_round = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return conv2d(dz, turned_round, None, (1, 1), around, dilation, input_size)


def conv2d_weight_grad(dz: Array, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """dw, contiguous; see ConvolutionKernels.conv2d_weight_grad."""
    dz, x = to_batch_last(dz), _framed(to_batch_last(x), padding)
    images, channels, height, width = x.shape
    features, rows, columns = dz.shape[1:]
    blocks = _blocks(features, kernel[1])
    pieces = channels * kernel[0] * len(blocks)
    sums = rows * columns * images // lanes()
    parts = min(rows, max(-(-PIECES // pieces), -(-sums // LONGEST_SUM)))
    dw = aligned((parts, features, channels, *kernel), np.float32)
    settings = [
        address(blocks), len(blocks), address(x), images, channels, height, width, *stride, *dilation, *kernel, address(dw),
        address(dz), features, rows, columns, parts,
    ]  # fmt: skip
    team.run(code.gradient, settings, parts * pieces, dz.size * dw[0, 0].size >= SHARED_PRODUCTS)
    return dw[0] if parts == 1 else dw.sum(axis=0)


def _framed(x: Array, padding: Padding) -> Array:
    """x (N, C, H, W) with zeros around every image."""
    if not any(padding):
        return x
    top, bottom, left, right = padding
    n, c, h, w = x.shape
    framed = new((n, c, top + h + bottom, left + w + right))
    framed[:, :, :top] = 0
    framed[:, :, top + h :] = 0
    framed[:, :, top : top + h, :left] = 0
    framed[:, :, top : top + h, left + w :] = 0
    framed[:, :, top : top + h, left : left + w] = x
    return framed


def _blocks(features: int, taps: int) -> Array:
    """The tiles that make up features x taps: rows (first feature, first tap, address), int64."""
    found = []
    for first_tap, some_taps in _split(taps, code.TAPS[lanes()]):
        for first, some in _split(features, code.FEATURES[lanes()]):
            found.append((first, first_tap, code.dots(some, some_taps).address))
    return np.array(found, np.int64)


def _split(count: int, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """count as a sum of sizes, the largest first: (where it begins, size)."""
    parts, first = [], 0
    while first < count:
        size = next(size for size in sizes if size <= count - first)
        parts.append((first, size))
        first += size
    return parts
