"""Datasets: something with a length that gives a sample for an index, and ways to cut and join them."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from tensorgrad.data import engine
from tensorgrad.errors import ArgumentError, DimensionError, OperandError, ShapeError
from tensorgrad.random import Generator
from tensorgrad.tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A map from indices to samples. A subclass writes `__getitem__` and `__len__`.

    It may also write `__getitems__(indices)`, which returns the samples of a batch: a list of them, or a `Batch`, whose
    columns are whole arrays already, so that no Python code runs for a single sample.

    >>> class Squares(Dataset):
    ...     def __getitem__(self, index):
    ...         return index, index**2
    ...     def __len__(self):
    ...         return 5
    >>> Squares()[3]
    (3, 9)
    """

    def __getitem__(self, index: int) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} must write __getitem__(index)")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """Samples in the order in which they come: a subclass writes `__iter__`, and `__len__` if it knows it.

    For what has no index: a stream, a log, records read one after another. Every worker of a DataLoader iterates over
    a copy of its own, so `__iter__` asks `get_worker_info()` which share is its own, or everything comes num_workers times.

    >>> class Countdown(IterableDataset):
    ...     def __iter__(self):
    ...         return iter([3, 2, 1])
    >>> list(Countdown() + Countdown())
    [3, 2, 1, 3, 2, 1]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must write __iter__()")

    def __getitem__(self, index: int) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} is an IterableDataset; it has no sample number {index}")

    def __add__(self, other: Dataset[T_co]) -> ChainDataset[T_co]:  # type: ignore[override]
        return ChainDataset([self, other])


class ChainDataset(IterableDataset[T_co]):
    """Several IterableDatasets, one after another."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[T_co]:
        for i, dataset in enumerate(self.datasets):
            if not isinstance(dataset, IterableDataset):
                raise OperandError(f"ChainDataset: datasets[{i}] is a {type(dataset).__name__}; use IterableDatasets")
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class Batch(Sequence[Any]):
    """Samples stored by column: a sequence of tuples to whoever looks at it, whole arrays to `default_collate`.

    columns: arrays or Tensors with one entry a sample along the first dimension.

    >>> import numpy as np
    >>> batch = Batch(np.array([[1., 2.], [3., 4.]]), np.array([0, 1]))
    >>> len(batch), batch[1][1].item()
    (2, 1)
    """

    def __init__(self, *columns: Any) -> None:
        self.columns = columns
        lengths = {column.shape[0] for column in columns}
        if len(lengths) != 1:
            raise ShapeError(f"Batch: columns must have the same length; they have {[c.shape[0] for c in columns]}")
        self._length = lengths.pop()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Batch(*(column[index] for column in self.columns))
        if not -self._length <= index < self._length:
            raise DimensionError(f"Batch: index {index}; there are {self._length} samples")
        return tuple(column[index] for column in self.columns)


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is the i-th entry of each Tensor; all have the same first dimension.

    >>> import tensorgrad
    >>> data = TensorDataset(tensorgrad.tensor([[1., 2.], [3., 4.]]), tensorgrad.tensor([0, 1]))
    >>> data[1][0].tolist()
    [3.0, 4.0]
    """

    def __init__(self, *tensors: Tensor) -> None:
        for i, tensor in enumerate(tensors):
            if not engine.is_tensor(tensor):
                raise OperandError(
                    f"TensorDataset: tensors[{i}] is a {type(tensor).__name__}; use tensorgrad.tensor(...)"
                )
            if tensor.ndim == 0:
                raise ShapeError(f"TensorDataset: tensors[{i}] has no dimension; the first one counts the samples")
        if not tensors:
            raise ArgumentError("TensorDataset: no tensors given; it needs at least one")
        if len({tensor.shape[0] for tensor in tensors}) > 1:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise ShapeError(
                f"TensorDataset: the tensors must agree in their first dimension; their shapes are {shapes}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return Batch(*(engine.take(tensor, indices) for tensor in self.tensors))

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class Subset(Dataset[T_co]):
    """The samples of a dataset at some indices: sample i is dataset[indices[i]].

    >>> Subset(["a", "b", "c"], [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[T_co]:
        return fetch_samples(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)

    def __copy__(self) -> Subset[T_co]:
        """A loader's worker thread works on its own copy: that of the dataset inside as well."""
        return Subset(copy.copy(self.dataset), self.indices)


class ConcatDataset(Dataset[T_co]):
    """Several datasets, one after another.

    >>> joined = ConcatDataset([["a", "b"], ["c"]])
    >>> len(joined), joined[2], joined[-3]
    (3, 'c', 'a')
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset: datasets is empty; it needs at least one")
        for i, dataset in enumerate(self.datasets):
            if isinstance(dataset, IterableDataset):
                raise OperandError(f"ConcatDataset: datasets[{i}] is an IterableDataset; use ChainDataset")
            if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
                raise OperandError(
                    f"ConcatDataset: datasets[{i}] is a {type(dataset).__name__}, without length and indices"
                )
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        position = index + len(self) if index < 0 else index
        if position < 0:
            raise ArgumentError(f"ConcatDataset: index {index}; there are {len(self)} samples")
        if position >= len(self):
            raise DimensionError(f"ConcatDataset: index {index}; there are {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, position)
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][position - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __copy__(self) -> ConcatDataset[T_co]:
        return ConcatDataset([copy.copy(dataset) for dataset in self.datasets])


class StackDataset(Dataset[Any]):
    """Several datasets side by side: sample i is a tuple of their samples i, or, of named ones, a dict.

    >>> StackDataset(["a", "b"], [1, 2])[1]
    ('b', 2)
    >>> StackDataset(letter=["a", "b"], number=[1, 2])[0]
    {'letter': 'a', 'number': 1}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError(
                "StackDataset: give datasets by position, for tuples, or by name, for dicts; at least one"
            )
        self.datasets: Any = args or kwargs
        lengths = [len(dataset) for dataset in self._parts()]
        if len(set(lengths)) > 1:
            raise ArgumentError(f"StackDataset: the datasets must have the same length; they have {lengths}")

    def _parts(self) -> list[Any]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _sample(self, parts: Iterable[Any]) -> Any:
        return dict(zip(self.datasets, parts)) if isinstance(self.datasets, dict) else tuple(parts)

    def __getitem__(self, index: Any) -> Any:
        return self._sample(dataset[index] for dataset in self._parts())

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        columns = [fetch_samples(dataset, indices) for dataset in self._parts()]
        return [self._sample(parts) for parts in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return len(self._parts()[0])

    def __copy__(self) -> StackDataset:
        parts = [copy.copy(dataset) for dataset in self._parts()]
        return (
            StackDataset(**dict(zip(self.datasets, parts))) if isinstance(self.datasets, dict) else StackDataset(*parts)
        )


class ImageDataset(Dataset[tuple[Any, Any]]):
    """Images held in memory as one array, and their classes. Sample i is (image (C, H, W), class number).

    data: (N, H, W) or (N, C, H, W). targets: (N,) whole numbers, kept as int64.
    transform: applied to the image; one of `tensorgrad.data.transforms` works on whole batches at once.
    target_transform: applied to the class number.

    >>> import numpy as np
    >>> images = ImageDataset(np.zeros((3, 8, 8), dtype=np.uint8), np.array([0, 1, 2]))
    >>> image, label = images[1]
    >>> image.shape, label
    ((1, 8, 8), 1)
    """

    classes: Sequence[str] = ()

    def __init__(
        self, data: np.ndarray, targets: np.ndarray, transform: Any = None, target_transform: Any = None
    ) -> None:
        if data.ndim not in (3, 4):
            raise ShapeError(f"{type(self).__name__}: data has shape {data.shape}; use (N, H, W) or (N, C, H, W)")
        if targets.shape != data.shape[:1]:
            raise ShapeError(
                f"{type(self).__name__}: targets has shape {targets.shape}; {len(data)} images need ({len(data)},)"
            )
        self.data = data
        self.targets = targets.astype(np.int64)
        self.transform = transform
        self.target_transform = target_transform

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -len(self) <= index < len(self):
            raise DimensionError(f"{type(self).__name__}: index {index}; there are {len(self)} images")
        image = self.data[index]
        image = image[None] if image.ndim == 2 else image  # (H, W) -> (1, H, W)
        target: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitems__(self, indices: Sequence[int]) -> Sequence[Any]:
        in_one = self.transform is None or getattr(self.transform, "batched", False)
        if not in_one or self.target_transform is not None:
            return [self[i] for i in indices]
        rows = np.asarray(indices)
        images = self.data[rows]
        images = images[:, None] if images.ndim == 3 else images  # (N, H, W) -> (N, 1, H, W)
        return Batch(images if self.transform is None else self.transform(images), self.targets[rows])

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} images of {self.data.shape[1:]}, transform={self.transform})"


def fetch_samples(dataset: Any, indices: Sequence[int]) -> Sequence[Any]:
    """The samples at these indices: through the dataset's `__getitems__` if it has one, else one by one."""
    fetch = getattr(dataset, "__getitems__", None)
    if fetch is None:
        return [dataset[i] for i in indices]
    samples = fetch(indices)
    if not hasattr(samples, "__len__") or len(samples) != len(indices):
        got = len(samples) if hasattr(samples, "__len__") else type(samples).__name__
        raise ShapeError(
            f"{type(dataset).__name__}.__getitems__ gave {got} samples for {len(indices)} indices; "
            "return a list with one sample an index, or a Batch"
        )
    return samples


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset[Any]]:
    """Cut a dataset at random into subsets without overlap.

    lengths: sizes that add up to the dataset's, or fractions that add up to 1; what is left over when fractions are
    rounded down goes to the first subsets, one sample each.

    >>> first, second = random_split(range(10), [0.75, 0.25])
    >>> len(first), len(second)
    (8, 2)
    """
    total = len(dataset)
    sizes: list[int]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        if any(not 0 <= fraction <= 1 for fraction in lengths):
            raise ArgumentError(f"random_split: lengths={list(lengths)}; fractions must lie in [0, 1]")
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if size == 0:
                warnings.warn(f"random_split: subset {i} is empty", stacklevel=2)
    else:
        if any(length != int(length) or length < 0 for length in lengths):
            raise ArgumentError(
                f"random_split: lengths={list(lengths)}; use whole numbers, or fractions that add up to 1"
            )
        sizes = [int(length) for length in lengths]
    if sum(sizes) != total:
        raise ArgumentError(
            f"random_split: lengths={list(lengths)} add up to {sum(sizes)}; the dataset has {total} samples"
        )
    order = np.random.default_rng(engine.spawn_seed(generator)).permutation(total).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
