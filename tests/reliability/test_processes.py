"""Threads and processes: importing, grad mode, training at once, fork in the middle of work, spawn."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

STEP = """
import threading
import numpy as np
import tensorgrad as tg
from tensorgrad import nn

def train(seed, steps=6):
    '''The digest of a few steps of a network of its own; drawn with a generator of its own, so that threads agree.'''
    random = np.random.default_rng(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    with tg.no_grad():
        for p in model.parameters():
            p.copy_(tg.tensor(random.standard_normal(p.shape).astype("float32") * 0.3))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = tg.tensor(random.standard_normal((16, 1, 8, 8)).astype("float32"))
    t = tg.tensor(random.integers(0, 3, 16))
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), t).backward()
        optimizer.step()
    return sum(float(p.double().abs().sum().item()) for p in model.parameters())

"""


def program(text, timeout=60, **environment):
    """What a program of its own prints; it must end by itself and without a complaint."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:.*multi-threaded.*fork:DeprecationWarning", "-c", text],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr, result.stderr
    return result.stdout.split()


def test_importing_from_many_threads_at_once():
    """The whole and its parts, one here and one there. In Python 3.14 a thread that imports a part waits for one that
    imports the whole, which needs the part: an error, with NumPy too (python/cpython#83065). There all threads import
    the same thing at once, one thing after the other."""
    which = "modules" if sys.version_info[:2] == (3, 14) else "[modules[number % len(modules)]]"
    out = program(f"""
import threading
start, found, failed = threading.Barrier(12), [], []
modules = ["tensorgrad", "tensorgrad.nn", "tensorgrad.models", "tensorgrad.train", "tensorgrad.optim", "tensorgrad.data"]
def work(number):
    try:
        for name in {which}:
            start.wait()
            __import__(name)
        import tensorgrad as tg
        x = tg.ones(3, requires_grad=True)
        (x * x).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0, 2.0]
        found.append(number)
    except BaseException as error:
        start.abort()  # nobody is to wait for this one
        failed.append(repr(error))
threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(found), len(failed), *failed)
""")
    assert out == ["12", "0"]


def test_threads_that_train_at_once_end_where_each_ends_alone():
    out = program(
        STEP
        + """
alone = [train(seed) for seed in range(4)]
found = [None] * 4
def work(seed):
    for _ in range(3):
        found[seed] = train(seed)
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(max(abs(a - b) / abs(a) for a, b in zip(alone, found)) < 1e-5)
"""
    )
    assert out == ["True"]


def test_a_new_thread_records_whatever_its_parent_does():
    out = program("""
import threading
import tensorgrad as tg
x, seen = tg.ones(1, requires_grad=True), []
def work():
    seen.append((tg.is_grad_enabled(), (x * 2).requires_grad))
    tg.set_grad_enabled(False)
with tg.inference_mode():
    thread = threading.Thread(target=work)
    thread.start(); thread.join()
    seen.append((tg.is_grad_enabled(), (x * 2).requires_grad))
seen.append((tg.is_grad_enabled(), (x * 2).requires_grad))
print(*seen)
""")
    assert "".join(out) == "(True,True)(False,False)(True,True)"


@posix
def test_forked_in_the_middle_of_the_work_of_other_threads():
    """Eight children, each forked while two threads go backward into the same leaf: none waits for a lock that died."""
    out = program(
        STEP
        + """
import os
w = tg.ones(2000, requires_grad=True)
expected, done = train(1), threading.Event()
def work():
    while not done.is_set():
        (w * 2.0).sum().backward()
threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]
for _ in range(8):
    child = os.fork()
    if child == 0:
        (w * 2.0).sum().backward()
        os._exit(0 if abs(train(1) - expected) < 1e-3 else 1)
    _, status = os.waitpid(child, 0)
    print(status)
done.set()
[t.join() for t in threads]
"""
    )
    assert out == ["0"] * 8


@posix
def test_a_lock_that_was_held_at_the_fork_does_not_hold_the_child_up():
    """The worst moment, made certain: another thread is inside the library's locks when the process forks."""
    out = program("""
import os, signal, threading
import tensorgrad as tg
from tensorgrad.autodiff import gradients
from tensorgrad.utils import checkpoint
locks = [gradients._leaf_lock, checkpoint._lock]
held, go = threading.Event(), threading.Event()
def hold():
    for lock in locks: lock.acquire()
    held.set(); go.wait()
    for lock in locks: lock.release()
thread = threading.Thread(target=hold)
thread.start(); held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    x = tg.ones(3, requires_grad=True)
    checkpoint.checkpoint(lambda x: (x * x).sum(), x).backward()
    os._exit(0 if x.grad.tolist() == [2, 2, 2] else 1)
print(os.waitpid(child, 0)[1])
go.set(); thread.join()
""")
    assert out == ["0"]


@posix
def test_a_worker_that_is_told_to_end_does_so_though_the_training_only_takes_a_note():
    """SIGTERM stops a training between two steps; a forked worker inherited that, and went on."""
    out = program("""
import os, signal, time
from tensorgrad.data import DataLoader
from tensorgrad.train import StopOnSignal

class Slow:
    def __len__(self):
        return 4
    def __getitem__(self, index):
        if index == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)
        return index

with StopOnSignal() as stop:
    begun, seen = time.monotonic(), []
    try:
        for batch in DataLoader(Slow(), num_workers=1, multiprocessing_context="fork"):
            seen.append(batch.tolist())
    except RuntimeError as error:
        print("exit code -15" in str(error), seen == [[0], [1]], time.monotonic() - begun < 15)
    stop.check()
""")
    assert out == ["True"] * 3


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=posix)])
def test_tensors_and_modules_go_to_other_processes(method, tmp_path):
    (tmp_path / "job.py").write_text(
        STEP
        + f"""
import multiprocessing

def double(model, x):
    y = model(x)
    y.sum().backward()
    return y.detach(), model.weight.grad

if __name__ == "__main__":
    train(0)  # threads are there before the fork
    model, x = nn.Linear(3, 2), tg.ones(4, 3)
    here = double(model, x)
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        there = pool.starmap(double, [(model, x)] * 3)
    print(all(a.tolist() == b.tolist() for pair in there for a, b in zip(here, pair)))
"""
    )
    assert program(
        f"import runpy; runpy.run_path({str(tmp_path / 'job.py')!r}, run_name='__main__')"
        if method == "fork"
        else f"import subprocess, sys; print(subprocess.run([sys.executable, {str(tmp_path / 'job.py')!r}], "
        "capture_output=True, text=True, check=True).stdout)"
    ) == ["True"]
