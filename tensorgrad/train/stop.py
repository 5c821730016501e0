"""Ctrl-C and SIGTERM as a request to stop at the next good moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Stopped(Exception):
    """Raised where a loop ends because a signal asked for it; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopOnSignal:
    """Inside the block Ctrl-C (SIGINT) and SIGTERM only leave a note, and `check()` raises Stopped when there is one.

    So a loop that calls it between two steps is never cut off within one. A second Ctrl-C does not wait. Signals belong
    to the main thread; in any other the block changes nothing.

    >>> with StopOnSignal() as stop:
    ...     stop.check()
    ...     signal.raise_signal(signal.SIGINT)
    ...     try:
    ...         stop.check()
    ...     except Stopped as stopped:
    ...         print("stopped by", stopped)
    stopped by SIGINT
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:  # a shell's background job ignores Ctrl-C, and shall go on doing so
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._restore()

    def check(self) -> None:
        """Raise Stopped if a signal has come."""
        if self._number is not None:
            raise Stopped(self._number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self._restore()  # the next one acts as it would without us

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
