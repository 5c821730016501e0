"""Optimisers: their formulas by hand, their rules, their errors, on every device."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.errors import StateError
from tensorgrad.optim import SGD, Adam, AdamW, Optimizer

MAKERS = {
    "sgd": lambda params: SGD(params, lr=0.1),
    "momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "nesterov": lambda params: SGD(params, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda params: Adam(params, lr=0.1, weight_decay=0.1),
    "amsgrad": lambda params: Adam(params, lr=0.1, amsgrad=True, maximize=True),
    "adamw": lambda params: AdamW(params, lr=0.1),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def leaf(*values, device="cpu", dtype=tg.float64):
    return tg.tensor(values, dtype=dtype, device=device, requires_grad=True)


def steps(optimizer, w, gradients):
    """The values after each step along the given gradients."""
    found = []
    for gradient in gradients:
        w.grad = tg.tensor(gradient, dtype=w.dtype, device=w.device)
        optimizer.step()
        found.append(w.tolist())
    return found


# by hand


def test_sgd_by_hand(device):
    w = leaf(1.0, -2.0, device=device)
    assert steps(SGD([w], lr=0.5), w, [[1.0, 2.0]]) == [[0.5, -3.0]]
    w = leaf(1.0, device=device)
    # v: 1, 0.5 * 1 + 1 = 1.5, 0.5 * 1.5 + 1 = 1.75
    assert steps(SGD([w], lr=1.0, momentum=0.5), w, [[1.0]] * 3) == [[0.0], [-1.5], [-3.25]]
    w = leaf(1.0, device=device)
    # the first step is not dampened; v: 1, 0.5 + 0.75 = 1.25
    assert steps(SGD([w], lr=1.0, momentum=0.5, dampening=0.25), w, [[1.0]] * 2) == [[0.0], [-1.25]]
    w = leaf(1.0, device=device)
    # g + 0.5 v: 1.5, then v = 1.5 and 1 + 0.75
    assert steps(SGD([w], lr=1.0, momentum=0.5, nesterov=True), w, [[1.0]] * 2) == [[-0.5], [-2.25]]
    w = leaf(2.0, device=device)
    assert steps(SGD([w], lr=0.5, weight_decay=0.25), w, [[1.0]]) == [[1.25]]  # 2 - 0.5 (1 + 0.5)
    w = leaf(2.0, device=device)
    assert steps(SGD([w], lr=0.5, maximize=True), w, [[1.0]]) == [[2.5]]


def test_adam_by_hand(device):
    """The first step is lr in the direction of the gradient, whatever its size; the second is worked out."""
    w = leaf(1.0, 1.0, device=device)
    first, second = steps(Adam([w], lr=0.1, betas=(0.5, 0.75), eps=0.0), w, [[3.0, -1e-3], [1.0, 0.0]])
    assert first == pytest.approx([0.9, 1.1])
    m, v = (0.5 * 1.5 + 0.5) / 0.75, (0.75 * 0.25 * 9 + 0.25) / (1 - 0.75**2)
    assert second[0] == pytest.approx(first[0] - 0.1 * m / math.sqrt(v))


def test_weight_decay_of_adam_and_adamw(device):
    w = leaf(2.0, device=device)
    assert steps(AdamW([w], lr=0.1, weight_decay=0.5, eps=0.0), w, [[1.0]])[0] == pytest.approx([2.0 * 0.95 - 0.1])
    w = leaf(2.0, device=device)
    # the decay turns the gradient round: 1 - 0.75 * 2 < 0
    assert steps(Adam([w], lr=0.1, weight_decay=-0.0, eps=0.0), w, [[1.0]])[0] == pytest.approx([1.9])
    w = leaf(2.0, device=device)
    assert steps(Adam([w], lr=0.1, weight_decay=0.75, eps=0.0), w, [[-1.0]])[0] == pytest.approx([1.9])


def test_amsgrad_keeps_the_largest_second_moment(device):
    w = leaf(0.0, device=device)
    found = steps(Adam([w], lr=1.0, betas=(0.0, 0.0), eps=0.0, amsgrad=True), w, [[4.0], [1.0]])
    assert [value for (value,) in found] == pytest.approx([-1.0, -1.25])


# rules for all of them


@every_optimizer
def test_a_minimum_is_found(make, device):
    maximize = make([leaf(0.0)]).defaults["maximize"]
    w = leaf(3.0, -2.0, device=device, dtype=tg.float32)
    optimizer = make([w])
    target = tg.tensor([1.0, 0.5], device=device)
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((w - target) ** 2).sum()
        (-loss if maximize else loss).backward()
        optimizer.step()
    # weight decay of 0.1 moves the minimum of (w - t)^2 to t / 1.05
    np.testing.assert_allclose(w.tolist(), [1.0, 0.5], atol=0.06)


@every_optimizer
def test_float32_stays_float32_with_settings_of_numpy(make):
    w = leaf(1.0, 2.0, dtype=tg.float32)
    optimizer = make([w])
    for group in optimizer.param_groups:
        for key in ("lr", "weight_decay", "momentum", "eps"):
            if key in group:
                group[key] = np.float64(group[key])
    array = w.array
    steps(optimizer, w, [[0.5, 0.5]] * 3)
    assert w.array is array
    assert w.dtype == tg.float32
    for state in optimizer.state.values():
        assert {value.dtype for value in state.values() if isinstance(value, tg.Tensor)} <= {tg.dtypes.float32}


@every_optimizer
def test_the_gradient_and_other_parameters_stay_as_they_are(make):
    w, other = leaf(1.0, 2.0), leaf(5.0)
    optimizer = make([w, other])
    w.grad = gradient = tg.tensor([0.5, -1.0], dtype=tg.float64)
    optimizer.step()
    optimizer.step()
    assert w.grad is gradient
    assert gradient.tolist() == [0.5, -1.0]
    assert other.tolist() == [5.0]
    assert other not in optimizer.state


@every_optimizer
def test_a_single_number_can_be_trained(make):
    w = tg.tensor(2.0, requires_grad=True)
    optimizer = make([w])
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).backward()
        optimizer.step()
    assert w.shape == ()
    assert w.item() != 2.0


@every_optimizer
def test_a_step_is_a_change_in_place_that_older_graphs_notice(make):
    w = leaf(1.0, 2.0)
    optimizer = make([w])
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"changed in place by (SGD|Adam|AdamW).step"):
        loss.backward()


@every_optimizer
def test_training_goes_on_from_a_saved_state(make):
    gradients = [[0.5, -1.0], [0.25, 2.0], [1.0, 1.0], [-0.5, 0.1]]
    w = leaf(1.0, 2.0)
    optimizer = make([w])
    steps(optimizer, w, gradients[:2])
    twin = leaf(*w.tolist())
    other = make([twin])
    state = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other.load_state_dict(copy.deepcopy(state))
    assert steps(other, twin, gradients[2:]) == steps(optimizer, w, gradients[2:])


def test_a_loaded_state_is_a_copy_in_the_parameters_dtype_and_place():
    w = leaf(1.0)
    optimizer = Adam([w])
    steps(optimizer, w, [[1.0]])
    target = Adam([leaf(1.0, dtype=tg.float32, device="standin")])
    state = optimizer.state_dict()
    target.load_state_dict(state)
    (held,) = target.state.values()
    assert (held["exp_avg"].dtype, held["exp_avg"].device.type) == (tg.float32, "standin")
    assert held["step"] == 1
    assert state["param_groups"] == [{**optimizer.param_groups[0], "params": [0]}]


def test_a_state_that_does_not_fit_changes_nothing():
    optimizer = SGD([leaf(1.0), leaf(1.0, 2.0)], lr=0.5, momentum=0.9)
    with pytest.raises(
        StateError, match=r"the state has groups of \[1\] parameters; this optimiser has groups of \[2\]"
    ):
        optimizer.load_state_dict(SGD([leaf(1.0)]).state_dict())
    other = SGD([leaf(1.0), leaf(1.0)], lr=0.25, momentum=0.9)
    for p in other.param_groups[0]["params"]:
        p.grad = tg.ones(1, dtype=tg.float64)
    other.step()
    with pytest.raises(
        StateError, match=r"'momentum_buffer' of parameter 1 has shape \(1,\); the parameter has \(2,\)"
    ):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert not optimizer.state
    with pytest.raises(StateError, match="it needs 'state' and 'param_groups'"):
        optimizer.load_state_dict({})
    state = other.state_dict()
    state["state"][9] = {}
    with pytest.raises(StateError, match="a parameter 9 that is in none of its groups"):
        other.load_state_dict(state)


def test_groups_have_settings_of_their_own():
    a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
    optimizer = SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.25)
    optimizer.add_param_group({"params": [c], "weight_decay": 1.0})
    for p in (a, b, c):
        p.grad = tg.ones(1, dtype=tg.float64)
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.75, 0.5, 0.5]
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert a.item() == -0.25


def test_parameters_with_their_names():
    layer = nn.Linear(1, 1)
    optimizer = SGD(layer.named_parameters())
    (group,) = optimizer.param_groups
    assert group["params"] == [layer.weight, layer.bias]
    assert group["param_names"] == ["weight", "bias"]


def test_zero_grad():
    w = leaf(1.0)
    optimizer = SGD([w])
    (w * w).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0]
    optimizer.zero_grad()
    assert w.grad is None


def test_a_closure_is_called_with_recording_on_and_its_loss_returned():
    w = leaf(1.0)
    optimizer = SGD([w], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert w.tolist() == [0.5]


def test_repr_shows_the_groups():
    assert (
        repr(SGD([leaf(1.0)], lr=0.5))
        == """\
SGD (
Parameter Group 0
    dampening: 0.0
    lr: 0.5
    maximize: False
    momentum: 0.0
    nesterov: False
    weight_decay: 0.0
)"""
    )


# errors


def test_settings_out_of_range():
    w = leaf(1.0)
    for make, message in [
        (lambda: SGD([w], lr=-1), "SGD: lr is -1; it must be at least 0"),
        (lambda: SGD([w], lr=float("nan")), "SGD: lr is nan"),
        (lambda: SGD([w], momentum=-0.5), "SGD: momentum is -0.5"),
        (
            lambda: SGD([w], nesterov=True),
            "SGD: nesterov with momentum 0.0 and dampening 0.0; it needs a momentum above 0",
        ),
        (lambda: Adam([w], betas=(0.9, 1.0)), r"Adam: betas\[1\] is 1.0; it must be at least 0 and below 1"),
        (lambda: Adam([w], eps=-1), "Adam: eps is -1"),
        (lambda: AdamW([w], weight_decay=-1), "AdamW: weight_decay is -1"),
        (lambda: SGD([{"params": [w], "lr": -2}]), "SGD: lr is -2"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match=r"SGD: lr is '0.1'; it must be a number"):
        SGD([w], lr="0.1")
    with pytest.raises(TypeError, match=r"Adam: betas is 0.9; it must be a pair of numbers"):
        Adam([w], betas=0.9)


def test_parameters_that_cannot_be_optimised():
    w = leaf(1.0)
    for params, kind, message in [
        ([], ValueError, "SGD: got no parameters; was the model's list already used up?"),
        (w, TypeError, "SGD: params is one Tensor; give a list of them"),
        ({w}, TypeError, "SGD: params is a set, whose order changes"),
        (3, TypeError, "SGD: params is a int; give a list"),
        (nn.Linear(1, 1), TypeError, r"SGD: params is a Linear; give a list .*, as model.parameters\(\) does"),
        ([1.0], TypeError, "SGD: parameter 0 is a float; it must be a Tensor"),
        ([w, w * 2], ValueError, r"SGD: parameter 1, of shape \(1,\), is the result of Multiply; only leaves"),
        ([w, w], ValueError, r"SGD: parameter 1, of shape \(1,\), is given more than once"),
        ([{"params": [w]}, {"params": [w]}], ValueError, "is given more than once"),
        ([{"lr": 1.0}], TypeError, "it must be a dict with 'params'"),
        ([{"params": {w}}], TypeError, "the params of a group are a set"),
    ]:
        with pytest.raises(kind, match=message):
            SGD(params)


def test_the_base_names_what_is_missing():
    w = leaf(1.0)
    w.grad = tg.ones(1, dtype=tg.float64)
    with pytest.raises(NotImplementedError):
        Optimizer([w], {}).step()


@every_optimizer
def test_a_network_trains_alike_on_every_device(make, device):
    """Five steps of LeNet's parts on the device against the same on the CPU."""

    def train(place):
        tg.manual_seed(2)
        net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1, padding_mode="reflect"),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 2),
            nn.Tanh(),
            nn.AvgPool2d(2, 1),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
        net.double().to(place)
        optimizer = make(net.parameters())
        x = tg.randn(6, 1, 8, 8, dtype=tg.float64).to(place)
        y = tg.tensor([0, 1, 2, 0, 1, 2], device=place)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss(label_smoothing=0.1)(net(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses, [p.detach().cpu().numpy() for p in net.parameters()]

    losses, parameters = train(device)
    expected_losses, expected_parameters = train("cpu")
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-7)
    for found, expected in zip(parameters, expected_parameters):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_keeps_the_largest_only_for_amsgrad(amsgrad):
    w = tg.ones(2, requires_grad=True)
    adam = tg.optim.Adam([w], amsgrad=amsgrad)
    w.sum().backward()
    adam.step()
    assert set(adam.state[w]) == {"step", "exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else [])}
