"""Pooling, written once for every array library: loops over the elements of the window, each step a whole array.

Max pooling remembers in `winners` which element of its window won: the tap's number, row * KW + column of the kernel, one
byte an output for windows of up to 256 elements. It needs no size of the input and makes the two linear maps that
belong to fixed winners one comparison a tap: scatter (the gradient: dz -> dx, adding up where windows overlap) and its
adjoint gather (the tangent: dx -> dz). `max_pool2d_indices` turns winners into PyTorch's flat indices.

Layouts are (N, C, H, W) and (N, C, OH, OW), of any strides; padding is (top, bottom, left, right).
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.convolution import summable
from tensorgrad.backend.tables import table
from tensorgrad.backend.windows import Padding, Pair, pool2d_output_size, reach, taps
from tensorgrad.errors import ShapeError

Array = Any


class PoolingKernels:
    """Max and average pooling with their adjoints, over the array module `self.xp`."""

    xp: Any

    def max_pool2d(
        self, x: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair, ceil_mode: bool
    ) -> tuple[Array, Array]:
        """The greatest value of every window, and the number of the tap it came from.

        The padding counts as -inf. Of equal values the first wins; a nan wins over everything, and of several the
        last (as in PyTorch). x (N, C, H, W) -> z, winners (N, C, OH, OW).
        Raises ShapeError where the settings do not go together.
        """
        xp = self.xp
        size = x.shape[2:]
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, dilation, ceil_mode, "max_pool2d")
        z = xp.full((*x.shape[:2], *outputs), -xp.inf, x.dtype)
        winners = xp.empty(z.shape, winner_dtype(xp, kernel_size))
        winners[...] = table(xp, first_taps(kernel_size, stride, padding, dilation, outputs), winners.dtype)
        for tap in taps(size, kernel_size, stride, padding, dilation, outputs):
            value = x[:, :, tap.input_rows, tap.input_columns]
            best = z[:, :, tap.rows, tap.columns]
            winner = winners[:, :, tap.rows, tap.columns]
            better = (value > best) | xp.isnan(value)
            best[...] = xp.where(better, value, best)
            winner[...] = xp.where(better, tap.number, winner)
        return z, winners

    def max_pool2d_scatter(
        self,
        dz: Array,
        winners: Array,
        input_size: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
    ) -> Array:
        """dx[winner's place] += dz for every window; zero elsewhere. dz, winners (N, C, OH, OW) -> dx (N, C, H, W)."""
        xp = self.xp
        dx = xp.zeros((*dz.shape[:2], *input_size), dz.dtype)
        for tap in taps(input_size, kernel_size, stride, padding, dilation, dz.shape[2:]):
            won = winners[:, :, tap.rows, tap.columns] == tap.number
            dx[:, :, tap.input_rows, tap.input_columns] += xp.where(won, dz[:, :, tap.rows, tap.columns], 0)
        return dx

    def max_pool2d_gather(
        self, dx: Array, winners: Array, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        """dz = dx[winner's place] for every window. dx (N, C, H, W), winners (N, C, OH, OW) -> dz (N, C, OH, OW)."""
        xp = self.xp
        dz = xp.zeros(winners.shape, dx.dtype)
        for tap in taps(dx.shape[2:], kernel_size, stride, padding, dilation, winners.shape[2:]):
            won = winners[:, :, tap.rows, tap.columns] == tap.number
            value = dz[:, :, tap.rows, tap.columns]
            value[...] = xp.where(won, dx[:, :, tap.input_rows, tap.input_columns], value)
        return dz

    def max_pool2d_indices(
        self, winners: Array, input_size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        """The winners as int64 indices h * W + w into the plane of the input, as PyTorch's return_indices gives them."""
        xp = self.xp
        number = winners.astype(xp.int64)
        first_rows = (xp.arange(winners.shape[2]) * stride[0] - padding[0]).reshape(-1, 1)
        first_columns = xp.arange(winners.shape[3]) * stride[1] - padding[2]
        rows = first_rows + number // kernel_size[1] * dilation[0]
        columns = first_columns + number % kernel_size[1] * dilation[1]
        return rows * input_size[1] + columns

    def avg_pool2d(
        self,
        x: Array,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> Array:
        """The sum of every window over a divisor. x (N, C, H, W) -> z (N, C, OH, OW), both of x's dtype.

        The divisor is divisor_override, or else the number of the window's elements inside the input, together with those
        in its padding if count_include_pad; what a window of ceil_mode hangs over the padded input never counts.
        Raises ShapeError where the settings do not go together.
        """
        outputs = pool2d_output_size(x.shape, kernel_size, stride, padding, (1, 1), ceil_mode, "avg_pool2d")
        z = self._window_sums(summable(self.xp, x), kernel_size, stride, padding, outputs)
        z /= self._divisors(
            z.dtype, x.shape[2:], kernel_size, stride, padding, outputs, count_include_pad, divisor_override
        )
        return z.astype(x.dtype, copy=False)

    def avg_pool2d_input_grad(
        self,
        dz: Array,
        input_size: Pair,
        kernel_size: Pair,
        stride: Pair,
        padding: Padding,
        ceil_mode: bool,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> Array:
        """dx with <dx, x> = <dz, avg_pool2d(x)> for every x. dz (N, C, OH, OW) -> dx (N, C, H, W)."""
        outputs = dz.shape[2:]
        part = summable(self.xp, dz)
        part = part / self._divisors(
            part.dtype, input_size, kernel_size, stride, padding, outputs, count_include_pad, divisor_override
        )
        return self._window_spreads(part, input_size, kernel_size, stride, padding).astype(dz.dtype, copy=False)

    def _window_sums(self, x: Array, kernel: Pair, stride: Pair, padding: Padding, outputs: Pair) -> Array:
        """The sum of every window: first down the rows, then along the columns, KH + KW additions instead of KH * KW."""
        xp = self.xp
        images, channels, height, width = x.shape
        sums = xp.zeros((images, channels, outputs[0], width), x.dtype)
        for k in range(kernel[0]):
            rows, input_rows = reach(height, outputs[0], stride[0], k - padding[0])
            sums[:, :, rows] += x[:, :, input_rows]
        z = xp.zeros((images, channels, *outputs), x.dtype)
        for k in range(kernel[1]):
            columns, input_columns = reach(width, outputs[1], stride[1], k - padding[2])
            z[:, :, :, columns] += sums[:, :, :, input_columns]
        return z

    def _window_spreads(self, dz: Array, input_size: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Array:
        """The adjoint of `_window_sums`: every output's value added to all elements of its window."""
        xp = self.xp
        images, channels, *outputs = dz.shape
        spread = xp.zeros((images, channels, outputs[0], input_size[1]), dz.dtype)
        for k in range(kernel[1]):
            columns, input_columns = reach(input_size[1], outputs[1], stride[1], k - padding[2])
            spread[:, :, :, input_columns] += dz[:, :, :, columns]
        dx = xp.zeros((images, channels, *input_size), dz.dtype)
        for k in range(kernel[0]):
            rows, input_rows = reach(input_size[0], outputs[0], stride[0], k - padding[0])
            dx[:, :, input_rows] += spread[:, :, rows]
        return dx

    def _divisors(
        self,
        dtype: Any,
        size: Pair,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        outputs: Pair,
        count_include_pad: bool,
        divisor_override: int | None,
    ) -> Array:
        """What each window's sum is divided by, to be broadcast: (OH, OW) or (1, 1)."""
        xp = self.xp
        if divisor_override is not None:
            if divisor_override == 0:
                raise ShapeError("avg_pool2d: divisor_override is 0; it must not be zero")
            return xp.full((1, 1), divisor_override, dtype)
        top, bottom, left, right = padding if count_include_pad else (0, 0, 0, 0)
        rows = window_lengths(size[0], kernel[0], stride[0], padding[0], outputs[0], -top, size[0] + bottom)
        columns = window_lengths(size[1], kernel[1], stride[1], padding[2], outputs[1], -left, size[1] + right)
        if len(set(rows)) == 1 and len(set(columns)) == 1:  # as usual
            return xp.full((1, 1), rows[0] * columns[0], dtype)
        return table(xp, rows, dtype).reshape(-1, 1) * table(xp, columns, dtype)


def winner_dtype(xp: Any, kernel: Pair) -> Any:
    """The smallest dtype that can number the taps of a window."""
    return xp.uint8 if kernel[0] * kernel[1] <= 256 else xp.int32


def first_taps(kernel: Pair, stride: Pair, padding: Padding, dilation: Pair, outputs: Pair) -> list[list[int]]:
    """For every output the number of the first tap of its window past the top and left padding: who wins if all are -inf."""

    def first(kernel: int, stride: int, before: int, dilation: int, output: int) -> int:
        in_padding = max(0, before - output * stride)
        return min(kernel - 1, -(-in_padding // dilation))

    rows = [first(kernel[0], stride[0], padding[0], dilation[0], i) for i in range(outputs[0])]
    columns = [first(kernel[1], stride[1], padding[2], dilation[1], j) for j in range(outputs[1])]
    return [[row * kernel[1] + column for column in columns] for row in rows]


def window_lengths(size: int, kernel: int, stride: int, before: int, outputs: int, lowest: int, end: int) -> list[int]:
    """How many positions p of each window along an axis have lowest <= p < end.

    >>> window_lengths(5, kernel=2, stride=2, before=0, outputs=3, lowest=0, end=5)
    [2, 2, 1]
    """
    starts = [i * stride - before for i in range(outputs)]
    return [min(start + kernel, end) - max(start, lowest) for start in starts]
