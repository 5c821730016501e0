"""Whether compiled kernels are used, the extra `fast`, and for which arrays.

Numba is imported when a kernel is first needed, never by `import tensorgrad`. `TENSORGRAD_FAST=0` in the environment switches
all of this off; `why_not()` says why kernels are not used, and `loops_in_use()` which ones are.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.backend.parallel import share

Array = np.ndarray[Any, Any]

#: As they are asked for at every call: a dtype is compared in half the time of a type.
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
#: Elements of an array from which on a loop is worth importing Numba for.
FAST_ELEMENTS = 1 << 12
#: Additions or comparisons, about 0.3 ms of them, from which on threads are worth their start.
SHARED_OPERATIONS = 1 << 20


@functools.cache
def why_not() -> str | None:
    """Why the loops are not used, or None where they are (or will be, once an array is large enough)."""
    if os.environ.get("TENSORGRAD_FAST", "1") == "0":
        return "TENSORGRAD_FAST is 0"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed; install the extra fast: pip install 'tapegrad[fast]'"
    return None


@functools.cache
def numba_works() -> bool:
    """Import Numba. One that is installed but does not import, or must not compile, costs a warning and no more."""
    if why_not() is not None:
        return False
    try:
        from numba.core import config  # "numba.config" is made at run time, where a type checker does not see it
    except Exception as error:  # a Numba too old for this NumPy or Python raises errors of many kinds
        warnings.warn(f"Numba does not import, so kernels run on NumPy alone: {error}", RuntimeWarning, stacklevel=2)
        return False
    return not getattr(config, "DISABLE_JIT", 0)


_warming = threading.Event()


def warmup(background: bool = False, progress: Callable[[int, int, str], None] | None = None) -> float:
    """Compile all kernels for this processor, or read them from Numba's cache on disk; the seconds it took.

    The first process on a machine takes a minute or less for it, later ones about a second; without it each kernel is
    compiled when it is first needed. With background=True a thread does it, meanwhile NumPy's kernels serve (so results
    may change in the last digits when it is done), and 0.0 is returned at once. progress(done, count, name) is called after
    every kernel. On the command line it is `tensorgrad warmup`.
    """
    if not numba_works():
        return 0.0
    start = time.perf_counter()
    if background:
        _warming.set()
        threading.Thread(target=_compile_all, args=(progress,), daemon=True, name="tensorgrad-warmup").start()
        return 0.0
    _compile_all(progress)
    return time.perf_counter() - start


#: The files with kernels on vector registers, numba_*.py.
WITH_KERNELS = "direct winograd depthwise batch rows points curves prelu lines groups matrix update team".split()


def kernels_of_all() -> list[Any]:
    """The kernels on vector registers of all files, compiled or not."""
    for file in WITH_KERNELS:
        importlib.import_module(f"tensorgrad.backend.numba_{file}")
    importlib.import_module("tensorgrad.backend.numba_tile").tiles()
    return list(importlib.import_module("tensorgrad.backend.numba_simd").kernels)


def _compile_all(progress: Callable[[int, int, str], None] | None = None) -> None:
    try:
        kernels = kernels_of_all()
        for done, kernel in enumerate(kernels, 1):
            assert kernel.address
            if progress is not None:
                progress(done, len(kernels), kernel.name)
    finally:
        _warming.clear()


def loops_in_use() -> list[str]:
    """The loops and kernels compiled or read from the cache so far, as 'numba_pooling.scatter'."""
    found = []
    for file in ("convolution", "elementwise", "moving", "normalization", "pooling", "sampling"):
        module = sys.modules.get(f"tensorgrad.backend.numba_{file}")
        for name, loop in sorted(vars(module).items()) if module is not None else ():
            if getattr(loop, "signatures", None):
                found.append(f"numba_{file}.{name}")
    simd = sys.modules.get("tensorgrad.backend.numba_simd")
    return found + ([] if simd is None else sorted(kernel.name for kernel in simd.kernels if kernel.compiled))


@functools.cache
def part(name: str) -> Any:
    """The module of that name beside this one, which needs Numba; an import statement costs a quarter microsecond a call."""
    return importlib.import_module(f"tensorgrad.backend.{name}")


def takes(*arrays: Array, least: int | None = None) -> bool:
    """Whether loops take these arrays: of one dtype, float32 or float64, and the first has `least` values or more."""
    first = arrays[0]
    if first.size < (FAST_ELEMENTS if least is None else least):
        return False
    dtype = first.dtype
    if dtype != FLOAT32 and dtype != FLOAT64:
        return False
    for array in arrays:
        if array.dtype != dtype or not array.size:
            return False
    return numba_works() and not _warming.is_set()


def in_registers(*arrays: Array, least: int | None = None) -> bool:
    """Whether the kernels on vector registers take these arrays: float32, and loops take them."""
    return arrays[0].dtype == FLOAT32 and takes(*arrays, least=least)


def each(loop: Callable[..., None], arguments: tuple[Any, ...], count: int, operations: int) -> None:
    """loop(*arguments, start, stop) over range(count), shared among threads if there are enough operations."""
    share(count, lambda start, stop: loop(*arguments, start, stop), operations >= SHARED_OPERATIONS)


def channels_last(x: Array) -> bool:
    """Whether the channels of x (N, C, H, W) lie closer together in memory than the points of a row."""
    return x.shape[1] > 1 and abs(x.strides[1]) < abs(x.strides[3])
