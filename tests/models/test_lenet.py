"""LeNet-5: the paper's numbers, shapes of every stage, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad import models
from tensorgrad.models import LeNet5, LeNet5Loss, LeNet5Original, lenet5
from tensorgrad.models.lenet import C3_TABLE, RBF, ScaledTanh, Subsampling, TableConv2d, digit_prototypes


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_layer_by_layer():
    model = lenet5()
    assert count(model) == 61_706
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert [count(layer) for layer in layers] == [156, 2_416, 48_120, 10_164, 850]


def test_every_stage_has_the_shape_of_the_paper():
    model, shapes = lenet5(), []
    for layer in (*model.features, *model.classifier):
        layer.register_forward_hook(lambda module, args, output: shapes.append((type(module).__name__, output.shape)))
    model(tg.zeros(3, 1, 32, 32))
    assert shapes == [
        ("Conv2d", (3, 6, 28, 28)),
        ("Tanh", (3, 6, 28, 28)),
        ("AvgPool2d", (3, 6, 14, 14)),
        ("Conv2d", (3, 16, 10, 10)),
        ("Tanh", (3, 16, 10, 10)),
        ("AvgPool2d", (3, 16, 5, 5)),
        ("Flatten", (3, 400)),
        ("Linear", (3, 120)),
        ("Tanh", (3, 120)),
        ("Linear", (3, 84)),
        ("Tanh", (3, 84)),
        ("Linear", (3, 10)),
    ]


def test_other_layers_classes_and_channels():
    model = lenet5(num_classes=7, in_channels=3, activation=nn.ReLU, pooling=nn.MaxPool2d)
    assert model(tg.zeros(2, 3, 32, 32)).shape == (2, 7)
    kinds = {type(module) for module in model.modules()}
    assert {nn.ReLU, nn.MaxPool2d} <= kinds
    assert not {nn.Tanh, nn.AvgPool2d} & kinds
    assert count(model) == 61_706 + 2 * 150 - 3 * 85


@pytest.mark.parametrize("activation, pooling", [(nn.Tanh, nn.AvgPool2d), (nn.ReLU, nn.MaxPool2d)])
def test_it_learns_a_handful_of_pictures_by_heart(activation, pooling):
    tg.manual_seed(0)
    model = lenet5(activation=activation, pooling=pooling)
    x, y = tg.randn(10, 1, 32, 32), tg.arange(10)
    optimizer = tg.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert model(x).argmax(1).tolist() == list(range(10))


def test_a_picture_of_the_wrong_size_is_refused_in_the_layer_that_minds():
    with pytest.raises(
        RuntimeError, match=r"the last size of the input must be 400.* \[in layer 'classifier.1', a Linear\]"
    ):
        lenet5()(tg.zeros(1, 1, 28, 28))
    with pytest.raises(RuntimeError, match=r"needs an input of 1 channels; got .* \[in layer 'features.0', a Conv2d\]"):
        lenet5()(tg.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="LeNet5: num_classes is 0; it must be at least 1"):
        lenet5(0)


def test_models_by_name():
    names = models.list_models()
    assert names == sorted(names)
    assert {"lenet5", "alexnet", "vgg16_bn", "resnet50", "resnet20", "densenet121", "inception_v3"} <= set(names)
    assert isinstance(models.get_model("lenet5", num_classes=3), LeNet5)
    with pytest.raises(ValueError, match=r"get_model: got 'lenet'; there are adaline, alexnet, .*lenet5, "):
        models.get_model("lenet")
    with pytest.raises(ValueError, match="get_model: got 3; there are"):
        models.get_model(3)
    assert isinstance(models.get_model("LeNet5"), LeNet5)


def test_some_of_the_names():
    assert models.list_models(include=["resnet20", "plain*"], exclude="plain[2-5]*") == ["plain18", "resnet20"]
    assert models.list_models(include="Resnet*") == []
    assert len(models.list_models(exclude=["*"])) == 0


# the original


def test_parameters_of_the_original():
    """60,000, layer by layer as the paper counts them."""
    model = LeNet5Original()
    counts = {name: count(layer) for name, layer in model.named_children()}
    assert counts == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "f6": 10_164,
        "squash": 0,
        "output": 0,
    }
    assert count(model) == 60_000


def test_the_connection_table():
    """Sixteen different rows: six of three maps in a row, six of four in a row, three of four not in a row, one of all.

    "In a row" goes round: map 0 comes after map 5.
    """
    sets = [frozenset(row) for row in C3_TABLE]
    assert len(set(sets)) == 16
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    runs = {n: {frozenset((start + i) % 6 for i in range(n)) for start in range(6)} for n in (3, 4)}
    assert set(sets[:6]) == runs[3]
    assert set(sets[6:12]) == runs[4]
    assert not set(sets[12:15]) & runs[4]


def test_a_convolution_by_a_table_is_a_sum_over_connections():
    """Against each output map computed alone, from the maps it sees; values and gradients."""
    tg.manual_seed(0)
    layer = TableConv2d(3, [(0, 2), (1,), (0, 1, 2)], 2).double()
    x = tg.randn(2, 3, 4, 5, dtype=tg.float64, requires_grad=True)
    z = layer(x)
    weights = layer.weight.detach().requires_grad_()
    x2 = x.detach().requires_grad_()
    maps, begin = [], 0
    for number, seen in enumerate(layer.connections):
        kernels = weights[begin : begin + len(seen)].unsqueeze(0)
        maps.append(nn.functional.conv2d(x2[:, list(seen)], kernels, layer.bias.detach()[number : number + 1]))
        begin += len(seen)
    expected = tg.cat(maps, 1)
    np.testing.assert_allclose(z.detach().numpy(), expected.detach().numpy(), atol=1e-12)
    dz = tg.randn(*z.shape, dtype=tg.float64)
    z.backward(dz)
    expected.backward(dz)
    np.testing.assert_allclose(layer.weight.grad.numpy(), weights.grad.numpy(), atol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), x2.grad.numpy(), atol=1e-12)


def test_subsampling_by_hand():
    layer = Subsampling(2)
    nn.init.constant_(layer.weight, 0.5)
    layer.bias.data[1] = 10.0
    x = tg.arange(16.0).reshape(1, 2, 2, 4)
    assert layer(x).tolist() == [[[[0.5 * (0 + 1 + 4 + 5), 0.5 * (2 + 3 + 6 + 7)]], [[31.0, 35.0]]]]


def test_the_squashing_function():
    """f(1) = 1 and f(-1) = -1, to the digits that the paper gives its constants with; it saturates at 1.7159."""
    f = ScaledTanh()
    assert f(tg.tensor([1.0, -1.0, 0.0])).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-4)
    assert f(tg.tensor([50.0])).item() == pytest.approx(1.7159)


def test_prototypes_are_ten_different_pictures():
    rows = np.array(digit_prototypes())
    assert rows.shape == (10, 84)
    assert set(np.unique(rows)) == {-1.0, 1.0}
    apart = ((rows[:, None] - rows[None]) ** 2).sum(2) / 4  # pixels that differ
    assert apart[~np.eye(10, dtype=bool)].min() >= 6


def test_the_output_measures_distances():
    rows = tg.tensor(digit_prototypes())
    output = RBF(digit_prototypes())
    scores = output(rows[3:4])
    assert scores.argmax(1).tolist() == [3]
    assert scores[0, 3].item() == 0
    assert scores[0, 8].item() == -((np.array(digit_prototypes())[3] - np.array(digit_prototypes())[8]) ** 2).sum()


@pytest.mark.parametrize("j", [0.1, 5.0])
def test_the_loss_by_the_papers_formula(j):
    y = np.array([[1.0, 4.0, 2.5], [0.5, 3.0, 0.1]])  # distances
    d = np.array([0, 1])
    expected = np.mean(y[[0, 1], d] + np.log(np.exp(-j) + np.exp(-y).sum(1)))
    assert LeNet5Loss(j)(tg.tensor(-y), tg.tensor(d)).item() == pytest.approx(expected, rel=1e-12)
    assert LeNet5Loss(None)(tg.tensor(-y), tg.tensor(d)).item() == pytest.approx(np.mean([1.0, 3.0]))


def test_the_original_learns_a_handful_of_pictures_by_heart():
    tg.manual_seed(0)
    model, loss = LeNet5Original(), LeNet5Loss(j=1.0)
    x, y = tg.randn(10, 1, 32, 32), tg.arange(10)
    optimizer = tg.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    assert model(x).argmax(1).tolist() == list(range(10))


def test_the_original_starts_within_the_papers_bounds():
    model = LeNet5Original()
    for layer, fan_in in ((model.c1, 25), (model.c5, 400), (model.f6, 120)):
        top = float(abs(layer.weight.detach().numpy()).max())
        assert 0.8 * 2.4 / fan_in < top <= 2.4 / fan_in
        assert not layer.bias.detach().numpy().any()
    assert float(abs(model.c3.weight.detach().numpy()[:18]).max()) <= 2.4 / 75
    assert float(abs(model.c3.weight.detach().numpy()[54:]).max()) <= 2.4 / 150


@pytest.mark.parametrize("row", [(0, 6), (1, 1), (-1,)])
def test_tables_that_make_no_sense(row):
    with pytest.raises(ValueError, match="TableConv2d: connections has the row"):
        TableConv2d(6, [row], 5)


@pytest.mark.oracle
def test_against_pytorch():
    """Same parameters by the same names, three steps of SGD: the same losses and parameters."""
    torch = pytest.importorskip("torch")
    tg.manual_seed(1)
    ours = lenet5().double()
    n = torch.nn
    theirs = n.Module()
    theirs.features = n.Sequential(
        n.Conv2d(1, 6, 5), n.Tanh(), n.AvgPool2d(2), n.Conv2d(6, 16, 5), n.Tanh(), n.AvgPool2d(2)
    )
    theirs.classifier = n.Sequential(
        n.Flatten(), n.Linear(400, 120), n.Tanh(), n.Linear(120, 84), n.Tanh(), n.Linear(84, 10)
    )
    theirs.double().load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    x, y = np.random.default_rng(0).standard_normal((4, 1, 32, 32)), np.array([3, 1, 4, 1])
    sgd = tg.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    their_sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        loss = nn.functional.cross_entropy(ours(tg.tensor(x)), tg.tensor(y))
        their_loss = n.functional.cross_entropy(theirs.classifier(theirs.features(torch.tensor(x))), torch.tensor(y))
        assert loss.item() == pytest.approx(their_loss.item(), rel=1e-10)
        for optimizer, value in ((sgd, loss), (their_sgd, their_loss)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-9, atol=1e-11)
