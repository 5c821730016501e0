"""The command `tensorgrad`. What it does is in tensorgrad.train; this file reads the command line and reports errors.

What is large is imported where it is needed, so that --help is quick.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorgrad.commands import check as check_command
from tensorgrad.commands import graph as graph_command
from tensorgrad.commands import inspect as inspect_command
from tensorgrad.commands import summary as summary_command
from tensorgrad.commands import warmup as warmup_command
from tensorgrad.errors import TensorgradError
from tensorgrad.train.precision import PRECISIONS
from tensorgrad.train.recipes import DATASETS, MODELS, NAMES, Recipe, find_recipe
from tensorgrad.version import __version__

OVERVIEW = """\
examples:
  tensorgrad train lenet5                      train LeNet-5 on 1,797 handwritten digits that come with the library
  tensorgrad train lenet5 --data mnist         the same on MNIST, downloaded at the first use
  tensorgrad graph lenet5 -o lenet5.svg        draw what LeNet-5 computes
  tensorgrad summary vgg16                     the layers of VGG-16 with what each costs
  tensorgrad inspect runs/lenet5-digits/model.safetensors   a page that looks inside a trained network
  tensorgrad check                             check every derivative of the library against differences
  tensorgrad warmup                            compile the fast kernels now, not when they are first needed

`tensorgrad COMMAND --help` explains each command.
"""

TRAINING = """\
what happens:
  A recipe (tensorgrad/train/recipes.py) says how this model is trained on this data. Some training images are held out
  to validate on; the test images are looked at once, at the end. A line is printed for every epoch, on a terminal a
  moving bar too, and at the very end
    test accuracy: 99.17 % (357 of 360)

what is left in the folder of the run:
  model.safetensors    the trained model, with its recipe, seed, epoch and figures. It is written after every epoch;
                       where the recipe keeps the best epoch, last.safetensors holds the last one
  metrics.csv          loss, accuracy, learning rate and speed of every epoch
  curves.png           loss and accuracy over the epochs
  tensorboard/         the same figures for TensorBoard, where it is installed
  misclassified.png    the test images that it got wrong
  graph.svg, graph.dot the computation graph: a picture, and the text that the program `dot` draws it from
  checkpoints/         the last two states of the training, from which --resume goes on
  not-finite.safetensors   only where the loss became infinite or nan: the batch and the model that show it
  The files of an earlier run stay until the first epoch is complete; then those that no longer fit are removed.

stopping:
  Ctrl-C stops after the current step and keeps the model of the last complete epoch (exit status 130), and a checkpoint.
  The same command with --resume goes on from there and ends, on the same machine, with the very same model as a run that
  was never stopped; after a crash or a power cut too, from the last checkpoint. Press Ctrl-C twice to stop at once.

examples:
  tensorgrad train lenet5                                        digits, in about a minute
  tensorgrad train lenet5 --epochs 5 --seed 1 --out runs/try     shorter, another seed, another folder
  tensorgrad train lenet5 --data mnist --data-dir ~/data         MNIST from ~/data, or downloaded to there
  tensorgrad train lenet5 --data fashion-mnist --device cuda     on an NVIDIA GPU, with CuPy
  tensorgrad train lenet5 --save-every 100 --resume              go on where the last run stopped, if one did
  tensorgrad train lenet5 --quiet | tail -n 1                    only the result
  tensorgrad train resnet20 --data cifar10 --recipe paper        64,000 steps, as in the paper; a matter for a GPU
  tensorgrad train resnet20 --data cifar10 --recipe short        a few epochs, for two cores
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for an error, 128 + n when signal n stopped it (Ctrl-C: 130)."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("tensorgrad: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output (`| head`) is gone; Python would complain once more when it flushes at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        text = explain(error)
        if text is None or options.traceback:
            raise
        print(f"tensorgrad: {text}", file=sys.stderr)
        return 2


def explain(error: Exception) -> str | None:
    """An error that a user can do something about, as a text; None for one that is our own fault."""
    from tensorgrad.data.download import DownloadError
    from tensorgrad.data.idx import IdxError

    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, (TensorgradError, OSError, DownloadError, IdxError)):
        return str(error)
    return None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="tensorgrad",
        description="Train neural networks, and look at what they compute, on an automatic differentiation engine "
        "that can be read.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"tensorgrad {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    train = _command(commands, "train", "train a model on a data set", TRAINING)
    train.add_argument("model", choices=MODELS, help="what to train: %(choices)s")
    train.add_argument(
        "--data", choices=DATASETS, help="what to train on: %(choices)s (the first that the model has a recipe for)"
    )
    train.add_argument(
        "--recipe", choices=NAMES, help="which of the model's recipes on this data: %(choices)s (its first)"
    )
    train.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the files of MNIST, Fashion-MNIST or CIFAR-10 are, or are downloaded to (the folder that the environment "
        "variable TENSORGRAD_DATA names, or else a folder in your cache)",
    )
    train.add_argument("--epochs", type=_count, metavar="N", help="passes over the training images (the recipe's)")
    train.add_argument("--batch-size", type=_count, metavar="N", help="images a step (the recipe's)")
    train.add_argument("--lr", type=_positive, metavar="RATE", help="highest learning rate (the recipe's)")
    train.add_argument(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="decides all that is random; the same seed, the same result (0)",
    )
    train.add_argument("--device", default="cpu", help="cpu, or cuda or cuda:N for an NVIDIA GPU (%(default)s)")
    train.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="the dtype of convolutions and matrix products: %(choices)s; weights stay in float32 (the recipe's, float32)",
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (runs/MODEL-DATA)")
    train.add_argument(
        "--workers", type=_seed, default=0, metavar="N", help="threads that prepare batches ahead (%(default)s: none)"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in the folder; without one, begin"
    )
    train.add_argument(
        "--save-every",
        type=_count,
        metavar="STEPS",
        help="checkpoints within an epoch too, after so many steps each (after epochs only)",
    )
    train.add_argument(
        "--no-pictures", action="store_true", help="draw neither curves nor misclassified images nor graph"
    )
    train.add_argument("--quiet", action="store_true", help="print the last line only")
    train.set_defaults(run=_train)

    graph_command.add(_command(commands, "graph", "draw what a network computes", graph_command.EPILOG))
    summary_command.add(_command(commands, "summary", "print the table of a network", summary_command.EPILOG))
    inspect_command.add(_command(commands, "inspect", "look inside a trained network", inspect_command.EPILOG))
    check_command.add(_command(commands, "check", "check derivatives against differences", check_command.EPILOG))
    warmup_command.add(_command(commands, "warmup", "compile the kernels for this processor", warmup_command.EPILOG))
    return top


def _command(commands: Any, name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--traceback", action="store_true", help="for developers: show where an error comes from")
    return command


def _train(options: argparse.Namespace) -> int:
    from tensorgrad.train.job import Interrupted, Job
    from tensorgrad.train.progress import Progress

    recipe = _recipe(options)
    job = Job(
        recipe,
        out=options.out or Path("runs", f"{recipe.model}-{recipe.data}"),
        seed=options.seed,
        device=options.device,
        data_dir=options.data_dir,
        workers=options.workers,
        pictures=not options.no_pictures,
        progress=Progress(quiet=options.quiet),
        resume=options.resume,
        save_every=options.save_every or 0,
    )
    try:
        result = job.run()
    except Interrupted as interrupted:
        print(f"tensorgrad: {interrupted}", file=sys.stderr)
        return 128 + interrupted.number
    print(f"test accuracy: {100 * result.accuracy:.2f} % ({result.correct} of {len(result.labels)})")
    return 0


def _recipe(options: argparse.Namespace) -> Recipe:
    """The recipe, with what the command line says in place of its own."""
    recipe = find_recipe(options.model, options.data, options.recipe)
    changes: dict[str, Any] = {}
    if options.epochs is not None:
        changes["epochs"] = options.epochs
    if options.batch_size is not None:
        changes["batch_size"] = options.batch_size
    if options.precision is not None:
        changes["precision"] = options.precision
    if options.lr is not None:
        changes["optimizer_arguments"] = {**recipe.optimizer_arguments, "lr": options.lr}
    return dataclasses.replace(recipe, **changes)


def _count(text: str) -> int:
    return _number(text, int, 1, "a whole number above 0")


def _seed(text: str) -> int:
    return _number(text, int, 0, "a whole number, 0 or more")


def _positive(text: str) -> float:
    return _number(text, float, sys.float_info.min, "a number above 0")


def _number(text: str, kind: Any, least: float, wanted: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes {wanted}")
    return value


if __name__ == "__main__":
    sys.exit(main())
