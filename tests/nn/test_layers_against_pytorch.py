"""Every layer and function of nn against PyTorch: results, gradients of inputs and parameters, names, buffers, repr."""

from __future__ import annotations

import numpy as np
import pytest
from nn_oracle import compare_functions, compare_layers, random

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),  # PyTorch's own
]
torch = pytest.importorskip("torch")

both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])

LAYERS = {
    # name: (class, arguments, settings, shape of the input)
    "linear": ("Linear", (4, 3), {}, (5, 4)),
    "linear, no bias": ("Linear", (4, 3), {"bias": False}, (5, 4)),
    "linear, one row": ("Linear", (4, 3), {}, (4,)),
    "linear, stacked": ("Linear", (4, 3), {}, (2, 5, 4)),
    "conv": ("Conv2d", (3, 5, 3), {}, (2, 3, 7, 8)),
    "conv, pairs": ("Conv2d", (3, 5, (2, 3)), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, (2, 3, 9, 8)),
    "conv, groups": ("Conv2d", (4, 6, 3), {"groups": 2, "padding": 1, "bias": False}, (2, 4, 5, 5)),
    "conv, depthwise": ("Conv2d", (4, 8, 3), {"groups": 4, "stride": 2, "padding": 1}, (2, 4, 6, 6)),
    "conv, one by one": ("Conv2d", (4, 2, 1), {}, (2, 4, 5, 5)),
    "conv, same": ("Conv2d", (3, 2, (4, 3)), {"padding": "same", "dilation": (1, 2)}, (2, 3, 7, 8)),
    "conv, valid": ("Conv2d", (3, 2, 3), {"padding": "valid"}, (2, 3, 7, 8)),
    "conv, one image": ("Conv2d", (3, 5, 3), {"padding": 1}, (3, 7, 8)),
    "conv, reflect": ("Conv2d", (3, 5, 3), {"padding": (2, 1), "padding_mode": "reflect"}, (2, 3, 7, 8)),
    "conv, replicate": ("Conv2d", (3, 5, 3), {"padding": (3, 2), "padding_mode": "replicate"}, (2, 3, 7, 8)),
    "conv, circular": ("Conv2d", (3, 5, 3), {"padding": (2, 1), "padding_mode": "circular"}, (2, 3, 7, 8)),
    "conv, same and reflect": (
        "Conv2d",
        (3, 5, (4, 3)),
        {"padding": "same", "padding_mode": "reflect"},
        (2, 3, 7, 8),
    ),
    "max pool": ("MaxPool2d", (2,), {}, (2, 3, 7, 8)),
    "max pool, overlapping": ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    "max pool, all": (
        "MaxPool2d",
        ((3, 2),),
        {"stride": (1, 3), "padding": (1, 0), "dilation": (2, 1), "ceil_mode": True},
        (2, 3, 7, 8),
    ),
    "max pool, one image": ("MaxPool2d", (2,), {}, (3, 6, 6)),
    "max pool, indices": ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "return_indices": True}, (2, 3, 7, 8)),
    "max pool, indices of one": ("MaxPool2d", (2,), {"return_indices": True}, (3, 6, 6)),
    "average pool": ("AvgPool2d", (2,), {}, (2, 3, 7, 8)),
    "average pool, ceil": ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 6)),
    "average pool, no pad": ("AvgPool2d", (3, 2, 1), {"count_include_pad": False, "ceil_mode": True}, (2, 3, 6, 6)),
    "average pool, divisor": ("AvgPool2d", ((2, 3),), {"divisor_override": 5}, (2, 3, 6, 6)),
    "average pool, one image": ("AvgPool2d", (2,), {}, (3, 6, 6)),
    "batch norm 1d": ("BatchNorm1d", (4,), {}, (5, 4)),
    "batch norm 1d, sequences": ("BatchNorm1d", (4,), {}, (5, 4, 3)),
    "batch norm": ("BatchNorm2d", (3,), {}, (2, 3, 4, 5)),
    "batch norm, cumulative": ("BatchNorm2d", (3,), {"momentum": None}, (2, 3, 4, 5)),
    "batch norm, plain": ("BatchNorm2d", (3,), {"affine": False, "eps": 1e-3}, (2, 3, 4, 5)),
    "batch norm, no bias": ("BatchNorm2d", (3,), {"bias": False}, (2, 3, 4, 5)),
    "batch norm, untracked": ("BatchNorm2d", (3,), {"track_running_stats": False}, (2, 3, 4, 5)),
    "identity": ("Identity", (), {}, (2, 3)),
    "flatten": ("Flatten", (), {}, (2, 3, 4)),
    "flatten, some": ("Flatten", (0, 1), {}, (2, 3, 4)),
    "unflatten": ("Unflatten", (1, (2, -1)), {}, (3, 6, 2)),
    "relu": ("ReLU", (), {}, (2, 3)),
    "tanh": ("Tanh", (), {}, (2, 3)),
    "sigmoid": ("Sigmoid", (), {}, (2, 3)),
    "softmax": ("Softmax", (1,), {}, (2, 3, 4)),
    "log softmax": ("LogSoftmax", (-1,), {}, (2, 3, 4)),
    "dropout of nothing": ("Dropout", (0.0,), {}, (2, 3)),
}


@both_dtypes
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, dtype):
    kind, arguments, settings, shape = LAYERS[name]
    ours, theirs = getattr(nn, kind)(*arguments, **settings), getattr(torch.nn, kind)(*arguments, **settings)
    if kind.startswith("BatchNorm") and settings.get("affine", True):
        theirs.weight.data = torch.tensor(random(3 if "2d" in kind else 4, seed=2).astype("float32"))
        if theirs.bias is not None:
            theirs.bias.data = torch.tensor(random(3 if "2d" in kind else 4, seed=3).astype("float32"))
    compare_layers(ours, theirs, random(*shape), dtype, times=3 if kind.startswith("BatchNorm") else 1)


@both_dtypes
@pytest.mark.parametrize("name", [name for name in LAYERS if "batch norm" in name])
def test_batch_norm_in_evaluation(name, dtype):
    kind, arguments, settings, shape = LAYERS[name]
    ours, theirs = getattr(nn, kind)(*arguments, **settings), getattr(torch.nn, kind)(*arguments, **settings)
    theirs(torch.tensor(random(*shape, seed=8, dtype="float32")))
    compare_layers(ours, theirs, random(*shape), dtype, training=False)


def test_dropout_evaluates_to_its_input():
    compare_layers(nn.Dropout(0.3), torch.nn.Dropout(0.3), random(2, 3), training=False)


def test_a_network_of_layers_in_layers():
    def build(n):
        return n.Sequential(
            n.Conv2d(2, 4, 3, padding=1),
            n.BatchNorm2d(4),
            n.ReLU(inplace=True),
            n.MaxPool2d(2),
            n.Sequential(n.Conv2d(4, 4, 3, bias=False), n.Tanh(), n.AvgPool2d(2, 1)),
            n.Flatten(),
            n.Linear(4, 3),
        )

    compare_layers(build(nn), build(torch.nn), random(3, 2, 8, 8), times=2)


PADS = [
    ("constant", (1, 2), 0.0),
    ("constant", (1, 2, 3, 0), 1.5),
    ("constant", (-1, 2, 0, -2), 0.5),
    ("reflect", (2, 1, 3, 2), None),
    ("replicate", (5, 1, 0, 7), None),
    ("circular", (4, 1, 2, 5), None),
    ("circular", (1, -1, 0, 0), None),
    ("replicate", (-1, 2, 1, -2), None),
]


@pytest.mark.parametrize("mode, widths, value", PADS, ids=str)
def test_pad(mode, widths, value):
    compare_functions(
        lambda x: F.pad(x, widths, mode, value),
        lambda x: torch.nn.functional.pad(x, widths, mode, value),
        [random(2, 3, 5, 6)],
    )


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_functions(name, dim):
    theirs = getattr(torch.nn.functional, name)
    compare_functions(lambda x: getattr(F, name)(x, dim), lambda x: theirs(x, dim), [random(3, 4)])


# losses

CLASS_TARGETS = {
    # name: (shape of the input, shape of the target)
    "batch": ((6, 4), (6,)),
    "images": ((3, 4, 2, 5), (3, 2, 5)),
    "one": ((4,), ()),
}
LOSS_SETTINGS = [
    {},
    {"weight": True},
    {"ignore_index": 1},
    {"weight": True, "ignore_index": 1},
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.2, "weight": True},
    {"label_smoothing": 0.2, "weight": True, "ignore_index": 1},
    {"label_smoothing": 1.0},
]


def with_weight(settings, dtype, torch_side):
    settings = dict(settings)
    if settings.pop("weight", False):
        w = np.array([0.5, 2.0, 1.5, 0.25], dtype)
        settings["weight"] = torch.tensor(w) if torch_side else tg.tensor(w)
    return settings


@both_dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("settings", LOSS_SETTINGS, ids=str)
@pytest.mark.parametrize("name", CLASS_TARGETS)
def test_cross_entropy_of_classes(name, settings, reduction, dtype):
    shape, target_shape = CLASS_TARGETS[name]
    target = np.asarray(np.random.default_rng(1).integers(0, 4, target_shape))
    ours = nn.CrossEntropyLoss(reduction=reduction, **with_weight(settings, dtype, False))
    theirs = torch.nn.CrossEntropyLoss(reduction=reduction, **with_weight(settings, dtype, True))
    compare_functions(ours, theirs, [3 * random(*shape), target], dtype)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("settings", [{}, {"weight": True}, {"label_smoothing": 0.3, "weight": True}], ids=str)
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 5), (4,)])
def test_cross_entropy_of_probabilities(shape, settings, reduction):
    target = np.abs(random(*shape, seed=3))
    target /= target.sum(0 if len(shape) == 1 else 1, keepdims=True)
    ours = nn.CrossEntropyLoss(reduction=reduction, **with_weight(settings, "float64", False))
    theirs = torch.nn.CrossEntropyLoss(reduction=reduction, **with_weight(settings, "float64", True))
    compare_functions(ours, theirs, [random(*shape), target])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("settings", LOSS_SETTINGS[:4], ids=str)
@pytest.mark.parametrize("name", CLASS_TARGETS)
def test_nll_loss(name, settings, reduction):
    shape, target_shape = CLASS_TARGETS[name]
    target = np.asarray(np.random.default_rng(1).integers(0, 4, target_shape))
    ours = nn.NLLLoss(reduction=reduction, **with_weight(settings, "float64", False))
    theirs = torch.nn.NLLLoss(reduction=reduction, **with_weight(settings, "float64", True))
    compare_functions(ours, theirs, [random(*shape), target])


@both_dtypes
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction, dtype):
    ours, theirs = nn.MSELoss(reduction=reduction), torch.nn.MSELoss(reduction=reduction)
    compare_functions(ours, theirs, [random(2, 3), random(2, 3, seed=1)], dtype)


@pytest.mark.parametrize("classes", [-1, 5])
def test_one_hot(classes):
    numbers = np.array([[0, 2], [1, 3]])
    found = F.one_hot(tg.tensor(numbers), classes)
    expected = torch.nn.functional.one_hot(torch.tensor(numbers), classes)
    assert found.dtype == tg.int64
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("shape", [(6, 4), (8, 3, 5, 5)])
def test_the_spread_of_initial_values(shape, mode):
    """Bounds and deviations are those of PyTorch's formulas, read off large samples of both."""

    def spread(values):
        return float(abs(values).max()), float(values.std())

    sample = (shape[0] * 40, *shape[1:]) if mode == "fan_in" else (shape[0], shape[1] * 40, *shape[2:])
    calls = {
        "kaiming_uniform_": {"a": 5**0.5, "mode": mode},
        "kaiming_normal_": {"mode": mode, "nonlinearity": "relu"},
        "xavier_uniform_": {"gain": 2.0},
        "xavier_normal_": {},
    }
    for name, settings in calls.items():
        ours = getattr(nn.init, name)(tg.empty(*sample), **settings).numpy()
        theirs = getattr(torch.nn.init, name)(torch.empty(*sample), **settings).numpy()
        (top, deviation), (their_top, their_deviation) = spread(ours), spread(theirs)
        assert deviation == pytest.approx(their_deviation, rel=0.1), name
        if "uniform" in name:
            assert top == pytest.approx(their_top, rel=0.02), name


@pytest.mark.parametrize("name, param", [("linear", None), ("conv2d", None), ("sigmoid", None), ("tanh", None)])
def test_gains(name, param):
    assert nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


@pytest.mark.parametrize("name, param", [("relu", None), ("leaky_relu", None), ("leaky_relu", 0.3), ("selu", None)])
def test_gains_of_rectifiers(name, param):
    assert nn.init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param), rel=1e-15)


@pytest.mark.parametrize(
    "kind, arguments", [("Linear", (100, 50)), ("Conv2d", (8, 60, 5)), ("Conv2d", (8, 60, 5, 1, 0, 1, 4))]
)
def test_layers_start_within_pytorchs_bounds(kind, arguments):
    tg.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(nn, kind)(*arguments), getattr(torch.nn, kind)(*arguments)
    for name, parameter in theirs.named_parameters():
        mine, parameter = ours.get_parameter(name).detach().numpy(), parameter.detach()
        assert abs(mine).max() == pytest.approx(float(parameter.abs().max()), rel=0.1)
        assert mine.std() == pytest.approx(float(parameter.std()), rel=0.2)


def test_a_state_goes_both_ways():
    """A state dict of ours loads into PyTorch's network of the same layers."""
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3)
    )
    ours(tg.randn(5, 1, 4, 4))
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    x = random(5, 1, 4, 4, dtype="float32")
    ours.eval()
    theirs.eval()
    np.testing.assert_allclose(
        ours(tg.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("training", [True, False])
def test_second_derivatives_of_a_network(training):
    """The gradient, by every parameter, of |d loss / d input|^2: what a gradient penalty trains on."""

    def build(n):
        return n.Sequential(
            n.Conv2d(2, 4, 3, padding=1, stride=2, padding_mode="replicate"),
            n.BatchNorm2d(4),
            n.Tanh(),
            n.MaxPool2d(2, 1),
            n.Conv2d(4, 4, 2, groups=2),
            n.Sigmoid(),
            n.AvgPool2d(2, 1),
            n.Flatten(),
            n.Linear(4, 3),
        )

    ours, theirs = build(nn).double(), build(torch.nn).double()
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    ours.train(training)
    theirs.train(training)
    x, y = random(5, 2, 8, 8), np.array([0, 2, 1, 1, 0])
    for library, net, loss in (
        (tg, ours, nn.CrossEntropyLoss(label_smoothing=0.1)),
        (torch, theirs, torch.nn.CrossEntropyLoss(label_smoothing=0.1)),
    ):
        z = library.tensor(x, requires_grad=True)
        (dz,) = library.autograd.grad(loss(net(z), library.tensor(y)), z, create_graph=True)
        (dz**2).sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if expected[name].grad is None:
            assert parameter.grad is None or not parameter.grad.numpy().any(), name
        else:
            np.testing.assert_allclose(
                parameter.grad.numpy(), expected[name].grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name
            )
