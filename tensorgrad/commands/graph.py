"""`tensorgrad graph`: draw what a network computes, or write it as data, a page or an ONNX file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tensorgrad.commands.networks import add_arguments, build, count, depth, quickly
from tensorgrad.errors import TensorgradError

EPILOG = """\
what is written, by the ending of FILE:
  .svg .png .pdf   a picture; needs the program `dot` (Graphviz)
  .dot             the text that `dot` reads
  .html            a page to look around in: zoom, search, open and close modules; needs no program and no network
  .json            the graph as data
  .onnx            the network itself, for other programs (pip install 'tapegrad[onnx]')

examples:
  tensorgrad graph lenet5                                   writes lenet5.svg
  tensorgrad graph resnet152 -o r152.svg --depth 2 --fold --costs --backward
  tensorgrad graph googlenet --around inception3a --depth layers
  tensorgrad graph vgg16 -o vgg16.html --color-by macs
"""


def add(command: argparse.ArgumentParser) -> None:
    """The options."""
    add_arguments(command)
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write (MODEL.svg)")
    command.add_argument(
        "--depth",
        type=depth,
        default=None,
        metavar="N",
        help="open modules so deep: a number, 'layers' for all but the innermost, or 'all'",
    )
    command.add_argument("--fold", action="store_true", help="draw blocks that repeat once, with how often")
    command.add_argument("--costs", action="store_true", help="parameters, MACs and memory in every box")
    command.add_argument(
        "--color-by", metavar="COST", help="colour boxes by macs, parameters, kept, seconds, gradient, ..."
    )
    command.add_argument("--size-by", metavar="COST", help="size of boxes by macs, parameters, ...")
    passes = command.add_mutually_exclusive_group()
    passes.add_argument(
        "--backward",
        action="store_const",
        const="both",
        default="forward",
        dest="passes",
        help="forward and backward in one picture",
    )
    passes.add_argument(
        "--passes",
        choices=("forward", "backward", "both", "gradients"),
        default="forward",
        help="which pass; 'gradients' is of forward only what gradients flow through (%(default)s)",
    )
    command.add_argument("--around", metavar="NAME", help="only what bears this name, and what is near")
    command.add_argument("--steps", type=count, default=1, metavar="N", help="how near (%(default)s)")
    command.add_argument("--no-parameters", action="store_true", help="leave parameters and buffers out")
    command.add_argument(
        "--shapes", choices=("edges", "boxes", "none"), default="edges", help="where shapes stand (%(default)s)"
    )
    command.add_argument(
        "--statistics", action="store_true", help="mean, std, zeros of every value and gradient, for random numbers"
    )
    command.add_argument("--time", type=count, default=0, metavar="N", help="measure times, the fastest of N")
    command.add_argument("--horizontal", action="store_true", help="from left to right (down)")
    command.add_argument("--dark", action="store_true", help="light on dark")
    command.add_argument("--title", help="the line on top")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw and save; prints the file's name. A network that fails on its input is drawn up to there, and the status is 2."""
    from tensorgrad.graph import draw
    from tensorgrad.sampling import randn

    out = options.out or Path(f"{options.model}.svg")
    matter = options.statistics or out.suffix.lower() == ".onnx"
    model, x = build(options) if matter else quickly(options)
    if options.statistics:
        x = randn(*x.shape)
    picture = draw(
        model,
        x,
        title=options.title,
        rankdir="LR" if options.horizontal else "TB",
        show_shapes={"none": False}.get(options.shapes, options.shapes),
        show_parameters=not options.no_parameters,
        depth=options.depth,
        close_layers=isinstance(options.depth, int),
        passes=options.passes,
        around=options.around,
        steps=options.steps,
        fold=options.fold,
        costs=options.costs,
        color_by=options.color_by,
        size_by=options.size_by,
        statistics=options.statistics,
        repeats=options.time,
        theme="dark" if options.dark else "light",
        failure="draw",
    )
    failed = picture.graph.failure()
    if failed is not None and out.suffix.lower() == ".onnx":
        raise TensorgradError(f"{options.model} fails on this input: {failed.failed}")
    print(picture.save(out))
    if failed is not None:
        print(f"tensorgrad: {options.model} fails on this input, where it is red: {failed.failed}", file=sys.stderr)
    return 0 if failed is None else 2
