"""Every kind of network with batch norms, at a small size: folded, it gives the same scores."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.nn.utils import fuse_batch_norms

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# name: (settings, size of the picture, norms, how many of them remain)
NETWORKS = {
    "resnet18": ({}, 32, 20, 0),
    "resnet50": ({}, 32, 53, 0),
    "resnext50_32x4d": ({}, 32, 53, 0),
    "preact_resnet18": ({}, 32, 17, 8),  # bn2 of the blocks, and the stem's: the others follow a sum
    "resnet20": ({}, 16, 19, 0),
    "plain20": ({}, 16, 19, 0),
    "googlenet": ({"aux_logits": False}, 64, 57, 0),
    "inception_v3": ({}, 75, 96, 2),  # the auxiliary head's, which evaluation does not run
    "densenet121": (
        {},
        32,
        121,
        62,
    ),  # norm1 of 58 layers, of 3 transitions, and norm5: they follow what is joined or pooled
    "mobilenet_v2": ({}, 32, 52, 0),
    "vgg11_bn": ({}, 32, 8, 0),
    "small_cnn": ({}, 32, None, 0),
}


def build(name: str, settings: dict) -> nn.Module:
    """The network with each layer's default start, which is drawn fastest; VGG's 120 million numbers after its norms are left out."""
    with nn.init.postponed():
        model = models.get_model(name, num_classes=10, **settings)
        if name == "vgg11_bn":
            model.classifier = nn.Linear(512 * 7 * 7, 10)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_scores(name: str):
    settings, size, count, remaining = NETWORKS[name]
    tg.manual_seed(0)
    model = build(name, settings).double().eval()
    draw = np.random.default_rng(0)
    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    for norm in norms:
        for x, low, high in ((norm.running_mean, -0.2, 0.2), (norm.running_var, 0.5, 1.5), (norm.bias, -0.2, 0.2)):
            x.data.copy_(tg.tensor(draw.uniform(low, high, x.shape)))
    assert count is None or len(norms) == count
    channels = next(module for module in model.modules() if isinstance(module, nn.Conv2d)).in_channels
    x = tg.tensor(draw.standard_normal((1, channels, size, size)))
    fused = fuse_batch_norms(model, x)
    assert sum(isinstance(module, NORMS) for module in fused.modules()) == remaining < len(norms)
    with tg.no_grad():
        expected = model(x).numpy()
        np.testing.assert_allclose(fused(x).numpy(), expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
        if size <= 32:
            found = fused.float()(x.float()).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())
    assert not remaining or _strict_refuses(model, x, remaining, len(norms))
    assert abs(expected).max() > 0


def _strict_refuses(model: nn.Module, x: tg.Tensor, remaining: int, count: int) -> bool:
    with pytest.raises(ValueError, match=f"{remaining} of {count} batch norms cannot be folded"):
        fuse_batch_norms(model, x, strict=True)
    return True
