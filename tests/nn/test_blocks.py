"""Blocks: shapes, settings, refusals, and what the lectures say of identity blocks."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.models.resnet import ResNet
from tensorgrad.nn import blocks

SHAPES = {
    # name: (block, shape of the output for an input of 2 pictures of 16 channels, 8x8)
    "basic": (lambda: blocks.BasicBlock(16, 16), (2, 16, 8, 8)),
    "basic, stride": (
        lambda: blocks.BasicBlock(16, 24, 2, blocks.ZeroPadShortcut(16, 24, 2)),
        (2, 24, 4, 4),
    ),
    "basic, plain": (lambda: blocks.BasicBlock(16, 24, 2, residual=False), (2, 24, 4, 4)),
    "bottleneck": (lambda: blocks.Bottleneck(16, 4), (2, 16, 8, 8)),
    "bottleneck, groups": (lambda: blocks.Bottleneck(16, 4, groups=2, base_width=64), (2, 16, 8, 8)),
    "bottleneck, stride": (
        lambda: blocks.Bottleneck(16, 8, 2, blocks.conv1x1(16, 32, 2), stride_in="1x1"),
        (2, 32, 4, 4),
    ),
    "bottleneck, dilated": (lambda: blocks.Bottleneck(16, 4, dilation=2), (2, 16, 8, 8)),
    "pre-activated": (lambda: blocks.PreActBasicBlock(16, 16), (2, 16, 8, 8)),
    "pre-activated bottleneck": (lambda: blocks.PreActBottleneck(16, 4, preactivated=True), (2, 16, 8, 8)),
    "zero padding": (lambda: blocks.ZeroPadShortcut(16, 21, 3), (2, 21, 3, 3)),
    "convolution": (lambda: blocks.ConvNormActivation(16, 5, (1, 7), stride=2), (2, 5, 4, 4)),
    "convolution alone": (
        lambda: blocks.ConvNormActivation(16, 5, 3, norm_layer=None, activation_layer=None),
        (2, 5, 8, 8),
    ),
    "dilated": (lambda: blocks.ConvNormActivation(16, 5, 3, dilation=3), (2, 5, 8, 8)),
    "naive inception": (lambda: blocks.NaiveInception(16, 1, 2, 3), (2, 22, 8, 8)),
    "inception": (lambda: blocks.Inception(16, 1, 9, 2, 9, 3, 4), (2, 10, 8, 8)),
    "fire": (lambda: blocks.Fire(16, 2, 3, 4), (2, 7, 8, 8)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_gradients(name):
    make, shape = SHAPES[name]
    tg.manual_seed(0)
    block = make()
    x = tg.randn(2, 16, 8, 8, requires_grad=True)
    z = block(x)
    assert z.shape == shape
    (z**2).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert all(p.grad is not None for p in block.parameters())


def test_blocks_on_every_device(device):
    for make, shape in SHAPES.values():
        block = make().to(device)
        z = block(tg.zeros(2, 16, 8, 8, device=device, requires_grad=True))
        assert z.shape == shape
        z.sum().backward()


def test_zero_padding_by_hand():
    x = tg.arange(8.0).reshape(1, 2, 2, 2)
    assert blocks.ZeroPadShortcut(2, 5, 2)(x).flatten().tolist() == [0, 0, 4, 0, 0]
    assert blocks.ZeroPadShortcut(2, 2)(x) is x


def test_a_residual_block_is_its_branch_and_x():
    tg.manual_seed(0)
    block = blocks.BasicBlock(3, 3).eval()
    x = tg.randn(1, 3, 5, 5)
    expected = np.maximum(block.branch(x).detach().numpy() + x.numpy(), 0)
    np.testing.assert_array_equal(block(x).detach().numpy(), expected)
    block = blocks.PreActBasicBlock(3, 3).eval()
    a = block.relu(block.bn1(x))
    np.testing.assert_array_equal(block(x).detach().numpy(), block.branch(a).detach().numpy() + x.numpy())


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_identity_blocks_leave_a_deeper_nets_output_unchanged(training, preactivation):
    """The lectures' argument: a shallower net with identity blocks put in says exactly what it said before."""
    tg.manual_seed(0)
    shallow = ResNet(blocks.BasicBlock, (1, 1, 1, 1), 5, preactivation=preactivation)
    deep = ResNet(blocks.BasicBlock, (3, 2, 1, 2), 5, preactivation=preactivation)
    state = shallow.state_dict()
    missing = deep.load_state_dict(state, strict=False).missing_keys
    for name in missing:  # the blocks put in: the last convolution gives nothing
        if name.endswith("bn2.weight" if not preactivation else "conv2.weight"):
            nn.init.zeros_(deep.get_parameter(name))
    assert missing
    x = tg.randn(2, 3, 64, 64)
    shallow.train(training)
    deep.train(training)
    np.testing.assert_array_equal(deep(x).detach().numpy(), shallow(x).detach().numpy())


@pytest.mark.parametrize("block", [blocks.BasicBlock, blocks.Bottleneck])
@pytest.mark.parametrize("preactivation", [False, True])
def test_blocks_that_start_as_identities(block, preactivation):
    """zero_init_residual: a block hands on what came out of a ReLU, whatever its convolutions are."""
    tg.manual_seed(0)
    net = ResNet(block, (2, 1), 5, zero_init_residual=True, preactivation=preactivation)
    x = tg.randn(2, 64 * block.expansion, 6, 6).relu()
    np.testing.assert_array_equal(net.layer1[1](x).detach().numpy(), x.numpy())


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: blocks.BasicBlock(4, 4, groups=2), ValueError, "BasicBlock: groups is 2"),
        (lambda: blocks.BasicBlock(4, 4, dilation=2), NotImplementedError, "BasicBlock: dilation is 2"),
        (
            lambda: blocks.PreActBasicBlock(4, 4, base_width=32),
            ValueError,
            "PreActBasicBlock: groups is 1, base_width 32",
        ),
        (lambda: blocks.Bottleneck(4, 4, stride_in="5x5"), ValueError, "Bottleneck: stride_in is '5x5'"),
        (lambda: blocks.ZeroPadShortcut(4, 3), ValueError, "ZeroPadShortcut: out_channels is 3"),
    ],
)
def test_settings_that_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
