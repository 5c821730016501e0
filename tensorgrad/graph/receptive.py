"""The receptive field of every feature map: which pixels of the input one of its units sees.

Unit i of a map with stride s sees the pixels from low + i s to high + i s, along each of the two dimensions. Going through a
window of k places, dilation d, stride t and padding p,

    low' = low - p s,   high' = high + ((k - 1) d - p) s,   s' = t s

(Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill 2019). Where branches meet, a unit
sees what any of the branches sees: the smallest low, the largest high. A sum over the whole map, and a linear layer after
flattening, see everything that the map sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tensorgrad.graph.structure import Graph, Node, Shape


@dataclass(frozen=True)
class Field:
    """Along one dimension: unit i sees the pixels low + i stride ... high + i stride; stride 0 when the map has one unit for all."""

    low: float
    high: float
    stride: float

    @property
    def size(self) -> int:
        """How many pixels a unit sees, those beyond the border included."""
        return round(self.high - self.low) + 1

    @property
    def centre(self) -> float:
        """The middle of what unit 0 sees; the input's first pixel is 0."""
        return (self.low + self.high) / 2

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> Field:
        """Behind a window."""
        return Field(
            self.low - padding * self.stride,
            self.high + ((kernel - 1) * dilation - padding) * self.stride,
            self.stride * stride,
        )

    def all(self, units: int) -> Field:
        """What all units of a map see together."""
        return Field(self.low, self.high + (units - 1) * self.stride, 0)


Fields = tuple[Field, Field]  # rows, columns


def receptive_fields(graph: Graph) -> list[Fields | None]:
    """The receptive field of every node's result in the first input of four dimensions; None where it has none.

    None also where branches of different strides meet, and behind operations that move pixels about.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> from tensorgrad.graph import watch
    >>> graph = watch(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)), tensorgrad.zeros(1, 1, 9, 9))
    >>> rows, columns = receptive_fields(graph)[-1]
    >>> rows.size, rows.stride, rows.centre
    (5, 1, 2.0)
    """
    into = graph.all_edges_into()
    found: list[Fields | None] = [None] * len(graph.nodes)
    origin = next((n for n in graph.nodes if n.kind == "input" and n.shape is not None and len(n.shape) == 4), None)
    if origin is None:
        return found
    found[origin.number] = (Field(0, 0, 1), Field(0, 0, 1))
    depends = {origin.number}  # what depends on the input and yet has no field makes that what uses it has none either
    for node in graph.nodes:
        if node.kind not in ("operation", "output"):
            continue
        used = [edge for edge in into[node.number] if edge.source in depends]
        seen = [(found[edge.source], graph.shape_of(edge)) for edge in used]
        fields = [(field, shape) for field, shape in seen if field is not None and shape is not None]
        if used:
            depends.add(node.number)
        if fields and len(fields) == len(used):
            found[node.number] = _behind(node, fields)
    return found


def _behind(node: Node, operands: list[tuple[Fields, Shape]]) -> Fields | None:
    if "kernel_size" in node.settings and node.shape is not None and len(node.shape) == 4:
        return _behind_window(node, operands[0][0])
    reached = [_reached(node, fields, shape) for fields, shape in operands]
    first = reached[0]
    if first is None:
        return None
    for other in reached[1:]:
        if other is None or any(a.stride != b.stride for a, b in zip(first, other)):
            return None
        first = _union(first, other)
    return first


def _behind_window(node: Node, fields: Fields) -> Fields:
    kernel, stride = _pair(node, "kernel_size", 1), _pair(node, "stride", 1)
    dilation, padding = _pair(node, "dilation", 1), _pair(node, "padding", 0)
    rows, columns = (field.through(kernel[i], stride[i], padding[i], dilation[i]) for i, field in enumerate(fields))
    return rows, columns


def _pair(node: Node, name: str, usual: int) -> tuple[int, int]:
    value: Any = node.settings.get(name, usual)
    if not isinstance(value, tuple):
        return value, value
    return (
        (value[0], value[2]) if len(value) == 4 else (value[0], value[1])
    )  # top and left of (top, bottom, left, right)


def _reached(node: Node, fields: Fields, shape: Shape) -> Fields | None:
    """What a unit sees behind an operation without a window."""
    result = node.shape
    if result is None:
        return None
    if len(shape) != 4:
        return fields  # all the map was taken together before
    if len(result) == 4 and result[2:] == shape[2:] and node.name != "transpose":
        return fields  # each place for itself: activation, normalisation, sum, concatenation of channels
    if len(result) == 4 and node.name == "pad":
        (top, _), (left, _) = node.settings["widths"][-2:]
        rows, columns = fields
        return (
            Field(rows.low - top * rows.stride, rows.high - top * rows.stride, rows.stride),
            Field(columns.low - left * columns.stride, columns.high - left * columns.stride, columns.stride),
        )
    if len(result) == 4 and min(result[2:]) > 1:
        return None  # places were moved: an index, a transposition, an upsampling
    return fields[0].all(shape[2]), fields[1].all(shape[3])


def _union(a: Fields, b: Fields) -> Fields:
    rows, columns = (Field(min(x.low, y.low), max(x.high, y.high), x.stride) for x, y in zip(a, b))
    return rows, columns
