"""The benchmark compares equals, and says so where a side breaks down. No test here asserts a speed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torchvision_oracle

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad import models

sys.path.append(str(Path(__file__).resolve().parents[1]))  # benchmarks/ is no part of the package
from benchmarks import duel, family, gpu, growth, operations, run
from benchmarks.networks import BUILDERS, CASES, Framework, build, fill
from benchmarks.steps import batch_of, chain_ours, network_ours

SMALL = ["MLP", "LeNet-5", "LeNet-5, average pooling", "ResNet-20"]


def ours(name):
    model = build(name, Framework(tg, nn, False))

    def assign(parameter, values):
        parameter.data = tg.from_numpy(values)

    fill(model, assign)
    return model


def test_every_network_has_its_case():
    assert list(BUILDERS) == list(CASES)


@pytest.mark.parametrize(
    "name, count", [("MLP", 669_706), ("LeNet-5", 61_706), ("ResNet-20", 272_474), ("GoogLeNet", 6_624_904)]
)
def test_parameters_are_counted(name, count):
    assert sum(p.numel() for p in ours(name).parameters()) == count


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, count",
    [("AlexNet", 61_100_840), ("ResNet-18", 11_689_512), ("ResNet-50", 25_557_032), ("VGG-16", 138_357_544)],
)
def test_parameters_of_large_networks_are_counted(name, count):
    assert sum(p.numel() for p in ours(name).parameters()) == count


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*SMALL, "GoogLeNet"])
def test_both_frameworks_compute_the_same(name):
    torch = pytest.importorskip("torch")
    theirs = build(name, Framework(torch, torch.nn, True))

    def assign(parameter, values):
        parameter.data = torch.from_numpy(values)

    fill(theirs, assign)
    images, _ = batch_of(name, 2)
    with torch.no_grad(), tg.no_grad():
        z = ours(name).eval()(tg.from_numpy(images)).numpy()
        expected = theirs.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(z, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["MLP", "LeNet-5"])
def test_training_steps_run(name, compiled):
    for train in (True, False):
        step = network_ours(name, train, batch=2, compiled=compiled)
        for _ in range(3):
            step()
        if compiled:
            assert step.why() == [] and step.replays == 1


def test_chains_and_operations_run():
    chain_ours(0, 10)()
    chain_ours(5, 10, compiled=True)()
    for name in operations.OPERATIONS:
        operations.ours(name)()


def test_networks_of_the_family_are_built_and_run():
    assert set(family.NAMES) < set(models.list_models())
    assert sum(p.numel() for p in family.build_ours("squeezenet1_1")().parameters()) == 1_235_496
    for pictures in (0, 1):
        family.forward_ours("squeezenet1_1", pictures)()


@pytest.mark.oracle
def test_torchvision_has_the_networks_of_the_family():
    torchvision_oracle.torchvision_models()  # skips where it is not installed
    assert set(family.NAMES) < set(family.torchvision_models().list_models())
    assert sum(p.numel() for p in family.build_torch("squeezenet1_1")().parameters()) == 1_235_496
    family.forward_torch("squeezenet1_1")()


def test_a_contest_asks_everyone_in_every_round():
    sides = [duel.Side(str(size), "benchmarks.steps:chain_ours", {"size": size, "length": 10}) for size in (0, 3)]
    times = duel.contest(sides, rounds=4, seconds=0.001)
    assert [len(row) for row in times] == [4, 4]
    assert all(t > 0 for row in times for t in row)
    assert duel.peak_memory(sides[0], 1) > 10


def test_a_contestant_that_breaks_down_is_named():
    sides = [duel.Side("strange", "benchmarks.steps:network_ours", {"name": "no such network", "train": True})]
    with pytest.raises(duel.Failed, match="strange: KeyError: 'no such network'"):
        duel.contest(sides)


def test_ratios_are_taken_round_by_round():
    result = duel.compare([1.0, 2.0, 9.0], [2.0, 4.0, 3.0])
    assert (result.ours, result.theirs, result.ratio) == (2.0, 3.0, 0.5)


def test_the_report_keeps_the_sections_that_are_not_measured_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(run, "import_seconds", lambda package: 0.25)
    monkeypatch.setattr(sys, "argv", ["run", "--sections", "imports"])
    run.main()
    first = run.RESULTS.read_text(encoding="utf-8")
    assert "| tensorgrad | 250 |" in first and first.startswith("# Measured against PyTorch")
    run.RESULTS.write_text(
        first
        + "\n## A chain of 1,000 small operations, forward and backward, on one thread\n\nkept\n\n## By hand\n\nnoted\n"
    )
    monkeypatch.setattr(run, "import_seconds", lambda package: 0.5)
    run.main()
    second = run.RESULTS.read_text(encoding="utf-8")
    assert "| tensorgrad | 500 |" in second and "250" not in second
    assert second.index("kept") < second.index("| tensorgrad | 500 |")  # in the order of the sections
    assert len(re.findall("^## ", second, re.MULTILINE)) == 3 and second.endswith("## By hand\n\nnoted\n")
    monkeypatch.setattr(sys, "argv", ["run", "--sections", "imports", "--quick"])
    run.main()
    assert run.RESULTS.read_text(encoding="utf-8") == second
    capsys.readouterr()


def test_growth_is_shown_per_unit():
    lines = growth.table(
        {"channels: 3x3 convolution of (8, C, 28, 28), forward and backward": [(8, 0.064), (16, 0.256)]}
    )
    assert lines[2:4] == ["| ms a step | 64.000 | 256.000 |", "| us per channel squared | 1e+03 | 1e+03 |"]


# on a GPU


def test_without_a_gpu_nothing_is_measured(capsys):
    if gpu.why_not() is None:
        pytest.skip("this machine has a GPU")
    assert gpu.main(["--only", "LeNet"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("benchmarks.gpu: nothing was measured: ")


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("train", [False, True], ids=["inference", "training"])
def test_the_gpu_s_steps_run_on_the_stand_in(train, compiled, monkeypatch):
    monkeypatch.setattr(gpu, "STEPS", 3)
    gpu.ours("LeNet-5", 2, "float32", train, True, compiled, device="standin")()


def test_a_side_that_breaks_down_costs_only_its_own_cells(monkeypatch):
    """Its reason stands below the row, and so does that of a compiled step that runs without graphs."""
    asked = []

    def contest(sides, *, rounds, seconds):
        labels = [side.label for side in sides]
        asked.append(labels)
        if "PyTorch, compiled" in labels:
            raise duel.Failed("PyTorch, compiled: no compiler")
        if "PyTorch" in labels and seconds == 9:
            raise duel.Failed("PyTorch: no memory")
        return [[gpu.STEPS / 1e3] * rounds for label in labels]

    monkeypatch.setattr(gpu, "contest", contest)
    monkeypatch.setattr(gpu, "memory_of", lambda label, plan: (7.0, ["no graph"] if "compiled" in label else []))
    plan = gpu.Plan("LeNet-5", 128, "float32", True, True)
    assert gpu.row(plan, 3).splitlines() == [
        "| LeNet-5 (128) | 1.00 | 1.00 | 1.00 |  | 1.00 | 1.00 |  | 7 / 7 | compiled at most 0.5 |",
        "<!-- LeNet-5: PyTorch, compiled: no compiler -->",
        "<!-- LeNet-5: tensorgrad, compiled: no graph -->",
    ]
    assert [len(labels) for labels in asked] == [4, 3]
    first = gpu.row(plan, 3, 9, list(gpu.SIDES)[:3]).splitlines()[0]
    assert first == "| LeNet-5 (128) | 1.00 | 1.00 |  |  |  |  |  | 7 | compiled at most 0.5 |"


def test_a_worker_finds_what_its_parent_finds(monkeypatch, tmp_path):
    """A package that only PYTHONPATH leads to."""
    (tmp_path / "elsewhere.py").write_text("def steps():\n    return lambda: None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = duel.Worker(duel.Side("there", "elsewhere:steps"))
    try:
        assert worker.time(1) >= 0
    finally:
        worker.stop()


@pytest.mark.oracle
def test_the_gpu_s_steps_are_those_of_pytorch():
    pytest.importorskip("torch")
    gpu.theirs("LeNet-5", 2, "float32", True, True, False, device="cpu")()


@pytest.mark.gpu
@pytest.mark.slow
def test_the_gpu_s_table(capsys):
    assert gpu.main(["--only", "LeNet", "--rounds", "3"]) == 0
    assert "LeNet-5 (128)" in capsys.readouterr().out
