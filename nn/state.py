"""A module's state: its parameters and persistent buffers by their dotted names, and putting such values back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tensorgrad.backend import is_array
from tensorgrad.errors import OperandError, StateError
from tensorgrad.mode import no_grad
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops.inplace import copy_
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.nn.module import Module

StateDict = dict[str, Tensor]


class Entry(NamedTuple):
    """One place in the state: its full name, the module that holds it, its name there and its value."""

    name: str
    module: Module
    local: str
    value: Tensor


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` skipped: names the state lacks, and names the module does not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def entries(module: Module, prefix: str = "") -> Iterator[Entry]:
    """Every place in the state of the module and those inside it; a shared value appears under each of its names."""
    for local, parameter in module._parameters.items():
        if parameter is not None:
            yield Entry(prefix + local, module, local, parameter)
    for local, buffer in module._buffers.items():
        if buffer is not None and local not in module._non_persistent_buffers_set:
            yield Entry(prefix + local, module, local, buffer)
    for name, child in module._modules.items():
        if child is not None:
            yield from entries(child, f"{prefix}{name}.")


def state_dict(module: Module, destination: StateDict | None, prefix: str, keep_vars: bool) -> StateDict:
    """Name -> value; see `Module.state_dict`."""
    state: StateDict = {} if destination is None else destination
    for entry in entries(module, prefix):
        state[entry.name] = entry.value if keep_vars else entry.value.detach()
    return state


def load_state_dict(module: Module, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Put the values of `state` into the module; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise OperandError(f"load_state_dict: got a {type(state).__name__}; give a dict of names and Tensors")
    places = list(entries(module))
    known = {entry.name for entry in places}
    missing = [entry.name for entry in places if entry.name not in state]
    unexpected = [name for name in state if name not in known]
    found: list[tuple[Entry, Tensor]] = []
    wrong: list[str] = []
    for entry in places:
        if entry.name not in state:
            continue
        value = state[entry.name]
        if not isinstance(value, Tensor) and not is_array(value):
            wrong.append(f"wrong type: '{entry.name}' is a {type(value).__name__}; it must be a Tensor or an array")
        elif tuple(value.shape) != entry.value.shape:
            wrong.append(f"wrong shape: '{entry.name}' has {tuple(value.shape)}; it must have {entry.value.shape}")
        else:
            found.append((entry, value if isinstance(value, Tensor) else Tensor(value)))
    _refuse_misfits(module, missing if strict else [], unexpected if strict else [], wrong)
    with no_grad():
        if assign:
            for entry, value in found:
                _assign(entry, value)
        else:
            # every conversion that can fail comes before the first write
            ready = [(entry, value.to(entry.value.device, entry.value.dtype)) for entry, value in found]
            for entry, value in ready:
                copy_(entry.value, value)
    return IncompatibleKeys(missing, unexpected)


def _refuse_misfits(module: Module, missing: list[str], unexpected: list[str], wrong: list[str]) -> None:
    """One report of everything that does not fit."""
    lines = []
    if missing:
        lines.append(f"missing: {_quoted(missing)}")
    if unexpected:
        lines.append(f"unexpected: {_quoted(unexpected)}")
    lines.extend(wrong)
    if not lines:
        return
    if not wrong:
        lines.append("to load the entries that do fit, pass strict=False")
    kind = type(module).__name__
    raise StateError("\n  ".join([f"load_state_dict: the state does not fit this {kind}; nothing was changed", *lines]))


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _assign(entry: Entry, value: Tensor) -> None:
    """Put the value itself in the place, as a Parameter where one was."""
    if isinstance(entry.value, Parameter):
        if not isinstance(value, Parameter):
            value = Parameter(value.detach(), entry.value.requires_grad)
        entry.module._parameters[entry.local] = value
    else:
        entry.module._buffers[entry.local] = value.detach()
