"""The shipped recipes reach what they promise; slow, so run with `-m slow`."""

import os
import statistics
from pathlib import Path

import pytest

from tensorgrad.train.job import Job
from tensorgrad.train.recipes import find_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_median_of_five_seeds_on_the_digits(tmp_path):
    recipe = find_recipe("lenet5", "digits")
    accuracies = [Job(recipe, tmp_path, seed, pictures=False).run().accuracy for seed in range(5)]
    assert statistics.median(accuracies) >= 0.985, accuracies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data", "least"),
    [
        ("lenet5", "mnist", 0.9905),
        ("lenet5_original", "mnist", 0.99),
        ("lenet5", "fashion-mnist", 0.90),
        # 0.9966 and 0.9965 in docs/results.md; rounding moves it by some images
        ("small_cnn", "mnist", 0.995),
        ("small_cnn", "fashion-mnist", 0.925),
    ],
)
def test_real_images(tmp_path, model, data, least):
    folder = Path(os.environ.get("TENSORGRAD_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / data).is_dir():
        pytest.skip(f"{data} is not here; name the folder it is in by TENSORGRAD_DATA")
    assert Job(find_recipe(model, data), tmp_path, data_dir=folder, pictures=False).run().accuracy >= least
