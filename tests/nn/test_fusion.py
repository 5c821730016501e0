"""A batch norm folded into the layer before it: the same numbers as both, and as PyTorch's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from trained_norms import TOLERANCE, assert_same, trained, values

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.nn.utils import (
    fuse_batch_norms,
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)

# layer, norm, shape of the input
PAIRS = {
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), lambda: nn.BatchNorm1d(6), (2, 4, 9)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, bias=False), lambda: nn.BatchNorm2d(6), (2, 4, 7, 8)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2), lambda: nn.BatchNorm3d(3), (2, 2, 4, 4, 4)),
    "groups": (lambda: nn.Conv2d(4, 8, 3, groups=2, bias=False), lambda: nn.BatchNorm2d(8, affine=False), (2, 4, 6, 6)),
    "border": (lambda: nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"), lambda: nn.BatchNorm2d(6), (2, 3, 6, 6)),
    "no bias in the norm": (lambda: nn.Conv2d(3, 6, 1), lambda: nn.BatchNorm2d(6, bias=False), (2, 3, 4, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), lambda: nn.BatchNorm1d(6), (2, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, bias=False), lambda: nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), lambda: nn.BatchNorm3d(3), (1, 2, 3, 3, 3)),
    "transposed, groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), lambda: nn.BatchNorm2d(6), (2, 4, 5, 5)),
    "Linear": (lambda: nn.Linear(5, 6), lambda: nn.BatchNorm1d(6), (4, 5)),
    "Linear without bias": (lambda: nn.Linear(5, 6, bias=False), lambda: nn.BatchNorm1d(6, affine=False), (4, 5)),
    "no samples": (lambda: nn.Conv2d(3, 6, 3), lambda: nn.BatchNorm2d(6), (0, 3, 5, 5)),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair(name: str, dtype: str):
    make_layer, make_norm, shape = PAIRS[name]
    tg.manual_seed(0)
    layer, norm = trained(make_layer(), dtype), trained(make_norm(), dtype)
    x = values(*shape, dtype=dtype)
    expected = norm(layer(x))
    before = copy.deepcopy(layer.state_dict())
    if isinstance(layer, nn.Linear):
        fused = fuse_linear_bn_eval(layer, norm)
    else:
        fused = fuse_conv_bn_eval(layer, norm, transpose=layer.transposed)
    assert type(fused) is type(layer) and fused is not layer and not fused.training
    assert_same(fused(x), expected)
    assert fused.weight.requires_grad and fused.bias.requires_grad == (layer.bias is not None)
    assert all(np.array_equal(x.numpy(), before[key].numpy()) for key, x in layer.state_dict().items())
    model = fuse_batch_norms(nn.Sequential(layer, norm).eval(), x, strict=True)
    assert type(model[1]) is nn.Identity
    assert_same(model(x), expected)


def test_one_feature_for_a_linear_layer():
    """A norm of the one channel of (N, 1, in_features) scales all features alike."""
    layer, norm = trained(nn.Linear(5, 6, bias=False)), trained(nn.BatchNorm1d(1))
    x = values(4, 1, 5)
    fused = fuse_linear_bn_eval(layer, norm)
    assert fused.bias.shape == (6,)
    assert_same(fused(x), norm(layer(x)))


def test_by_hand():
    """Weight 3, bias 5; mean 1, variance 4, w 2, b 7: (3 x + 5 - 1) / 2 * 2 + 7 = 3 x + 11."""
    one = tg.ones(1)
    w, b = fuse_conv_bn_weights(tg.full((1, 1, 1, 1), 3.0), 5 * one, one, 4 * one, 0.0, 2 * one, 7 * one)
    assert (w.item(), b.item()) == (3.0, 11.0)
    w, b = fuse_linear_bn_weights(tg.full((1, 1), 3.0), 5 * one, one, 4 * one, 0.0, 2 * one, 7 * one)
    assert (w.item(), b.item()) == (3.0, 11.0)


def test_non_contiguous_weights():
    w, statistics = values(3, 3, 4, 6), [values(12)[::2].abs() for _ in range(4)]
    fused, _ = fuse_conv_bn_weights(w.permute(3, 2, 0, 1), None, *statistics[:2], 1e-5, *statistics[2:])
    _, var, scale, _ = (x.numpy() for x in statistics)
    expected = w.numpy().transpose(3, 2, 0, 1) * (scale / np.sqrt(var + 1e-5))[:, None, None, None]
    np.testing.assert_allclose(fused.detach().numpy(), expected, rtol=1e-12)


REFUSED = {
    "conv in training": (
        lambda: fuse_conv_bn_eval(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6).eval()),
        "Conv2d is in training",
    ),
    "norm in training": (
        lambda: fuse_linear_bn_eval(nn.Linear(3, 6).eval(), nn.BatchNorm1d(6)),
        "BatchNorm1d is in training",
    ),
    "no statistics": (
        lambda: fuse_conv_bn_eval(nn.Conv2d(3, 6, 3).eval(), nn.BatchNorm2d(6, track_running_stats=False).eval()),
        "no running statistics",
    ),
    "parametrized": (
        lambda: fuse_conv_bn_eval(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3)).eval(), nn.BatchNorm2d(6).eval()
        ),
        "computed from other parameters",
    ),
    "weight norm": (
        lambda: fuse_linear_bn_eval(nn.utils.weight_norm(nn.Linear(3, 6)).eval(), nn.BatchNorm1d(6).eval()),
        "computed from other parameters",
    ),
    "transpose forgotten": (
        lambda: fuse_conv_bn_eval(nn.ConvTranspose2d(6, 6, 3).eval(), nn.BatchNorm2d(6).eval()),
        "it must be True",
    ),
    "features of a linear layer": (
        lambda: fuse_linear_bn_eval(nn.Linear(3, 6).eval(), nn.BatchNorm1d(3).eval()),
        "must be equal",
    ),
    "model in training": (lambda: fuse_batch_norms(nn.Sequential(), tg.ones(1)), "Sequential is in training mode"),
    "no example": (
        lambda: fuse_batch_norms(nn.Sequential().eval()),
        r"no example inputs; give .* fuse_batch_norms\(model, x\)",
    ),
    "norm of a model in training": (
        lambda: fuse_batch_norms(
            nn.Sequential(nn.BatchNorm1d(2), nn.Sequential().eval()).train(False).append(nn.BatchNorm1d(2)), 0
        ),
        "2 is in training mode",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "shape, features, transpose",
    [((6, 3, 1), 5, False), ((6, 4, 1), 6, True), ((3, 2, 1), 4, True), ((2, 3, 1), 0, True)],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], features: int, transpose: bool):
    with pytest.raises(RuntimeError, match="features"):
        fuse_conv_bn_weights(
            tg.ones(*shape), None, tg.ones(features), tg.ones(features), 1e-5, None, None, transpose=transpose
        )
    if not transpose:
        with pytest.raises(RuntimeError, match="features"):
            fuse_linear_bn_weights(tg.ones(6, 3), None, tg.ones(5), tg.ones(5), 1e-5, None, None)


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", sorted(PAIRS.keys() - {"transposed, groups", "Linear without bias"}))  # refused there
def test_against_pytorch(name: str, dtype: str):
    pytest.importorskip("torch")
    import torch
    from torch.nn.utils import fusion as theirs

    make_layer, make_norm, _ = PAIRS[name]
    layer, norm = trained(make_layer(), dtype), trained(make_norm(), dtype)
    w, c = (
        None if p is None else torch.tensor(p.detach().numpy(), requires_grad=True) for p in (layer.weight, layer.bias)
    )
    others = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, var, scale, shift = (None if p is None else torch.tensor(p.detach().numpy()) for p in others)
    if isinstance(layer, nn.Linear):
        found = fuse_linear_bn_weights(layer.weight, layer.bias, *others[:2], norm.eps, *others[2:])
        expected = theirs.fuse_linear_bn_weights(w, c, mean, var, norm.eps, scale, shift)
    else:
        back = layer.transposed
        found = fuse_conv_bn_weights(layer.weight, layer.bias, *others[:2], norm.eps, *others[2:], back)
        expected = theirs.fuse_conv_bn_weights(w, c, mean, var, norm.eps, scale, shift, back)
    for a, b in zip(found, expected):
        assert type(a) is nn.Parameter and a.dtype == b.detach().numpy().dtype
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.oracle
def test_mixed_dtypes_as_in_pytorch():
    """The results have the layer's dtypes, whatever the norm's."""
    torch = pytest.importorskip("torch")
    from torch.nn.utils import fusion as theirs

    for bias in (None, np.float64):
        arrays = [
            values(2, 1, 3).numpy().astype("float32"),
            None if bias is None else np.ones(2),
            *np.full((4, 2), 0.5),
        ]
        mine = [None if a is None else tg.tensor(a) for a in arrays]
        yours = [None if a is None else torch.tensor(a) for a in arrays]
        found = fuse_conv_bn_weights(*mine[:4], 1e-5, *mine[4:])
        expected = theirs.fuse_conv_bn_weights(*yours[:4], 1e-5, *yours[4:])
        for a, b in zip(found, expected):
            assert a.dtype == b.detach().numpy().dtype and not a.requires_grad
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-6)
