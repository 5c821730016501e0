"""A plugin for pytest that puts all memory of kernels between inaccessible pages: `pytest -p guarded`.

Kernels on vector registers work on addresses, where no tool checks bounds. Here every array that NumPy makes (inputs,
results, weights of tests), the scratch memory, and the words that a kernel reads its arguments from, end at a page that
nobody may touch (TENSORGRAD_GUARD=end), or begin behind one (start): an access past it ends the process. Which kernel was running
stands in the file TENSORGRAD_GUARD_NOTES then; at the end of a session, which ones have run. See guarded_memory.c.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).with_name("guarded_memory.c")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
#: Places in the table of NumPy's functions for C (numpy/__multiarray_api.h), the same in every version.
SET_HANDLER = 304


def why_not() -> str | None:
    """Why memory cannot be guarded here, or None."""
    if not sys.platform.startswith("linux"):
        return "guarded memory was written for Linux"
    return None if COMPILER else "no C compiler is installed"


@functools.cache
def library() -> ctypes.CDLL:
    """guarded_memory.c, compiled; kept in the system's folder for temporary files under the name of its text."""
    assert COMPILER is not None
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"tensorgrad-guarded-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{digest}.so"
    if not built.exists():
        fresh = folder / f"{digest}-{os.getpid()}.so"
        subprocess.run([COMPILER, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", fresh, SOURCE], check=True)
        fresh.replace(built)  # at once, as other processes may be building it too
    return ctypes.CDLL(str(built))


@functools.cache
def _numpys_function(number: int) -> int:
    """The address of one of NumPy's functions for C."""
    table = ctypes.pythonapi.PyCapsule_GetPointer
    table.restype, table.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    found = ctypes.c_void_p.from_address(
        table(np._core._multiarray_umath._ARRAY_API, None) + number * ctypes.sizeof(ctypes.c_void_p)
    )
    assert found.value is not None
    return found.value


@functools.cache
def _capsule() -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    _capsule.name = b"mem_handler"  # type: ignore[attr-defined]  # a capsule does not copy its name
    return make(ctypes.addressof(ctypes.c_char.in_dll(library(), "handler")), _capsule.name, None)  # type: ignore[attr-defined]


def guard_this_thread() -> None:
    """From now on NumPy makes its arrays in guarded memory; it asks each thread's context for where to."""
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(_numpys_function(SET_HANDLER))(_capsule())


def exactly(shape: Any, dtype: Any) -> np.ndarray:
    """In place of memory.aligned, whose arrays have up to 63 bytes around them."""
    return np.empty(shape, dtype)


class Words:
    """In place of the module `array`, whose arrays kernels read their arguments from."""

    def __init__(self, _kind: str, values: Any) -> None:
        self.values = np.array(values, np.int64)

    def buffer_info(self) -> tuple[int, int]:
        return self.values.ctypes.data, len(self.values)

    array: Any = None


Words.array = Words
_scratch = threading.local()


def scratch(numbers: int) -> int:
    """In place of team.scratch, which gives memory of before that may be larger: as much as is asked for."""
    from tensorgrad.backend import parallel

    _scratch.memory = np.empty(numbers * parallel.thread_count(), np.float32)
    return int(_scratch.memory.ctypes.data)


class Notes:
    """Which kernels have run, and which one is running, in a file that outlives the process."""

    def __init__(self, path: str | None) -> None:
        self.file = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.ran: set[str] = set()

    def running(self, name: str) -> None:
        self.ran.add(name)
        if self.file is not None:
            os.pwrite(self.file, name.encode().ljust(100), 0)

    def close(self, compiled: list[str]) -> None:
        """The end of a session: which kernels were run, and which loops, tiles and parts of kernels were asked for."""
        if self.file is not None:
            text = json.dumps({"ran": sorted(self.ran), "compiled": compiled, "pieces": pieces_made()})
            os.ftruncate(self.file, 0)
            os.pwrite(self.file, text.encode(), 0)


def pieces_made() -> int:
    """How many arrays had guarded memory so far."""
    return ctypes.c_longlong.in_dll(library(), "pieces").value


def compiled_kernels_take_all() -> None:
    """Arrays of two numbers and more go to compiled kernels, as far as they compute them at all.

    A single number may be a scalar of NumPy's, which has no address; kernels never meet one, as they begin at 64 numbers.
    """
    from tensorgrad.backend import compiled, fast, fast_lines

    compiled.FAST_ELEMENTS = fast.LARGE = fast.ALONE_IN_BLAS = fast_lines.FEWEST = 2
    fast.FEWEST = dict.fromkeys(fast.FEWEST, 2)


def install(side: str, notes: Notes) -> None:
    """Guard what is made from now on at its `end` or its `start`."""
    from tensorgrad.backend import memory, parallel, team

    assert side in ("end", "start"), side
    ctypes.c_int.in_dll(library(), "at_the_end").value = side == "end"
    guard_this_thread()
    aligned = memory.aligned
    for module in list(sys.modules.values()):  # and those imported later take it from `memory`
        if getattr(module, "aligned", None) is aligned and module.__name__.startswith("tensorgrad."):
            module.aligned = exactly  # type: ignore[attr-defined]
    team.scratch, team.array = scratch, Words  # type: ignore[assignment]
    run_part, run_kernel = parallel._run, team.run

    def guarded_part(*arguments: Any) -> None:
        guard_this_thread()
        run_part(*arguments)

    def noted_kernel(kernel: Any, *arguments: Any, **settings: Any) -> None:
        notes.running(kernel.name)
        run_kernel(kernel, *arguments, **settings)

    parallel._run, team.run = guarded_part, noted_kernel


def pytest_configure(config: Any) -> None:
    faulthandler.enable()
    config.guard_notes = Notes(os.environ.get("TENSORGRAD_GUARD_NOTES"))
    install(os.environ.get("TENSORGRAD_GUARD", "end"), config.guard_notes)
    compiled_kernels_take_all()


def pytest_unconfigure(config: Any) -> None:
    from tensorgrad.backend.compiled import loops_in_use

    config.guard_notes.close(loops_in_use())
