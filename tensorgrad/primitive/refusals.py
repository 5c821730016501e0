"""What a primitive refuses, in the words of the operation: its name, what it got, what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DeviceError, DtypeError, GraphError, ShapeError, TensorgradError
from tensorgrad.storage import Storage
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.primitive.node import Primitive


def explained(node: Primitive, error: Exception, inputs: tuple[Any, ...]) -> Exception | None:
    """A clearer error than the array library's, or None where there is nothing to add."""
    if isinstance(error, TensorgradError):
        return None
    given = _tensors_by_name(node, inputs)
    if len({str(x.device) for _, x in given}) > 1:
        places = ", ".join(f"{name} on '{x.device}'" for name, x in given)
        return DeviceError(f"{node.name}: got {places}; all must be on one device, move one with .to(device)")
    if isinstance(error, ValueError):
        shapes = ", ".join(f"{name} of shape {x.shape}" for name, x in given)
        rule = "sizes must be equal or 1, compared from the last dimension" if node.broadcasts else str(error)
        return ShapeError(f"{node.name}: got {shapes}; {rule}")
    if isinstance(error, TypeError) and ("ufunc" in str(error) or "boolean" in str(error)):
        kinds = ", ".join(f"{name} of dtype {x.dtype}" for name, x in given)
        return DtypeError(f"{node.name}: got {kinds}, which it does not take; convert with .to(dtype)")
    return None


def _tensors_by_name(node: Primitive, inputs: tuple[Any, ...]) -> list[tuple[str, Tensor]]:
    names = node.inputs or tuple(f"input {i}" for i in range(len(inputs)))
    return [(name, x) for name, x in zip(names, inputs) if isinstance(x, Tensor)]


def refuse_changed_by_numpy(node: Primitive, what: str) -> NoReturn:
    """Raise for a saved value that no operation changed."""
    raise GraphError(
        f"{node.name}: {what} is needed for the gradient, but was changed behind tensorgrad's back, through a NumPy array "
        "on the same memory (x.numpy(), or the array it was made from); change a copy"
    )


def refuse_changed(node: Primitive, what: str, shape: Any, storage: Storage) -> NoReturn:
    """Raise for a saved value that an operation changed in place."""
    of_shape = "" if shape is None else f" of shape {shape}"
    raise GraphError(
        f"{node.name}: {what}{of_shape} is needed for the gradient, but was changed in place by {storage.writer} "
        f"(now at version {storage.version}); change a .clone() instead, or use the out-of-place operation"
    )


def check_floating(operation: str, x: Tensor) -> None:
    """Refuse a Tensor that is not of a floating-point type."""
    if not is_floating(x.array.dtype):
        raise DtypeError(f"{operation}: got dtype {x.array.dtype}; it needs a floating-point Tensor, use .float()")
