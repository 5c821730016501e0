"""GCN: T. Kipf, M. Welling, "Semi-Supervised Classification with Graph Convolutional Networks", 2016 (arXiv:1609.02907).

A layer averages over neighbours: H' = A^ H W, A^ = D^(-1/2) (A + I) D^(-1/2), D the degrees of A + I. Two layers, ReLU and
dropout between them, give softmax(A^ relu(A^ X W0) W1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tensorgrad import nn
from tensorgrad.creation import empty, tensor
from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.models.build import builder
from tensorgrad.nn.arguments import at_least
from tensorgrad.tensor import Tensor


def normalized_adjacency(nodes: int, edges: Iterable[tuple[int, int]], dtype: Any = None, device: Any = None) -> Tensor:
    """A^ = D^(-1/2) (A + I) D^(-1/2) of an undirected graph, (nodes, nodes).

    edges  pairs of nodes, numbered from 0; each counts once, whichever way round it is given

    >>> normalized_adjacency(2, [(0, 1)])
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    neighbours: list[set[int]] = [{node} for node in range(at_least("normalized_adjacency", "nodes", nodes, 1))]
    for a, b in edges:
        if not (0 <= a < nodes and 0 <= b < nodes):
            raise ArgumentError(f"normalized_adjacency: got the edge ({a}, {b}); nodes are numbered 0 to {nodes - 1}")
        neighbours[a].add(b)
        neighbours[b].add(a)
    matrix = [[0.0] * nodes for _ in range(nodes)]
    for a, near in enumerate(neighbours):
        for b in near:
            matrix[a][b] = (len(near) * len(neighbours[b])) ** -0.5
    return tensor(matrix, dtype=dtype, device=device)


class GraphConvolution(nn.Module):
    """H' = A^ H W + b: (nodes, in_features) -> (nodes, out_features).

    bias  whether b is added; the paper's layer has none

    W starts by Glorot's uniform rule, b at 0.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.in_features = at_least("GraphConvolution", "in_features", in_features, 1)
        self.out_features = at_least("GraphConvolution", "out_features", out_features, 1)
        self.weight = nn.Parameter(empty(in_features, out_features))
        self.register_parameter("bias", nn.Parameter(empty(out_features)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W anew."""
        if nn.init.is_postponed():
            return
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, h: Tensor, adjacency: Tensor) -> Any:
        if h.shape[-1] != self.in_features or adjacency.shape[-1] != h.shape[-2]:
            raise ShapeError(
                f"GraphConvolution: h has shape {h.shape} and the adjacency {adjacency.shape}; they must be (nodes, "
                f"{self.in_features}) and (nodes, nodes)"
            )
        z = adjacency @ (h @ self.weight)
        return z if self.bias is None else z + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class GCN(nn.Module):
    """A network of two graph convolutions: (nodes, in_features), A^ (nodes, nodes) -> scores (nodes, num_classes).

    hidden   features between the two
    dropout  before each of the two

    >>> import tensorgrad
    >>> adjacency = normalized_adjacency(3, [(0, 1), (1, 2)])
    >>> GCN(3, 2)(tensorgrad.eye(3), adjacency).shape
    (3, 2)
    """

    def __init__(
        self, in_features: int, num_classes: int, hidden: int = 16, dropout: float = 0.5, bias: bool = False
    ) -> None:
        super().__init__()
        self.gc1 = GraphConvolution(in_features, hidden, bias)
        self.gc2 = GraphConvolution(hidden, num_classes, bias)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, adjacency: Tensor) -> Any:
        h = self.relu(self.gc1(self.dropout(x), adjacency))
        return self.gc2(self.dropout(h), adjacency)


gcn = builder("gcn", GCN, "A graph convolutional network of two layers; Kipf & Welling, 2016.")
