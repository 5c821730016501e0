"""Results that are the same bits from run to run, with PyTorch's names.

On a processor they are so anyway for one number of threads (docs/performance.md). Deterministic algorithms make them so for any
number: sums that threads share are taken in as many parts whatever the number, and BLAS works in one thread. On a GPU cuDNN takes
only plans that always give the same bits, and what adds by atomic operations, in whatever order, is refused.

>>> use_deterministic_algorithms(True)
>>> are_deterministic_algorithms_enabled()
True
>>> use_deterministic_algorithms(False)
"""

from __future__ import annotations

import warnings

from tensorgrad.errors import ArgumentError, OperandError, UnsupportedError

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_deterministic_debug_mode",
    "is_deterministic_algorithms_warn_only_enabled",
    "set_deterministic_debug_mode",
    "use_deterministic_algorithms",
]

#: Parts that a sum is taken in, whatever the number of threads: more threads than that find no work in it.
PARTS = 16

DEBUG_MODES = ("default", "warn", "error")


class _State:
    """What is chosen, for all threads."""

    enabled = False
    warn_only = False


state = _State()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Use only algorithms that give the same bits every time, whatever the number of threads; costs some time and memory.

    warn_only  where there is no such algorithm, warn and take the other one; else it is an UnsupportedError (a RuntimeError)
    Raises OperandError for what is not True or False.
    """
    for name, value in (("mode", mode), ("warn_only", warn_only)):
        if not isinstance(value, bool):
            raise OperandError(f"use_deterministic_algorithms: {name} is {value!r}; it must be True or False")
    state.enabled, state.warn_only = mode, mode and warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """Whether only deterministic algorithms are used."""
    return state.enabled


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether an operation without a deterministic algorithm warns instead of being refused."""
    return state.warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The two of `use_deterministic_algorithms` in one: 'default' or 0 (off), 'warn' or 1 (warn_only), 'error' or 2.

    >>> set_deterministic_debug_mode("warn")
    >>> get_deterministic_debug_mode()
    1
    >>> set_deterministic_debug_mode(0)
    """
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, (int, str)):
        raise OperandError(
            f"set_deterministic_debug_mode: got {debug_mode!r}; it must be 0, 1, 2 or one of {DEBUG_MODES}"
        )
    known = DEBUG_MODES.index(debug_mode) if debug_mode in DEBUG_MODES else debug_mode
    if known not in (0, 1, 2):
        raise ArgumentError(
            f"set_deterministic_debug_mode: got {debug_mode!r}; it must be 0, 1, 2 or one of {DEBUG_MODES}"
        )
    use_deterministic_algorithms(known > 0, warn_only=known == 1)  # type: ignore[operator]


def get_deterministic_debug_mode() -> int:
    """0 (off), 1 (warns) or 2 (refuses)."""
    return (1 if state.warn_only else 2) if state.enabled else 0


def refuse(operation: str) -> None:
    """Called before an operation without a deterministic algorithm.

    Raises UnsupportedError where only deterministic algorithms are used, or warns.
    """
    if not state.enabled:
        return
    text = (
        f"{operation} adds in whatever order threads come, so its last bits may change from run to run, and "
        "use_deterministic_algorithms(True) was called; call it with warn_only=True, or compute this on the CPU"
    )
    if not state.warn_only:
        raise UnsupportedError(text)
    warnings.warn(text, UserWarning, stacklevel=3)
