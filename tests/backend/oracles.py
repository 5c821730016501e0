"""The slow, obvious versions of the kernels: loops over every output, in float64, straight from the definitions.

They share no code with the kernels, not even the geometry.
"""

from __future__ import annotations

import math

import numpy


def window_positions(
    output: int, size: int, kernel: int, stride: int, before: int, dilation: int
) -> list[tuple[int, int]]:
    """(element of the kernel, position in the input) for the elements of one output's window that meet the input."""
    positions = [(k, output * stride - before + k * dilation) for k in range(kernel)]
    return [(k, position) for k, position in positions if 0 <= position < size]


def output_length(size: int, kernel: int, stride: int, before: int, after: int, dilation: int, ceil_mode: bool) -> int:
    """Windows are counted one by one, as long as they may start."""
    count = 0
    while True:
        start = count * stride - before
        end = start + (kernel - 1) * dilation
        fits = end < size + after
        overhangs = ceil_mode and start < size and end - stride < size + after - 1
        if not (fits or overhangs):
            return count
        count += 1


def output_size(shape, kernel, stride, padding, dilation, ceil_mode=False):
    top, bottom, left, right = padding
    return (
        output_length(shape[2], kernel[0], stride[0], top, bottom, dilation[0], ceil_mode),
        output_length(shape[3], kernel[1], stride[1], left, right, dilation[1], ceil_mode),
    )


def windows(shape, kernel, stride, padding, dilation, outputs):
    """Every (output row, output column) with the list of (kernel row, kernel column, input row, input column)."""
    for i in range(outputs[0]):
        rows = window_positions(i, shape[2], kernel[0], stride[0], padding[0], dilation[0])
        for j in range(outputs[1]):
            columns = window_positions(j, shape[3], kernel[1], stride[1], padding[2], dilation[1])
            yield i, j, [(k, l, h, w) for k, h in rows for l, w in columns]


def conv2d(x, w, stride, padding, dilation, groups):
    x, w = x.astype(numpy.float64), w.astype(numpy.float64)
    features, depth = w.shape[:2]
    kernel = w.shape[2:]
    outputs = output_size(x.shape, kernel, stride, padding, dilation)
    z = numpy.zeros((x.shape[0], features, *outputs))
    for i, j, places in windows(x.shape, kernel, stride, padding, dilation, outputs):
        for k, l, h, v in places:
            for o in range(features):
                first = o // (features // groups) * depth
                for c in range(depth):
                    z[:, o, i, j] += x[:, first + c, h, v] * w[o, c, k, l]
    return z


def conv2d_input_grad(dz, w, input_size, stride, padding, dilation, groups):
    dz, w = dz.astype(numpy.float64), w.astype(numpy.float64)
    features, depth = w.shape[:2]
    shape = (dz.shape[0], depth * groups, *input_size)
    dx = numpy.zeros(shape)
    for i, j, places in windows(shape, w.shape[2:], stride, padding, dilation, dz.shape[2:]):
        for k, l, h, v in places:
            for o in range(features):
                first = o // (features // groups) * depth
                for c in range(depth):
                    dx[:, first + c, h, v] += dz[:, o, i, j] * w[o, c, k, l]
    return dx


def conv2d_weight_grad(dz, x, kernel_size, stride, padding, dilation, groups):
    dz, x = dz.astype(numpy.float64), x.astype(numpy.float64)
    features, depth = dz.shape[1], x.shape[1] // groups
    dw = numpy.zeros((features, depth, *kernel_size))
    for i, j, places in windows(x.shape, kernel_size, stride, padding, dilation, dz.shape[2:]):
        for k, l, h, v in places:
            for o in range(features):
                first = o // (features // groups) * depth
                for c in range(depth):
                    dw[o, c, k, l] += (dz[:, o, i, j] * x[:, first + c, h, v]).sum()
    return dw


def max_pool2d(x, kernel, stride, padding, dilation, ceil_mode):
    """(z, flat index h * W + w of the first greatest value, or of the last nan)."""
    outputs = output_size(x.shape, kernel, stride, padding, dilation, ceil_mode)
    z = numpy.full((*x.shape[:2], *outputs), -math.inf)
    indices = numpy.zeros(z.shape, numpy.int64)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            for i, j, places in windows(x.shape, kernel, stride, padding, dilation, outputs):
                best, winner = -math.inf, places[0][2] * x.shape[3] + places[0][3]
                for _, _, h, w in places:
                    value = float(x[n, c, h, w])
                    if value > best or math.isnan(value):
                        best, winner = value, h * x.shape[3] + w
                z[n, c, i, j] = best
                indices[n, c, i, j] = winner
    return z, indices


def max_pool2d_scatter(dz, indices, input_size):
    dx = numpy.zeros((*dz.shape[:2], *input_size))
    for n, c, i, j in numpy.ndindex(dz.shape):
        h, w = divmod(int(indices[n, c, i, j]), input_size[1])
        dx[n, c, h, w] += dz[n, c, i, j]
    return dx


def max_pool2d_gather(dx, indices):
    dz = numpy.zeros(indices.shape)
    for n, c, i, j in numpy.ndindex(indices.shape):
        h, w = divmod(int(indices[n, c, i, j]), dx.shape[3])
        dz[n, c, i, j] = dx[n, c, h, w]
    return dz


def avg_pool2d_divisor(size, output, kernel, stride, before, after, count_include_pad):
    """The elements one window counts along an axis: those in the input, and with count_include_pad in its padding."""
    low, high = (-before, size + after) if count_include_pad else (0, size)
    return sum(low <= output * stride - before + k < high for k in range(kernel))


def avg_pool2d_weights(shape, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override):
    """(outputs, the list of (i, j, places, divisor))."""
    outputs = output_size(shape, kernel, stride, padding, (1, 1), ceil_mode)
    top, bottom, left, right = padding
    rows = []
    for i, j, places in windows(shape, kernel, stride, padding, (1, 1), outputs):
        divisor = divisor_override
        if divisor is None:
            divisor = avg_pool2d_divisor(shape[2], i, kernel[0], stride[0], top, bottom, count_include_pad)
            divisor *= avg_pool2d_divisor(shape[3], j, kernel[1], stride[1], left, right, count_include_pad)
        rows.append((i, j, places, divisor))
    return outputs, rows


def avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override):
    x = x.astype(numpy.float64)
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
    outputs, rows = avg_pool2d_weights(x.shape, *settings)
    z = numpy.zeros((*x.shape[:2], *outputs))
    for i, j, places, divisor in rows:
        for _, _, h, w in places:
            z[:, :, i, j] += x[:, :, h, w] / divisor
    return z


def avg_pool2d_input_grad(dz, input_size, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override):
    settings = (kernel, stride, padding, ceil_mode, count_include_pad, divisor_override)
    dx = numpy.zeros((*dz.shape[:2], *input_size))
    _, rows = avg_pool2d_weights(dx.shape, *settings)
    for i, j, places, divisor in rows:
        for _, _, h, w in places:
            dx[:, :, h, w] += dz[:, :, i, j].astype(numpy.float64) / divisor
    return dx


def batch_norm(x, weight, bias, eps):
    """(y, mean, biased variance, 1 / sqrt(var + eps)), channel by channel."""
    x = x.astype(numpy.float64)
    channels = x.shape[1]
    y, mean, var, inv_std = numpy.empty(x.shape), numpy.empty(channels), numpy.empty(channels), numpy.empty(channels)
    for c in range(channels):
        values = x[:, c]
        mean[c] = math.fsum(values.ravel()) / values.size
        var[c] = math.fsum((values.ravel() - mean[c]) ** 2) / values.size
        inv_std[c] = 1 / math.sqrt(var[c] + eps)
        y[:, c] = (values - mean[c]) * inv_std[c]
        if weight is not None:
            y[:, c] *= weight[c]
        if bias is not None:
            y[:, c] += bias[c]
    return y, mean, var, inv_std


def batch_norm_grad(dz, x, weight, eps):
    """(dx, dw, db) from the full matrix of dy/dx, channel by channel: no simplified formula.

    With m values in a channel and t = (x - mean) / s, s = sqrt(var + eps):  dt_i/dx_j = (delta_ij - 1/m - t_i t_j / m) / s
    """
    x, dz = x.astype(numpy.float64), dz.astype(numpy.float64)
    _, mean, _, inv_std = batch_norm(x, None, None, eps)
    dx, dw, db = numpy.empty(x.shape), numpy.empty(x.shape[1]), numpy.empty(x.shape[1])
    for c in range(x.shape[1]):
        values, cotangent = x[:, c].ravel(), dz[:, c].ravel()
        m = values.size
        t = (values - mean[c]) * inv_std[c]
        jacobian = (numpy.eye(m) - 1 / m - numpy.outer(t, t) / m) * inv_std[c]
        scale = 1.0 if weight is None else float(weight[c])
        dx[:, c] = (scale * cotangent @ jacobian).reshape(x[:, c].shape)
        dw[c] = math.fsum(cotangent * t)
        db[c] = math.fsum(cotangent)
    return dx, dw, db


def logsumexp_of(values):
    """log(sum(e^v)) of a list of numbers, with exact sums."""
    if any(math.isnan(v) for v in values):
        return math.nan
    top = max(values, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def logsumexp(x, axis, keepdims):
    z = numpy.apply_along_axis(lambda row: logsumexp_of([float(v) for v in row]), axis, x)
    return numpy.expand_dims(z, axis) if keepdims else z
