"""The fifth way: a mask slides over the picture; where it makes the class less probable, the network was looking.

M. Zeiler, R. Fergus, Visualizing and Understanding Convolutional Networks, 2013, section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.inspect.drawing import Result, draw_map, draw_picture, name_of, needed, new_figure
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
from tensorgrad.nn.arguments import IntOrPair, pair
from tensorgrad.nn.module import Module


@dataclass(frozen=True)
class Occlusion(Result):
    """The probability of class `target` with the mask at every position.

    tops, lefts    where the mask's upper left corner was, in pixels: (R,) and (C,)
    probabilities  (R, C);  probability  without a mask
    """

    image: numpy.ndarray
    target: int
    probability: float
    tops: numpy.ndarray
    lefts: numpy.ndarray
    size: tuple[int, int]
    probabilities: numpy.ndarray
    classes: Sequence[str] | None = None

    def per_pixel(self) -> numpy.ndarray:
        """For every pixel (H, W) the mean over the masks that covered it; the plain probability where none did."""
        total = numpy.zeros(self.image.shape[-2:])
        count = numpy.zeros(self.image.shape[-2:])
        for row, top in enumerate(self.tops):
            for column, left in enumerate(self.lefts):
                place = (slice(top, top + self.size[0]), slice(left, left + self.size[1]))
                total[place] += self.probabilities[row, column]
                count[place] += 1
        found: numpy.ndarray = numpy.where(count > 0, total / numpy.maximum(count, 1), self.probability)
        return found

    def figure(self) -> Any:
        """The picture with the size of the mask, the heat map, and the heat map over the picture."""
        name = name_of(self.target, self.classes)
        figure = new_figure(11.4, 3.9, f"occlusion: {name}, {100 * self.probability:.1f} % without a mask")
        left, middle, right = figure.subplots(1, 3)
        draw_picture(left, self.image, f"the picture, the mask of {self.size[0]} x {self.size[1]}", 10)
        patches = needed("matplotlib.patches", "drawing")
        corner = (-0.5, -0.5)
        left.add_patch(patches.Rectangle(corner, self.size[1], self.size[0], facecolor="#808080", edgecolor="#D55E00"))
        heat = self.per_pixel()
        label = f"probability of {name} with the mask there"
        draw_map(figure, middle, heat, label, title="dark: covering it hurts")
        draw_map(figure, right, heat, label, over=self.image, title="over the picture")
        return figure


def occlusion(
    model: Module,
    image: Any,
    target: int | None = None,
    size: IntOrPair = 16,
    stride: IntOrPair = 8,
    fill: float | Sequence[float] | None = None,
    batch_size: int = 64,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Occlusion:
    """The probability of a class while a mask slides over a picture (C, H, W).

    target        the class; the likeliest one unless given
    size, stride  of the mask, in pixels, for both dimensions or (rows, columns). It starts in the corner; a last position
                  at the far edge is added where the stride does not lead there, so that every pixel is covered
    fill          what the mask is filled with: a number, one for each channel, or None for the picture's mean colour
    batch_size    masked pictures that are computed at once

    Costs one forward image for every position, and one without a mask. Raises ArgumentError for a mask that is larger
    than the picture, DimensionError for a class that is not there.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    >>> occlusion(net, tensorgrad.zeros(1, 8, 8), size=4, stride=2).probabilities.shape
    (3, 3)
    """
    images = one_picture("occlusion", image)
    height, width = images.shape[2:]
    (mask_height, mask_width), steps = pair("occlusion", "size", size), pair("occlusion", "stride", stride)
    if not (1 <= mask_height <= height and 1 <= mask_width <= width) or min(steps) < 1:
        raise ArgumentError(
            f"occlusion: got size {size} and stride {stride}; the mask must fit into {height}x{width} pixels, strides be 1 or more"
        )
    if batch_size < 1:
        raise ArgumentError(f"occlusion: got batch_size {batch_size}; it must be 1 or more")
    colour = _colour(fill, images)
    tops, lefts = _positions(height, mask_height, steps[0]), _positions(width, mask_width, steps[1])
    places = [(top, left) for top in tops for left in lefts]
    bar = Bar("occlusion", len(places), progress)
    found = []
    with at_rest(model):
        scores = scores_of("occlusion", model, on_device(images, model))
        warn_if_untrained(model, scores)
        first = softmax(to_host(scores).astype(numpy.float64))[0]
        target = int(first.argmax()) if target is None else checked_class("occlusion", target, len(first))
        for begin in range(0, len(places), batch_size):
            some = places[begin : begin + batch_size]
            x = numpy.repeat(images, len(some), 0)
            for i, (top, left) in enumerate(some):
                x[i, :, top : top + mask_height, left : left + mask_width] = colour
            scores = scores_of("occlusion", model, on_device(x, model))
            found.append(softmax(to_host(scores).astype(numpy.float64))[:, target])
            bar.add(len(some))
    probabilities = numpy.concatenate(found).reshape(len(tops), len(lefts))
    size = (mask_height, mask_width)
    return Occlusion(images[0], target, float(first[target]), tops, lefts, size, probabilities, classes)


def _positions(pixels: int, size: int, stride: int) -> numpy.ndarray:
    last = pixels - size
    found = list(range(0, last + 1, stride))
    if found[-1] != last:
        found.append(last)
    return numpy.array(found)


def _colour(fill: Any, images: numpy.ndarray) -> numpy.ndarray:
    """(C, 1, 1) or a number."""
    if fill is None:
        return images[0].mean((1, 2), keepdims=True)
    colour = numpy.asarray(fill, images.dtype)
    if colour.ndim and colour.shape != images.shape[1:2]:
        raise ShapeError(
            f"occlusion: got {colour.size} numbers to fill with; give one, or one for each of {images.shape[1]} channels"
        )
    return colour.reshape(-1, 1, 1) if colour.ndim else colour
