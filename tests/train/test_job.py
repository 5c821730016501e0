"""The whole job away from the CPU: on the stand-in that refuses to be read on the host, and on a GPU where there is one."""

import dataclasses

import numpy as np
import pytest
import standin

from tensorgrad.io import load
from tensorgrad.train import find_recipe, read_metrics
from tensorgrad.train.job import Job, build_model, draw_model

DEVICES = [standin.BACKEND.name, pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
def test_a_job_on_another_device_gives_what_it_gives_on_the_cpu(tmp_path, device):
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), epochs=2, batch_size=256)
    # each device's kernels add up float32 in an order of their own, and ten steps of AdamW spread the difference
    close = {"rtol": 0.01, "atol": 0.01}
    results = {}
    for place in ("cpu", device):
        results[place] = Job(recipe, tmp_path / place, device=place, pictures=False).run()
    np.testing.assert_allclose(results[device].scores, results["cpu"].scores, **close)
    np.testing.assert_array_equal(results[device].labels, results["cpu"].labels)
    here, there = (load(tmp_path / place / "model.safetensors") for place in ("cpu", device))
    for name, array in here.tensors.items():
        np.testing.assert_allclose(there.tensors[name], array, **close)
    for on_cpu, on_device in zip(*(read_metrics(tmp_path / place / "metrics.csv") for place in ("cpu", device))):
        assert on_device.train_loss == pytest.approx(on_cpu.train_loss, rel=1e-3)
        assert on_device.validation_accuracy == pytest.approx(on_cpu.validation_accuracy, abs=2 / 137)


def test_the_picture_of_the_graph_is_drawn_there_too():
    recipe = find_recipe("lenet5", "digits")
    assert "conv2d" in draw_model(build_model(recipe).to("standin"), "standin").source
