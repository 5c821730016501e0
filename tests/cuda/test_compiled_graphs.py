"""A compiled step on a GPU is launched as CUDA graphs, with the host's operations between them, and gives the same numbers."""

import numpy as np
import pytest
import simulated
import standin
import standin_cuda

import tensorgrad as tg
import tensorgrad.nn.functional as F
from tensorgrad import backend, nn, optim
from tensorgrad.optim.lr_scheduler import StepLR

DEVICES = ["standin", pytest.param("cuda", marks=pytest.mark.gpu)]
OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}


def training(place, make_optimizer, compiled, steps=8, autocast=False):
    """Losses, weights, buffers and gradients of a network with all that has a state; and the compiled step."""
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(12, 4),
    ).to(place)
    optimizer = make_optimizer(model.parameters())
    schedule = StepLR(optimizer, 3, 0.5)
    random = np.random.default_rng(0)

    def step(x, t):
        optimizer.zero_grad()
        with tg.autocast("cpu" if place == "cpu" else place, tg.float16, enabled=autocast):
            loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    call = tg.compile(step) if compiled else step
    losses = []
    for _ in range(steps):
        x = tg.tensor(random.standard_normal((3, 2, 6, 6)).astype("float32"), device=place)
        t = tg.tensor(random.integers(0, 4, 3), device=place)
        losses.append(call(x, t))
        x.zero_()  # the graph has memory of its own for its arguments
    values = [loss.item() for loss in losses]  # and for its results: no replay has overwritten an earlier one's
    state = {name: x.cpu().tolist() for name, x in model.state_dict().items()}
    gradients = [p.grad.cpu().tolist() for p in model.parameters()]
    return values, state, gradients, call


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_training_is_the_same_to_the_bit(place, optimiser):
    *wanted, _ = training(place, OPTIMISERS[optimiser], compiled=False)
    *found, step = training(place, OPTIMISERS[optimiser], compiled=True)
    if place == "standin":
        assert found == wanted
    else:  # sums by atomic addition have no fixed order
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4)
    assert step.why() == []
    assert (step.replays, step.launches) == (6, 5)


@pytest.mark.parametrize("place", DEVICES)
def test_in_mixed_precision(place):
    *wanted, _ = training(place, OPTIMISERS["AdamW"], compiled=False, autocast=True)
    *found, step = training(place, OPTIMISERS["AdamW"], compiled=True, autocast=True)
    assert step.launches == 5
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-3)


@pytest.mark.skipif(simulated.why_not() is not None, reason=str(simulated.why_not()))
@pytest.mark.parametrize("autocast", [False, True])
def test_the_cuda_kernels_of_our_own_are_captured(monkeypatch, autocast):
    """The same with the CUDA sources, compiled for the processor: nothing that they are given is bound to one call."""
    monkeypatch.setitem(backend._by_device, "standin", simulated.BACKEND)
    monkeypatch.setitem(backend._by_type, standin.StandInArray, simulated.BACKEND)
    *wanted, _ = training("standin", OPTIMISERS["AdamW"], compiled=False, autocast=autocast)
    *found, step = training("standin", OPTIMISERS["AdamW"], compiled=True, autocast=autocast)
    assert found == wanted
    assert (step.why(), step.launches) == ([], 5)


def test_how_much_is_launched():
    """Forward and backward are one graph, whatever is in them; each operation of the host cuts it once."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).to("standin")

    def step(x):
        model.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss.detach()

    fast, counts = tg.compile(step), []
    x = tg.randn(3, 4).to("standin")
    for _ in range(6):
        before = standin_cuda.counted.launches
        fast(x)
        counts.append(standin_cuda.counted.launches - before)
    assert fast.why() == []
    assert counts[4] == counts[5] == 3  # the argument in, the graph, the result out
    assert counts[2] > 20


@pytest.mark.parametrize("count", [8, 9, 70])
@pytest.mark.parametrize("join", [tg.cat, tg.stack])
def test_many_arrays_are_joined_in_a_graph(join, count):
    """CuPy joins up to eight by themselves; of more it copies the addresses from the host, which cannot be captured."""
    fast = tg.compile(lambda x: join([x * i for i in range(count)], 1))
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], device="standin")
    wanted = join([x * i for i in range(count)], 1).tolist()
    assert [fast(x).tolist() for _ in range(5)] == [wanted] * 5
    assert (fast.launches, fast.why()) == (2, [])


def test_without_capture():
    fast = tg.compile(lambda x: x * 2, capture=False)
    x = tg.ones(2, device="standin")
    assert [fast(x).tolist() for _ in range(5)] == [[2.0, 2.0]] * 5
    assert (fast.replays, fast.launches, fast.why()) == (3, 0, [])


def test_on_the_cpu_nothing_is_captured():
    fast = tg.compile(lambda x: x * 2)
    assert [fast(tg.ones(2)).tolist() for _ in range(5)] == [[2.0, 2.0]] * 5
    assert (fast.replays, fast.launches, fast.why()) == (3, 0, [])


def test_other_shapes_have_graphs_of_their_own():
    fast = tg.compile(lambda x: x * x + 1)
    for n in (2, 3, 2, 3, 2, 3, 2, 3, 2, 3):
        x = tg.full((n,), float(n), device="standin")
        assert fast(x).tolist() == [n * n + 1.0] * n
    assert (fast.replays, fast.launches, fast.why()) == (6, 4, [])


def test_parameters_with_other_memory_are_captured_anew_and_then_no_more():
    w = tg.ones(2, device="standin")
    fast = tg.compile(lambda x: w * x)
    x = tg.full((2,), 3.0, device="standin")
    for _ in range(4):
        fast(x)
    assert fast.launches == 1
    for turn in range(2, 8):
        w.data = tg.full((2,), float(turn), device="standin")
        assert fast(x).tolist() == [3.0 * turn] * 2
    assert fast.launches == 1 + 3
    assert "other memory again and again" in fast.why()[0]


def test_values_changed_in_place_between_replays_are_seen():
    w = tg.ones(2, device="standin")
    fast = tg.compile(lambda x: w * x)
    x = tg.full((2,), 3.0, device="standin")
    for turn in range(6):
        assert fast(x).tolist() == [3.0 * (turn + 1)] * 2
        w.add_(1.0)
    assert fast.launches == 3


def counted():
    """A buffer that is replaced at every call, one that is changed in place, and a gradient that grows."""
    w = tg.full((2,), 2.0, device="standin").requires_grad_()
    box = nn.Module()
    box.register_buffer("seen", tg.zeros(2, device="standin"))
    box.register_buffer("sum", tg.zeros(2, device="standin"))

    def step(x):
        before = box.seen
        box.seen.data = before + 1
        box.sum += x
        (w * x).sum().backward()
        return box.seen * 10, before * 1

    return w, box, step


def test_state_that_the_step_leaves():
    found = []
    for compiled in (False, True):
        w, box, step = counted()
        call = tg.compile(step) if compiled else step
        rows = []
        for turn in range(7):
            ten, before = call(tg.full((2,), float(turn), device="standin"))
            rows.append([x.tolist() for x in (ten, before, box.seen, box.sum, w.grad)])
        found.append(rows)
        if compiled:
            assert call.why() == []
            assert call.launches == 4
    assert found[0] == found[1]


def with_values_of_the_host():
    """A table of so many bytes that the kernel copies it from the host every time."""
    line = tg.arange(70_000.0).reshape(1, 1, -1).to("standin")
    return lambda x: F.interpolate(line * x, scale_factor=2, mode="linear").amax()


def resized():
    table = tg.arange(4.0).reshape(1, 1, 2, 2).to("standin")
    return lambda x: F.interpolate(table * x, scale_factor=2, mode="bilinear").sum()


def test_small_tables_are_copied_once_and_can_be_captured():
    fast, step = tg.compile(resized()), resized()
    for turn in range(6):
        x = tg.full((1,), float(turn), device="standin")
        assert fast(x).item() == step(x).item()
    assert (fast.launches, fast.why()) == (3, [])


def test_an_index_of_the_host_s_leaves_the_step_as_it_is():
    fast = tg.compile(lambda x: x[[2, 0]])
    x = tg.tensor([1.0, 2.0, 3.0], device="standin")
    assert [fast(x).tolist() for _ in range(4)] == [[3.0, 1.0]] * 4
    assert fast.replays == 0
    assert fast.why()


def of_two_places():
    here = tg.full((1,), 2.0)
    return lambda x: (x * 2, here * 2)


def changing_its_argument():
    def step(x):
        x.mul_(1.0)
        return x * 2

    return step


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (with_values_of_the_host, "values of the host are copied"),
        (of_two_places, "several devices"),
        (changing_its_argument, "changes an argument"),
    ],
)
def test_what_cannot_be_captured_is_replayed_without(make, reason):
    step = make()
    fast = tg.compile(step)
    for turn in range(6):
        x = tg.full((1,), float(turn), device="standin")
        found, wanted = fast(x), step(x)
        for z, y in zip(
            found if isinstance(found, tuple) else [found], wanted if isinstance(found, tuple) else [wanted]
        ):
            assert z.tolist() == y.tolist()
    assert (fast.replays, fast.launches) == (4, 0)
    (told,) = fast.why()
    assert "without a CUDA graph" in told
    assert reason in told


def test_a_library_that_does_not_let_itself_be_captured(monkeypatch):
    """Nothing has been changed then, so the step is replayed without graphs: the optimiser steps once a call."""
    w = tg.ones(2, device="standin").requires_grad_()
    optimizer = optim.SGD([w], lr=0.5)

    def step(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    def refuse(self, mode=None):
        raise OSError("no plan for this")

    monkeypatch.setattr(standin_cuda.Stream, "begin_capture", refuse)
    fast = tg.compile(step)
    for _ in range(6):
        fast(tg.ones(2, device="standin"))
    assert w.tolist() == [-2.0, -2.0]
    assert (fast.replays, fast.launches) == (4, 0)
    assert fast.why() == ["replayed without a CUDA graph: OSError: no plan for this"]
    assert standin_cuda.using_allocator.stack == []


@pytest.mark.parametrize(
    "step",
    [lambda x: x * 2 if x.sum().item() > 0 else x * 3, lambda x: x + x.cpu().to("standin")],
    ids=["a number is read", "a Tensor goes to the host and back"],
)
def test_what_reads_on_the_host_is_left_as_it_is(step):
    fast = tg.compile(step)
    for turn in range(1, 6):
        x = tg.full((1,), float(turn), device="standin")
        assert fast(x).tolist() == step(x).tolist()
    assert (fast.replays, fast.launches) == (0, 0)
    assert fast.why()


def test_a_compiled_step_inside_of_a_graph_runs_as_it_is(cuda_stand_in):
    fast = tg.compile(lambda x: x * 2)
    x = tg.ones(2, device="cuda")
    for _ in range(5):
        fast(x)
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        z = fast(x)
    graph.replay()
    assert z.tolist() == [2.0, 2.0]
