"""Attention (Vaswani et al. 2017): every place looks at the others and takes a mean of what they hold."""

from __future__ import annotations

import math
from typing import Any

from tensorgrad import creation
from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.nn import init
from tensorgrad.nn.arguments import at_least, probability
from tensorgrad.nn.dropout import dropout
from tensorgrad.nn.linear import Linear, linear
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops.elementwise import where
from tensorgrad.ops.joining import cat
from tensorgrad.ops.loss import softmax
from tensorgrad.tensor import Tensor


@under_autocast
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale Q K^T + mask) V: for each query a mean of the values, weighted by how well their keys fit it.

    query       (..., L, E)
    key, value  (..., S, E) and (..., S, Ev)
    attn_mask   broadcastable to (..., L, S): True where a query may look, or numbers that are added
    is_causal   query i may look at keys 0 .. i only
    scale       1 / sqrt(E) by default
    enable_gqa  key and value have fewer heads (dimension -3) than query; each serves several
    Returns (..., L, Ev).

    >>> import tensorgrad
    >>> v = tensorgrad.tensor([[1.0], [3.0]])
    >>> scaled_dot_product_attention(tensorgrad.zeros(1, 4), tensorgrad.zeros(2, 4), v)  # all keys fit alike: the mean
    tensor([[2.]])
    """
    for name, x in (("query", query), ("key", key), ("value", value)):
        if not isinstance(x, Tensor):
            raise OperandError(f"scaled_dot_product_attention: {name} is a {type(x).__name__}; it must be a Tensor")
        if x.array.ndim < 2:
            raise ShapeError(
                f"scaled_dot_product_attention: {name} has shape {x.shape}; it must have at least two dimensions"
            )
    if is_causal and attn_mask is not None:
        raise ShapeError("scaled_dot_product_attention: got both attn_mask and is_causal; give one of them")
    if enable_gqa:
        groups = query.array.shape[-3] // key.array.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    width = query.array.shape[-1]
    factor = 1 / math.sqrt(width) if scale is None and width else 1.0 if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        rows, columns = scores.array.shape[-2:]
        attn_mask = creation.ones(rows, columns, device=query.device).tril() > 0
    dead: Tensor | None = None
    if attn_mask is not None:
        if is_floating(attn_mask.array.dtype):
            scores = scores + attn_mask
        else:
            scores = where(attn_mask, scores, float("-inf"))
            dead = attn_mask.any(-1, keepdim=True)  # a query that may look nowhere gets zeros
    weights = softmax(scores, -1)
    if dead is not None:
        weights = where(dead, weights, 0.0)
    return dropout(weights, dropout_p, training=dropout_p > 0) @ value


class MultiheadAttention(Module):
    """Several attentions side by side, each on its own projection of the inputs: Vaswani et al. 2017, section 3.2.2.

    embed_dim    E, the width of queries and results
    num_heads    how many; it must divide E
    dropout      how likely a weight is dropped in training
    kdim, vdim   the widths of keys and values, E by default
    batch_first  inputs are (N, L, E) instead of (L, N, E); without a batch (L, E)

    Parameters as in PyTorch: in_proj_weight (3 E, E) or q_, k_, v_proj_weight, in_proj_bias, out_proj, bias_k, bias_v.

    >>> import tensorgrad
    >>> attention = MultiheadAttention(8, 2, batch_first=True)
    >>> out, weights = attention(*[tensorgrad.randn(3, 5, 8)] * 3)
    >>> out.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.embed_dim = at_least("MultiheadAttention", "embed_dim", embed_dim, 1)
        self.num_heads = at_least("MultiheadAttention", "num_heads", num_heads, 1)
        if embed_dim % num_heads:
            raise ArgumentError(f"MultiheadAttention: {num_heads} heads do not divide embed_dim {embed_dim}")
        self.dropout = probability("MultiheadAttention", "dropout", dropout)
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.head_dim = embed_dim // num_heads
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn

        def empty(*shape: int) -> Parameter:
            return Parameter(creation.empty(*shape, dtype=dtype, device=device))

        one_matrix = self.kdim == embed_dim and self.vdim == embed_dim
        self.in_proj_weight = empty(3 * embed_dim, embed_dim) if one_matrix else None
        self.q_proj_weight = None if one_matrix else empty(embed_dim, embed_dim)
        self.k_proj_weight = None if one_matrix else empty(embed_dim, self.kdim)
        self.v_proj_weight = None if one_matrix else empty(embed_dim, self.vdim)
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if getattr(self, name) is None:
                self.__dict__.pop(name, None)
                self.register_parameter(name, None)
        self.register_parameter("in_proj_bias", empty(3 * embed_dim) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.register_parameter("bias_k", empty(1, 1, embed_dim) if add_bias_kv else None)
        self.register_parameter("bias_v", empty(1, 1, embed_dim) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform projections, zero biases."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            assert self.out_proj.bias is not None
            init.zeros_(self.out_proj.bias)
        for name in ("bias_k", "bias_v"):
            if getattr(self, name) is not None:
                init.xavier_normal_(getattr(self, name))

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attention's result, and its weights (N, L, S) if `need_weights` (each head's if not averaged).

        key_padding_mask  (N, S): True where a key is to be ignored, or numbers that are added
        attn_mask         (L, S) or (N num_heads, L, S): True where a query may NOT look, or numbers that are added
        is_causal         a hint that attn_mask is the causal one, which must be given too
        """
        batched = query.array.ndim == 3
        if query.array.ndim not in (2, 3) or {key.array.ndim, value.array.ndim} != {query.array.ndim}:
            raise ShapeError(
                f"MultiheadAttention: got query {query.shape}, key {key.shape}, value {value.shape}; all must be "
                "(L, E), or all have a batch dimension too"
            )
        if is_causal and attn_mask is None:
            raise ShapeError("MultiheadAttention: is_causal is a hint about attn_mask; give the mask too")
        q, k, v = (x if batched else x.unsqueeze(1 - self.batch_first) for x in (query, key, value))
        q, k, v = (x if self.batch_first or not batched else x.transpose(0, 1) for x in (q, k, v))
        if not batched:
            q, k, v = (x.reshape(1, *x.shape[-2:]) if self.batch_first else x.transpose(0, 1) for x in (q, k, v))
        q, k, v = self._projected(q, k, v)  # (N, L, E), (N, S, E), (N, S, E)
        padding = key_padding_mask if key_padding_mask is None or batched else key_padding_mask.reshape(1, -1)
        mask = self._mask(attn_mask, padding, q.array.shape[0], q.dtype)
        if self.bias_k is not None and self.bias_v is not None:
            k, mask = self._with_place(k, self.bias_k, mask)
            v, _ = self._with_place(v, self.bias_v, None)
        q, k, v = (self._heads(x) for x in (q, k, v))
        if self.add_zero_attn:
            zero = creation.zeros((*k.array.shape[:2], 1, self.head_dim), dtype=k.dtype, device=k.device)
            k, v = cat([k, zero], 2), cat([v, zero], 2)
            mask = None if mask is None else self._wider(mask)
        scores = (q * (1 / math.sqrt(self.head_dim))) @ k.transpose(-2, -1)
        weights = softmax(scores if mask is None else scores + mask, -1)
        weights = dropout(weights, self.dropout, self.training)
        mixed = (weights @ v).transpose(1, 2)  # (N, L, heads, E / heads)
        out = self.out_proj(mixed.reshape(*mixed.array.shape[:2], self.embed_dim))
        if not self.batch_first:
            out = out.transpose(0, 1)
        shown = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
        if not batched:
            out = out.squeeze(0 if self.batch_first else 1)
            shown = None if shown is None else shown.squeeze(0)
        return out, shown

    def _projected(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights: Any = separate if self.in_proj_weight is None else self.in_proj_weight.chunk(3, 0)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3, 0)
        return tuple(linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, E) -> (N, heads, L, E / heads)"""
        return x.reshape(*x.array.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, batch: int, dtype: Any) -> Tensor | None:
        """Both masks as one of numbers to add, broadcastable to (N, heads, L, S)."""
        total = None
        if attn_mask is not None:
            total = _as_numbers(attn_mask, dtype)
            if attn_mask.array.ndim == 3:
                total = total.reshape(batch, self.num_heads, *attn_mask.array.shape[1:])
        if padding is not None:
            numbers = _as_numbers(padding, dtype).unsqueeze(1).unsqueeze(1)
            total = numbers if total is None else total + numbers
        return total

    def _with_place(self, x: Tensor, bias: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One more key or value, learnt, that every query may look at."""
        wide = cat([x, bias.expand(x.array.shape[0], 1, self.embed_dim)], 1)
        return wide, None if mask is None else self._wider(mask)

    @staticmethod
    def _wider(mask: Tensor) -> Tensor:
        column = creation.zeros((*mask.array.shape[:-1], 1), dtype=mask.dtype, device=mask.device)
        return cat([mask, column], -1)


def _as_numbers(mask: Tensor, dtype: Any) -> Tensor:
    """-inf where a mask of Booleans is True, else 0."""
    if is_floating(mask.array.dtype):
        return mask
    return where(mask, creation.full((), float("-inf"), dtype=dtype, device=mask.device), 0.0)


__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]
