"""The operators and methods of Tensor: tables of which function stands behind which name.

Their signatures for type checkers are in tensorgrad/methods.pyi; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorgrad import autodiff, gradient_hooks
from tensorgrad.dtypes import float16, float32, float64, int32, int64
from tensorgrad.errors import OperandError
from tensorgrad.ops import arithmetic, elementwise, indexing, inplace, loss, matmul, reduction, shape, transfer
from tensorgrad.ops.numpy_protocol import array_ufunc
from tensorgrad.ops.operands import cast
from tensorgrad.tensor import Tensor


def _reflected(function: Any) -> Any:
    def reflected(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return reflected


def _iterate(self: Tensor) -> Iterator[Tensor]:
    if not self.array.ndim:
        raise OperandError("a 0-d Tensor holds one number and cannot be iterated over; read it with .item()")
    return iter(shape.unbind(self, 0))


def _backward(
    self: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
) -> None:
    """Add the gradients of this Tensor to `.grad` of the leaves it came from; see `tensorgrad.autograd.backward`."""
    autodiff.backward(self, gradient, retain_graph, create_graph, inputs)


def _as(dtype: Any) -> Any:
    return lambda self: cast(self, dtype)


OPERATORS: dict[str, Any] = {
    "__add__": arithmetic.add,
    "__radd__": arithmetic.add,
    "__sub__": arithmetic.subtract,
    "__rsub__": _reflected(arithmetic.subtract),
    "__mul__": arithmetic.multiply,
    "__rmul__": arithmetic.multiply,
    "__truediv__": arithmetic.divide,
    "__rtruediv__": _reflected(arithmetic.divide),
    "__pow__": arithmetic.power,
    "__rpow__": _reflected(arithmetic.power),
    "__matmul__": matmul.matmul,
    "__rmatmul__": _reflected(matmul.matmul),
    "__neg__": arithmetic.negative,
    "__abs__": elementwise.absolute,
    "__eq__": elementwise.equal,
    "__ne__": elementwise.not_equal,
    "__lt__": elementwise.less,
    "__le__": elementwise.less_equal,
    "__gt__": elementwise.greater,
    "__ge__": elementwise.greater_equal,
    "__and__": elementwise.logical_and,
    "__or__": elementwise.logical_or,
    "__invert__": elementwise.logical_not,
    "__getitem__": indexing.getitem,
    "__setitem__": inplace.setitem,
    "__iter__": _iterate,
    "__iadd__": inplace.add_,
    "__isub__": inplace.sub_,
    "__imul__": inplace.mul_,
    "__itruediv__": inplace.div_,
    "__ipow__": inplace.pow_,
    "__array_ufunc__": array_ufunc,
}

METHODS: dict[str, Any] = {
    "backward": _backward,
    "register_hook": gradient_hooks.register_hook,
    "register_post_accumulate_grad_hook": gradient_hooks.register_post_accumulate_grad_hook,
    "retain_grad": gradient_hooks.retain_grad,
    # arithmetic
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "div": arithmetic.divide,
    "pow": arithmetic.power,
    "neg": arithmetic.negative,
    "square": arithmetic.square,
    # element by element
    "exp": elementwise.exp,
    "log": elementwise.log,
    "sqrt": elementwise.sqrt,
    "sin": elementwise.sin,
    "cos": elementwise.cos,
    "tanh": elementwise.tanh,
    "sigmoid": elementwise.sigmoid,
    "relu": elementwise.relu,
    "abs": elementwise.absolute,
    "sign": elementwise.sign,
    "clamp": elementwise.clamp,
    "maximum": elementwise.maximum,
    "minimum": elementwise.minimum,
    "eq": elementwise.equal,
    "ne": elementwise.not_equal,
    "lt": elementwise.less,
    "le": elementwise.less_equal,
    "gt": elementwise.greater,
    "ge": elementwise.greater_equal,
    "isnan": elementwise.isnan,
    "isfinite": elementwise.isfinite,
    # reductions
    "sum": reduction.sum,
    "mean": reduction.mean,
    "amax": reduction.amax,
    "amin": reduction.amin,
    "max": reduction.max,
    "min": reduction.min,
    "argmax": reduction.argmax,
    "argmin": reduction.argmin,
    "var": reduction.var,
    "std": reduction.std,
    "all": reduction.all,
    "any": reduction.any,
    # shape
    "reshape": shape.reshape,
    "view": shape.view,
    "flatten": shape.flatten,
    "unsqueeze": shape.unsqueeze,
    "squeeze": shape.squeeze,
    "permute": shape.permute,
    "transpose": shape.transpose,
    "t": shape.transposed,
    "expand": shape.expand,
    "broadcast_to": shape.broadcast_to,
    "clone": shape.clone,
    "contiguous": shape.contiguous,
    "unbind": shape.unbind,
    # products, indices, probabilities
    "matmul": matmul.matmul,
    "take_along_dim": indexing.take_along_dim,
    "log_softmax": loss.log_softmax,
    "softmax": loss.softmax,
    "logsumexp": loss.logsumexp,
    # places and dtypes
    "to": transfer.to,
    "cpu": transfer.cpu,
    "cuda": transfer.cuda,
    "half": _as(float16),
    "float": _as(float32),
    "double": _as(float64),
    "int": _as(int32),
    "long": _as(int64),
    "bool": _as("bool"),
    # in place
    **{
        name: getattr(inplace, name)
        for name in (
            "add_",
            "sub_",
            "mul_",
            "div_",
            "pow_",
            "neg_",
            "exp_",
            "log_",
            "sqrt_",
            "tanh_",
            "sigmoid_",
            "relu_",
            "abs_",
            "clamp_",
            "copy_",
            "fill_",
            "zero_",
        )
    },
}


PROPERTIES: dict[str, Any] = {"retains_grad": property(gradient_hooks.retains_grad), "T": property(shape.transposed)}

for _name, _function in {**OPERATORS, **METHODS, **PROPERTIES}.items():
    setattr(Tensor, _name, _function)
