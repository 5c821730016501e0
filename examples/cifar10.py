"""CIFAR-10: ResNet-20, by a schedule sized for two cores or by the paper's; then each test picture and its mirror image.

The same command goes on where it was stopped.

python examples/cifar10.py                                   eight epochs, some ten minutes on two cores
python examples/cifar10.py --recipe paper --device cuda      the paper's 64,000 steps, for a GPU
python examples/cifar10.py --quick                           the package's digits and 8 layers, 2 epochs
    --data cifar10-jpeg    CIFAR-10 as pictures, in the folder of --data-dir
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import tensorgrad as tg
from tensorgrad import models
from tensorgrad.data import DataLoader
from tensorgrad.train import Progress, find_recipe
from tensorgrad.train.job import Job
from tensorgrad.train.splits import load_splits

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--data", choices=["cifar10", "cifar10-jpeg"], default="cifar10")
parser.add_argument("--data-dir")
parser.add_argument("--recipe", choices=["short", "paper"], default="short")
parser.add_argument("--device", default="cpu")
parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
options = parser.parse_args()

if options.quick:
    digits = find_recipe("lenet5", "digits")
    small = {"depth": 8, "in_channels": 1}
    recipe = dataclasses.replace(digits, model="resnet20", model_arguments=small, epochs=2, batch_size=32, affine=None)
else:
    recipe = find_recipe("resnet20", options.data, options.recipe)


def with_mirror_images(pictures):
    """(N, C, H, W) -> (N, 2, C, H, W)"""
    return tg.stack([pictures, pictures.flip(-1)], 1)


def run(folder):
    job = Job(
        recipe,
        folder,
        device=options.device,
        data_dir=options.data_dir,
        pictures=not options.quick,
        progress=Progress(quiet=options.quick),
        resume=True,
    )
    result = job.run()
    model = models.resnet20(**recipe.model_arguments, weights=folder / "model.safetensors")
    test = DataLoader(load_splits(recipe, options.data_dir).test, batch_size=500)
    both = models.evaluate(model, test, topk=1, crops=with_mirror_images)
    print(f"pictures and mirror images, averaged: {100 * both['top1']:.2f} %")
    print(f"test accuracy: {100 * result.accuracy:.2f} %")


if options.quick:
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
else:
    run(options.out)
