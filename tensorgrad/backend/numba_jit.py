"""How the loops in numba_*.py are compiled. These files import Numba, so fast.py imports them when they are first needed.
Without Numba they stay plain Python: right, but so slow that fast.py does not use them.

A loop is compiled for the types of its arguments when it is first called with them, which takes a fraction of a second,
and kept on disk; later processes read it from there. Numba keeps it beside the source file, or in the folder named
by NUMBA_CACHE_DIR, or in the user's cache; where none of them can be written, the loop is compiled in every process.
It is compiled again when its own file changes, so a loop calls no loops of other files.

All loops let go of the interpreter's lock, so that threads run them side by side, and take (start, stop), the part of
their first axis to work on. They check nothing: fast.py hands them contiguous arrays of shapes that go together.
With TENSORGRAD_BOUNDSCHECK=1 in the environment, for who works on them, every index is checked, and one that is out of range
raises IndexError; what is compiled then is kept under names of its own.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

numba: Any
try:
    numba = importlib.import_module("numba")
except ImportError:
    numba = None

#: Whether every index into an array is checked.
BOUNDS_CHECKED = os.environ.get("TENSORGRAD_BOUNDSCHECK", "0") == "1"

Loop = TypeVar("Loop", bound=Callable[..., None])


def compiled(loop: Loop) -> Loop:
    """The loop as machine code. a * b + c may be computed with one rounding; else it computes what is written."""
    return _compile(loop, {"contract"})


def compiled_for_sums(loop: Loop) -> Loop:
    """As `compiled`; sums may also be taken in another order: in as many parts as a vector register has places."""
    return _compile(loop, {"contract", "reassoc", "nsz"})


def compiled_as_written(loop: Loop) -> Loop:
    """As `compiled`, but nothing is computed with one rounding: places that are compared come out as NumPy's."""
    return _compile(loop, set())


def _compile(loop: Loop, freedom: set[str]) -> Loop:
    if numba is None:
        return loop
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": freedom}
    if BOUNDS_CHECKED:
        options["boundscheck"] = True
        loop.__qualname__ += "_bounds_checked"  # the name in the cache
    try:
        return numba.njit(loop, cache=True, **options)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(loop, **options)
