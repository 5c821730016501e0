"""Sharing work among threads: what is covered, errors, nesting, forks, and the number of threads BLAS may use."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator

import numpy
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tensorgrad.backend import parallel
from tensorgrad.backend.parallel import set_thread_count, share, thread_count


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = thread_count()
    set_thread_count(3)
    yield
    set_thread_count(before)


def blas_threads() -> list[int]:
    """The threads of NumPy's BLAS, not of those that tests of other things brought along."""
    if not parallel._blas.found:
        parallel._blas.find()
    ours = {library.filepath for library in parallel._blas.of_process}
    return [library["num_threads"] for library in threadpool_info() if library["filepath"] in ours]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 100])
def test_every_part_is_done_once(count: int):
    done = numpy.zeros(count, int)
    parts = []

    def work(start: int, stop: int) -> None:
        done[start:stop] += 1
        parts.append(stop - start)

    share(count, work)
    assert done.tolist() == [1] * count
    assert len(parts) == max(1, min(count, 3))
    assert max(parts) - min(parts) <= 1


def test_parts_run_at_the_same_time():
    together = threading.Barrier(3, timeout=30)
    share(3, lambda start, stop: together.wait() and None)


def test_what_is_not_worthwhile_stays_in_the_callers_thread():
    seen = []
    share(9, lambda start, stop: seen.append((start, stop, threading.get_ident())), worthwhile=False)
    assert seen == [(0, 9, threading.get_ident())]


def test_work_inside_work_is_not_shared_again():
    inner = []

    def outer(start: int, stop: int) -> None:
        share(8, lambda a, b: inner.append((a, b)))

    share(3, outer)
    assert inner == [(0, 8)] * 3
    share(8, lambda a, b: inner.append((a, b)))  # and sharing works again afterwards
    assert len(inner) == 6


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_error_arrives_after_all_parts_have_ended(failing: int):
    ended = []

    def work(start: int, stop: int) -> None:
        if start == failing:
            raise ZeroDivisionError(f"part {start}")
        ended.append(start)

    with pytest.raises(ZeroDivisionError, match=f"part {failing}"):
        share(3, work)
    assert sorted(ended) == [part for part in range(3) if part != failing]


def test_blas_has_one_thread_inside_and_its_own_number_outside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "_blas", parallel._Blas())
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        inside = []
        both = threading.Barrier(2, timeout=30)

        def work(start: int, stop: int) -> None:
            inside.append(blas_threads())

        def another_share() -> None:
            both.wait()
            share(3, work)

        others = [threading.Thread(target=another_share) for _ in range(2)]
        for other in others:
            other.start()
        for other in others:
            other.join()
        assert inside == [[1] * len(before)] * 6
        assert blas_threads() == before


class OwnThreads:
    """A BLAS with a number of threads for each thread of the program, as MKL has."""

    internal_api = "mkl"

    def __init__(self) -> None:
        self.local = threading.local()

    def get_num_threads(self) -> int:
        return getattr(self.local, "count", 4)

    def set_num_threads(self, count: int) -> None:
        self.local.count = count


def test_a_blas_that_counts_by_thread_has_one_thread_in_every_part(monkeypatch: pytest.MonkeyPatch):
    library = OwnThreads()
    monkeypatch.setattr(parallel, "_blas", parallel._Blas())
    parallel._blas.of_thread, parallel._blas.found = [library], True
    inside = []
    all_at_work = threading.Barrier(3, timeout=30)

    def work(start: int, stop: int) -> None:
        all_at_work.wait()
        inside.append(library.get_num_threads())

    share(3, work)
    assert inside == [1, 1, 1]
    assert library.get_num_threads() == 4


def test_numpys_error_settings_hold_in_every_thread():
    def divide(start: int, stop: int) -> None:
        numpy.ones(1) / numpy.zeros(1)

    with numpy.errstate(divide="ignore"):
        share(3, divide)
    with warnings.catch_warnings(), numpy.errstate(divide="raise"), pytest.raises(FloatingPointError):
        share(3, divide)


def test_blas_threads_where_nothing_is_shared(monkeypatch: pytest.MonkeyPatch):
    """One for products too small to be worth it; all of them for a single image, which cannot be shared."""
    monkeypatch.setattr(parallel, "_blas", parallel._Blas())
    with threadpool_limits(2, user_api="blas"):
        all_of_them = blas_threads()
        one = [1] * len(all_of_them)
        seen = []

        def work(start: int, stop: int) -> None:
            seen.append(blas_threads())

        share(9, work, worthwhile=False, matrix_products=True)
        share(1, work, matrix_products=True)
        share(9, work, worthwhile=False)
        set_thread_count(1)
        share(9, work, matrix_products=True)
        assert seen == [one, all_of_them, all_of_them, one]
        assert blas_threads() == all_of_them


def sum_of_parts(count: int) -> int:
    totals = []
    share(count, lambda start, stop: totals.append(sum(range(start, stop))))
    return sum(totals)


def put_sum(queue: multiprocessing.Queue) -> None:
    queue.put((sum_of_parts(10), thread_count()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_makes_threads_of_its_own():
    assert sum_of_parts(10) == 45  # the parent has its threads
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=put_sum, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == (45, 3)
    child.join()


def test_the_number_of_threads_can_be_set():
    set_thread_count(5)
    parts = []
    share(100, lambda start, stop: parts.append(stop - start))
    assert thread_count() == 5 and parts == [20] * 5
    with pytest.raises(ValueError, match="set_thread_count: got 0"):
        set_thread_count(0)
    assert thread_count() == 5


@pytest.mark.parametrize(("value", "wanted"), [("7", "7"), ("", None)])
def test_the_environment_sets_the_number_of_threads(value: str, wanted: str | None):
    code = "from tensorgrad.backend.parallel import thread_count; print(thread_count())"
    environment = {**os.environ, "TENSORGRAD_NUM_THREADS": value}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == (wanted or str(parallel.available()))
