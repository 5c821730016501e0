"""A model as an ONNX file (opset 17), which other programs run: ONNX Runtime, OpenVINO, TensorRT, ...

The model is watched while it runs in evaluation mode, and every primitive that was applied becomes the ONNX operations of its
name (tensorgrad.graph.onnx_operations). What depends on constants alone - a parameter that is reshaped, the factors of a batch
norm - is computed here and written as a number. Needs the package onnx: pip install 'tapegrad[onnx]'.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.graph import onnx_layers, onnx_operations  # noqa: F401  # they fill the table that the exporter reads
from tensorgrad.graph.onnx_exporter import Exporter
from tensorgrad.graph.trace import named_tensors, unchanged
from tensorgrad.io.atomic import replacing
from tensorgrad.mode import no_grad
from tensorgrad.ops.inplace import write_observers
from tensorgrad.primitive import Primitive, observers
from tensorgrad.tensor import Tensor

OPSET, IR_VERSION = 17, 8


def export_onnx(
    function: Callable[..., Any],
    *inputs: Tensor,
    path: str | os.PathLike[str],
    keywords: Mapping[str, Any] | None = None,
    dynamic_batch: bool = False,
) -> None:
    """Write what function(*inputs, **keywords) computes as an ONNX model with the inputs and outputs of the run.

    function       a module, which runs in evaluation mode and is left as it was, or a function of Tensors
    inputs         example inputs: their shapes and dtypes are those of the file's inputs
    dynamic_batch  leave the first dimension of inputs and outputs open; refused where an operation fixes it

    The file is checked by onnx.checker before it is written. Raises ArgumentError where the package onnx is missing, for an
    operation that has no ONNX form, and where a batch of any size was asked for and the model computes with its size.
    """
    try:
        import onnx
    except ImportError as error:
        raise ArgumentError("export_onnx: it needs the package onnx; pip install 'tapegrad[onnx]'") from error
    model = onnx_model(function, *inputs, keywords=keywords, dynamic_batch=dynamic_batch)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArgumentError(f"export_onnx: what was made is no valid ONNX model: {error}") from error
    with replacing(path) as draft:
        draft.write_bytes(model.SerializeToString())


def onnx_model(
    function: Callable[..., Any],
    *inputs: Tensor,
    keywords: Mapping[str, Any] | None = None,
    dynamic_batch: bool = False,
) -> Any:
    """The onnx.ModelProto that `export_onnx` writes."""
    import onnx
    from onnx import helper, numpy_helper

    given = list(named_tensors(function, inputs, keywords or {}))
    if not given:
        raise OperandError("export_onnx: there is no Tensor among the inputs; give example inputs, as for a call")
    exporter = Exporter(_names_of_state(function), dynamic_batch)
    for name, x in given:
        exporter.add_input(name, x)

    def observe(primitive: Primitive, operands: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
        exporter.apply(primitive, operands, results)

    with unchanged(function), _evaluating(function), no_grad():
        observers.append(observe)
        write_observers.append(exporter.write)
        try:
            output = function(*inputs, **(keywords or {}))
        finally:
            observers.remove(observe)
            write_observers.remove(exporter.write)
    results = [x for _, x in named_tensors(None, (output,), {})]
    if not results:
        raise OperandError(f"export_onnx: the model returned a {type(output).__name__} without a Tensor")
    exporter.add_outputs(results)
    used = exporter.used_nodes()

    def described(name: str, x: Tensor) -> Any:
        shape: Any = ["batch", *x.shape[1:]] if dynamic_batch and x.shape else list(x.shape)
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), shape)

    graph = helper.make_graph(
        [node for node in used if node is not None],
        type(function).__name__ if hasattr(function, "_modules") else getattr(function, "__name__", "graph"),
        [described(name, x) for name, x in exporter.inputs],
        [described(name, x) for name, x in exporter.outputs],
        [
            numpy_helper.from_array(numpy.ascontiguousarray(values).reshape(values.shape), name)
            for name, values in exporter.constants_used(used).items()
        ],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tensorgrad")


def _names_of_state(function: Any) -> dict[int, str]:
    """The parameters and buffers of a module by the identity of their arrays."""
    if not hasattr(function, "named_parameters"):
        return {}
    named = [*function.named_parameters(), *function.named_buffers()]
    return {id(x.array): name for name, x in named}


class _evaluating:
    """A block in which a module is in evaluation mode; `unchanged` puts it back."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __enter__(self) -> None:
        if hasattr(self.function, "eval"):
            self.function.eval()

    def __exit__(self, *exception: Any) -> None:
        pass
