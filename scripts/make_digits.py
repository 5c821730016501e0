"""Make tensorgrad/data/digits.npz: the 1,797 UCI digits and the split that every experiment on them uses.

Run once, with scikit-learn installed (the library itself never needs it):

    python scripts/make_digits.py [output file]

scikit-learn's `load_digits` is a copy of the *test* part of the UCI set "Optical Recognition of Handwritten Digits"
(`optdigits.tes`: 1,797 pictures of 8x8 counts, 0 to 16), in the order of the original file.

The split, 1,437 to train and 360 to test, was fixed before any network was trained on it:

1. Each class sends 360 * n_class / 1797 pictures to the test part, rounded down; the pictures still missing from 360
   come from the classes with the largest fractions (of equal ones, the smaller digit), one each.
2. One generator, `numpy.random.default_rng(0)`, goes through the classes 0 to 9; it permutes the indices of a class and
   the first of them are that class's test pictures.
3. Both lists of indices are stored in rising order.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

TEST_SIZE = 360
SEED = 0
TARGET = Path(__file__).resolve().parent.parent / "tensorgrad" / "data" / "digits.npz"


def quotas(counts: np.ndarray, total: int) -> np.ndarray:
    """How many of `total` each class gets, in proportion to `counts`, by largest remainders."""
    exact = total * counts / counts.sum()
    quota = np.floor(exact).astype(int)
    missing = total - quota.sum()
    largest_fractions = np.argsort(-(exact - quota), kind="stable")[:missing]
    quota[largest_fractions] += 1
    return quota


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the test pictures."""
    rng = np.random.default_rng(SEED)
    quota = quotas(np.bincount(labels), TEST_SIZE)
    test = []
    for digit, size in enumerate(quota):
        members = np.flatnonzero(labels == digit)
        test.append(rng.permutation(members)[:size])
    test_indices = np.sort(np.concatenate(test))
    train_indices = np.setdiff1d(np.arange(len(labels)), test_indices)
    return train_indices, test_indices


def main() -> None:
    from sklearn.datasets import load_digits

    from tensorgrad.data.digits import digest

    source = load_digits()
    images = source.images.astype(np.uint8)
    labels = source.target.astype(np.uint8)
    train_indices, test_indices = split(labels)
    arrays = {
        "images": images,
        "labels": labels,
        "train_indices": train_indices.astype(np.uint16),
        "test_indices": test_indices.astype(np.uint16),
    }
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    np.savez_compressed(target, **arrays)
    print(f"{target}: {target.stat().st_size} bytes, digest {digest(arrays)}")


if __name__ == "__main__":
    main()
