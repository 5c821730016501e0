"""Which pixels matter: gradients of a class's score with respect to the picture, plain, averaged, summed up, or guided.

Guided backpropagation acts on the tape, where every application of a rectifier is a node, so it does not matter whether the
network calls a module, the same module twice, a function or a method in place.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.autodiff import grad
from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.gradient_hooks import register_hook
from tensorgrad.inspect.drawing import Result, draw_map, draw_picture, name_of, new_figure
from tensorgrad.inspect.features import Progress
from tensorgrad.inspect.running import (
    Bar,
    at_rest,
    checked_class,
    on_device,
    one_picture,
    scores_of,
    softmax,
    to_host,
    warn_if_untrained,
)
from tensorgrad.nn.module import Module
from tensorgrad.primitive import observers
from tensorgrad.tensor import Tensor

#: The rectifiers on the tape: identities above zero that let nothing through below. ReLU6 is a hardtanh from 0 on.
_RECTIFIERS: dict[str, Callable[[Any, tuple[Any, ...]], bool]] = {
    "relu": lambda primitive, inputs: True,
    "clamp": lambda primitive, inputs: primitive.low == 0,
    "hardtanh": lambda primitive, inputs: primitive.low == 0,
    "threshold": lambda primitive, inputs: primitive.bound == 0 and primitive.value == 0,
    "maximum": lambda primitive, inputs: any(_is_zero(x) for x in inputs),
    "clamp_min": lambda primitive, inputs: _is_zero(inputs[1]),
}


def _is_zero(x: Any) -> bool:
    """Whether it is a constant 0."""
    return not to_host(x).any() if isinstance(x, Tensor) and not x.tracked else False


@dataclass(frozen=True)
class Attribution(Result):
    """One number for every value of the picture: `values` (C, H, W), for the score of class `target`.

    score     of the class, for the picture;  probability  of it, by softmax
    baseline  of integrated gradients: the score there;  gap  by how much the values miss score - baseline
    """

    method: str
    image: numpy.ndarray
    target: int
    score: float
    probability: float
    values: numpy.ndarray
    baseline: float | None = None
    gap: float | None = None
    classes: Sequence[str] | None = None

    def per_pixel(self) -> numpy.ndarray:
        """(H, W): the largest size over the channels; of integrated gradients, whose sum means something, their sum."""
        if self.baseline is not None:
            return self.values.sum(0)
        return numpy.abs(self.values).max(0)

    def figure(self) -> Any:
        """The picture, the map, and for a signed map the map over the picture."""
        name = name_of(self.target, self.classes)
        figure = new_figure(11.4, 3.9, f"{self.method}: {name}, {100 * self.probability:.1f} %")
        left, middle, right = figure.subplots(1, 3)
        draw_picture(left, self.image, "the picture", 10)
        signed = self.baseline is not None
        label = "share of the score" if signed else "|gradient|, largest channel"
        title = "for the class (+), against it (-)" if signed else "bright: it matters"
        draw_map(figure, middle, _clipped(self.per_pixel()), label, signed, title=title)
        if self.method == "guided backpropagation":
            draw_picture(right, self.values, "with its signs and colours", 10)
        else:
            draw_map(figure, right, _clipped(self.per_pixel()), label, signed, self.image, "over the picture")
        return figure


def _clipped(values: numpy.ndarray) -> numpy.ndarray:
    """Without the outermost half per cent, which would leave nothing of the scale to the rest."""
    reach = numpy.quantile(numpy.abs(values), 0.995) or float(numpy.abs(values).max())
    return numpy.clip(values, -reach, reach)


class _Subject:
    """A model at rest with one picture, and the score whose gradient is asked for."""

    def __init__(self, operation: str, model: Module, image: Any, target: int | None) -> None:
        self.operation, self.model = operation, model
        self.images = one_picture(operation, image)
        with at_rest(model):
            scores = scores_of(operation, model, on_device(self.images, model))
            warn_if_untrained(model, scores)
        self.scores = to_host(scores).astype(numpy.float64)[0]
        classes = len(self.scores)
        self.target = int(self.scores.argmax()) if target is None else checked_class(operation, target, classes)

    def gradients(self, images: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Scores (N,) of the class and their gradients (N, C, H, W)."""
        with at_rest(self.model, gradients=True):
            x = on_device(images, self.model).requires_grad_()
            scores = scores_of(self.operation, self.model, x)[:, self.target]
            (dx,) = grad(scores.sum(), x, materialize_grads=True)
        return to_host(scores.detach()), to_host(dx)

    def result(self, method: str, values: numpy.ndarray, classes: Any, **more: Any) -> Attribution:
        score, probability = self.scores[self.target], softmax(self.scores[None])[0, self.target]
        image = self.images[0]
        return Attribution(
            method, image, self.target, float(score), float(probability), values, classes=classes, **more
        )


def saliency(model: Module, image: Any, target: int | None = None, classes: Sequence[str] | None = None) -> Attribution:
    """The gradient of a class's score with respect to the picture.

    K. Simonyan, A. Vedaldi, A. Zisserman, Deep Inside Convolutional Networks, 2013.

    image   (C, H, W);  target  the class, the one of the largest score unless given

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> found = saliency(net, tensorgrad.ones(1, 2, 2), target=1)
    >>> bool((found.values.reshape(-1) == net[1].weight[1].detach().numpy()).all())
    True
    """
    subject = _Subject("saliency", model, image, target)
    return subject.result("saliency", subject.gradients(subject.images)[1][0], classes)


def smooth_grad(
    model: Module,
    image: Any,
    target: int | None = None,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int = 16,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Attribution:
    """The mean gradient over noisy copies of the picture: what flickers from pixel to pixel averages out.

    D. Smilkov et al., SmoothGrad: removing noise by adding noise, 2017.

    noise  its deviation, as a share of the picture's range of values;  seed  decides it
    """
    if samples < 1 or batch_size < 1 or not noise >= 0:
        raise ArgumentError(
            f"smooth_grad: got samples {samples}, batch_size {batch_size}, noise {noise}; the first two must be 1 or more, "
            "noise 0 or more"
        )
    subject = _Subject("smooth_grad", model, image, target)
    deviation = noise * float(subject.images.max() - subject.images.min())
    random = numpy.random.default_rng(seed)
    total = numpy.zeros(subject.images.shape[1:])
    bar = Bar("SmoothGrad", samples, progress)
    for begin in range(0, samples, batch_size):
        count = min(batch_size, samples - begin)
        disturbance = deviation * random.standard_normal((count, *subject.images.shape[1:]))
        total += subject.gradients((subject.images + disturbance).astype(subject.images.dtype))[1].sum(0)
        bar.add(count)
    return subject.result("SmoothGrad", total / samples, classes)


def integrated_gradients(
    model: Module,
    image: Any,
    target: int | None = None,
    baseline: Any = 0.0,
    steps: int = 32,
    tolerance: float = 1e-3,
    max_steps: int = 2048,
    batch_size: int = 32,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Attribution:
    """(x - b) times the mean gradient on the straight way from a baseline b to the picture x.

    M. Sundararajan, A. Taly, Q. Yan, Axiomatic Attribution for Deep Networks, 2017. The values add up to score(x) -
    score(b) (completeness), as far as the mean over `steps` points is the integral; the steps are doubled until the sum
    misses by no more than `tolerance` of the difference, or `max_steps` is reached, of which a warning tells.

    baseline  a number, or a picture (C, H, W)
    """
    if not 1 <= steps <= max_steps or batch_size < 1 or not tolerance > 0:
        raise ArgumentError(
            f"integrated_gradients: got steps {steps}, max_steps {max_steps}, batch_size {batch_size}, tolerance {tolerance}; "
            "needed are 1 <= steps <= max_steps, batch_size 1 or more, a tolerance above 0"
        )
    subject = _Subject("integrated_gradients", model, image, target)
    start = _baseline(baseline, subject.images)
    ends, _ = subject.gradients(numpy.concatenate([start, subject.images]))
    change = float(ends[1]) - float(ends[0])
    way = subject.images - start
    while True:
        nodes, weights = _gauss(steps)
        bar = Bar(f"integrated gradients, {len(nodes)} points", len(nodes), progress)
        total = numpy.zeros(way.shape[1:])
        for begin in range(0, len(nodes), batch_size):
            part = slice(begin, begin + batch_size)
            x = (start + nodes[part, None, None, None] * way).astype(way.dtype)
            total += numpy.tensordot(weights[part], subject.gradients(x)[1].astype(numpy.float64), 1)
            bar.add(len(x))
        values = total * way[0]
        gap = float(values.sum()) - change
        if abs(gap) <= tolerance * abs(change) or 2 * steps > max_steps:
            break
        steps *= 2
    if abs(gap) > tolerance * max(abs(change), 1e-6):
        warnings.warn(
            f"integrated_gradients: after {steps} steps the values add up to {change + gap:.6g}, the scores differ by "
            f"{change:.6g}; raise max_steps, or choose a baseline whose score is further away",
            stacklevel=2,
        )
    return subject.result("integrated gradients", values, classes, baseline=float(ends[0]), gap=gap)


def _gauss(steps: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """At least so many points in (0, 1), and weights: Gauss and Legendre's rule of 8 points in equal pieces of the way."""
    order = min(steps, 8)
    pieces = -(-steps // order)
    nodes, weights = numpy.polynomial.legendre.leggauss(order)
    starts = numpy.arange(pieces)[:, None]
    return ((starts + (nodes + 1) / 2) / pieces).reshape(-1), numpy.tile(weights / 2 / pieces, pieces)


def _baseline(baseline: Any, images: numpy.ndarray) -> numpy.ndarray:
    if isinstance(baseline, (int, float)):
        return numpy.full_like(images, baseline)
    found = one_picture("integrated_gradients", baseline)
    if found.shape != images.shape:
        raise ShapeError(
            f"integrated_gradients: the baseline has shape {found.shape[1:]}, the picture {images.shape[1:]}; they must agree"
        )
    return found.astype(images.dtype)


def guided_backprop(
    model: Module, image: Any, target: int | None = None, classes: Sequence[str] | None = None
) -> Attribution:
    """The gradient when every rectifier on the way back lets only positive gradients through, besides its own rule.

    J. Springenberg et al., Striving for Simplicity: The All Convolutional Net, 2014, section 3.4. Rectifiers are ReLU, ReLU6,
    and what else is cut off at 0 from below (clamp, maximum, threshold), as modules, functions and in place.
    """
    subject = _Subject("guided_backprop", model, image, target)
    with guided():
        values = subject.gradients(subject.images)[1][0]
    return subject.result("guided backpropagation", values, classes)


@contextmanager
def guided() -> Iterator[None]:
    """Inside, every rectifier that is recorded lets only positive gradients back."""
    thread = threading.get_ident()

    def observe(primitive: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        rectifies = _RECTIFIERS.get(primitive.name)
        if (
            rectifies is not None
            and outputs[0].tracked
            and threading.get_ident() == thread
            and rectifies(primitive, inputs)
        ):
            register_hook(outputs[0], _positive)

    observers.append(observe)
    try:
        yield
    finally:
        observers.remove(observe)


def _positive(gradient: Tensor) -> Tensor:
    return gradient.clamp(min=0)
