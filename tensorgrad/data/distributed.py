"""The part of a dataset that one of several processes is to see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np

from tensorgrad.data.sampler import Sampler
from tensorgrad.errors import ArgumentError, UnsupportedError


class DistributedSampler(Sampler[int]):
    """Every num_replicas-th index of one order that all processes agree on, from `rank` on.

    There is no process group to ask, so num_replicas and rank must be given. All get equally many: what is missing is
    filled up from the beginning, or with drop_last left out. shuffle: an order for each epoch, from `seed` and the number
    that `set_epoch` was told; call it before each one.

    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise UnsupportedError(
                "DistributedSampler: tensorgrad has no process group to ask; give num_replicas (how many processes) and "
                "rank (which of them this is), as mpi4py's COMM_WORLD.Get_size() and Get_rank() tell"
            )
        if not 0 <= rank < num_replicas:
            raise ArgumentError(f"DistributedSampler: rank={rank} must lie in [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        """How many indices each process gets."""
        share = len(self.dataset) / self.num_replicas
        return math.floor(share) if self.drop_last else math.ceil(share)

    def __iter__(self) -> Iterator[int]:
        size, wanted = len(self.dataset), self.num_samples * self.num_replicas
        if self.shuffle:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(size)
        else:
            order = np.arange(size)
        return iter(np.resize(order, wanted)[self.rank :: self.num_replicas].tolist())  # resize begins anew at the end

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch
