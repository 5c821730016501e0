"""`tensorgrad inspect`: a page that looks inside a trained network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tensorgrad.commands.networks import known_model
from tensorgrad.errors import ArgumentError

EPILOG = """\
what is on the page:
  confusion matrix and surest mistakes, the first layer's filters, activation maps, nearest neighbours, t-SNE and PCA,
  occlusion, the patches that units answer to, saliency, SmoothGrad, integrated gradients, guided backpropagation, Grad-CAM,
  pictures made for units, histograms of weights and gradients. One file that needs no network.

what it needs:
  matplotlib and scikit-learn: pip install 'tapegrad[viz]'
  A checkpoint of `tensorgrad train` says itself which network it is and how its pictures are prepared. For other files
  name the network with --model, and what was taken off the pixels (of values 0 to 1) and divided by with --mean, --std.

examples:
  tensorgrad inspect runs/lenet5-digits/model.safetensors
  tensorgrad inspect runs/lenet5-mnist/model.safetensors --data mnist -o report.html
  tensorgrad inspect resnet20.th --model resnet20 --data cifar.npz --mean .485,.456,.406 --std .229,.224,.225
"""


def add(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the file with the weights")
    command.add_argument(
        "--data",
        metavar="DATA",
        help="digits, mnist, fashion-mnist, or a .npz file with the pictures x (N, C, H, W) and their classes y (N) "
        "(what the network was trained on)",
    )
    command.add_argument("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE", help="(%(default)s)")
    command.add_argument("--data-dir", type=Path, metavar="DIR", help="where MNIST or Fashion-MNIST is")
    command.add_argument(
        "--model", type=known_model, metavar="MODEL", help="the network, where the file does not say it"
    )
    command.add_argument(
        "--mean", type=_numbers, metavar="M,M,M", help="taken off each channel of a .npz file's pictures"
    )
    command.add_argument("--std", type=_numbers, metavar="S,S,S", help="each channel is divided by")
    command.add_argument("--pictures", type=_whole, metavar="I,I", help="the pictures that are looked at one by one")
    command.add_argument("--limit", type=int, default=2000, metavar="N", help="take the first N pictures (%(default)s)")
    command.add_argument("--device", default="cpu", help="cpu, or cuda or cuda:N (%(default)s)")
    command.set_defaults(run=run)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes numbers with commas between") from None


def _whole(text: str) -> tuple[int, ...]:
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes whole numbers with commas between")
    return tuple(int(part) for part in text.split(","))


def run(options: argparse.Namespace) -> int:
    """Write the page and print its name."""
    from tensorgrad.inspect.drawing import needed
    from tensorgrad.inspect.report import report

    for module in ("matplotlib", "sklearn"):
        needed(module, "tensorgrad inspect")
    if options.limit < 3:
        raise ArgumentError(f"tensorgrad inspect: --limit is {options.limit}; the page needs 3 pictures or more")
    model, recipe = _network(options)
    data, classes = _data(options, recipe)
    name = f"{options.model or recipe.model} on {options.data or recipe.data}"
    tell = (lambda part: print(f"{part} ...", file=sys.stderr, flush=True)) if sys.stderr.isatty() else None
    print(report(model.to(options.device), data, options.out, name, classes, options.pictures, progress=tell))
    return 0


def _network(options: argparse.Namespace) -> tuple[Any, Any]:
    """The network with its weights, and the recipe it was trained by, None where the file does not say."""
    import dataclasses

    from tensorgrad.io.checkpoint import load
    from tensorgrad.models import get_model, load_weights
    from tensorgrad.train.job import build_model
    from tensorgrad.train.recipes import Recipe

    recipe = None
    if options.checkpoint.suffix == ".safetensors":
        found = load(options.checkpoint).metadata.get("recipe")
        known = {field.name for field in dataclasses.fields(Recipe)}
        if isinstance(found, dict) and {"model", "data", "mean", "std"} <= set(found) <= known:
            recipe = Recipe(**found)
    elif not options.checkpoint.is_file():
        raise FileNotFoundError(2, "No such file or directory", str(options.checkpoint))
    if options.model is not None:
        model: Any = get_model(options.model)
        load_weights(model, options.checkpoint, options.model)
    elif recipe is not None:
        model = build_model(recipe)
        load_weights(model, options.checkpoint)
    else:
        raise ArgumentError(
            f"tensorgrad inspect: {options.checkpoint} does not say which network it is; name it with --model"
        )
    return model, recipe


def _data(options: argparse.Namespace, recipe: Any) -> tuple[Any, Any]:
    """The pictures as the network wants them, with their classes, and the classes' names."""
    import dataclasses

    from tensorgrad.data.dataset import ImageDataset
    from tensorgrad.train.recipes import DATASETS, find_recipe
    from tensorgrad.train.splits import load_splits

    name = options.data or (recipe.data if recipe is not None else None)
    if name is None:
        raise ArgumentError("tensorgrad inspect: which pictures? --data digits, mnist, fashion-mnist, or a .npz file")
    if name not in DATASETS:
        return _from_file(name, options)
    chosen = find_recipe("lenet5", name)
    if recipe is not None and recipe.data == name:
        chosen = dataclasses.replace(chosen, mean=recipe.mean, std=recipe.std)
    splits = load_splits(chosen, options.data_dir)
    test = splits.test
    return ImageDataset(test.data[: options.limit], test.targets[: options.limit], test.transform), splits.classes


def _from_file(name: str, options: argparse.Namespace) -> tuple[Any, Any]:
    import numpy

    from tensorgrad.data.dataset import TensorDataset
    from tensorgrad.io.errors import CheckpointError
    from tensorgrad.io.files import read_npz
    from tensorgrad.tensor import Tensor

    try:
        stored = read_npz(name)
        x, y = stored["x"][: options.limit], stored["y"][: options.limit]
        classes = [str(c) for c in stored["classes"]] if "classes" in stored else None
    except (CheckpointError, KeyError, IndexError, TypeError) as error:
        raise ArgumentError(
            f"tensorgrad inspect: {name} is no .npz file with arrays x (N, C, H, W) and y (N): {error}"
        ) from error
    if x.ndim != 4 or x.dtype.kind not in "biuf" or y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise ArgumentError(
            f"tensorgrad inspect: {name}: x has shape {x.shape}, y {y.shape}; needed are (N, C, H, W) and (N)"
        )
    pixels = x.astype(numpy.float32) / (255 if x.dtype == numpy.uint8 else 1)
    for numbers, what in ((options.mean, "--mean"), (options.std, "--std")):
        if numbers is not None and len(numbers) not in (1, x.shape[1]):
            raise ArgumentError(f"tensorgrad inspect: {what} has {len(numbers)} numbers for {x.shape[1]} channels")
    mean, std = (
        numpy.array(n, numpy.float32).reshape(-1, 1, 1) for n in (options.mean or (0.0,), options.std or (1.0,))
    )
    return TensorDataset(Tensor((pixels - mean) / std), Tensor(y.astype(numpy.int64))), classes
