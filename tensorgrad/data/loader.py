"""DataLoader: batches of a dataset as Tensors on the CPU, in an order that one seed decides."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import queue
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tensorgrad.data import engine
from tensorgrad.data.collate import default_collate, default_convert, pin_memory
from tensorgrad.data.dataset import IterableDataset
from tensorgrad.data.fetch import End, Failure, Fetcher, StreamFetcher
from tensorgrad.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from tensorgrad.data.workers import Epoch, Workers
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.random import Generator

# what a loader was made from cannot be changed behind its samplers' backs
_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader:
    """Iterates over a dataset in batches. Arguments have PyTorch's names and meanings.

    dataset: has `__len__` and `__getitem__`; a `__getitems__(indices)` is preferred (see `Dataset`).
    batch_size: samples a batch; None gives single samples, converted but not collated.
    shuffle: a new random order each epoch. sampler: the order, an iterable of indices. batch_sampler: the batches, an
        iterable of lists of indices. drop_last: leave out a last batch that is not full.
    num_workers: 0 loads in the calling thread when asked for a batch; n workers load ahead.
    multiprocessing_context: None makes the workers threads; 'spawn', 'forkserver' or 'fork' processes.
    collate_fn: list of samples -> batch, run by the worker; `default_collate` unless given.
    pin_memory: copy each batch into memory from which a GPU fetches fastest; without a GPU a warning, and no copy.
    in_order: False gives batches out as they get ready; then what is random no longer decides their order.
    prefetch_factor: batches loaded ahead by each worker, 2 unless given.
    worker_init_fn: called with its number in each worker before it loads. persistent_workers: keep them between epochs.
    timeout: seconds to wait for a batch before a RuntimeError; 0 waits for ever.
    generator: the tensorgrad Generator that decides order and augmentation; None is the library's own.

    What is random. When iteration begins, the loader draws one 63-bit seed from the generator, then the sampler draws
    its own. Batch k of the epoch is made under a stream of random numbers of its own, derived from that seed and k (see
    `current_generator`), so the batches are the same whatever num_workers is, and in the same order. Restoring the
    generator's state before an epoch repeats the epoch.

    Of an `IterableDataset` every worker iterates over a copy of its own, and the batches come from each worker in turn.
    It decides the order itself: shuffle, sampler and batch_sampler are refused.

    Leaving the loop early, or an error in it, ends the workers.

    >>> import numpy as np
    >>> from tensorgrad.data import DataLoader
    >>> [batch.tolist() for batch in DataLoader([1, 2, 3, 4, 5], batch_size=2)]
    [[1, 2], [3, 4], [5]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if not hasattr(dataset, "__getitem__"):
            raise OperandError(f"DataLoader: dataset is a {type(dataset).__name__}, which has no __getitem__(index)")
        self._streams = isinstance(dataset, IterableDataset)
        if self._streams:
            for name, given in (("shuffle", shuffle), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if given is not None and given is not False:
                    raise ArgumentError(f"DataLoader: {name} with an IterableDataset, which decides the order itself")
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        if sampler is not None and shuffle:
            raise ArgumentError(
                "DataLoader: sampler and shuffle=True exclude each other; the sampler decides the order"
            )
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ArgumentError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        if batch_size is None and drop_last:
            raise ArgumentError("DataLoader: drop_last=True needs a batch_size")

        if pin_memory_device and not pin_memory_device.startswith("cuda"):
            raise ArgumentError(
                f"DataLoader: pin_memory_device={pin_memory_device!r}; memory is pinned for 'cuda' only"
            )

        self.dataset = dataset
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self.num_workers = num_workers
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = _context(multiprocessing_context)
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.persistent_workers = persistent_workers
        self.drop_last = drop_last
        if sampler is None and not self._streams:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        self.sampler = sampler
        self.batch_size = None if batch_sampler is not None else batch_size
        if self.batch_size is not None:
            # of a stream only its batch_size counts, which it checks
            batch_sampler = BatchSampler(() if sampler is None else sampler, self.batch_size, drop_last)
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self._workers: Workers | None = None
        self._fixed = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and getattr(self, "_fixed", False):
            raise ArgumentError(f"DataLoader: {name} cannot be changed any more; make another DataLoader")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """How many batches an epoch has."""
        if self._streams:
            samples = len(self.dataset)
            size = self.batch_size or 1
            return samples // size if self.drop_last else -(-samples // size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return self.iter_from(0)

    def iter_from(self, start: int) -> Iterator[Any]:
        """An epoch without its first `start` batches, whose samples are not loaded; the rest is as it would have been.

        So a training that was stopped within an epoch goes on at once. The order is drawn and counted off; since every
        batch has random numbers of its own, those to come are the same. A stream has to be read from its beginning.

        >>> [batch.tolist() for batch in DataLoader([1, 2, 3, 4, 5], batch_size=2).iter_from(1)]
        [[3, 4], [5]]
        """
        if start < 0:
            raise ArgumentError(f"DataLoader: iter_from({start}); it takes a number of batches, 0 or more")
        # All that is random is drawn here, before the first batch is asked for.
        epoch = Epoch(engine.spawn_seed(self.generator))
        if self._streams:
            tasks = self._requests(epoch)
        else:
            tasks = enumerate(iter(self.sampler if self.batch_sampler is None else self.batch_sampler))  # type: ignore[arg-type]
            for _ in itertools.islice(tasks, start):
                pass
        batches = self._load_here(epoch, tasks) if self.num_workers == 0 else self._load_ahead(epoch, tasks)
        if self._streams:
            for _ in itertools.islice(batches, start):
                pass
        return self._pinned(batches) if self.pin_memory else batches

    def _requests(self, epoch: Epoch) -> Iterator[tuple[int, Any]]:
        """Of a stream: (number, how many samples), for the workers in turn, but those whose part has ended."""
        workers = max(1, self.num_workers)
        for number in itertools.count():
            if len(epoch.ended) == workers:
                return
            if number % workers not in epoch.ended:
                yield number, self.batch_size

    def _pinned(self, batches: Iterator[Any]) -> Iterator[Any]:
        if engine.why_not_pinned() is not None:
            warnings.warn(f"DataLoader: pin_memory=True has no effect: {engine.why_not_pinned()}", stacklevel=4)
            return batches
        return map(pin_memory, batches)

    def _fetcher(self) -> Fetcher | StreamFetcher:
        if self._streams:
            return StreamFetcher(self.dataset, self.collate_fn, self.drop_last)
        return Fetcher(self.dataset, self.collate_fn, batched=self.batch_sampler is not None)

    def _load_here(self, epoch: Epoch, tasks: Iterator[tuple[int, Any]]) -> Iterator[Any]:
        fetch = self._fetcher()
        for number, indices in tasks:
            batch = fetch(epoch.seed, number, indices)
            if isinstance(batch, End):
                return
            yield batch

    def _load_ahead(self, epoch: Epoch, tasks: Iterator[tuple[int, Any]]) -> Iterator[Any]:
        """Keep prefetch_factor tasks a worker under way, and give the batches out in the order of their numbers."""
        workers = self._workers_for(epoch)
        try:
            ahead: collections.deque[int] = collections.deque()  # numbers under way, in order
            assert self.prefetch_factor is not None
            for _ in range(self.prefetch_factor * self.num_workers):
                self._submit(workers, epoch, tasks, ahead)
            early: dict[int, Any] = {}  # made out of turn
            while ahead:
                wanted = ahead[0]
                while wanted not in early:
                    number, result = self._wait(epoch, wanted)
                    early[number] = result
                    if not self.in_order:
                        wanted = number
                batch = early.pop(wanted)
                ahead.remove(wanted)
                if isinstance(batch, Failure):
                    raise batch.error()
                if isinstance(batch, End):
                    epoch.ended.add(wanted % self.num_workers)
                self._submit(workers, epoch, tasks, ahead)
                if not isinstance(batch, End):
                    yield batch
                del batch  # while the next one is waited for, this one can be freed
        finally:
            workers.leave(epoch)
            if not self.persistent_workers:
                workers.close()

    def _submit(
        self, workers: Workers, epoch: Epoch, tasks: Iterator[tuple[int, Any]], ahead: collections.deque[int]
    ) -> None:
        """Hand the next task, if there is one, to the workers."""
        for number, indices in tasks:
            workers.submit(epoch, number, indices)
            ahead.append(number)
            return

    def _wait(self, epoch: Epoch, wanted: int) -> tuple[int, Any]:
        """The next finished batch, whichever it is."""
        deadline = time.monotonic() + self.timeout if self.timeout else None
        while True:
            # Waiting in short turns lets Ctrl-C through on systems where a lock cannot be interrupted.
            patience = 1.0 if deadline is None else min(1.0, max(0.0, deadline - time.monotonic()))
            try:
                return epoch.results.get(timeout=patience)
            except queue.Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    raise RuntimeError(
                        f"DataLoader: timed out after {self.timeout} seconds waiting for batch {wanted}; "
                        "raise `timeout`, or look at what the dataset does with num_workers=0"
                    ) from None

    def _workers_for(self, epoch: Epoch) -> Workers:
        """New workers for this epoch, or those that persist."""
        if self._workers is not None:
            return self._workers
        workers = Workers(
            self.num_workers, self._fetcher(), epoch.seed, self.worker_init_fn, self.multiprocessing_context
        )
        if self.persistent_workers:
            self._workers = workers
            weakref.finalize(self, workers.close)
        return workers


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, context: Any
) -> None:
    if not isinstance(num_workers, int) or isinstance(num_workers, bool) or num_workers < 0:
        raise ArgumentError(f"DataLoader: num_workers={num_workers!r} must be a whole number, 0 or more")
    if timeout < 0:
        raise ArgumentError(f"DataLoader: timeout={timeout} must not be negative; 0 waits for ever")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ArgumentError(f"DataLoader: prefetch_factor={prefetch_factor} must be at least 1")
    if num_workers == 0:
        for name, given in (
            ("timeout", timeout > 0),
            ("prefetch_factor", prefetch_factor is not None),
            ("persistent_workers", persistent),
            ("multiprocessing_context", context is not None),
        ):
            if given:
                raise ArgumentError(f"DataLoader: {name} needs workers; set num_workers to 1 or more")


def _context(context: Any) -> Any:
    """The multiprocessing context of this name; None (threads) and a context itself stay."""
    if not isinstance(context, str):
        return context
    try:
        return multiprocessing.get_context(context)
    except ValueError:
        methods = ", ".join(repr(method) for method in multiprocessing.get_all_start_methods())
        raise ArgumentError(
            f"DataLoader: multiprocessing_context={context!r}; use {methods}, or None for threads"
        ) from None
