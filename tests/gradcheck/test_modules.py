"""Modules: inputs, parameters and buffers, in training and in evaluation, and the module left as it was."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.gradcheck import GradcheckError, examine, gradcheck


def double(*shape):
    values = np.random.default_rng(3).standard_normal(shape)
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("fast", [False, True])
def test_all_parts_of_a_network(fast):
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2)
    ).double()
    report = examine(network, double(3, 1, 4, 4), fast_mode=fast)
    assert report.ok, str(report)
    assert report.name == "Sequential"
    assert any("changes the buffers 1.running_mean, 1.running_var" in note for note in report.notes)


def test_the_module_stays_as_it_was():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3)).double()
    network[2].eval()
    before = {name: x.tolist() for name, x in network.state_dict().items()}
    held = list(network.parameters())
    assert gradcheck(network, double(5, 3))
    assert {name: x.tolist() for name, x in network.state_dict().items()} == before
    assert [a is b for a, b in zip(held, network.parameters())] == [True] * len(held)
    assert network.training and not network[2].training and all(p.grad is None for p in held)


class Scaled(nn.Module):
    """x w b, with b a buffer; wrong on demand."""

    def __init__(self, cut: str = "") -> None:
        super().__init__()
        self.weight = nn.Parameter(tg.ones(3, dtype=tg.float64))
        self.register_buffer("offset", tg.ones(3, dtype=tg.float64))
        self.cut = cut

    def forward(self, x):
        weight = self.weight.detach() if self.cut == "weight" else self.weight
        offset = self.offset.detach() if self.cut == "buffer" else self.offset
        z = x * weight + offset * x
        return z if self.training or self.cut != "evaluation" else z * x.detach()


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("weight", "in training: output 0, .*with respect to weight"),
        ("buffer", "with respect to offset"),
        ("evaluation", "vjp"),
    ],
)
def test_wrong_parts_are_named(cut, message):
    x = double(2, 3)
    assert gradcheck(Scaled(), x)
    with pytest.raises(GradcheckError, match=message):
        gradcheck(Scaled(cut), x)


def test_shared_parameters_move_together():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 3).double()
            self.second = self.first

        def forward(self, x):
            return self.second(self.first(x).tanh())

    assert gradcheck(Twice(), double(2, 3), order=2)


def test_a_frozen_parameter_is_not_checked():
    layer = nn.Linear(2, 2).double()
    layer.weight.requires_grad_(False)
    assert gradcheck(layer, tg.ones(1, 2, dtype=tg.float64))


def test_float32_gets_advice():
    with pytest.raises(GradcheckError, match=r"weight has dtype float32; .*\.double\(\) on a module"):
        gradcheck(nn.Linear(2, 2), tg.ones(1, 2))
