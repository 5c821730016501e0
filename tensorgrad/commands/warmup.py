"""`tensorgrad warmup`: compile the kernels for this processor, before a program needs them."""

from __future__ import annotations

import argparse
import sys

EPILOG = """\
what happens:
  The kernels of the extra `fast` are compiled and kept on disk, beside the library's files, or in the folder that the
  environment variable NUMBA_CACHE_DIR names, or in your cache. That takes a minute or less, once for a machine and a version of
  the library; without it each kernel is compiled when a program first needs it. The same command once more only reads them.

environment variables:
  TENSORGRAD_FAST=0             no compiled kernels at all
  TENSORGRAD_NUM_THREADS=N      so many threads (all cores)
  TENSORGRAD_CONVOLUTION=NAME   auto, exact, winograd, direct, depthwise, loops or numpy, as tensorgrad.backend.choose
  TENSORGRAD_LANES=4, 8 or 16   numbers in a vector register (what the processor has)

examples:
  tensorgrad warmup
  NUMBA_CACHE_DIR=/var/cache/kernels tensorgrad warmup --quiet
"""

#: Characters of the moving bar.
BAR = 30


def add(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("--quiet", action="store_true", help="print the last line only")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile, with a bar that moves on a terminal, or a line for every tenth elsewhere; the exit status."""
    from tensorgrad.backend import compiled

    if not compiled.numba_works():
        print(f"warmup: there is nothing to compile: {compiled.why_not() or 'Numba does not compile'}", file=sys.stderr)
        return 2
    show = None if options.quiet else _on_terminal if sys.stdout.isatty() else _in_lines
    seconds = compiled.warmup(progress=show)
    count = len(compiled.kernels_of_all())
    print(f"{count} kernels ready after {seconds:.1f} s")
    return 0


def _on_terminal(done: int, count: int, name: str) -> None:
    filled = BAR * done // count
    end = "\n" if done == count else ""
    print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{count} {name:<40.40}", end=end, flush=True)


def _in_lines(done: int, count: int, name: str) -> None:
    if done == count or done * 10 // count > (done - 1) * 10 // count:
        print(f"{done}/{count} {name}", flush=True)
