"""Steps of a real network with the garbage collector switched off: what they leave behind, in objects and in bytes."""

import gc
import resource
import sys
import tracemalloc

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.backend import compiled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="`resource` is POSIX")


def make_step(size=8):
    """A training step of ResNet-20 on two pictures of a few pixels: its depth is what matters here."""
    if compiled.numba_works():  # threads of the team would compile their loop during the steps, where no cache has it
        assert compiled.part("numba_team").serve.address
    tg.manual_seed(0)
    model = models.resnet20()
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    random = np.random.default_rng(0)
    x = tg.tensor(random.standard_normal((2, 3, size, size)).astype("float32"))
    t = tg.tensor(random.integers(0, 10, 2))

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def grown(step, warm, steps):
    """How many objects and how many bytes of peak memory the steps leave behind, by counting references alone."""
    for _ in range(warm):
        step()
    gc.collect()
    gc.disable()
    try:
        objects, peak = len(gc.get_objects()), peak_bytes()
        for _ in range(steps):
            assert np.isfinite(step())
        return len(gc.get_objects()) - objects, peak_bytes() - peak
    finally:
        gc.enable()


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def array_bytes():
    """What NumPy's arrays hold, of those that were made since tracemalloc started."""
    only = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(only).traces)


def arrays_grown(step, steps):
    """How many bytes of arrays the steps leave behind."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        step()  # so that what lives on, such as gradients, is among the traced
        before = array_bytes()
        for _ in range(steps):
            step()
        return array_bytes() - before
    finally:
        tracemalloc.stop()
        gc.enable()


def test_steps_of_resnet_leave_nothing():
    step = make_step()
    assert grown(step, 3, 30)[0] < 20  # objects: less than one a step, even if ten of earlier tests go meanwhile
    assert arrays_grown(step, 3) < 100  # bytes: less than the smallest activation


def test_a_leak_would_be_seen():
    kept = []
    step = lambda: kept.append([np.zeros(300)]) or 0.0  # noqa: E731
    assert grown(step, 3, 30)[0] >= 20
    assert arrays_grown(step, 3) >= 3 * 2400


@pytest.mark.slow
def test_ten_thousand_steps_of_resnet_grow_by_nothing():
    objects, memory = grown(make_step(), 200, 10_000)
    assert objects < 100
    assert memory < 4e6
