"""What Tensors on the same memory share: who changed it, and what NumPy was given of it."""

from __future__ import annotations

import weakref
import zlib
from typing import TYPE_CHECKING, Any

import numpy

from tensorgrad.mode import mode

if TYPE_CHECKING:
    from tensorgrad.tensor import Tensor

_MOST_LENT = 64  # parts of one memory that are watched
SEEN = 4096  # values of an array that a checksum looks at


class Storage:
    """The memory that a Tensor and its views share: how often it was changed in place, by whom, and who looks at it.

    NumPy tells nobody when it writes. So from the moment that NumPy has the memory (`x.numpy()`, `from_numpy(x)`), every
    node that saves values there notes a checksum of them, and compares it before it uses them; nodes that had saved them
    before are told by `lent`. Memory that NumPy never saw costs nothing.

    lent  what NumPy was given, each part with the checksum it had then; None where NumPy never had any
    """

    __slots__ = ("lent", "version", "views", "writer")

    def __init__(self) -> None:
        self.version = 0
        self.writer = ""
        self.views: list[weakref.ref[Tensor]] = []  # in order of creation, so that a parent comes before its views
        self.lent: list[tuple[numpy.ndarray, int]] | None = None

    def written(self, writer: str) -> None:
        """Its values change. To be told before the first of them does: what is interrupted has changed them too."""
        self.version += 1
        self.writer = writer

    def add_view(self, view: Tensor) -> None:
        """Remember a view; the dead ones are swept out whenever the list has doubled."""
        views = self.views
        if len(views) >= 8 and len(views) & (len(views) - 1) == 0:
            views[:] = [ref for ref in views if ref() is not None]
        views.append(weakref.ref(view))

    def lend(self, array: numpy.ndarray) -> None:
        """NumPy gets this part of the memory. What it held at the first time is what older nodes saved."""
        lent = self.lent
        if lent is None:
            lent = self.lent = []
        if len(lent) < _MOST_LENT and not any(part is array for part, _ in lent):
            lent.append((array, checksum(array)))

    def sum_of(self, array: Any) -> int | None:
        """What a node has to note of values that it saves from this memory; None where NumPy does not have it.

        While a step is recorded for replaying nothing is noted: the next runs have other values.
        """
        if self.lent is None or mode.recorder is not None or not isinstance(array, numpy.ndarray):
            return None
        return checksum(array)

    def changed_by_numpy(self, array: Any, noted: int | None) -> bool:
        """Whether values saved from this memory are no longer what they were, though nothing here changed them.

        noted  what `sum_of` gave when they were saved
        """
        if mode.recorder is not None:  # a step is being recorded: the next runs have other values
            return False
        if noted is not None:
            return checksum(array) != noted
        return bool(self.lent) and any(checksum(part) != before for part, before in self.lent or ())


def checksum(array: numpy.ndarray) -> int:
    """A number for the values of an array, which changes when they do (but once in 2^32 times).

    Of more than SEEN values it looks at SEEN, spread evenly over all of them: a new batch written over an old one is seen,
    one number of a million most likely not. To look at them all would cost more than many an operation.
    """
    if array.size > SEEN:
        ordered = array.transpose(numpy.argsort(array.strides)[::-1])  # as it lies in memory
        line = ordered.reshape(-1) if ordered.flags.c_contiguous else array.flat
        array = line[:: -(-array.size // SEEN)]
    return zlib.crc32(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data)
