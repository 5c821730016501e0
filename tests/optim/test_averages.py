"""Averages of weights, clipping of gradients, and what the newer optimisers and schedules refuse."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad import optim
from tensorgrad.optim import lr_scheduler, swa_utils


def test_exponential_average():
    model = nn.Linear(2, 1)
    average = swa_utils.AveragedModel(model, avg_fn=swa_utils.get_ema_avg_fn(0.9))
    expected = None
    for value in (1.0, 2.0, 4.0):
        model.weight.data.fill_(value)
        average.update_parameters(model)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    np.testing.assert_allclose(average.module.weight.detach(), expected, rtol=1e-6)
    assert int(average.n_averaged) == 3
    again = swa_utils.AveragedModel(nn.Linear(2, 1))
    again.load_state_dict(average.state_dict())
    np.testing.assert_allclose(again(tg.ones(1, 2)).detach(), average(tg.ones(1, 2)).detach())


def test_statistics_of_an_average_are_made_anew():
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    average.eval()
    batches = [tg.randn(16, 3) for _ in range(4)]
    swa_utils.update_bn([(x, 0) for x in batches], average)
    means = np.mean([model[0](x).detach().numpy().mean(0) for x in batches], 0)
    np.testing.assert_allclose(average.module[1].running_mean, means, rtol=1e-5, atol=1e-6)
    assert not average.training and average.module[1].momentum == 0.1


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_clipping_by_norm(norm_type, device):
    x, y = (tg.tensor(v).to(device).requires_grad_() for v in ([3.0, -4.0], [[12.0]]))
    unused = tg.ones(2, requires_grad=True)
    ((x * x).sum() / 2 + (y * y).sum() / 2).backward()
    values = np.array([3.0, -4.0, 12.0])
    total = nn.utils.clip_grad_norm_([x, y, unused], 1.0, norm_type)
    expected = np.linalg.norm(values, norm_type)
    np.testing.assert_allclose(total.cpu(), expected, rtol=1e-6)
    np.testing.assert_allclose(x.grad.cpu(), values[:2] / expected, rtol=1e-5)
    before = y.grad.cpu().numpy().copy()
    nn.utils.clip_grad_norm_(iter([x, y]), 100.0, norm_type)  # small enough: unchanged
    np.testing.assert_array_equal(y.grad.cpu(), before)


def test_clipping_by_value_and_refusals():
    x = tg.tensor([3.0, -4.0, 0.5], requires_grad=True)
    (x * x).sum().backward()
    nn.utils.clip_grad_value_(x, 2.0)
    assert x.grad.tolist() == [2.0, -2.0, 1.0]
    x.grad = tg.tensor([float("nan"), 0.0, 0.0])
    with pytest.raises(RuntimeError, match="total norm"):
        nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([tg.ones(1)], 1.0).item() == 0.0


def test_vectors():
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    nn.utils.vector_to_parameters(tg.arange(9.0), net.parameters())
    assert net.bias.tolist() == [6.0, 7.0, 8.0]


@pytest.mark.parametrize("name", ["Adagrad", "Adadelta", "RMSprop", "Adamax", "NAdam", "RAdam", "LBFGS"])
@pytest.mark.parametrize("device", ["cpu", "standin"])
def test_every_optimiser_saves_and_continues(name, device):
    def run(steps, state=None, w=None):
        w = tg.tensor([1.0, -2.0] if w is None else w).to(device).requires_grad_()
        optimizer = getattr(optim, name)([w])
        if state is not None:
            optimizer.load_state_dict(state)

        def closure():
            optimizer.zero_grad()
            loss = ((w - 3) ** 4).sum()
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)
        return w.detach().cpu().tolist(), optimizer.state_dict()

    whole, _ = run(6)
    half, state = run(3)
    rest, _ = run(3, state, half)
    np.testing.assert_allclose(rest, whole, rtol=1e-6)


def weights():
    return [tg.ones(2, requires_grad=True)]


def sgd():
    return optim.SGD(weights(), lr=1.0)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: optim.Adagrad(weights(), lr=-1), ValueError, "lr"),
        (lambda: optim.Adadelta(weights(), rho=2), ValueError, "rho"),
        (lambda: optim.RMSprop(weights(), alpha=-1), ValueError, "alpha"),
        (lambda: optim.NAdam(weights(), momentum_decay=-1), ValueError, "momentum_decay"),
        (lambda: optim.RAdam(weights(), betas=(1.0, 0.9)), ValueError, "betas"),
        (lambda: optim.LBFGS(weights(), line_search_fn="golden"), ValueError, "line_search_fn"),
        (lambda: optim.LBFGS([{"params": weights()}, {"params": weights()}]), ValueError, "groups"),
        (lambda: optim.LBFGS(weights()).step(), RuntimeError, "closure"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "factor"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd(), mode="least"), ValueError, "mode"),
        (lambda: lr_scheduler.ReduceLROnPlateau(sgd()).step(), TypeError, "figure"),
        (lambda: lr_scheduler.LinearLR(sgd(), start_factor=0), ValueError, "start_factor"),
        (lambda: lr_scheduler.CosineAnnealingWarmRestarts(sgd(), 0), ValueError, "T_0"),
        (lambda: lr_scheduler.CyclicLR(sgd(), 0.1, 1.0, mode="square"), ValueError, "mode"),
        (lambda: lr_scheduler.SequentialLR(sgd(), [], [1]), ValueError, "milestones"),
        (lambda: lr_scheduler.ChainedScheduler([]), ValueError, "no schedulers"),
        (lambda: swa_utils.SWALR(sgd(), 0.1, anneal_strategy="log"), ValueError, "anneal_strategy"),
        (lambda: swa_utils.get_ema_avg_fn(2.0), ValueError, "decay"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
