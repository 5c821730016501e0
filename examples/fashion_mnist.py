"""Fashion-MNIST: a small network by its recipe, and which garments it takes for which.

The epoch is chosen on 5,000 held-out training pictures, and the test pictures are looked at once. The same command goes on
where it was stopped.

python examples/fashion_mnist.py [--data-dir DIR] [--out runs/fashion-mnist]    some twenty minutes on two cores
python examples/fashion_mnist.py --quick                          the package's digits in its place, 2 epochs
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from tensorgrad.train import Progress, find_recipe
from tensorgrad.train.job import Job
from tensorgrad.train.splits import load_splits

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--data-dir")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("runs/fashion-mnist"))
options = parser.parse_args()

if options.quick:
    digits = find_recipe("lenet5", "digits")
    recipe = dataclasses.replace(digits, model="small_cnn", model_arguments={}, epochs=2)
else:
    recipe = find_recipe("small_cnn", "fashion-mnist")


def run(folder):
    job = Job(
        recipe,
        folder,
        seed=options.seed,
        data_dir=options.data_dir,
        pictures=not options.quick,
        progress=Progress(quiet=options.quick),
        resume=True,
    )
    result = job.run()
    classes = load_splits(recipe, options.data_dir).classes
    taken = np.zeros((len(classes), len(classes)), int)  # true class, predicted class
    np.add.at(taken, (result.labels, result.predicted), 1)
    shares = 100 * taken.diagonal() / taken.sum(1)
    np.fill_diagonal(taken, 0)
    for number, name in enumerate(classes):
        mistaken = f", most often taken for {classes[taken[number].argmax()]}" if taken[number].any() else ""
        print(f"{name:12} {shares[number]:6.2f} % right{mistaken}")
    print(f"test accuracy: {100 * result.accuracy:.2f} %")


if options.quick:
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
else:
    run(options.out)
