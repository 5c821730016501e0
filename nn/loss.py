"""Losses: what training makes small."""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import int64, is_floating
from tensorgrad.errors import ArgumentError, DeviceError, DimensionError, DtypeError, OperandError, ShapeError
from tensorgrad.nn.arguments import one_of, probability
from tensorgrad.nn.module import Module
from tensorgrad.ops import elementwise
from tensorgrad.ops.indexing import TakeAlongAxis
from tensorgrad.ops.loss import CrossEntropy, log_softmax
from tensorgrad.ops.norm import MeanOfSquares
from tensorgrad.ops.operands import cast
from tensorgrad.ops.reduction import mean
from tensorgrad.ops.reduction import sum as sum_of
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor

REDUCTIONS = ("none", "mean", "sum")


@under_autocast
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum over classes c of target[c] log softmax(input)[c]: how far predicted probabilities are from the right ones.

    input   scores before softmax: (N, C), (N, C, d1, ...) or (C)
    target  classes: whole numbers 0 .. C-1, of shape (N), (N, d1, ...) or (); or probabilities of the input's shape
    weight  (C): how much each class counts
    ignore_index     a class number that counts nothing (target of classes only)
    reduction        'mean' (with weights: divided by the sum of the targets' weights), 'sum' or 'none'
    label_smoothing  e: the right class gets 1 - e, and e is spread evenly over all

    Raises DimensionError for a class out of range; on a GPU, where looking would mean waiting, the loss is nan instead.

    >>> import tensorgrad
    >>> cross_entropy(tensorgrad.zeros(1, 4), tensorgrad.tensor([2]))  # log 4
    tensor(1.3863)
    """
    one_of("cross_entropy", "reduction", reduction, REDUCTIONS)
    smoothing = probability("cross_entropy", "label_smoothing", label_smoothing)
    dim = _class_dim("cross_entropy", input, target, weight)
    if weight is None and not smoothing and _is_plain_case(input, target):
        return CrossEntropy(int(ignore_index), reduction)(input, target)
    logp = log_softmax(input, dim)
    if target.array.shape == input.array.shape and is_floating(target.array.dtype):
        if ignore_index >= 0:
            raise ArgumentError(
                f"cross_entropy: ignore_index is {ignore_index}, but the target holds probabilities; it works with "
                "class numbers only"
            )
        return _from_probabilities(logp, target, weight, reduction, smoothing, dim)
    chosen = _Chosen("cross_entropy", logp, target, weight, ignore_index, dim)
    loss = chosen.negative(logp)
    if not smoothing:
        return chosen.reduce(loss, reduction)
    every = logp if weight is None else logp * _across_classes(weight, logp, dim)
    spread = chosen.only_counted(-sum_of(every, dim))
    classes = input.array.shape[dim]
    return chosen.reduce(loss * (1.0 - smoothing) + spread * (smoothing / classes), reduction)


@under_autocast
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities; arguments as in `cross_entropy`, the target holds classes.

    >>> import tensorgrad
    >>> nll_loss(tensorgrad.tensor([[-0.5, -1.0]]), tensorgrad.tensor([1]))
    tensor(1.)
    """
    one_of("nll_loss", "reduction", reduction, REDUCTIONS)
    dim = _class_dim("nll_loss", input, target, weight)
    chosen = _Chosen("nll_loss", input, target, weight, ignore_index, dim)
    return chosen.reduce(chosen.negative(input), reduction)


def _is_plain_case(input: Tensor, target: Tensor) -> bool:
    """Whether input and target are (N, C) and (N,) of the usual types, for which there is one primitive."""
    x, numbers = input.array, target.array
    return (
        x.ndim == 2
        and numbers.shape == x.shape[:1]
        and numbers.dtype.kind == "i"
        and x.dtype.itemsize >= 4
        and x.shape[1] > 0
    )


class _Chosen:
    """The targets' classes, ready to pick by: which samples count, and how much."""

    def __init__(
        self, operation: str, logp: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, dim: int
    ) -> None:
        classes, dtype = logp.array.shape[dim], logp.array.dtype
        expected = logp.array.shape[:dim] + logp.array.shape[dim + 1 :]
        if is_floating(target.array.dtype) or target.array.dtype.kind == "b":
            choice = f", or probabilities of shape {logp.shape}" if operation == "cross_entropy" else ""
            raise DtypeError(
                f"{operation}: target of shape {target.shape} has dtype {target.dtype}; it takes class numbers (int64) "
                f"of shape {expected}{choice}"
            )
        if target.array.shape != expected:
            raise ShapeError(
                f"{operation}: target has shape {target.shape}; an input of shape {logp.shape} needs {expected}"
            )
        numbers = target.array
        backend = backend_of(numbers)
        self.dim = dim
        self.counted: Tensor | None = None  # which samples count; None: all
        self.unknown: Tensor | None = None  # which classes are out of range, where nobody has looked
        looking_is_free = logp.device.type == "cpu"
        if not (looking_is_free and _plain(numbers, classes, ignore_index)):
            self.counted = Tensor(backend.not_equal(numbers, ignore_index))
            known = backend.logical_and(numbers >= 0, numbers < classes)
            unknown = backend.logical_and(self.counted.array, backend.logical_not(known))
            if not looking_is_free:
                self.unknown = Tensor(unknown)
            elif unknown.any():
                wrong = int(numbers[unknown].ravel()[0])
                raise DimensionError(
                    f"{operation}: target holds class {wrong}; there are {classes} classes, 0 to {classes - 1}"
                )
            numbers = backend.where(known, numbers, 0)
        if numbers.dtype != int64:
            numbers = backend.cast(numbers, int64)
        self.index = Tensor(backend.expand_dims(numbers, dim))
        self.share = None if weight is None else Tensor(backend.getitem(cast(weight.detach(), dtype).array, numbers))

    def only_counted(self, x: Tensor) -> Tensor:
        """x where the sample counts, else a true 0."""
        return x if self.counted is None else elementwise.where(self.counted, x, 0.0)

    def negative(self, logp: Tensor) -> Tensor:
        """-weight[target] logp[target], a value a sample; 0 for what is ignored."""
        loss = -TakeAlongAxis(self.dim)(logp, self.index).squeeze(self.dim)
        if self.unknown is not None:
            loss = elementwise.where(self.unknown, float("nan"), loss)
        return self.only_counted(loss if self.share is None else loss * self.share)

    def reduce(self, loss: Tensor, reduction: str) -> Tensor:
        """The samples' losses as they are, their sum, or their mean over the weights of what counts."""
        if reduction == "none":
            return loss
        if reduction == "sum":
            return sum_of(loss)
        if self.share is not None:
            return sum_of(loss) / sum_of(self.only_counted(self.share))
        return mean(loss) if self.counted is None else sum_of(loss) / sum_of(cast(self.counted, loss.dtype))


def _plain(numbers: Any, classes: int, ignore_index: int) -> bool:
    """Whether all classes are in range and none is ignored, as is usual."""
    if not numbers.size:
        return False
    low, high = numbers.min(), numbers.max()
    return bool(0 <= low and high < classes and not low <= ignore_index <= high)


def _from_probabilities(
    logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float, dim: int
) -> Tensor:
    target = cast(target, logp.array.dtype)
    classes = logp.array.shape[dim]
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / classes
    terms = logp * target
    if weight is not None:
        terms = terms * _across_classes(weight, logp, dim)
    loss = -sum_of(terms, dim)
    if reduction == "none":
        return loss
    return sum_of(loss) if reduction == "sum" else sum_of(loss) / (logp.array.size // max(classes, 1))


def _across_classes(weight: Tensor, logp: Tensor, dim: int) -> Tensor:
    """(C) -> (C, 1, ...), to be multiplied with (N, C, d1, ...)."""
    ones = (1,) * (logp.array.ndim - dim - 1)
    return cast(weight.detach(), logp.array.dtype).reshape(-1, *ones)


def _class_dim(operation: str, input: Any, target: Any, weight: Any) -> int:
    """Which dimension of the input counts the classes; refuses what can be no input, target or weight."""
    for name, x in (("input", input), ("target", target), ("weight", weight)):
        if not isinstance(x, Tensor) and not (x is None and name == "weight"):
            raise OperandError(f"{operation}: {name} is a {type(x).__name__}; it must be a Tensor")
        if x is not None and type(x.array) is not type(input.array) and x.device != input.device:
            raise DeviceError(
                f"{operation}: {name} is on '{x.device}' and input on '{input.device}'; move it with .to('{input.device}')"
            )
    check_floating(operation, input)
    if not input.array.ndim:
        raise ShapeError(f"{operation}: input is a single number; it must be (N, C), (N, C, d1, ...) or (C)")
    dim = 0 if input.array.ndim == 1 else 1
    classes = input.array.shape[dim]
    if weight is not None and weight.array.shape != (classes,):
        raise ShapeError(
            f"{operation}: weight has shape {weight.shape}; an input of shape {input.shape} needs ({classes},)"
        )
    return dim


@under_autocast
def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """(input - target)^2, and its mean or sum.

    >>> import tensorgrad
    >>> mse_loss(tensorgrad.tensor([1.0, 3.0]), tensorgrad.tensor([0.0, 1.0]))
    tensor(2.5000)
    """
    one_of("mse_loss", "reduction", reduction, REDUCTIONS)
    for name, x in (("input", input), ("target", target)):
        if not isinstance(x, Tensor):
            raise OperandError(f"mse_loss: {name} is a {type(x).__name__}; it must be a Tensor")
    if input.array.shape != target.array.shape:
        raise ShapeError(
            f"mse_loss: input has shape {input.shape} and target {target.shape}; they must be the same, or every pair "
            "would be compared"
        )
    difference = input - target
    if reduction == "mean" and is_floating(difference.array.dtype):
        found: Tensor = MeanOfSquares()(difference)
        return found
    square = difference * difference
    if reduction == "none":
        return square
    return mean(square) if reduction == "mean" else sum_of(square)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at each class, 0 elsewhere: (...) -> (..., num_classes) of int64; -1 means one more than the largest.

    >>> import tensorgrad
    >>> one_hot(tensorgrad.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if not isinstance(tensor, Tensor) or tensor.array.dtype.kind not in "iu":
        raise OperandError("one_hot: it takes a Tensor of class numbers (int64)")
    numbers = tensor.array
    backend = backend_of(numbers)
    if numbers.size:
        lowest, highest = int(Tensor(numbers.min()).item()), int(Tensor(numbers.max()).item())
    else:
        lowest, highest = 0, -1
    if num_classes == -1:
        num_classes = highest + 1
    if num_classes < 1:
        raise ArgumentError(f"one_hot: num_classes is {num_classes}; give it where the Tensor is empty")
    if lowest < 0 or highest >= num_classes:
        wrong = lowest if lowest < 0 else highest
        raise ArgumentError(f"one_hot: got class {wrong}; there are {num_classes} classes, 0 to {num_classes - 1}")
    classes = backend.arange(0, num_classes, 1, int64)
    return Tensor(backend.cast(backend.equal(backend.expand_dims(numbers, -1), classes), int64))


class _Loss(Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction: str = one_of(type(self).__name__, "reduction", reduction, REDUCTIONS)


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(self, weight: Tensor | None, ignore_index: int, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index


class CrossEntropyLoss(_WeightedLoss):
    """-log of the probability given to the right class; see `tensorgrad.nn.functional.cross_entropy`.

    >>> import tensorgrad
    >>> CrossEntropyLoss()(tensorgrad.zeros(2, 4), tensorgrad.tensor([2, 0]))
    tensor(1.3863)
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, ignore_index, reduction)
        self.label_smoothing = probability("CrossEntropyLoss", "label_smoothing", label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """-input[target] for log-probabilities; see `tensorgrad.nn.functional.nll_loss`."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, ignore_index, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MSELoss(_Loss):
    """(input - target)^2, and its mean or sum."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, reduction=self.reduction)
