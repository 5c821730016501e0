"""The whole job away from the CPU: on the stand-in that refuses to be read on the host, and on a GPU where there is one."""

import dataclasses
import os

import numpy as np
import pytest
import standin

from tensorgrad.io import load
from tensorgrad.train import find_recipe, read_metrics
from tensorgrad.train.job import Job, build_model, draw_model
from tensorgrad.train.progress import Progress

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


def test_a_run_goes_on_that_began_before_recipes_had_all_their_settings(tmp_path):
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), epochs=1, images=64, affine=None)
    job = Job(recipe, tmp_path, pictures=False)
    job.run()
    state = job.checkpoints.load()
    del state["job"]["identity"]["loss"]
    job.checkpoints.save(state, 100)
    assert Job(recipe, tmp_path, pictures=False, resume=True).run().correct > 0
    with pytest.raises(ValueError, match="has loss='cross entropy' instead of 'distances'"):
        Job(dataclasses.replace(recipe, loss="distances"), tmp_path, pictures=False, resume=True).run()


def test_lenet_of_1998_is_trained_with_its_own_loss(tmp_path):
    """Equation 9, by hand, of the distances that the network gives for the test pictures; and training brings it down."""
    original = dataclasses.replace(find_recipe("lenet5_original", "mnist"), data="digits", validation=137, affine=None)
    job = Job(dataclasses.replace(original, epochs=4, batch_size=32), tmp_path, pictures=False)
    result = job.run()
    distances = -result.scores.astype(np.float64)
    right = distances[np.arange(len(distances)), result.labels]
    expected = (right + np.log(np.exp(-1.0) + np.exp(-distances).sum(1))).mean()
    assert result.loss == pytest.approx(expected, rel=1e-5)
    assert job.history[-1].train_loss < job.history[0].train_loss / 2
    assert result.accuracy > 0.7


def test_the_picture_of_the_graph_is_drawn_there_too():
    recipe = find_recipe("lenet5", "digits")
    assert "conv2d" in draw_model(build_model(recipe).to("standin"), "standin").source


@pytest.mark.parametrize("version", ["echo 'dot - graphviz version 2.43.0 (0)' >&2; exit 0", "exit 1"])
def test_a_dot_that_fails_costs_the_picture_only(tmp_path, monkeypatch, capsys, version):
    broken = tmp_path / "programs" / "dot"
    broken.parent.mkdir()
    broken.write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then {version}; fi\necho broken >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent), prepend=os.pathsep)
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), epochs=1, batch_size=512)
    Job(recipe, tmp_path / "run", progress=Progress(live=False)).run()
    assert (tmp_path / "run" / "graph.dot").exists()
    assert not (tmp_path / "run" / "graph.svg").exists()
    assert "graph.svg was not drawn" in capsys.readouterr().out
