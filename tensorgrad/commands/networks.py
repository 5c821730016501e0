"""What the commands share: a network by its name, with an input of the size that it is made for."""

from __future__ import annotations

import argparse
import re
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.nn import init
from tensorgrad.train.recipes import MODELS, find_recipe

#: Input of the networks that are not made for 224x224 pixels of three colours; patterns of their names.
INPUTS = (
    (r"lenet5.*|small_cnn", (1, 32, 32)),
    (r"(resnet|plain)(20|32|44|56|110|1202)", (3, 32, 32)),
    (r"inception_v3", (3, 299, 299)),
    (r"alexnet_paper", (3, 227, 227)),
    (r"perceptron|adaline", (2,)),
    (r"tcn", (1, 100)),
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options that choose a network, its input and its mode."""
    command.add_argument(
        "model", type=known_model, metavar="MODEL", help="a network of tensorgrad.models: resnet50, vgg16, ..."
    )
    command.add_argument(
        "--input",
        type=shape,
        metavar="SIZES",
        help="sizes of the input, as 1x3x224x224 (one picture of the size that the network is made for)",
    )
    command.add_argument("--train", action="store_true", help="in training mode (in evaluation mode)")


def known_model(text: str) -> str:
    """The name of a network."""
    from tensorgrad.models import list_models

    if text not in list_models():
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {', '.join(list_models())})")
    return text


def shape(text: str) -> tuple[int, ...]:
    """Sizes such as 1x3x224x224."""
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes sizes such as 1x3x224x224")
    return tuple(int(part) for part in parts)


def count(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"got {text!r}; it takes a whole number, 0 or more")
    return int(text)


def depth(text: str) -> Any:
    """How deep modules are opened: a number, 'layers' or 'all' (None)."""
    if text in ("layers", "all"):
        return None if text == "all" else text
    return count(text)


def build(options: argparse.Namespace) -> tuple[Any, Any]:
    """The network and an input. Its weights are drawn where they matter; where only sizes do, that would take minutes."""
    from tensorgrad.creation import zeros
    from tensorgrad.models import get_model
    from tensorgrad.train.job import build_model

    if options.model in MODELS:
        model: Any = build_model(find_recipe(options.model))  # as `tensorgrad train` trains it
    else:
        try:
            model = get_model(options.model)
        except TypeError as error:
            if "missing" not in str(error):
                raise
            raise ArgumentError(
                f"{options.model}: it needs arguments that no command can guess ({error}); in Python: "
                f"get_model({options.model!r}, ...).graph(x)"
            ) from error
    sizes = options.input or (1, *input_size(options.model))
    return model.train(options.train), zeros(*sizes)


def input_size(name: str) -> tuple[int, ...]:
    """The (channels, height, width) that a network is made for.

    >>> input_size("resnet50"), input_size("resnet20")
    ((3, 224, 224), (3, 32, 32))
    """
    for pattern, size in INPUTS:
        if re.fullmatch(pattern, name):
            return size
    return 3, 224, 224


def quickly(options: argparse.Namespace) -> tuple[Any, Any]:
    """As `build`, with weights of 0: for what depends on sizes alone."""
    from tensorgrad.nn.init import zeros_

    with init.postponed():
        model, x = build(options)
    for parameter in model.parameters():
        zeros_(parameter)
    return model, x
