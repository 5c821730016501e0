"""The second way: what a layer makes of one picture, map by map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.inspect.drawing import BLUE, Result, draw_map, draw_picture, mosaic, new_figure, plain
from tensorgrad.inspect.layers import find_layer, run_to
from tensorgrad.inspect.running import at_rest, on_device, one_picture, to_host
from tensorgrad.nn.module import Module

_DRAWN = 64


@dataclass(frozen=True)
class Activations(Result):
    """What leaves `layer` for a picture: values of its shape, (C, H, W) for maps, (D,) behind linear layers."""

    layer: str
    image: numpy.ndarray
    values: numpy.ndarray

    def figure(self) -> Any:
        """The picture, and the first 64 maps on one scale; a vector as bars."""
        figure = new_figure(9.6, 4.6)
        left, right = figure.subplots(1, 2, width_ratios=(1, 2.6))
        draw_picture(left, self.image, "the picture")
        values = self.values
        if values.ndim != 3:
            flat = values.reshape(-1)
            right.bar(range(len(flat)), flat, color=BLUE, width=1.0 if len(flat) > 100 else 0.8)
            plain(right)
            right.set(xlabel="unit", ylabel="activation", title=f"'{self.layer}': {len(flat)} units")
            return figure
        maps = values[:_DRAWN]
        part = f", the first {_DRAWN}" if len(values) > _DRAWN else ""
        title = f"'{self.layer}': {len(values)} maps of {values.shape[1]} x {values.shape[2]}{part}"
        draw_map(figure, right, mosaic(maps), "activation", signed=bool((maps < 0).any()), title=title)
        return figure


def activations(model: Module, image: Any, layer: str) -> Activations:
    """What leaves a layer for one picture (C, H, W); see tensorgrad.inspect.layers for names.

    Raises ArgumentError for an unknown layer, ShapeError for a picture that the network cannot take.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> activations(net, tensorgrad.zeros(1, 8, 8), "1").values.shape
    (4, 6, 6)
    """
    images = one_picture("activations", image)
    found = find_layer("activations", model, images, layer)
    with at_rest(model):
        value, _ = run_to("activations", model, on_device(images, model), found)
    return Activations(layer, images[0], to_host(value)[0])
