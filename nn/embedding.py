"""Embedding: a table of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

from tensorgrad import creation
from tensorgrad.errors import ArgumentError, OperandError, RangeError, ShapeError, UnsupportedError
from tensorgrad.mode import no_grad
from tensorgrad.nn import init
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops.elementwise import where
from tensorgrad.tensor import Tensor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[input]: (...) of numbers -> (..., D).

    input        numbers of rows
    weight       (rows, D)
    padding_idx  a row that gets no gradient
    max_norm     rows longer than this are shortened, in weight itself, before they are looked up

    >>> import tensorgrad
    >>> embedding(tensorgrad.tensor([2, 0]), tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    tensor([[5., 6.],
            [1., 2.]])
    """
    for name, x in (("input", input), ("weight", weight)):
        if not isinstance(x, Tensor):
            raise OperandError(f"embedding: {name} is a {type(x).__name__}; it must be a Tensor")
    if input.array.dtype.kind not in "iu":
        raise ShapeError(f"embedding: input has dtype {input.dtype}; it must hold numbers of rows (int64), use .long()")
    if weight.array.ndim != 2:
        raise ShapeError(f"embedding: weight has shape {weight.shape}; it must be (rows, D)")
    if sparse or scale_grad_by_freq:
        wanted = "sparse" if sparse else "scale_grad_by_freq"
        raise UnsupportedError(f"embedding: {wanted}=True is not supported; gradients are dense and not scaled")
    rows = weight.array.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise RangeError(f"embedding: padding_idx is {padding_idx}; weight has {rows} rows")
        padding_idx %= rows
    if max_norm is not None:
        _shorten(weight, input, float(max_norm), norm_type)
    out = weight[input]
    if padding_idx is None or not weight.requires_grad:
        return out
    return where((input == padding_idx).unsqueeze(-1), out.detach(), out)


def _shorten(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Bring the rows that are looked up down to a length of max_norm."""
    with no_grad():
        rows = input.reshape(-1)
        values = weight[rows]
        length = values.norm(norm_type, 1, keepdim=True)
        weight[rows] = where(length > max_norm, values * (max_norm / (length + 1e-7)), values)


class Embedding(Module):
    """A table of `num_embeddings` vectors of `embedding_dim` numbers, normally distributed at the start; see `embedding`.

    >>> import tensorgrad
    >>> Embedding(10, 3)(tensorgrad.tensor([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = at_least("Embedding", "num_embeddings", num_embeddings, 0)
        self.embedding_dim = at_least("Embedding", "embedding_dim", embedding_dim, 0)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(f"Embedding: padding_idx is {padding_idx}; there are {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self.weight = Parameter(creation.empty((num_embeddings, embedding_dim), dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, **settings: Any
    ) -> Embedding:
        """A layer with these vectors (rows, D); with `freeze` they are not trained."""
        if embeddings.array.ndim != 2:
            raise ShapeError(f"Embedding.from_pretrained: got shape {embeddings.shape}; it must be (rows, D)")
        rows, width = embeddings.array.shape
        layer = cls(rows, width, padding_idx, **settings)
        layer.weight = Parameter(embeddings.detach(), requires_grad=not freeze)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        return embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        limit = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{limit}"


__all__ = ["Embedding", "embedding"]
