"""Features, freezing and new heads; crops, ensembles, top-1 and top-5."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.models import Ensemble, accuracy, center_crop, evaluate, five_crop, multi_crop, over_crops, ten_crop


@pytest.fixture
def net():
    tg.manual_seed(0)
    return models.resnet20()


# features


def test_features_are_what_the_layer_gives(net):
    net.eval()
    x, seen = tg.randn(2, 3, 32, 32), []
    with net.layer2[1].register_forward_hook(lambda layer, args, output: seen.append(output)):
        net(x)
    found = models.features(net, x, at="layer2.1")
    np.testing.assert_array_equal(found.detach().numpy(), seen[0].detach().numpy())


def test_what_comes_later_is_not_computed_and_nothing_is_left(net):
    calls = []
    handle = net.layer3.register_forward_hook(lambda *args: calls.append(1))
    assert models.features(net, tg.zeros(1, 3, 32, 32), at="layer2").shape == (1, 32, 16, 16)
    assert not calls
    handle.remove()
    assert not net.layer2._forward_hooks
    assert net(tg.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_gradients_flow_through_features(net):
    x = tg.randn(1, 3, 32, 32, requires_grad=True)
    models.features(net, x, at="layer1").sum().backward()
    assert x.grad.abs().sum().item() > 0
    assert net.conv1.weight.grad is not None
    assert net.fc.weight.grad is None


@pytest.mark.parametrize(
    "name, size, at, shape",
    [
        ("alexnet_paper", 227, "classifier.relu7", (1, 4096)),
        ("squeezenet1_1", 64, "features.12", (1, 512, 3, 3)),
        ("mobilenet_v2", 64, "features.18", (1, 1280, 2, 2)),
    ],
)
def test_features_of_other_networks(name, size, at, shape):
    with nn.init.postponed():
        model = models.get_model(name).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    with tg.no_grad():
        assert models.features(model, tg.zeros(1, 3, size, size), at=at).shape == shape


def test_layers_that_are_not_there_or_not_called(net):
    with pytest.raises(AttributeError, match="get_submodule: 'layer9': CifarResNet"):
        models.features(net, tg.zeros(1, 3, 32, 32), at="layer9")
    net.spare = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="CifarResNet does not call its layer 'spare'"):
        models.features(net, tg.zeros(1, 3, 32, 32), at="spare")


@pytest.mark.parametrize("at", ["", None, 3, ["layer1"]])
def test_names_that_are_none(net, at):
    with pytest.raises(
        TypeError, match=r"FeatureExtractor: got a CifarResNet and at=.*; it takes a Module and the dotted"
    ):
        models.features(net, tg.zeros(1, 3, 32, 32), at=at)
    with pytest.raises(TypeError, match="FeatureExtractor: got a Tensor and at='layer1'"):
        models.features(tg.zeros(1, 3, 32, 32), net, at="layer1")


def test_of_a_layer_that_is_called_twice_the_first_call_counts(net):
    net.eval()
    x = tg.randn(1, 3, 32, 32)
    found = models.features(net, x, at="layer1.0.relu").detach().numpy()
    inner = models.features(net, x, at="layer1.0.bn1").detach().numpy()
    np.testing.assert_array_equal(found, np.maximum(inner, 0))


# freezing, new heads


def test_a_frozen_part_stays_as_it_is_in_training(net):
    handles = models.freeze(net, "conv1", "bn1", "layer1")
    net.train()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    optimizer = tg.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(net(tg.randn(4, 3, 32, 32)), tg.arange(4)).backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not np.array_equal(value.numpy(), before[name])}
    assert not {name for name in changed if name.startswith(("conv1", "bn1", "layer1"))}
    assert {"layer2.0.bn1.running_mean", "layer2.0.conv1.weight", "fc.bias"} <= changed
    models.unfreeze(net, "conv1", "bn1", "layer1", handles=handles)
    net.train()
    net(tg.randn(4, 3, 32, 32)).sum().backward()
    assert net.conv1.weight.grad is not None
    assert not np.array_equal(net.bn1.running_mean.numpy(), before["bn1.running_mean"])


@pytest.mark.parametrize(
    "norm, shape",
    [
        (nn.BatchNorm1d(2), (4, 2)),
        (nn.BatchNorm3d(2), (2, 2, 3, 3, 3)),
        (nn.InstanceNorm2d(2, track_running_stats=True), (2, 2, 3, 3)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_norm_with_statistics_is_frozen(norm, shape):
    tg.manual_seed(0)
    net = nn.Sequential(norm)
    handles = models.freeze(net)
    net.train()(tg.randn(*shape))
    assert norm.running_mean.tolist() == [0, 0]
    models.unfreeze(net, handles=handles)
    net.train()(tg.randn(*shape))
    assert norm.running_mean.tolist() != [0, 0]


def test_the_whole_network_can_be_frozen(net):
    models.freeze(net)
    assert not any(p.requires_grad for p in net.parameters())
    head = models.replace_head(net, 3)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert net.fc is head
    assert net(tg.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    "name, layer, kind",
    [
        ("resnet18", "fc", nn.Linear),
        ("vgg11", "classifier.6", nn.Linear),
        ("squeezenet1_0", "classifier.1", nn.Conv2d),
        ("densenet121", "classifier", nn.Linear),
        ("googlenet", "fc", nn.Linear),
        ("inception_v3", "fc", nn.Linear),
    ],
)
def test_the_head_that_is_replaced(name, layer, kind):
    with nn.init.postponed():
        model = models.get_model(name)
    new = models.replace_head(model, 7)
    assert model.get_submodule(layer) is new
    assert isinstance(new, kind)
    assert new.weight.shape[0] == 7


def test_no_head():
    with pytest.raises(TypeError, match="replace_head: Sequential has neither a linear layer nor a convolution"):
        models.replace_head(nn.Sequential(nn.ReLU()), 3)


def test_fine_tuning_a_head_alone_learns():
    """Four kinds of pictures, on features that do not change."""
    tg.manual_seed(0)
    net = models.resnet20()
    models.freeze(net)
    models.replace_head(net, 4)
    kinds = 3 * tg.randn(4, 3, 1, 1)
    x, y = tg.cat([kinds + 0.1 * tg.randn(4, 3, 32, 32) for _ in range(2)], 0), tg.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    with tg.no_grad():
        held = models.features(net, x, at="avgpool").flatten(1)
    optimizer = tg.optim.Adam(net.fc.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.fc(held), y).backward()
        optimizer.step()
    assert net(x).argmax(1).tolist() == y.tolist()


# crops


def numbered(height, width, count=2):
    return tg.arange(count * 3 * height * width).reshape(count, 3, height, width).to(tg.float32)


def test_crops_by_hand():
    x = tg.arange(20.0).reshape(1, 1, 4, 5)
    found = ten_crop(x, (2, 3))
    assert found.shape == (1, 10, 1, 2, 3)
    firsts = [crop[0][0].tolist() for crop in found[0]]
    assert firsts[:5] == [[0, 1, 2], [2, 3, 4], [10, 11, 12], [12, 13, 14], [6, 7, 8]]
    assert firsts[5:] == [[4, 3, 2], [2, 1, 0], [14, 13, 12], [12, 11, 10], [8, 7, 6]]


def test_crops_that_are_too_large():
    with pytest.raises(ValueError, match="center_crop: a crop of 9 from pictures of 8x10"):
        center_crop(numbered(8, 10), 9)
    with pytest.raises(RuntimeError, match=r"five_crop: images have shape \(3, 8, 8\)"):
        five_crop(tg.zeros(3, 8, 8), 4)
    with pytest.raises(ValueError, match="multi_crop: sides has 20"):
        multi_crop(tg.zeros(1, 3, 40, 40), 24, sides=(20,))
    with pytest.raises(RuntimeError, match=r"multi_crop: images have shape \(3, 8, 8\), sides are \(9,\)"):
        multi_crop(tg.zeros(3, 8, 8), 4, sides=(9,))
    with pytest.raises(RuntimeError, match=r"sides are \(\); it takes .* at least one side"):
        multi_crop(tg.zeros(1, 3, 8, 8), 4, sides=())
    with pytest.raises(TypeError, match="five_crop: images are a ndarray; give a Tensor"):
        ten_crop(np.zeros((1, 3, 8, 8)), 4)


def test_the_middle_where_it_cannot_be_exact():
    """Of 7 rows 4: one and a half before them, rounded to two, the even number; of 6 rows 5: to none. As torchvision."""
    x = tg.arange(7.0).reshape(1, 1, 7, 1)
    assert center_crop(x, (4, 1)).flatten().tolist() == [2, 3, 4, 5]
    assert center_crop(x[:, :, :6], (5, 1)).flatten().tolist() == [0, 1, 2, 3, 4]


def test_144_crops():
    x = tg.rand(1, 3, 60, 80)
    found = multi_crop(x, 28, sides=(32, 36, 40, 44))
    assert found.shape == (1, 144, 3, 28, 28)
    # without resizing: the left square's first corner, and the sixth, the square made small
    square = multi_crop(x[:, :, :40, :50], 28, sides=(40,))
    np.testing.assert_array_equal(square[0, 0].numpy(), x[0, :, :28, :28].numpy())
    np.testing.assert_allclose(square[0, 5].numpy().mean(), x[0, :, :40, :40].numpy().mean(), atol=0.01)
    np.testing.assert_array_equal(square[0, 6].numpy(), x[0, :, :28, 12:40].numpy()[..., ::-1])


# several answers together


def test_an_ensemble_is_the_mean_of_probabilities():
    tg.manual_seed(0)
    nets = [nn.Linear(4, 3) for _ in range(7)]
    x = tg.randn(5, 4)
    scores = np.stack([net(x).detach().numpy() for net in nets]).astype("float64")
    powers = np.exp(scores)
    expected = (powers / powers.sum(2, keepdims=True)).mean(0)
    np.testing.assert_allclose(Ensemble(nets)(x).detach().numpy(), expected, rtol=1e-5)
    assert len(list(Ensemble(nets).parameters())) == 14
    with pytest.raises(ValueError, match="Ensemble: got no models"):
        Ensemble([])


class WithHeads(nn.Module):
    """Gives two results in training, as networks with auxiliary heads do."""

    def forward(self, x):
        return models.GoogLeNetOutputs(x, None, x) if self.training else x


def test_scores_that_cannot_be_averaged():
    x = tg.ones(2, 4)
    with pytest.raises(TypeError, match=r"got a GoogLeNetOutputs, not scores .* call \.eval\(\) first"):
        Ensemble([WithHeads()])(x)
    assert Ensemble([WithHeads()]).eval()(x).shape == (2, 4)
    with pytest.raises(
        RuntimeError, match=r"scores of shape \(2, 1\) after \(2, 3\); all must be \(N, classes\) alike"
    ):
        Ensemble([nn.Linear(4, 3), nn.Linear(4, 1)])(x)


def test_over_crops_is_the_mean_over_crops(net):
    net.eval()
    crops = ten_crop(tg.randn(2, 3, 36, 36), 32)
    with tg.no_grad():
        each = [nn.functional.softmax(net(crops[:, i]), 1).numpy() for i in range(10)]
        found = over_crops(net, crops).numpy()
    np.testing.assert_allclose(found, np.mean(each, 0), rtol=1e-5)


# accuracy


def test_accuracy_by_hand():
    scores = tg.tensor([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05], [0.3, 0.3, 0.3], [0.2, 0.3, 0.5]])
    target = tg.tensor([2, 0, 1, 0])
    assert accuracy(scores, target, topk=(1, 2, 3)) == (0.25, 0.75, 1.0)
    assert accuracy(tg.tensor([[float("nan")] * 3]), tg.tensor([0])) == (0.0, 1.0)
    assert accuracy(tg.zeros(0, 3), tg.zeros(0, dtype=tg.int64)) == (0.0, 0.0)
    assert accuracy(scores, target, topk=2) == (0.75,)
    with pytest.raises(RuntimeError, match="accuracy: scores have shape"):
        accuracy(tg.zeros(2, 3), tg.zeros(3, dtype=tg.int64))
    for wrong in (-1, 3):  # -1 would be the last class, were it taken for an index
        with pytest.raises(
            IndexError, match=f"target has classes from {min(wrong, 0)} to {max(wrong, 0)}; scores are of 0 to 2"
        ):
            accuracy(tg.zeros(2, 3), tg.tensor([0, wrong]))
    with pytest.raises(RuntimeError, match="accuracy: target has dtype float32; it must be class numbers"):
        accuracy(tg.zeros(2, 3), tg.zeros(2))
    with pytest.raises(ValueError, match="evaluate: topk is 0; it must be at least 1"):
        evaluate(nn.Identity(), [], topk=(1, 0))


def test_evaluate_puts_the_modes_back_and_records_nothing(net):
    net.train()
    net.layer1.eval()
    batches = [(tg.randn(4, 3, 32, 32), tg.tensor([0, 1, 2, 3])), (np.zeros((2, 3, 32, 32), "float32"), [4, 5])]
    before = net.bn1.running_mean.numpy().copy()
    found = evaluate(net, batches, crops=lambda x: ten_crop(x, 28))
    assert found["samples"] == 6
    assert 0 <= found["top1"] <= found["top5"] <= 1
    assert net.training
    assert not net.layer1.training
    np.testing.assert_array_equal(net.bn1.running_mean.numpy(), before)


@pytest.mark.oracle
def test_accuracy_against_pytorch():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    scores, target = random.standard_normal((200, 30)), random.integers(0, 30, 200)
    first = torch.tensor(scores).topk(5, 1).indices == torch.tensor(target)[:, None]
    expected = tuple(first[:, :k].any(1).double().mean().item() for k in (1, 5))
    assert accuracy(tg.tensor(scores), tg.tensor(target)) == pytest.approx(expected)


@pytest.mark.oracle
def test_crops_against_torchvision():
    from torchvision_oracle import torchvision_models

    torchvision_models()
    import torch
    import torchvision.transforms.functional as theirs

    x = np.random.default_rng(0).random((2, 3, 9, 11)).astype("float32")
    for size in [
        (4, 6),
        (6, 8),
        (8, 10),
        (5, 5),
        (9, 11),
        (2, 4),
    ]:  # all remainders by four, where the middle is rounded
        expected = torch.stack(theirs.ten_crop(torch.tensor(x), size), 1).numpy()
        np.testing.assert_array_equal(ten_crop(tg.tensor(x), size).numpy(), expected, err_msg=str(size))
        expected = theirs.center_crop(torch.tensor(x), size).numpy()
        np.testing.assert_array_equal(center_crop(tg.tensor(x), size).numpy(), expected, err_msg=str(size))
