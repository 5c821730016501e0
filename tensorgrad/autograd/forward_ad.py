"""torch.autograd.forward_ad's names: forward mode with duals in one's own hands, where `jvp` does not fit."""

from __future__ import annotations

from typing import Any, NamedTuple

from tensorgrad.autodiff import new_level
from tensorgrad.errors import GraphError, ShapeError
from tensorgrad.primitive import open_levels
from tensorgrad.tensor import Tensor

_entered: list[int] = []


class UnpackedDualTensor(NamedTuple):
    """A value, and its tangent or None."""

    primal: Tensor
    tangent: Tensor | None


class dual_level:
    """Inside, Tensors can carry a tangent; leaving it forgets them. Levels nest.

    >>> import tensorgrad
    >>> with dual_level():
    ...     x = make_dual(tensorgrad.tensor(3.0), tensorgrad.tensor(1.0))
    ...     unpack_dual(x * x).tangent
    tensor(6.)
    """

    def __enter__(self) -> int:
        self._level = enter_dual_level()
        return self._level

    def __exit__(self, *exception: Any) -> None:
        exit_dual_level(level=self._level)


def enter_dual_level() -> int:
    """Open a level and return its number."""
    level = new_level()
    open_levels[level] = []
    _entered.append(level)
    return level


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the innermost level; every tangent of it is forgotten."""
    if not _entered or (level is not None and level != _entered[-1]):
        raise GraphError("exit_dual_level: only the innermost open level can be closed")
    closing = _entered.pop()
    for node_extra in open_levels.pop(closing):
        node_extra.close(closing)


def _level(operation: str, level: int | None) -> int:
    if level is not None and level >= 0:
        return level
    if not _entered:
        raise GraphError(f"{operation}: no level is open; use it inside `with dual_level():`")
    return _entered[-1]


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """The Tensor with a tangent of its shape and dtype at the innermost open level."""
    if tensor.shape != tangent.shape or tensor.dtype != tangent.dtype:
        raise ShapeError(
            f"make_dual: the tangent has shape {tangent.shape} and dtype {tangent.dtype}; the Tensor has {tensor.shape} "
            f"and {tensor.dtype}"
        )
    before = None if tensor.extra is None else tensor.extra.tangents
    return tensor.alias({**(before or {}), _level("make_dual", level): tangent})


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent (None without one) at the innermost open level."""
    if not _entered and level is None:
        return UnpackedDualTensor(tensor, None)
    at = _level("unpack_dual", level)
    return UnpackedDualTensor(tensor.below(at), tensor.tangent(at))
