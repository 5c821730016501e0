"""What a node keeps for backward: read again as arrays or as Tensors, refused where it was changed since, freed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorgrad.errors import GraphError
from tensorgrad.primitive.refusals import refuse_changed, refuse_changed_by_numpy
from tensorgrad.tensor import Extra, Tensor

if TYPE_CHECKING:
    from tensorgrad.primitive.node import Primitive


class Deferred:
    """Stands where a node's saved values were, and knows how to get them back."""

    __slots__ = ()

    def restore(self, node: Primitive) -> list[Any]:
        """The values as the node saved them."""
        raise NotImplementedError


class Freed(Deferred):
    """Stands where a node's saved values were, and knows who used them up."""

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where

    def restore(self, node: Primitive) -> list[Any]:
        raise GraphError(
            f"{node.name}: its saved values were already used and freed by the backward call at {self.where}; "
            "to go backward a second time, pass retain_graph=True to the first call"
        )


def remember_versions(node: Primitive, extras: list[Extra]) -> None:
    """Note the versions of the saved values, from the Extras of the inputs, where memory was changed or lent before."""
    if any(extra.inference for extra in extras):
        raise GraphError(
            f"{node.name}: an input was made under inference_mode and cannot be recorded; use .clone() outside of it"
        )
    for position, value in enumerate(node.saved):
        if isinstance(value, Tensor) and value.extra is not None and value.extra.storage is not None:
            storage = value.extra.storage
            if storage.version:
                node.make_extra().versions[position] = storage.version
            noted = storage.sum_of(value.array)
            if noted is not None:
                node.make_extra().sums[position] = noted


def saved_arrays(node: Primitive) -> list[Any]:
    """The kept values as arrays, for the rules of first-order backward."""
    saved = node.saved
    if type(saved) is not list:
        saved = saved.restore(node)
    values = []
    for position, value in enumerate(saved):
        if isinstance(value, Tensor):
            if value.extra is not None:
                _check_version(node, position, value)
            array = value.array
            values.append(array if array.ndim else array[()])  # NumPy is faster on scalars than on 0-d arrays
        else:
            values.append(value)
    if node.extra is not None:
        _check_output(node)
    return values


def saved_tensors(node: Primitive) -> list[Any]:
    """The kept values as Tensors at the places on the tape where this node found them, for higher orders."""
    saved = node.saved
    if type(saved) is not list:
        saved = saved.restore(node)
    if node.extra is not None:
        _check_output(node)
    values = []
    for index, (position, value) in enumerate(zip(node.keeps, saved)):
        if value is None:
            pass  # an input that is None, or what this application does not need
        elif position < 0:
            out = Tensor(value)
            out.tracked, out.node = True, node
            if node.extra is not None and node.extra.output_tangents:
                out.make_extra().tangents = node.extra.output_tangents
            value = out
        elif isinstance(value, Tensor):
            _check_version(node, index, value)
            value = _as_recorded(value, node.parents[position])
        values.append(value)
    return values


def _as_recorded(value: Tensor, parent: Any) -> Tensor:
    """`value` with the history it had when this node was recorded (it may have been detached or overwritten since)."""
    edge = (value if value.node is None else value.node) if value.tracked else None
    if edge is parent:
        return value
    past = Tensor(value.array)
    past.tracked, past.node = parent is not None, parent
    if value.extra is not None and value.extra.tangents:
        past.make_extra().tangents = value.extra.tangents
    return past


def _check_version(node: Primitive, index: int, value: Tensor) -> None:
    version = value._version
    needed = 0 if node.extra is None else node.extra.versions.get(index, 0)
    if version != needed:
        assert value.extra is not None and value.extra.storage is not None
        refuse_changed(node, _saved_name(node, index), value.shape, value.extra.storage)
    if value.is_lent:
        storage = value.storage
        noted = None if node.extra is None else node.extra.sums.get(index)
        if storage.changed_by_numpy(value.array, noted):
            refuse_changed_by_numpy(node, _saved_name(node, index))


def _check_output(node: Primitive) -> None:
    storage = None if node.extra is None else node.extra.output_storage
    if storage is not None:
        if storage.version:
            refuse_changed(node, "its result", None, storage)
        if storage.changed_by_numpy(None, None):
            refuse_changed_by_numpy(node, "its result")


def _saved_name(node: Primitive, index: int) -> str:
    place = index if node.bilinear else node.keeps[index]
    return f"its input {node.inputs[place]}" if node.inputs else f"its input {place}"
