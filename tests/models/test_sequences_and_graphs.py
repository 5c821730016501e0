"""TCN and GCN: what an output may see, the formulas, PyTorch's numbers, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.models import GCN, TCN, GraphConvolution, normalized_adjacency
from tensorgrad.models.tcn import CausalConv1d


@pytest.mark.parametrize("weight_norm", [True, False])
def test_an_output_sees_only_the_past_and_not_too_far(weight_norm):
    tg.manual_seed(0)
    model = TCN(2, 3, channels=(4, 4, 5), kernel_size=3, dropout=0.0, weight_norm=weight_norm).double()
    for parameter in model.parameters():  # the paper's small weights would hide what is far away
        nn.init.uniform_(parameter, 0.1, 0.5)  # all positive: no unit is off
    assert model.receptive_field == 1 + 2 * 2 * (1 + 2 + 4) == 29
    x = tg.rand(1, 2, 40, dtype=tg.float64, requires_grad=True)
    model(x)[0, :, 35].sum().backward()
    seen = np.flatnonzero(abs(x.grad.numpy()).sum((0, 1)))
    assert seen.max() == 35
    assert seen.min() == 35 - 28


def test_shapes_of_a_tcn():
    x = tg.zeros(2, 1, 17)
    assert TCN(1, 5, channels=(3, 3))(x).shape == (2, 5, 17)
    last = TCN(1, 5, channels=(3, 3), last_only=True)
    assert last(x).shape == (2, 5)
    with pytest.raises(ValueError, match="TCN: channels is empty"):
        TCN(channels=())


def test_causal_convolution_by_hand():
    layer = CausalConv1d(1, 1, 2, dilation=2, weight_norm=False)
    layer.conv.weight.data[:] = tg.tensor([[[10.0, 1.0]]])
    nn.init.zeros_(layer.conv.bias)
    assert layer(tg.tensor([[[1.0, 2, 3, 4]]])).tolist() == [[[1.0, 2.0, 13.0, 24.0]]]


@pytest.mark.parametrize("weight_norm", [True, False])
def test_a_tcn_learns_to_remember(weight_norm):
    """To say what came six steps ago, of even numbers from 0 to 1; always saying 0.5 errs by 1/12."""
    tg.manual_seed(0)
    random = np.random.default_rng(0)
    model = TCN(1, 1, channels=(8,) * 3, kernel_size=3, dropout=0.0, weight_norm=weight_norm)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(160):
        x = random.random((16, 1, 24), "float32")
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(tg.tensor(x))[:, :, 6:], tg.tensor(x[:, :, :-6]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[:3]) > 1 / 12
    assert losses[-1] < 0.01


def test_initial_kernels_of_a_tcn():
    paper = TCN(4, 2, channels=(64,), kernel_size=7, weight_norm=False, init_weights="paper")
    assert paper.network[0].conv2.conv.weight.detach().numpy().std() == pytest.approx(0.01, rel=0.05)
    usual = TCN(4, 2, channels=(64,), kernel_size=7, weight_norm=False)
    bound = (64 * 7) ** -0.5
    assert 0.95 * bound < abs(usual.network[0].conv2.conv.weight.detach().numpy()).max() <= bound
    with pytest.raises(ValueError, match="TCN: init_weights is 'best'"):
        TCN(init_weights="best")


def test_adjacency_of_a_path_by_hand():
    """0 - 1 - 2: degrees with loops 2, 3, 2."""
    found = normalized_adjacency(3, [(0, 1), (2, 1), (1, 0)], dtype=tg.float64).numpy()
    a, b = 1 / 2, 1 / 6**0.5
    np.testing.assert_allclose(found, [[a, b, 0], [b, 1 / 3, b], [0, b, a]], rtol=1e-12)
    with pytest.raises(ValueError, match=r"got the edge \(0, 3\); nodes are numbered 0 to 2"):
        normalized_adjacency(3, [(0, 3)])


def test_a_graph_convolution_does_not_care_how_nodes_are_numbered():
    tg.manual_seed(0)
    edges = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4)]
    order = [3, 0, 4, 1, 2]
    moved = [(order[a], order[b]) for a, b in edges]
    x = np.random.default_rng(0).standard_normal((5, 3))
    x_moved = np.empty_like(x)
    x_moved[order] = x
    model = GCN(3, 2).double().eval()
    z = model(tg.tensor(x), normalized_adjacency(5, edges, dtype=tg.float64)).detach().numpy()
    z_moved = model(tg.tensor(x_moved), normalized_adjacency(5, moved, dtype=tg.float64)).detach().numpy()
    np.testing.assert_allclose(z_moved[order], z, rtol=1e-12)


def test_graph_convolution_shapes():
    layer = GraphConvolution(3, 2, bias=True)
    assert sum(p.numel() for p in layer.parameters()) == 8
    with pytest.raises(RuntimeError, match="GraphConvolution: h has shape"):
        layer(tg.zeros(4, 2), tg.eye(4))


# Zachary's karate club, 1977: who met whom outside of the club, of 34 members
KARATE = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31),
    1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32),
    3: (7, 12, 13),
    4: (6, 10),
    5: (6, 10, 16),
    6: (16,),
    8: (30, 32, 33),
    9: (33,),
    13: (33,),
    14: (32, 33),
    15: (32, 33),
    18: (32, 33),
    19: (33,),
    20: (32, 33),
    22: (32, 33),
    23: (25, 27, 29, 32, 33),
    24: (25, 27, 31),
    25: (31,),
    26: (29, 33),
    27: (33,),
    28: (31, 33),
    29: (32, 33),
    30: (32, 33),
    31: (32, 33),
    32: (33,),
}
INSTRUCTORS = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21}  # who stayed with the instructor, member 0


def test_the_karate_club_from_two_labels():
    """Told only the sides of the instructor and the president, a GCN finds nearly everybody else's."""
    edges = [(a, b) for a, others in KARATE.items() for b in others]
    assert len(edges) == 78
    tg.manual_seed(0)
    model, adjacency, x = GCN(34, 2, dropout=0.0), normalized_adjacency(34, edges), tg.eye(34)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    known, sides = tg.tensor([0, 33]), tg.tensor([0, 1])
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x, adjacency)[known], sides).backward()
        optimizer.step()
    found = model(x, adjacency).argmax(1).tolist()
    right = sum(side == (0 if member in INSTRUCTORS else 1) for member, side in enumerate(found))
    assert right >= 31


@pytest.mark.oracle
def test_a_temporal_block_against_pytorch():
    torch = pytest.importorskip("torch")
    n = torch.nn
    tg.manual_seed(0)
    model = TCN(2, 3, channels=(4, 6), kernel_size=3, dropout=0.0).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    state = {name: torch.tensor(value.numpy(), requires_grad=True) for name, value in model.state_dict().items()}

    def conv(x, name, dilation):
        g, v = (state[f"{name}.conv.parametrizations.weight.original{i}"] for i in (0, 1))
        weight = torch._weight_norm(v, g, 0)
        x = n.functional.pad(x, (2 * dilation, 0))
        return n.functional.conv1d(x, weight, state[f"{name}.conv.bias"], dilation=dilation)

    x = np.random.default_rng(1).standard_normal((2, 2, 11))
    z = torch.tensor(x)
    for level in range(2):
        name = f"network.{level}"
        inner = torch.relu(conv(torch.relu(conv(z, f"{name}.conv1", 2**level)), f"{name}.conv2", 2**level))
        down = n.functional.conv1d(z, state[f"{name}.downsample.weight"], state[f"{name}.downsample.bias"])
        z = torch.relu(inner + down)
    z = (z.transpose(1, 2) @ state["linear.weight"].T + state["linear.bias"]).transpose(1, 2)
    found = model(tg.tensor(x))
    np.testing.assert_allclose(found.detach().numpy(), z.detach().numpy(), rtol=1e-9, atol=1e-9)
    (found**2).sum().backward()
    (z**2).sum().backward()
    for name, parameter in model.named_parameters():
        expected = state[name].grad.numpy()
        np.testing.assert_allclose(
            parameter.grad.numpy(), expected, rtol=1e-7, atol=1e-9 * abs(expected).max(), err_msg=name
        )
