"""Losses that compare values one by one: with numbers (L1, Huber), with probabilities (binary cross entropy, KL)."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import ArgumentError, OperandError, RangeError
from tensorgrad.nn.activation import logsigmoid
from tensorgrad.nn.arguments import one_of
from tensorgrad.nn.function_module import FunctionModule
from tensorgrad.nn.loss import REDUCTIONS
from tensorgrad.ops.activation import FlooredLog, Huber
from tensorgrad.ops.broadcasting import broadcast_tensors
from tensorgrad.tensor import Tensor


def check_pair(operation: str, input: Any, target: Any, reduction: str, same_shape: bool = False) -> None:
    """Refuse what is no pair of Tensors that go together."""
    one_of(operation, "reduction", reduction, REDUCTIONS)
    for name, x in (("input", input), ("target", target)):
        if not isinstance(x, Tensor):
            raise OperandError(f"{operation}: {name} is a {type(x).__name__}; it must be a Tensor")
    if same_shape and input.array.shape != target.array.shape:
        raise ArgumentError(
            f"{operation}: input has shape {input.shape} and target {target.shape}; they must be the same"
        )


def reduced(loss: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    """The losses as they are, their sum, or their mean; with weights each counts as much as its weight says."""
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    return loss.mean() if weight is None else loss.sum() / weight.expand(loss.shape).sum()


@under_autocast
def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target|

    >>> import tensorgrad
    >>> l1_loss(tensorgrad.tensor([1.0, 3.0]), tensorgrad.tensor([0.0, 5.0]))
    tensor(1.5000)
    """
    check_pair("l1_loss", input, target, reduction)
    return reduced((input - target).abs(), reduction, weight)


@under_autocast
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), with d = input - target. Huber 1964."""
    check_pair("huber_loss", input, target, reduction)
    if delta <= 0:
        raise RangeError(f"huber_loss: delta is {delta}; it must be positive")
    return reduced(Huber(float(delta))(input - target), reduction, weight)


@under_autocast
def smooth_l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2: Huber's over beta. Girshick 2015."""
    check_pair("smooth_l1_loss", input, target, reduction)
    if beta < 0:
        raise RangeError(f"smooth_l1_loss: beta is {beta}; it must not be negative")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    z: Tensor = Huber(float(beta))(input - target)
    return reduced(z if beta == 1 else z * (1 / beta), reduction)


@under_autocast
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1]; each logarithm is at least -100.

    Raises RangeError for a p outside of [0, 1]. For logits there is binary_cross_entropy_with_logits, exact for any size.
    """
    check_pair("binary_cross_entropy", input, target, reduction, same_shape=True)
    if input.device.type == "cpu" and input.array.size and not bool(((input >= 0) & (input <= 1)).all()):
        raise RangeError("binary_cross_entropy: all values of input must be between 0 and 1; are they logits?")
    loss = -(target * FlooredLog()(input) + (1 - target) * FlooredLog()(1 - input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss, reduction)


@under_autocast
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid, for logits x of any size.

    >>> import tensorgrad
    >>> binary_cross_entropy_with_logits(tensorgrad.tensor([0.0, 2.0]), tensorgrad.tensor([1.0, 1.0]), reduction="none")
    tensor([0.6931, 0.1269])
    """
    check_pair("binary_cross_entropy_with_logits", input, target, reduction, same_shape=True)
    # log(1 - s(x)) is log s(x) - x, so that one logarithm will do
    counted = logsigmoid(input) if pos_weight is None else (1 + (pos_weight - 1) * target) * logsigmoid(input)
    loss = (1 - target) * input - counted
    if weight is not None:
        loss = loss * weight
    return reduced(loss, reduction)


@under_autocast
def kl_div(input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - input): how far probabilities t are from those whose logarithms are the input.

    reduction   'batchmean' (the mathematical divergence: the sum over the batch's size), 'mean', 'sum' or 'none'
    log_target  whether the target holds logarithms too
    """
    if reduction != "batchmean":
        one_of("kl_div", "reduction", reduction, REDUCTIONS)
    check_pair("kl_div", input, target, "sum")
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input.array.shape[0] if input.array.ndim else loss.sum()
    return reduced(loss, reduction)


@under_autocast
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """<x1, x2> / (max(|x1|, eps) max(|x2|, eps)) along `dim`, broadcast.

    >>> import tensorgrad
    >>> cosine_similarity(tensorgrad.tensor([1.0, 0.0]), tensorgrad.tensor([1.0, 1.0]), dim=0)
    tensor(0.7071)
    """
    if not (isinstance(x1, Tensor) and isinstance(x2, Tensor)):
        raise OperandError("cosine_similarity: it takes two Tensors")
    x1, x2 = (x if is_floating(x.array.dtype) else x.float() for x in (x1, x2))
    ndim = max(x1.array.ndim, x2.array.ndim)
    over = dim if dim < 0 else dim - ndim  # counted from behind, where broadcasting aligns
    if x1.array.shape != x2.array.shape:
        x1, x2 = broadcast_tensors(x1, x2)
    return (_unit(x1, over, eps) * _unit(x2, over, eps)).sum(over)


def _unit(x: Tensor, dim: int, eps: float) -> Tensor:
    return x / x.norm(2, dim, keepdim=True).clamp_min(eps)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """||x1 - x2 + eps||_p along the last dimension; eps keeps the gradient finite where they are equal."""
    if not (isinstance(x1, Tensor) and isinstance(x2, Tensor)):
        raise OperandError("pairwise_distance: it takes two Tensors")
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


class L1Loss(FunctionModule):
    function = l1_loss
    inputs = 2


class HuberLoss(FunctionModule):
    function = huber_loss
    inputs = 2


class SmoothL1Loss(FunctionModule):
    function = smooth_l1_loss
    inputs = 2


class BCELoss(FunctionModule):
    function = binary_cross_entropy
    inputs = 2
    buffers_named = ("weight",)


class BCEWithLogitsLoss(FunctionModule):
    function = binary_cross_entropy_with_logits
    inputs = 2
    buffers_named = ("weight", "pos_weight")


class KLDivLoss(FunctionModule):
    function = kl_div
    inputs = 2


class CosineSimilarity(FunctionModule):
    function = cosine_similarity
    inputs = 2


class PairwiseDistance(FunctionModule):
    function = pairwise_distance
    inputs = 2


__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineSimilarity",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "PairwiseDistance",
    "SmoothL1Loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_similarity",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "pairwise_distance",
    "smooth_l1_loss",
]
