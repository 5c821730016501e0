"""LeNet-5: the paper's numbers, shapes of every stage, and that it learns."""

from __future__ import annotations

import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad import models
from tensorgrad.models import LeNet5, lenet5


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
    assert models.list_models() == ["lenet5"]
    assert isinstance(models.get_model("lenet5", num_classes=3), LeNet5)
    with pytest.raises(ValueError, match="get_model: got 'lenet'; there are lenet5"):
        models.get_model("lenet")


@pytest.mark.oracle
def test_against_pytorch():
    """Same parameters by the same names, three steps of SGD: the same losses and parameters."""
    torch = pytest.importorskip("torch")
    import numpy as np

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
