"""Where in the picture a class was seen: Grad-CAM.

R. Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, 2016:

    a_k = mean over places of d score / d A_k,    L = relu(sum over k of a_k A_k)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.autodiff import grad
from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.inspect.drawing import Result, draw_map, draw_picture, name_of, new_figure
from tensorgrad.inspect.layers import Layer, _all_layers, find_layer, run_to
from tensorgrad.inspect.running import at_rest, checked_class, on_device, one_picture, softmax, to_host
from tensorgrad.nn.functional import interpolate
from tensorgrad.nn.module import Module
from tensorgrad.tensor import Tensor


@dataclass(frozen=True)
class GradCAM(Result):
    """The map of a class: `map` (h, w) of the layer's size, `weights` (K,) of its channels, `score` of the class."""

    layer: str
    image: numpy.ndarray
    target: int
    score: float
    probability: float
    map: numpy.ndarray
    weights: numpy.ndarray
    classes: Sequence[str] | None = None

    def upsampled(self) -> numpy.ndarray:
        """The map at the size of the picture (H, W), bilinear."""
        small = Tensor(numpy.asarray(self.map, numpy.float64)[None, None])
        height, width = self.image.shape[-2:]
        found: numpy.ndarray = interpolate(small, size=(height, width), mode="bilinear").numpy()[0, 0]
        return found

    def figure(self) -> Any:
        """The picture, the map, and the map over the picture."""
        name = name_of(self.target, self.classes)
        figure = new_figure(11.4, 3.9, f"Grad-CAM at '{self.layer}': {name}, {100 * self.probability:.1f} %")
        left, middle, right = figure.subplots(1, 3)
        draw_picture(left, self.image, "the picture", 10)
        size = f"{self.map.shape[0]} x {self.map.shape[1]}"
        draw_map(figure, middle, self.map, "speaks for the class", title=f"as the layer sees it, {size}")
        draw_map(figure, right, self.upsampled(), "speaks for the class", over=self.image, title="over the picture")
        return figure


def grad_cam(
    model: Module,
    image: Any,
    target: int | None = None,
    layer: str | None = None,
    classes: Sequence[str] | None = None,
) -> GradCAM:
    """The map of a class at a layer of maps, for a picture (C, H, W).

    target  the class, the one of the largest score unless given
    layer   the last layer that gives maps of more than one place, unless named

    Raises ArgumentError for an unknown layer, ShapeError for one without maps.

    >>> import tensorgrad
    >>> from tensorgrad.nn import Conv2d, Flatten, Linear, Sequential
    >>> net = Sequential(Conv2d(1, 2, 3), Flatten(), Linear(2 * 6 * 6, 3))
    >>> grad_cam(net, tensorgrad.ones(1, 8, 8)).map.shape
    (6, 6)
    """
    images = one_picture("grad_cam", image)
    found = _last_maps(model, images) if layer is None else find_layer("grad_cam", model, images, layer)
    if len(found.shape) != 3:
        raise ShapeError(
            f"grad_cam: layer {found.name!r} gives {found.shape} for a picture; it must give maps (K, H, W), as convolutions do"
        )
    with at_rest(model, gradients=True):
        x = on_device(images, model).requires_grad_()
        maps, scores = run_to("grad_cam", model, x, found, stop=False)
        while isinstance(scores, (tuple, list)):
            scores = scores[0]
        if scores.ndim != 2:
            raise ShapeError(f"grad_cam: {type(model).__name__} gives {scores.shape}; it must give scores (N, classes)")
        plain = to_host(scores.detach()).astype(numpy.float64)
        count = plain.shape[1]
        chosen = int(plain[0].argmax()) if target is None else checked_class("grad_cam", target, count)
        (slopes,) = grad(scores[0, chosen], maps, materialize_grads=True)
    values, slopes = to_host(maps.detach())[0], to_host(slopes)[0]
    weights = slopes.mean((1, 2))
    heat = numpy.maximum(numpy.tensordot(weights, values, 1), 0)
    probability = float(softmax(plain)[0, chosen])
    return GradCAM(found.name, images[0], chosen, float(plain[0, chosen]), probability, heat, weights, classes)


def _last_maps(model: Module, images: numpy.ndarray) -> Layer:
    """The last call of a module inside the network that gives maps."""
    for layer in reversed(_all_layers("grad_cam", model, images)):
        if layer.name and "/" not in layer.name and len(layer.shape) == 3 and min(layer.shape[1:]) > 1:
            return layer
    raise ArgumentError(f"grad_cam: no layer of {type(model).__name__} gives maps of more than one place")
