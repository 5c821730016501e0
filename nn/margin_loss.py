"""Losses with a margin: right answers should beat wrong ones by so much, and beyond that nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.errors import ArgumentError, OperandError, RangeError, ShapeError
from tensorgrad.nn.activation import logsigmoid
from tensorgrad.nn.arguments import one_of
from tensorgrad.nn.difference_loss import check_pair, pairwise_distance, reduced
from tensorgrad.nn.function_module import FunctionModule
from tensorgrad.nn.loss import REDUCTIONS, one_hot
from tensorgrad.ops.elementwise import where
from tensorgrad.tensor import Tensor


@under_autocast
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """input where the target is 1, max(0, margin - input) where it is -1: for distances of like and unlike pairs."""
    check_pair("hinge_embedding_loss", input, target, reduction)
    apart = (margin - input).clamp_min(0)
    zero = input * 0
    return reduced(where(target == 1, zero, apart) + where(target == -1, zero, input), reduction)


@under_autocast
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """max(0, -target (input1 - input2) + margin): target 1 asks for input1 to be larger, -1 for input2."""
    check_pair("margin_ranking_loss", input1, input2, reduction)
    if input1.array.ndim != target.array.ndim or input1.array.ndim != input2.array.ndim:
        raise ShapeError(
            f"margin_ranking_loss: got shapes {input1.shape}, {input2.shape} and target {target.shape}; they must have "
            "the same number of dimensions"
        )
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@under_autocast
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """log(1 + e^(-target input)), targets 1 and -1."""
    check_pair("soft_margin_loss", input, target, reduction)
    return reduced(-logsigmoid(target * input), reduction)


@under_autocast
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """sum over classes j but the right one y of max(0, margin - x[y] + x[j])^p / C, times weight[y].

    input   (N, C) or (C)
    target  (N) or (): class numbers
    """
    check_pair("multi_margin_loss", input, target, reduction)
    if p not in (1, 2):
        raise ArgumentError(f"multi_margin_loss: p is {p}; it must be 1 or 2")
    if input.array.ndim > 2 or 0 in input.array.shape[-1:]:
        raise ShapeError(f"multi_margin_loss: input has shape {input.shape}; it must be (N, C) or (C), C > 0")
    single = input.array.ndim < 2
    x = input.reshape(1, -1) if single else input
    y = target.reshape(-1)
    classes = x.array.shape[1]
    if y.array.shape != x.array.shape[:1]:
        raise ShapeError(
            f"multi_margin_loss: target has shape {target.shape}; an input of shape {input.shape} needs one class each"
        )
    if weight is not None and weight.array.shape != (classes,):
        kind = ArgumentError if weight.array.ndim != 1 else ShapeError
        raise kind(f"multi_margin_loss: weight has shape {weight.shape}; it must be ({classes},)")
    right = x.take_along_dim(y.unsqueeze(1), 1)
    short = (margin - right + x).clamp_min(0)
    if p == 2:
        short = short * short
    if weight is not None:
        short = short * weight[y].unsqueeze(1)
    others = one_hot(y, classes) == 0
    loss = where(others, short, 0.0).sum(1) / classes
    return reduced(loss[0] if single and reduction == "none" else loss, reduction)


@under_autocast
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """sum over the right classes y and the others j of max(0, 1 - x[y] + x[j]) / C.

    input   (N, C) or (C)
    target  of the same shape: the right classes, the first -1 ends the list
    """
    check_pair("multilabel_margin_loss", input, target, reduction)
    if input.array.shape != target.array.shape or input.array.ndim > 2:
        raise ShapeError(
            f"multilabel_margin_loss: got input {input.shape} and target {target.shape}; both must be (N, C) or (C)"
        )
    shape = input.array.shape
    classes = shape[-1] if shape else 1
    x, y = input.reshape(-1, classes), target.reshape(-1, classes)
    listed = (y < 0).long().cumsum(1) == 0  # before the first -1
    numbers = where(listed, y, 0)
    right = ((one_hot(numbers, classes) == 1) & listed.unsqueeze(2)).any(1)  # (N, C): is class c right
    score = x.take_along_dim(numbers, 1)  # (N, places)
    short = (1 - score.unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)  # (N, places, C)
    counted = listed.unsqueeze(2) & (right == False).unsqueeze(1)  # noqa: E712 - element by element
    loss = where(counted, short, 0.0).sum((1, 2)) / classes
    return reduced(loss[0] if len(shape) < 2 and reduction == "none" else loss, reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """-(t log s(x) + (1 - t) log s(-x)), s the sigmoid: its mean over the classes (the last dimension), targets 0 and 1."""
    check_pair("multilabel_soft_margin_loss", input, target, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.mean(-1), reduction)


@under_autocast
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    input1, input2  (N, D) or (D)
    target          (N) or ()
    """
    check_pair("cosine_embedding_loss", input1, input2, reduction)
    if (
        target.array.ndim + 1 != input1.array.ndim
        or target.array.ndim + 1 != input2.array.ndim
        or target.array.ndim > 1
    ):
        raise ShapeError(
            f"cosine_embedding_loss: got shapes {input1.shape}, {input2.shape} and target {target.shape}; they must be "
            "(N, D), (N, D) and (N), or (D), (D) and ()"
        )
    # as in PyTorch: eps within the root, so that zero vectors have a gradient
    product = (input1 * input2).sum(-1)
    eps = 1e-12
    cosine = product / (((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)).sqrt()
    loss = where(target == 1, 1 - cosine, 0.0) + where(target == -1, (cosine - margin).clamp_min(0), 0.0)
    return reduced(loss, reduction)


@under_autocast
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm distance. Balntas et al. 2016.

    swap  take the smaller of d(anchor, negative) and d(positive, negative)
    """
    if margin <= 0:
        raise ArgumentError(f"triplet_margin_loss: margin is {margin}; it must be positive")
    shapes = {x.array.ndim for x in (anchor, positive, negative)}
    if len(shapes) > 1:
        raise RangeError(
            f"triplet_margin_loss: got shapes {anchor.shape}, {positive.shape} and {negative.shape}; they must have the same "
            "number of dimensions"
        )
    return _triplet(
        "triplet_margin_loss",
        (anchor, positive, negative),
        lambda x, y: pairwise_distance(x, y, p, eps),
        margin,
        swap,
        reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with any distance; without one, the pairwise Euclidean."""
    if margin <= 0:
        raise ArgumentError(f"triplet_margin_with_distance_loss: margin is {margin}; it must be positive")
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(
        "triplet_margin_with_distance_loss", (anchor, positive, negative), distance, margin, swap, reduction
    )


def _triplet(
    operation: str, tensors: tuple[Any, ...], distance: Callable[..., Tensor], margin: float, swap: bool, reduction: str
) -> Tensor:
    one_of(operation, "reduction", reduction, REDUCTIONS)
    for name, x in zip(("anchor", "positive", "negative"), tensors):
        if not isinstance(x, Tensor):
            raise OperandError(f"{operation}: {name} is a {type(x).__name__}; it must be a Tensor")
    anchor, positive, negative = tensors
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)


class HingeEmbeddingLoss(FunctionModule):
    function = hinge_embedding_loss
    inputs = 2


class MarginRankingLoss(FunctionModule):
    function = margin_ranking_loss
    inputs = 3


class SoftMarginLoss(FunctionModule):
    function = soft_margin_loss
    inputs = 2


class MultiMarginLoss(FunctionModule):
    function = multi_margin_loss
    inputs = 2
    buffers_named = ("weight",)


class MultiLabelMarginLoss(FunctionModule):
    function = multilabel_margin_loss
    inputs = 2


class MultiLabelSoftMarginLoss(FunctionModule):
    function = multilabel_soft_margin_loss
    inputs = 2
    buffers_named = ("weight",)


class CosineEmbeddingLoss(FunctionModule):
    function = cosine_embedding_loss
    inputs = 3


class TripletMarginLoss(FunctionModule):
    function = triplet_margin_loss
    inputs = 3


class TripletMarginWithDistanceLoss(FunctionModule):
    function = triplet_margin_with_distance_loss
    inputs = 3


__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
