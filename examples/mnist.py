"""MNIST: LeNet-5 and a small network, each by its recipe, and the two together, their softmax averaged.

The epoch is chosen on 5,000 held-out training pictures, and the test pictures are looked at once. The same command goes on
where it was stopped.

python examples/mnist.py [--data-dir DIR] [--out runs/mnist]    some twenty minutes on two cores
python examples/mnist.py --quick                                the package's digits in the place of MNIST, 3 epochs
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import tensorgrad as tg
from tensorgrad import models
from tensorgrad.train import Progress, find_recipe
from tensorgrad.train.job import Job

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--data-dir")
parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
options = parser.parse_args()


def recipe_of(name):
    """The recipe for MNIST; that for the digits, shortened, where it is to be quick."""
    if not options.quick:
        return find_recipe(name, "mnist")
    digits = find_recipe("lenet5", "digits")
    arguments = digits.model_arguments if name == "lenet5" else {}
    return dataclasses.replace(digits, model=name, model_arguments=arguments, epochs=3)


def run(folder):
    results = []
    for name in ("lenet5", "small_cnn"):
        job = Job(
            recipe_of(name),
            folder / name,
            data_dir=options.data_dir,
            pictures=not options.quick,
            progress=Progress(quiet=options.quick),
            resume=True,
        )
        results.append(job.run())
        print(f"{name}: test accuracy {100 * results[-1].accuracy:.2f} %")
    probabilities = models.averaged_softmax(tg.tensor(result.scores) for result in results)
    (share,) = models.accuracy(probabilities, tg.tensor(results[0].labels), topk=1)
    print(f"both together: test accuracy {100 * share:.2f} %")


if options.quick:
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
else:
    run(options.out)
