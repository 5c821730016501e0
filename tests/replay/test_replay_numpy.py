"""A compiled step on memory that NumPy has and fills anew for every batch."""

from __future__ import annotations

import numpy as np

import tensorgrad as tg
from tensorgrad import nn


def test_batches_written_over_each_other():
    random = np.random.default_rng(3)
    batches = [random.standard_normal((16, 500)).astype(np.float32) for _ in range(5)]
    results = []
    for compiled in (False, True):
        tg.manual_seed(1)
        net = nn.Sequential(nn.Linear(500, 8), nn.Tanh(), nn.Linear(8, 1))
        memory = batches[0].copy()
        x = tg.from_numpy(memory)
        weights = list(net.parameters())

        def train(net=net, x=x, weights=weights):
            for w in weights:
                w.grad = None
            loss = (net(x) ** 2).sum()
            loss.backward()
            with tg.no_grad():
                for w in weights:
                    w -= 0.001 * w.grad
            return loss

        step = tg.compile(train) if compiled else train
        losses = []
        for batch in batches:
            memory[...] = batch
            losses.append(step().item())
        results.append(losses)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
