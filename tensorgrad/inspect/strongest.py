"""The sixth way: the pictures of a data set, and the patches in them, that a unit answers to most strongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import ORANGE, Result, draw_picture, name_of, needed, new_figure
from tensorgrad.inspect.features import Progress
from tensorgrad.inspect.field import Box, Fields
from tensorgrad.inspect.layers import Layer, checked_unit, find_layer, run_to
from tensorgrad.inspect.running import Bar, at_rest, batches, how_many, on_device, picture_at, to_host
from tensorgrad.nn.module import Module


@dataclass(frozen=True)
class Strongest(Result):
    """The k pictures with the largest values of a unit, the largest first.

    indices  which pictures (k,);  values  (k,) of the unit;  units  the place (channel, row, column) in each
    boxes    what the unit sees of each picture, in pixels;  images  the pictures (k, C, H, W);  labels  their classes
    """

    layer: str
    unit: tuple[int, ...]
    indices: numpy.ndarray
    values: numpy.ndarray
    units: list[tuple[int, ...]]
    boxes: list[Box]
    images: numpy.ndarray
    labels: numpy.ndarray | None = None
    classes: Sequence[str] | None = None

    @property
    def patches(self) -> list[numpy.ndarray]:
        """What the unit saw: the boxes cut out of the pictures; smaller at the border."""
        return [box.cut(image) for box, image in zip(self.boxes, self.images)]

    def figure(self) -> Any:
        """Above the pictures with the box, below what is in it."""
        count = len(self.indices)
        columns = min(count, 9)
        rows = math.ceil(count / columns)
        what = f"channel {self.unit[0]}" if len(self.unit) == 1 else f"unit {self.unit}"
        title = f"what '{self.layer}', {what} answers to most strongly (value above, in the frame what it sees)"
        figure = new_figure(max(1.15 * columns + 0.3, 7.6), 2.6 * rows + 0.6, title)
        grid = figure.subplots(2 * rows, columns, squeeze=False)
        rectangle = needed("matplotlib.patches", "drawing").Rectangle
        for place in range(rows * columns):
            above, below = grid[2 * (place // columns)], grid[2 * (place // columns) + 1]
            above, below = above[place % columns], below[place % columns]
            if place >= count:
                above.set_axis_off()
                below.set_axis_off()
                continue
            name = "" if self.labels is None else f"{name_of(int(self.labels[place]), self.classes)}\n"
            box = self.boxes[place]
            draw_picture(above, self.images[place], f"{name}{self.values[place]:.3g}", 8)
            corner = (box.left - 0.5, box.top - 0.5)
            size = (box.right - box.left, box.bottom - box.top)
            above.add_patch(rectangle(corner, *size, fill=False, edgecolor=ORANGE, linewidth=2))
            draw_picture(below, self.patches[place])
        return figure


def strongest(
    model: Module,
    data: Any,
    layer: str,
    unit: int | tuple[int, ...],
    k: int = 9,
    batch_size: int = 128,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Strongest:
    """The k pictures of a data set that a unit answers to most strongly, and the patch of each that it sees.

    unit  a channel, of which in each picture the strongest place counts, or (channel, row, column)
    data  as in `features`

    Of equal values the picture of the smaller number comes first. Raises ArgumentError for an unknown layer,
    DimensionError for a unit that is not there.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> x = tensorgrad.zeros(3, 1, 8, 8)
    >>> x[1, 0, 2, 3] = 1.0
    >>> net = nn.Sequential(nn.AvgPool2d(2))
    >>> found = strongest(net, x, "0", 0, k=1)
    >>> found.indices.tolist(), found.units, found.boxes
    ([1], [(0, 1, 1)], [Box(top=2, left=2, bottom=4, right=4)])
    """
    if k < 1:
        raise ArgumentError(f"strongest: got k {k}; it must be 1 or more")
    found: Layer | None = None
    place: tuple[int, ...] = ()
    values: list[numpy.ndarray] = []
    places: list[numpy.ndarray] = []
    labels: list[numpy.ndarray] = []
    example: Any = None
    bar = Bar(f"{layer!r}, unit {unit}", how_many(data) or 1, progress)
    for sample in batches("strongest", data, batch_size):
        if found is None:
            found = find_layer("strongest", model, sample.images, layer)
            place = checked_unit("strongest", found, unit)
            example = sample.images[:1]
        with at_rest(model):
            value, _ = run_to("strongest", model, on_device(sample.images, model), found)
            part = value[(slice(None), *place)].reshape(len(sample.images), -1)
            values.append(to_host(part.amax(1)))
            places.append(to_host(part.argmax(1)))
        if sample.labels is not None:
            labels.append(sample.labels)
        bar.add(len(sample.images))
    if found is None:
        raise ArgumentError("strongest: the data has no picture; it needs at least one")
    all_values, all_places = numpy.concatenate(values), numpy.concatenate(places)
    chosen = numpy.argsort(-all_values, kind="stable")[:k]
    rest = found.shape[len(place) :]
    units = [(*place, *map(int, numpy.unravel_index(int(all_places[i]), rest))) if rest else place for i in chosen]
    fields = Fields("strongest", model, example, found)
    return Strongest(
        layer,
        place,
        chosen,
        all_values[chosen],
        units,
        [fields.box(u) for u in units],
        numpy.stack([picture_at(data, int(i)) for i in chosen]),
        numpy.concatenate(labels)[chosen] if labels else None,
        classes,
    )
