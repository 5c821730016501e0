"""Where networks start: torchvision's rules by default, the papers' on demand, each layer's own otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models, nn


def numbers(parameter):
    return parameter.detach().numpy()


def spread(parameter):
    return float(numbers(parameter).std())


def test_he_of_resnet():
    """torchvision's by fan_out, the paper's by fan_in: they differ where the channels do."""
    tg.manual_seed(0)
    usual, paper, plain = (models.resnet18(init_weights=rule) for rule in (None, "paper", False))
    conv = "layer3.0.conv1.weight"  # 256 filters on 128 channels, 3x3
    assert spread(usual.get_parameter(conv)) == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)
    assert spread(paper.get_parameter(conv)) == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.01)
    assert abs(numbers(plain.get_parameter(conv))).max() <= (128 * 9) ** -0.5
    assert abs(numbers(usual.fc.weight)).max() <= 512**-0.5  # the linear layer's default
    assert spread(paper.fc.weight) == pytest.approx(math.sqrt(2 / 512), rel=0.01)
    for model in (usual, paper, plain):
        assert numbers(model.bn1.weight).tolist() == [1] * 64


def test_cifar_resnets_start_as_in_the_paper():
    tg.manual_seed(0)
    assert spread(models.resnet56().layer3[1].conv1.weight) == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


def test_gaussians_and_ones_of_alexnet():
    tg.manual_seed(0)
    model = models.alexnet_paper()
    for name, parameter in model.named_parameters():
        layer = name.split(".")[1]
        if name.endswith("weight"):
            assert spread(parameter) == pytest.approx(0.01, rel=0.02), name
        else:
            one = layer in ("conv2", "conv4", "conv5", "fc6", "fc7")
            assert set(np.unique(numbers(parameter))) == {1.0 if one else 0.0}, name


def test_xavier_of_googlenet():
    tg.manual_seed(0)
    for model in (models.googlenet(init_weights="paper", aux_logits=False), models.googlenet_paper(aux_logits=False)):
        weight = model.inception4a.branch2[1].conv.weight  # 208 filters on 96 channels, 3x3
        bound = math.sqrt(6 / ((96 + 208) * 9))
        assert 0.99 * bound < abs(numbers(weight)).max() <= bound
    assert not numbers(model.conv1.conv.bias).any()
    assert spread(models.googlenet(aux_logits=False).conv3.conv.weight) == pytest.approx(0.01, rel=0.02)


def test_gaussians_of_vgg():
    tg.manual_seed(0)
    model = models.vgg11(num_classes=10)
    assert spread(model.features[3].weight) == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
    assert spread(model.classifier[3].weight) == pytest.approx(0.01, rel=0.01)
    assert not any(numbers(p).any() for name, p in model.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("rule", ["best", 1, "Paper"])
def test_rules_that_are_not_there(rule):
    with pytest.raises(ValueError, match=r"ResNet: init_weights is .* it must be None, True, False or 'paper'"):
        models.resnet18(init_weights=rule)
    with pytest.raises(ValueError, match=r"SqueezeNet: init_weights is .* it must be None, True, False"):
        models.squeezenet1_0(init_weights="paper")


@pytest.mark.parametrize("name", ["resnet20", "squeezenet1_1", "lenet5_original", "googlenet"])
def test_the_same_seed_gives_the_same_network(name):
    states = []
    for _ in range(2):
        tg.manual_seed(11)
        states.append(models.get_model(name).state_dict())
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key].numpy(), states[1][key].numpy(), err_msg=key)


def test_the_numbers_of_a_large_layer_do_not_depend_on_the_threads():
    from tensorgrad.backend.parallel import set_thread_count, thread_count

    before, drawn = thread_count(), []
    try:
        for threads in (1, 3):
            set_thread_count(threads)
            tg.manual_seed(2)
            drawn.append((tg.nn.init.normal_(tg.empty(3, 1 << 20), 1.0, 2.0).numpy(), tg.rand(5).tolist()))
    finally:
        set_thread_count(before)
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert drawn[0][1] == drawn[1][1]
    assert drawn[0][0].mean() == pytest.approx(1.0, abs=0.01)
    assert drawn[0][0].std() == pytest.approx(2.0, rel=0.01)
    pieces = drawn[0][0]
    assert abs(np.corrcoef(pieces)[np.triu_indices(3, 1)]).max() < 0.01  # each piece has a stream of its own


def test_initialising_is_seen_by_a_graph_recorded_before():
    w = tg.ones(3, requires_grad=True)
    z = (w * w).sum()
    with tg.no_grad():
        nn.init.normal_(w)
    with pytest.raises(RuntimeError, match="changed"):
        z.backward()


def test_postponed_layers_draw_nothing():
    tg.manual_seed(1)
    before = tg.get_rng_state()
    with nn.init.postponed():
        models.resnet50()
        assert nn.init.is_postponed()
    assert not nn.init.is_postponed()
    assert tg.get_rng_state() == before


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "squeezenet1_1", "googlenet", "vgg11"])
def test_deviations_are_torchvisions(name):
    """Every large enough parameter has the deviation and the largest value that torchvision gives it."""
    from torchvision_oracle import torchvision_models

    settings = {"init_weights": True} if name in ("googlenet", "vgg11") else {}
    tg.manual_seed(0)
    ours = dict(models.get_model(name, num_classes=100, **settings).named_parameters())
    theirs = getattr(torchvision_models(), name)(num_classes=100, **settings)
    for key, expected in theirs.named_parameters():
        expected = expected.detach()
        found = numbers(ours[key])
        if expected.numel() >= 5000:
            assert found.std() == pytest.approx(float(expected.std()), rel=0.1), key
            assert abs(found).max() == pytest.approx(float(expected.abs().max()), rel=0.4), key
        elif not expected.any():
            assert not found.any(), key
