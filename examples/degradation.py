"""Degradation: deeper plain networks train worse than shallower ones; residual networks do not (He et al., 2015, figure 6).

plain-20, plain-56, ResNet-20 and ResNet-56 under one schedule. Each network has its own folder and goes on where it was
stopped, so the same command may be given again and again until all four are done; at the end all curves stand in one plot.

python examples/degradation.py                CIFAR-10, 8,000 of its training pictures, 12 epochs each: for two cores
python examples/degradation.py --full         CIFAR-10 by the paper's recipe: for a GPU, with --device cuda
python examples/degradation.py --quick        digits, 8 and 14 layers, 1 epoch: shows that it works, and nothing else
    --data cifar10-jpeg    CIFAR-10 as pictures, in the folder of --data-dir
    --schedule paper       the paper's rates, squeezed into the 12 epochs, in place of a rise first and half a cosine then
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from tensorgrad.train import Progress, Recipe, find_recipe
from tensorgrad.train.job import Job

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--full", action="store_true")
parser.add_argument("--data", choices=["cifar10", "cifar10-jpeg"], default="cifar10")
parser.add_argument("--data-dir")
parser.add_argument("--schedule", choices=["short", "paper"])
parser.add_argument("--device", default="cpu")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="runs/degradation")
options = parser.parse_args()
if options.full and options.schedule == "short":
    parser.error("--full is the paper's size, whose schedule is the paper's")


def recipes() -> dict[str, Recipe]:
    """A recipe for each of the four networks, alike but for the network."""
    if options.quick:
        base = dataclasses.replace(
            find_recipe("lenet5", "digits"), epochs=1, images=600, batch_size=32, affine=None, label_smoothing=0.0
        )
        return {
            f"{kind}-{depth}": dataclasses.replace(
                base, model=f"{kind}20", model_arguments={"depth": depth, "in_channels": 1}
            )
            for kind in ("plain", "resnet")
            for depth in (8, 14)
        }
    found = {}
    for kind in ("plain", "resnet"):
        for depth in (20, 56):
            schedule = options.schedule or ("paper" if options.full else "short")
            recipe = find_recipe(f"{kind}{depth}", options.data, schedule)
            if not options.full:
                recipe = dataclasses.replace(recipe, images=8000, validation=2000, epochs=12)
            found[f"{kind}-{depth}"] = recipe
    return found


def run(folder: Path) -> None:
    """Train what is not yet trained, draw, and say what was seen."""
    errors, histories = {}, {}
    for name, recipe in recipes().items():
        print(name)
        job = Job(
            recipe,
            folder / name,
            seed=options.seed,
            device=options.device,
            data_dir=options.data_dir,
            pictures=False,
            progress=Progress(quiet=options.quick),
            resume=True,
        )
        result = job.run()
        errors[name], histories[name] = 100 * (1 - result.accuracy), job.history
    if draw(folder / "degradation.png", histories):
        print(f"curves: {folder / 'degradation.png'}")
    for name, history in histories.items():
        training = 100 * (1 - history[-1].train_accuracy)
        print(f"{name:10} error on training pictures {training:6.2f} %, on test pictures {errors[name]:6.2f} %")
    deeper = [errors[name] - errors[other] for other, name in zip(list(errors)[::2], list(errors)[1::2], strict=True)]
    print(
        f"the deeper network's test error, less the shallower one's: plain {deeper[0]:+.2f}, residual {deeper[1]:+.2f}"
    )


def draw(path: Path, histories) -> bool:
    """Both errors of all networks over the epochs, in one plot; False where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: it needs matplotlib")
        return False
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, history) in zip(
        ("tab:orange", "tab:red", "tab:cyan", "tab:blue"), histories.items(), strict=True
    ):
        epochs = [metrics.epoch for metrics in history]
        axes.plot(epochs, [100 * (1 - m.train_accuracy) for m in history], ":", color=color)
        axes.plot(epochs, [100 * (1 - m.validation_accuracy) for m in history], color=color, label=name)
    axes.set(
        xlabel="epoch", ylabel="error in %", title="solid: held-out pictures; dotted: training pictures, as trained on"
    )
    axes.legend()
    figure.savefig(path)
    return True


if options.quick:
    with tempfile.TemporaryDirectory() as temporary:
        run(Path(temporary))
else:
    run(Path(options.out))
