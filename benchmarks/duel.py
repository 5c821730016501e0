"""Two contestants, two processes, asked in turn: what a machine's other work does to one of them, it does to both.

A contestant is "module:function"; the function, called with the case's settings, returns a step without arguments. Each
lives in a process of its own, so that two thread pools never meet. A round times one after the other; the figure
is the median of the rounds' ratios, with the spread beside it.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

#: What tells NumPy's BLAS, PyTorch and tensorgrad how many threads to use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TENSORGRAD_NUM_THREADS")


@dataclass
class Result:
    """Seconds a step of both sides, and the ratio of the first to the second: below 1 the first is faster."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ours * 1e3:10.4f} ms {self.theirs * 1e3:10.4f} ms   ratio {self.ratio:5.2f} ({self.low:.2f} to {self.high:.2f})"


def _serve(pipe: Connection, contestant: str, settings: dict[str, Any]) -> None:
    module, _, function = contestant.partition(":")
    step = getattr(importlib.import_module(module), function)(**settings)
    step()
    pipe.send("ready")
    while True:
        repeats = pipe.recv()
        if repeats == 0:
            return
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        pipe.send((time.perf_counter() - start) / repeats)


class _Side:
    def __init__(self, contestant: str, settings: dict[str, Any], threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, contestant, settings), daemon=True)
        before = dict(os.environ)
        if threads is not None:
            os.environ.update(dict.fromkeys(THREADS, str(threads)))
        try:
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        other.close()
        self.pipe.recv()

    def time(self, repeats: int) -> float:
        self.pipe.send(repeats)
        seconds: float = self.pipe.recv()
        return seconds

    def stop(self) -> None:
        self.pipe.send(0)
        self.process.join()


def duel(
    ours: str,
    theirs: str,
    *,
    rounds: int = 15,
    seconds: float = 0.2,
    settings: dict[str, Any] | None = None,
    threads: int | None = None,
) -> Result:
    """Time the two in turn, each round long enough to last about `seconds` a side; threads None is each one's own policy."""
    sides = [_Side(contestant, settings or {}, threads) for contestant in (ours, theirs)]
    try:
        repeats = [max(1, round(seconds / max(side.time(1), 1e-6))) for side in sides]
        pairs = [[side.time(n) for side, n in zip(sides, repeats)] for _ in range(rounds)]
    finally:
        for side in sides:
            side.stop()
    ratios = sorted(a / b for a, b in pairs)
    return Result(
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        ratios[len(ratios) // 4],
        ratios[-1 - len(ratios) // 4],
    )
