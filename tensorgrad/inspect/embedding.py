"""The fourth way: the feature space of a layer brought to two dimensions, each picture a dot or a thumbnail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import COLOURS, Result, name_of, needed, new_figure, plain, shown
from tensorgrad.inspect.features import Features
from tensorgrad.inspect.running import picture_at

METHODS = ("tsne", "pca")
_MARKS = "os^vDPX*<>"


@dataclass(frozen=True)
class Embedding(Result):
    """Points (N, 2) for the pictures. `kept` is the share of the variance that PCA keeps in each axis, None of t-SNE."""

    method: str
    points: numpy.ndarray
    features: Features = field(repr=False)
    kept: numpy.ndarray | None = None
    classes: Sequence[str] | None = None
    thumbnails: int = 120

    def figure(self) -> Any:
        """A dot for every picture, coloured and shaped by class; beside it thumbnails where they do not overlap."""
        method = "PCA" if self.method == "pca" else "t-SNE"
        title = f"{len(self.points):,} pictures by '{self.features.layer}', {method} to two dimensions"
        figure = new_figure(11 if self.thumbnails else 6.4, 5.4, title)
        panels = figure.subplots(1, 2 if self.thumbnails else 1, sharex=True, sharey=True, squeeze=False)[0]
        dots = panels[0]
        labels = self.features.labels
        for number in [None] if labels is None else sorted(set(labels.tolist())):
            chosen = slice(None) if number is None else labels == number  # type: ignore[operator]
            index = 0 if number is None else int(number)
            dots.scatter(
                *self.points[chosen].T,
                s=10,
                color=COLOURS[index % len(COLOURS)],
                marker=_MARKS[index % len(_MARKS)],
                label=None if number is None else name_of(index, self.classes),
                linewidths=0,
            )
        if labels is not None and len(set(labels.tolist())) <= 20:
            dots.legend(fontsize=7, markerscale=1.8, frameon=True, framealpha=0.85, loc="best", ncols=2)
        dots.set_title("by class" if labels is not None else "all pictures", fontsize=10)
        if self.thumbnails:
            self._draw_thumbnails(panels[1])
        for axes in panels:
            plain(axes)
            axes.set_xlabel(self._axis(0))
        dots.set_ylabel(self._axis(1))
        return figure

    def _axis(self, number: int) -> str:
        if self.kept is None:
            return f"t-SNE {number + 1} (distances only near each other mean something)" if number == 0 else "t-SNE 2"
        return f"component {number + 1} ({100 * self.kept[number]:.1f} % of the variance)"

    def _draw_thumbnails(self, axes: Any) -> None:
        boxes = needed("matplotlib.offsetbox", "drawing")
        chosen = spread(self.points, self.thumbnails)
        for i in chosen:
            image = shown(picture_at(self.features.data, int(i)))
            thumbnail = boxes.OffsetImage(image, zoom=18 / image.shape[0], cmap="gray")
            thumbnail.image.axes = axes
            axes.add_artist(boxes.AnnotationBbox(thumbnail, self.points[i], frameon=True, pad=0.05))
        axes.update_datalim(self.points)
        axes.set_title(f"{len(chosen)} of them as pictures", fontsize=10)


def embed(
    features: Features,
    method: str = "tsne",
    seed: int = 0,
    perplexity: float = 30.0,
    classes: Sequence[str] | None = None,
) -> Embedding:
    """The features of a data set in two dimensions.

    method      'tsne' (L. van der Maaten, G. Hinton, Visualizing Data using t-SNE, JMLR 9, 2008; by scikit-learn, extra
                `viz`; of more than 50 features, the 50 first principal components), or 'pca' (nothing needed)
    perplexity  of t-SNE: about how many neighbours a picture has; lowered to (N - 1) / 3 for few pictures

    Raises MissingLibrary (an ImportError) without scikit-learn, ArgumentError for fewer than 3 pictures.

    >>> import numpy
    >>> points = numpy.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    >>> abs(embed(Features("fc", points, None, None), "pca").points[:, 0])
    array([2., 0., 2.])
    """
    if method not in METHODS:
        raise ArgumentError(f"embed: got method {method!r}; there are {', '.join(map(repr, METHODS))}")
    if len(features) < 3:
        raise ArgumentError(f"embed: got {len(features)} pictures; it takes 3 or more")
    values = numpy.asarray(features.values, numpy.float64)
    if method == "pca":
        points, kept = principal(values, 2)
        return Embedding("pca", points, features, kept, classes)
    manifold = needed("sklearn.manifold", "t-SNE")
    if values.shape[1] > 50:
        values = principal(values, 50)[0]
    tsne = manifold.TSNE(
        n_components=2,
        perplexity=min(perplexity, max((len(values) - 1) / 3, 1.0)),
        init="pca",
        learning_rate="auto",
        random_state=seed,
    )
    return Embedding("tsne", tsne.fit_transform(values.astype(numpy.float32)), features, None, classes)


def principal(values: numpy.ndarray, count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The first principal components of values (N, D): coordinates (N, count), and their shares of the variance.

    Every axis points to where its coordinate of largest size is positive, so that the result is the same each time.
    """
    centred = values - values.mean(0)
    if centred.shape[1] > len(centred):  # the eigenvectors of the smaller of x x^T and x^T x tell the same
        sizes, vectors = numpy.linalg.eigh(centred @ centred.T)
        points = vectors[:, ::-1] * numpy.sqrt(numpy.maximum(sizes[::-1], 0))
        variances = sizes[::-1]
    else:
        sizes, vectors = numpy.linalg.eigh(centred.T @ centred)
        points, variances = centred @ vectors[:, ::-1], sizes[::-1]
    total = float((centred * centred).sum()) or 1.0
    points, shares = points[:, :count], numpy.maximum(variances[:count], 0) / total
    missing = count - points.shape[1]
    if missing > 0:
        points, shares = numpy.pad(points, ((0, 0), (0, missing))), numpy.pad(shares, (0, missing))
    largest = numpy.abs(points).argmax(0)
    signs = numpy.sign(points[largest, range(count)])
    return points * numpy.where(signs == 0, 1, signs), shares


def spread(points: numpy.ndarray, count: int, gap: float = 0.04) -> numpy.ndarray:
    """Numbers of up to `count` points, each the farthest from those before it, until they are nearer than a share `gap`
    of the picture."""
    points = (points - points.min(0)) / numpy.maximum(numpy.ptp(points, axis=0), 1e-30)
    chosen = [int(numpy.argmin(numpy.linalg.norm(points - points.mean(0), axis=1)))]
    far = numpy.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        if far.max() < gap:
            break
        chosen.append(int(far.argmax()))
        far = numpy.minimum(far, numpy.linalg.norm(points - points[chosen[-1]], axis=1))
    return numpy.array(chosen)
