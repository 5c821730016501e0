"""What is left behind by everything the library does, with the garbage collector off, counted after some warm runs:

    python -m benchmarks.leaks [--only TEXT] [--share N] [--all]

Every row of the table of cases (tests/ops/cases.py) in every direction of differentiation, with an error in the middle, in
float32 on the compiled kernels; the layers, losses and optimisers of the tests; training steps of networks, plain, compiled, under
autocast, recomputed; loaders and files. Prints what grows, or all with --all, and how the process's memory grows over rounds of everything.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import os
import sys
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

#: Runs that are counted, after as many as fill caches.
RUNS, WARM = 8, 3
#: How often they are counted before it counts as growing.
WINDOWS = 16


Subject = tuple[str, Callable[[], object]]


class Left(NamedTuple):
    """What `RUNS` runs of a subject left behind, of which one that runs once leaves the first too."""

    name: str
    objects: int  # that the garbage collector knows
    blocks: int  # of Python's own memory, circles of references aside
    arrays: int  # bytes of NumPy's arrays
    native: int  # bytes of the C library's memory, 0 where it does not tell

    @property
    def grows(self) -> bool:
        """Whether every run left something, of whatever kind: caches that fill once leave less."""
        return self.objects >= RUNS or self.blocks >= RUNS or self.arrays >= RUNS or self.native >= 64 * RUNS


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2: in use are `uordblks` of the heaps and `hblkhd` of pages of their own."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


_mallinfo: Any = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform.startswith("linux") else None
if _mallinfo is not None:
    _mallinfo.restype = _Mallinfo


def native_bytes() -> int:
    """What the C library has given out and not got back."""
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)


def array_bytes() -> int:
    """What NumPy's arrays hold, of those that were made since tracemalloc started."""
    only = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(only).traces)


def resident_bytes() -> int:
    """What of the process's memory is in the machine's, 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def left_by(name: str, run: Callable[[], object]) -> Left:
    """What RUNS runs leave behind by counting references alone.

    The interpreter and the library keep a few things for later, fewer and fewer: what grows is counted again, up to WINDOWS
    times. A leak, be it of one small object a run, is there every time.
    """
    for _ in range(WARM):
        run()
    for _ in range(WINDOWS):
        left = _counted(name, run)
        if not left.grows:
            break
    return left


def _counted(name: str, run: Callable[[], object]) -> Left:
    gc.collect()
    gc.disable()
    counted = range(RUNS)
    try:
        blocks = sys.getallocatedblocks()
        run()
        objects, native = len(gc.get_objects()), native_bytes()
        for _ in counted:
            run()
        native, objects = native_bytes() - native, len(gc.get_objects()) - objects
        gc.collect()  # empties the interpreter's stores of freed objects, too, as before
        blocks = sys.getallocatedblocks() - blocks
        tracemalloc.start()
        run()  # so that what lives on, such as gradients, is among the traced
        before = array_bytes()
        for _ in counted:
            run()
        return Left(name, objects, blocks, array_bytes() - before, native)
    finally:
        tracemalloc.stop()
        gc.enable()


class Middle(Exception):
    """What goes wrong in the middle of a run."""


def failing(run: Callable[[], object]) -> Callable[[], None]:
    """The run with an error after half of the operations that it records."""
    from tensorgrad.primitive import observers

    def watched(most: float) -> int:
        seen = 0

        def observe(*_: Any) -> None:
            nonlocal seen
            seen += 1
            if seen > most:
                raise Middle

        observers.append(observe)
        try:
            run()
        except Middle:
            pass
        finally:
            observers.remove(observe)
        return seen

    half: list[int] = []

    def halfway() -> None:
        if not half:
            half.append(watched(float("inf")) // 2)
        watched(half[0])

    return halfway


def cotangents_failing(row: Any) -> None:
    """A row's cotangents, with an error once they are there."""
    from tensorgrad.autograd import grad

    def fail(_: Any) -> None:
        raise Middle

    leaves = row.inputs(row.xs, True)
    xs = [x * 1.0 for x in leaves]
    xs[0].register_hook(fail)
    try:
        grad(row.f(*xs), leaves, row.outputs(row.us), materialize_grads=True)
    except Middle:
        return


#: What is done with a row of the table, a Row of tests/ops/test_cases.py; the first of any, the others of what has derivatives.
DIRECTIONS: dict[str, Callable[[Any], object]] = {
    "values": lambda row: row.values(row.xs),
    "jvp": lambda row: row.tangents(row.xs, row.vs),
    "vjp": lambda row: row.cotangents(row.xs, row.us),
    "error in backward": cotangents_failing,
    "forward over forward": lambda row: row.forward_over_forward(),
    "forward over reverse": lambda row: row.forward_over_reverse(),
    "reverse over forward": lambda row: row.reverse_over_forward(),
    "reverse over reverse": lambda row: row.reverse_over_reverse(),
}


def _rows(dtype: Any) -> Iterator[Subject]:
    """Every row of the table, in all directions; a Row is made when it is first run."""
    from test_cases import CASES, DIFFERENTIABLE, Row

    differentiable = {str(case) for case in DIFFERENTIABLE}
    kind = "" if dtype is None else f", {np.dtype(dtype)}"
    for case in CASES:
        if dtype is not None and not case.keeps_dtype:
            continue
        made = functools.cache(functools.partial(Row, case, dtype=dtype))
        names = list(DIRECTIONS) if str(case) in differentiable and case.floats else ["values"]
        for name in names:
            yield f"{case}: {name}{kind}", lambda direction=DIRECTIONS[name], made=made: direction(made())
        last = DIRECTIONS[names[-1]]
        yield f"{case}: error in the middle{kind}", failing(lambda last=last, made=made: last(made()))


def subjects() -> Iterator[Subject]:
    """(name, what to run): one after the other, as they are asked for."""
    from benchmarks.leak_subjects import everything

    tests = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests")
    for folder in ("", "ops", "reliability", "nn"):
        path = os.path.join(tests, folder) if folder else tests
        if path not in sys.path:
            sys.path.append(path)
    import standin  # noqa: F401  (the device of that name, which some rows go to)

    from tensorgrad.backend import compiled

    yield from _rows(None)
    yield from everything()
    least, compiled.FAST_ELEMENTS = compiled.FAST_ELEMENTS, 0  # now arrays of any size go to compiled kernels
    try:
        yield from _rows(np.float32)
    finally:
        compiled.FAST_ELEMENTS = least


def wanted(only: str, share: int = 1) -> Iterator[Subject]:
    """The subjects with one of the texts in `only`, which '|' separates, in their names; of these every `share`-th."""
    found = (subject for subject in subjects() if any(text in subject[0].lower() for text in only.lower().split("|")))
    for number, (name, run) in enumerate(found):
        if number % share == 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of operations at their edges; the tests look at them
                yield name, run


def measure(only: str = "", share: int = 1) -> Iterator[Left]:
    """What each subject leaves. What was there before is not looked through again by every collection."""
    gc.collect()
    gc.freeze()
    try:
        for name, run in wanted(only, share):
            yield left_by(name, run)
    finally:
        gc.unfreeze()


def rounds(count: int, only: str = "", share: int = 1) -> list[int]:
    """The process's resident bytes after each of `count` rounds of all subjects, with the garbage collector off."""
    runs = [run for _name, run in wanted(only, share)]
    found = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for run in runs:
                    run()
            found.append(resident_bytes())
        return found
    finally:
        gc.enable()


def table(found: list[Left], worst: int) -> list[str]:
    """Lines of Markdown: what grows, and of the rest the `worst` ones."""
    order = sorted(found, key=lambda left: (left.grows, left.arrays, left.objects, left.blocks), reverse=True)
    shown = order[: max(worst, sum(left.grows for left in found))]
    lines = [f"| {RUNS} runs of | objects | blocks | bytes of arrays | bytes of the C library |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for left in shown:
        numbers = " | ".join(f"{number:,}" for number in left[1:])
        lines.append(f"| {'**grows** ' if left.grows else ''}{left.name} | {numbers} |")
    return lines


def report(only: str, worst: int, times: int, share: int = 1) -> Iterator[str]:
    """The whole section, line by line."""
    found = list(measure(only, share))
    yield f"{len(found):,} subjects, {sum(left.grows for left in found)} grow. The worst:"
    yield ""
    yield from table(found, worst)
    memory = rounds(times, only, share)
    half = len(memory) // 2
    yield ""
    yield (
        f"Resident memory over {times} rounds of everything: {memory[half] / 2**20:.1f} MB after {half + 1}, "
        f"{memory[-1] / 2**20:.1f} MB at the end."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="the subjects with this in their names, or with one of several texts: A|B",
    )
    parser.add_argument(
        "--share", type=int, default=1, metavar="N", help="every N-th subject only; all 18,500 take half an hour"
    )
    parser.add_argument("--all", action="store_true", help="show those that do not grow too")
    arguments = parser.parse_args()
    print("\n".join(report(arguments.only, sys.maxsize if arguments.all else 10, 10, arguments.share)))


if __name__ == "__main__":
    main()
