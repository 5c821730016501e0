"""The kernels on vector registers against the loops of oracles.py and NumPy in float64: every shape, stride and memory order of
the tables of the other kernels, and shapes that fill registers and tiles, leave a rest, or are cut into parts."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import oracles
import pytest
import test_convolution
import test_pooling
from kernels import LAYOUTS, ForNumpy, OnHost, Shared, batch_last, channels_last
from test_convolution import Layer

from tensorgrad.backend import choice, compiled, fast
from tensorgrad.backend.fast_convolution import FastConvolutionKernels
from tensorgrad.backend.fast_normalization import FastNormalizationKernels
from tensorgrad.backend.fast_pooling import FastPoolingKernels
from tensorgrad.backend.parallel import set_thread_count, thread_count

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)

EPS = 1e-5
ROOT = Path(__file__).resolve().parents[2]
#: Errors relative to the largest result: sums in float32, and Winograd's.
DIRECT, WINOGRAD = 3e-6, 3e-5


class Fast(OnHost, FastConvolutionKernels, FastPoolingKernels, FastNormalizationKernels):
    pass


@pytest.fixture(autouse=True)
def arrays_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One thread, and three that share whatever the size."""
    before = thread_count()
    set_thread_count(request.param)
    for module in ("direct", "matrix", "batch"):
        monkeypatch.setattr(f"tensorgrad.backend.{module}.SHARED_PRODUCTS", 0)
    for module in ("rows", "batch"):
        monkeypatch.setattr(f"tensorgrad.backend.{module}.SHARED_NUMBERS", 0)
    monkeypatch.setattr("tensorgrad.backend.points.SHARED_STEPS", 0)
    yield request.param
    set_thread_count(before)


def draw(shape: tuple[int, ...], seed: int = 3) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


def wide(x: numpy.ndarray) -> numpy.ndarray:
    return x.astype(numpy.float64)


# convolution

LAYERS = {
    **test_convolution.LAYERS,
    "registers and a rest": Layer((2, 33, 9, 11), (70, 33, 3, 3), padding=(1, 1, 1, 1)),
    "stride 2": Layer((2, 16, 9, 11), (48, 16, 3, 3), (2, 2), (1, 1, 1, 1)),
    "stride 3, kernel 2": Layer((2, 5, 10, 11), (7, 5, 2, 2), (3, 3), (1, 0, 0, 1)),
    "weights larger than images": Layer((2, 256, 4, 5), (256, 256, 3, 3), padding=(1, 1, 1, 1)),
    "large weights in groups": Layer((2, 512, 4, 5), (512, 256, 3, 3), padding=(1, 1, 1, 1), groups=2),
    "large weights of few features, one image": Layer(
        (1, 2048, 5, 4), (128, 1024, 3, 3), padding=(1, 1, 1, 1), groups=2
    ),
    "ResNet's stem": Layer((2, 3, 23, 20), (64, 3, 7, 7), (2, 2), (3, 3, 3, 3)),
    "AlexNet's stem": Layer((1, 3, 35, 31), (64, 3, 11, 11), (4, 4), (2, 2, 2, 2)),
    "points": Layer((2, 64, 9, 7), (128, 64, 1, 1)),
    "points with large weights": Layer((3, 520, 4, 5), (800, 520, 1, 1)),
    "a point with large weights, stride 2": Layer((1, 520, 1, 9), (800, 520, 1, 1), (1, 2)),
    "points, panels of the gradient": Layer((2, 512, 5, 7), (516, 512, 1, 1)),
    "points, more rows than at once": Layer((3, 528, 11, 9), (520, 528, 1, 1)),
    "points with large weights, stride 2": Layer((2, 512, 9, 6), (520, 512, 1, 1), (2, 3)),
    "points, stride 2": Layer((2, 64, 9, 7), (128, 64, 1, 1), (2, 2)),
    "groups of registers": Layer((2, 32, 6, 7), (64, 16, 3, 3), padding=(1, 1, 1, 1), groups=2),
    "rows in several blocks": Layer((1, 40, 70, 60), (8, 40, 3, 3), padding=(1, 1, 1, 1)),
}


def expected(layer: Layer, x: Any, w: Any, dz: Any) -> list[numpy.ndarray]:
    """By NumPy's kernels in float64, which are tested against the loops themselves."""
    return test_convolution.three_maps(ForNumpy(), layer, wide(x), wide(w), wide(dz))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_direct_convolution(layer: Layer, layout: Any, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", "direct")
    values = layer.draw(numpy.float32)
    found = test_convolution.three_maps(Fast(), layer, *(layout(array) for array in values))
    test_convolution.compare(found, expected(layer, *values), numpy.float32, DIRECT)


WINOGRADS = [
    ((2, 16, 8, 8), 16, (1, 1, 1, 1)),
    ((3, 16, 9, 11), 32, (1, 1, 1, 1)),
    ((2, 48, 7, 7), 16, (0, 0, 0, 0)),
    ((2, 32, 5, 13), 32, (2, 2, 2, 2)),
    ((1, 16, 6, 9), 48, (0, 2, 1, 0)),
    ((5, 128, 14, 14), 128, (1, 1, 1, 1)),
    ((1, 64, 30, 17), 64, (1, 1, 1, 1)),
    ((2, 256, 9, 6), 128, (1, 1, 1, 1)),
]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize(("x_shape", "features", "padding"), WINOGRADS)
def test_winograd(
    x_shape: Any, features: int, padding: Any, layout: Any, threads: int, monkeypatch: pytest.MonkeyPatch
):
    layer = Layer(x_shape, (features, x_shape[1], 3, 3), padding=padding)
    values = layer.draw(numpy.float32)
    monkeypatch.setattr(choice, "_chosen", "winograd")
    found = test_convolution.three_maps(Fast(), layer, *(layout(array) for array in values))
    test_convolution.compare(found, expected(layer, *values), numpy.float32, WINOGRAD)


DEPTHWISE = [
    Layer((2, 32, 9, 7), (32, 1, 3, 3), padding=(1, 1, 1, 1), groups=32),
    Layer((3, 16, 10, 11), (16, 1, 3, 5), (2, 3), (1, 0, 2, 1), groups=16),
    Layer((2, 48, 12, 9), (48, 1, 2, 3), (1, 2), (3, 1, 0, 2), (2, 2), 48),
    Layer((1, 16, 5, 5), (16, 1, 5, 5), groups=16),
]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("layer", DEPTHWISE)
def test_depthwise(layer: Layer, layout: Any, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", "depthwise")
    values = layer.draw(numpy.float32)
    found = test_convolution.three_maps(Fast(), layer, *(layout(array) for array in values))
    test_convolution.compare(found, expected(layer, *values), numpy.float32, DIRECT)
    bias = draw(layer.w[:1])
    z = Fast().conv2d_bias(values[0], values[1], bias, *layer.settings)
    numpy.testing.assert_allclose(z, found[0] + bias.reshape(-1, 1, 1), atol=1e-5)


THIN = {
    "LeNet's first": Layer((64, 1, 32, 32), (6, 1, 5, 5)),
    "LeNet's second": Layer((32, 6, 14, 14), (16, 6, 5, 5)),
    "registers and a rest of features": Layer((48, 3, 9, 8), (13, 3, 3, 3), padding=(1, 1, 1, 1)),
    "padding beyond the window": Layer((16, 2, 4, 3), (3, 2, 3, 2), padding=(3, 0, 4, 5)),
    "stride": Layer((16, 3, 11, 9), (4, 3, 3, 4), (2, 3), (1, 1, 2, 1)),
    "gaps": Layer((16, 2, 12, 11), (5, 2, 3, 3), padding=(2, 2, 2, 2), dilation=(2, 3)),
    "stride and gaps": Layer((16, 2, 12, 11), (5, 2, 3, 3), (2, 1), (2, 1, 0, 2), (2, 2)),
    "points": Layer((16, 5, 4, 3), (7, 5, 1, 1)),
    "a feature left over": Layer((16, 2, 8, 7), (7, 2, 5, 5)),
    "windows of seven": Layer((16, 1, 8, 9), (2, 1, 7, 7), padding=(3, 3, 3, 3)),
}


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), batch_last], ids=[*LAYOUTS, "batch last"])
@pytest.mark.parametrize("layer", THIN.values(), ids=THIN.keys())
def test_thin_images_batch_last(layer: Layer, layout: Any, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", "batch")
    values = layer.draw(numpy.float32)
    found = test_convolution.three_maps(Fast(), layer, *(layout(array) for array in values))
    test_convolution.compare(found, expected(layer, *values), numpy.float32, DIRECT)
    assert found[0].strides[0] == 4 and found[2].flags.c_contiguous
    bias = draw(layer.w[:1])
    z = Fast().conv2d_bias(layout(values[0]), values[1], bias, *layer.settings)
    numpy.testing.assert_allclose(z, found[0] + bias.reshape(-1, 1, 1), rtol=1e-5, atol=1e-4)


def test_batch_last_memory_goes_through_a_network(threads: int):
    """What follows a thin convolution keeps its order, and gives what it gives in any other."""
    backend = fast.FastBackend(numpy)
    x = numpy.round(3 * draw((32, 5, 8, 8)))
    y = batch_last(x)
    pairs = [
        (backend.relu(y), numpy.maximum(x, 0)),
        (backend.relu_grad(x, y), numpy.where(x > 0, x, 0)),
        (backend.relu_grad(y, y), numpy.where(x > 0, x, 0)),
        (backend.add(y, y), x + x),
    ]
    windows = (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)
    z, winners = backend.max_pool2d(y, *windows, False)
    wanted_z, wanted_winners = ForNumpy().max_pool2d(x, *windows, False)
    dz = draw(z.shape, 5)
    scattered = ForNumpy().max_pool2d_scatter(dz, wanted_winners, (8, 8), *windows)
    pairs += [(z, wanted_z), (winners, wanted_winners)]
    for order in (batch_last, channels_last, numpy.ascontiguousarray):
        pairs.append((backend.max_pool2d_scatter(order(dz), winners, (8, 8), *windows), scattered))
    for found, wanted in pairs:
        assert found.strides[0] == found.itemsize
        numpy.testing.assert_array_equal(found, wanted)
    average = (2, 2), (2, 2), (0, 0, 0, 0), False, True, None
    numpy.testing.assert_allclose(backend.avg_pool2d(y, *average), ForNumpy().avg_pool2d(x, *average), atol=1e-5)
    spread = backend.avg_pool2d_input_grad(batch_last(dz), (8, 8), *average)
    numpy.testing.assert_allclose(spread, ForNumpy().avg_pool2d_input_grad(dz, (8, 8), *average), atol=1e-5)
    sums = backend.sum(batch_last(draw((64, 6, 28, 28))), (0, 2, 3), False)
    numpy.testing.assert_allclose(sums, wide(draw((64, 6, 28, 28))).sum((0, 2, 3)), rtol=1e-5, atol=1e-3)
    rows, w, b = y.reshape(32, -1), draw((10, 320), 6), draw((10,), 7)
    assert rows.strides[0] == 4  # a view
    numpy.testing.assert_allclose(
        backend.inner_product_bias(rows, w, b), wide(x).reshape(32, -1) @ wide(w).T + b, rtol=1e-4, atol=1e-3
    )
    dz = draw((32, 10), 8)
    numpy.testing.assert_allclose(backend.matmul(dz.T, rows), wide(dz).T @ wide(x).reshape(32, -1), atol=1e-3)


@pytest.mark.parametrize("chosen", ["direct", "winograd", "loops", "numpy"])
def test_a_bias_is_added_by_every_kernel(chosen: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", chosen)
    for features in (16, 21):
        x, w, bias = draw((2, 16, 9, 9)), draw((features, 16, 3, 3), 4), draw((features,), 5)
        settings = (1, 1), (1, 1, 1, 1), (1, 1), 1
        wanted = ForNumpy().conv2d(wide(x), wide(w), *settings) + bias.reshape(-1, 1, 1)
        z = Fast().conv2d_bias(x, w, bias, *settings)
        numpy.testing.assert_allclose(z, wanted, atol=2e-4)
        points = Fast().conv2d_bias(x, w[:, :, :1, :1], bias, (1, 1), (0, 0, 0, 0), (1, 1), 1)
        by_hand = numpy.einsum("nchw,oc->nohw", wide(x), wide(w[:, :, 0, 0])) + bias.reshape(-1, 1, 1)
        numpy.testing.assert_allclose(points, by_hand, atol=2e-5)


@pytest.mark.parametrize("chosen", ["direct", "winograd"])
def test_nothing_is_left_over_from_other_images(chosen: str, monkeypatch: pytest.MonkeyPatch):
    """Scratch memory is used again by layers of other heights and paddings; images together and alone are the same bits."""
    monkeypatch.setattr(choice, "_chosen", chosen)
    for size, pad in (((6, 16, 12, 9), 1), ((6, 16, 5, 9), 2), ((6, 16, 12, 9), 0)):
        layer = Layer(size, (32, 16, 3, 3), padding=(pad,) * 4)
        x, w, dz = layer.draw(numpy.float32)
        z, dx, _ = test_convolution.three_maps(Fast(), layer, x, w, dz)
        for n in range(6):
            one = layer._replace(x=(1, *layer.x[1:]))
            z_of_one, dx_of_one, _ = test_convolution.three_maps(Fast(), one, x[n : n + 1], w, dz[n : n + 1])
            numpy.testing.assert_array_equal(z[n : n + 1], z_of_one)
            numpy.testing.assert_array_equal(dx[n : n + 1], dx_of_one)


@pytest.mark.parametrize("chosen", ["direct", "winograd", "batch"])
def test_the_same_bits_every_time(chosen: str, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "_chosen", chosen)
    layer = Layer((16 if chosen == "batch" else 7, 32, 10, 11), (48, 32, 3, 3), padding=(1, 1, 1, 1))
    values = layer.draw(numpy.float32)
    first = test_convolution.three_maps(Fast(), layer, *values)
    for _ in range(5):
        for again, before in zip(test_convolution.three_maps(Fast(), layer, *values), first):
            numpy.testing.assert_array_equal(again, before)


def test_float64_never_takes_them():
    x, w, _ = Layer((2, 32, 16, 16), (32, 32, 3, 3), padding=(1, 1, 1, 1)).draw()
    for direction in ("forward", "input grad", "weight grad"):
        settings = numpy.float64, (1, 1), (1, 1), 1, 16
        assert choice.kernel_for(direction, 8, (64, 64, 3, 3), (56, 56), *settings) == "numpy"
    assert Fast().conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1).dtype == numpy.float64


def test_depthwise_windows_of_any_kind():
    """Kernels, strides and dilations with and without common factors, padding beyond the kernel, images smaller than it."""
    from tensorgrad.backend import depthwise
    from tensorgrad.backend.windows import output_length

    random = numpy.random.default_rng(0)
    tried = 0
    while tried < 60:
        kernel, stride, dilation = (tuple(map(int, random.integers(1, 6, 2))) for _ in range(3))
        padding, size = tuple(map(int, random.integers(0, 4, 4))), tuple(map(int, random.integers(1, 14, 2)))
        around = padding[:2], padding[2:]
        outputs = tuple(
            output_length(size[i], kernel[i], stride[i], *around[i], dilation[i], ceil_mode=False) for i in (0, 1)
        )
        if min(outputs) < 1:
            continue
        tried += 1
        channels = 2 * 16
        x, w, dz = draw((2, channels, *size)), draw((channels, 1, *kernel), 4), draw((2, channels, *outputs), 5)
        bias = draw((channels,), 6)
        settings = stride, padding, dilation
        z = depthwise.conv2d(x, w, bias, *settings, outputs)
        wanted = Shared().conv2d(wide(x), wide(w), *settings, channels) + wide(bias)[:, None, None]
        numpy.testing.assert_allclose(z, wanted, atol=3e-5)
        dx = depthwise.conv2d_input_grad(dz, w, size, *settings)
        wanted = Shared().conv2d_input_grad(wide(dz), wide(w), size, *settings, channels)
        numpy.testing.assert_allclose(dx, wanted, atol=3e-5)
        dw = depthwise.conv2d_weight_grad(dz, x, kernel, *settings)
        wanted = Shared().conv2d_weight_grad(wide(dz), wide(x), kernel, *settings, channels)
        numpy.testing.assert_allclose(dw, wanted, atol=2e-4)


# batch norm and passes over rows


@pytest.mark.parametrize("shape", [(2, 1, 3, 3), (3, 5, 7, 6), (4, 16, 9, 9), (2, 17, 8, 9), (40, 70), (9, 33, 21)])
def test_batch_norm_in_channels_last_memory(shape: tuple[int, ...], threads: int):
    x, dz = (numpy.moveaxis(draw((shape[0], *shape[2:], shape[1]), seed), -1, 1) for seed in (3, 6))
    x = x + numpy.float32(100)
    weight, bias = draw((shape[1],), 4), draw((shape[1],), 5)
    y, mean, var, inv_std = Fast().batch_norm(x, weight, bias, EPS)
    wanted = oracles.batch_norm(wide(x), wide(weight), wide(bias), EPS)
    for ours, theirs, tolerance in zip((y, mean, var, inv_std), wanted, (2e-4, 2e-5, 1e-5, 1e-5)):
        numpy.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=1e-5)
    found = Fast().batch_norm_grad(dz, x, weight, mean, inv_std)
    for ours, theirs in zip(found, oracles.batch_norm_grad(wide(dz), wide(x), wide(weight), EPS)):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-3 * max(1.0, float(numpy.abs(theirs).max())))
    assert y.strides == x.strides and found[0].strides == x.strides


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64])
def test_batch_norm_with_weights_of_other_memory(dtype: Any):
    """Every other number of an array, or float64."""
    x, dz = channels_last(draw((3, 20, 7, 6))), channels_last(draw((3, 20, 7, 6), 6))
    weight, bias = draw((40,), 4).astype(dtype)[::2], draw((40,), 5).astype(dtype)[::2]
    plain = weight.astype(numpy.float32), bias.astype(numpy.float32)
    for relu in ("", "_relu"):
        forward, backward = getattr(Fast(), f"batch_norm{relu}"), getattr(Fast(), f"batch_norm{relu}_grad")
        found, wanted = forward(x, weight, bias, EPS), forward(x, *plain, EPS)
        weights, others = ((weight, bias), plain) if relu else ((weight,), plain[:1])
        found += backward(dz, x, *weights, found[1], found[3])
        wanted += backward(dz, x, *others, wanted[1], wanted[3])
        for ours, theirs in zip(found, wanted, strict=True):
            numpy.testing.assert_array_equal(ours, theirs)
        assert found[5].dtype == found[6].dtype == dtype


def test_batch_norm_in_batch_last_memory():
    x, dz, weight, bias = draw((32, 6, 14, 14)), draw((32, 6, 14, 14), 4), draw((6,), 5), draw((6,), 6)
    found = Fast().batch_norm(batch_last(x), weight, bias, EPS)
    for ours, theirs in zip(found, Fast().batch_norm(x, weight, bias, EPS)):
        numpy.testing.assert_array_equal(ours, theirs)
    grads = Fast().batch_norm_grad(batch_last(dz), batch_last(x), weight, found[1], found[3])
    for ours, theirs in zip(grads, Fast().batch_norm_grad(dz, x, weight, found[1], found[3])):
        numpy.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("channels", [(1, 5, 3), (16, 32), (7, 64, 1, 40), (20,)])
@pytest.mark.parametrize("memory", ["channels last", "planes", "both", "a part"])
def test_joined_channels(channels: tuple[int, ...], memory: str, threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fast, "LARGE", 0)
    images = [channels_last(draw((3, count, 9, 10), seed)) for seed, count in enumerate(channels)]
    if memory == "planes":
        images = [numpy.ascontiguousarray(x) for x in images]
    if memory == "both":
        images[0] = numpy.ascontiguousarray(images[0])
    if memory == "a part":
        images[-1] = channels_last(draw((3, channels[-1] + 3, 9, 10)))[:, 1:-2]
    backend = fast.FastBackend(numpy)
    numpy.testing.assert_array_equal(backend.concatenate(images, 1), numpy.concatenate(images, 1))
    rows = [x.transpose(1, 0, 2, 3) for x in images]
    numpy.testing.assert_array_equal(backend.concatenate(rows, 0), numpy.concatenate(rows, 0))
    wide_one = [*images[:-1], wide(images[-1])]
    assert backend.concatenate(wide_one, 1).dtype == numpy.float64


def test_passes_over_numbers(threads: int):
    backend = fast.FastBackend(numpy)
    for shape in ((3, 5, 7, 3), (8, 32, 64, 64), (67_000,)):
        for order in (numpy.ascontiguousarray, channels_last) if len(shape) == 4 else (numpy.ascontiguousarray,):
            x, y = order(draw(shape)), order(draw(shape, 4))
            numpy.testing.assert_array_equal(backend.relu(x), numpy.maximum(x, 0))
            numpy.testing.assert_array_equal(backend.relu_grad(y, x), numpy.where(x > 0, y, 0))
            numpy.testing.assert_array_equal(backend.add(x, y), x + y)
            if len(shape) == 4:
                shift = draw((shape[1], 1, 1), 5)
                numpy.testing.assert_array_equal(backend.add(x, shift), x + shift)
                sums = backend.sum(x, (0, 2, 3), False)
                numpy.testing.assert_allclose(sums, wide(x).sum((0, 2, 3)), rtol=1e-5, atol=1e-3)
                assert backend.sum(x, (0, -2, -1), True).shape == (1, shape[1], 1, 1)


def test_relu_of_what_is_not_a_number():
    backend = fast.FastBackend(numpy)
    x = numpy.array([numpy.nan, -0.0, 0.0, -1.0, 2.0, numpy.inf, -numpy.inf] * 5, numpy.float32)
    numpy.testing.assert_array_equal(backend.relu(x), numpy.maximum(x, 0))
    dz = numpy.full_like(x, numpy.nan)
    numpy.testing.assert_array_equal(backend.relu_grad(dz, x), numpy.where(x > 0, dz, 0))


# pooling


@test_pooling.each_max_pool
def test_max_pooling_of_registers(pool: Any, threads: int):
    """To the last bit what the NumPy kernels give, winners included; ties and nan too."""
    if pool.windows[3] != (1, 1):
        pytest.skip("windows with gaps stay with NumPy")
    x = channels_last(numpy.round(2 * draw((pool.x[0], 32, *pool.x[2:]))))
    x[:1, 3, 0, 0] = numpy.nan
    z, winners = Fast().max_pool2d(x, *pool.windows, pool.ceil_mode)
    wanted_z, wanted_winners = ForNumpy().max_pool2d(x, *pool.windows, pool.ceil_mode)
    numpy.testing.assert_array_equal(z, wanted_z)
    numpy.testing.assert_array_equal(winners, wanted_winners)
    dz = channels_last(draw(z.shape, 9))
    dx = Fast().max_pool2d_scatter(dz, winners, pool.x[2:], *pool.windows)
    wanted = ForNumpy().max_pool2d_scatter(wide(dz), wanted_winners, pool.x[2:], *pool.windows)
    numpy.testing.assert_allclose(dx, wanted, atol=1e-5)


@test_pooling.each_pool
def test_average_pooling_of_registers(pool: Any, threads: int):
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, False, None
    x = channels_last(draw((pool.x[0], 16, *pool.x[2:])))
    z = Fast().avg_pool2d(x, *settings)
    numpy.testing.assert_allclose(z, ForNumpy().avg_pool2d(wide(x), *settings), atol=1e-5)
    dz = channels_last(draw(z.shape, 9))
    dx = Fast().avg_pool2d_input_grad(dz, pool.x[2:], *settings)
    wanted = ForNumpy().avg_pool2d_input_grad(wide(dz), pool.x[2:], *settings)
    numpy.testing.assert_allclose(dx, wanted, atol=1e-5)


# products of matrices


@pytest.mark.parametrize("turn_y", [False, True])
@pytest.mark.parametrize("turn_x", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [(2, 3, 4), (16, 37, 50), (4, 100, 64), (33, 17, 5), (128, 70, 96), (30, 64, 48), (1, 9, 40), (64, 300, 10)],
)
def test_matrix_products(
    sizes: tuple[int, int, int], turn_x: bool, turn_y: bool, threads: int, monkeypatch: pytest.MonkeyPatch
):
    from tensorgrad.backend import matrix

    monkeypatch.setattr(fast, "ALONE_IN_BLAS", 0)
    rows, depth, columns = sizes
    x = draw((depth, rows)).T if turn_x else draw((rows, depth))
    y = draw((columns, depth), 4).T if turn_y else draw((depth, columns), 4)
    z = matrix.product(x, y)
    if z is None:
        assert rows == 1 or (turn_x and turn_y)
        return
    numpy.testing.assert_allclose(z, wide(x) @ wide(y), atol=2e-6 * depth)
    numpy.testing.assert_array_equal(z, fast.FastBackend(numpy).matmul(x, y))


def test_matrices_of_other_memory_are_left_to_blas():
    backend = fast.FastBackend(numpy)
    x, y = draw((80, 80))[::2, ::2], draw((40, 60), 4)
    numpy.testing.assert_allclose(backend.matmul(x, y), wide(x) @ wide(y), atol=1e-4)
    repeated = numpy.broadcast_to(draw((1, 40)), (50, 40))
    numpy.testing.assert_allclose(backend.matmul(repeated, y), wide(repeated) @ wide(y), atol=1e-4)


# other registers


@pytest.mark.slow
@pytest.mark.parametrize("lanes", ["4", "8"])
def test_registers_of_other_processors(lanes: str):
    """The tiles of AVX2 and of NEON, run on this processor."""
    if os.environ.get("TENSORGRAD_LANES"):
        pytest.skip("this is that process")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", __file__],
        cwd=ROOT,
        env={**os.environ, "TENSORGRAD_LANES": lanes},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
