"""How networks are tested: top-1 and top-5, several crops of a picture, several networks together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.creation import as_tensor
from tensorgrad.errors import ArgumentError, DimensionError, DtypeError, OperandError, ShapeError
from tensorgrad.mode import no_grad
from tensorgrad.nn.arguments import IntOrPair, at_least, pair
from tensorgrad.nn.module import Module
from tensorgrad.ops.joining import cat, stack
from tensorgrad.tensor import Tensor

__all__ = [
    "Ensemble",
    "accuracy",
    "averaged_softmax",
    "center_crop",
    "evaluate",
    "five_crop",
    "multi_crop",
    "over_crops",
    "ten_crop",
]


def accuracy(scores: Tensor, target: Tensor, topk: int | Sequence[int] = (1, 5)) -> tuple[float, ...]:
    """For every k, the share of the samples whose class is among the k largest scores.

    scores (N, classes), target (N) class numbers. A class counts as among the k largest if fewer than k scores are
    larger than its own, or equal and of a smaller class number. topk holds the numbers k, or is one.

    Raises ShapeError, DtypeError or DimensionError for a target that is not a class number for every sample.

    >>> import tensorgrad
    >>> accuracy(tensorgrad.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), tensorgrad.tensor([2, 0]), topk=(1, 2))
    (0.5, 1.0)
    """
    counts = _checked_counts("accuracy", topk)
    ranks = _ranks(scores, target)
    count = max(len(ranks), 1)
    return tuple(sum(rank < k for rank in ranks) / count for k in counts)


def _checked_counts(operation: str, topk: int | Sequence[int]) -> tuple[int, ...]:
    counts = topk if isinstance(topk, (tuple, list)) else (topk,)
    return tuple(at_least(operation, "topk", k, 1) for k in counts)


def _ranks(scores: Tensor, target: Tensor) -> list[int]:
    """How many classes stand before the right one, for every sample; all of them where its score is nan."""
    if scores.ndim != 2 or target.shape != scores.shape[:1]:
        raise ShapeError(
            f"accuracy: scores have shape {scores.shape} and target {target.shape}; they must be (N, classes) and (N)"
        )
    z, classes = scores.detach().cpu().numpy(), target.detach().cpu().numpy()
    if classes.dtype.kind not in "iu":
        raise DtypeError(f"accuracy: target has dtype {target.dtype}; it must be class numbers, whole ones")
    if len(classes) and not (0 <= classes.min() and classes.max() < z.shape[1]):
        raise DimensionError(
            f"accuracy: target has classes from {classes.min()} to {classes.max()}; scores are of 0 to {z.shape[1] - 1}"
        )
    own = z[range(len(z)), classes][:, None]
    before = (z > own) | ((z == own) & (classes[:, None] > range(z.shape[1])))
    before |= own != own
    found: list[int] = before.sum(1).tolist()
    return found


# crops


def center_crop(images: Tensor, size: IntOrPair) -> Tensor:
    """The middle of every picture: (N, C, H, W) -> (N, C, h, w)."""
    height, width = _checked("center_crop", images, size)
    # Python's rounding to the even number decides where the middle is, as in torchvision
    top, left = round((images.shape[2] - height) / 2), round((images.shape[3] - width) / 2)
    return images[:, :, top : top + height, left : left + width]


def five_crop(images: Tensor, size: IntOrPair) -> Tensor:
    """The four corners (top left, top right, bottom left, bottom right) and the middle: -> (N, 5, C, h, w)."""
    height, width = _checked("five_crop", images, size)
    bottom, right = images.shape[2] - height, images.shape[3] - width
    places = ((0, 0), (0, right), (bottom, 0), (bottom, right))
    crops = [images[:, :, top : top + height, left : left + width] for top, left in places]
    return stack([*crops, center_crop(images, size)], 1)


def ten_crop(images: Tensor, size: IntOrPair) -> Tensor:
    """The five crops, and the five of the mirrored picture: (N, C, H, W) -> (N, 10, C, h, w). AlexNet, section 4.1.

    >>> import tensorgrad
    >>> ten_crop(tensorgrad.zeros(2, 3, 256, 256), 224).shape
    (2, 10, 3, 224, 224)
    """
    return cat([five_crop(images, size), five_crop(_mirrored(images), size)], 1)


def multi_crop(images: Tensor, size: IntOrPair = 224, sides: Sequence[int] = (256, 288, 320, 352)) -> Tensor:
    """GoogLeNet's crops, 144 for four sides: (N, C, H, W) -> (N, 36 per side, C, h, w). Szegedy et al., 2014, section 7.

    Resized so that the shorter side has each of `sides`, a picture gives three squares (left, middle, right; or top,
    middle, bottom), each square the five crops and itself resized to `size`, and all of these mirrored.

    >>> import tensorgrad
    >>> multi_crop(tensorgrad.zeros(1, 3, 30, 40), 24, sides=(28,)).shape
    (1, 36, 3, 24, 24)
    """
    if images.ndim != 4 or not sides:
        raise ShapeError(
            f"multi_crop: images have shape {images.shape}, sides are {tuple(sides)}; it takes (N, C, H, W) and at least "
            "one side"
        )
    height, width = pair("multi_crop", "size", size)
    crops = []
    for side in sides:
        if side < max(height, width):
            raise ArgumentError(f"multi_crop: sides has {side}; each must be at least the size of the crops, {size}")
        for square in _three_squares(_resized_to(images, side), side):
            whole = nn.functional.interpolate(square, size=(height, width), mode="bilinear", antialias=True)
            for view, small in ((square, whole), (_mirrored(square), _mirrored(whole))):
                crops += [five_crop(view, (height, width)), small.unsqueeze(1)]
    return cat(crops, 1)


def _resized_to(images: Tensor, side: int) -> Tensor:
    height, width = images.shape[2:]
    short = min(height, width)
    size = (round(height * side / short), round(width * side / short))
    return nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)


def _three_squares(images: Tensor, side: int) -> list[Tensor]:
    height, width = images.shape[2:]
    down, right = height - side, width - side
    places = [(down * part // 2, right * part // 2) for part in range(3)]
    return [images[:, :, top : top + side, left : left + side] for top, left in places]


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(-1)


def _checked(operation: str, images: Tensor, size: Any) -> tuple[int, int]:
    height, width = pair(operation, "size", size)
    if not isinstance(images, Tensor):
        raise OperandError(f"{operation}: images are a {type(images).__name__}; give a Tensor (N, C, H, W)")
    if images.ndim != 4:
        raise ShapeError(f"{operation}: images have shape {images.shape}; they must be (N, C, H, W)")
    if not (0 < height <= images.shape[2] and 0 < width <= images.shape[3]):
        raise ArgumentError(f"{operation}: a crop of {size} from pictures of {images.shape[2]}x{images.shape[3]}")
    return height, width


# several at once


def averaged_softmax(scores: Iterable[Tensor]) -> Tensor:
    """The mean of softmax over several scores (N, classes) of the same samples: probabilities (N, classes)."""
    total: Any = None
    count = 0
    for one in scores:
        if not isinstance(one, Tensor):
            raise OperandError(
                f"averaged_softmax: got a {type(one).__name__}, not scores (N, classes); networks with auxiliary heads "
                "give several in training, call .eval() first"
            )
        if one.ndim != 2 or (total is not None and one.shape != total.shape):
            before = "" if total is None else f" after {total.shape}"
            raise ShapeError(
                f"averaged_softmax: got scores of shape {one.shape}{before}; all must be (N, classes) alike"
            )
        probabilities = nn.functional.softmax(one, 1)
        total = probabilities if total is None else total + probabilities
        count += 1
    if total is None:
        raise ArgumentError("averaged_softmax: got no scores")
    return total / count


def over_crops(model: Callable[[Tensor], Tensor], crops: Tensor) -> Tensor:
    """A network's probabilities averaged over the crops of each picture: (N, K, C, h, w) -> (N, classes).

    One crop of every picture is computed at a time, so that memory is that of N pictures.

    >>> import tensorgrad
    >>> from tensorgrad.models import resnet20
    >>> over_crops(resnet20().eval(), ten_crop(tensorgrad.zeros(2, 3, 40, 40), 32)).shape
    (2, 10)
    """
    if crops.ndim != 5:
        raise ShapeError(f"over_crops: crops have shape {crops.shape}; they must be (N, K, C, h, w)")
    return averaged_softmax(model(crops[:, number]) for number in range(crops.shape[1]))


class Ensemble(nn.Module):
    """Several networks asked together: the mean of their softmax, (N, ...) -> probabilities (N, classes).

    As AlexNet's seven nets were averaged. Krizhevsky et al., 2012, section 6.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> Ensemble([nn.Linear(4, 3), nn.Linear(4, 3)])(tensorgrad.ones(2, 4)).shape
    (2, 3)
    """

    def __init__(self, models: Iterable[Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        if not len(self.models):
            raise ArgumentError("Ensemble: got no models")

    def forward(self, x: Tensor) -> Tensor:
        return averaged_softmax(model(x) for model in self.models)


def evaluate(
    model: Module,
    batches: Iterable[Any],
    topk: int | Sequence[int] = (1, 5),
    crops: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Accuracy of a network over batches (images, class numbers), without recording and in evaluation mode.

    Images are moved to where the network is.

    crops  gives (N, K, C, h, w) of a batch of images, as ten_crop does; their probabilities are averaged

    Returns {'top1': share right, 'top5': ..., 'samples': how many}. The network's mode is put back afterwards.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> x, y = tensorgrad.eye(4), tensorgrad.arange(4)
    >>> evaluate(nn.Identity(), [(x[:2], y[:2]), (x[2:], y[2:])], topk=(1,))
    {'top1': 1.0, 'samples': 4}
    """
    counts = _checked_counts("evaluate", topk)
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), None)
    ranks: list[int] = []
    try:
        with no_grad():
            for images, target in batches:
                x = as_tensor(images)
                x = x if device is None else x.to(device)
                scores = model(x) if crops is None else over_crops(model, crops(x))
                ranks += _ranks(scores, as_tensor(target))
    finally:
        for layer, training in modes:
            layer.training = training
    count = max(len(ranks), 1)
    found: dict[str, float] = {f"top{k}": sum(rank < k for rank in ranks) / count for k in counts}
    return found | {"samples": len(ranks)}
