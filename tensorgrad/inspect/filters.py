"""The first way: the filters of a convolution as pictures. Those of the first layer look at pixels, and can be looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import SIGNED, Result, bare, mosaic, new_figure, shown
from tensorgrad.inspect.running import to_host, warn_if_untrained
from tensorgrad.nn.module import Module


@dataclass(frozen=True)
class Filters(Result):
    """The weights (out, in, KH, KW) of the convolution `layer`."""

    layer: str
    weights: numpy.ndarray

    def figure(self) -> Any:
        """Filters of three channels as coloured pictures, each by its own scale; others channel by channel, signed."""
        count, channels, height, width = self.weights.shape
        title = f"{count} filters of '{self.layer}', {channels} x {height} x {width}"
        if channels == 3:
            return self._coloured(title)
        maps = self.weights[:, 0] if channels == 1 else self.weights[:64, :64].reshape(-1, height, width)
        columns = None if channels == 1 else min(channels, 64)
        sheet = mosaic(maps, columns)
        figure = new_figure(7.2, max(2.6, min(7.2, 6.2 * sheet.shape[0] / sheet.shape[1] + 0.9)))
        figure.suptitle(title if channels == 1 else f"{title}\na row for a filter, a column for a channel", fontsize=11)
        axes = figure.add_subplot()
        reach = float(numpy.nanmax(numpy.abs(sheet))) or 1.0
        drawn = axes.imshow(sheet, cmap=SIGNED, vmin=-reach, vmax=reach, interpolation="nearest")
        bare(axes)
        figure.colorbar(drawn, ax=axes, label="weight", shrink=0.8)
        return figure

    def _coloured(self, title: str) -> Any:
        count = len(self.weights)
        columns = min(12, math.ceil(math.sqrt(count * 1.6)))
        rows = math.ceil(count / columns)
        figure = new_figure(0.62 * columns + 0.3, 0.62 * rows + 0.9)
        figure.suptitle(f"{title}\neach stretched to its own smallest and largest weight", fontsize=10)
        for i, weights in enumerate(self.weights):
            axes = figure.add_subplot(rows, columns, i + 1)
            axes.imshow(shown(weights), interpolation="nearest")
            bare(axes)
        return figure


def filters(model: Module, layer: str | None = None) -> Filters:
    """The filters of a convolution, of the first one unless a layer is named.

    Raises ArgumentError where there is none.

    >>> from tensorgrad.models import lenet5
    >>> filters(lenet5()).weights.shape
    (6, 1, 5, 5)
    """
    found = {path: module for path, module in model.named_modules() if _kernel(module) is not None}
    if not found:
        raise ArgumentError(f"filters: {type(model).__name__} has no convolution over pictures")
    if layer is None:
        layer = next(iter(found))
    if layer not in found:
        import difflib

        close = difflib.get_close_matches(layer, list(found), 5, 0.3) or list(found)[:5]
        raise ArgumentError(
            f"filters: {layer!r} is no convolution of {type(model).__name__}; the nearest names are "
            f"{', '.join(map(repr, close))}"
        )
    warn_if_untrained(model)
    return Filters(layer, to_host(_kernel(found[layer])))


def _kernel(module: Any) -> Any:
    """The weight of a layer that slides over pictures: (out, in, KH, KW); None of another."""
    weight = module._parameters.get("weight")
    return weight if weight is not None and weight.ndim == 4 else None
