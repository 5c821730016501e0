"""The ONNX form of layers that are one primitive here and one or several nodes there."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.graph.onnx_exporter import Exporter
from tensorgrad.graph.onnx_operations import rule
from tensorgrad.tensor import Tensor


@rule("rms_norm")
def _rms_norm(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    """z = x / sqrt(mean(x^2) + eps) [weight]"""
    x, weight = names
    square = exporter.node("ReduceMean", [exporter.node("Mul", [x, x])], axes=list(range(-p.count, 0)), keepdims=1)
    small = exporter.constant(numpy.asarray(p.eps, results[0].dtype))
    z = exporter.node("Div", [x, exporter.node("Sqrt", [exporter.node("Add", [square, small])])])
    return exporter.node("Mul", [z, weight]) if weight else z


@rule("group_norm")
def _group_norm(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    """Instance normalisation of (N, groups, values), which ONNX has, with weight and bias behind it."""
    x, weight, bias = names
    ones = numpy.ones(p.groups, results[0].dtype)
    lines = exporter.node("Reshape", [x, exporter.integers(0, p.groups, -1)])
    scale, shift = exporter.constant(ones), exporter.constant(0 * ones)
    z = exporter.node("InstanceNormalization", [lines, scale, shift], epsilon=float(p.eps))
    z = exporter.node("Reshape", [z, exporter.node("Shape", [x])])
    shape = exporter.integers(-1, *(1,) * (len(results[0].shape) - 2))
    if weight:
        z = exporter.node("Mul", [z, exporter.node("Reshape", [weight, shape])])
    return exporter.node("Add", [z, exporter.node("Reshape", [bias, shape])]) if bias else z


@rule("prelu")
def _prelu(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    shape = exporter.integers(-1, *(1,) * max(len(results[0].shape) - 2, 0))
    return exporter.node("PRelu", [names[0], exporter.node("Reshape", [names[1], shape])])


@rule("grid_sample")
def _grid_sample(exporter: Exporter, p: Any, names: list[str], results: tuple[Tensor, ...]) -> str:
    if len(results[0].shape) != 4:
        raise ArgumentError(f"export_onnx: {p!r} of volumes has no ONNX form; GridSample takes images until opset 20")
    settings = {"mode": p.mode, "padding_mode": p.padding_mode, "align_corners": int(p.align_corners)}
    return exporter.node("GridSample", names, **settings)
