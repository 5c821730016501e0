"""Layers and functions against the obvious computation, on every device; their errors as a stranger reads them."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad.autograd import gradcheck


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def close(found, expected, rtol=1e-12, atol=1e-12):
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected, rtol=rtol, atol=atol)


# linear


def test_linear_is_x_times_w_transposed_plus_b(device):
    x, w, b = random(5, 4), random(3, 4, seed=1), random(3, seed=2)
    close(F.linear(*(tg.tensor(a, device=device) for a in (x, w, b))), x @ w.T + b)


def test_linear_errors():
    with pytest.raises(
        RuntimeError, match=r"the last size of the input must be 4, the weight \(out_features, in_features\)"
    ):
        nn.Linear(4, 3)(tg.ones(2, 5))
    with pytest.raises(
        RuntimeError, match=r"linear: got a bias of shape \(1,\); a weight of shape \(3, 4\) needs \(3,\)"
    ):
        F.linear(tg.ones(2, 4), tg.ones(3, 4), tg.ones(1))
    with pytest.raises(RuntimeError, match=r"linear: got dtypes float64 and float32; they must be the same"):
        nn.Linear(4, 3)(tg.ones(2, 4, dtype=tg.float64))
    with pytest.raises(TypeError, match=r"Linear: in_features is 2.5; it must be a whole number"):
        nn.Linear(2.5, 3)
    with pytest.raises(ValueError, match="Linear: out_features is -1; it must be at least 0"):
        nn.Linear(2, -1)


# convolution


def test_the_vertical_edge_filter():
    """The lectures' worked example."""
    m = [
        [3, 0, 1, 2, 4, 7],
        [1, 5, 8, 9, 3, 1],
        [2, 7, 2, 5, 1, 3],
        [0, 1, 3, 1, 7, 8],
        [4, 2, 1, 6, 2, 8],
        [2, 4, 5, 2, 3, 9],
    ]
    x, w = tg.tensor([m], dtype=tg.float32), tg.tensor([[[[1.0, 0.0, -1.0]] * 3]])
    expected = [[-5, -4, 3, 5], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
    assert F.conv2d(x, w)[0].tolist() == expected


def slow_conv2d(x, w, b, stride, padding, dilation, groups):
    """z[n, o, i, j], one number after the other, from an array with its zeros around it."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    rows = (x.shape[2] - dilation[0] * (w.shape[2] - 1) - 1) // stride[0] + 1
    columns = (x.shape[3] - dilation[1] * (w.shape[3] - 1) - 1) // stride[1] + 1
    z = np.zeros((x.shape[0], w.shape[0], rows, columns))
    for n, o, i, j in np.ndindex(z.shape):
        total = b[o]
        for c, k, l in np.ndindex(w.shape[1:]):
            channel = o // (w.shape[0] // groups) * w.shape[1] + c
            total += x[n, channel, i * stride[0] + k * dilation[0], j * stride[1] + l * dilation[1]] * w[o, c, k, l]
        z[n, o, i, j] = total
    return z


@pytest.mark.parametrize(
    "stride, padding, dilation, groups",
    [((1, 1), (0, 0), (1, 1), 1), ((2, 1), (1, 2), (1, 1), 2), ((1, 2), (0, 3), (2, 1), 1)],
)
def test_conv2d_is_its_definition(stride, padding, dilation, groups, device):
    x, w, b = random(2, 4, 6, 7), random(6, 4 // groups, 3, 2, seed=1), random(6, seed=2)
    tensors = [tg.tensor(a, device=device) for a in (x, w, b)]
    z = F.conv2d(*tensors, stride, padding, dilation, groups)
    close(z, slow_conv2d(x, w, b, stride, padding, dilation, groups), rtol=1e-9)


def test_conv2d_of_one_image_is_the_batch_of_one():
    layer = nn.Conv2d(2, 3, 3, padding=1)
    x = tg.randn(2, 5, 5)
    assert layer(x).shape == (3, 5, 5)
    close(layer(x), layer(x.unsqueeze(0))[0].detach().numpy(), rtol=1e-6)


def test_same_padding_keeps_the_size_and_pads_more_on_the_right():
    x = tg.arange(1.0, 5.0).reshape(1, 1, 1, 4)
    w = tg.ones(1, 1, 1, 2)
    assert F.conv2d(x, w, padding="same").tolist() == [[[[3, 5, 7, 4]]]]


CONV_ERRORS = {
    "channels": (
        {"x": (2, 3, 8, 8), "w": (6, 1, 5, 5)},
        r"conv2d: weight \(6, 1, 5, 5\) with groups=1 needs an input of 1 channels; got input \(2, 3, 8, 8\) with 3",
    ),
    "groups": (
        {"x": (2, 3, 8, 8), "w": (6, 1, 5, 5), "groups": 2},
        "conv2d: groups is 2; it must divide the 3 input channels and the 6 output channels",
    ),
    "kernel": (
        {"x": (2, 1, 3, 3), "w": (6, 1, 5, 5)},
        r"conv2d: the window spans \(5, 5\) and does not fit into the padded input of \(3, 3\)",
    ),
    "dimensions": (
        {"x": (3, 3), "w": (6, 1, 5, 5)},
        r"conv2d: input has shape \(3, 3\); it must be \(N, C, H, W\), or \(C, H, W\) for one image",
    ),
    "weight": (
        {"x": (1, 1, 5, 5), "w": (6, 5, 5)},
        r"conv2d: weight has shape \(6, 5, 5\); it must be \(O, C / groups, KH, KW\)",
    ),
    "bias": (
        {"x": (1, 1, 5, 5), "w": (6, 1, 5, 5), "b": (5,)},
        r"conv2d: bias has shape \(5,\) and dtype float32; a weight of shape \(6, 1, 5, 5\) and dtype float32 needs \(6,\)",
    ),
    "stride": (
        {"x": (1, 1, 5, 5), "w": (6, 1, 5, 5), "stride": 0},
        r"conv2d: stride is \(0, 0\); each number must be at least 1",
    ),
    "same and stride": (
        {"x": (1, 1, 5, 5), "w": (6, 1, 5, 5), "stride": 2, "padding": "same"},
        r"conv2d: padding='same' keeps the size only with stride 1; got stride \(2, 2\)",
    ),
    "dtype": (
        {"x": (1, 1, 5, 5), "w": (6, 1, 5, 5), "dtype": tg.float64},
        r"conv2d: input is float64 and weight float32; they must be the same, use .to\(dtype\)",
    ),
}


@pytest.mark.parametrize("name", CONV_ERRORS)
def test_conv2d_errors(name):
    settings, message = CONV_ERRORS[name]
    settings = dict(settings)
    x = tg.zeros(*settings.pop("x"), dtype=settings.pop("dtype", tg.float32))
    b = settings.pop("b", None)
    with pytest.raises(RuntimeError, match=message):
        F.conv2d(x, tg.zeros(*settings.pop("w")), None if b is None else tg.zeros(*b), **settings)


def test_conv2d_settings_of_wrong_kinds():
    x, w = tg.zeros(1, 1, 5, 5), tg.zeros(1, 1, 3, 3)
    with pytest.raises(TypeError, match=r"conv2d: stride is 1.5; it must be a whole number"):
        F.conv2d(x, w, stride=1.5)
    with pytest.raises(ValueError, match=r"conv2d: padding is \(1, 2, 3\); it must be one whole number or two"):
        F.conv2d(x, w, padding=(1, 2, 3))
    with pytest.raises(ValueError, match="conv2d: padding is 'full'; it must be one of 'same', 'valid'"):
        F.conv2d(x, w, padding="full")
    with pytest.raises(TypeError, match="conv2d: input is a ndarray; it must be a Tensor"):
        F.conv2d(np.zeros((1, 1, 5, 5)), w)
    assert F.conv2d(x, w, stride=np.int64(2), padding=[1]).shape == (1, 1, 3, 3)


def test_conv2d_layers_refuse_settings_when_they_are_made():
    with pytest.raises(
        ValueError, match="Conv2d: in_channels is 3 and groups 2; in_channels must be divisible by groups"
    ):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="Conv2d: padding_mode is 'mirror'; it must be one of 'zeros', 'reflect'"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(
        ValueError, match=r"Conv2d: padding='same' keeps the size only with stride 1; got stride \(2, 2\)"
    ):
        nn.Conv2d(3, 4, 3, stride=2, padding="same")
    with pytest.raises(ValueError, match=r"Conv2d: kernel_size is \(0, 3\); each number must be at least 1"):
        nn.Conv2d(3, 4, (0, 3))
    with pytest.raises(ValueError, match="Conv2d: padding is -1; it must not be negative"):
        nn.Conv2d(3, 4, 3, padding=-1)
    with pytest.raises(ValueError, match="Conv2d: groups is 0; it must be at least 1"):
        nn.Conv2d(3, 4, 3, groups=0)


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("constant", [0, 0, 1, 2, 3, 0]),
        ("reflect", [3, 2, 1, 2, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 3]),
        ("circular", [2, 3, 1, 2, 3, 1]),
    ],
)
def test_pad(mode, expected, device):
    x = tg.tensor([[1.0, 2.0, 3.0]], device=device, requires_grad=True)
    z = F.pad(x, (2, 1), mode)
    assert z.tolist() == [expected]
    z.sum().backward()
    assert x.grad.tolist() == [[expected.count(value) for value in (1, 2, 3)]]


def test_pad_errors():
    x = tg.zeros(1, 3)
    with pytest.raises(
        RuntimeError, match=r"pad: a border of 3, 0 in mode 'reflect' along dimension 1 .* at most 2 wide"
    ):
        F.pad(x, (3, 0), "reflect")
    with pytest.raises(RuntimeError, match="at most 3 wide there"):
        F.pad(x, (0, 4), "circular")
    with pytest.raises(RuntimeError, match=r"pad: got 3 widths for a Tensor of shape \(1, 3\); give two a dimension"):
        F.pad(x, (1, 2, 3))
    with pytest.raises(RuntimeError, match="pad: widths -2, -2 take more than dimension 1"):
        F.pad(x, (-2, -2))
    with pytest.raises(ValueError, match="pad: mode is 'mirror'"):
        F.pad(x, (1, 1), "mirror")
    with pytest.raises(ValueError, match="pad: value is 2; mode 'reflect' takes none"):
        F.pad(x, (1, 1), "reflect", 2)


# pooling


def test_max_pooling_gives_the_gradient_to_the_first_winner(device):
    x = tg.tensor([[[1.0, 3.0, 3.0], [3.0, 0.0, 2.0]]], device=device, requires_grad=True)
    z, indices = F.max_pool2d(x, 2, stride=1, return_indices=True)
    assert z.tolist() == [[[3, 3]]]
    assert indices.tolist() == [[[1, 1]]]
    z.sum().backward()
    assert x.grad.tolist() == [[[0, 2, 0], [0, 0, 0]]]


def test_average_pooling_divides_by_what_is_declared():
    row = tg.arange(1.0, 6.0).reshape(1, 1, 5)
    assert F.avg_pool2d(row, (1, 2), ceil_mode=True).tolist() == [[[1.5, 3.5, 5]]]
    z = F.avg_pool2d(tg.ones(1, 6, 6), 3, 2, 1, ceil_mode=True)
    np.testing.assert_allclose(z.tolist()[0][-1], [2 / 6, 3 / 6, 3 / 6, 1 / 4], rtol=1e-6)  # the last row hangs over


def test_pooling_errors():
    x = tg.zeros(1, 1, 4, 4)
    with pytest.raises(
        RuntimeError, match=r"max_pool2d: padding is \(2, 2, 2, 2\).* at most half of the window's span \(3, 3\)"
    ):
        nn.MaxPool2d(3, padding=2)(x)
    with pytest.raises(RuntimeError, match=r"avg_pool2d: the window spans \(5, 5\) and does not fit"):
        nn.AvgPool2d(5)(x)
    with pytest.raises(RuntimeError, match="avg_pool2d: divisor_override is 0; it must not be zero"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(RuntimeError, match=r"max_pool2d: input has shape \(4, 4\); it must be \(N, C, H, W\)"):
        F.max_pool2d(tg.zeros(4, 4), 2)
    with pytest.raises(TypeError, match="max_pool2d: kernel_size is 'big'"):
        F.max_pool2d(x, "big")


# batch norm


def test_batch_norm_in_training_and_its_running_statistics(device):
    x = 3 + 2 * random(4, 2, 3, 3)
    layer = nn.BatchNorm2d(2, dtype=tg.float64, device=device)
    z = layer(tg.tensor(x, device=device))
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    close(z, (x - mean.reshape(2, 1, 1)) / np.sqrt(var.reshape(2, 1, 1) + 1e-5), rtol=1e-9)
    close(layer.running_mean, 0.1 * mean, rtol=1e-9)
    close(layer.running_var, 0.9 + 0.1 * x.var((0, 2, 3), ddof=1), rtol=1e-9)
    assert layer.num_batches_tracked.tolist() == 1


def test_batch_norm_with_cumulative_momentum():
    layer = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        layer(tg.tensor([[value - 1], [value + 1]]))
    assert layer.running_mean.tolist() == pytest.approx([3.0])
    assert layer.running_var.tolist() == pytest.approx([2.0])
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0]
    assert layer.num_batches_tracked.tolist() == 0


def test_batch_norm_in_evaluation_has_derivatives_of_every_order():
    layer = nn.BatchNorm2d(2).double()
    layer(tg.tensor(random(3, 2, 2, 2)))
    layer.eval()
    x = tg.tensor(random(2, 2, 2, 2, seed=1), requires_grad=True)
    assert gradcheck(layer, (x,))
    assert gradcheck(lambda x, w, b: (F.batch_norm(x, layer.running_mean, layer.running_var, w, b) ** 2), (
        x,
        tg.tensor(random(2, seed=3), requires_grad=True),
        tg.tensor(random(2, seed=4), requires_grad=True),
    ))  # fmt: skip
    z = (layer(x) ** 3).sum()
    (first,) = tg.autograd.grad(z, x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x)
    scale = layer.weight.detach().numpy() / np.sqrt(layer.running_var.numpy() + 1e-5)
    close(second, 6 * layer(x).detach().numpy() * (scale**2).reshape(2, 1, 1), rtol=1e-9)


def test_batch_norm_keeps_float32_and_does_not_move_in_evaluation():
    layer = nn.BatchNorm2d(2)
    x = tg.randn(3, 2, 2, 2, requires_grad=True)
    z = layer(x)
    z.sum().backward()
    assert {str(t.dtype) for t in (z, x.grad, layer.weight.grad, layer.running_var)} == {"float32"}
    before = layer.running_mean.tolist()
    layer.eval()(x)
    assert layer.running_mean.tolist() == before


def test_an_empty_batch_leaves_the_running_statistics():
    layer = nn.BatchNorm2d(2)
    assert layer(tg.zeros(0, 2, 3, 3)).shape == (0, 2, 3, 3)
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0, 0], [1, 1])


def test_batch_norm_errors_change_nothing():
    layer = nn.BatchNorm2d(3)
    message = r"one value per channel; training needs more, its variance would be 0 \[in the BatchNorm2d\]"
    with pytest.raises(ValueError, match=message):
        layer(tg.ones(1, 3, 1, 1))
    assert layer.num_batches_tracked.tolist() == 0
    assert layer.running_mean.tolist() == [0, 0, 0]
    assert layer.eval()(tg.ones(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    with pytest.raises(
        ValueError, match=r"BatchNorm2d: input has shape \(2, 3\) of 2 dimensions; it takes \(N, C, H, W\)"
    ):
        layer(tg.ones(2, 3))
    with pytest.raises(
        RuntimeError, match=r"running_mean has shape \(3,\); an input of shape \(2, 4, 2, 2\) has 4 channels"
    ):
        layer(tg.ones(2, 4, 2, 2))
    with pytest.raises(ValueError, match="outside of training it needs running_mean and running_var"):
        F.batch_norm(tg.ones(2, 3), None, None)


# dropout


def test_dropout_keeps_the_mean_and_scales_the_gradient(device):
    tg.manual_seed(3)
    x = tg.ones(200, 100, device=device, requires_grad=True)
    z = F.dropout(x, 0.2)
    values = z.detach().cpu().numpy()
    assert set(np.unique(values)) == {np.float32(0.0), np.float32(1.25)}
    assert values.mean() == pytest.approx(1.0, abs=0.02)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), values)


def test_dropout_follows_the_seed_and_the_mode():
    layer, x = nn.Dropout(0.5), tg.ones(50)
    tg.manual_seed(1)
    first = layer(x).tolist()
    second = layer(x).tolist()
    tg.manual_seed(1)
    assert layer(x).tolist() == first != second
    assert layer.eval()(x) is x


def test_dropout_at_the_ends_and_in_place():
    x = tg.ones(4)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0, 0, 0, 0]
    assert F.dropout(x, 1.0, inplace=True) is x
    assert x.tolist() == [0, 0, 0, 0]
    assert F.dropout(tg.ones(4, dtype=tg.float16), 0.5).dtype == tg.float16


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_checks_its_probability(p):
    with pytest.raises(ValueError, match=r"Dropout: p is .*; it must be from 0 to 1"):
        nn.Dropout(p)
    with pytest.raises(TypeError, match="dropout: p is 'half'"):
        F.dropout(tg.ones(1), "half")


# shapes and activations


def test_flatten_and_unflatten():
    x = tg.zeros(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Unflatten(-1, (2, -1))(x).shape == (2, 3, 2, 2)
    with pytest.raises(
        RuntimeError, match=r"unflatten: dimension 2 of a Tensor of shape \(2, 3, 4\) cannot be split into \(3, -1\)"
    ):
        nn.Unflatten(2, (3, -1))(x)


def test_activations(device):
    x = tg.tensor([-1.0, 0.0, 2.0], device=device, dtype=tg.float64)
    close(F.relu(x), [0, 0, 2])
    close(nn.Tanh()(x), np.tanh([-1, 0, 2]))
    close(nn.Sigmoid()(x), 1 / (1 + np.exp([1.0, 0, -2])))
    close(nn.Softmax(0)(x), np.exp([-1.0, 0, 2]) / np.exp([-1.0, 0, 2]).sum())
    close(nn.LogSoftmax(0)(x).exp(), nn.Softmax(0)(x).cpu().numpy())
    with pytest.raises(TypeError, match="relu: input is a list; it must be a Tensor"):
        F.relu([1.0])


def test_relu_in_place():
    x = tg.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0, 2]


# initial values


def test_the_bounds_of_initial_values():
    weight = tg.empty(64, 32, 3, 3)
    fan_in, fan_out = 32 * 9, 64 * 9
    bounds = {
        "kaiming_uniform_": math.sqrt(2) * math.sqrt(3 / fan_in),
        "xavier_uniform_": math.sqrt(6 / (fan_in + fan_out)),
    }
    for name, bound in bounds.items():
        top = abs(getattr(nn.init, name)(weight).numpy()).max()
        assert 0.999 * bound < top <= bound * (1 + 1e-6), name
    deviations = {"kaiming_normal_": math.sqrt(2 / fan_in), "xavier_normal_": math.sqrt(2 / (fan_in + fan_out))}
    for name, deviation in deviations.items():
        assert getattr(nn.init, name)(weight).numpy().std() == pytest.approx(deviation, rel=0.03), name


@pytest.mark.parametrize(
    "make, fan_in", [(lambda: nn.Linear(100, 300), 100), (lambda: nn.Conv2d(8, 90, 5, groups=2), 100)]
)
def test_layers_start_evenly_within_one_over_the_root_of_fan_in(make, fan_in):
    layer = make()
    bound = 1 / math.sqrt(fan_in)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        assert 0.9 * bound < abs(values).max() <= bound * (1 + 1e-6)
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_initial_values_follow_the_seed_or_a_generator():
    tg.manual_seed(4)
    first = nn.Linear(3, 3).weight.tolist()
    tg.manual_seed(4)
    assert nn.Linear(3, 3).weight.tolist() == first
    draws = [nn.init.normal_(tg.empty(3), generator=tg.Generator(7)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]


def test_plain_initialisers(device):
    x = tg.empty(200, 50, device=device)
    assert nn.init.constant_(x, 2.5) is x
    assert x[0, 0].item() == 2.5
    assert nn.init.ones_(x).sum().item() == 10000
    assert nn.init.zeros_(x).sum().item() == 0
    values = nn.init.uniform_(x, -1, 3).cpu().numpy()
    assert -1 <= values.min() < -0.99
    assert 2.99 < values.max() < 3
    values = nn.init.normal_(x, 1.0, 0.5).cpu().numpy()
    assert (values.mean(), values.std()) == (pytest.approx(1, abs=0.02), pytest.approx(0.5, abs=0.02))
    values = nn.init.trunc_normal_(x, 0.0, 1.0, -1.0, 1.0).cpu().numpy()
    assert abs(values).max() <= 1
    assert values.std() == pytest.approx(0.539, abs=0.01)  # of a normal distribution cut off at one deviation
    parameter = nn.Parameter(tg.empty(2))
    assert nn.init.ones_(parameter) is parameter
    assert parameter.requires_grad
    assert parameter.is_leaf


def test_initialisers_refuse():
    with pytest.raises(
        RuntimeError, match=r"kaiming_uniform_: got a Tensor of shape \(3,\); its fans need a weight of two"
    ):
        nn.init.kaiming_uniform_(tg.empty(3))
    with pytest.raises(ValueError, match="kaiming_normal_: mode is 'fan'; it must be one of 'fan_in', 'fan_out'"):
        nn.init.kaiming_normal_(tg.empty(3, 3), mode="fan")
    with pytest.raises(ValueError, match="calculate_gain: nonlinearity is 'swish'"):
        nn.init.calculate_gain("swish")
    with pytest.raises(ValueError, match="uniform_: got the range 1 to 0"):
        nn.init.uniform_(tg.empty(1), 1, 0)
    with pytest.raises(ValueError, match="normal_: std is -1"):
        nn.init.normal_(tg.empty(1), 0, -1)
    with pytest.raises(RuntimeError, match=r"uniform_: got dtype int64; it fills floating-point Tensors"):
        nn.init.uniform_(tg.zeros(2, dtype=tg.int64))
    with pytest.raises(ValueError, match=r"trunc_normal_: the range 8 to 9 holds .* choose a range nearer to the mean"):
        nn.init.trunc_normal_(tg.empty(1), a=8, b=9)
