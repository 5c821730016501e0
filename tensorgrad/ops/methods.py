"""The operators and methods of Tensor: tables of which function stands behind which name.

Their signatures for type checkers are in tensorgrad/methods.pyi; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorgrad import autodiff, gradient_hooks
from tensorgrad.creation import NEW
from tensorgrad.errors import OperandError
from tensorgrad.ops import (
    about,
    arithmetic,
    array_forms,
    binary,
    elementwise,
    fills,
    indexing,
    inplace,
    inplace_forms,
    interop,
    logic,
    loss,
    matmul,
    reduction,
    shape,
    splitting,
    transfer,
    unary,
)
from tensorgrad.ops.numpy_protocol import array_ufunc
from tensorgrad.tensor import Tensor


def _reflected(function: Any) -> Any:
    def reflected(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return reflected


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if not self.array.ndim:
        raise OperandError("a 0-d Tensor holds one number and cannot be iterated over; read it with .item()")
    return iter(splitting.unbind(self, 0))


def _contains(self: Tensor, element: Any) -> bool:
    """Whether some value is equal to `element`."""
    if not isinstance(element, (Tensor, bool, int, float)):
        raise OperandError(f"in: got a {type(element).__name__}; a Tensor contains numbers and Tensors")
    return bool(reduction.any(logic.eq(self, element)))


def _backward(
    self: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
) -> None:
    """Add the gradients of this Tensor to `.grad` of the leaves it came from; see `tensorgrad.autograd.backward`."""
    autodiff.backward(self, gradient, retain_graph, create_graph, inputs)


OPERATORS: dict[str, Any] = {
    "__add__": arithmetic.add,
    "__radd__": arithmetic.add,
    "__sub__": arithmetic.subtract,
    "__rsub__": _reflected(arithmetic.subtract),
    "__mul__": arithmetic.multiply,
    "__rmul__": arithmetic.multiply,
    "__truediv__": arithmetic.divide,
    "__rtruediv__": _reflected(arithmetic.divide),
    "__rdiv__": _reflected(arithmetic.divide),
    "__pow__": arithmetic.power,
    "__rpow__": _reflected(arithmetic.power),
    "__matmul__": matmul.matmul,
    "__rmatmul__": _reflected(matmul.matmul),
    "__neg__": arithmetic.negative,
    "__abs__": elementwise.absolute,
    "__eq__": logic.eq,
    "__ne__": logic.ne,
    "__lt__": logic.lt,
    "__le__": logic.le,
    "__gt__": logic.gt,
    "__ge__": logic.ge,
    "__floordiv__": binary.floor_divide,
    "__rfloordiv__": _reflected(binary.floor_divide),
    "__mod__": binary.remainder,
    "__rmod__": _reflected(binary.remainder),
    "__and__": logic.bitwise_and,
    "__rand__": logic.bitwise_and,
    "__or__": logic.bitwise_or,
    "__ror__": logic.bitwise_or,
    "__xor__": logic.bitwise_xor,
    "__rxor__": logic.bitwise_xor,
    "__lshift__": logic.bitwise_left_shift,
    "__rlshift__": _reflected(logic.bitwise_left_shift),
    "__rshift__": logic.bitwise_right_shift,
    "__rrshift__": _reflected(logic.bitwise_right_shift),
    "__invert__": logic.bitwise_not,
    "__pos__": unary.positive,
    "__contains__": _contains,
    "__getitem__": indexing.getitem,
    "__setitem__": inplace.setitem,
    "__iter__": _iterate,
    "__iadd__": inplace_forms.IN_PLACE["add_"],
    "__isub__": inplace_forms.IN_PLACE["sub_"],
    "__imul__": inplace_forms.IN_PLACE["mul_"],
    "__itruediv__": inplace_forms.IN_PLACE["div_"],
    "__ifloordiv__": inplace_forms.IN_PLACE["floor_divide_"],
    "__imod__": inplace_forms.IN_PLACE["remainder_"],
    "__ipow__": inplace_forms.IN_PLACE["pow_"],
    "__iand__": inplace_forms.IN_PLACE["bitwise_and_"],
    "__ior__": inplace_forms.IN_PLACE["bitwise_or_"],
    "__ixor__": inplace_forms.IN_PLACE["bitwise_xor_"],
    "__ilshift__": inplace_forms.IN_PLACE["bitwise_left_shift_"],
    "__irshift__": inplace_forms.IN_PLACE["bitwise_right_shift_"],
    "__array_ufunc__": array_ufunc,
    "__dlpack__": interop.dlpack,
    "__dlpack_device__": interop.dlpack_device,
}

METHODS: dict[str, Any] = {
    "backward": _backward,
    "register_hook": gradient_hooks.register_hook,
    "register_post_accumulate_grad_hook": gradient_hooks.register_post_accumulate_grad_hook,
    "retain_grad": gradient_hooks.retain_grad,
    # element by element
    **inplace_forms.METHODS,
    # reductions, shapes, indices, order, products of matrices
    **array_forms.METHODS,
    # probabilities
    "log_softmax": loss.log_softmax,
    "softmax": loss.softmax,
    "logsumexp": loss.logsumexp,
    # places and dtypes
    "to": transfer.to,
    "cpu": transfer.cpu,
    "cuda": transfer.cuda,
    "pin_memory": transfer.pin_memory,
    "is_pinned": transfer.in_pinned_memory,
    **about.CONVERSIONS,
    **about.FACTS,
    # others made from it
    **NEW,
    # in place
    "copy_": inplace.copy_,
    "fill_": inplace.fill_,
    "zero_": inplace.zero_,
    **fills.FILLS,
}


PROPERTIES: dict[str, Any] = {
    **about.PROPERTIES,
    "retains_grad": property(gradient_hooks.retains_grad),
    "T": property(shape.reversed_dims),
    "mT": property(shape.matrix_transposed),
}

for _name, _function in {**OPERATORS, **METHODS, **PROPERTIES}.items():
    setattr(Tensor, _name, _function)
