"""Share the images of a batch among a few Python threads.

NumPy lets go of the interpreter's lock while it copies, adds and multiplies, so threads that each work on images of their
own run side by side: im2col next to matrix product, which the threads inside BLAS alone cannot. Two pools would
fight for the cores (each waits by spinning), so while ours works BLAS is held to one thread.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from threadpoolctl import ThreadpoolController


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """The threads, made when first needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None

    def submit(self, *call: Any) -> Future[None]:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(self.threads, thread_name_prefix="tensorgrad")
            return self.executor.submit(*call)


class _BlasAtOneThread:
    """A scope in which BLAS uses one thread; scopes of several threads may overlap, the last one out restores."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.libraries: list[Any] | None = None
        self.scopes = 0
        self.before: list[int] = []

    def __enter__(self) -> None:
        with self.lock:
            if self.libraries is None:
                self.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            if self.scopes == 0:
                self.before = [library.get_num_threads() for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.scopes += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.scopes -= 1
            if self.scopes == 0:
                for library, threads in zip(self.libraries or [], self.before):
                    library.set_num_threads(threads)


_pool = _Pool(int(os.environ.get("TENSORGRAD_NUM_THREADS", "0")) or _available())
_blas_at_one_thread = _BlasAtOneThread()
_working = threading.local()  # .now: this thread is at work on a part


def _after_fork() -> None:
    """A child has none of its parent's threads, so it must not wait for them: it makes its own."""
    global _pool, _blas_at_one_thread
    _pool = _Pool(_pool.threads)
    _blas_at_one_thread = _BlasAtOneThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """How many threads share a batch: TENSORGRAD_NUM_THREADS, or else the cores this process may use."""
    return _pool.threads


def set_thread_count(threads: int) -> None:
    """Use this many threads from now on; 1 works in the caller's thread alone.

    Raises ValueError where it is less than 1.
    """
    if threads < 1:
        raise ValueError(f"set_thread_count: got {threads}; needs at least 1")
    global _pool
    _pool = _Pool(threads)


def share(count: int, task: Callable[[int, int], None], worthwhile: bool = True) -> None:
    """Call task(start, stop) so that range(count) is covered, in as many equal parts as there are threads.

    The parts depend on count and the number of threads only, so equal calls give equal results to the last bit.
    Where handing out is not worthwhile, or a task itself shares, it is one call in the caller's thread. An exception in a
    part is raised here once all parts have ended.

    >>> covered = []
    >>> share(10, lambda start, stop: covered.extend(range(start, stop)))
    >>> sorted(covered)
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    parts = min(count, _pool.threads)
    if parts <= 1 or not worthwhile or getattr(_working, "now", False):
        task(0, count)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    with _blas_at_one_thread:
        others = [
            _pool.submit(contextvars.copy_context().run, _run, task, start, stop)
            for start, stop in zip(bounds[1:], bounds[2:])
        ]
        try:
            _run(task, bounds[0], bounds[1])
        finally:
            wait(others)
        for other in others:
            other.result()


def _run(task: Callable[[int, int], None], start: int, stop: int) -> None:
    _working.now = True
    try:
        task(start, stop)
    finally:
        _working.now = False
