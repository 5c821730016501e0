"""`tensorgrad.compile`: a replayed step computes, to the last bit, what the step itself computes."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F
from tensorgrad import optim

RANDOM = np.random.default_rng(0)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, x):
        return (x + self.body(x)).relu()


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def mlp():
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 5)), (7, 20)


def dropping():
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 5)), (7, 20)


def dropping_in_place():
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(inplace=True), nn.Dropout(0.3, inplace=True), nn.Linear(16, 5)), (
        7,
        20,
    )


def lenet():
    layers = [nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5), nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(150, 12), nn.ReLU(), nn.Linear(12, 5)), (4, 1, 32, 32)


def resnet():
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), Residual(4), nn.MaxPool2d(2), Residual(4)]
    return nn.Sequential(*layers, Mean(), nn.Linear(4, 5)), (3, 3, 8, 8)


def sgd(parameters):
    return optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3)


def adam(parameters):
    return optim.Adam(parameters, lr=0.01)


def train(build, make_optimizer, compiled, steps=20, dtype="float32", schedule=False):
    """The losses, parameters and buffers after so many steps on changing batches, and the step."""
    tg.manual_seed(3)
    model, shape = build()
    model.to(dtype=dtype)
    optimizer = make_optimizer(model.parameters())
    scheduler = optim.lr_scheduler.StepLR(optimizer, 3, 0.5) if schedule else None
    random = np.random.default_rng(1)

    def step(x, t):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        return loss

    call = tg.compile(step) if compiled else step
    losses = []
    for _ in range(steps):
        x, t = tg.tensor(random.standard_normal(shape).astype(dtype)), tg.tensor(random.integers(0, 5, shape[0]))
        losses.append(call(x, t).detach().numpy().copy())
    values = [p.detach().numpy() for p in (*model.parameters(), *model.buffers())]
    gradients = [p.grad.numpy() for p in model.parameters()]
    return losses, values, gradients, [p._version for p in model.parameters()], call


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs):
        np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make_optimizer", [sgd, adam])
@pytest.mark.parametrize("build", [mlp, lenet, resnet, dropping, dropping_in_place])
def test_twenty_steps_are_equal_to_the_last_bit(build, make_optimizer, dtype):
    *plain, _ = train(build, make_optimizer, False, dtype=dtype)
    *replayed, step = train(build, make_optimizer, True, dtype=dtype)
    assert step.why() == []
    assert step.replays == 18  # the first runs as it is, the second is recorded
    for ours, theirs in zip(replayed[:3], plain[:3]):
        assert_equal(ours, theirs)
    assert replayed[3] == plain[3], "the versions of the parameters"


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop"])
def test_every_optimizer_makes_its_own_step(name):
    def make(parameters):
        return getattr(optim, name)(parameters, lr=0.01)

    *plain, _ = train(mlp, make, False, steps=6)
    *replayed, step = train(mlp, make, True, steps=6)
    assert step.why() == [] and step.replays == 4
    assert_equal(replayed[1], plain[1])


def test_an_optimizer_that_calls_back_is_left_as_it_is():
    w = tg.ones(3, requires_grad=True)
    optimizer = optim.LBFGS([w], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = ((w - 3) ** 2).sum()
        loss.backward()
        return loss

    step = tg.compile(lambda: optimizer.step(closure))
    for _ in range(4):
        step()
    assert step.replays == 0 and "LBFGS.step is given arguments" in step.why()
    np.testing.assert_allclose(w.detach().numpy(), 3.0, rtol=1e-4)


def test_learning_rates_change_by_schedule_and_by_hand():
    *plain, _ = train(mlp, adam, False, schedule=True)
    *replayed, step = train(mlp, adam, True, schedule=True)
    assert step.replays == 18
    assert_equal(replayed[1], plain[1])

    w = tg.ones(2, requires_grad=True)
    optimizer = optim.SGD([w], lr=1.0)

    @tg.compile
    def descend():
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.step()

    for rate in (1.0, 1.0, 1.0, 0.5):
        optimizer.param_groups[0]["lr"] = rate
        descend()
    assert descend.replays == 2
    np.testing.assert_array_equal(w.detach().numpy(), [-2.5, -2.5])


def test_gradients_add_up_over_calls():
    x, w = tg.tensor([1.0, 2.0]), tg.ones(2, requires_grad=True)

    @tg.compile
    def step():
        (w * x).sum().backward()

    for count in range(1, 7):
        step()
        np.testing.assert_array_equal(w.grad.numpy(), [count, 2.0 * count])
    assert step.replays > 0


def test_running_statistics_move_and_counts_count():
    norm = nn.BatchNorm1d(3)
    step = tg.compile(lambda x: norm(x).sum().detach())
    twin = nn.BatchNorm1d(3)
    for _ in range(5):
        x = tg.tensor(RANDOM.standard_normal((4, 3)))
        norm.double(), twin.double()
        step(x), twin(x)
    assert step.replays == 3
    assert int(norm.num_batches_tracked) == 5
    assert_equal([norm.running_var.numpy()], [twin.running_var.numpy()])


def test_random_numbers_are_drawn_anew():
    step = tg.compile(lambda x: F.dropout(x))
    masks = {step(tg.ones(64)).numpy().tobytes() for _ in range(8)}
    assert step.replays == 6
    assert len(masks) == 8


def test_views_and_changes_in_place():
    buffer = tg.zeros(4)

    @tg.compile
    def step(x):
        row = buffer[1:3]
        row.mul_(0.5)
        row.add_(x)
        buffer[0] = x.sum()
        return buffer

    expected = np.zeros(4, np.float32)
    for number in range(5):
        x = np.array([number, 1.0], np.float32)
        expected[1:3] = expected[1:3] * 0.5 + x
        expected[0] = x.sum()
        assert step(tg.tensor(x)) is buffer
        np.testing.assert_array_equal(buffer.numpy(), expected)
    assert step.replays == 3


def test_a_module_in_inference():
    model, shape = lenet()
    fast = tg.compile(model.eval())
    with tg.no_grad():
        for _ in range(4):
            x = tg.tensor(RANDOM.standard_normal(shape).astype(np.float32))
            np.testing.assert_array_equal(fast(x).numpy(), model(x).numpy())
        assert fast.replays == 2
        model.train()  # a flag behind the step's variables: recorded anew
        fast(x), fast(x), fast(x)
    assert fast.replays == 4 and fast.why() == []


def test_results_keep_their_form_and_own_their_memory():
    step = tg.compile(lambda x: {"a": (x + 1, [x * 2, 3]), "b": None})
    results = [step(tg.tensor([float(n)])) for n in range(4)]
    assert step.replays == 2
    assert [r["a"][0].item() for r in results] == [1.0, 2.0, 3.0, 4.0]
    assert [r["a"][1][0].item() for r in results] == [0.0, 2.0, 4.0, 6.0]
    assert results[3]["a"][1][1] == 3 and results[3]["b"] is None and type(results[3]["a"]) is tuple


# what makes it record anew


@pytest.mark.parametrize(
    "first, second",
    [
        ((np.ones(3),), (np.ones(4),)),
        ((np.ones(3),), (np.ones(3, np.float32),)),
        ((np.ones((2, 3)),), (np.ones((3, 2)).T,)),
        ((np.ones(3), 2.0), (np.ones(3), 3.0)),
        ((np.ones(3), "a"), (np.ones(3), "b")),
    ],
    ids=["shape", "dtype", "memory-order", "number", "string"],
)
def test_other_arguments_are_recorded_for_themselves(first, second):
    def function(x, by=1.0):
        return x * 2 * (by if isinstance(by, float) else len(by))

    step = tg.compile(function)
    for arguments in (first, first, first, second, second, second, first):
        x = tg.tensor(arguments[0])
        if arguments[0].ndim == 2 and not arguments[0].flags.c_contiguous:
            x = tg.tensor(arguments[0].T.copy()).T.detach()
        found = step(x, *arguments[1:])
        np.testing.assert_array_equal(found.numpy(), function(tg.tensor(arguments[0]), *arguments[1:]).numpy())
    assert step.replays == 3


SCALE = 2.0


def test_variables_that_change_are_noticed():
    global SCALE
    settings = {"deep": [1.0, {"k": 5.0}]}
    offset = 1.0

    def step(x):
        return x * SCALE + offset + settings["deep"][1]["k"]

    def expected():
        return 3.0 * SCALE + offset + settings["deep"][1]["k"]

    fast, x = tg.compile(step), tg.tensor([3.0])
    changes = 0
    for change in (None, "global", "cell", "deep", None):
        if change == "global":
            SCALE = 7.0
        elif change == "cell":
            offset = -4.0
        elif change == "deep":
            settings["deep"][1]["k"] = 0.5
        changes += change is not None
        for _ in range(3):
            assert fast(x).item() == expected()
    SCALE = 2.0
    assert fast.replays == 15 - 1 - 1 - changes  # a first call, a recording, and one more for each change
    assert fast.why() == []


def test_control_flow_by_python_values_is_followed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.deep = False

        def forward(self, x):
            return x * 3 if self.deep else x + 1

    net = Net()
    fast = tg.compile(net)
    seen = []
    for deep in (False, False, False, True, True, False, True):
        net.deep = deep
        seen.append(fast(tg.tensor([5.0])).item())
    assert seen == [6.0, 6.0, 6.0, 15.0, 15.0, 6.0, 15.0]
    assert fast.replays == 4


def test_globals_in_methods_and_values_of_classes_count():
    class Net(nn.Module):
        factor = 2.0

        def scaled(self, x):
            return x * SCALE * self.factor

        def forward(self, x):
            return self.scaled(x)

    global SCALE
    fast = tg.compile(Net())
    x = tg.ones(1)
    assert [fast(x).item() for _ in range(3)] == [4.0] * 3
    SCALE = 3.0
    assert [fast(x).item() for _ in range(3)] == [6.0] * 3
    Net.factor = 1.0
    assert [fast(x).item() for _ in range(3)] == [3.0] * 3
    SCALE = 2.0
    assert fast.replays == 1 + 2 + 2


def test_grad_mode_and_requires_grad_count():
    w = tg.ones(2, requires_grad=True)
    step = tg.compile(lambda: (w * 2).detach())
    for _ in range(3):
        step()
    with tg.no_grad():
        for _ in range(3):
            step()
    w.requires_grad = False
    for _ in range(3):
        step()
    assert step.replays == 1 + 1 + 2


def test_an_array_put_in_place_of_another_is_used():
    w = tg.ones(2)
    step = tg.compile(lambda x: x * w)
    for _ in range(3):
        step(tg.ones(2))
    w.data = tg.tensor([5.0, 6.0])
    assert step(tg.ones(2)).tolist() == [5.0, 6.0]
    w.data = tg.tensor([[7.0], [8.0]])  # of another shape: recorded anew
    assert step(tg.ones(2)).tolist() == [[7.0, 7.0], [8.0, 8.0]]
    assert step.replays == 2


# what leaves a step as it is


def _counter():
    count = [0]

    def step(x):
        count[0] += 1
        return x * count[0]

    return step


def _appending():
    found = []

    def step(x):
        found.append(x + 1)
        return x * len(found)

    return step


class Hooked(nn.Module):
    def forward(self, x):
        return x * 2


def _hooked():
    model = Hooked()
    model.register_forward_hook(lambda module, arguments, output: output + 1)
    return model


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: lambda x: x * x.sum().item(), "read on the host"),
        (lambda: lambda x: x if x.sum() > 0 else -x, "read on the host"),
        (lambda: lambda x: x * float(x[0]), "read on the host"),
        (lambda: lambda x: x + tg.tensor(x.numpy() * 2), "read on the host"),
        (lambda: lambda x: F.linear(tg.tensor([[1.0, 2.0, 3.0]]), x.reshape(1, 3)), "host"),
        (lambda: lambda x: x[x > 1.5], "depends on values"),
        (_counter, "changes"),
        (_appending, "changes"),
        (_hooked, "hooks"),
    ],
    ids=["item", "truth", "float", "numpy", "from-host", "mask", "counter", "list", "hooks"],
)
def test_what_cannot_be_replayed_is_left_as_it_is(make, reason):
    plain, step = make(), tg.compile(make())
    for number in range(5):
        x = tg.tensor([1.0 + number, 2.0, -1.0])
        np.testing.assert_array_equal(step(x).detach().numpy(), plain(x).detach().numpy(), strict=True)
    assert step.replays == 0
    assert reason in step.why()[0]


def test_what_can_still_go_backward_is_not_replayed():
    model, shape = lenet()
    step = tg.compile(model)
    x = tg.tensor(RANDOM.standard_normal(shape).astype(np.float32))
    gradients = []
    for _ in range(4):
        model.zero_grad()
        step(x).square().sum().backward()
        gradients.append(next(model.parameters()).grad.numpy().copy())
    assert step.replays == 0 and "backward" in step.why()[0]
    assert_equal(gradients, gradients[:1] * 4)


def test_an_argument_nobody_knows():
    step = tg.compile(lambda x, strange: x + strange.value)

    class Strange:
        value = 2.0

    assert [step(tg.zeros(1), Strange()).item() for _ in range(4)] == [2.0] * 4
    assert step.replays == 0 and "Strange" in step.why()[0]


def test_errors_pass_through_and_leave_nothing_behind():
    w = tg.ones(3, requires_grad=True)

    @tg.compile
    def step(x):
        return (w * x).detach()

    step(tg.ones(3))
    with pytest.raises(RuntimeError, match="multiply"):
        step(tg.ones(4)), step(tg.ones(4))
    assert type(w.array) is np.ndarray
    with pytest.raises(RuntimeError, match="multiply"):
        step(tg.ones(4))
    assert step(tg.ones(3)).tolist() == [1.0, 1.0, 1.0]


def test_a_class_that_does_not_exist_is_refused_by_replays_too():
    step = tg.compile(lambda x, t: F.cross_entropy(x, t))
    x = tg.zeros(2, 3)
    for _ in range(4):
        step(x, tg.tensor([0, 2]))
    assert step.replays == 2
    with pytest.raises(IndexError, match="class 7"):
        step(x, tg.tensor([0, 7]))


def test_a_compiled_step_inside_another():
    inner = tg.compile(lambda x: x * 2)
    outer = tg.compile(lambda x: inner(x) + 1)
    assert [outer(tg.tensor([float(n)])).item() for n in range(4)] == [1.0, 3.0, 5.0, 7.0]
    assert outer.replays == 2


def test_a_step_that_calls_a_method_of_its_own_name():
    # `optimizer.step` in the code is no use of the global `step`
    space = {"tg": tg, "w": tg.ones(2, requires_grad=True)}
    space["optimizer"] = optim.SGD([space["w"]], lr=1.0)
    exec(
        "def step():\n    optimizer.zero_grad()\n    w.sum().backward()\n    optimizer.step()\n\nstep = tg.compile(step)",
        space,
    )
    for _ in range(5):
        space["step"]()
    assert space["step"].replays == 3
    assert space["w"].tolist() == [-4.0, -4.0]


def test_what_a_partial_and_a_bound_method_hold_is_reached():
    import functools

    class Task:
        def __init__(self):
            self.scale = tg.tensor([2.0])
            self.by = 1.0

        def __call__(self, power, x):
            return x * self.scale * self.by + power

        def method(self, x):
            return self(3.0, x)

    task = Task()
    for step, power in ((tg.compile(functools.partial(task, 5.0)), 5.0), (tg.compile(task.method), 3.0)):
        task.by = 1.0
        for _ in range(3):
            assert step(tg.tensor([1.0])).item() == 2.0 + power
        task.by = 4.0
        assert step(tg.tensor([1.0])).item() == 8.0 + power
        assert step.replays == 1 and step.why() == []


def test_the_program_can_be_read():
    step = tg.compile(lambda x, y: (x * y).sum())
    for _ in range(3):
        step(tg.ones(2, 2), tg.ones(2, 2))
    assert "v2 = v0 * v1" in step.source()
    assert "sum" in step.source()


def test_nothing_but_a_function_is_taken():
    with pytest.raises(TypeError, match="it takes a function"):
        tg.compile(3)


def test_no_cycles_keep_the_arrays_alive():
    model, shape = mlp()
    gc.collect()
    gc.disable()
    try:
        import weakref

        step = tg.compile(lambda x: model(x).detach())
        result = [step(tg.ones(*shape)) for _ in range(4)][-1]
        watched = weakref.ref(result)
        del result
        assert watched() is None
    finally:
        gc.enable()
