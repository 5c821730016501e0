"""Anomaly mode: every node remembers where it was called, and backward stops at the first nan and says where that was."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError
from tensorgrad.locks import lock
from tensorgrad.mode import layer_path
from tensorgrad.primitive import Primitive, observers
from tensorgrad.primitive.saved import saved_arrays
from tensorgrad.saved import is_recorded
from tensorgrad.storage import checksum
from tensorgrad.tensor import Tensor


class _Setting:
    """What a block, or the program around all blocks, wants."""

    def __init__(self, on: bool, check_nan: bool) -> None:
        self.on, self.check_nan = on, check_nan


# The last one counts. A block takes its own away: another thread's may have been opened before it and end earlier.
_settings = [_Setting(False, True)]
_lock = lock()


class set_detect_anomaly:
    """Switch anomaly mode on or off, for all threads: a statement or a `with` block.

    mode       whether nodes remember where they were called and what their saved values were (a change through NumPy is
               found): costs a walk over the stack and over the values for every operation
    check_nan  whether backward refuses a rule that gives nan; errors are explained in any case
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._setting = _settings[-1]
        self._before = (self._setting.on, self._setting.check_nan)
        self._set(mode, check_nan)

    def _set(self, on: bool, check_nan: bool) -> None:
        self._setting.on, self._setting.check_nan = on, check_nan
        _apply()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        self._set(*self._before)


class detect_anomaly(set_detect_anomaly):
    """A block in which backward names the forward call, with its layer, that led to a nan or an error.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([0.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     (x.sqrt() * 0).backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tensorgrad.errors.GraphError: sqrt: the gradient of its input x holds nan; sqrt was called here...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._open: list[_Setting] = []

    def __enter__(self) -> None:
        self._open.append(_Setting(True, self._check_nan))
        _settings.append(self._open[-1])
        _apply()

    def __exit__(self, *exception: Any) -> None:
        _settings.remove(self._open.pop())
        _apply()


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _remember in observers


def is_anomaly_check_nan_enabled() -> bool:
    """Whether backward refuses nan in anomaly mode."""
    return _settings[-1].check_nan


def _apply() -> None:
    with _lock:
        on = _settings[-1].on
        if on and _remember not in observers:
            observers.append(_remember)
        elif not on and _remember in observers:
            observers.remove(_remember)


def _remember(primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
    """An observer of every operation: a recorded one notes the stack it was called on."""
    if not is_recorded(primitive, outputs):
        return
    frame: Any = sys._getframe(1)
    calls = [call for call in traceback.walk_stack(frame) if not _is_own(call[0])]
    stack = traceback.StackSummary.extract(reversed(calls), lookup_lines=False)
    layer = layer_path(primitive.scope)  # the path now: a module may be gone by then
    primitive.make_extra().origin = (layer, stack, _checksums(primitive.saved))


def _is_own(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == "tensorgrad"


def _where(node: Primitive) -> str:
    assert node.extra is not None and node.extra.origin is not None
    layer, stack, _ = node.extra.origin
    inside = f", in layer '{layer}'" if layer else ""
    return f"{node.name} was called here{inside} (most recent call last):\n{''.join(stack.format())}"


def _checksums(saved: Any) -> list[int | None]:
    """A number for each saved value that lies in the host's memory, where NumPy can change it unseen; else None."""
    found: list[int | None] = []
    for value in saved if type(saved) is list else ():
        array = value.array if isinstance(value, Tensor) else value
        is_here = isinstance(array, numpy.ndarray)
        found.append(checksum(array) if is_here else None)
    return found


def refuse_changed(node: Primitive) -> None:
    """Raise if a saved value is not what it was, though nothing in tensorgrad changed it."""
    assert node.extra is not None and node.extra.origin is not None
    before = node.extra.origin[2]
    if before and type(node.saved) is list and _checksums(node.saved) != before:
        saved_arrays(node)  # what was changed by an operation has an error of its own
        raise GraphError(
            f"{node.name}: a value saved for backward was changed behind tensorgrad's back, through a NumPy array on the "
            "same memory (x.numpy(), or the array it was made from); change a copy"
        )


def explain_error(node: Primitive, error: Exception) -> None:
    """Raise what a rule raised, with the forward call it belongs to."""
    raise GraphError(f"{node.name}: its derivative failed: {type(error).__name__}: {error}; {_where(node)}") from error


def refuse_nan(node: Primitive, dz: Any, grads: tuple[Any, ...]) -> None:
    """Raise if a rule gave nan."""
    if not is_anomaly_check_nan_enabled():
        return
    for position, g in enumerate(grads):
        if g is None or node.parents[position] is None:
            continue
        g = g.array if isinstance(g, Tensor) else g
        if bool(backend_of(g).to_host(backend_of(g).isnan(g).any())):
            name = f"input {node.inputs[position]}" if node.inputs else f"input {position}"
            arrived = " (nan had arrived from above)" if _holds_nan(dz) else ""
            raise GraphError(f"{node.name}: the gradient of its {name} holds nan{arrived}; {_where(node)}")


def _holds_nan(dz: Any) -> bool:
    parts = [part for part in (dz if type(dz) is list else [dz]) if part is not None]
    arrays = [part.array if isinstance(part, Tensor) else part for part in parts]
    return any(bool(backend_of(x).to_host(backend_of(x).isnan(x).any())) for x in arrays)
