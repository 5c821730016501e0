"""Behaviour under pressure: thousands of steps without the garbage collector, more threads than cores."""

from __future__ import annotations

import gc
import resource
import sys
import threading

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad import optim
from tensorgrad.backend import parallel


def make_step(seed, make_optimizer=lambda p: optim.Adam(p, lr=1e-3)):
    """A training step of a small network, whole in itself, and its parameters."""
    random = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )
    for p in model.parameters():
        p.data = tg.tensor(random.standard_normal(p.shape).astype(np.float32) * 0.3)
    optimizer = make_optimizer(model.parameters())
    x, t = tg.tensor(random.standard_normal((8, 1, 8, 8)).astype(np.float32)), tg.tensor(random.integers(0, 3, 8))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step, list(model.parameters())


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def grown(step, warm, steps):
    """How many objects and how many bytes of peak memory so many steps leave behind, after a warm-up."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(warm):
            step()
        objects, memory = len(gc.get_objects()), peak_bytes()
        for _ in range(steps):
            step()
        return len(gc.get_objects()) - objects, peak_bytes() - memory
    finally:
        gc.enable()


@pytest.mark.parametrize("compiled", [False, True], ids=["as-it-is", "compiled"])
def test_steps_leave_nothing_to_the_garbage_collector(compiled):
    step, _ = make_step(0)
    objects, _ = grown(tg.compile(step) if compiled else step, 5, 50)
    assert objects < 50  # less than one a step: nothing is in a cycle


def test_a_leak_would_be_seen():
    step, kept = make_step(0)

    def leaking():
        kept.append([step()])

    assert grown(leaking, 5, 50)[0] >= 50


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["as-it-is", "compiled"])
def test_ten_thousand_steps_leave_nothing(compiled):
    step, _ = make_step(0)
    objects, memory = grown(tg.compile(step) if compiled else step, 200, 10_000)
    assert objects < 200
    assert memory < 8e6


@pytest.mark.slow
def test_ten_thousand_steps_forward_and_back_through_views_and_changes_in_place():
    w = tg.ones(8, 8, requires_grad=True)

    def step():
        y = w * 2
        y[0].mul_(3.0)
        y.T.reshape(-1).tanh().sum().backward(create_graph=False)
        w.grad = None

    objects, memory = grown(step, 200, 10_000)
    assert objects < 200
    assert memory < 8e6


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_more_threads_than_cores_compute_the_same(threads):
    before = parallel.thread_count()
    expected = []
    for seed in range(3):
        step, parameters = make_step(seed)
        losses = [step().item() for _ in range(4)]
        expected.append((losses, [p.tolist() for p in parameters]))
    found = [None] * 3

    def run(seed):
        step, parameters = make_step(seed)
        losses = [step().item() for _ in range(4)]
        found[seed] = (losses, [p.tolist() for p in parameters])

    try:
        parallel.set_thread_count(threads)
        users = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
        for user in users:
            user.start()
        for user in users:
            user.join(60)
        assert not any(user.is_alive() for user in users)
    finally:
        parallel.set_thread_count(before)
    for ours, theirs in zip(found, expected):
        assert ours is not None
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
        for p, q in zip(ours[1], theirs[1]):
            np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)
