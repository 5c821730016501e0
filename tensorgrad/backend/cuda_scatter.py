"""Adding up at places, on a GPU: embeddings' gradients and those of gather, by the kernels of cuda_scatter.cu."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad import determinism
from tensorgrad.backend.cuda_kernels import MOST_ELEMENTS, CompiledKernels, blocks_for, contiguous
from tensorgrad.backend.selection import ScanKernels

Array = Any


class CudaScatterKernels(CompiledKernels, ScanKernels):
    """See ScanKernels; one launch into an array of zeros."""

    def scatter_add(self, dz: Array, index: Any, shape: tuple[int, ...]) -> Array:
        """Of whole rows by one array of their numbers, as an embedding's gradient is; CuPy does the others."""
        determinism.refuse("scatter_add on a GPU (the gradient of indexing, gather and embedding)")
        rows = index[0] if isinstance(index, tuple) and index else None
        if rows is None:
            return super().scatter_add(dz, index, shape)
        plain = (
            isinstance(rows, self.xp.ndarray)
            and rows.dtype.kind == "i"
            and all(type(part) is slice and part == slice(None) for part in index[1:])
            and dz.shape == (*rows.shape, *shape[1:])
        )
        if not plain or not self.takes(dz) or math.prod(shape) >= MOST_ELEMENTS:
            return super().scatter_add(dz, index, shape)
        z = self.xp.zeros(shape, self.computed(dz))
        given = contiguous(dz), contiguous(rows.astype(self.xp.int64, copy=False)), z
        self.launch("scatter", "add_rows", dz, blocks_for(dz.size), *given, rows.size, dz.size // rows.size, shape[0])
        return z.astype(dz.dtype, copy=False)

    def put_along_axis(self, dz: Array, index: Array, axis: int, size: int) -> Array:
        determinism.refuse("put_along_axis on a GPU (the gradient of gather, sort and max)")
        axis %= dz.ndim
        shape = dz.shape[:axis] + (size,) + dz.shape[axis + 1 :]
        whole = index.dtype.kind == "i" and index.shape == dz.shape
        if not whole or not self.takes(dz) or not 0 < math.prod(shape) < MOST_ELEMENTS:
            return super().put_along_axis(dz, index, axis, size)
        z = self.xp.zeros(shape, self.computed(dz))
        sizes = math.prod(dz.shape[:axis]), dz.shape[axis], math.prod(dz.shape[axis + 1 :])
        given = contiguous(dz), contiguous(index.astype(self.xp.int64, copy=False)), z
        self.launch("scatter", "add_along", dz, blocks_for(dz.size), *given, *sizes, size)
        return z.astype(dz.dtype, copy=False)
