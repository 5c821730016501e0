"""Convolution, pooling, normalisation, resizing and borders: figures worked out by hand, what is refused, devices, layouts
in memory, and derivatives of the second order."""

from __future__ import annotations

import numpy as np
import pytest
from ops.rows.table import channels_last, strided

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad.autograd import grad
from tensorgrad.backend import backend_for


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def weights(*shape):
    return random(*shape, seed=1)


FUNCTIONS = {
    # name: (function of Tensors, its inputs)
    "conv1d": (lambda x, w: F.conv1d(x, w, None, 2, 1, 2), [random(2, 2, 7), weights(3, 2, 2)]),
    "conv3d": (lambda x, w: F.conv3d(x, w, None, 1, 1), [random(1, 2, 3, 3, 2), weights(2, 2, 2, 3, 2)]),
    "conv_transpose1d": (lambda x, w: F.conv_transpose1d(x, w, None, 2, 1, 1), [random(2, 2, 4), weights(2, 2, 3)]),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, None, 2), [random(1, 2, 3, 2), weights(2, 2, 2, 3)]),
    "conv_transpose3d": (
        lambda x, w: F.conv_transpose3d(x, w, None, 2, 1, 1),
        [random(1, 2, 2, 3, 2), weights(2, 2, 2, 3, 2)],
    ),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), [random(2, 2, 7)]),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, 1, ceil_mode=True), [random(1, 2, 3, 4, 3)]),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2, 1, 1, count_include_pad=False), [random(1, 2, 3, 4, 3)]),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 2, 1), [random(1, 2, 3, 4)]),
    "distance_pool2d": (lambda x: F.distance_pool2d(x, (3, 2), 1, 1), [random(1, 2, 3, 4)]),
    "maxout": (lambda x: F.maxout(x, 2), [random(2, 4, 3)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), [random(1, 2, 4, 5)]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (3, 2)), [random(1, 2, 4, 5)]),
    "max_unpool2d": (
        lambda x: F.max_unpool2d(x, tg.tensor([[[0, 3], [9, 14]]]).to(x.device), 2),
        [random(1, 2, 2)],
    ),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w, w), [random(2, 4, 3), weights(4)]),
    "layer_norm": (lambda x, w: F.layer_norm(x, (3,), w, w), [random(2, 4, 3), weights(3)]),
    "instance_norm": (lambda x, w: F.instance_norm(x, weight=w), [random(2, 4, 3), weights(4)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [random(2, 4, 3), weights(3)]),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3, 0.5, 0.75, 2.0), [random(2, 4, 3)]),
    "unfold": (lambda x: F.unfold(x, 2, 2, 1), [random(1, 2, 4, 4)]),
    "fold": (lambda x: F.fold(x, (3, 4), 2, padding=1, stride=(2, 1)), [random(1, 4, 10)]),
    "reflect": (lambda x: F.pad(x, (2, 1), "reflect"), [random(2, 4)]),
    "bilinear": (lambda x: F.interpolate(x, (5, 3), mode="bilinear"), [random(1, 2, 3, 4)]),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"), [random(1, 2, 3, 4)]),
    "antialiased": (lambda x: F.interpolate(x, (2, 3), mode="bilinear", antialias=True), [random(1, 2, 6, 7)]),
    "nearest": (lambda x: F.interpolate(x, 5), [random(1, 2, 3)]),
    "grid_sample": (
        lambda x, g: F.grid_sample(x, g, padding_mode="reflection"),
        [random(1, 2, 3, 4), 0.8 * random(1, 2, 3, 2, seed=1)],
    ),
    "grid_sample, cubic": (
        lambda x, g: F.grid_sample(x, g, "bicubic"),
        [random(1, 2, 3, 4), random(1, 2, 3, 2, seed=1)],
    ),
    "affine_grid": (lambda t: F.affine_grid(t, (2, 1, 3, 4)), [random(2, 2, 3)]),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), [random(4, 2, 3)]),
    "weight_norm": (
        lambda g, v: nn.weight_norm.product(g, v, 0),
        [random(3, 1, 1), random(3, 2, 2, seed=1)],
    ),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def host(x):
    return x.detach().cpu().numpy()


def first_order(name, arrays, device="cpu", dtype=None):
    """The result and the gradients of sin(result).sum(), as NumPy arrays."""
    backend = backend_for(device)
    xs = [tg.Tensor(backend.from_host(a if dtype is None else a.astype(dtype, order="K")), True) for a in arrays]
    z = FUNCTIONS[name][0](*xs)
    return [host(z), *(host(g) for g in grad(z.sin().sum(), xs))]


@every_function
def test_gradients_against_differences(name):
    function, arrays = FUNCTIONS[name]
    tg.gradcheck.gradcheck(function, tuple(tg.Tensor(a.copy(), True) for a in arrays))


@every_function
def test_second_order_against_differences(name):
    function, arrays = FUNCTIONS[name]
    tg.gradcheck.gradgradcheck(lambda *xs: function(*xs).sin(), tuple(tg.Tensor(a.copy(), True) for a in arrays))


@every_function
def test_on_every_device(name, device):
    arrays = FUNCTIONS[name][1]
    for found, expected in zip(first_order(name, arrays, device), first_order(name, arrays)):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@every_function
def test_in_any_layout_and_dtype(name):
    arrays = FUNCTIONS[name][1]
    plain = first_order(name, arrays)
    for layout in (strided, lambda a: channels_last(a) if a.ndim == 4 else a):
        for found, expected in zip(first_order(name, [layout(a) for a in arrays]), plain):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)
    for found, expected in zip(first_order(name, arrays, dtype=np.float32), plain):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


#: their first input is no batch of samples, or a second one is beside it
WITHOUT_BATCH = {"max_unpool2d", "affine_grid", "grid_sample", "grid_sample, cubic", "weight_norm", "reflect"}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in WITHOUT_BATCH])
def test_no_samples(name):
    function, arrays = FUNCTIONS[name]
    x = tg.Tensor(arrays[0][:0], True)
    z = function(x, *[tg.Tensor(a, True) for a in arrays[1:]])
    assert z.shape[0] == 0 and z.numel() == 0
    z.sum().backward()
    assert x.grad.shape == x.shape


# by hand


def test_padding_same_puts_the_odd_one_at_the_end():
    x, w = tg.tensor([[[1.0, 2.0, 3.0]]]), tg.tensor([[[1.0, 10.0]]])
    assert F.conv1d(x, w, padding="same").tolist() == [[[21.0, 32.0, 3.0]]]


def test_a_transposed_convolution_spreads_the_filter():
    x, w = tg.tensor([[[1.0, 2.0]]]), tg.tensor([[[1.0, 10.0, 100.0]]])
    assert F.conv_transpose1d(x, w, stride=2).tolist() == [[[1.0, 10.0, 102.0, 20.0, 200.0]]]
    assert F.conv_transpose1d(x, w, stride=2, padding=1).tolist() == [[[10.0, 102.0, 20.0]]]
    assert F.conv_transpose1d(x, w, stride=2, padding=1, output_padding=1).tolist() == [[[10.0, 102.0, 20.0, 200.0]]]
    # nothing is left to give back: zeros
    assert F.conv_transpose1d(x, w, stride=2, output_padding=1).tolist() == [[[1.0, 10.0, 102.0, 20.0, 200.0, 0.0]]]


def test_the_first_of_equal_values_wins_in_a_volume():
    x = tg.zeros(1, 1, 2, 2, 2, requires_grad=True)
    z, indices = F.max_pool3d(x, 2, return_indices=True)
    z.backward(tg.ones(1, 1, 1, 1, 1))
    assert indices.item() == 0
    assert x.grad.reshape(-1).tolist() == [1.0] + [0.0] * 7


def test_weights_fall_with_the_distance_from_the_central_pixel():
    x = tg.zeros(1, 3, 3)
    x[0, 1, 1] = 1.0
    side, corner = 1 / 2, 1 / (1 + 2**0.5)
    centre = F.distance_pool2d(x, 3).item()
    assert centre == pytest.approx(1 / (1 + 4 * side + 4 * corner))
    x = tg.zeros(1, 3, 3)
    x[0, 0, 2] = 1.0
    assert F.distance_pool2d(x, 3).item() == pytest.approx(corner * centre)
    assert F.distance_pool2d(tg.ones(2, 1, 5, 5), 2, 1).numpy() == pytest.approx(1.0)
    assert nn.DistancePool2d(3, 1, 1)(tg.ones(2, 4, 5, 6)).shape == (2, 4, 5, 6)


def test_maxout_takes_neighbouring_channels_and_the_first_of_equals():
    x = tg.tensor([[1.0, 1.0, 2.0, 3.0]], requires_grad=True)
    z = nn.Maxout(2)(x)
    z.sum().backward()
    assert z.tolist() == [[1.0, 3.0]]
    assert x.grad.tolist() == [[1.0, 0.0, 0.0, 1.0]]


def test_the_norm_of_a_window_of_zeros_has_gradient_zero():
    x = tg.zeros(1, 2, 2, requires_grad=True)
    F.lp_pool2d(x, 2, 2).sum().backward()
    assert x.grad.tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_sum_pooling():
    assert nn.SumPool2d((1, 2), 1)(tg.tensor([[[1.0, 2.0, 4.0]]])).tolist() == [[[3.0, 6.0]]]


def test_the_papers_alpha():
    """Krizhevsky et al.: k 2, n 5, alpha 1e-4, beta 0.75, the sum over channels."""
    x = random(1, 7, 2, 2) * 30
    channels = [sum(x[:, j] ** 2 for j in range(max(0, c - 2), min(7, c + 3))) for c in range(7)]
    expected = x / (2 + 1e-4 * np.stack(channels, 1)) ** 0.75
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0, mean=False)
    np.testing.assert_allclose(layer(tg.tensor(x)).numpy(), expected, rtol=1e-12)
    same = F.local_response_norm(tg.tensor(x), 5, alpha=5e-4, k=2.0)
    np.testing.assert_allclose(same.numpy(), expected, rtol=1e-12)


def test_whole_numbers_are_pooled_as_whole_numbers():
    x = tg.tensor([[[-7, 2, 2, 2, 5, 5]]])
    assert F.avg_pool1d(x, 3).tolist() == [[[-1, 4]]]
    z, indices = F.max_pool1d(x, 3, return_indices=True)
    assert z.dtype == tg.int64 and z.tolist() == [[[2, 5]]] and indices.tolist() == [[[1, 4]]]
    with pytest.raises(RuntimeError, match="max_pool1d: input is of bool"):
        F.max_pool1d(x > 0, 3)


def test_dropout_of_channels_and_of_everything():
    tg.manual_seed(0)
    z = nn.Dropout2d(0.25)(tg.ones(8, 64, 3, 3))
    assert np.array_equal(z.numpy().max((2, 3)), z.numpy().min((2, 3)))
    assert set(np.unique(z.numpy())) == {0.0, np.float32(1 / 0.75)}
    assert 0.65 < np.count_nonzero(z.numpy()) / z.numel() < 0.85
    one = F.dropout3d(tg.ones(64, 2, 2, 2), 0.5)  # (C, D, H, W)
    assert np.array_equal(one.numpy().max((1, 2, 3)), one.numpy().min((1, 2, 3)))


def test_alpha_dropout_keeps_mean_and_variance():
    tg.manual_seed(0)
    for layer in (nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)):
        z = layer(tg.randn(400, 500)).numpy()
        assert z.mean() == pytest.approx(0, abs=0.02) and z.var() == pytest.approx(1, abs=0.02)
    x = tg.randn(3, 4)
    assert F.alpha_dropout(x) is x


def test_removing_weight_norm_gives_the_weight_back():
    layer = nn.Linear(3, 2)
    w, x = layer.weight.detach().clone(), tg.randn(4, 3)
    z = layer(x)
    nn.utils.weight_norm(layer)
    layer.weight_g.data *= 2
    assert np.allclose(host(layer(x) - layer.bias), 2 * host(z - layer.bias), atol=1e-6)
    nn.utils.remove_weight_norm(layer)
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert np.allclose(host(layer.weight), 2 * w.numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="remove_weight_norm: Linear has no weight norm of 'weight'"):
        nn.utils.remove_weight_norm(layer)


def test_parametrizations_come_and_go():
    layer = nn.Conv2d(1, 2, 3)
    w = layer.weight.detach().clone()
    nn.utils.parametrizations.weight_norm(layer)
    assert nn.utils.parametrize.is_parametrized(layer, "weight") and not isinstance(layer.weight, nn.Parameter)
    assert type(layer).__name__ == "ParametrizedConv2d" and isinstance(layer, nn.Conv2d)
    with pytest.raises(ValueError, match="leave_parametrized=False needs a single original"):
        nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    with pytest.raises(ValueError, match="ParametrizedConv2d has no parameter 'weight'"):
        nn.utils.parametrizations.weight_norm(layer)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Conv2d and not nn.utils.parametrize.is_parametrized(layer)
    assert np.allclose(host(layer.weight), w.numpy(), atol=1e-6)
    assert nn.Conv2d(1, 2, 3).weight.requires_grad  # other layers are as they were


# what is refused

X1, X2, X3 = tg.zeros(1, 4, 5), tg.zeros(1, 4, 5, 5), tg.zeros(1, 4, 5, 5, 5)
REFUSED = {
    "conv1d of images": (lambda: F.conv1d(X2, tg.zeros(1, 4, 2)), RuntimeError, r"conv1d: .*\(N, C, L\)"),
    "conv3d weight": (lambda: F.conv3d(X3, tg.zeros(1, 4, 2)), RuntimeError, r"conv3d: weight .*KD, KH, KW"),
    "conv3d channels": (lambda: F.conv3d(X3, tg.zeros(1, 3, 2, 2, 2)), RuntimeError, "needs an input of 3 channels"),
    "conv3d window": (lambda: F.conv3d(X3, tg.zeros(1, 4, 6, 2, 2)), RuntimeError, r"window spans \(6, 2, 2\)"),
    "conv1d dtype": (lambda: F.conv1d(X1, tg.zeros(1, 4, 2, dtype=tg.float64)), RuntimeError, "must be the same"),
    "conv1d bias": (
        lambda: F.conv1d(X1, tg.zeros(1, 4, 2), tg.zeros(2)),
        RuntimeError,
        r"conv1d: bias .* needs \(1,\)",
    ),
    "conv1d padding": (lambda: F.conv1d(X1, tg.zeros(1, 4, 2), padding=-1), RuntimeError, "must not be negative"),
    "conv1d same": (lambda: F.conv1d(X1, tg.zeros(1, 4, 2), None, 2, "same"), RuntimeError, "only with stride 1"),
    "conv layer groups": (lambda: nn.Conv1d(4, 6, 3, groups=4), ValueError, "out_channels is 6 and groups 4"),
    "transposed channels": (lambda: F.conv_transpose2d(X2, tg.zeros(3, 1, 2, 2)), RuntimeError, "number of channels"),
    "output padding": (
        lambda: F.conv_transpose2d(X2, tg.zeros(4, 1, 2, 2), output_padding=1),
        RuntimeError,
        "output_padding is .* smaller than stride",
    ),
    "transposed padding": (
        lambda: F.conv_transpose1d(X1, tg.zeros(4, 1, 2), padding=3),
        RuntimeError,
        "leave nothing; use less padding",
    ),
    "transposed mode": (lambda: nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect"), ValueError, "only be 'zeros'"),
    "output size": (lambda: nn.ConvTranspose2d(4, 1, 2, 2)(X2, (12, 10)), ValueError, r"from \[10, 10\] to \[11, 11\]"),
    "max_pool3d padding": (lambda: F.max_pool3d(X3, 2, padding=(2, 0, 0)), RuntimeError, "at most half"),
    "max_pool1d kernel": (lambda: F.max_pool1d(X1, (2, 2)), ValueError, "kernel_size is .* one whole number"),
    "adaptive size": (lambda: F.adaptive_avg_pool2d(X2, (1, 2, 3)), RuntimeError, "one whole number or 2"),
    "adaptive negative": (lambda: F.adaptive_avg_pool2d(X2, -1), RuntimeError, "must not be negative"),
    "maxout": (lambda: F.maxout(X2, 3), RuntimeError, "divisible by pieces 3"),
    "unpool indices": (lambda: F.max_unpool1d(X1, X1, 2), RuntimeError, "must be int64"),
    "unpool place": (
        lambda: F.max_unpool1d(tg.zeros(1, 1, 1), tg.tensor([[[2]]]), 2),
        RuntimeError,
        "indices are from 2 to 2; .* places 0 to 1",
    ),
    "unpool size": (lambda: F.max_unpool1d(X1, X1.long(), 2, output_size=(14,)), ValueError, "less than the stride"),
    "group norm": (lambda: F.group_norm(X1, 3), RuntimeError, "C divisible by num_groups"),
    "group norm of one": (lambda: F.group_norm(tg.zeros(1, 4), 4), ValueError, "one value in each of 4 groups"),
    "layer norm": (lambda: F.layer_norm(X1, (4,)), RuntimeError, "must end alike"),
    "instance norm of one": (lambda: F.instance_norm(tg.zeros(2, 4, 1)), ValueError, "one value per channel"),
    "instance norm layer": (lambda: nn.InstanceNorm2d(4)(X1.squeeze(0)), ValueError, "InstanceNorm2d: input has shape"),
    "batch norm 3d": (lambda: nn.BatchNorm3d(4)(X2), ValueError, r"it takes \(N, C, D, H, W\)"),
    "sync batch norm": (lambda: nn.SyncBatchNorm(4), NotImplementedError, "use one of them"),
    "local response": (lambda: F.local_response_norm(tg.zeros(2, 3), 2), ValueError, r"\(N, C, ...\)"),
    "unfold": (lambda: F.unfold(X2, 7), RuntimeError, "no window of"),
    "fold rows": (lambda: F.fold(X1, (3, 3), 3), RuntimeError, "C 9, L"),
    "fold columns": (lambda: F.fold(X1, (3, 3), 2), RuntimeError, r"has 2 \* 2 windows"),
    "reflect": (lambda: F.pad(X1, (5, 0), "reflect"), RuntimeError, "at most 4 wide"),
    "pad layer": (lambda: nn.ReflectionPad2d(1)(X3), RuntimeError, "ReflectionPad2d: input has shape"),
    "pad layer widths": (lambda: nn.ZeroPad2d((1, 2, 3)), ValueError, "one whole number or four"),
    "interpolate mode": (lambda: F.interpolate(X1, 3, mode="bilinear"), NotImplementedError, "needs 4 dimensions"),
    "interpolate word": (lambda: F.interpolate(X1, 3, mode="best"), NotImplementedError, "mode is 'best'"),
    "interpolate sizes": (lambda: F.interpolate(X1), ValueError, "one of size and scale_factor"),
    "interpolate corners": (lambda: F.interpolate(X1, 3, align_corners=True), ValueError, "has no such setting"),
    "interpolate antialias": (lambda: F.interpolate(X1, 3, antialias=True), ValueError, "antialias is for"),
    "interpolate nothing": (lambda: F.interpolate(X1, 0), RuntimeError, "every size must be at least 1"),
    "pixel shuffle": (lambda: F.pixel_shuffle(X2, 3), RuntimeError, "divisible by 3"),
    "pixel unshuffle": (lambda: F.pixel_unshuffle(X2, 2), RuntimeError, "both must be divisible by 2"),
    "channel shuffle": (lambda: F.channel_shuffle(X2, 3), RuntimeError, "groups 3 must divide"),
    "grid": (lambda: F.grid_sample(X2, tg.zeros(1, 2, 2, 3)), RuntimeError, "grid_sample: input has shape"),
    "grid mode": (lambda: F.grid_sample(X3, tg.zeros(1, 1, 1, 1, 3), "bicubic"), ValueError, "is for images"),
    "affine": (lambda: F.affine_grid(tg.zeros(1, 2, 2), (1, 1, 2, 2)), ValueError, r"needs \(1, 2, 3\)"),
    "dropout2d": (lambda: F.dropout2d(tg.zeros(3)), RuntimeError, "whole channels need"),
    "dropout1d": (lambda: F.dropout1d(X2), RuntimeError, "2 or 3 dimensions"),
    "dropout p": (lambda: nn.Dropout3d(1.5), ValueError, "p is 1.5"),
    "weight norm": (lambda: nn.utils.weight_norm(nn.ReLU()), ValueError, "has no parameter 'weight'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "function", [F.conv1d, F.max_pool1d, F.unfold, F.interpolate, F.layer_norm, F.pad, F.dropout1d]
)
def test_what_is_no_tensor_is_refused(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: input is a list; it must be a Tensor"):
        function(
            *([[1.0]], 2, 2)[:3] if function is F.conv1d else ([[1.0]],) if function is F.dropout1d else ([[1.0]], 2)
        )
