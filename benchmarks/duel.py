"""Contestants in processes of their own, asked in turn: what a machine's other work does to one, it does to all.

A contestant is "module:function"; the function, called with its settings, returns a step without arguments. Each lives in a
process of its own, so that two thread pools never meet, and may have its own environment and even its own Python.
A round times one after the other; a ratio is the median of the rounds' ratios, with the middle half of them beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: What tells NumPy's BLAS, PyTorch and tensorgrad how many threads to use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TENSORGRAD_NUM_THREADS")


@dataclass
class Side:
    """One contestant; `python` is the interpreter it runs in, `threads` None its own policy."""

    label: str
    contestant: str
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    threads: int | None = None
    python: str = sys.executable


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


class Failed(Exception):
    """A contestant that did not start or broke down, with the last line of what it said."""


class Worker:
    """A running contestant. It is asked by lines on its standard input and answers by lines on its standard output."""

    def __init__(self, side: Side) -> None:
        self.side = side
        places = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": places, **side.environment}
        if side.threads is not None:
            environment.update(dict.fromkeys(THREADS, str(side.threads)))
        self.process = subprocess.Popen(
            [side.python, "-m", "benchmarks.duel", side.contestant, json.dumps(side.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        try:
            self._answer()
        except Failed:
            self.stop()
            raise

    def _answer(self) -> float:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip().splitlines() or ["it ended without a word"]
            self.process.wait()
            raise Failed(f"{self.side.label}: {said[-1]}")
        return float(line)

    def ask(self, question: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self._answer()

    def time(self, repeats: int) -> float:
        """Seconds a step, over so many steps."""
        return self.ask(str(repeats))

    def peak(self) -> float:
        """The most memory the process ever had, in MB."""
        return self.ask("peak")

    def stop(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None and self.process.stderr is not None
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stderr.close()
        self.process.stdout.close()
        self.process.wait()


def contest(sides: Sequence[Side], *, rounds: int = 15, seconds: float = 0.2, budget: float = 1e9) -> list[list[float]]:
    """Seconds a step of every side (by rows) in every round (by columns).

    Each side's turn lasts about `seconds`, at least one step, after half as many that are not measured: a training run goes on, it does
    not start anew every fifth of a second. There are as many rounds as fit the budget of seconds, from 3 to `rounds`.
    """
    workers: list[Worker] = []
    try:
        for side in sides:
            workers.append(Worker(side))
        for worker in workers:  # the first steps of a process are no measure for how many of them fill a turn
            worker.time(3)
        once = [worker.time(3) for worker in workers]
        repeats = [max(1, round(seconds / max(t, 1e-6))) for t in once]
        a_round = sum(t * (n + n // 2) for t, n in zip(once, repeats))
        rounds = max(3, min(rounds, round(budget / a_round)))
        times = [[worker.time(n) for worker, n in zip(workers, repeats)] for _ in range(rounds)]
    finally:
        for worker in workers:
            worker.stop()
    return [list(column) for column in zip(*times)]


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Result:
    """The first side against the second, round by round."""
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    quarter = len(ratios) // 4
    return Result(
        statistics.median(ours),
        statistics.median(theirs),
        statistics.median(ratios),
        ratios[quarter],
        ratios[-1 - quarter],
    )


def duel(
    ours: str,
    theirs: str,
    *,
    rounds: int = 15,
    seconds: float = 0.2,
    settings: dict[str, Any] | None = None,
    threads: int | None = None,
) -> Result:
    """Two sides with the same settings."""
    sides = [Side(contestant, contestant, settings or {}, threads=threads) for contestant in (ours, theirs)]
    return compare(*contest(sides, rounds=rounds, seconds=seconds))


def peak_memory(side: Side, steps: int = 3) -> float:
    """MB at the most, in a fresh process that made so many steps."""
    worker = Worker(side)
    try:
        worker.time(steps)
        return worker.peak()
    finally:
        worker.stop()


def serve(contestant: str, settings: dict[str, Any]) -> None:
    """The other end of a Worker."""
    module, _, function = contestant.partition(":")
    step = getattr(importlib.import_module(module), function)(**settings)
    step()
    answers = os.fdopen(os.dup(1), "w")  # what the step itself prints shall not look like an answer
    os.dup2(2, 1)

    def answer(value: float) -> None:
        answers.write(f"{value!r}\n")
        answers.flush()

    answer(0.0)
    for line in sys.stdin:
        if line.strip() == "peak":
            unit = 1 if sys.platform == "darwin" else 1024
            answer(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
            continue
        repeats = int(line)
        for _ in range(repeats // 2):  # after the others' turn: threads find their cores, memory its cache
            step()
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        answer((time.perf_counter() - start) / repeats)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
