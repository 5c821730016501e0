"""Share the images of a batch among a few Python threads.

NumPy lets go of the interpreter's lock while it copies, adds and multiplies, so threads that each work on images of their
own run side by side: im2col next to matrix product, which the threads inside BLAS alone cannot. Two pools would
fight for the cores (each waits by spinning), so while ours works BLAS is held to one thread.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from tensorgrad import determinism
from tensorgrad.errors import ArgumentError, OperandError


def available() -> int:
    """The cores this process may use."""
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


class _Blas:
    """BLAS held to one thread while ours work.

    Most builds have one number of threads for the whole process: it is changed by the first scope in and restored by the
    last one out, however the scopes of several threads overlap. MKL, and whatever runs on OpenMP, have one for each thread:
    it is changed around every part, in the thread that works on it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scopes = 0
        self.before: list[int] = []
        self.of_process: list[Any] = []
        self.of_thread: list[Any] = []
        self.found = False

    def find(self) -> None:
        for library in ThreadpoolController().select(user_api="blas").lib_controllers:
            by_thread = library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp"
            (self.of_thread if by_thread else self.of_process).append(library)
        self.found = True

    @contextmanager
    def at_one_thread(self) -> Iterator[None]:
        """Around a whole call of `share`."""
        with self.lock:
            if not self.found:
                self.find()
            if self.scopes == 0:
                self.before = [library.get_num_threads() for library in self.of_process]
                self.set([1] * len(self.before))
            self.scopes += 1
        try:
            yield
        finally:
            with self.lock:
                self.scopes -= 1
                if self.scopes == 0:
                    self.set(self.before)

    def limit(self, threads: int) -> None:
        """From now on no more threads than that, nor than the cores."""
        with self.lock:
            if not self.found:
                self.find()
            count = min(threads, available())
            if self.scopes:  # what is put back when the last one leaves
                self.before = [count] * len(self.of_process)
            else:
                self.set([count] * len(self.of_process))
            for library in self.of_thread:
                library.set_num_threads(count)

    def set(self, threads: list[int]) -> None:
        for library, count in zip(self.of_process, threads):
            # Newer versions of threadpoolctl let only one thread of the process change OpenBLAS, the first that did; our
            # lock orders the changes, so whichever thread we are in may.
            release = getattr(library, "clear_controlling_thread", None)
            if release is not None:
                release(force=True)
            library.set_num_threads(count)
            if release is not None:
                release(force=True)

    @contextmanager
    def at_one_thread_here(self) -> Iterator[None]:
        """Around one part, in its own thread."""
        before = [library.get_num_threads() for library in self.of_thread]
        for library in self.of_thread:
            library.set_num_threads(1)
        try:
            yield
        finally:
            for library, count in zip(self.of_thread, before):
                library.set_num_threads(count)


_pool = _Pool(int(os.environ.get("TENSORGRAD_NUM_THREADS") or available()))
_blas = _Blas()
_working = threading.local()  # .now: this thread is at work on a part


def _after_fork() -> None:
    """A child has none of its parent's threads, so it must not wait for them: it makes its own."""
    global _pool, _blas
    _pool = _Pool(_pool.threads)
    _blas = _Blas()


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


def get_num_threads() -> int:
    """How many threads compute on the processor: TENSORGRAD_NUM_THREADS, or else the cores this process may use."""
    return thread_count()


def set_num_threads(num: int) -> None:
    """Compute with so many threads on the processor from now on; NumPy's BLAS, the whole process's, with no more.

    Not to be called while another thread of the program computes.

    num  at least 1
    Raises OperandError for what is no whole number, ArgumentError below 1.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    if isinstance(num, bool) or not isinstance(num, (int, np.integer)):
        raise OperandError(f"set_num_threads: got {num!r}; it must be a whole number")
    if num < 1:
        raise ArgumentError(f"set_num_threads: got {num}; it must be at least 1")
    set_thread_count(int(num))
    _blas.limit(int(num))


def share(count: int, task: Callable[[int, int], None], worthwhile: bool = True, matrix_products: bool = False) -> None:
    """Call task(start, stop) so that range(count) is covered, in as many equal parts as there are threads.

    The parts depend on count and the number of threads only, so equal calls give equal results to the last bit; with
    deterministic algorithms (determinism.py) on count alone.
    Where handing out is not worthwhile, or a task itself shares, it is one call in the caller's thread. If the task makes
    matrix_products, BLAS has one thread then, too: its threads hardly help small products, and on a busy machine waiting
    for them takes up to a hundred times as long as the work. An exception in a part is raised here once all have ended.

    >>> covered = []
    >>> share(10, lambda start, stop: covered.extend(range(start, stop)))
    >>> sorted(covered)
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    deterministic = determinism.state.enabled
    parts = min(count, determinism.PARTS if deterministic else _pool.threads)
    if getattr(_working, "now", False):
        task(0, count)
        return
    if not worthwhile or parts <= 1:
        # a single image that would be worth sharing may have all threads of BLAS
        if matrix_products and (deterministic or not (worthwhile and _pool.threads > 1)):
            with _blas.at_one_thread():
                task(0, count)
        else:
            task(0, count)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    errors = np.geterr()  # np.errstate holds in one thread only
    with _blas.at_one_thread():
        if _pool.threads == 1:
            for start, stop in itertools.pairwise(bounds):
                _run(task, start, stop, errors)
            return
        others = [_pool.submit(_run, task, start, stop, errors) for start, stop in zip(bounds[1:], bounds[2:])]
        try:
            _run(task, bounds[0], bounds[1], errors)
        finally:
            wait(others)
        for other in others:
            other.result()


def _run(task: Callable[[int, int], None], start: int, stop: int, errors: Any) -> None:
    _working.now = True
    try:
        with _blas.at_one_thread_here(), np.errstate(**errors):
            task(start, stop)
    finally:
        _working.now = False


def sum_of_parts(count: int, part: Callable[[int, int], Any], worthwhile: bool) -> Any:
    """The sum of the arrays part(start, stop), matrix products, over parts of range(count) that threads share."""
    sums: dict[int, Any] = {}

    def work(start: int, stop: int) -> None:
        sums[start] = part(start, stop)

    share(count, work, worthwhile, matrix_products=True)
    # added up in the order of the parts, whichever thread was first
    first, *others = sorted(sums)
    for other in others:
        sums[first] += sums[other]
    return sums[first]


def product(x: Any, y: Any) -> Any:
    """numpy.matmul; with deterministic algorithms in one thread of BLAS, whose parts might depend on their number."""
    if not determinism.state.enabled:
        return np.matmul(x, y)
    result: list[Any] = []
    share(1, lambda _start, _stop: result.append(np.matmul(x, y)), worthwhile=False, matrix_products=True)
    return result[0]
