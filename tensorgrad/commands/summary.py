"""`tensorgrad summary`: the table of a network, a row a layer."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tensorgrad.commands.networks import add_arguments, count, quickly

EPILOG = """\
columns (USUAL: layer,kind,output,values,weights,biases,macs):
  layer kind output values weights biases parameters trainable macs flops backward_flops activation kept moved intensity
  field stride centre seconds backward_seconds

examples:
  tensorgrad summary vgg16                                     the table of the lectures
  tensorgrad summary resnet50 --depth 1 --sort macs            its stages, the dearest first
  tensorgrad summary googlenet --columns layer,output,field,stride,centre
  tensorgrad summary alexnet -o alexnet.csv                    .csv, .md, .html or .txt
"""


def add(command: argparse.ArgumentParser) -> None:
    """The options."""
    add_arguments(command)
    command.add_argument("-o", "--out", type=Path, metavar="FILE", help="write it to a file: .csv, .md, .html or .txt")
    command.add_argument(
        "--format", choices=("text", "csv", "md", "html"), default="text", help="how to print it (%(default)s)"
    )
    command.add_argument(
        "--depth",
        type=_depth,
        default="layers",
        metavar="N",
        help="a row for every module of this level (every innermost module)",
    )
    command.add_argument("--columns", metavar="NAMES", help="which columns, with commas between")
    command.add_argument("--sort", metavar="COLUMN", help="by this column: numbers from the largest")
    command.add_argument("--all", action="store_true", help="also rows without values, parameters and MACs")
    command.add_argument("--time", type=count, default=0, metavar="N", help="measure times, the fastest of N")
    command.set_defaults(run=run)


def _depth(text: str) -> int | str:
    return text if text == "layers" else count(text)


def run(options: argparse.Namespace) -> int:
    """Print the table, or write it to a file and print its name."""
    from tensorgrad.graph.summary import USUAL, summary

    columns = tuple(options.columns.split(",")) if options.columns else USUAL
    if options.time and not options.columns:
        columns = (*columns, "seconds", "backward_seconds")
    model, x = quickly(options)
    table = summary(
        model, x, depth=options.depth, columns=columns, sort=options.sort, all_rows=options.all, repeats=options.time
    )
    if options.out is not None:
        print(table.save(options.out))
    elif options.format == "text":
        width = os.get_terminal_size().columns if sys.stdout.isatty() else None
        print(table.text(width=width), end="")
    else:
        print({"csv": table.csv, "md": table.markdown, "html": table.html}[options.format](), end="")
    return 0
