"""The third way: what a layer says about every picture of a data set, and which pictures are near each other in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.inspect.drawing import Result, draw_picture, name_of, new_figure
from tensorgrad.inspect.layers import find_layer, run_to
from tensorgrad.inspect.running import Bar, at_rest, batches, how_many, on_device, picture_at, pictures, to_host
from tensorgrad.nn.module import Module

Progress = bool | Callable[[int, int], None] | None
METRICS = ("cosine", "euclidean")


@dataclass(frozen=True)
class Features:
    """The values of `layer` for every picture, a row each: values (N, D), the classes (N,) where the data has some."""

    layer: str
    values: numpy.ndarray
    labels: numpy.ndarray | None
    data: Any = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Neighbours(Result):
    """For every query the `indices` (Q, k) of the nearest pictures, the nearest first, and their `distances` (Q, k)."""

    layer: str
    metric: str
    queries: numpy.ndarray
    indices: numpy.ndarray
    distances: numpy.ndarray
    features: Features = field(repr=False)
    classes: Sequence[str] | None = None

    def figure(self) -> Any:
        """A row for a query: it, and its neighbours with their distances. The first 8 queries, 10 neighbours."""
        rows, columns = min(len(self.queries), 8), min(self.indices.shape[1], 10)
        title = f"nearest by '{self.layer}', {self.metric} distance"
        figure = new_figure(1.0 * (columns + 1) + 0.4, 1.25 * rows + 0.8, title)
        grid = figure.subplots(rows, columns + 1, squeeze=False)
        for row in range(rows):
            draw_picture(grid[row, 0], self.queries[row], "the picture" if row == 0 else "")
            grid[row, 0].spines[:].set(color="#0072B2", linewidth=2.5)
            for column in range(columns):
                index = int(self.indices[row, column])
                labels = self.features.labels
                name = "" if labels is None else f"{name_of(int(labels[index]), self.classes)}\n"
                axes = grid[row, column + 1]
                draw_picture(axes, picture_at(self.features.data, index))
                axes.set_title(f"{name}{_short(self.distances[row, column])}", fontsize=8, pad=2)
        return figure


def _short(distance: float) -> str:
    return "0" if distance < 1e-9 else f"{distance:.3g}"


def features(model: Module, data: Any, layer: str, batch_size: int = 256, progress: Progress = None) -> Features:
    """What leaves a layer for every picture of the data, flattened to a row each.

    data      a Tensor or array of pictures (N, C, H, W), a dataset of (image, class), or a DataLoader that keeps the order
    progress  a bar on stderr: None on a terminal, True always, False never; or a function of (done, total)

    Raises ArgumentError for an unknown layer, or data without pictures.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> features(net, tensorgrad.zeros(5, 1, 8, 8), "1").values.shape
    (5, 144)
    """
    rows, labels, found = [], [], None
    bar = Bar(f"features of {layer!r}", how_many(data) or 1, progress)
    for sample in batches("features", data, batch_size):
        if found is None:
            found = find_layer("features", model, sample.images, layer)
        with at_rest(model):
            value, _ = run_to("features", model, on_device(sample.images, model), found)
        rows.append(to_host(value).reshape(len(sample.images), -1))
        if sample.labels is not None:
            labels.append(sample.labels)
        bar.add(len(sample.images))
    if not rows:
        raise ArgumentError("features: the data has no picture; it needs at least one")
    return Features(layer, numpy.concatenate(rows), numpy.concatenate(labels) if labels else None, data)


def neighbours(
    model: Module,
    images: Any,
    among: Any,
    layer: str | None = None,
    k: int = 8,
    metric: str = "cosine",
    batch_size: int = 256,
    classes: Sequence[str] | None = None,
    progress: Progress = None,
) -> Neighbours:
    """The k pictures of a data set that are nearest to each of `images` in the space of a layer.

    among   the data, or Features of it, which are then used as they are (and name the layer)
    metric  'cosine': 1 - x.y / |x||y|; 'euclidean': |x - y|

    Of equal distances the picture of the smaller number comes first. A query that is itself in the data is found there.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> x = tensorgrad.arange(12.0).reshape(3, 1, 2, 2)
    >>> neighbours(nn.Sequential(nn.Flatten()), x[1], x, "0", k=2, metric="euclidean").indices
    array([[1, 0]])
    """
    if metric not in METRICS:
        raise ArgumentError(f"neighbours: got metric {metric!r}; there are {', '.join(map(repr, METRICS))}")
    if isinstance(among, Features):
        known = among
    elif layer is None:
        raise ArgumentError("neighbours: which layer? name it: layer='layer3.1.conv2'")
    else:
        known = features(model, among, layer, batch_size, progress)
    if not 1 <= k <= len(known):
        raise ArgumentError(f"neighbours: got k {k}; there are {len(known)} pictures to choose from")
    queries = pictures("neighbours", images)
    wanted = features(model, queries, known.layer, batch_size, False).values
    if wanted.shape[1] != known.values.shape[1]:
        raise ShapeError(
            f"neighbours: the pictures have {wanted.shape[1]} features, those of the data {known.values.shape[1]}; "
            "they must be of one size"
        )
    indices, distances = nearest(wanted, known.values, k, metric)
    return Neighbours(known.layer, metric, queries, indices, distances, known, classes)


def nearest(queries: numpy.ndarray, values: numpy.ndarray, k: int, metric: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Indices and distances (Q, k) of the k rows of values (N, D) that are nearest to each of queries (Q, D)."""
    x, y = numpy.asarray(queries, numpy.float64), numpy.asarray(values, numpy.float64)
    if metric == "cosine":
        lengths = numpy.linalg.norm(x, axis=1)[:, None] * numpy.linalg.norm(y, axis=1)
        far = 1 - x @ y.T / numpy.where(lengths > 0, lengths, 1)
    else:
        # |x - y|^2 = |x|^2 + |y|^2 - 2 x.y loses digits where x and y are near: it chooses, then the difference is taken
        far = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    some = min(len(y), k + 16)
    chosen = numpy.sort(numpy.argpartition(far, some - 1, axis=1)[:, :some], axis=1)
    if metric == "euclidean":
        near = numpy.stack([numpy.linalg.norm(y[rows] - q, axis=1) for q, rows in zip(x, chosen)])
    else:
        near = numpy.maximum(numpy.take_along_axis(far, chosen, 1), 0)
    order = numpy.argsort(near, axis=1, kind="stable")[:, :k]
    return numpy.take_along_axis(chosen, order, 1), numpy.take_along_axis(near, order, 1)
