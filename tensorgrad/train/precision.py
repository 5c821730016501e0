"""The dtypes that a training may compute in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tensorgrad import dtypes
from tensorgrad.autocasting import autocast
from tensorgrad.errors import ArgumentError

PRECISIONS = ("float32", "bfloat16", "float16")


def region(device_type: str, precision: str) -> AbstractContextManager[Any]:
    """What the forward pass is entered in, again and again: a region of autocast; in float32 nothing is cast."""
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision: got {precision!r}; it is one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return nullcontext()
    try:
        return autocast(device_type, getattr(dtypes, precision))
    except AttributeError as error:  # bfloat16 comes from another package
        raise ArgumentError(f"precision: {error}") from None
