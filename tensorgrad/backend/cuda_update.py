"""The optimisers' steps on a GPU: those of many parameters in one launch, by the kernels of cuda_update.cu."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy

from tensorgrad.backend.cuda_kernels import CompiledKernels
from tensorgrad.backend.update import UpdateKernels

Array = Any

#: As in cuda_update.cu.
MOST_PARAMETERS, CHUNK = 80, 2048
#: The struct Parameters.
PARAMETERS = numpy.dtype(
    [
        ("arrays", numpy.uint64, (5, MOST_PARAMETERS)),
        ("sizes", numpy.int32, (MOST_PARAMETERS,)),
        ("first_blocks", numpy.int32, (MOST_PARAMETERS,)),
    ]
)


class _Waiting(threading.local):
    """The updates that a thread has asked for and not launched: (kernel, settings, device, dtype) -> parameters' arrays."""

    updates: dict[tuple[Any, ...], list[tuple[Array | None, ...]]] | None = None


class CudaUpdateKernels(CompiledKernels, UpdateKernels):
    """See UpdateKernels. Inside of `gathering` updates wait for each other, outside each is a launch of its own."""

    _waiting = _Waiting()

    @contextmanager
    def _gathering(self) -> Iterator[None]:
        before, self._waiting.updates = self._waiting.updates, {}
        try:
            yield
        finally:  # also after an error: what was asked for before it is done
            waiting, self._waiting.updates = self._waiting.updates, before
            for (kernel, settings, *_), parameters in waiting.items():
                for start in range(0, len(parameters), MOST_PARAMETERS):
                    self._update(kernel, settings, parameters[start : start + MOST_PARAMETERS])

    def gathering(self) -> AbstractContextManager[None]:
        return self._gathering()

    def sgd_update(
        self, w: Array, dw: Array, velocity: Array | None, lr: float, momentum: float, factor: float, decay: float,
        nesterov: bool, maximize: bool,
    ) -> None:  # fmt: skip
        if not self._in_order(w, dw, velocity):
            super().sgd_update(w, dw, velocity, lr, momentum, factor, decay, nesterov, maximize)
            return
        self._asked("sgd", (lr, momentum, factor, decay, nesterov, maximize), (w, dw, velocity, None, None))

    def adam_update(
        self, w: Array, dw: Array, m: Array, v: Array, largest: Array | None, lr: float, betas: tuple[float, float],
        root: float, eps: float, decay: float, decoupled: bool, maximize: bool,
    ) -> None:  # fmt: skip
        if not self._in_order(w, dw, m, v, largest):
            super().adam_update(w, dw, m, v, largest, lr, betas, root, eps, decay, decoupled, maximize)
            return
        self._asked("adam", (lr, *betas, root, eps, decay, decoupled, maximize), (w, dw, m, v, largest))

    def unscale(self, gradients: list[Array], scale: Array) -> Array:
        xp = self.xp
        ours = [g for g in gradients if self._in_order(g)]
        others = [g for g in gradients if not self._in_order(g)]
        if not ours:
            return super().unscale(others, scale)
        inverse = (1.0 / scale.astype(xp.float64)).astype(xp.float32)
        wrong = xp.zeros((1,), xp.int32)
        for dtype in {g.dtype for g in ours}:
            alike: list[tuple[Array | None, ...]] = [(g,) for g in ours if g.dtype == dtype]
            for start in range(0, len(alike), MOST_PARAMETERS):
                self._update("unscale", (inverse, wrong), alike[start : start + MOST_PARAMETERS])
        finite = (wrong == 0).reshape(())
        return finite & super().unscale(others, scale) if others else finite

    def _in_order(self, *arrays: Array | None) -> bool:
        """Whether all lie in memory in one order, so that a kernel need not know their shapes."""
        return self.takes(*arrays) and all(x is None or x.flags.c_contiguous for x in arrays)

    def _asked(self, kernel: str, settings: tuple[Any, ...], arrays: tuple[Array | None, ...]) -> None:
        if self._waiting.updates is None:
            self._update(kernel, settings, [arrays])
            return
        w = arrays[0]
        key = kernel, settings, w.device.id, w.dtype  # type: ignore[union-attr]
        self._waiting.updates.setdefault(key, []).append(arrays)

    def _update(self, kernel: str, settings: tuple[Any, ...], parameters: list[tuple[Array | None, ...]]) -> None:
        struct = numpy.zeros(1, PARAMETERS)
        where, sizes, first_blocks = struct["arrays"][0], struct["sizes"][0], struct["first_blocks"][0]
        blocks = 0
        for number, arrays in enumerate(parameters):
            for kind, array in enumerate(arrays):
                if array is not None:
                    where[kind, number] = array.data.ptr
            size = arrays[0].size  # type: ignore[union-attr]
            sizes[number], first_blocks[number] = size, blocks
            blocks += -(-size // CHUNK)
        like = parameters[0][0]
        self.launch("update", kernel, like, blocks, struct, len(parameters), *settings)
