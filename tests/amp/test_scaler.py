"""The scale of the loss: its trajectory beside PyTorch's, what is skipped, what is refused, and its state."""

import numpy
import pytest
import standin
import standin_cuda

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.amp import GradScaler
from tensorgrad.cuda.graphs import Capture
from tensorgrad.errors import GraphError, TensorgradError

OPTIMISERS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01}),
    ("Adagrad", {"lr": 0.01}),
]


def trajectory(t, scaler, optimiser, settings, bad_steps, steps=12):
    """A small regression with an infinity or nan put into the loss of some steps; scales and weights after each."""
    w = t.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
    b = t.tensor([0.1, 0.2], requires_grad=True)
    optimizer = getattr(t.optim, optimiser)([w, b], **settings)
    x = t.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0]])
    rows = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = ((x @ w + b) ** 2).mean() * bad_steps.get(step, 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        rows.append([scaler.get_scale(), scaler._get_growth_tracker(), *w.detach().reshape(-1).tolist(), *b.tolist()])
    return rows, scaler.state_dict()


@pytest.mark.oracle
@pytest.mark.parametrize(("optimiser", "settings"), OPTIMISERS)
def test_trajectory_as_in_pytorch(optimiser, settings):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    bad_steps = {2: float("inf"), 3: float("nan"), 8: float("-inf")}
    arguments = {"init_scale": 2.0**10, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 2}
    theirs, their_state = trajectory(torch, torch.amp.GradScaler("cpu", **arguments), optimiser, settings, bad_steps)
    ours, our_state = trajectory(tg, GradScaler("cpu", **arguments), optimiser, settings, bad_steps)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert our_state == their_state


@pytest.mark.oracle
def test_a_scale_that_would_overflow_stays():
    torch = pytest.importorskip("torch")
    arguments = {"init_scale": 2.0**126, "growth_interval": 1}
    found = []
    for t, scaler in ((torch, torch.amp.GradScaler("cpu", **arguments)), (tg, GradScaler("cpu", **arguments))):
        w = t.ones(1, requires_grad=True)
        optimizer = t.optim.SGD([w], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            scaler.scale((w * 1e-3).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            found.append((t, scaler.get_scale()))
    assert [scale for t, scale in found if t is tg] == [scale for t, scale in found if t is torch]


@pytest.mark.parametrize("place", ["cpu", "standin", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_step_is_skipped_and_the_state_of_the_optimiser_stays(place):
    w = tg.ones(3, device=place).requires_grad_()
    optimizer = tg.optim.Adam([w], lr=0.1)
    scaler = GradScaler(place, init_scale=8.0, growth_interval=2)
    scales = []
    for factor in (1.0, float("inf"), 1.0, 1.0):
        before = w.detach().cpu().tolist(), optimizer.state[w].get("step", 0)
        optimizer.zero_grad()
        scaler.scale((w * factor).sum()).backward()
        done = scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        assert done is None
        after = w.detach().cpu().tolist(), optimizer.state[w].get("step", 0)
        assert (before == after) is (factor != 1.0)
    assert scales == [8.0, 4.0, 4.0, 8.0]


def test_the_gradients_can_be_clipped_between():
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=1.0)
    scaler = GradScaler("cpu", init_scale=256.0)
    scaler.scale((w * w / 2).sum()).backward()
    assert w.grad.tolist() == [768.0, 1024.0]
    scaler.unscale_(optimizer)
    assert w.grad.tolist() == [3.0, 4.0]
    nn.utils.clip_grad_norm_([w], 1.0)
    scaler.step(optimizer)
    scaler.update()
    numpy.testing.assert_allclose(w.detach().numpy(), [2.4, 3.2], rtol=1e-5)


def test_two_optimisers_share_a_scale():
    """One meets an infinity and is skipped, the other is not; the scale goes down for both."""
    a, b = tg.ones(1, requires_grad=True), tg.ones(1, requires_grad=True)
    first, second = tg.optim.SGD([a], lr=1.0), tg.optim.SGD([b], lr=1.0)
    scaler = GradScaler("cpu", init_scale=4.0)
    losses = scaler.scale([a.sum(), b.sum() * float("inf")])
    assert isinstance(losses, list)
    for loss in losses:
        loss.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert (a.item(), b.item(), scaler.get_scale()) == (0.0, 1.0, 2.0)


def test_small_gradients_survive_in_float16():
    """What the scale is for: 2^-26 is 0 in float16, and 2^-10 is not."""
    w = tg.ones(1, 1, requires_grad=True)

    def gradient(scaler):
        w.grad = None
        with tg.autocast("cpu", tg.float16):
            z = tg.ones(1, 1) @ w
        scaler.scale(z.float() * 2.0**-26).sum().backward()
        return w.grad.item()

    assert gradient(GradScaler("cpu", enabled=False)) == 0.0
    scaler = GradScaler("cpu", init_scale=2.0**16)
    assert gradient(scaler) == 2.0**-10
    optimizer = tg.optim.SGD([w], lr=1.0)
    scaler.unscale_(optimizer)
    assert w.grad.item() == 2.0**-26


def test_switched_off_everything_passes_through():
    w = tg.ones(1, requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.5)
    scaler = GradScaler("cpu", enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    assert scaler.step(optimizer, closure=lambda: 7.0) == 7.0
    scaler.update()
    assert (w.item(), scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (0.5, 1.0, {}, False)
    scaler.load_state_dict({})


def test_the_state_goes_on_to_the_bit():
    def steps(scaler, count, start=0):
        scales = []
        w = tg.ones(1, requires_grad=True)
        optimizer = tg.optim.SGD([w], lr=0.1)
        for step in range(start, start + count):
            optimizer.zero_grad()
            scaler.scale((w * (float("inf") if step % 5 == 4 else 1.0)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        return scales

    arguments = {"init_scale": 7.0, "growth_factor": 1.5, "growth_interval": 3}
    whole = steps(GradScaler("cpu", **arguments), 20)
    first = GradScaler("cpu", **arguments)
    begun = steps(first, 7)
    for second in (GradScaler("cpu"), GradScaler("cpu")):
        if second.is_enabled() and second.get_scale() == 2.0**16:
            steps(second, 1)  # one that has been used already
        second.load_state_dict(first.state_dict())
        assert second.state_dict() == first.state_dict()
        assert begun + steps(second, 13, 7) == whole


def test_settings():
    scaler = GradScaler("cpu")
    assert (
        scaler.get_scale(),
        scaler.get_growth_factor(),
        scaler.get_backoff_factor(),
        scaler.get_growth_interval(),
    ) == (
        65536.0,
        2.0,
        0.5,
        2000,
    )
    scaler.set_growth_factor(4.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(5)
    assert scaler.state_dict() == {
        "scale": 65536.0,
        "growth_factor": 4.0,
        "backoff_factor": 0.25,
        "growth_interval": 5,
        "_growth_tracker": 0,
    }
    scaler.scale(tg.ones(1))
    scaler.update(tg.tensor(3.0))
    assert scaler.get_scale() == 3.0
    scaler.update(5.0)
    assert scaler.get_scale() == 5.0


def used():
    """A scaler and an optimiser after backward."""
    w = tg.ones(1, requires_grad=True)
    scaler = GradScaler("cpu")
    scaler.scale(w.sum()).backward()
    return scaler, tg.optim.SGD([w], lr=0.1)


def twice_unscaled():
    scaler, optimizer = used()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)


def unscaled_after_step():
    scaler, optimizer = used()
    scaler.step(optimizer)
    scaler.unscale_(optimizer)


def twice_stepped():
    scaler, optimizer = used()
    scaler.step(optimizer)
    scaler.step(optimizer)


def with_closure():
    scaler, optimizer = used()
    scaler.step(optimizer, closure=lambda: 1.0)


def without_gradients():
    scaler, optimizer = used()
    optimizer.zero_grad()
    scaler.step(optimizer)


def in_float16():
    w = tg.ones(1, dtype=tg.float16, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    scaler.step(tg.optim.SGD([w], lr=0.1))


REFUSED = [
    (twice_unscaled, RuntimeError, "once a step"),
    (unscaled_after_step, RuntimeError, "after step"),
    (twice_stepped, RuntimeError, "already|has been called"),
    (with_closure, RuntimeError, "closure"),
    (without_gradients, RuntimeError, "no parameter of the optimiser has a gradient"),
    (in_float16, ValueError, "float16"),
    (lambda: GradScaler("cpu", growth_factor=1.0), ValueError, "growth_factor"),
    (lambda: GradScaler("cpu", backoff_factor=1.0), ValueError, "backoff_factor"),
    (lambda: GradScaler("cpu").scale(3), ValueError, "Tensor"),
    (lambda: GradScaler("cpu").update(), RuntimeError, "nothing was scaled"),
    (lambda: used()[0].update(), RuntimeError, "no step was made"),
    (lambda: used()[0].update(tg.ones(2)), ValueError, "new_scale"),
    (lambda: GradScaler("cpu").unscale_(tg.optim.SGD([tg.ones(1)], lr=1.0)), RuntimeError, "nothing was scaled"),
    (lambda: GradScaler("cpu").load_state_dict({}), RuntimeError, "no _growth_tracker"),
    (lambda: GradScaler("cpu").load_state_dict(5), TypeError, "dict"),
]


@pytest.mark.parametrize(("action", "error", "text"), REFUSED)
def test_refused(action, error, text):
    with pytest.raises(error, match=text) as found:
        action()
    assert isinstance(found.value, TensorgradError)


def test_without_a_gpu_it_warns_and_is_off():
    if tg.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.warns(UserWarning, match="GradScaler is off"):
        scaler = GradScaler()
    assert not scaler.is_enabled()


@pytest.mark.parametrize("place", ["cpu", "standin", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("kind", [tg.optim.SGD, tg.optim.Adam])
def test_in_a_compiled_step(place, clipped, kind):
    """What the scaler does is done in Python between the graphs: a step is skipped, the scale moves, as without compiling."""
    found = []
    for compiled in (False, True):
        w, b = tg.ones(3, device=place).requires_grad_(), tg.zeros(3, device=place).requires_grad_()
        optimizer = kind([w, b], lr=0.1)
        scaler = GradScaler(place, init_scale=8.0, growth_interval=2)

        def step(x, w=w, b=b, optimizer=optimizer, scaler=scaler):
            optimizer.zero_grad()
            loss = (w * x + b).sum()
            scaler.scale(loss).backward()
            if clipped:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_([w, b], 0.5)
            scaler.step(optimizer)
            scaler.update()
            return loss.detach()

        call = tg.compile(step) if compiled else step
        rows = []
        for factor in (1.0, 2.0, float("inf"), 3.0, 1.0, float("nan"), 2.0, 1.0):
            with numpy.errstate(all="ignore"):
                loss = call(tg.full((3,), factor, device=place))
            rows.append(
                (
                    str(loss.item()),
                    w.tolist(),
                    b.tolist(),
                    w.grad.tolist() if factor == 3.0 else None,
                    scaler.state_dict(),
                )
            )
        found.append(rows)
        if compiled:
            assert (call.why(), call.replays) == ([], 6)
            assert call.launches == (0 if place == "cpu" else 5)
    assert found[0] == found[1]
    assert {row[-1]["scale"] for row in found[0]} == {8.0, 16.0}


def test_a_scaler_in_a_graph_of_one_s_own_is_refused():
    """Forward and backward may be captured; the scaler's step, which reads on the host, stays outside."""
    w = tg.ones(3, device="standin").requires_grad_()
    optimizer, scaler = tg.optim.SGD([w], lr=0.1), GradScaler("standin", init_scale=8.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(
        GraphError, match=r"GradScaler.step.*leave it out of the captured part, or use tensorgrad.compile"
    ):
        with Capture(standin.standin, standin_cuda.MemoryPool()):
            scaler.step(optimizer)
    with Capture(standin.standin, standin_cuda.MemoryPool()) as capture:
        w.grad = None
        scaler.scale((w * 2).sum()).backward()
    capture.graph.launch()
    assert w.grad.tolist() == [16.0] * 3
    scaler.step(optimizer)
    scaler.update()
    numpy.testing.assert_allclose(w.tolist(), [0.8] * 3, rtol=1e-6)
