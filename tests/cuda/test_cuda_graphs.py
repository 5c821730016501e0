"""CUDA graphs: captured by hand, on a stand-in that computes nothing while it captures; the marker gpu is the real thing."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn.functional as F
from tensorgrad import nn, optim
from tensorgrad.errors import ArgumentError, GraphError

PLACES = ["cuda_stand_in", pytest.param("gpu", marks=pytest.mark.gpu)]


@pytest.fixture(params=PLACES)
def place(request):
    """The device 'cuda': the stand-in for it, and a GPU where there is one."""
    if request.param == "cuda_stand_in":
        request.getfixturevalue("cuda_stand_in")
    return request.param


def test_a_captured_forward_pass_is_replayed_on_its_memory(place):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).to("cuda")
    model.eval()
    first, second = tg.randn(2, 1, 6, 6).to("cuda"), tg.randn(2, 1, 6, 6).to("cuda")
    x = first.clone()
    with tg.no_grad():
        wanted = [model(first).cpu(), model(second).cpu()]  # also the warm-up
        graph = tg.cuda.CUDAGraph()
        with tg.cuda.graph(graph):
            assert tg.cuda.is_current_stream_capturing()
            z = model(x)
        assert not tg.cuda.is_current_stream_capturing()
        graph.replay()
        np.testing.assert_allclose(z.cpu().numpy(), wanted[0].numpy(), rtol=1e-5, atol=1e-6)
        x.copy_(second)
        graph.replay()
        np.testing.assert_allclose(z.cpu().numpy(), wanted[1].numpy(), rtol=1e-5, atol=1e-6)


def test_nothing_is_computed_while_capturing(cuda_stand_in):
    x = tg.ones(3, device="cuda")
    y = tg.zeros(3, device="cuda")
    graph = tg.cuda.CUDAGraph()
    with tg.cuda.graph(graph):
        y.add_(x)
        z = y * 2
    assert (y.tolist(), np.isnan(z.tolist()).all()) == ([0.0] * 3, True)
    for turn in (1.0, 2.0):
        before = cuda_stand_in.counted.launches
        graph.replay()
        assert cuda_stand_in.counted.launches == before + 1
        assert (y.tolist(), z.tolist()) == ([turn] * 3, [2 * turn] * 3)


def test_a_captured_training_step(place):
    """Forward, backward and SGD in one graph, against the same steps without one."""

    def network():
        tg.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).to("cuda")
        return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    batches = [(tg.randn(4, 3), tg.tensor([0, 1, 1, 0])) for _ in range(6)]

    def step(model, optimizer, x, t):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.detach()

    model, optimizer = network()
    wanted = [step(model, optimizer, x.to("cuda"), t.to("cuda")).item() for x, t in batches]

    captured, optimizer = network()
    x, t = batches[0][0].to("cuda"), batches[0][1].to("cuda")
    found = []
    for number, (images, labels) in enumerate(batches):
        x.copy_(images.to("cuda"))
        t.copy_(labels.to("cuda"))
        if number < 2:  # the warm-up: momenta are there afterwards
            found.append(step(captured, optimizer, x, t).item())
            continue
        if number == 2:
            graph = tg.cuda.CUDAGraph()
            with tg.cuda.graph(graph):
                loss = step(captured, optimizer, x, t)
        graph.replay()
        found.append(loss.item())
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for ours, theirs in zip(captured.parameters(), model.parameters()):
        np.testing.assert_allclose(ours.detach().cpu().numpy(), theirs.detach().cpu().numpy(), rtol=1e-4, atol=1e-6)


def _of_adam():
    w = tg.ones(2, device="cuda").requires_grad_()
    w.sum().backward()
    optim.Adam([w], lr=0.1).step()


REFUSED = {
    "a number": lambda x: x.sum().item(),
    "a truth": lambda x: bool(x.sum() > 0),
    "a print": lambda x: str(x),
    "a move": lambda x: x.cpu(),
    "a wait": lambda x: tg.cuda.synchronize(),
    "values of the host": lambda x: x + tg.tensor([1.0, 2.0], device="cuda"),
    "random numbers": lambda x: F.dropout(x, 0.5),
    "Adam": lambda x: _of_adam(),
    "another capture": lambda x: tg.cuda.graph(tg.cuda.CUDAGraph()).__enter__(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_captured_is_refused(what, place):
    x = tg.ones(2, device="cuda")
    graph = tg.cuda.CUDAGraph()
    with pytest.raises(GraphError, match=r"cuda\.graph|CUDA graph"), tg.cuda.graph(graph):
        REFUSED[what](x)
    assert not tg.cuda.is_current_stream_capturing()
    with pytest.raises(GraphError, match="nothing was captured"):
        graph.replay()
    assert (x + 1).tolist() == [2.0, 2.0]  # and everything works as before
    again = tg.cuda.CUDAGraph()
    with tg.cuda.graph(again):
        z = x * 3
    again.replay()
    assert z.tolist() == [3.0, 3.0]


def test_an_error_of_the_user_s_comes_through_as_it_is(place):
    with pytest.raises(ZeroDivisionError), tg.cuda.graph(tg.cuda.CUDAGraph()):
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="matmul"), tg.cuda.graph(tg.cuda.CUDAGraph()):
        tg.ones(2, 3, device="cuda") @ tg.ones(2, 3, device="cuda")


def test_wrong_use(place, tmp_path):
    graph = tg.cuda.CUDAGraph()
    for use in (graph.replay, lambda: graph.debug_dump(tmp_path / "graph.dot"), graph.capture_end):
        with pytest.raises(GraphError, match="nothing"):
            use()
    with pytest.raises(ArgumentError, match="CUDAGraph"):
        tg.cuda.graph(None)
    x = tg.ones(2, device="cuda")
    with tg.cuda.graph(graph, pool=tg.cuda.graph_pool_handle(), stream=tg.cuda.Stream()):
        z = x + 1
    graph.debug_dump(tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")
    with pytest.raises(GraphError, match="reset"), tg.cuda.graph(graph):
        z = x + 1
    assert graph.pool() is not None
    graph.reset()
    with tg.cuda.graph(graph):
        z = x + 2
    graph.replay()
    assert z.tolist() == [3.0, 3.0]


def test_another_thread_copies_from_the_host_meanwhile(cuda_stand_in):
    import threading

    found = []

    def other():
        found.append(tg.tensor([1.0, 2.0], device="cuda").tolist())

    with tg.cuda.graph(tg.cuda.CUDAGraph()):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [[1.0, 2.0]]
