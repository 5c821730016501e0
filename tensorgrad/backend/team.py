"""The threads that compute kernels of numba_*.py together: a job is handed over in about a microsecond.

A worker waits for work in machine code, without the interpreter's lock, for up to a millisecond after its last job; then it sleeps
until it is woken (some 50 microseconds). How a job is shared is told in numba_team.py. One job runs at a time: a
second thread of the user's that comes meanwhile computes its job alone, with the same parts and so the same results. A
forked child makes workers of its own. The number of threads is that of `tensorgrad.backend.parallel`.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import os
import sys
import threading
from typing import Any

import numpy as np

from tensorgrad import determinism
from tensorgrad.backend import parallel
from tensorgrad.backend.memory import address_of, aligned
from tensorgrad.locks import lock

#: Rounds of waiting before a worker sleeps, about a millisecond.
ROUNDS = 20_000
#: Parts of a job per thread: more than one, so that a thread that is held up delays the others less.
PARTS = 4


def _core_of_this_thread() -> int:
    """Its number, -1 where the system does not say."""
    return int(_getcpu()) if _getcpu is not None else -1


_getcpu: Any = getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform.startswith("linux") else None


class _Team:
    """`threads` - 1 workers and the caller."""

    def __init__(self, threads: int) -> None:
        from tensorgrad.backend import numba_team as code

        self.threads = threads
        self.code = code
        self.memory = aligned((code.WORDS,), np.int64)
        self.memory[:] = 0
        self.address = self.memory.ctypes.data
        self.busy = threading.Lock()
        self.rounds = ROUNDS if threads <= parallel.available() else 0
        # one lock a worker, held while it has to sleep: a tenth of what a semaphore of Python's costs
        self.beds = [threading.Lock() for _ in range(threads - 1)]
        for bed in self.beds:
            bed.acquire()
        self.asleep = [True] * (threads - 1)
        self.workers: list[threading.Thread] = []
        self.moves = 0  # how often a worker left the caller's core

    def start(self) -> None:
        """Make the workers, once."""
        for number in range(self.threads - 1):
            worker = threading.Thread(target=self.serve, args=(number,), daemon=True, name=f"tensorgrad-{number + 1}")
            worker.start()
            self.workers.append(worker)

    def serve(self, number: int) -> None:
        serve, stop = self.code.serve, self.code.STOP
        bed, asleep = self.beds[number], self.asleep
        while not self.memory[stop]:
            bed.acquire()
            while True:
                serve.run(self.address, number + 1, max(self.rounds, 1))
                if self.rounds and self.part_ways():
                    continue
                asleep[number] = True
                # a job opened just now has seen us awake: look once more before going to sleep
                ticket = int(self.memory[self.code.TICKET])
                if ticket & 0xFFFF >= (ticket >> 16) & 0xFFFF or self.memory[stop]:
                    break
                asleep[number] = False

    def part_ways(self) -> bool:
        """Leave the core that the caller works on, if this thread is on the same one: whether it moved.

        A scheduler wakes a thread where its waker is, and may leave both there although another core is idle: each then
        has half a core for as long as both work, and two threads take twice the time of one. Being forbidden the core
        for a moment moves a thread at once.
        """
        core = _core_of_this_thread()
        if core < 0 or core != self.memory[self.code.CORE]:
            return False
        allowed = os.sched_getaffinity(0)
        if allowed == {core}:
            return False
        try:
            os.sched_setaffinity(0, allowed - {core})
            os.sched_setaffinity(0, allowed)
        except OSError:  # a sandbox may forbid it
            self.rounds = 0
            return False
        self.moves += 1
        return True

    def wake(self) -> None:
        """Get the workers out of bed that sleep."""
        for number, is_asleep in enumerate(self.asleep):
            if is_asleep:
                self.asleep[number] = False
                if self.beds[number].locked():  # else it was woken before and has not come to bed since
                    self.beds[number].release()

    def run(self, kernel: Any, arguments: Any, count: int, parts: int) -> None:
        memory, code = self.memory, self.code
        if not self.workers:
            self.start()
        memory[code.KERNEL] = kernel.address
        memory[code.ARGUMENTS] = arguments
        memory[code.COUNT] = count
        self.wake()
        code.work.run(self.address, parts)

    def stop(self) -> None:
        """Send the workers home, for good."""
        self.memory[self.code.STOP] = 1
        self.wake()
        for worker in self.workers:
            worker.join(timeout=1.0)


_team: _Team | None = None
_making = lock()


def _current() -> _Team:
    team = _team
    if team is None or team.threads != parallel.thread_count():
        return _make()
    return team


def _make() -> _Team:
    """The team of as many threads as are wanted now, made once, whichever thread of the user's comes first."""
    global _team
    with _making:
        threads = parallel.thread_count()
        if _team is None or _team.threads != threads:
            if _team is not None:
                with _team.busy:
                    _team.stop()
            _team = _Team(threads)
        return _team


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _team
    _team = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _go_home() -> None:
    if _team is not None:
        _team.stop()


def run(kernel: Any, arguments: list[int], count: int, worthwhile: bool = True, parts: int = 0) -> None:
    """Compute range(count) with a kernel: in `parts` shares (else some for each thread), by all threads if worthwhile.

    What a part computes depends on count and parts alone, so equal calls give equal results whoever computed what.
    """
    words = array.array("q", arguments)
    address = words.buffer_info()[0]
    if count <= 0:
        return
    if not worthwhile and parts <= 1:
        kernel.run(address, 0, count, 0, 0)
        return
    team = _current()
    parts = min(count, parts or (team.threads * PARTS if team.threads > 1 else 1), 0xFFFF)
    if worthwhile and parts > 1 and team.threads > 1 and team.busy.acquire(blocking=False):
        try:
            team.run(kernel, address, count, parts)
        finally:
            team.busy.release()
        return
    for part in range(parts):
        kernel.run(address, count * part // parts, count * (part + 1) // parts, 0, part)


def threads() -> int:
    """How many threads compute at most: kernels number them from 0."""
    return parallel.thread_count()


def shares() -> int:
    """How many parts a sum is taken in at most: one a thread, or with deterministic algorithms always as many."""
    return determinism.PARTS if determinism.state.enabled else parallel.thread_count()


class _Scratch(threading.local):
    """Memory that each thread of the user's keeps for the jobs that it starts, one after the other."""

    memory: Any = None
    address = 0


_scratch = _Scratch()


def scratch(numbers: int) -> int:
    """The address of `numbers` of float32 for each thread that computes, one behind the other, for the next job alone.

    Their values are anything. The next call may give the same memory, or take it back.
    """
    kept = _scratch
    needed = numbers * parallel.thread_count()
    if kept.memory is None or len(kept.memory) < needed:
        kept.memory = aligned((needed,), np.float32)
        kept.address = address_of(kept.memory)
    return kept.address
