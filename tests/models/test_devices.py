"""Networks on every device: the same scores and gradients as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models
from tensorgrad.models import GCN, normalized_adjacency

SMALL = {
    # name: (settings, shape of the input)
    "resnet20": ({}, (2, 3, 16, 16)),
    "preact_resnet18": ({"num_classes": 5}, (2, 3, 32, 32)),
    "squeezenet1_1": ({"num_classes": 5, "dropout": 0.0}, (2, 3, 48, 48)),
    "densenet121": ({"num_classes": 5}, (2, 3, 32, 32)),
    "mobilenet_v2": ({"num_classes": 5, "dropout": 0.0}, (2, 3, 32, 32)),
    "googlenet": ({"num_classes": 5, "aux_logits": False, "dropout": 0.0}, (2, 3, 64, 64)),
    "lenet5": ({}, (2, 1, 32, 32)),
    "lenet5_original": ({}, (2, 1, 32, 32)),
    "tcn": ({"channels": (4, 4), "kernel_size": 3, "dropout": 0.0}, (2, 1, 9)),
    "adaline": ({"in_features": 3}, (2, 3)),
}

# whose last maps have one pixel here: the statistics of two values would blow up the smallest difference
EVALUATED = {"preact_resnet18", "densenet121", "mobilenet_v2"}


@pytest.mark.parametrize("name", SMALL)
def test_a_step_on_a_device(name, device):
    settings, shape = SMALL[name]
    tg.manual_seed(0)
    model = models.get_model(name, **settings).double().train(name not in EVALUATED)
    x = np.random.default_rng(0).standard_normal(shape)
    found = []
    for place in ("cpu", device):
        model.to(place).zero_grad()
        for layer in model.modules():
            if hasattr(layer, "reset_running_stats"):
                layer.reset_running_stats()
        z = model(tg.tensor(x, device=place))
        (z**2).sum().backward()
        found.append([z.detach().cpu().numpy(), *(p.grad.cpu().numpy() for p in model.parameters())])
    for number, (a, b) in enumerate(zip(*found)):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-7 * (abs(a).max() + 1e-6), err_msg=str(number))


def test_evaluation_on_a_device(device):
    """Batches come from the host, as a DataLoader gives them; the crops, the average and the ranks do not mind."""
    tg.manual_seed(0)
    model = models.resnet20()
    x, y = np.random.default_rng(0).standard_normal((6, 3, 36, 36)).astype("float32"), [0, 1, 2, 3, 4, 5]
    batches = [(x[:4], y[:4]), (tg.tensor(x[4:]), tg.tensor(y[4:]))]
    settings = {"topk": (1, 3, 5), "crops": lambda images: models.ten_crop(images, 32)}
    expected = models.evaluate(model, batches, **settings)
    assert models.evaluate(model.to(device), batches, **settings) == expected
    ensemble = models.Ensemble([model, model])
    assert models.evaluate(ensemble, [(x[:, :, :32, :32], y)])["samples"] == 6


def test_a_graph_on_a_device(device):
    adjacency = normalized_adjacency(3, [(0, 1), (1, 2)], device=device)
    z = GCN(3, 2).to(device)(tg.eye(3, device=device), adjacency)
    z.sum().backward()
    assert z.device.type == tg.Device(device).type
