"""From samples to one batch of Tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.dataset import Batch
from tensorgrad.dtypes import is_bfloat16
from tensorgrad.errors import OperandError, ShapeError


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples of one form -> the same form, with a new first dimension for the batch.

    Tensors, NumPy arrays and NumPy scalars are stacked and keep their dtype; a Python float becomes float64, an int
    int64, a bool bool; strings and bytes stay as they are; dicts, named tuples and sequences are collated entry by
    entry (tuples come back as lists, as in PyTorch). The columns of a `Batch` are taken as they are.

    >>> images, labels = default_collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> labels.tolist()
    [0, 1]
    """
    if isinstance(samples, Batch):
        return [as_tensor(column) for column in samples.columns]
    first = samples[0]
    if engine.is_tensor(first):
        _same_shape([tuple(sample.shape) for sample in samples])
        return engine.stack(samples)
    if isinstance(first, (np.ndarray, np.generic)):
        _same_shape([np.shape(sample) for sample in samples])
        return as_tensor(np.stack(samples))
    if isinstance(first, bool):
        return as_tensor(np.array(samples, dtype=np.bool_))
    if isinstance(first, float):
        return as_tensor(np.array(samples, dtype=np.float64))
    if isinstance(first, int):
        return as_tensor(np.array(samples, dtype=np.int64))
    if isinstance(first, (str, bytes)):
        return samples
    if isinstance(first, Mapping):
        return _mapping_like(first, {key: default_collate([sample[key] for sample in samples]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):  # a named tuple
        return type(first)(*(default_collate(column) for column in zip(*samples, strict=True)))
    if isinstance(first, Sequence):
        lengths = [len(sample) for sample in samples]
        if len(set(lengths)) > 1:
            raise ShapeError(
                f"default_collate: samples of a batch must have the same length; they have {_brief(lengths)}"
            )
        return [default_collate(column) for column in zip(*samples, strict=True)]
    raise OperandError(
        f"default_collate: a sample holds a {type(first).__name__}; use Tensors, arrays, numbers, strings, "
        "or dicts and sequences of them, or give DataLoader a collate_fn"
    )


def default_convert(value: Any) -> Any:
    """Arrays anywhere in dicts, tuples and sequences become Tensors; everything else stays. Used without batching."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return as_tensor(value)
    if isinstance(value, Mapping):
        return _mapping_like(value, {key: default_convert(entry) for key, entry in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(default_convert(entry) for entry in value))
    if isinstance(value, (list, tuple)):
        return [default_convert(entry) for entry in value]
    return value


def as_tensor(array: Any) -> Any:
    """A Tensor around an array of numbers, without a copy; a Tensor as it is."""
    if engine.is_tensor(array):
        return array
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if array.dtype.kind not in "biuf" and not is_bfloat16(array.dtype):
        raise OperandError(f"default_collate: arrays of dtype {array.dtype} cannot become Tensors; use numbers")
    return engine.wrap(array)


def pin_memory(value: Any) -> Any:
    """Tensors anywhere in dicts, tuples and sequences copied into pinned memory; what has a pin_memory() is asked."""
    if engine.is_tensor(value):
        return engine.pinned(value)
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, Mapping):
        return _mapping_like(value, {key: pin_memory(entry) for key, entry in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(pin_memory(entry) for entry in value))
    if isinstance(value, (list, tuple)):
        return type(value)(pin_memory(entry) for entry in value)
    return value.pin_memory() if hasattr(value, "pin_memory") else value


def _mapping_like(original: Mapping[Any, Any], entries: dict[Any, Any]) -> Any:
    """The entries in a mapping of the original's type where that can be had (an OrderedDict, say), else a dict."""
    if type(original) is dict or not isinstance(original, MutableMapping):
        return entries
    clone = copy.copy(original)
    clone.update(entries)
    return clone


def _same_shape(shapes: list[tuple[int, ...]]) -> None:
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ShapeError(
                f"default_collate: samples of a batch must have the same shape; sample 0 has {shapes[0]}, "
                f"sample {i} has {shape}. Bring them to one size in the dataset, or give DataLoader a collate_fn"
            )


def _brief(lengths: list[int]) -> str:
    return str(lengths) if len(lengths) <= 8 else f"{lengths[:8]} ..."
