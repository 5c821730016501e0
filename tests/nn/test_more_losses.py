"""Losses beside cross entropy, and embedding: layers beside PyTorch's, and what is refused."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

RANDOM = np.random.default_rng(4)
X, Y, Z = (RANDOM.standard_normal((4, 5)) for _ in range(3))
P = RANDOM.uniform(0.05, 0.95, (4, 5))
SIGNS = np.where(X * Y > 0, 1.0, -1.0)
CLASSES = np.array([0, 4, 2, 1])
W = RANDOM.uniform(0.5, 2, 5)

# layer, settings (arrays become Tensors), inputs: the first is differentiated
LOSSES = [
    ("L1Loss", {}, (X, Y)),
    ("SmoothL1Loss", {"beta": 0.5}, (X, Y)),
    ("SmoothL1Loss", {"beta": 0.0}, (X, Y)),
    ("HuberLoss", {"delta": 0.7}, (X, Y)),
    ("BCELoss", {}, (P, np.round(P))),
    ("BCELoss", {"weight": W}, (P, P)),
    ("BCEWithLogitsLoss", {}, (X * 50, np.round(P))),
    ("BCEWithLogitsLoss", {"weight": W, "pos_weight": W}, (X, P)),
    ("KLDivLoss", {}, (X, P)),
    ("KLDivLoss", {"log_target": True}, (X, Y)),
    ("HingeEmbeddingLoss", {"margin": 0.4}, (X, SIGNS)),
    ("MarginRankingLoss", {"margin": 0.3}, (X, Y, SIGNS)),
    ("SoftMarginLoss", {}, (X, SIGNS)),
    ("MultiMarginLoss", {}, (X, CLASSES)),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "weight": W}, (X, CLASSES)),
    (
        "MultiLabelMarginLoss",
        {},
        (X, np.array([[3, 0, -1, 1, 2], [4, -1, 0, 0, 0], [-1, 1, 1, 1, 1], [0, 1, 2, 3, 4]])),
    ),
    ("MultiLabelSoftMarginLoss", {"weight": W}, (X, np.round(P))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (X, Y, SIGNS[:, 0])),
    ("TripletMarginLoss", {"margin": 0.8, "swap": True}, (X, Y, Z)),
    ("TripletMarginLoss", {"p": 1}, (X, Y, Z)),
    ("TripletMarginWithDistanceLoss", {}, (X, Y, Z)),
    ("CosineSimilarity", {"dim": 0}, (X, Y)),
    ("PairwiseDistance", {"p": 3.0, "keepdim": True}, (X, Y)),
]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")  # PyTorch's of kl_div
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, settings, inputs", LOSSES, ids=lambda v: v if isinstance(v, str) else "")
def test_losses_are_pytorchs(name, settings, inputs, reduction):
    torch = pytest.importorskip("torch")
    if name.startswith(("Cosine", "Pairwise")) and not name.endswith("Loss"):
        if reduction != "none":
            pytest.skip("it is no loss")
    else:
        settings = {**settings, "reduction": reduction}
    ours = getattr(nn, name)(**{k: tg.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()})
    theirs = getattr(torch.nn, name)(
        **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    )
    a, b = tg.tensor(inputs[0], requires_grad=True), torch.tensor(inputs[0], requires_grad=True)
    za = ours(a, *map(tg.tensor, inputs[1:]))
    zb = theirs(b, *map(torch.tensor, inputs[1:]))
    np.testing.assert_allclose(za.detach(), zb.detach().numpy(), rtol=1e-10, atol=1e-12)
    weights = np.linspace(0.5, 2.0, za.array.size).reshape(za.shape)
    (za * tg.tensor(weights)).sum().backward()
    (zb * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.oracle
def test_certain_probabilities():
    torch = pytest.importorskip("torch")
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    a, b = tg.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    za, zb = F.binary_cross_entropy(a, tg.tensor(t)), torch.nn.functional.binary_cross_entropy(b, torch.tensor(t))
    np.testing.assert_allclose(za.detach(), zb.detach().numpy())
    za.backward()
    assert bool(a.grad.isfinite().all())


@pytest.mark.oracle
@pytest.mark.parametrize("settings", [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"max_norm": 1.0}], ids=str)
def test_embedding_is_pytorchs(settings):
    torch = pytest.importorskip("torch")
    weight = RANDOM.standard_normal((6, 3))
    index = np.array([[1, 5, 1], [0, 5, 5]])
    ours = nn.Embedding.from_pretrained(tg.tensor(weight), freeze=False, **settings)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(weight), freeze=False, **settings)
    assert repr(ours) == repr(theirs)
    za, zb = ours(tg.tensor(index)), theirs(torch.tensor(index))
    np.testing.assert_allclose(za.detach(), zb.detach().numpy(), rtol=1e-6)
    (za * za).sum().backward()
    (zb * zb).sum().backward()
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-6)
    np.testing.assert_allclose(ours.weight.detach(), theirs.weight.detach().numpy(), rtol=1e-6)


def test_a_padding_row_is_zero_and_stays():
    layer = nn.Embedding(4, 2, padding_idx=3)
    assert layer.weight[3].tolist() == [0.0, 0.0]
    layer(tg.tensor([3, 1])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.l1_loss(tg.ones(2), 1.0), TypeError, "target is a float"),
        (lambda: F.l1_loss(tg.ones(2), tg.ones(2), reduction="max"), ValueError, "reduction"),
        (lambda: F.huber_loss(tg.ones(2), tg.ones(2), delta=0), RuntimeError, "delta"),
        (lambda: F.smooth_l1_loss(tg.ones(2), tg.ones(2), beta=-1), RuntimeError, "beta"),
        (lambda: F.binary_cross_entropy(tg.ones(2), tg.ones(3)), ValueError, "must be the same"),
        (lambda: F.binary_cross_entropy(tg.ones(2) * 3, tg.ones(2)), RuntimeError, "between 0 and 1"),
        (lambda: F.multi_margin_loss(tg.ones(2, 3), tg.tensor([0, 1]), p=3), ValueError, "p is 3"),
        (lambda: F.multi_margin_loss(tg.ones(2, 3), tg.tensor([0])), RuntimeError, "one class each"),
        (lambda: F.triplet_margin_loss(tg.ones(2), tg.ones(2), tg.ones(2), margin=0), ValueError, "margin"),
        (lambda: F.triplet_margin_loss(tg.ones(2), tg.ones(2), tg.ones(2, 2)), RuntimeError, "dimensions"),
        (lambda: F.cosine_embedding_loss(tg.ones(2, 3), tg.ones(2, 3), tg.ones(2, 3)), RuntimeError, "target"),
        (lambda: F.embedding(tg.ones(2), tg.ones(3, 2)), RuntimeError, "int64"),
        (lambda: F.embedding(tg.tensor([0]), tg.ones(3)), RuntimeError, "rows, D"),
        (lambda: F.embedding(tg.tensor([3]), tg.ones(3, 2)), IndexError, "3"),
        (lambda: F.embedding(tg.tensor([0]), tg.ones(3, 2), padding_idx=3), RuntimeError, "padding_idx"),
        (lambda: F.embedding(tg.tensor([0]), tg.ones(3, 2), sparse=True), NotImplementedError, "sparse"),
        (lambda: nn.Embedding(3, 2, padding_idx=5), ValueError, "padding_idx"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
