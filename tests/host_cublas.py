"""cuBLAS for the stand-in device: its functions with their types in C, computed by NumPy as NVIDIA's manual describes them.

Matrices lie by columns: op(A) (rows, depth), op(B) (depth, columns), C (rows, columns), each at an address, `ld` elements from column to
column and `step` from one matrix of the stack to the next.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy
import standin_cuda

from tensorgrad.backend.cublas import ARGUMENTS, Cublas

DTYPES = {2: numpy.float16, 0: numpy.float32, 1: numpy.float64}
#: What may be computed with, by dtype.
COMPUTED = {2: {68}, 0: {68, 77}, 1: {70}}


def matrices(address: int, count: int, rows: int, columns: int, ld: int, step: int, dtype: Any) -> numpy.ndarray:
    """(count, rows, columns) of the memory at an address."""
    assert ld >= max(1, rows) and address % dtype().itemsize == 0 and step >= 0
    size = (count - 1) * step + (columns - 1) * ld + rows
    memory = (ctypes.c_char * (size * dtype().itemsize)).from_address(address)
    flat = numpy.frombuffer(memory, dtype)
    strides = tuple(one * flat.itemsize for one in (step, 1, ld))
    return numpy.lib.stride_tricks.as_strided(flat, (count, rows, columns), strides)


class HostLibrary(types.SimpleNamespace):
    """The library: calls go through C's types, and `calls` notes them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.error: BaseException | None = None
        for name, arguments in ARGUMENTS.items():
            setattr(self, name, ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(self._noting(name)))

    def _noting(self, name: str) -> Any:
        def called(*arguments: Any) -> int:
            try:
                self.calls.append((name, arguments))
                return int(getattr(self, f"_{name}", lambda *_: 0)(*arguments))
            except BaseException as error:  # ctypes would only print it
                self.error = error
                return 14

        return called

    def _cublasCreate_v2(self, handle: Any) -> int:
        handle[0] = 0x77
        return 0

    def _cublasGemmStridedBatchedEx(
        self, handle: int, turned_a: int, turned_b: int, rows: int, columns: int, depth: int, one: int, a: int, dtype_a: int,
        ld_a: int, step_a: int, b: int, dtype_b: int, ld_b: int, step_b: int, zero: int, c: int, dtype_c: int, ld_c: int,
        step_c: int, count: int, computed: int, algorithm: int,
    ) -> int:  # fmt: skip
        assert handle == 0x77 and dtype_a == dtype_b == dtype_c and computed in COMPUTED[dtype_a] and algorithm == -1
        number = ctypes.c_double if dtype_a == 1 else ctypes.c_float
        assert (number.from_address(one).value, number.from_address(zero).value) == (1, 0)
        dtype = DTYPES[dtype_a]
        shape_a, shape_b = (
            ((depth, rows) if turned_a else (rows, depth)),
            ((columns, depth) if turned_b else (depth, columns)),
        )
        left = matrices(a, count, *shape_a, ld_a, step_a, dtype)
        right = matrices(b, count, *shape_b, ld_b, step_b, dtype)
        left = left.transpose(0, 2, 1) if turned_a else left
        right = right.transpose(0, 2, 1) if turned_b else right
        wide = numpy.float64 if dtype_a == 1 else numpy.float32
        with numpy.errstate(all="ignore"):
            matrices(c, count, rows, columns, ld_c, step_c, dtype)[...] = left.astype(wide) @ right.astype(wide)
        return 0


class HostCublas(Cublas):
    """A product while a stream captures is computed when the graph is launched."""

    def __init__(self, xp: Any, library: HostLibrary | None = None) -> None:
        super().__init__(xp, HostLibrary() if library is None else library)

    def launch(self, *arguments: Any) -> None:
        if standin_cuda.working.capturing is not None:
            self._handle()
        standin_cuda.changed(super().launch, *arguments)

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            super()._call(name, *arguments)
        except RuntimeError as error:
            raise self.library.error or error from error
