"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading
from typing import Any


def lock(reentrant: bool = False) -> Any:
    """A lock for a moment, opened anew in a forked child: the thread that may have held it is not there to let go.

    What it guards must be whole whenever a child may be forked, or at least harmless if it is not.
    """
    made: Any = threading.RLock() if reentrant else threading.Lock()
    reopen = getattr(made, "_at_fork_reinit", None)  # as the standard library does for its own locks
    if reopen is not None and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reopen)
    return made
