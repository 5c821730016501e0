"""Convolution as matrix products, written once for every array library.

conv2d is what the literature calls cross-correlation:

    z[n, o, i, j] = sum_{c, k, l} w[o, c, k, l] x[n, c, i * stride - top + k * dilation, j * stride - left + l * dilation]

With the scalar <dz, conv2d(x, w)>, linear in each of dz, x and w, come two more maps: freeing x gives
conv2d_input_grad(dz, w), freeing w gives conv2d_weight_grad(dz, x). All three gather what the windows see into columns
(im2col; K. Chellapilla, S. Puri, P. Simard, "High Performance Convolutional Neural Networks for Document Processing",
2006), so that the sums become matrix products:

    columns  (n, groups, C/groups * KH * KW, OH * OW)
    z        =     w    @ columns          dcolumns = w^T @ dz, added back to where the columns came from
    dw       =     dz   @ columns^T

Layouts are (N, C, H, W) for x and dx, (O, C / groups, KH, KW) for w and dw, (N, O, OH, OW) for z and dz, of any
strides. Results have the dtype of the inputs; float16 is summed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tensorgrad.backend.windows import Padding, Pair, chunks, conv2d_output_size, taps

Array = Any
Geometry = tuple[Pair, Padding, Pair]  # stride, padding, dilation


class ConvolutionKernels:
    """conv2d and its two adjoints over the array module `self.xp`."""

    xp: Any
    #: About how many elements of scratch memory are used at once: images are worked on in chunks.
    scratch_elements = 1 << 25
    #: Whether conv2d_bias_relu is less work than conv2d_bias and relu over its memory.
    rectifies_convolutions = False

    def conv2d(self, x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int) -> Array:
        """z = x * w.

        x (N, C, H, W), w (O, C / groups, KH, KW), padding (top, bottom, left, right) -> z (N, O, OH, OW).
        Raises ShapeError where the shapes and settings do not go together.
        """
        xp = self.xp
        outputs = conv2d_output_size(x.shape, w.shape, stride, padding, dilation, groups)
        images, features, kernel = x.shape[0], w.shape[0], w.shape[2:]
        geometry = stride, padding, dilation
        weight = summable(xp, w).reshape(groups, features // groups, -1)
        parts = []
        for some in self._image_chunks(x.shape, kernel, outputs):
            columns = self._columns(summable(xp, x[some]), kernel, geometry, outputs, groups)
            # (groups, O/groups, K) @ (n, groups, K, OH*OW)
            part = self.matmul(weight, columns).reshape(-1, features, *outputs)
            parts.append(part.astype(x.dtype, copy=False))
        if len(parts) == 1:
            return parts[0]
        return xp.concatenate(parts, axis=0) if parts else xp.empty((images, features, *outputs), x.dtype)

    def conv2d_bias(
        self, x: Array, w: Array, bias: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        """z = x * w + bias, bias (O) for the features; the rest as conv2d."""
        z = self.conv2d(x, w, stride, padding, dilation, groups)
        z += bias.reshape(-1, 1, 1)
        return z

    def conv2d_bias_relu(
        self, x: Array, w: Array, bias: Array, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        """z = max(x * w + bias, 0), as conv2d_bias."""
        return self.relu(self.conv2d_bias(x, w, bias, stride, padding, dilation, groups))

    def relu(self, x: Array) -> Array:
        return self.xp.maximum(x, 0)

    def conv2d_input_grad(
        self, dz: Array, w: Array, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        """dx with <dx, x> = <dz, x * w> for every x of input_size = (H, W); zero where no window reaches.

        dz (N, O, OH, OW), w (O, C / groups, KH, KW) -> dx (N, C, H, W).
        """
        xp = self.xp
        images, features, outputs = dz.shape[0], dz.shape[1], dz.shape[2:]
        channels, kernel = w.shape[1] * groups, w.shape[2:]
        geometry = stride, padding, dilation
        weight = summable(xp, w).reshape(groups, features // groups, -1).transpose(0, 2, 1)
        dx = xp.zeros((images, channels, *input_size), weight.dtype)
        for some in self._image_chunks(dx.shape, kernel, outputs):
            part = summable(xp, dz[some]).reshape(-1, groups, features // groups, outputs[0] * outputs[1])
            # (groups, K, O/groups) @ (n, groups, O/groups, OH*OW)
            dcolumns = self.matmul(weight, part).reshape(part.shape[0], channels, *kernel, *outputs)
            self._from_columns(dcolumns, dx[some], geometry)
        return dx.astype(dz.dtype, copy=False)

    def conv2d_weight_grad(
        self, dz: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
    ) -> Array:
        """dw with <dw, w> = <dz, x * w> for every w whose window is kernel_size = (KH, KW).

        dz (N, O, OH, OW), x (N, C, H, W) -> dw (O, C / groups, KH, KW), contiguous.
        """
        xp = self.xp
        features, outputs = dz.shape[1], dz.shape[2:]
        channels = x.shape[1]
        geometry = stride, padding, dilation
        shape = (features, channels // groups, *kernel_size)
        dw: Array = None
        for some in self._image_chunks(x.shape, kernel_size, outputs, math.prod(shape)):
            columns = self._columns(summable(xp, x[some]), kernel_size, geometry, outputs, groups)
            part = summable(xp, dz[some]).reshape(-1, groups, features // groups, outputs[0] * outputs[1])
            # (n, groups, O/groups, OH*OW) @ (n, groups, OH*OW, K), summed over the images
            sums = self.matmul(part, columns.transpose(0, 1, 3, 2)).sum(axis=0).reshape(shape)
            dw = sums if dw is None else dw + sums
        return xp.zeros(shape, dz.dtype) if dw is None else dw.astype(dz.dtype, copy=False)

    def matmul(self, x: Array, y: Array) -> Array:
        """The product of matrices, or of stacks of them."""
        return self.xp.matmul(x, y)

    def _columns(self, x: Array, kernel: Pair, geometry: Geometry, outputs: Pair, groups: int) -> Array:
        """im2col: (n, C, H, W) -> (n, groups, C/groups * KH * KW, OH * OW), zero where a window lies in the padding."""
        images, channels = x.shape[:2]
        columns = self.xp.zeros((images, channels, *kernel, *outputs), x.dtype)
        for tap in taps(x.shape[2:], kernel, *geometry, outputs):
            column = x[:, :, tap.input_rows, tap.input_columns]
            columns[:, :, tap.row, tap.column, tap.rows, tap.columns] = column
        return columns.reshape(images, groups, -1, outputs[0] * outputs[1])

    def _from_columns(self, dcolumns: Array, dx: Array, geometry: Geometry) -> None:
        """The adjoint, added to a dx of zeros: dcolumns (n, C, KH, KW, OH, OW), dx (n, C, H, W)."""
        for tap in taps(dx.shape[2:], dcolumns.shape[2:4], *geometry, dcolumns.shape[4:]):
            dx[:, :, tap.input_rows, tap.input_columns] += dcolumns[:, :, tap.row, tap.column, tap.rows, tap.columns]

    def _image_chunks(
        self, x_shape: tuple[int, ...], kernel: Pair, outputs: Pair, results_of_an_image: int = 0
    ) -> Iterator[slice]:
        columns_of_an_image = x_shape[1] * kernel[0] * kernel[1] * outputs[0] * outputs[1]
        return chunks(x_shape[0], self.scratch_elements // max(columns_of_an_image, results_of_an_image))


def summable(xp: Any, x: Array) -> Array:
    """x in the dtype its sums are taken in: float32 for float16, else its own."""
    return x.astype(xp.float32) if x.dtype == xp.float16 else x
