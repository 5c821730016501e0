"""Samplers: in which order the indices of a dataset are visited, and how they are grouped to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import numpy as np

from tensorgrad.data import engine
from tensorgrad.errors import ArgumentError
from tensorgrad.random import Generator

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """An iterable of indices (or of lists of them). A subclass writes `__iter__`, and `__len__` if it knows it.

    Draw random numbers when iteration begins rather than on the way: a loader with workers reads ahead.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must write __iter__()")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... in order."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """All indices in random order, or with `replacement` independent draws.

    num_samples: how many (the dataset's length unless given); without replacement, more than the dataset has begin a
    new permutation.
    generator: whose seed decides; None is the library's default generator. One 63-bit seed is drawn from it each time
    iteration begins.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
            raise ArgumentError(f"RandomSampler: num_samples={num_samples} must be a whole number above 0")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices one iteration gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size, wanted = len(self.data_source), self.num_samples
        rng = np.random.default_rng(engine.spawn_seed(self.generator))
        if wanted == 0:
            return iter(())
        if size == 0:
            raise ArgumentError(f"RandomSampler: num_samples={wanted}, but the dataset is empty")
        if self.replacement:
            return iter(rng.integers(0, size, wanted).tolist())
        permutations = [rng.permutation(size) for _ in range(-(-wanted // size))]
        return iter(np.concatenate(permutations)[:wanted].tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Some indices, in random order."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng(engine.spawn_seed(self.generator)).permutation(len(self.indices))
        return iter([self.indices[i] for i in order.tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Independent draws of indices, each as likely as its weight says; or, without replacement, no index twice.

    weights: one number a sample, 0 or more, whatever they add up to. num_samples: how many indices one iteration gives.

    >>> sorted(WeightedRandomSampler([0, 1, 0, 3], 2, replacement=False))
    [1, 3]
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples < 1:
            raise ArgumentError(f"WeightedRandomSampler: num_samples={num_samples!r} must be a whole number above 0")
        if not isinstance(replacement, bool):
            raise ArgumentError(f"WeightedRandomSampler: replacement={replacement!r} must be True or False")
        self.weights = np.array(weights, dtype=np.float64)
        if self.weights.ndim != 1:
            raise ArgumentError(
                f"WeightedRandomSampler: weights has shape {self.weights.shape}; it needs one dimension"
            )
        if not (self.weights >= 0).all() or not 0 < self.weights.sum() < np.inf:
            raise ArgumentError("WeightedRandomSampler: weights must be numbers, 0 or more, and not all 0")
        if not replacement and num_samples > np.count_nonzero(self.weights):
            raise ArgumentError(
                f"WeightedRandomSampler: num_samples={num_samples} without replacement; "
                f"only {np.count_nonzero(self.weights)} weights are above 0"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng(engine.spawn_seed(self.generator))
        chances = self.weights / self.weights.sum()
        return iter(rng.choice(len(chances), self.num_samples, replace=self.replacement, p=chances).tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices of another sampler; `drop_last` leaves out a shorter last one.

    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ArgumentError(f"BatchSampler: batch_size={batch_size!r} must be a whole number above 0")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        # The order is drawn now, not at the first batch, so that a generator's state does not depend on when that is.
        return self._batches(iter(self.sampler))

    def _batches(self, indices: Iterator[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in indices:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        samples = len(self.sampler)  # type: ignore[arg-type]
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)
