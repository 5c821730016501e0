"""ONNX files: valid by onnx.checker, and ONNX Runtime computes what we compute."""

import os

import numpy
import pytest
from graph_networks import SmallNet

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.commands.networks import input_size
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.models import get_model, list_models
from tensorgrad.nn import functional as F

pytest.importorskip("onnx", reason="the package onnx is not installed: the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

from tensorgrad.graph.onnx_file import export_onnx  # noqa: E402


def run(path, *inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    assert len(names) == len(inputs)
    return session.run(None, {name: numpy.ascontiguousarray(x.numpy()) for name, x in zip(names, inputs)})


def same(path, function, *inputs, rtol=1e-4, atol=1e-5):
    with tg.no_grad():
        expected = function(*inputs)
    expected = expected if isinstance(expected, (tuple, list)) else [expected]
    got = run(path, *inputs)
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        numpy.testing.assert_allclose(a, b.numpy(), rtol=rtol, atol=atol)


CASES = {
    "arithmetic": lambda x: (x + 1.0) * 2.0 - x / 3.0 + (-x) ** 2.0,
    "functions": lambda x: x.exp().log().sqrt() + x.tanh() + x.sigmoid() + x.relu() + x.abs().sin() + x.cos(),
    "extremes": lambda x: tg.maximum(x, tg.zeros(1)) + tg.minimum(x, tg.ones(1)) + x.clamp(-0.5, 0.5),
    "reductions": lambda x: (x.sum(), x.mean(1), x.amax(-1, keepdim=True), x.amin(0), tg.logsumexp(x, 1)),
    "views": lambda x: x.reshape(4, -1).t().unsqueeze(0).transpose(0, 2)[1:, ..., 0],
    "slices": lambda x: (x[:, 1], x[0, ::2], x[..., None], x[1:2, 1:, -2:], x[:, :, 2]),
    "joining": lambda x: tg.cat([x, tg.stack([x[0], x[1]], 0)], 2),
    "parts": lambda x: tg.unbind(x, 1)[1] + tg.unbind(x, 1)[0],
    "products": lambda x: x @ x.transpose(1, 2),
    "comparisons": lambda x: tg.where(x > 0.0, x, tg.zeros(1)) + (x == x).float() + (x != 0.0).float(),
    "probabilities": lambda x: F.softmax(x, 1) + F.log_softmax(x, -1),
    "broadcasting": lambda x: x.sum(1, keepdim=True).expand(2, 3, 4) + tg.ones(4),
    "in place": lambda x: (x * 2.0).relu_().add_(1.0).mul_(x),
    "looking up": lambda x: F.grid_sample(
        x[:, None], x.reshape(2, 2, 3, 2), padding_mode="reflection", align_corners=True
    ),
    "activations": lambda x: F.leaky_relu(x, 0.1) + F.elu(x) + F.silu(x) + F.gelu(x) + F.hardswish(x) + F.softplus(x),
}


@pytest.mark.parametrize("name", CASES)
def test_operations(name, tmp_path):
    tg.manual_seed(0)
    x = tg.randn(2, 3, 4)
    function = CASES[name]
    export_onnx(function, x, path=tmp_path / "x.onnx")
    same(tmp_path / "x.onnx", function, x)


def test_looking_up_in_volumes_is_refused(tmp_path):
    def function(x):
        return F.grid_sample(x, tg.zeros(1, 1, 1, 1, 3))

    with pytest.raises(ArgumentError, match="of volumes has no ONNX form"):
        export_onnx(function, tg.ones(1, 1, 2, 2, 2), path=tmp_path / "x.onnx")


LAYERS = {
    "convolution": (
        lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (2, 4, 9, 12),
    ),
    "batch norm": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 5)),
    "plain batch norm": (lambda: nn.BatchNorm2d(3, affine=False), (4, 3, 5, 5)),
    "max pool": (lambda: nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), (1, 2, 8, 8)),
    "average pool": (lambda: nn.AvgPool2d(3, 2, padding=1), (1, 2, 8, 8)),
    "average pool, border apart": (lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), (1, 2, 8, 8)),
    "average pool, ceil": (lambda: nn.AvgPool2d(3, 2, ceil_mode=True), (1, 2, 8, 8)),
    "average pool, divisor": (lambda: nn.AvgPool2d(3, 2, padding=1, divisor_override=4), (1, 2, 8, 8)),
    "response norm": (lambda: nn.LocalResponseNorm(3), (2, 7, 4, 4)),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d((3, 2)), (1, 2, 8, 8)),
    "adaptive pool upwards": (lambda: nn.AdaptiveAvgPool2d(7), (1, 2, 3, 3)),
    "root mean square norm": (lambda: nn.RMSNorm((4, 3)), (2, 5, 4, 3)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5, 3)),
    "instance norm": (lambda: nn.InstanceNorm2d(3), (2, 3, 4, 5)),
    "parametric relu": (lambda: nn.PReLU(3), (2, 3, 4, 5)),
    "parametric relu, one": (lambda: nn.PReLU(), (2, 3)),
    "linear": (lambda: nn.Linear(4, 3), (2, 5, 4)),
    "dropout": (lambda: nn.Dropout(0.5), (2, 5)),
    "network": (lambda: SmallNet(2), (2, 3, 8, 8)),
}


def stirred(model):
    """With statistics of a batch norm as training leaves them, not 0 and 1."""
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.array[...] = numpy.random.default_rng(0).normal(size=buffer.shape) * 0.1
        if name.endswith("running_var"):
            buffer.array[...] = numpy.random.default_rng(1).uniform(0.5, 1.5, buffer.shape)
    return model


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    tg.manual_seed(0)
    make, size = LAYERS[name]
    model, x = stirred(make()), tg.randn(*size)
    export_onnx(model, x, path=tmp_path / "x.onnx")
    assert model.training
    same(tmp_path / "x.onnx", model.eval(), x)


FAMILY = ["lenet5", "resnet18", "resnet20"]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in FAMILY else [pytest.mark.slow]) for n in sorted({*list_models(), *FAMILY})],
)
def test_every_network_of_the_family(name, tmp_path):
    if name not in list_models():
        pytest.skip(f"{name} is not among the networks")
    tg.manual_seed(0)
    size = input_size(name)
    if name in ("resnet18", "googlenet"):
        size = (3, 96, 96)  # they take any size; this one is quick
    try:
        model = get_model(name)
    except TypeError as error:
        pytest.skip(f"{name} is not made without arguments: {error}")
    for p in model.parameters():
        if not p.array.any():  # some begin with 0
            p.array[...] = numpy.random.default_rng(2).normal(size=p.shape) * 0.1
    if name == "resnet1202":  # untrained, its 600 sums would overflow
        for path, p in model.named_parameters():
            p.array[...] *= 0.05 if path.endswith("bn2.weight") else 1
    model, x = stirred(model).eval(), tg.randn(1, *size)
    with tg.no_grad():
        out = model(x)
    scores = out if isinstance(out, tg.Tensor) else out[0]
    assert abs(scores.array).max() > 1e-4, "a network whose signal has died would agree with anything"
    export_onnx(model, x, path=tmp_path / "x.onnx")
    largest = float(abs(scores.array).max())
    same(
        tmp_path / "x.onnx", lambda x: scores if isinstance(out, tg.Tensor) else out, x, rtol=1e-3, atol=1e-4 * largest
    )


def test_a_batch_of_any_size(tmp_path):
    model = stirred(SmallNet(2)).eval()
    export_onnx(model, tg.randn(1, 3, 8, 8), path=tmp_path / "x.onnx", dynamic_batch=True)
    for n in (1, 5):
        same(tmp_path / "x.onnx", model, tg.randn(n, 3, 8, 8))
    with pytest.raises(ArgumentError, match="computes with the batch size"):
        export_onnx(lambda x: x.reshape(-1), tg.ones(2, 3), path=tmp_path / "y.onnx", dynamic_batch=True)
    assert not (tmp_path / "y.onnx").exists()


def test_several_inputs_by_name_and_constants_computed_beforehand(tmp_path):
    import onnx

    w = nn.Parameter(tg.randn(3, 4))
    export_onnx(lambda a, b: a @ w.t().exp().t() + b, tg.ones(2, 3), tg.ones(4), path=tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    assert [value.name for value in model.graph.input] == ["a", "b"]
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "Identity"]
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    same(tmp_path / "x.onnx", lambda a, b: a @ w.t().exp().t() + b, tg.randn(2, 3), tg.randn(4))


def test_the_parameters_bear_their_names(tmp_path):
    import onnx

    SmallNet(1).graph(tg.zeros(1, 3, 8, 8)).save(tmp_path / "x.onnx")
    stored = {value.name for value in onnx.load(tmp_path / "x.onnx").graph.initializer}
    assert {"stem.weight", "stem.bias", "stage.0.conv1.weight", "stage.0.bn1.weight"} <= stored


@pytest.mark.parametrize(
    ("function", "inputs", "error", "message"),
    [
        (lambda x: x.cumsum(0), (tg.ones(3),), ArgumentError, "'cumsum' has no ONNX form"),
        (lambda: tg.ones(3), (), OperandError, "no Tensor among the inputs"),
        (lambda x: 3.0, (tg.ones(3),), OperandError, "returned a float"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(function, inputs, error, message, tmp_path):
    with pytest.raises(error, match=message):
        export_onnx(function, *inputs, path=tmp_path / "x.onnx")
    assert os.listdir(tmp_path) == []


def test_a_part_that_is_changed_in_place_is_refused(tmp_path):
    def function(x):
        y = x * 2.0
        y[0].mul_(3.0)
        return y.exp()

    with pytest.raises(ArgumentError, match="changed in place"):
        export_onnx(function, tg.ones(3, 4), path=tmp_path / "x.onnx")
