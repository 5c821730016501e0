"""Every place where the loading of data meets the engine: Tensors in and out, and whose random numbers to use.

All else in `tensorgrad.data` works on NumPy arrays and imports this file.
"""

from __future__ import annotations

import random as python_random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tensorgrad import random
from tensorgrad.backend import backend_of
from tensorgrad.cuda.pinned import why_not_pinned as why_not_pinned  # the loader asks here
from tensorgrad.errors import DeviceError, GraphError, OperandError
from tensorgrad.random import Generator
from tensorgrad.tensor import Tensor

# Tensors


def is_tensor(value: Any) -> bool:
    """Whether value is a Tensor."""
    return isinstance(value, Tensor)


def array_of(tensor: Tensor) -> Any:
    """The array inside a Tensor."""
    return tensor.array


def host_array(name: str, tensor: Tensor) -> np.ndarray:
    """The array inside a Tensor that a transform called `name` is to work on: on the CPU, and without history."""
    if tensor.requires_grad:
        raise GraphError(f"{name}: the Tensor requires a gradient, which transforms of data do not pass on; detach it")
    if not isinstance(tensor.array, np.ndarray):
        raise DeviceError(
            f"{name}: the Tensor is on {tensor.device}; transforms run on the CPU, move images afterwards"
        )
    return tensor.array


def wrap(array: Any) -> Tensor:
    """A Tensor around an array, without a copy."""
    return Tensor(array)


def stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of one shape along a new first dimension; data has no gradient, so nothing is recorded."""
    arrays = [tensor.array for tensor in tensors]
    return Tensor(backend_of(arrays[0]).stack(arrays))


def take(tensor: Tensor, indices: Sequence[int]) -> Any:
    """The array of the entries at these indices along the first dimension, on the Tensor's own device."""
    backend = backend_of(tensor.array)
    return backend.getitem(tensor.array, backend.asarray(indices))


def pinned(tensor: Tensor) -> Tensor:
    """A Tensor on the CPU in memory that stays where it is, which a GPU fetches without the CPU's help; others as they are."""
    return tensor.pin_memory() if isinstance(tensor.array, np.ndarray) else tensor


# Random numbers. While a loader makes a batch, what is drawn comes from that batch's own stream, in whatever thread or
# process this happens; so a batch depends on the seed and on its number only.


def current_generator() -> np.random.Generator:
    """The NumPy Generator to draw from: of the batch being loaded, or else the library's default generator.

    What a dataset or a transform draws from here, or by functions such as `tensorgrad.rand`, is governed by
    `tensorgrad.manual_seed` and does not depend on how many workers load.
    """
    return random.default_generator.numpy


def drawing_from(seed: int, number: int) -> AbstractContextManager[None]:
    """Inside, this thread draws from the stream of batch `number` of the epoch with this seed."""
    return random.standing_in(np.random.default_rng(batch_seed(seed, number)))


def batch_seed(seed: int, number: int) -> np.random.SeedSequence:
    """The seed of batch `number`, independent of every other batch's and of the workers'."""
    return np.random.SeedSequence(seed, spawn_key=(0, number))


def worker_seed(seed: int, worker: int) -> int:
    """The seed of a worker, 63 bits."""
    return int(np.random.SeedSequence(seed, spawn_key=(1, worker)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def spawn_seed(generator: Generator | np.random.Generator | None = None) -> int:
    """Draw a 63-bit seed from a generator, or else from `current_generator()`."""
    return int(numpy_generator(generator).integers(0, 2**63, dtype=np.int64))


def numpy_generator(generator: Generator | np.random.Generator | None) -> np.random.Generator:
    """The NumPy Generator in a tensorgrad Generator, one given as such, or else `current_generator()`."""
    if generator is None:
        return current_generator()
    if isinstance(generator, Generator):
        return generator.numpy
    if isinstance(generator, np.random.Generator):
        return generator
    raise OperandError(
        f"generator is a {type(generator).__name__}; use a tensorgrad.Generator, a numpy.random.Generator or None"
    )


def seed_process(seed: np.random.SeedSequence) -> None:
    """Seed all that a dataset in a process of its own may draw from: tensorgrad, NumPy's old way, Python's `random`."""
    words = seed.generate_state(2, np.uint32)
    random.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002  (for datasets that still draw from it)
    python_random.seed(int(words[0]))
