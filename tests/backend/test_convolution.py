"""Convolution kernels: against the loops of oracles.py, against each other as adjoints, and against PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
import oracles
import pytest
from kernels import KERNELS, LAYOUTS, ForNumpy, kernels_named

from tensorgrad.backend import numpy_columns, numpy_depthwise, numpy_pointwise
from tensorgrad.backend.parallel import set_thread_count, thread_count
from tensorgrad.errors import ShapeError


class Layer(NamedTuple):
    """x is (N, C, H, W), w is (O, C / groups, KH, KW)."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def settings(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, self.groups

    def draw(self, dtype: Any = numpy.float64) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """x, w and dz with normally distributed values, the same on every call."""
        random = numpy.random.default_rng(7)
        outputs = oracles.output_size(self.x, self.w[2:], self.stride, self.padding, self.dilation)
        shapes = self.x, self.w, (self.x[0], self.w[0], *outputs)
        x, w, dz = (random.standard_normal(shape).astype(dtype) for shape in shapes)
        return x, w, dz


LAYERS = {
    "plain": Layer((2, 3, 6, 7), (4, 3, 3, 2)),
    "one image, one channel, one feature": Layer((1, 1, 4, 4), (1, 1, 3, 3)),
    "no images": Layer((0, 3, 6, 6), (4, 3, 3, 3), padding=(1, 1, 1, 1)),
    "padded": Layer((2, 3, 5, 6), (4, 3, 3, 3), padding=(1, 1, 1, 1)),
    "padded unevenly": Layer((2, 3, 5, 6), (4, 3, 3, 3), padding=(2, 0, 1, 3)),
    "padded at the bottom only": Layer((2, 3, 5, 6), (4, 3, 3, 3), padding=(0, 2, 0, 0)),
    "padded at the right only": Layer((2, 3, 5, 6), (4, 3, 3, 3), padding=(0, 0, 0, 3)),
    "padded by more than the kernel": Layer((2, 2, 3, 3), (3, 2, 2, 2), padding=(3, 2, 4, 3)),
    "padded where only the padding fits": Layer((2, 2, 1, 2), (3, 2, 4, 5), padding=(2, 2, 2, 2)),
    "strided": Layer((2, 3, 7, 9), (4, 3, 3, 3), stride=(2, 3)),
    "stride leaves a rest": Layer((2, 3, 8, 8), (4, 3, 3, 3), stride=(3, 2)),
    "stride larger than the kernel": Layer((2, 3, 11, 11), (4, 3, 2, 2), stride=(4, 3)),
    "strided and padded unevenly": Layer((2, 3, 8, 7), (4, 3, 3, 4), stride=(2, 2), padding=(0, 1, 2, 1)),
    "dilated": Layer((2, 3, 8, 9), (4, 3, 3, 3), dilation=(2, 3)),
    "dilated, strided, padded": Layer((2, 3, 8, 9), (4, 3, 3, 2), (2, 3), (2, 1, 1, 2), (2, 3)),
    "dilated downwards": Layer((2, 3, 8, 9), (4, 3, 3, 3), dilation=(3, 1), padding=(2, 2, 1, 1)),
    "groups": Layer((2, 4, 6, 6), (6, 2, 3, 3), padding=(1, 1, 1, 1), groups=2),
    "groups, strided": Layer((2, 6, 7, 6), (6, 2, 3, 3), (2, 2), (1, 0, 0, 1), groups=3),
    "depthwise": Layer((2, 5, 6, 6), (5, 1, 3, 3), padding=(1, 1, 1, 1), groups=5),
    "depthwise, two features a channel": Layer((2, 3, 7, 6), (6, 1, 3, 2), (2, 1), (1, 1, 0, 1), (1, 2), 3),
    "pointwise": Layer((2, 5, 4, 3), (7, 5, 1, 1)),
    "pointwise, strided": Layer((2, 5, 7, 6), (4, 5, 1, 1), stride=(2, 3)),
    "pointwise, padded": Layer((2, 3, 4, 3), (4, 3, 1, 1), padding=(1, 1, 0, 2)),
    "pointwise, groups": Layer((2, 4, 4, 3), (6, 2, 1, 1), groups=2),
    "kernel as large as the input": Layer((3, 4, 5, 4), (6, 4, 5, 4)),
    "kernel as large as the padded input": Layer((3, 4, 3, 2), (6, 4, 5, 4), padding=(1, 1, 1, 1)),
    "kernel as large, strided": Layer((3, 4, 5, 4), (6, 4, 5, 4), stride=(2, 2)),
    "rows only": Layer((2, 3, 7, 1), (4, 3, 3, 1), padding=(1, 1, 0, 0)),
    "columns only": Layer((2, 3, 1, 7), (4, 3, 1, 3), padding=(0, 0, 1, 1)),
    "many features": Layer((2, 3, 6, 6), (40, 3, 3, 3), padding=(1, 1, 1, 1)),
    "LeNet's first": Layer((2, 1, 12, 12), (6, 1, 5, 5)),
    "LeNet's second": Layer((2, 6, 9, 14), (16, 6, 5, 5)),
}

each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Any:
    return kernels_named(request.param)


def three_maps(kernels: Any, layer: Layer, x: Any, w: Any, dz: Any) -> list[numpy.ndarray]:
    """z, dx and dw by the kernels, back on the host."""
    x, w, dz = (kernels.from_host(array) for array in (x, w, dz))
    made = (
        kernels.conv2d(x, w, *layer.settings),
        kernels.conv2d_input_grad(dz, w, layer.x[2:], *layer.settings),
        kernels.conv2d_weight_grad(dz, x, layer.w[2:], *layer.settings),
    )
    return [kernels.to_host(array) for array in made]


def expected(layer: Layer, x: Any, w: Any, dz: Any) -> list[numpy.ndarray]:
    """z, dx and dw by the loops."""
    return [
        oracles.conv2d(x, w, *layer.settings),
        oracles.conv2d_input_grad(dz, w, layer.x[2:], *layer.settings),
        oracles.conv2d_weight_grad(dz, x, layer.w[2:], *layer.settings),
    ]


def compare(found: list[numpy.ndarray], wanted: list[numpy.ndarray], dtype: Any, tolerance: float) -> None:
    for name, ours, theirs in zip(("z", "dx", "dw"), found, wanted):
        assert ours.dtype == dtype, name
        assert ours.shape == theirs.shape, name
        scale = max(1.0, float(numpy.abs(theirs).max(initial=0)))
        numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale, err_msg=name)


@each_layer
def test_equals_the_loops(kernels: Any, layer: Layer):
    values = layer.draw()
    compare(three_maps(kernels, layer, *values), expected(layer, *values), numpy.float64, 1e-13)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_layer
def test_any_strides(layer: Layer, layout: Any):
    values = layer.draw()
    found = three_maps(ForNumpy(), layer, *(layout(array) for array in values))
    compare(found, expected(layer, *values), numpy.float64, 1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(numpy.float32, 2e-6), (numpy.float16, 2e-3)])
@pytest.mark.parametrize("name", ["padded", "strided", "groups", "depthwise", "pointwise", "LeNet's second"])
def test_keeps_the_dtype(kernels: Any, name: str, dtype: Any, tolerance: float):
    layer = LAYERS[name]
    values = layer.draw(dtype)
    compare(three_maps(kernels, layer, *values), expected(layer, *values), dtype, tolerance)


def test_float16_is_summed_in_float32(kernels: Any):
    """4096 + 1 + 1 + ... in float16 stays 4096, for the next number is 4100."""
    layer = Layer((1, 101, 1, 1), (1, 101, 1, 1))
    x = numpy.ones(layer.x, numpy.float16)
    x[0, 0] = 4096
    z, _, _ = three_maps(kernels, layer, x, numpy.ones(layer.w, numpy.float16), numpy.ones((1, 1, 1, 1), numpy.float16))
    assert z.item() == 4196


@each_layer
def test_the_three_maps_are_adjoint(kernels: Any, layer: Layer):
    """<dz, x * w> = <input_grad(dz, w), x> = <weight_grad(dz, x), w>."""
    x, w, dz = layer.draw()
    z, dx, dw = three_maps(kernels, layer, x, w, dz)
    form = numpy.vdot(dz, z)
    scale = numpy.linalg.norm(dz) * numpy.linalg.norm(z) + 1
    assert abs(numpy.vdot(dx, x) - form) < 1e-13 * scale
    assert abs(numpy.vdot(dw, w) - form) < 1e-13 * scale


@pytest.mark.parametrize("name", ["strided and padded unevenly", "groups", "depthwise", "padded", "LeNet's first"])
def test_linear_in_both_arguments(kernels: Any, name: str):
    """f(a + 2 b, .) = f(a, .) + 2 f(b, .), and nothing is left over from the call before."""
    layer = LAYERS[name]
    x, w, dz = layer.draw()
    x2, w2, dz2 = (numpy.roll(array, 1) for array in (x, w, dz))
    z, dx, dw = three_maps(kernels, layer, x, w, dz)
    z_of_w2, dx_of_w2, _ = three_maps(kernels, layer, x, w2, dz)
    z_of_x2, _, dw_of_x2 = three_maps(kernels, layer, x2, w, dz)
    _, dx_of_dz2, dw_of_dz2 = three_maps(kernels, layer, x, w, dz2)
    z_of_sum, _, dw_of_sum = three_maps(kernels, layer, x + 2 * x2, w, dz)
    numpy.testing.assert_allclose(z_of_sum, z + 2 * z_of_x2, atol=1e-12)
    numpy.testing.assert_allclose(dw_of_sum, dw + 2 * dw_of_x2, atol=1e-12)
    z_of_sum, dx_of_sum, _ = three_maps(kernels, layer, x, w + 2 * w2, dz)
    numpy.testing.assert_allclose(z_of_sum, z + 2 * z_of_w2, atol=1e-12)
    numpy.testing.assert_allclose(dx_of_sum, dx + 2 * dx_of_w2, atol=1e-12)
    _, dx_of_sum, dw_of_sum = three_maps(kernels, layer, x, w, dz + 2 * dz2)
    numpy.testing.assert_allclose(dx_of_sum, dx + 2 * dx_of_dz2, atol=1e-12)
    numpy.testing.assert_allclose(dw_of_sum, dw + 2 * dw_of_dz2, atol=1e-12)


def test_what_no_window_reaches_has_no_gradient(kernels: Any):
    layer = LAYERS["stride larger than the kernel"]
    _, dx, _ = three_maps(kernels, layer, *layer.draw())
    assert not dx[:, :, 2:4].any() and not dx[:, :, 10:].any() and not dx[:, :, :, 2].any()
    assert dx[:, :, :2, :2].all()


def test_inputs_are_left_alone(kernels: Any):
    for name in ("padded", "pointwise", "kernel as large as the input", "depthwise", "strided"):
        layer = LAYERS[name]
        values = layer.draw()
        copies = [array.copy() for array in values]
        z, dx, dw = three_maps(kernels, layer, *values)
        for result in (z, dx, dw):
            result += 1
        for array, copy in zip(values, copies):
            numpy.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("block", [1, 7, 50])
@each_layer
def test_blocks_of_any_size(layer: Layer, block: int, monkeypatch: pytest.MonkeyPatch):
    """Blocks of some images, of one image, of a few rows, of one row, with a smaller last one: all the same."""
    monkeypatch.setattr(numpy_columns, "BLOCK_ROWS", block)
    monkeypatch.setattr(numpy_columns, "BLOCK_ELEMENTS", 1)
    values = layer.draw()
    compare(three_maps(ForNumpy(), layer, *values), expected(layer, *values), numpy.float64, 1e-13)


@each_layer
def test_chunks_of_the_shared_kernels(layer: Layer):
    class OneImageAtATime(type(kernels_named("shared"))):  # type: ignore[misc]
        scratch_elements = 1

    values = layer.draw()
    compare(three_maps(OneImageAtATime(), layer, *values), expected(layer, *values), numpy.float64, 1e-13)


@each_layer
def test_shared_among_threads(layer: Layer, monkeypatch: pytest.MonkeyPatch):
    """Also more threads than images; every call gives the same bits."""
    monkeypatch.setattr(numpy_columns, "SHARED_PRODUCTS", 0)
    monkeypatch.setattr(numpy_pointwise, "SHARED_PRODUCTS", 0)
    monkeypatch.setattr(numpy_depthwise, "SHARED_MULTIPLICATIONS", 0)
    five_images = layer._replace(x=(5, *layer.x[1:]))
    values = five_images.draw()
    wanted = expected(five_images, *values)
    before = thread_count()
    try:
        for threads in (2, 3, 8):
            set_thread_count(threads)
            found = three_maps(ForNumpy(), five_images, *values)
            compare(found, wanted, numpy.float64, 1e-13)
            for first, again in zip(found, three_maps(ForNumpy(), five_images, *values)):
                numpy.testing.assert_array_equal(first, again)
    finally:
        set_thread_count(before)


REFUSED = [
    (Layer((1, 3, 5), (4, 3, 3, 3)), r"input \(N, C, H, W\)"),
    (Layer((1, 3, 5, 5), (4, 2, 3, 3)), "needs an input of 2 channels"),
    (Layer((1, 4, 5, 5), (4, 2, 3, 3), groups=3), "groups is 3; it must divide the 4 input channels"),
    (Layer((1, 4, 5, 5), (3, 2, 3, 3), groups=2), "and the 3 output channels"),
    (Layer((1, 4, 5, 5), (4, 4, 3, 3), groups=0), "groups is 0"),
    (Layer((1, 3, 5, 5), (0, 3, 3, 3)), "needs at least 1 channel and 1 feature"),
    (Layer((1, 3, 5, 5), (4, 3, 6, 3)), r"spans \(6, 3\) and does not fit into the padded input of \(5, 5\)"),
    (Layer((1, 3, 5, 5), (4, 3, 3, 3), dilation=(3, 1)), r"spans \(7, 3\)"),
    (Layer((1, 3, 5, 5), (4, 3, 3, 3), stride=(0, 1)), "stride"),
    (Layer((1, 3, 5, 5), (4, 3, 3, 3), padding=(-1, -1, 0, 0)), "padding"),
    (Layer((1, 3, 5, 5), (4, 3, 3, 3), dilation=(1, 0)), "dilation"),
    (Layer((1, 3, 5, 5), (4, 3, 0, 3)), "kernel_size"),
]


@pytest.mark.parametrize(("layer", "message"), REFUSED)
def test_refuses_what_does_not_fit(kernels: Any, layer: Layer, message: str):
    x, w = (kernels.from_host(numpy.zeros(shape)) for shape in (layer.x, layer.w))
    with pytest.raises(ShapeError, match=f"conv2d.*{message}"):
        kernels.conv2d(x, w, *layer.settings)


def test_refuses_no_channels(kernels: Any):
    """PyTorch makes an output without features of it, whatever the weight, and cannot go back."""
    x, w = (kernels.from_host(numpy.zeros(shape)) for shape in ((1, 0, 5, 5), (4, 0, 3, 3)))
    with pytest.raises(ShapeError, match=r"conv2d: .*needs at least 1 channel"):
        kernels.conv2d(x, w, (1, 1), (0, 0, 0, 0), (1, 1), 1)


@pytest.mark.oracle
@each_layer
def test_equals_pytorch(kernels: Any, layer: Layer):
    torch = pytest.importorskip("torch")
    x, w, dz = layer.draw()
    found = three_maps(kernels, layer, x, w, dz)
    tx, tw, tdz = (torch.from_numpy(array).requires_grad_() for array in (x, w, dz))
    top, bottom, left, right = layer.padding
    framed = torch.nn.functional.pad(tx, (left, right, top, bottom))
    tz = torch.nn.functional.conv2d(framed, tw, None, layer.stride, 0, layer.dilation, layer.groups)
    tdx, tdw = torch.autograd.grad(tz, (tx, tw), tdz)
    compare(found, [array.detach().numpy() for array in (tz, tdx, tdw)], numpy.float64, 1e-13)


@pytest.mark.oracle
@pytest.mark.parametrize("arguments", REFUSED[1:])
def test_pytorch_refuses_the_same(arguments: Any):
    torch = pytest.importorskip("torch")
    layer, _ = arguments
    with pytest.raises((RuntimeError, ValueError)):
        torch.nn.functional.conv2d(
            torch.zeros(layer.x),
            torch.zeros(layer.w),
            None,
            layer.stride,
            layer.padding[::2],
            layer.dilation,
            layer.groups,
        )
