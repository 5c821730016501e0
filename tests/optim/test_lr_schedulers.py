"""Schedules: their closed forms, continuing them, their errors."""

from __future__ import annotations

import json
import math

import pytest

import tensorgrad as tg
from tensorgrad.errors import StateError
from tensorgrad.optim import SGD, Adam
from tensorgrad.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, StepLR


def sgd(lr=1.0, **settings):
    return SGD([tg.zeros(1)], lr=lr, **settings)


def rates(scheduler, count):
    """The rates of the first group before any step, then after each."""
    found = [scheduler.optimizer.param_groups[0]["lr"]]
    for _ in range(count):
        scheduler.step()
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr()[0] == found[-1]
    return found


def test_lambda():
    assert rates(LambdaLR(sgd(0.5), lambda epoch: 1 / (1 + epoch)), 3) == [0.5, 0.25, 0.5 / 3, 0.125]


def test_lambda_for_each_group():
    optimizer = SGD([{"params": tg.zeros(1)}, {"params": tg.zeros(1), "lr": 4.0}], lr=1.0)
    scheduler = LambdaLR(optimizer, [lambda epoch: 1.0, lambda epoch: 0.5**epoch])
    scheduler.step()
    assert scheduler.get_last_lr() == [1.0, 2.0]
    with pytest.raises(ValueError, match="LambdaLR: got 1 functions for 2 groups; give one each"):
        LambdaLR(optimizer, [lambda epoch: 1.0])


def test_step():
    assert rates(StepLR(sgd(), 2, gamma=0.5), 5) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_cosine_is_its_closed_form_over_two_periods():
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(21)]
    assert rates(CosineAnnealingLR(sgd(), 5, eta_min=0.1), 20) == pytest.approx(expected)


def test_one_cycle_rises_and_falls_and_the_momentum_against_it():
    optimizer = sgd(momentum=0.9)
    scheduler = OneCycleLR(optimizer, 1.0, total_steps=10, pct_start=0.3)
    momenta = [optimizer.param_groups[0]["momentum"]]
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(9):
        scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
    assert found[0] == pytest.approx(1 / 25)
    assert found[1] == pytest.approx((1 + 1 / 25) / 2)  # half-way up the cosine
    assert found[2] == pytest.approx(1.0)
    assert found[9] == pytest.approx(1 / 25 / 1e4)
    assert sorted(found[2:], reverse=True) == found[2:]
    assert (momenta[0], momenta[2], momenta[9]) == pytest.approx((0.95, 0.85, 0.95))
    scheduler.step()
    with pytest.raises(ValueError, match="OneCycleLR: this is step 11 of 10; total_steps must be their number"):
        scheduler.step()


def test_one_cycle_in_three_phases_and_lines():
    found = rates(
        OneCycleLR(
            sgd(),
            1.0,
            epochs=2,
            steps_per_epoch=5,
            pct_start=0.3,
            anneal_strategy="linear",
            cycle_momentum=False,
            div_factor=5,
            final_div_factor=2,
            three_phase=True,
        ),
        9,
    )
    # up to step 2, down to step 4, to the end at step 9
    assert found == pytest.approx([0.2, 0.6, 1.0, 0.6, 0.2, 0.18, 0.16, 0.14, 0.12, 0.1])


def test_one_cycle_with_adam_moves_beta_one():
    optimizer = Adam([tg.zeros(1)])
    scheduler = OneCycleLR(optimizer, 0.1, total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    scheduler.step()
    scheduler.step()
    assert optimizer.param_groups[0]["betas"] == pytest.approx((0.85, 0.999))


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer, **more: LambdaLR(optimizer, lambda epoch: 0.9**epoch, **more),
        lambda optimizer, **more: StepLR(optimizer, 2, **more),
        lambda optimizer, **more: CosineAnnealingLR(optimizer, 4, **more),
        lambda optimizer, **more: OneCycleLR(optimizer, 1.0, total_steps=10, **more),
    ],
    ids=["lambda", "step", "cosine", "one cycle"],
)
def test_a_schedule_goes_on_from_a_saved_state(make):
    optimizer = sgd(momentum=0.9)
    scheduler = make(optimizer)
    rates(scheduler, 3)
    other_optimizer = sgd(momentum=0.9)
    other = make(other_optimizer)
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(json.loads(json.dumps(scheduler.state_dict())))
    continued = sgd(momentum=0.9)
    continued.load_state_dict(optimizer.state_dict())
    resumed = make(continued, last_epoch=2)
    assert rates(resumed, 4) == pytest.approx(rates(scheduler, 4))
    assert other.last_epoch == 3
    rates(other, 4)
    assert other.get_last_lr() == pytest.approx(scheduler.get_last_lr())


def test_errors():
    with pytest.raises(TypeError, match="StepLR: optimizer is a list; it must be an Optimizer"):
        StepLR([], 1)
    with pytest.raises(ValueError, match="group 0 of the optimiser has no 'initial_lr'; load its state first"):
        StepLR(sgd(), 1, last_epoch=3)
    with pytest.raises(ValueError, match="StepLR: step_size is 0"):
        StepLR(sgd(), 0)
    with pytest.raises(ValueError, match="CosineAnnealingLR: T_max is 0"):
        CosineAnnealingLR(sgd(), 0)
    with pytest.raises(ValueError, match="OneCycleLR: give total_steps, or both epochs and steps_per_epoch"):
        OneCycleLR(sgd(), 1.0, epochs=3)
    with pytest.raises(ValueError, match="OneCycleLR: total_steps is 0; it must be a whole number of at least 1"):
        OneCycleLR(sgd(), 1.0, total_steps=0)
    with pytest.raises(ValueError, match="pct_start is 2"):
        OneCycleLR(sgd(), 1.0, total_steps=5, pct_start=2)
    with pytest.raises(ValueError, match="anneal_strategy is 'exp'"):
        OneCycleLR(sgd(), 1.0, total_steps=5, anneal_strategy="exp")
    with pytest.raises(ValueError, match="got 2 values of max_lr for 1 groups"):
        OneCycleLR(sgd(), [1.0, 2.0], total_steps=5)
    with pytest.raises(StateError, match="the state holds more, step_sizes, which this scheduler does not know"):
        StepLR(sgd(), 1).load_state_dict({"step_sizes": 2, "more": 1})
    with pytest.raises(NotImplementedError):
        LRScheduler(sgd())
