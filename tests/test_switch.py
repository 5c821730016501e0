"""The switch between NumPy and CuPy: a whole training loop on the stand-in device, where every read by the host is refused."""

from __future__ import annotations

import numpy as np
import pytest
import standin

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.models import lenet5


def train(device: str, make_optimizer, steps: int = 3) -> tuple[list[float], dict[str, np.ndarray]]:
    """A few steps of LeNet-5 with batch normalisation and dropout before it; the losses and the state at the end."""
    tg.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(1), lenet5(activation=nn.ReLU, pooling=nn.MaxPool2d), nn.Dropout(0.1)).to(
        device
    )
    images = tg.randn(4, 1, 32, 32).to(device)
    labels = tg.tensor([3, 1, 4, 1]).to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = make_optimizer(model.parameters())
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for parameter in model.parameters():
        assert parameter.device.type == device and parameter.grad.device.type == device
    return losses, {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


OPTIMIZERS = {
    "SGD": lambda parameters: tg.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "AdamW": lambda parameters: tg.optim.AdamW(parameters, lr=1e-3),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_is_the_same_on_every_device(optimizer: str, device: str):
    losses, state = train(device, OPTIMIZERS[optimizer])
    expected_losses, expected = train("cpu", OPTIMIZERS[optimizer])
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-3)
    for name in expected:
        np.testing.assert_allclose(state[name], expected[name], rtol=2e-2, atol=2e-3, err_msg=name)


def test_evaluation_on_the_device(device):
    tg.manual_seed(0)
    model = lenet5().to(device).eval()
    with tg.no_grad():
        predicted = model(tg.randn(2, 1, 32, 32).to(device)).argmax(1)
    assert predicted.shape == (2,) and predicted.device.type == device


def test_a_forgotten_move_is_named():
    model = lenet5().to("standin")
    with pytest.raises(RuntimeError, match=r"on 'cpu'.*on 'standin:0'.*\.to\(device\)"):
        model(tg.randn(2, 1, 32, 32))


def test_what_the_stand_in_would_have_caught():
    """The proof of the proof: reading a value while training is refused, were a kernel to do it."""
    x = tg.ones(3, device="standin")
    with pytest.raises(standin.HostAccess):
        bool(x.array.sum() > 0)
