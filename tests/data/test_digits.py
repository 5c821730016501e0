"""The digits that come with the library."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tensorgrad.data import Digits, digits


def test_shape_and_contents():
    train, test = Digits(), Digits(train=False)
    assert (len(train), len(test)) == (1437, 360)
    assert train.data.shape == (1437, 8, 8) and train.data.dtype == np.uint8
    assert train.data.min() == 0 and train.data.max() == 16
    assert len(train.classes) == 10
    # the counts of optdigits.tes, as its description gives them
    counts = np.bincount(train.targets) + np.bincount(test.targets)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_split_is_whole_disjoint_and_stratified():
    arrays = digits.load()
    train, test = arrays["train_indices"], arrays["test_indices"]
    assert sorted([*train, *test]) == list(range(1797))
    counts = np.bincount(arrays["labels"])
    tested = np.bincount(arrays["labels"][test])
    assert (np.abs(tested - 360 * counts / 1797) < 1).all()


def test_the_picture_and_the_label_belong_together():
    """Classes must be told apart by their mean pictures; with labels out of step, 1 in 10 would be right."""
    train, test = Digits(), Digits(train=False)
    means = np.stack([train.data[train.targets == k].mean(axis=0) for k in range(10)])
    distances = ((test.data[:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == test.targets).mean() > 0.85


def test_damage_is_noticed(monkeypatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    digits.load.cache_clear()
    try:
        with pytest.raises(ValueError, match="damaged"):
            Digits()
    finally:
        monkeypatch.undo()
        digits.load.cache_clear()
    assert len(Digits()) == 1437


def test_the_file_is_small_and_its_script_makes_the_same_split():
    folder = Path(digits.__file__).parent
    assert (folder / "digits.npz").stat().st_size <= 57_000
    script = Path(__file__).resolve().parents[2] / "scripts" / "make_digits.py"
    if not script.exists():
        pytest.skip("scripts/ is not part of an installed library")
    spec = importlib.util.spec_from_file_location("make_digits", script)
    make_digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_digits)
    arrays = digits.load()
    train, test = make_digits.split(arrays["labels"])
    np.testing.assert_array_equal(train, arrays["train_indices"])
    np.testing.assert_array_equal(test, arrays["test_indices"])
    assert make_digits.quotas(np.array([1, 1, 2]), 2).tolist() == [1, 0, 1]  # 0.5, 0.5, 1: the tie goes to the first


def test_the_pictures_are_scikit_learn_s():
    datasets = pytest.importorskip("sklearn.datasets")
    source = datasets.load_digits()
    np.testing.assert_array_equal(digits.load()["images"], source.images)
    np.testing.assert_array_equal(digits.load()["labels"], source.target)
