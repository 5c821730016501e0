"""Threads that compute one job together: every part once, by several users at once, in forked children, and on exit."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest

from tensorgrad.backend.parallel import set_thread_count, thread_count

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def threads():
    before = thread_count()
    yield set_thread_count
    set_thread_count(before)


def add_up(count: int, parts: int = 0, worthwhile: bool = True) -> numpy.ndarray:
    """Row numbers added to a column of zeros by `shifted`, so that a row taken twice or never would show."""
    from tensorgrad.backend import numba_rows, team
    from tensorgrad.backend.direct import address

    rows, shift = numpy.arange(count * 16, dtype=numpy.float32), numpy.zeros(16, numpy.float32)
    shift[:] = 1
    team.run(numba_rows.shifted, [address(rows), address(rows), 16, address(shift)], count, worthwhile, parts)
    return rows - numpy.arange(count * 16, dtype=numpy.float32)


@pytest.mark.parametrize("number", [1, 2, 3, 16])
def test_every_item_is_computed_once(number: int, threads):
    threads(number)
    for count in (1, 2, 5, 64, 1000):
        for parts in (0, 1, 3, 7, 200):
            for worthwhile in (True, False):
                numpy.testing.assert_array_equal(add_up(count, parts, worthwhile), 1)
    assert add_up(0).size == 0


def test_many_jobs_one_after_the_other(threads):
    """Workers that come late, or fall asleep in between, must not take parts of a job that is over."""
    import time

    threads(4)
    for round_ in range(1500):
        numpy.testing.assert_array_equal(add_up(1 + round_ % 50), 1)
        if round_ % 500 == 0:
            time.sleep(0.02)


def test_several_threads_of_the_user_at_once(threads):
    threads(3)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(1 for _ in range(300) if not (add_up(97) == 1).all())

    users = [threading.Thread(target=work) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong


def test_sums_are_the_same_bits_for_every_number_of_threads(threads):
    from tensorgrad.backend import rows

    x = numpy.random.default_rng(3).standard_normal((4000, 48)).astype(numpy.float32)
    found = []
    for number in (1, 2, 5):
        threads(number)
        found.append((*rows.batch_norm(x, None, None, 1e-5, numpy.empty_like(x)), rows.column_sums(x)))
    for other in found[1:]:
        for one, two in zip(found[0], other):
            numpy.testing.assert_array_equal(one, two)


def run(program: str) -> str:
    start = "import numpy, os, sys\nfrom tensorgrad.backend import fast, parallel\nparallel.set_thread_count(3)\n"
    start += "backend = fast.cpu_backend()\nx = numpy.ones((1 << 20,), numpy.float32)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", start + program],
        cwd=ROOT,
        env={**os.environ, "TENSORGRAD_FAST": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    program = (
        "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
        "backend.add(x, x)\nchild = os.fork()\n"
        "if child == 0:\n    os._exit(7 if (backend.add(x, x) == 2).all() else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(backend.add(x, x).sum()))"
    )
    assert run(program) == "7 2097152"


def test_a_program_ends_while_workers_wait():
    assert run("print(backend.add(x, x)[0])") == "2.0"


def test_memory_does_not_grow():
    """Scratch memory and arguments are given back: 1,000 convolutions keep what 100 took, but for some pages."""
    program = (
        "import resource\nw = numpy.ones((16, 16, 3, 3), numpy.float32)\ny = numpy.ones((2, 16, 24, 24), numpy.float32)\n"
        "def work(times):\n    for _ in range(times):\n        backend.conv2d(y, w, (1, 1), (1, 1, 1, 1), (1, 1), 1)\n"
        "        backend.conv2d_weight_grad(y, y, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = work(100)\nprint(work(1000) - before < 4096)"
    )
    assert run(program) == "True"


def test_without_memory_the_error_says_what_for():
    from tensorgrad.backend.memory import aligned

    with pytest.raises(MemoryError, match=r"shape \(1099511627776, 64\).*smaller batch"):
        aligned((1 << 40, 64), numpy.float32)


def test_arrays_begin_at_a_cache_line():
    from tensorgrad.backend.memory import aligned

    for size in (1, 7, 100, 100_000):
        x = aligned((size, 3), numpy.float32)
        assert x.ctypes.data % 64 == 0 and x.shape == (size, 3) and x.flags.c_contiguous and x.flags.writeable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say which core a thread is on")
def test_a_worker_leaves_the_callers_core(threads):
    """Both put on one core, as a scheduler may: the worker goes to another, and may be anywhere afterwards."""
    from tensorgrad.backend import team

    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("there is one core")
    threads(2)
    add_up(500, 16)  # the worker is there
    worker = team._current().workers[0]
    before = team._current().moves
    core = {min(allowed)}
    for thread in (0, worker.native_id):
        os.sched_setaffinity(thread, core)
    os.sched_setaffinity(worker.native_id, allowed)  # allowed elsewhere, but nothing makes it go
    try:
        end = time.monotonic() + 20
        while team._current().moves == before and time.monotonic() < end:
            assert (add_up(5000, 64) == 1).all()
    finally:
        os.sched_setaffinity(0, allowed)
    assert team._current().moves > before
    assert os.sched_getaffinity(worker.native_id) == allowed
