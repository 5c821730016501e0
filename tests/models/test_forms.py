"""The papers' forms, where torchvision has others: the same numbers as PyTorch's layers put together by hand."""

from __future__ import annotations

import numpy as np
import pytest
from torchvision_oracle import assert_near, build_theirs, compare_training_step, stir, torchvision_models, with_state_of

import tensorgrad as tg
from tensorgrad import models, nn

pytestmark = pytest.mark.oracle
SHAPE = (2, 3, 64, 64)


def ours(name, **settings):
    tg.manual_seed(0)
    return stir(models.get_model(name, num_classes=10, **settings))


def test_resnet_v1_has_its_stride_in_the_first_convolution():
    model = ours("resnet50_v1")
    theirs = build_theirs("resnet50", num_classes=10)
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    compare_training_step(model, with_state_of(theirs, model), SHAPE)


def test_option_a():
    import torch

    class ZeroPad(torch.nn.Module):
        def forward(self, x):
            half = x.shape[1] // 2
            zeros = torch.zeros(len(x), half, (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2, dtype=x.dtype)
            return torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)

    model = ours("resnet18", shortcut="A")
    theirs = build_theirs("resnet18", num_classes=10)
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].downsample = ZeroPad()
    compare_training_step(model, with_state_of(theirs, model), SHAPE)


def test_option_c():
    import torch

    model = ours("resnet18", shortcut="C")
    theirs = build_theirs("resnet18", num_classes=10)
    for stage, channels in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), (64, 128, 256, 512)):
        for block in stage:
            if block.downsample is None:
                block.downsample = torch.nn.Sequential(
                    torch.nn.Conv2d(channels, channels, 1, bias=False), torch.nn.BatchNorm2d(channels)
                )
    compare_training_step(model, with_state_of(theirs, model), SHAPE)


def without_sum(block, x):
    """A basic block of torchvision's, without its shortcut."""
    return block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))


def test_plain_nets(monkeypatch):
    torchvision_models()
    from torchvision.models.resnet import BasicBlock

    model = ours("plain18")
    theirs = build_theirs("resnet18", num_classes=10)
    monkeypatch.setattr(BasicBlock, "forward", without_sum)
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].downsample = None
    compare_training_step(model, with_state_of(theirs, model), SHAPE)


class PreActivated:
    """A pre-activated ResNet from its state, by PyTorch's functions: He et al., 2016, and its appendix on both ends."""

    def __init__(self, model, counts, bottleneck):
        import torch

        self.functions = torch.nn.functional
        trained = {name for name, _ in model.named_parameters()}
        state = model.state_dict()
        self.state = {name: torch.tensor(x.numpy(), requires_grad=name in trained) for name, x in state.items()}
        self.counts, self.bottleneck, self.training = counts, bottleneck, True

    def norm_relu(self, x, name):
        weight, bias, mean, var = (self.state[f"{name}.{key}"] for key in NORM)
        return self.functions.relu(self.functions.batch_norm(x, mean, var, weight, bias, self.training))

    def conv(self, x, name, stride=1):
        weight = self.state[f"{name}.weight"]
        return self.functions.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def __call__(self, x):
        x = self.norm_relu(self.conv(x, "conv1", 2), "bn1")
        x = self.functions.max_pool2d(x, 3, 2, 1)
        for stage, count in enumerate(self.counts, 1):
            for block in range(count):
                name = f"layer{stage}.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                a = x if (stage, block) == (1, 0) else self.norm_relu(x, f"{name}.bn1")
                if self.bottleneck:
                    z = self.norm_relu(self.conv(a, f"{name}.conv1"), f"{name}.bn2")
                    z = self.norm_relu(self.conv(z, f"{name}.conv2", stride), f"{name}.bn3")
                    z = self.conv(z, f"{name}.conv3")
                else:
                    z = self.norm_relu(self.conv(a, f"{name}.conv1", stride), f"{name}.bn2")
                    z = self.conv(z, f"{name}.conv2")
                projection = f"{name}.downsample"
                x = z + (self.conv(a, projection, stride) if f"{projection}.weight" in self.state else x)
        x = self.norm_relu(x, "bn_last").mean((2, 3))
        return self.functions.linear(x, self.state["fc.weight"], self.state["fc.bias"])


NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("depth, counts", [(18, (2, 2, 2, 2)), (50, (3, 4, 6, 3))])
def test_preactivation(depth, counts):
    """Scores and gradients in training, running statistics after it, scores in evaluation."""
    import torch

    model = ours(f"preact_resnet{depth}")
    x = np.random.default_rng(0).standard_normal(SHAPE)
    reference = PreActivated(model, counts, depth >= 50)
    expected, found = reference(torch.tensor(x)), model(tg.tensor(x))
    assert_near(found, expected, "scores")
    (expected**2).sum().backward()
    (found**2).sum().backward()
    for name, parameter in model.named_parameters():
        assert_near(parameter.grad, reference.state[name].grad, f"gradient of {name}", 1e-6)
    for name, value in model.state_dict().items():
        if "running" in name:
            assert_near(value, reference.state[name], name)
    reference.training = False
    with tg.no_grad(), torch.no_grad():
        assert_near(model.eval()(tg.tensor(x)), reference(torch.tensor(x)), "scores in evaluation")


def translated(layer):
    """PyTorch's layer of the same repr."""
    import torch

    return eval(f"torch.nn.{layer!r}", {"torch": torch})


@pytest.mark.parametrize("name, size", [("alexnet_paper", 227), ("zfnet", 224)])
def test_features_of_a_paper(name, size):
    import torch

    with nn.init.postponed():
        model = models.get_model(name)
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    features = model.features.double()
    theirs = torch.nn.Sequential()
    for key, layer in features._modules.items():
        theirs.add_module(key, translated(layer))
    theirs.double()
    compare_training_step(features, with_state_of(theirs, features), (1, 3, size, size))


def test_googlenet_of_the_paper():
    torchvision_models()
    import torch
    from torchvision.models.googlenet import GoogLeNet, Inception, InceptionAux

    class PlainConv(torch.nn.Module):
        def __init__(self, in_channels, out_channels, **settings):
            super().__init__()
            self.conv = torch.nn.Conv2d(in_channels, out_channels, **settings)

        def forward(self, x):
            return torch.relu(self.conv(x))

    class TrueInception(Inception):
        def __init__(self, *channels):
            super().__init__(*channels, conv_block=PlainConv)
            self.branch3[1] = PlainConv(channels[4], channels[5], kernel_size=5, padding=2)

    def no_drop_head(*channels, **settings):
        return InceptionAux(*channels, conv_block=PlainConv, **{**settings, "dropout": 0.0})

    theirs = GoogLeNet(10, init_weights=False, dropout=0.0, blocks=[PlainConv, TrueInception, no_drop_head])
    theirs.maxpool1 = torch.nn.Sequential(theirs.maxpool1, torch.nn.LocalResponseNorm(5))
    theirs.maxpool2 = torch.nn.Sequential(torch.nn.LocalResponseNorm(5), theirs.maxpool2)
    theirs.maxpool4 = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    tg.manual_seed(0)
    model = models.googlenet_paper(num_classes=10, dropout=0.0, dropout_aux=0.0).double()
    compare_training_step(model, with_state_of(theirs, model), (1, 3, 224, 224))


DEEP = [pytest.param(depth, marks=pytest.mark.slow) for depth in (56, 110, 1202)]


@pytest.mark.parametrize("depth", [20, *DEEP])
def test_cifar_resnet(depth):
    """Against PyTorch's layers, by their names; the deepest has 600 blocks, and as many nodes in a row to go back through."""
    torchvision_models()
    import torch
    from torchvision.models.resnet import BasicBlock

    class Pad(torch.nn.Module):
        def forward(self, x):
            extra = x.shape[1] // 2
            return torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra))

    theirs = torch.nn.Module()
    theirs.conv1, theirs.bn1 = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False), torch.nn.BatchNorm2d(16)
    theirs.relu = torch.nn.ReLU()
    before = 16
    for stage, width in enumerate((16, 32, 64), 1):
        blocks = [BasicBlock(before, width, 2 if stage > 1 else 1, Pad() if stage > 1 else None)]
        blocks += [BasicBlock(width, width) for _ in range((depth - 2) // 6 - 1)]
        setattr(theirs, f"layer{stage}", torch.nn.Sequential(*blocks))
        before = width
    theirs.fc = torch.nn.Linear(64, 10)

    def forward(x):
        x = theirs.layer3(theirs.layer2(theirs.layer1(theirs.relu(theirs.bn1(theirs.conv1(x))))))
        return theirs.fc(x.mean((2, 3)))

    theirs.forward = forward
    tg.manual_seed(0)
    model = stir(models.get_model(f"resnet{depth}"))
    shape = (4, 3, 32, 32) if depth == 20 else (4, 3, 16, 16)
    compare_training_step(model, with_state_of(theirs, model), shape)
