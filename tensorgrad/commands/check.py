"""`tensorgrad check`: every primitive of the library, or a layer or function of the user's own."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError

EPILOG = """\
examples:
  tensorgrad check                                           every primitive of the library, on the backends of this machine
  tensorgrad check --only Conv2d,Relu                        only these
  tensorgrad check mylib.layers:Gate --input 2,3,32,32       your own layer, all its parameters too
  tensorgrad check mylib.layers:Block --arguments "3, 16, stride=2" --input 2,3,8,8
  tensorgrad check mylib.functions:swish --input 5 --order 3
  tensorgrad check mylib.layers:Words --arguments "10, 4" --input "2,5:int10"      whole numbers below 10

A Module is checked in training and in evaluation, with respect to its input, its parameters and its buffers, in float64. Small
Jacobians are checked whole, large ones along random directions; --full and --fast decide otherwise. The exit status is 0 if all is
right, 1 if something is wrong, 2 for an error.
"""


def add(check: argparse.ArgumentParser) -> None:
    """The options."""
    check.add_argument("target", nargs="?", metavar="MODULE:NAME", help="a Module's class, a function, or a Module")
    check.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="shape of an input, 2,3,32,32; again for the next one",
    )
    check.add_argument("--arguments", default="", metavar="ARGS", help="what the class is made with: '3, 16, stride=2'")
    check.add_argument("--only", metavar="NAMES", help="these primitives, separated by commas")
    check.add_argument("--device", action="append", default=[], help="cpu or cuda (all that this machine has)")
    check.add_argument(
        "--order", type=int, default=None, metavar="N", help="derivatives up to this order (2; 1 for a target)"
    )
    check.add_argument(
        "--mode", choices=("vjp", "jvp", "both"), default=None, help="which rules (%(choices)s; what there is)"
    )
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of values and directions (0)")
    check.add_argument("--rtol", type=float, default=1e-3, help="relative tolerance for a target (%(default)s)")
    check.add_argument("--atol", type=float, default=1e-5, help="absolute tolerance for a target (%(default)s)")
    how = check.add_mutually_exclusive_group()
    how.add_argument("--fast", action="store_true", help="along random directions")
    how.add_argument("--full", action="store_true", help="every number of the Jacobian")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """The subcommand; returns the exit status."""
    if options.target is None:
        if options.input or options.arguments:
            raise ArgumentError("check: --input and --arguments belong to a target, MODULE:NAME")
        return check_library(options)
    if options.only:
        raise ArgumentError("check: --only chooses among the library's primitives; leave it or the target out")
    return check_target(options)


def check_library(options: argparse.Namespace) -> int:
    """One table of all primitives."""
    from tensorgrad.gradcheck.primitives import Row, check_primitives

    head = f"{'primitive':<28}{'device':<9}{'cases':>5}  {'vjp':>8}  {'jvp':>8}  {'identity':>8}  {'second':>8}  {'s':>6}  verdict"
    print(head, flush=True)
    order = options.order or 2

    def show(row: Row) -> None:
        numbers = [row.worst(1, "vjp"), row.worst(1, "jvp"), row.worst(1, "identity"), row.worst(2)]
        columns = "".join(f"  {'-' if numpy.isnan(x) else f'{x:.0e}':>8}" for x in numbers)
        print(
            f"{row.primitive:<28}{row.device:<9}{row.cases:>5}{columns}  {row.seconds:>6.2f}  {row.verdict}", flush=True
        )

    names = options.only.split(",") if options.only else None
    rows = check_primitives(names, options.device or devices(), order, options.seed, show)
    wrong = [row for row in rows if not row.ok]
    for row in wrong:
        print(f"\n{row.primitive} on {row.device}: {row.verdict}")
        for problem in row.problems[:4]:
            print(f"  {problem}")
        for sample, report in [pair for pair in row.reports if not pair[1].ok][:1]:
            print(f"\n{sample.note}:\n{report}")
    cases = sum(row.cases for row in rows)
    seconds = sum(row.seconds for row in rows)
    print(
        f"\n{len(rows) - len(wrong)} of {len(rows)} primitives right, {cases} cases, {seconds:.1f} s, seed={options.seed}; errors are "
        "relative to the largest number of a Jacobian"
    )
    return 1 if wrong else 0


def devices() -> list[str]:
    """The kinds of device this machine has."""
    from tensorgrad.backend import backend_for
    from tensorgrad.errors import DeviceError

    found = ["cpu"]
    try:
        backend_for("cuda")
        found.append("cuda")
    except DeviceError:
        pass  # no CuPy or no GPU: the CPU is what there is to check
    return found


def check_target(options: argparse.Namespace) -> int:
    """A report on the user's own."""
    from tensorgrad.gradcheck.testing import values_of, watch

    func = find(options.target, options.arguments)
    if not options.input:
        raise ArgumentError("check: say what shape the input has, --input 2,3,32,32 (once for each input)")
    inputs = values_of([_shape(text) for text in options.input], options.seed)
    status = 0
    for device in options.device or ["cpu"]:
        report = watch(
            func,
            [x.to(device).detach().requires_grad_(x.requires_grad) for x in inputs],
            device=device,
            fast=True if options.fast else False if options.full else None,
            order=options.order or 1,
            mode=options.mode,
            rtol=options.rtol,
            atol=options.atol,
            seed=options.seed,
        )
        print(report)
        status = status or (0 if report.ok else 1)
    return status


def find(target: str, arguments: str) -> Any:
    """What MODULE:NAME names; a class is made with the arguments."""
    module, colon, path = target.partition(":")
    if not colon or not path:
        raise ArgumentError(f"check: got {target!r}; it takes MODULE:NAME, as in mylib.layers:Gate")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ArgumentError(f"check: {target!r}: {error}; start it where `import {module}` works") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise ArgumentError(f"check: {target!r}: {found!r} has no {name!r}")
        found = getattr(found, name)
    if isinstance(found, type) and not callable(getattr(found, "apply", None) if not _is_module(found) else None):
        positional, named = _arguments(arguments)
        return found(*positional, **named)
    if arguments:
        raise ArgumentError(f"check: {target!r} is no class that is made with arguments; leave --arguments out")
    return found


def _is_module(kind: type) -> bool:
    return hasattr(kind, "named_parameters")


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    """'3, 16, stride=2' as the arguments of a call; plain values only."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        positional = [ast.literal_eval(part) for part in call.args]
        named = {part.arg: ast.literal_eval(part.value) for part in call.keywords if part.arg is not None}
    except (SyntaxError, ValueError) as error:
        raise ArgumentError(f"check: --arguments {text!r}; it takes plain values, as in '3, 16, stride=2'") from error
    return positional, named


def _shape(text: str) -> tuple[tuple[int, ...], int | None]:
    """'2,3,32,32' or '2,5:int10' (whole numbers below 10): a shape, and the bound."""
    sizes, _, kind = text.partition(":")
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        if kind and not kind.startswith("int"):
            raise ValueError(kind)
        below = int(kind[3:]) if kind else None
    except ValueError:
        raise ArgumentError(
            f"check: --input {text!r}; it takes a shape as in 2,3,32,32, or 2,5:int10 for whole numbers below 10"
        ) from None
    return shape, below
