"""Convolutions and matrix products on the kernels of numba_direct.py: prepares their memory and shares their work.

Images are (N, C, H, W) of any strides; results have NHWC memory, begin at a cache line, and are float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.backend import numba_direct as code
from tensorgrad.backend import team
from tensorgrad.backend.memory import address_of, aligned
from tensorgrad.backend.numba_simd import lanes
from tensorgrad.backend.numba_tile import ROWS_OF_SCRATCH, tables
from tensorgrad.backend.windows import Padding, Pair, extent

Array = np.ndarray[Any, Any]

#: Multiplications from which on threads are worth being asked, some 5 microseconds of them.
SHARED_PRODUCTS = 1 << 19
#: Bytes of scratch memory in which rows of an image are framed: half of a second-level cache.
FRAME_BYTES = 1 << 18
#: Bytes of weights from which on they, not the images, are what is read only once.
LARGE_WEIGHT = 3 << 19
#: Bytes of the weights of one point from which on their gradient is made from panels.
LARGE_POINTWISE = 1 << 20


def address(x: Array | None) -> int:
    """Where the numbers of x begin; 0 for None."""
    return 0 if x is None else address_of(x)


def images_of(shape: tuple[int, ...]) -> Array:
    """An uninitialised (N, C, H, W) whose memory is NHWC and begins at a cache line."""
    n, c, h, w = shape
    return aligned((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def _strides(x: Array) -> tuple[int, int, int, int]:
    """Of N, H, W and C."""
    n, c, h, w = x.strides
    return n, h, w, c


def to_lanes(count: int) -> int:
    """The least multiple of a register's places that is not less than count."""
    return -(-count // lanes()) * lanes()


def packed(w: Array, groups: int) -> Array:
    """w (G, KH, KW, C, O), a view of any strides -> panels for the kernels, (G, KH * KW * C * O to whole registers)."""
    _, kh, kw, channels, features = w.shape
    taps = kh * kw
    # the two axes of taps as one: a view where they lie evenly, as in every weight and most parts of one
    if kh > 1 and kw > 1 and w.strides[1] != kw * w.strides[2]:
        w = np.ascontiguousarray(w)
    step = w.strides[2] if kw > 1 else w.strides[1]
    result = aligned((groups, taps * channels * to_lanes(features)), np.float32)
    panels = -(-features // (2 * lanes()))
    settings = [
        address(w), w.strides[0], step, w.strides[3], w.strides[4], taps, channels, features, address(result),
        team.scratch(lanes() * lanes()),
    ]  # fmt: skip
    team.run(code.pack, settings, groups * panels * -(-channels // 16), w.size >= 1 << 14)
    return result


def padded_bias(bias: Array | None, groups: int) -> Array | None:
    """bias (O) with each group's part filled up to whole registers."""
    if bias is None:
        return None
    features = len(bias) // groups
    result = aligned((groups, to_lanes(features)), np.float32)
    result[:, features:] = 0
    result[:, :features] = bias.reshape(groups, features)
    return result


class _Windows(NamedTuple):
    """Where windows lie: output (i, j) begins at (i sh - top, j sw - left), which may be anywhere."""

    stride: Pair
    dilation: Pair
    kernel: Pair
    top: int
    left: int
    outputs: Pair

    def inside(self, size: Pair) -> bool:
        """Whether no window reaches beyond an image of this size."""
        bottom = (self.outputs[0] - 1) * self.stride[0] + extent(self.kernel[0], self.dilation[0]) - self.top
        right = (self.outputs[1] - 1) * self.stride[1] + extent(self.kernel[1], self.dilation[1]) - self.left
        return self.top <= 0 and self.left <= 0 and bottom <= size[0] and right <= size[1]

    @property
    def width(self) -> int:
        """Columns that the windows of a row of outputs see."""
        return (self.outputs[1] - 1) * self.stride[1] + extent(self.kernel[1], self.dilation[1])

    @property
    def height(self) -> int:
        return (self.outputs[0] - 1) * self.stride[0] + extent(self.kernel[0], self.dilation[0])

    def rows_at_once(self, channels: int) -> int:
        """Rows of outputs whose frame fits into FRAME_BYTES."""
        rows = FRAME_BYTES // (4 * channels * self.width) - extent(self.kernel[0], self.dilation[0])
        return min(self.outputs[0], max(1, rows // self.stride[0]))


def product(x: Array, w: Array, bias: Array | None, z: Array) -> None:
    """z (M, O) = x (M, K) w (K, O) + bias: rows of x and z contiguous, w of any strides."""
    rows, depth = x.shape
    features = w.shape[1]
    panels = packed(w[None, None, None], 1)
    count = -(-features // (2 * lanes()))
    if 4 * rows * depth <= 2 * FRAME_BYTES and count >= 4 * team.threads():
        rows_at_once = rows  # all of x stays in cache: one panel after the other
    else:
        rows_at_once = min(rows, 28 * max(1, min(8, (1 << 16) // (28 * depth))))
    items = -(-rows // rows_at_once)
    panels_at_once = count if items >= 4 * team.threads() else max(1, count * items // (4 * team.threads()))
    full = padded_bias(bias, 1)
    settings = [
        address(tables()), address(x), x.strides[0], rows, depth, address(panels), address(full), address(z), z.strides[0],
        features, rows_at_once, panels_at_once, team.scratch(ROWS_OF_SCRATCH * 2 * lanes()),
    ]  # fmt: skip
    items *= -(-count // panels_at_once)
    team.run(code.product, settings, items, rows * depth * features >= SHARED_PRODUCTS)


def _framed(x: Array, windows: _Windows) -> Array:
    """All of x that windows see, with zeros around: (N, height, width, C) as (N, C, height, width)."""
    n, c, h, w = x.shape
    z = images_of((n, c, windows.height, windows.width))
    settings = [
        address(x), *_strides(x), h, w, c, windows.top, windows.left, windows.height, windows.width, address(z),
    ]  # fmt: skip
    team.run(code.frames, settings, n * windows.height, z.size >= 1 << 15)
    return z


def to_channels_last(x: Array) -> Array:
    """x (N, C, H, W) of any strides with NHWC memory."""
    n, c, h, w = x.shape
    z = images_of(x.shape)
    settings = [address(x), *_strides(x), h, w, c, 0, 0, h, w, address(z)]
    team.run(code.frames, settings, n * h, x.size >= 1 << 15)
    return z


def convolve(x: Array, w: Array, bias: Array | None, z: Array, windows: _Windows, groups: int) -> None:
    """z[n, :, i, j] = bias + the windows of x times w. x, z (N, C, H, W); w (G, KH, KW, C / G, O / G), a view.

    z's channels lie side by side; its other strides are free, so it may be every other point of an array.
    """
    images, channels, height, width = x.shape
    features, rows, columns = z.shape[1:]
    weight_bytes = 4 * w.size
    inside = windows.inside((height, width))
    count = -(-(features // groups) // (2 * lanes()))
    rows_at_once, images_at_once, panels_at_once = windows.rows_at_once(channels), 1, count
    if weight_bytes > LARGE_WEIGHT:
        if not inside:
            x, inside = _framed(x, windows), True
            windows = windows._replace(top=0, left=0)
            height, width = x.shape[2:]
        rows_at_once, images_at_once = rows, images
        panels_at_once = 1
    if inside and x.strides[1] != 4:
        x = to_channels_last(x)
    blocks = -(-images // images_at_once) * -(-rows // rows_at_once) * -(-count // panels_at_once)
    if blocks < 2 * team.threads() and images_at_once == 1:
        rows_at_once = max(1, -(-rows * images // (4 * team.threads())))
        blocks = images * -(-rows // rows_at_once) * -(-count // panels_at_once)
    seen = (rows_at_once - 1) * windows.stride[0] + extent(windows.kernel[0], windows.dilation[0])
    of_thread = ROWS_OF_SCRATCH * 2 * lanes() + (0 if inside else seen * windows.width * channels)
    of_thread = -(-of_thread // 16) * 16
    full = padded_bias(bias, groups)
    panels = packed(w, groups)
    zn, zh, zw, _ = _strides(z)
    settings = [
        address(tables()), address(x), *_strides(x), images, height, width, channels // groups, groups,
        windows.top, windows.left, *windows.stride, *windows.dilation, *windows.kernel,
        address(panels), address(full), address(z), zn, zh, zw, rows, columns, features // groups,
        images_at_once, rows_at_once, panels_at_once, int(inside), team.scratch(of_thread), 4 * of_thread,
    ]  # fmt: skip
    team.run(code.convolve, settings, blocks, z.size * (w.size // features) >= SHARED_PRODUCTS)


def _by_group(w: Array, groups: int) -> Array:
    """w (O, C / G, KH, KW) -> a view (G, KH, KW, C / G, O / G)."""
    features, channels, kh, kw = w.shape
    return w.reshape(groups, features // groups, channels, kh, kw).transpose(0, 3, 4, 2, 1)


def _points(x: Array) -> Array | None:
    """x (N, C, H, W) as rows of points (N * H * W, C), a view; None where that needs a copy."""
    rows = x.transpose(0, 2, 3, 1)
    if rows.flags.c_contiguous:
        return rows.reshape(-1, x.shape[1])
    n, h, w, c = rows.shape
    if c > 1 and rows.strides[3] != 4:
        return None
    step = rows.strides[2]
    if (rows.strides[1] != w * step and h > 1) or (rows.strides[0] != h * w * step and n > 1) or step < 4 * c:
        return None
    return np.lib.stride_tricks.as_strided(rows, (n * h * w, c), (step, 4))


def conv2d(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Padding, dilation: Pair, groups: int, outputs: Pair
) -> Array:
    """x * w + bias; see ConvolutionKernels.conv2d."""
    z = images_of((x.shape[0], w.shape[0], *outputs))
    if w.shape[2:] == (1, 1) and groups == 1 and padding == (0, 0, 0, 0):
        x = _every(x, stride, outputs)
        points = _points(x)
        if points is None:
            points = _points(to_channels_last(x))
        product(points, w[:, :, 0, 0].T, bias, z.transpose(0, 2, 3, 1).reshape(-1, w.shape[0]))  # type: ignore[arg-type]
        return z
    kernel: Any = w.shape[2:]
    convolve(
        x, _by_group(w, groups), bias, z, _Windows(stride, dilation, kernel, padding[0], padding[2], outputs), groups
    )
    return z


def conv2d_input_grad(
    dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dx[h] = sum of dz[i] w[k] over i stride + k dilation - padding = h; see ConvolutionKernels.conv2d_input_grad.

    With a stride of s, the places h = s u + a see only the taps k with k - (a + padding) divisible by s: each remainder a
    is a convolution of dz by every s-th tap, turned round. (Stride and dilation are not both above 1.)
    """
    dx = images_of((dz.shape[0], w.shape[1] * groups, *input_size))
    if w.shape[2:] == (1, 1) and groups == 1 and padding == (0, 0, 0, 0) and stride == (1, 1):
        points = _points(dz)
        if points is None:
            points = _points(to_channels_last(dz))
        product(points, w[:, :, 0, 0], None, dx.transpose(0, 2, 3, 1).reshape(-1, w.shape[1]))  # type: ignore[arg-type]
        return dx
    # (G, KH, KW, O / G, C / G): features are what is summed over
    turned = _by_group(w, groups).transpose(0, 1, 2, 4, 3)
    for a in range(min(stride[0], input_size[0])):
        for b in range(min(stride[1], input_size[1])):
            part = dx[:, :, a :: stride[0], b :: stride[1]]
            first_row, row = divmod(a + padding[0], stride[0])
            first_column, column = divmod(b + padding[2], stride[1])
            taps = turned[:, row :: stride[0], column :: stride[1]]
            if taps.size == 0:
                part[...] = 0
                continue
            kernel = taps.shape[1], taps.shape[2]
            top = extent(kernel[0], dilation[0]) - 1 - first_row
            left = extent(kernel[1], dilation[1]) - 1 - first_column
            windows = _Windows((1, 1), dilation, kernel, top, left, part.shape[2:])  # type: ignore[arg-type]
            convolve(dz, taps[:, ::-1, ::-1], None, part, windows, groups)
    return dx


def conv2d_weight_grad(
    dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """dw, contiguous; see ConvolutionKernels.conv2d_weight_grad."""
    if kernel_size == (1, 1) and groups == 1 and padding == (0, 0, 0, 0):
        x, stride = _every(x, stride, dz.shape[2:]), (1, 1)  # type: ignore[arg-type]
        if 4 * dz.shape[1] * x.shape[1] >= LARGE_POINTWISE and x.shape[1] % lanes() == 0:
            return _pointwise_weight_grad(dz, x)
    images, features, rows, columns = dz.shape
    channels = x.shape[1] // groups
    windows = _Windows(stride, dilation, kernel_size, padding[0], padding[2], (rows, columns))
    dz, whole = _in_whole_registers(dz, groups)
    depth = math.prod(kernel_size) * channels
    inside = windows.inside(x.shape[2:])  # type: ignore[arg-type]
    by_tiles = 4 * groups * depth * whole > LARGE_WEIGHT
    if by_tiles and not inside:
        x, inside = _framed(x, windows), True
        windows = windows._replace(top=0, left=0)
    elif inside and x.strides[1] != 4:
        x = to_channels_last(x)
    if x.shape[2:] == (rows, columns) and kernel_size == (1, 1) and stride == (1, 1):
        # one long line of points for each image
        if _points(x) is not None and dz.strides[2] == columns * dz.strides[3]:
            x, dz = _one_line(x), _one_line(dz)
            rows, columns = 1, rows * columns
            if by_tiles and _points(dz) is not None:  # of all images: dw is written once
                x, dz = (a.transpose(2, 1, 0, 3).reshape(1, a.shape[1], 1, -1) for a in (x, dz))
                images, columns = 1, images * columns
            windows = windows._replace(outputs=(rows, columns))
    rows_at_once = windows.rows_at_once(channels * groups)
    rows_at_once = max(rows_at_once, min(rows, -(-256 // columns)))
    row_blocks = -(-rows // rows_at_once)
    parts = 1 if by_tiles else min(team.shares(), images * row_blocks)
    dw = aligned((parts, groups, depth, whole), np.float32)
    seen = (rows_at_once - 1) * stride[0] + extent(kernel_size[0], dilation[0])
    of_thread = ROWS_OF_SCRATCH * 2 * lanes() + (0 if inside else seen * windows.width * channels * groups)
    gathered = by_tiles and images == rows == 1 and kernel_size == (1, 1)  # points of x, BLOCK channels at a time
    if gathered:
        of_thread = columns * code.BLOCK
    of_thread = -(-of_thread // 16) * 16
    zn, zh, zw, _ = _strides(dz)
    settings = [
        address(tables()), address(x), *_strides(x), images, *x.shape[2:], channels, groups, windows.top, windows.left,
        *stride, *dilation, *kernel_size, address(dw), 0, address(dz), zn, zh, zw, rows, columns, whole,
        1, rows_at_once, int(gathered), int(inside), team.scratch(of_thread), 4 * of_thread,
    ]  # fmt: skip
    worthwhile = images * rows * columns * features * depth >= SHARED_PRODUCTS
    if by_tiles:
        merged = dilation[1] == 1 and x.strides[3] == channels * 4
        run, calls = (kernel_size[1] * channels, 1) if merged else (channels, kernel_size[1])
        items = groups * kernel_size[0] * calls * -(-run // code.BLOCK)
        team.run(code.gradient_by_tiles, settings, items, worthwhile)
    else:
        team.run(code.gradient, settings, images * row_blocks, worthwhile, parts)
    return unpacked(dw, features // groups, channels, kernel_size)


def _every(x: Array, stride: Pair, outputs: Pair) -> Array:
    """The points of x that a kernel of one point sees, with NHWC memory where that takes a copy."""
    if stride == (1, 1):
        return x
    return to_channels_last(x[:, :, :: stride[0], :: stride[1]][:, :, : outputs[0], : outputs[1]])


def _pointwise_weight_grad(dz: Array, x: Array) -> Array:
    """dw (O, C, 1, 1) = the sum over all points of dz x."""
    from tensorgrad.backend import matrix

    points = []
    for images in (dz, x):
        rows = _points(images)
        points.append(_points(to_channels_last(images)) if rows is None else rows)
    dw = matrix.transposed_by_panels(points[0], points[1])  # type: ignore[arg-type]
    return dw.reshape(*dw.shape, 1, 1)


def unpacked(parts: Array, features: int, channels: int, kernel_size: Pair) -> Array:
    """The sum of (parts, G, T * C, O to whole registers) as (G * O, C, KH, KW)."""
    count, groups, _, whole = parts.shape
    taps = math.prod(kernel_size)
    dw = aligned((groups * features, channels, *kernel_size), np.float32)
    scratch = team.scratch(taps * lanes())
    settings = [address(parts), count, groups, taps, channels, whole, features, address(dw), scratch]
    team.run(code.unpack, settings, groups * channels, parts.size >= 1 << 15)
    return dw


def _one_line(x: Array) -> Array:
    """x (N, C, H, W) as (N, C, 1, H * W), a view."""
    n, c, h, w = x.shape
    sn, sc, _, sw = x.strides
    return np.lib.stride_tricks.as_strided(x, (n, c, 1, h * w), (sn, sc, h * w * sw, sw))


def _in_whole_registers(dz: Array, groups: int) -> tuple[Array, int]:
    """dz with NHWC memory and each group's features filled up with zeros to whole registers, and how many they are then."""
    n, c, h, w = dz.shape
    features = c // groups
    whole = to_lanes(features)
    if whole == features:
        return (dz if dz.strides[1] == 4 else to_channels_last(dz)), whole
    filled = aligned((n, h, w, groups, whole), np.float32)
    filled[..., features:] = 0
    filled[..., :features] = dz.transpose(0, 2, 3, 1).reshape(n, h, w, groups, features)
    return filled.reshape(n, h, w, groups * whole).transpose(0, 3, 1, 2), whole
