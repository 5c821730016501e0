"""Workers of a DataLoader: threads that make batches, each by itself or by way of a process of its own.

A worker is always a thread here. Without a multiprocessing context it makes the batch itself. With one, it owns a
process and a pipe to it, hands over one request at a time and waits for the answer. So there is one queue, one order
and one way to stop for both; a process that dies is the end of its pipe, which its thread notices and reports; and as
neither side ever writes while the other is writing, the pipe cannot jam.
"""

from __future__ import annotations

import pickle
import queue
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

from tensorgrad.data import engine
from tensorgrad.data.fetch import Failure, Fetcher, StreamFetcher, add_note, brief
from tensorgrad.errors import OperandError

# Before every answer of a process stands which request it answers: the epoch's seed and the number of the batch.
_HEAD = struct.Struct("<Qq")

# How long closing a loader waits for workers to finish the batch they are at.
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class WorkerInfo:
    """What `get_worker_info()` returns inside of a worker.

    id: 0 to num_workers - 1. seed: this worker's own, derived from the epoch's generator. dataset: this worker's copy.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Current(threading.local):
    info: WorkerInfo | None = None


_current = _Current()


def get_worker_info() -> WorkerInfo | None:
    """Which worker this code runs in; None outside of a DataLoader's workers."""
    return _current.info


class Epoch:
    """One pass over the data: its seed, the finished batches as (number, batch or Failure), and whether it was left.

    ended: of a stream, the workers that have no more of it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.results: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.left = False
        self.ended: set[int] = set()


Task = tuple[Epoch, int, Any]  # epoch, number of the batch, indices (of a stream: how many samples)
FORGET = -1  # in place of a number: the epoch is over


class Workers:
    """`count` workers that take tasks from one queue; `close` ends them all.

    Of a stream, every worker has a part of its own. Then each has a queue too, and batch k is made by worker k % count.
    """

    def __init__(
        self,
        count: int,
        fetcher: Fetcher | StreamFetcher,
        seed: int,
        init_fn: Callable[[int], None] | None,
        context: Any = None,
    ) -> None:
        self._streams = isinstance(fetcher, StreamFetcher)
        queues = count if self._streams else 1
        self._tasks: list[queue.SimpleQueue[Task | None]] = [queue.SimpleQueue() for _ in range(queues)]
        self._threads: list[threading.Thread] = []
        self._processes: list[RemoteFetcher] = []
        try:
            if context is not None:  # all processes before the first thread: forking is only safe without threads
                for i in range(count):
                    self._processes.append(RemoteFetcher(context, fetcher, _info(i, count, seed, fetcher), init_fn))
            for i in range(count):
                make: Any = self._processes[i] if self._processes else fetcher.copy()
                info = None if self._processes else _info(i, count, seed, make)
                arguments = (self._tasks[i % queues], make, f"worker {i}", info, init_fn)
                thread = threading.Thread(target=_work, args=arguments, name=f"DataLoader worker {i}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self.close()
            raise

    def submit(self, epoch: Epoch, number: int, indices: Any) -> None:
        """Have batch `number` made; it arrives in epoch.results."""
        self._tasks[number % len(self._tasks)].put((epoch, number, indices))

    def leave(self, epoch: Epoch) -> None:
        """Nothing more is wanted of this epoch: what waits is passed over, and streams let go of their iterators."""
        epoch.left = True
        if self._streams:
            for tasks in self._tasks:
                tasks.put((epoch, FORGET, None))

    def close(self) -> None:
        """End all workers, each after the batch it is at, and wait for them GRACE_SECONDS.

        A process that takes longer is killed; a thread cannot be, it ends by itself when its batch is done.
        """
        threads, self._threads = self._threads, []
        processes, self._processes = self._processes, []
        if sys.is_finalizing():
            return  # the interpreter has stopped its daemon threads already: there is nobody left to wait for
        for i in range(len(threads)):
            self._tasks[i % len(self._tasks)].put(None)
        deadline = time.monotonic() + GRACE_SECONDS
        for thread, process in zip(threads, processes, strict=False):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                process.kill()
                thread.join(GRACE_SECONDS)  # which now sees the end of the pipe
        for thread in threads:
            if thread is not threading.current_thread():  # a loader freed by the garbage collector inside of a worker
                thread.join(max(0.0, deadline - time.monotonic()))
        for process in processes:
            process.close(max(0.0, deadline - time.monotonic()))


def _info(i: int, count: int, seed: int, fetcher: Any) -> WorkerInfo:
    return WorkerInfo(i, count, engine.worker_seed(seed, i), fetcher.dataset)


def _work(
    tasks: queue.SimpleQueue[Task | None],
    make: Any,
    name: str,
    info: WorkerInfo | None,
    init_fn: Callable[[int], None] | None,
) -> None:
    """The life of a worker thread; `info` is None if a process does the work, which then calls init_fn itself.

    It holds no reference to the loader, so that a loader out of use is freed.
    """
    failure = None if info is None else _enter(info, init_fn)
    while True:
        task = tasks.get()
        if task is None:
            return
        epoch, number, indices = task
        if number == FORGET:
            make.forget(epoch.seed)
        elif not epoch.left:
            epoch.results.put((number, failure or _attempt(make, name, epoch.seed, number, indices)))
        del task, epoch  # an idle worker keeps no batch alive


def _enter(info: WorkerInfo, init_fn: Callable[[int], None] | None) -> Failure | None:
    """Make this thread worker `info.id`; what goes wrong in worker_init_fn becomes the answer to every request."""
    _current.info = info
    try:
        if init_fn is not None:
            init_fn(info.id)
    except BaseException as error:
        add_note(error, "raised by worker_init_fn")
        return Failure(error, f"worker {info.id}")
    return None


def _attempt(make: Callable[..., Any], name: str, seed: int, number: int, indices: Any) -> Any:
    """The batch, or the Failure to make it."""
    try:
        return make(seed, number, indices)
    except BaseException as error:
        return Failure(error, name)


class RemoteFetcher:
    """Runs a Fetcher in a process of its own, one request at a time."""

    def __init__(self, context: Any, fetcher: Any, info: WorkerInfo, init_fn: Callable[[int], None] | None) -> None:
        self._pipe, theirs = context.Pipe()
        # A forked process inherits our end too, and would never see it close if it kept it.
        inherited = self._pipe if context.get_start_method() == "fork" else None
        name = f"DataLoader worker {info.id}"
        self._process = context.Process(
            target=_serve, args=(theirs, inherited, fetcher, info, init_fn), name=name, daemon=True
        )
        try:
            self._process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self._pipe.close()
            raise OperandError(
                f"DataLoader: dataset, collate_fn and worker_init_fn must be picklable to reach a worker process "
                f"({error}); define them at the top of a module, or leave multiprocessing_context out to use threads"
            ) from error
        finally:
            theirs.close()

    def __call__(self, seed: int, number: int, indices: Any) -> Any:
        try:
            self._pipe.send((seed, number, indices))
            head = self._received()
            message = self._received() if head == _HEAD.pack(seed, number) else b""
        except (EOFError, OSError) as error:
            self._process.join(GRACE_SECONDS)
            raise RuntimeError(
                f"the process {self._process.pid} ended unexpectedly, exit code {self._process.exitcode}, at batch "
                f"{number}, indices {brief(indices)}. A negative code is the signal that ended it (-9: often too "
                "little memory). With multiprocessing_context='spawn' or 'forkserver' a script must start its work "
                "under `if __name__ == '__main__':`. num_workers=0 shows an error where it happens"
            ) from error
        if not message:  # and what follows could be taken for the answer to another request
            self.kill()
            raise RuntimeError(
                f"the process {self._process.pid} sent something that is no answer, at batch {number}, indices "
                f"{brief(indices)}: does the dataset write to files that are not its own?"
            )
        # The answer comes from our own code in a process we started: pickle is safe here.
        return pickle.loads(message)

    def _received(self) -> bytes:
        """The next message. A process that died is noticed also where one of its own children still holds the pipe."""
        while not self._pipe.poll(1.0):
            if not self._process.is_alive() and not self._pipe.poll(0):
                raise EOFError("the process has ended")
        message: bytes = self._pipe.recv_bytes()
        return message

    def forget(self, seed: int) -> None:
        """Have the process let go of a stream's iterator."""
        try:
            self._pipe.send((seed, FORGET, None))
        except OSError:
            pass  # it has ended already, and its iterators with it

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self, patience: float) -> None:
        """Ask the idle process to end, and see to it after `patience` seconds."""
        try:
            self._pipe.send(None)
        except OSError:
            pass  # it has ended already, which is what we want
        self._pipe.close()
        self._process.join(patience)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _serve(pipe: Any, inherited: Any, fetcher: Any, info: WorkerInfo, init_fn: Callable[[int], None] | None) -> None:
    """The life of a worker process: requests in, batches or Failures out, until told to end or the parent is gone."""
    if inherited is not None:
        inherited.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked process has the parent's, which may only take a note of it
    threadpoolctl.threadpool_limits(1)  # there is a process for each core already
    engine.seed_process(np.random.SeedSequence(info.seed))
    failure = _enter(info, init_fn)
    while True:
        try:
            request = pipe.recv()
        except (EOFError, OSError):
            return  # the parent is gone
        if request is None:
            return
        seed, number, indices = request
        if number == FORGET:
            fetcher.forget(seed)
            continue
        engine.seed_process(engine.batch_seed(seed, number))
        answer = failure or _attempt(fetcher, f"worker {info.id}", seed, number, indices)
        try:
            message = pickle.dumps(answer, protocol=5)
        except Exception as error:
            add_note(error, f"raised on sending batch {number}: what collate_fn returns must be picklable")
            message = pickle.dumps(Failure(error, f"worker {info.id}"))
        try:
            pipe.send_bytes(_HEAD.pack(seed, number))
            pipe.send_bytes(message)
        except OSError:
            return  # the parent is gone
