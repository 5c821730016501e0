"""Recording on another device: the same programs on CuPy's stand-in, and what a thread meanwhile may do."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad import optim


@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_a_step_is_replayed_on_its_device(device):
    found = []
    for compiled in (False, True):
        tg.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(48, 4)
        )
        model.to(device)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        random = np.random.default_rng(0)

        def step(x, t, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss.detach()

        call = tg.compile(step) if compiled else step
        losses = []
        for _ in range(5):
            x = tg.tensor(random.standard_normal((3, 2, 6, 6)), device=device)
            losses.append(call(x.float(), tg.tensor(random.integers(0, 4, 3), device=device)).item())
        found.append((losses, [p.detach().cpu().tolist() for p in model.parameters()]))
        if compiled:
            assert call.why() == [] and call.replays == 3
    assert found[0] == found[1]


def test_another_thread_may_compute_while_one_records():
    entered, go_on = threading.Event(), threading.Event()
    w = tg.ones(3)
    outside = []

    def step(x):
        entered.set()
        assert go_on.wait(10)
        return x * 2

    def other():
        assert entered.wait(10)
        outside.append((tg.ones(3) + w).exp().numpy())
        outside.append(tg.randn(3).numpy())
        go_on.set()

    fast = tg.compile(step)
    go_on.set()
    fast(tg.ones(3))
    entered.clear(), go_on.clear()
    thread = threading.Thread(target=other)
    thread.start()
    fast(tg.ones(3))
    thread.join()
    assert fast.why() == []
    assert fast(tg.ones(3)).tolist() == [2.0, 2.0, 2.0] and fast.replays == 1
    np.testing.assert_allclose(outside[0], np.exp([2.0] * 3), rtol=1e-6)
    assert type(outside[1]) is np.ndarray
