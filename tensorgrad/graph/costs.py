"""What every operation costs: one table of formulas, and what follows from the graph itself.

    MACs    multiply-accumulates of products: convolutions, matrix products. Nothing else counts.
    FLOPs   floating-point operations: 2 for each MAC, 1 for each +, -, *, /, comparison or function value elsewhere.
    values  the numbers that a network holds as features, as the lectures count them: the input, and the results of products,
            pooling and reductions; an activation could be written over its input, a view or a concatenation holds nothing new.
    activation  bytes of memory that was newly taken for results;  kept  bytes that stay for backward
    moved   bytes of all operands and results; FLOPs / moved is the arithmetic intensity

Backward costs what the adjoint maps cost: for a product the MACs of the product itself, for each factor that wants a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy

from tensorgrad.graph.structure import VALUES, Edge, Graph, Node, Shape


@dataclass
class Cost:
    """The costs of an operation, of a module, or of a network; those of parts add up."""

    parameters: int = 0
    trainable: int = 0
    weights: int = 0  # parameters of two or more dimensions; the rest are biases, factors and offsets
    values: int = 0
    macs: int = 0
    flops: int = 0
    backward_flops: int = 0
    activation: int = 0
    kept: int = 0
    moved: int = 0
    seconds: float = 0.0
    backward_seconds: float = 0.0

    def __iadd__(self, other: Cost) -> Cost:
        for part in fields(Cost):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    @property
    def biases(self) -> int:
        """Parameters of one dimension or none."""
        return self.parameters - self.weights

    @property
    def intensity(self) -> float:
        """FLOPs for each byte moved; 0 where nothing is."""
        return self.flops / self.moved if self.moved else 0.0


# MACs of a product from the shapes of its operands and its result
Shapes = list[Shape]


def _convolution(operands: Shapes, result: Shape) -> int:
    return math.prod(result) * math.prod(operands[1][1:])  # each result: C / groups x KH x KW


def _convolution_input_grad(operands: Shapes, result: Shape) -> int:
    return math.prod(operands[0]) * math.prod(operands[1][1:])


def _convolution_weight_grad(operands: Shapes, result: Shape) -> int:
    return math.prod(operands[0]) * math.prod(result[1:])


def _rows_by_columns(operands: Shapes, result: Shape) -> int:
    return math.prod(result) * operands[0][-1]


#: Products: MACs.
PRODUCTS: dict[str, Callable[[Shapes, Shape], int]] = {
    "conv2d": _convolution,
    "conv2d_bias": _convolution,
    "conv2d_bias_relu": _convolution,
    "conv2d_input_grad": _convolution_input_grad,
    "conv2d_weight_grad": _convolution_weight_grad,
    "inner_product": _rows_by_columns,
    "inner_product_bias": _rows_by_columns,
    "matmul": _rows_by_columns,
    "dot": _rows_by_columns,
}

#: Element by element: FLOPs for each number of the result.
ELEMENTWISE: dict[str, int] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "power", "negative", "maximum", "minimum"), 1),
    **dict.fromkeys(("exp", "log", "sqrt", "sin", "cos", "tanh", "relu", "abs", "sign", "compare", "logical"), 1),
    **dict.fromkeys(("clamp", "where"), 1),
    **dict.fromkeys(
        ("atan2", "copysign", "fmax", "fmin", "fmod", "heaviside", "hypot", "remainder", "step", "steps"), 1
    ),
    **dict.fromkeys(("logaddexp", "logaddexp2", "xlogy", "xlog1py", "sinc", "softsign", "silu"), 3),
    **dict.fromkeys(("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh", "tan", "exp2", "expm1"), 1),
    **dict.fromkeys(("erf", "erfc", "erfcx", "erfinv", "log1p", "log2", "log10", "log_ndtr", "logit", "entr"), 1),
    **dict.fromkeys(("reciprocal", "rsqrt", "floored_log", "to_decimals", "whole_numbers"), 1),
    **dict.fromkeys(("clamp_min", "clamp_max", "threshold", "hardshrink", "softshrink", "hardtanh", "leaky_relu"), 1),
    **dict.fromkeys(("clamp_between", "hardsigmoid", "huber", "prelu"), 2),
    **dict.fromkeys(("elu", "logsigmoid", "softplus", "hardswish"), 3),
    **dict.fromkeys(("gelu", "gelu_tanh", "mish"), 5),
    **dict.fromkeys(("cumsum", "cumprod", "place_of_extreme"), 1),
    "logcumsumexp": 3,
    "normalize": 4,  # - mean, * inv_std, * weight, + bias
    "sigmoid": 3,  # 1 / (1 + e^-x)
    "softmax": 4,  # - max, e^x, sum, /
    "log_softmax": 5,
    "layer_norm": 8,
    "group_norm": 8,
    "rms_norm": 4,  # square, sum, * inv_rms, * weight
    "batch_norm_relu": 9,  # a batch norm and a comparison
    "batch_norm": 8,  # mean 1, variance 3, to mean 0 and variance 1 2, weight and bias 2
}

#: Reductions: FLOPs for each number of the input.
REDUCTIONS: dict[str, int] = {
    **dict.fromkeys(("sum", "mean", "amax", "amin", "argmax", "argmin", "prod", "all", "any", "median"), 1),
    **dict.fromkeys(("topk", "argsort", "windows_sum"), 1),
    **dict.fromkeys(("length", "mean_of_squares"), 2),
    "logsumexp": 3,
    "cross_entropy": 5,
}

#: Pooling: one FLOP for each place of each window.
WINDOWS = ("max_pool2d", "avg_pool2d", "avg_pool2d_input_grad")

#: What moves numbers and computes none. Views are of this kind without being named here.
MOVES = frozenset(
    (
        "clone contiguous concatenate stack pad cast round gather scatter_add unslice overwrite written_in_place "
        "scattered flip max_unpool scatter_extreme take_along_axis put_along_axis max_pool2d_gather "
        "max_pool2d_scatter to_device copy_ fill_ zero_"
    ).split()
)


def has_entry(name: str) -> bool:
    """Whether the table says what an operation of this name costs; the others count as `rule_without_entry` says."""
    return name in PRODUCTS or name in ELEMENTWISE or name in REDUCTIONS or name in WINDOWS or name in MOVES


def rule_without_entry(operands: Shapes, results: Shapes) -> int:
    """FLOPs of an operation that the table does not know: one for each number of its largest operand or result."""
    return max((math.prod(shape) for shape in [*operands, *results]), default=0)


def macs_and_flops(node: Node, operands: Shapes) -> tuple[int, int]:
    """The MACs and FLOPs of one operation; operands that are written into it as numbers have no shape here."""
    results = [shape for shape in node.shapes if shape is not None]
    if not results or node.view or node.name in MOVES:
        return 0, 0
    size = math.prod(results[0])
    if node.name in PRODUCTS and len(operands) > 1:
        macs = PRODUCTS[node.name](operands, results[0])
        return macs, 2 * macs + (size if len(operands) > 2 else 0)  # a third operand is a bias
    if node.name in ELEMENTWISE:
        return 0, ELEMENTWISE[node.name] * size
    if node.name in REDUCTIONS:
        return 0, REDUCTIONS[node.name] * sum(map(math.prod, operands))
    if node.name in WINDOWS:
        return 0, size * _window(node)
    return 0, rule_without_entry(operands, results)


def _window(node: Node) -> int:
    """How many places a window has."""
    return math.prod(node.settings.get("kernel_size", (1,)))


def counts_as_values(node: Node, operands: Shapes) -> bool:
    """Whether the lectures' count of values takes its result: what could not have been written over an operand."""
    if node.view or node.name in MOVES or node.name in ELEMENTWISE:
        return False
    if node.name in WINDOWS:  # a window of one value does nothing
        return _window(node) > 1 or node.shape not in operands
    if node.name in PRODUCTS or node.name in REDUCTIONS:
        return True
    return node.shape not in operands


def costs_of(graph: Graph) -> list[Cost]:
    """The cost of every node of a graph; a parameter's are its numbers, an operation's the rest."""
    into = graph.all_edges_into()
    used_memory = {piece for node in graph.nodes if node.kind in (*VALUES, "input") for piece in node.writes}
    kept_memory = set(used_memory)
    costs = []
    for node in graph.nodes:
        cost = Cost()
        costs.append(cost)
        if node.kind == "parameter":
            cost.parameters = node.size
            cost.trainable = node.size if node.tracked else 0
            cost.weights = node.size if node.shape is not None and len(node.shape) > 1 else 0
        elif node.kind == "input":
            cost.values = node.size
        elif node.kind == "operation" and not node.failed:
            _cost_of_operation(graph, node, into[node.number], cost)
            cost.activation = _new_bytes(graph, node.writes, used_memory)
            cost.kept = _new_bytes(graph, node.keeps, kept_memory)
    return costs


def cost_of_backward(graph: Graph, node: Node, edges: list[Edge]) -> Cost:
    """The cost of the rule of an operation, which the edges lead into."""
    macs, flops = _backward(node, _operand_shapes(graph, edges), edges)
    return Cost(macs=macs, flops=flops, seconds=node.backward_seconds or 0.0)


def _cost_of_operation(graph: Graph, node: Node, edges: list[Edge], cost: Cost) -> None:
    operands = _operand_shapes(graph, edges)
    cost.macs, cost.flops = macs_and_flops(node, operands)
    cost.backward_flops = _backward(node, operands, edges)[1] if node.tracked else 0
    cost.values = node.size if counts_as_values(node, operands) else 0
    if not node.view:
        cost.moved = node.nbytes + sum(_bytes_on(graph, edge) for edge in edges)
    cost.seconds = node.seconds or 0.0
    cost.backward_seconds = node.backward_seconds or 0.0


def _operand_shapes(graph: Graph, edges: list[Edge]) -> Shapes:
    shapes = [graph.shape_of(edge) for edge in edges]
    return [shape for shape in shapes if shape is not None]


def _backward(node: Node, operands: Shapes, edges: list[Edge]) -> tuple[int, int]:
    macs, flops = macs_and_flops(node, operands)
    if not macs:
        return 0, flops if any(edge.tracked for edge in edges) else 0
    factors = sum(edge.tracked for edge in edges[:2])
    bias = node.size if any(edge.tracked for edge in edges[2:]) else 0
    return macs * factors, 2 * macs * factors + bias


def _bytes_on(graph: Graph, edge: Edge) -> int:
    shape, dtypes = graph.shape_of(edge), graph.nodes[edge.source].dtypes
    dtype = dtypes[edge.result] if edge.result < len(dtypes) else None
    return 0 if shape is None or dtype is None else math.prod(shape) * numpy.dtype(dtype).itemsize


def _new_bytes(graph: Graph, pieces: Iterable[int], before: set[int]) -> int:
    new = [piece for piece in pieces if piece not in before]
    before.update(new)
    return sum(graph.memory[piece] for piece in new)


def total_cost(graph: Graph) -> Cost:
    """The cost of the whole graph; of what is folded only the copies that are shown."""
    whole = Cost()
    for node in graph.nodes:
        if node.cost is not None:
            whole += node.cost
    return whole


def costs_of_calls(graph: Graph) -> list[Cost]:
    """The cost of every call of a module, inner calls included."""
    whole = [Cost() for _ in graph.calls]
    for node in graph.nodes:
        if node.call is not None and node.cost is not None:
            whole[node.call] += node.cost
    for call in reversed(graph.calls):  # inner calls come after outer ones
        if call.outer is not None:
            whole[call.outer] += whole[call.number]
    return whole
