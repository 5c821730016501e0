"""The ONNX form of every primitive: one table.

A row is a function (exporter, primitive, names of operands, results) -> ONNX names of the results. Operands are given by name, ''
for one that is None; numbers and constants have been made initialisers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError
from tensorgrad.graph.onnx_exporter import RULES, Exporter, Rule
from tensorgrad.tensor import Tensor


def rule(*names: str) -> Callable[[Rule], Rule]:
    """The decorated function is the ONNX form of the primitives of these names."""

    def enter(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return enter


#: Primitives whose ONNX form is one node of the same operands and no settings.
SAME = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "negative": "Neg",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "abs": "Abs",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "erf": "Erf",
    "maximum": "Max",
    "minimum": "Min",
    "where": "Where",
    "matmul": "MatMul",
    "dot": "MatMul",
    "identity": "Identity",
    "clone": "Identity",
    "contiguous": "Identity",
    "to_device": "Identity",
    "reciprocal": "Reciprocal",
    "hardswish": "HardSwish",
    "softsign": "Softsign",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "asin": "Asin",
    "acos": "Acos",
    "atan": "Atan",
    "clamp_min": "Max",
    "clamp_max": "Min",
}


def _same(kind: str) -> Rule:
    return lambda exporter, primitive, names, results: exporter.node(kind, names)


RULES.update({name: _same(kind) for name, kind in SAME.items()})


def _pads(padding: tuple[int, int, int, int]) -> list[int]:
    """(top, bottom, left, right) -> ONNX's beginnings, then ends."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]


@rule("conv2d", "conv2d_bias")
def _conv2d(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node(
        "Conv",
        names,
        strides=list(p.stride),
        pads=_pads(p.padding),
        dilations=list(p.dilation),
        group=p.groups,
        kernel_shape=list(p.kernel_size),
    )


@rule("max_pool2d")
def _max_pool2d(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    window = {"kernel_shape": list(p.kernel_size), "strides": list(p.stride), "dilations": list(p.dilation)}
    return exporter.node("MaxPool", names, pads=_pads(p.padding), ceil_mode=int(p.ceil_mode), **window)


@rule("avg_pool2d")
def _avg_pool2d(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    override = p.divisor_override
    if p.ceil_mode and (override is not None or (p.count_include_pad and any(p.padding))):
        raise ArgumentError(
            f"export_onnx: {p!r} has no ONNX form: what a window that ceil_mode lets hang over is divided by is another number there"
        )
    mean = exporter.node(
        "AveragePool",
        names,
        kernel_shape=list(p.kernel_size),
        strides=list(p.stride),
        pads=_pads(p.padding),
        ceil_mode=int(p.ceil_mode),
        # without padding ONNX Runtime's count with it would take a window that ceil_mode lets hang over as a whole one
        count_include_pad=int((p.count_include_pad or override is not None) and any(p.padding)),
    )
    if override is None:
        return mean
    return _times(exporter, mean, p.kernel_size[0] * p.kernel_size[1] / override, results[0])


@rule("normalize")
def _normalize(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    """z = (x - mean) inv_std [weight] [+ bias], channel by channel: ONNX's BatchNormalization where all of it is constant."""
    x, mean, inv_std, weight, bias = names
    constants = exporter.constants
    if all(name in constants for name in names[1:]):
        deviation = 1.0 / constants[inv_std].astype(numpy.float64)
        var = exporter.constant((deviation**2).astype(constants[inv_std].dtype), "var")
        return exporter.node("BatchNormalization", [x, weight, bias, mean, var], epsilon=0.0)
    shape = exporter.integers(-1, *(1,) * (len(results[0].shape) - 2))
    flat = [exporter.node("Reshape", [name, shape]) if name else "" for name in names[1:]]
    z = exporter.node("Mul", [exporter.node("Sub", [x, flat[0]]), flat[1]])
    z = exporter.node("Mul", [z, flat[2]]) if weight else z
    return exporter.node("Add", [z, flat[3]]) if bias else z


def _times(exporter: Exporter, name: str, factor: float, like: Tensor, added: float = 0.0) -> str:
    """factor x + added, in the dtype of a Tensor."""
    product = exporter.node("Mul", [name, exporter.constant(numpy.asarray(factor, like.dtype))])
    return exporter.node("Add", [product, exporter.constant(numpy.asarray(added, like.dtype))]) if added else product


@rule("rsqrt")
def _rsqrt(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Reciprocal", [exporter.node("Sqrt", names)])


@rule("leaky_relu")
def _leaky_relu(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("LeakyRelu", names, alpha=float(p.slope))


@rule("hardtanh")
def _hardtanh(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    bounds = [exporter.constant(numpy.asarray(bound, results[0].dtype)) for bound in (p.low, p.high)]
    return exporter.node("Clip", [names[0], *bounds])


@rule("hardsigmoid")
def _hardsigmoid(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("HardSigmoid", names, alpha=1 / 6, beta=0.5)


@rule("softplus")
def _softplus(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    z = exporter.node("Softplus", [_times(exporter, names[0], p.beta, results[0])])
    return _times(exporter, z, 1.0 / p.beta, results[0])


@rule("silu")
def _silu(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Mul", [names[0], exporter.node("Sigmoid", names)])


@rule("mish")
def _mish(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Mul", [names[0], exporter.node("Tanh", [exporter.node("Softplus", names)])])


@rule("gelu")
def _gelu(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    inner = exporter.node("Erf", [_times(exporter, names[0], 0.5**0.5, results[0])])
    return exporter.node("Mul", [names[0], _times(exporter, inner, 0.5, results[0], 0.5)])


@rule("elu")
def _elu(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    if p.rate != 1.0:
        raise ArgumentError(f"export_onnx: {p!r} has no ONNX form; ONNX's Elu and Selu know no rate but 1")
    z = exporter.node("Elu", names, alpha=float(p.alpha))
    return z if p.scale == 1.0 else _times(exporter, z, p.scale, results[0])


@rule("inner_product", "inner_product_bias")
def _inner_product(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    x, w, *bias = names
    if len(results[0].shape) == 2:
        return exporter.node("Gemm", names, transB=1)
    z = exporter.node("MatMul", [x, exporter.node("Transpose", [w], perm=[1, 0])])
    return exporter.node("Add", [z, *bias]) if bias else z


@rule("reshape")
def _reshape(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Reshape", [names[0], exporter.target(p.source, results[0].shape)])


@rule("transpose")
def _transpose(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Transpose", names, perm=[int(dim) % len(p.dims) for dim in p.dims])


@rule("broadcast_to")
def _broadcast_to(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Expand", [names[0], exporter.integers(*results[0].shape)])


@rule("concatenate")
def _concatenate(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    return exporter.node("Concat", names, axis=int(p.dim))


@rule("stack")
def _stack(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    axis = exporter.integers(p.dim)
    return exporter.node("Concat", [exporter.node("Unsqueeze", [name, axis]) for name in names], axis=int(p.dim))


@rule("slice")
def _slice(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    """Slices and whole numbers take parts; then the whole numbers' dimensions go, and None's come, by a reshape."""
    shape = p.shape
    parts = list(p.index)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - used)
    starts, ends, axes, steps = [], [], [], []
    for axis, part in enumerate(part for part in parts if part is not None):
        if isinstance(part, slice):
            start, stop, step = part.indices(shape[axis])
            if (start, stop, step) == (0, shape[axis], 1):
                continue
        else:
            start = int(part) % shape[axis]
            stop, step = start + 1, 1
        starts.append(start)
        ends.append(stop if stop >= 0 else -(2**62))
        axes.append(axis)
        steps.append(step)
    name = names[0]
    if axes:
        name = exporter.node("Slice", [name, *(exporter.integers(*v) for v in (starts, ends, axes, steps))])
    if all(isinstance(part, slice) for part in parts):
        return name if axes else exporter.node("Identity", [name])
    return exporter.node("Reshape", [name, exporter.target(shape, results[0].shape)])


@rule("unbind")
def _unbind(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> list[str]:
    axis = p.dim % len(p.shape)
    parts = exporter.node_of_several("Split", names, len(results), axis=axis)
    return [exporter.node("Squeeze", [part, exporter.integers(axis)]) for part in parts]


@rule("pad")
def _pad(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    widths = [before for before, _ in p.widths] + [after for _, after in p.widths]
    value = exporter.constant(numpy.asarray(p.value, results[0].dtype))
    return exporter.node("Pad", [names[0], exporter.integers(*widths), value])


@rule("cast", "round")
def _cast(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    from onnx import helper

    return exporter.node("Cast", names, to=helper.np_dtype_to_tensor_dtype(results[0].dtype))


@rule("clamp")
def _clamp(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    bounds = ["" if b is None else exporter.constant(numpy.asarray(b, results[0].dtype)) for b in (p.low, p.high)]
    return exporter.node("Clip", [names[0], *bounds])


def _reduction(kind: str) -> Rule:
    def reduce(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
        axes = [p.dim] if isinstance(p.dim, int) else [int(dim) for dim in p.dim]
        if kind == "ReduceSum":  # from opset 13 on its axes are an operand, those of the others only from 18 on
            return exporter.node(kind, [names[0], exporter.integers(*axes)], keepdims=int(p.keepdim))
        return exporter.node(kind, names, axes=axes, keepdims=int(p.keepdim))

    return reduce


RULES.update(
    sum=_reduction("ReduceSum"),
    mean=_reduction("ReduceMean"),
    amax=_reduction("ReduceMax"),
    amin=_reduction("ReduceMin"),
    length=_reduction("ReduceL2"),
    logsumexp=_reduction("ReduceLogSumExp"),
)


def _along_dim(kind: str) -> Rule:
    return lambda exporter, p, names, results: exporter.node(kind, names, axis=int(p.dim))


RULES.update(softmax=_along_dim("Softmax"), log_softmax=_along_dim("LogSoftmax"))


@rule("compare")
def _compare(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    kinds = {"equal": "Equal", "less": "Less", "greater": "Greater", "less_equal": "LessOrEqual"}
    if p.relation == "not_equal":
        return exporter.node("Not", [exporter.node("Equal", names)])
    return exporter.node({**kinds, "greater_equal": "GreaterOrEqual"}[p.relation], names)


@rule("logical")
def _logical(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    kinds = {"logical_not": "Not", "logical_and": "And", "logical_or": "Or"}
    return exporter.node(kinds[p.connective], names)


@rule("resample")
def _resample(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    """A linear map along one dimension, written as the matrix that it is: that dimension last, times the matrix, and back."""
    z = results[0]
    axis, last = p.dim % z.array.ndim, z.array.ndim - 1
    units = numpy.eye(p.table.inputs, dtype=z.dtype)
    matrix = exporter.constant(backend_of(units).resample(units, 1, p.table), "matrix")
    turned = [last if i == axis else axis if i == last else i for i in range(z.array.ndim)]
    x = exporter.node("Transpose", names, perm=turned)
    return exporter.node("Transpose", [exporter.node("MatMul", [x, matrix])], perm=turned)
