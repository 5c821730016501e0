"""Making a batch: from indices or from a stream, and what becomes of an error on the way."""

from __future__ import annotations

import copy
import itertools
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tensorgrad.data import engine
from tensorgrad.data.dataset import fetch_samples


class Fetcher:
    """Makes batch `number` of an epoch from its indices; the same whoever runs it and wherever.

    collate_fn: samples -> batch. batched: whether indices are a list, or one index, whose sample collate_fn then takes.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batched = batched

    def __call__(self, seed: int, number: int, indices: Any) -> Any:
        with engine.drawing_from(seed, number):
            samples = self._samples(number, indices) if self.batched else self._sample(number, indices)
            try:
                return self.collate_fn(samples)
            except Exception as error:
                add_note(error, f"raised by collate_fn for batch {number}, indices {brief(indices)}")
                raise

    def _samples(self, number: int, indices: Sequence[int]) -> Sequence[Any]:
        if not hasattr(self.dataset, "__getitems__"):
            return [self._sample(number, index) for index in indices]
        try:
            return fetch_samples(self.dataset, indices)
        except Exception as error:
            add_note(error, f"raised by dataset.__getitems__ for batch {number}, indices {brief(indices)}")
            raise

    def _sample(self, number: int, index: Any) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:
            add_note(error, f"raised by dataset[{index!r}] for batch {number}")
            raise

    def copy(self) -> Fetcher:
        """A worker thread's own: files that a dataset opens when first asked are then opened once a worker."""
        return Fetcher(copy.copy(self.dataset), self.collate_fn, self.batched)


class End:
    """What a worker gives in place of a batch when its stream has no more samples."""


class StreamFetcher:
    """Makes batch `number` of an epoch from the next `size` samples of an IterableDataset; size None means one, bare.

    Each epoch has an iterator of its own, known by the epoch's seed, until it ends or `forget` is told.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self._iterators: dict[int, Iterator[Any]] = {}

    def __call__(self, seed: int, number: int, size: int | None) -> Any:
        with engine.drawing_from(seed, number):
            samples = self._next(seed, number, 1 if size is None else size)
            if not samples or (self.drop_last and size is not None and len(samples) < size):
                return End()
            try:
                return self.collate_fn(samples[0] if size is None else samples)
            except Exception as error:
                add_note(error, f"raised by collate_fn for batch {number}")
                raise

    def _next(self, seed: int, number: int, size: int) -> list[Any]:
        try:
            if seed not in self._iterators:
                self._iterators[seed] = iter(self.dataset)
            return list(itertools.islice(self._iterators[seed], size))
        except Exception as error:
            add_note(error, f"raised by the dataset's iterator for batch {number}")
            raise

    def forget(self, seed: int) -> None:
        """Nothing more is wanted of this epoch."""
        self._iterators.pop(seed, None)

    def copy(self) -> StreamFetcher:
        """A worker thread's own."""
        return StreamFetcher(copy.copy(self.dataset), self.collate_fn, self.drop_last)


class Failure:
    """An exception in a worker, on its way to the reader: its type, and a text with index and traceback."""

    def __init__(self, error: BaseException, worker: str) -> None:
        notes = getattr(error, "__notes__", [])
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        where = f", {notes[0]}" if notes else ""
        self.message = f"{type(error).__name__} in DataLoader {worker}{where}. Its traceback:\n{text}"
        try:
            pickle.dumps(type(error))
            self.kind: type[BaseException] = type(error)
        except (pickle.PicklingError, AttributeError):
            self.kind = RuntimeError  # a class made inside of a function has no name to be sent by

    def error(self) -> BaseException:
        """The exception to raise: of the same type where a text makes one, else a RuntimeError."""
        if not issubclass(self.kind, Exception) or issubclass(self.kind, StopIteration):
            return RuntimeError(self.message)  # SystemExit must not end the reader, nor StopIteration its loop
        if issubclass(self.kind, KeyError):
            return _WorkerKeyError(self.message)
        try:
            return self.kind(self.message)
        except TypeError:  # takes other arguments than one text, as UnicodeDecodeError does
            return RuntimeError(self.message)


class _WorkerKeyError(KeyError):
    """A KeyError that prints its text as it is; KeyError itself would print one quoted line."""

    def __str__(self) -> str:
        return str(self.args[0])


def add_note(error: BaseException, note: str) -> None:
    """BaseException.add_note, which came with Python 3.11."""
    notes = getattr(error, "__notes__", [])
    error.__notes__ = [*notes, note]  # type: ignore[attr-defined]


def brief(indices: Any) -> str:
    text = repr(indices)
    return text if len(text) <= 100 else f"{text[:100]}..."
