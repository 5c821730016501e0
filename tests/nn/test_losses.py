"""Losses against their formulas, computed one sample after the other, and their rules for hard inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

SCORES = np.random.default_rng(0).standard_normal((5, 3))
CLASSES = np.array([0, 2, 1, 1, 2])
WEIGHTS = np.array([0.5, 2.0, 1.25])


def slow_cross_entropy(x, target, weight, ignore, smoothing):
    """[(1 - e) sum w_y nll + (e / C) sum sum w_c (-logp_c)] / sum w_y, over what is not ignored."""
    total = share = 0.0
    for scores, y in zip(x, target):
        if y == ignore:
            continue
        logp = [s - math.log(sum(math.exp(other) for other in scores)) for s in scores]
        spread = sum(w * -lp for w, lp in zip(weight, logp)) / len(scores)
        total += (1 - smoothing) * weight[y] * -logp[y] + smoothing * spread
        share += weight[y]
    return total / share


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("ignore", [-100, 1])
@pytest.mark.parametrize("weight", [None, WEIGHTS])
def test_cross_entropy_is_its_formula(weight, ignore, smoothing, device):
    x = tg.tensor(SCORES, device=device)
    w = None if weight is None else tg.tensor(weight, device=device)
    y = tg.tensor(CLASSES, device=device)
    loss = F.cross_entropy(x, y, w, ignore_index=ignore, label_smoothing=smoothing)
    expected = slow_cross_entropy(SCORES, CLASSES, np.ones(3) if weight is None else weight, ignore, smoothing)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_cross_entropy_is_softmax_minus_one_hot(device):
    x = tg.tensor(SCORES, device=device, requires_grad=True)
    F.cross_entropy(x, tg.tensor(CLASSES, device=device)).backward()
    p = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    np.testing.assert_allclose(x.grad.cpu().numpy(), (p - np.eye(3)[CLASSES]) / 5, rtol=1e-12)


def test_class_numbers_and_their_one_hot_probabilities_agree():
    x, y = tg.tensor(SCORES), tg.tensor(CLASSES)
    probabilities = F.one_hot(y, 3).double()
    for settings in ({}, {"label_smoothing": 0.3}, {"reduction": "sum"}):
        a, b = F.cross_entropy(x, y, **settings), F.cross_entropy(x, probabilities, **settings)
        assert a.item() == pytest.approx(b.item(), rel=1e-12)


def test_everything_ignored():
    x = tg.tensor(SCORES, requires_grad=True)
    y = tg.tensor([1] * 5)
    assert math.isnan(F.cross_entropy(x, y, ignore_index=1).item())
    assert F.cross_entropy(x, y, ignore_index=1, reduction="sum").item() == 0
    assert F.cross_entropy(x, y, ignore_index=1, reduction="none").tolist() == [0] * 5


def test_an_ignored_sample_has_no_gradient_even_where_it_is_infinite():
    x = tg.tensor([[-math.inf, 0.0], [1.0, 2.0]], requires_grad=True)
    loss = F.nll_loss(x, tg.tensor([0, 1]), ignore_index=0)
    loss.backward()
    assert loss.item() == -2
    assert x.grad.tolist() == [[0, 0], [0, -1]]


def test_scores_of_any_size():
    x = tg.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    loss = F.cross_entropy(x, tg.tensor([0, 1]))
    assert loss.item() == 1e4
    loss.backward()
    assert x.grad.tolist() == [[0, 0], [0.5, -0.5]]


def test_float32_stays_float32():
    x = tg.randn(4, 3, requires_grad=True)
    y = tg.tensor([0, 1, 2, 0])
    w = tg.tensor(WEIGHTS)  # float64
    for settings in ({}, {"weight": w}, {"weight": w, "label_smoothing": 0.1, "ignore_index": 1}):
        x.grad = None
        loss = F.cross_entropy(x, y, **settings)
        loss.backward()
        assert (loss.dtype, x.grad.dtype) == (tg.float32, tg.float32)


def test_pictures_have_a_class_a_pixel():
    x, y = tg.randn(2, 3, 4, 5), tg.randint(0, 3, (2, 4, 5))
    flat = F.cross_entropy(x.permute(0, 2, 3, 1).reshape(-1, 3), y.reshape(-1))
    assert F.cross_entropy(x, y).item() == pytest.approx(flat.item(), rel=1e-5)
    assert F.cross_entropy(x, y, reduction="none").shape == (2, 4, 5)


def test_second_derivatives_of_cross_entropy():
    """The Hessian of one sample is diag(p) - p p^T."""
    x = tg.tensor(SCORES[0])
    hessian = tg.autograd.hessian(lambda x: F.cross_entropy(x, tg.tensor(1)), x)
    p = np.exp(SCORES[0]) / np.exp(SCORES[0]).sum()
    np.testing.assert_allclose(hessian.numpy(), np.diag(p) - np.outer(p, p), atol=1e-12)


ERRORS = {
    "class too large": (
        IndexError,
        [0, 3, 1, 1, 2],
        {},
        "cross_entropy: target holds class 3; there are 3 classes, 0 to 2",
    ),
    "class negative": (IndexError, [0, -1, 1, 1, 2], {}, "cross_entropy: target holds class -1; there are 3 classes"),
    "shape": (
        RuntimeError,
        [0, 1],
        {},
        r"cross_entropy: target has shape \(2,\); an input of shape \(5, 3\) needs \(5,\)",
    ),
    "floats": (
        RuntimeError,
        [0.0, 1.0, 1.0, 1.0, 1.0],
        {},
        r"target of shape \(5,\) has dtype float32; it takes class numbers \(int64\) of shape \(5,\), or probabilities",
    ),
    "weight": (RuntimeError, [0] * 5, {"weight": tg.ones(4)}, r"weight has shape \(4,\); an input .* needs \(3,\)"),
    "reduction": (
        ValueError,
        [0] * 5,
        {"reduction": "max"},
        "reduction is 'max'; it must be one of 'none', 'mean', 'sum'",
    ),
    "smoothing": (ValueError, [0] * 5, {"label_smoothing": 1.5}, "label_smoothing is 1.5; it must be from 0 to 1"),
    "ignored probabilities": (
        ValueError,
        SCORES,
        {"ignore_index": 1},
        "ignore_index is 1, but the target holds probab",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_cross_entropy_errors(name):
    kind, target, settings, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        F.cross_entropy(tg.tensor(SCORES), tg.tensor(target), **settings)


def test_a_wrong_class_on_a_device_that_is_not_asked_gives_nan():
    x = tg.tensor(SCORES, device="standin")
    loss = F.cross_entropy(x, tg.tensor([0, 3, 1, 1, 2], device="standin"), reduction="none")
    assert [math.isnan(value) for value in loss.tolist()] == [False, True, False, False, False]


def test_an_empty_batch():
    """As PyTorch: the mean of nothing is nan, the sum 0."""
    x, y = tg.zeros(0, 3), tg.zeros(0, dtype=tg.int64)
    assert math.isnan(F.cross_entropy(x, y).item())
    assert F.cross_entropy(x, y, reduction="sum").item() == 0


def test_class_numbers_of_any_integer_type():
    x = tg.tensor(SCORES)
    expected = F.cross_entropy(x, tg.tensor(CLASSES)).item()
    for dtype in (tg.int8, tg.uint8, tg.int32):
        assert F.cross_entropy(x, tg.tensor(CLASSES, dtype=dtype)).item() == expected


def test_a_target_on_another_device():
    message = r"cross_entropy: target is on 'cpu' and input on 'standin:0'; move it with .to\('standin:0'\)"
    with pytest.raises(RuntimeError, match=message):
        F.cross_entropy(tg.tensor(SCORES, device="standin"), tg.tensor(CLASSES))


def test_errors_of_a_loss_layer_name_it():
    with pytest.raises(IndexError, match=r"target holds class 7.* \[in the CrossEntropyLoss\]"):
        nn.CrossEntropyLoss()(tg.zeros(1, 3), tg.tensor([7]))
    with pytest.raises(TypeError, match="cross_entropy: target is a list; it must be a Tensor"):
        nn.CrossEntropyLoss()(tg.zeros(1, 3), [1])
    with pytest.raises(RuntimeError, match="cross_entropy: got dtype int64; it needs a floating-point Tensor"):
        F.cross_entropy(tg.tensor([[1, 2]]), tg.tensor([0]))
    with pytest.raises(ValueError, match="CrossEntropyLoss: label_smoothing is -1"):
        nn.CrossEntropyLoss(label_smoothing=-1)
    with pytest.raises(ValueError, match="NLLLoss: reduction is 'median'"):
        nn.NLLLoss(reduction="median")


def test_the_weight_of_a_loss_moves_with_it():
    loss = nn.CrossEntropyLoss(tg.tensor(WEIGHTS)).to("standin")
    assert loss.weight.device.type == "standin"
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []


def test_mse_loss():
    x, y = tg.tensor([1.0, 4.0], requires_grad=True), tg.tensor([0.0, 1.0])
    assert F.mse_loss(x, y, reduction="none").tolist() == [1, 9]
    assert F.mse_loss(x, y, reduction="sum").item() == 10
    F.mse_loss(x, y).backward()
    assert x.grad.tolist() == [1, 3]
    with pytest.raises(
        RuntimeError, match=r"mse_loss: input has shape \(2, 1\) and target \(2,\); they must be the same"
    ):
        nn.MSELoss()(tg.zeros(2, 1), tg.zeros(2))


def test_nll_loss_takes_no_probabilities():
    with pytest.raises(
        RuntimeError, match=r"nll_loss: target of shape \(5, 3\) has dtype float64; it takes class numbers"
    ):
        F.nll_loss(tg.tensor(SCORES), tg.tensor(SCORES))


def test_one_hot(device):
    y = tg.tensor([[2, 0]], device=device)
    assert F.one_hot(y).tolist() == [[[0, 0, 1], [1, 0, 0]]]
    assert F.one_hot(y, 4).shape == (1, 2, 4)
    with pytest.raises(ValueError, match="one_hot: got class 2; there are 2 classes, 0 to 1"):
        F.one_hot(y, 2)
    with pytest.raises(ValueError, match="one_hot: got class -1"):
        F.one_hot(tg.tensor([-1]), 3)
    with pytest.raises(TypeError, match="one_hot: it takes a Tensor of class numbers"):
        F.one_hot(tg.ones(2))
