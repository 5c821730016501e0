"""Attention beside PyTorch's."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

RANDOM = np.random.default_rng(8)


def pair(torch, *shape):
    x = RANDOM.standard_normal(shape)
    return tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


def compare(ours, theirs, ours_inputs, theirs_inputs):
    np.testing.assert_allclose(ours.detach(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)
    weights = np.linspace(0.5, 2, ours.array.size).reshape(ours.shape)
    (ours * tg.tensor(weights)).sum().backward()
    (theirs * torch_tensor(theirs, weights)).sum().backward()
    for a, b in zip(ours_inputs, theirs_inputs):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-8, atol=1e-11)


def torch_tensor(like, values):
    return like.new_tensor(values)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "settings",
    [{}, {"is_causal": True}, {"scale": 0.3}, {"mask": "bool"}, {"mask": "number"}, {"enable_gqa": True}],
    ids=str,
)
def test_scaled_dot_product_attention(settings):
    torch = pytest.importorskip("torch")
    heads = 1 if settings.get("enable_gqa") else 2
    tensors = [pair(torch, 3, 2, 4, 5), pair(torch, 3, heads, 6, 5), pair(torch, 3, heads, 6, 7)]
    more, other = dict(settings), dict(settings)
    kind = settings.get("mask")
    if kind:
        mask = RANDOM.random((4, 6)) < 0.6 if kind == "bool" else RANDOM.standard_normal((3, 1, 4, 6))
        if kind == "bool":
            mask[2] = False
        del more["mask"], other["mask"]
        more["attn_mask"], other["attn_mask"] = tg.tensor(mask), torch.tensor(mask)
    ours = F.scaled_dot_product_attention(*[a for a, _ in tensors], **more)
    theirs = torch.nn.functional.scaled_dot_product_attention(*[b for _, b in tensors], **other)
    compare(ours, theirs, [a for a, _ in tensors], [b for _, b in tensors])


@pytest.mark.oracle
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_first": True},
        {"bias": False},
        {"kdim": 3, "vdim": 5},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"padding": "bool", "batch_first": True},
        {"padding": "number"},
        {"mask": "bool"},
        {"mask": "heads"},
        {"unbatched": True},
        {"unbatched": True, "batch_first": True, "padding": "bool"},
        {"average_attn_weights": False},
    ],
    ids=str,
)
def test_multihead_attention(settings):
    torch = pytest.importorskip("torch")
    made = {k: v for k, v in settings.items() if k not in ("padding", "mask", "unbatched", "average_attn_weights")}
    ours = nn.MultiheadAttention(8, 2, **made).double()
    theirs = torch.nn.MultiheadAttention(8, 2, **made).double()
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict({k: tg.tensor(v.detach().numpy() + 0.1) for k, v in theirs.state_dict().items()})
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    batch, length, keys = 3, 4, 5

    def shape(size, width):
        if settings.get("unbatched"):
            return (size, width)
        return (batch, size, width) if settings.get("batch_first") else (size, batch, width)

    tensors = [
        pair(torch, *shape(length, 8)),
        pair(torch, *shape(keys, made.get("kdim", 8))),
        pair(torch, *shape(keys, made.get("vdim", 8))),
    ]
    call = {"average_attn_weights": settings.get("average_attn_weights", True)}
    other = dict(call)
    if "padding" in settings:
        places = (keys,) if settings.get("unbatched") else (batch, keys)
        values = RANDOM.random(places) < 0.4 if settings["padding"] == "bool" else RANDOM.standard_normal(places)
        if settings["padding"] == "bool":
            values[..., 0] = False
        call["key_padding_mask"], other["key_padding_mask"] = tg.tensor(values), torch.tensor(values)
    if "mask" in settings:
        places = (length, keys) if settings["mask"] == "bool" else (batch * 2, length, keys)
        values = RANDOM.random(places) < 0.4
        values[..., 0] = False
        call["attn_mask"], other["attn_mask"] = tg.tensor(values), torch.tensor(values)
    za, wa = ours(*[a for a, _ in tensors], **call)
    zb, wb = theirs(*[b for _, b in tensors], **other)
    np.testing.assert_allclose(wa.detach(), wb.detach().numpy(), rtol=1e-9, atol=1e-11)
    compare(za, zb, [a for a, _ in tensors], [b for _, b in tensors])
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name)


def test_a_small_vision_transformer_learns():
    """Patches, positions, one attention, a class: the loss falls, and every parameter gets a gradient."""

    class Vit(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, 16, 4, 4)
            self.place = nn.Parameter(tg.zeros(1, 4, 16))
            self.norm = nn.LayerNorm(16)
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.head = nn.Linear(16, 2)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.place
            y = self.norm(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return self.head((x + self.mlp(x)).mean(1))

    tg.manual_seed(0)
    net = Vit()
    x = tg.randn(32, 1, 8, 8)
    labels = (x[:, 0, :4].mean((1, 2)) > x[:, 0, 4:].mean((1, 2))).long()
    optimizer = tg.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: F.scaled_dot_product_attention(tg.ones(2), tg.ones(2, 2), tg.ones(2, 2)), RuntimeError, "query"),
        (lambda: F.scaled_dot_product_attention([1], tg.ones(2, 2), tg.ones(2, 2)), TypeError, "query"),
        (
            lambda: F.scaled_dot_product_attention(*[tg.ones(2, 2)] * 3, attn_mask=tg.ones(2, 2), is_causal=True),
            RuntimeError,
            "both",
        ),
        (lambda: nn.MultiheadAttention(5, 2), ValueError, "divide"),
        (lambda: nn.MultiheadAttention(4, 2)(tg.ones(2, 4), tg.ones(1, 2, 4), tg.ones(2, 4)), RuntimeError, "batch"),
        (lambda: nn.MultiheadAttention(4, 2)(*[tg.ones(2, 4)] * 3, is_causal=True), RuntimeError, "mask"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
