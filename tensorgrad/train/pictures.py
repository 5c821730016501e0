"""Pictures of a training run: its curves, and the images that the model got wrong. Drawn by matplotlib (extra `viz`).

matplotlib is imported when a picture is drawn, without its pyplot, so nothing of the user's own figures is touched.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy

from tensorgrad.io.atomic import replacing
from tensorgrad.train.metrics import EpochMetrics

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; line styles and marks differ too.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
WRONG_SHOWN = 50


def draw_curves(
    path: str | os.PathLike[str],
    history: Sequence[EpochMetrics],
    title: str,
    kept: int,
    training: str = "training",
    least_loss: float = 0.0,
) -> None:
    """Loss and accuracy over the epochs, side by side, as a PNG.

    kept: the epoch whose model was kept. training: what to call the curve of the training images.
    least_loss: what a perfect model would have, above 0 with label smoothing.
    Raises ImportError where matplotlib is missing.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(9.6, 4.4)
    figure.suptitle(title, fontsize=13)
    losses, accuracies = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    _curve(losses, epochs, training, [row.train_loss for row in history], [row.validation_loss for row in history])
    losses.set(title="Loss (lower is better)", ylabel="mean cross entropy of an image, in nats")
    losses.set_ylim(bottom=0)
    _curve(
        accuracies,
        epochs,
        training,
        [100 * row.train_accuracy for row in history],
        [None if row.validation_accuracy is None else 100 * row.validation_accuracy for row in history],
    )
    accuracies.set(title="Accuracy (higher is better)", ylabel="images classified rightly, in %")
    both = [accuracy for row in history for accuracy in (row.train_accuracy, row.validation_accuracy)]
    _zoom(accuracies, [100 * accuracy for accuracy in both if accuracy is not None])
    for axes in (losses, accuracies):
        axes.set_xlabel("epoch (passes over the training images)")
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        axes.grid(color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if kept != max(epochs):
            axes.axvline(kept, color=GREY, linewidth=1.2, linestyle=":", label=f"the model kept (epoch {kept})")
    if least_loss > 0:
        losses.axhline(
            least_loss, color=GREY, linewidth=1.2, linestyle="-.", label="least loss that label smoothing allows"
        )
    figure.legend(*losses.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    _save(figure, path)


def draw_misclassified(
    path: str | os.PathLike[str],
    images: numpy.ndarray,
    labels: numpy.ndarray,
    scores: numpy.ndarray,
    classes: Sequence[str],
    title: str,
) -> None:
    """A sheet of the images (N, H, W) or (N, C, H, W) that the scores (N, classes) put into a wrong class, as a PNG.

    Each bears its true class and the predicted one with the probability that the model gave it, the surest mistakes
    first; of many mistakes the first 50 are shown. Raises ImportError where matplotlib is missing.
    """
    predicted = scores.argmax(1)
    wrong = numpy.flatnonzero(predicted != labels)
    sureness = _softmax(scores.astype(numpy.float64))[wrong, predicted[wrong]]
    shown = numpy.argsort(-sureness, kind="stable")[:WRONG_SHOWN]
    columns = max(1, min(len(shown), 5 if len(shown) <= 15 else 10))
    rows = math.ceil(len(shown) / columns)
    figure = _figure(0.6 + 1.3 * max(columns, 5), 0.8 + 1.9 * rows)
    figure.get_layout_engine().set(h_pad=0.1)
    figure.suptitle(f"{title}\n{_count(len(wrong), len(labels), len(shown))}", fontsize=11)
    for place, i in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, place)
        index = wrong[i]
        picture = images[index]
        shown_as = picture if picture.ndim == 2 else picture.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
        axes.imshow(shown_as, cmap="gray_r", interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#bbbbbb")
        axes.set_title(f"true: {classes[labels[index]]}", fontsize=9, pad=3)
        guess = f"taken for: {classes[predicted[index]]}\n({100 * sureness[i]:.0f} % sure)"
        axes.set_xlabel(guess, fontsize=8, color=ORANGE, labelpad=3)
    _save(figure, path)


def least_smoothed_loss(smoothing: float, classes: int) -> float:
    """The cross entropy of a model that says exactly what label smoothing asks for: the entropy of the smoothed labels.

    >>> round(least_smoothed_loss(0.1, 10), 4)
    0.5003
    """
    wrong = smoothing / classes
    right = 1 - smoothing + wrong
    return -sum(p * math.log(p) for p in (right, *[wrong] * (classes - 1)) if p > 0)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, facecolor="white", layout="constrained")


def _save(figure: Any, path: str | os.PathLike[str]) -> None:
    with replacing(path) as draft:
        figure.savefig(draft, format="png")


def _curve(axes: Any, epochs: list[int], training: str, train: list[float], validation: list[float | None]) -> None:
    mark = "o" if len(epochs) <= 30 else None
    axes.plot(epochs, train, color=BLUE, linestyle="-", marker=mark, markersize=4, label=training)
    if all(value is not None for value in validation):
        square = "s" if mark else None
        axes.plot(epochs, validation, color=ORANGE, linestyle="--", marker=square, markersize=4, label="validation")


def _zoom(axes: Any, percentages: list[float]) -> None:
    """Show the upper part of the scale, where the curves lie, when the first epochs alone are below it."""
    ordered = sorted(percentages)
    tenth = ordered[len(ordered) // 10]
    bottom = max(0.0, math.floor((tenth - 5) / 5) * 5)
    axes.set_ylim(bottom, 100 + (100 - bottom) * 0.02)


def _softmax(scores: numpy.ndarray) -> numpy.ndarray:
    powers = numpy.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _count(wrong: int, total: int, shown: int) -> str:
    if wrong == 0:
        return f"all {total:,} test images were classified rightly"
    part = "" if shown == wrong else f"; the {shown} surest mistakes are shown"
    return f"{wrong:,} of {total:,} test images were classified wrongly{part}"
