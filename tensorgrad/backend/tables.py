"""Small tables of numbers that kernels need beside their arrays: sent to a GPU once, not at every call.

A copy from the host would make a GPU wait, and no CUDA graph could hold it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy

from tensorgrad.locks import lock
from tensorgrad.mode import mode

#: How many tables are kept; of those of more bytes each, none.
MOST_TABLES, MOST_BYTES = 256, 1 << 20

_kept: OrderedDict[Any, Any] = OrderedDict()
_lock = lock()


def table(xp: Any, values: Any, dtype: Any = None) -> Any:
    """The host's values as an array of the module xp, not to be changed; the same ones give the same array again."""
    values = numpy.asarray(values, dtype)
    if xp is numpy or values.nbytes > MOST_BYTES:
        return xp.asarray(values)
    key = id(xp), xp.cuda.Device().id, values.dtype.str, values.shape, values.tobytes()
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is None:
        found = xp.asarray(values)
        with _lock:
            _kept[key] = found
            while len(_kept) > MOST_TABLES:
                _kept.popitem(last=False)
    if mode.capturing is not None:
        mode.capturing.keep(found)
    return found
