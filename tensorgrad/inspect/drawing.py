"""Figures: drawn by matplotlib (extra `viz`) when they are asked for, without its pyplot, so that nobody's own are touched.

Colours are those that people with any kind of colour vision tell apart: Okabe and Ito's for lines, cividis for amounts, PuOr
for what has a sign.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.errors import TensorgradError
from tensorgrad.io.atomic import replacing

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
#: For classes; marks differ too where there are more than these.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D00", "#000000", "#882255", "#999999")
AMOUNT, SIGNED = "cividis", "PuOr_r"
_RESOLUTION = 110


class MissingLibrary(TensorgradError, ImportError):
    """A library that an extra brings is not installed."""


def needed(module: str, purpose: str) -> Any:
    """Import what the extra `viz` brings, or say how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module.partition(".")[0])
        raise MissingLibrary(f"{purpose} needs {name}: pip install 'tapegrad[viz]'") from error


class Result:
    """Arrays that can be drawn: a subclass has them as fields and says in `figure` how."""

    def figure(self) -> Any:
        """A matplotlib Figure. Raises MissingLibrary (an ImportError) where matplotlib is not installed."""
        raise NotImplementedError

    def png(self, resolution: int = _RESOLUTION) -> bytes:
        """The figure as the bytes of a PNG, `resolution` dots per inch."""
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=resolution)
        return file.getvalue()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the figure, in the format that the file's name ends with (.png, .svg, .pdf); returns the path."""
        kind = Path(path).suffix[1:] or "png"
        figure = self.figure()
        with replacing(path) as draft:
            figure.savefig(draft, format=kind, dpi=_RESOLUTION)
        return Path(path)

    def _repr_png_(self) -> bytes:
        return self.png()


def new_figure(width: float, height: float, title: str = "") -> Any:
    """An empty figure, in inches."""
    figure = needed("matplotlib.figure", "drawing").Figure(
        figsize=(width, height), dpi=_RESOLUTION, facecolor="white", layout="constrained"
    )
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def shown(image: numpy.ndarray) -> numpy.ndarray:
    """A picture (C, H, W) as matplotlib takes it, (H, W) or (H, W, 3), its values stretched to [0, 1]."""
    picture = numpy.nan_to_num(numpy.asarray(image, numpy.float64))
    low, high = (picture.min(), picture.max()) if picture.size else (0.0, 1.0)
    picture = (picture - low) / (high - low if high > low else 1.0)
    if picture.shape[0] == 3:
        return picture.transpose(1, 2, 0)
    found: numpy.ndarray = picture[0] if picture.shape[0] == 1 else picture.mean(0)
    return found


def draw_picture(axes: Any, image: numpy.ndarray, title: str = "", size: int = 9) -> None:
    """A picture without ticks; one of a single channel in greys."""
    axes.imshow(shown(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    bare(axes)
    if title:
        axes.set_title(title, fontsize=size, pad=3)


def bare(axes: Any) -> None:
    """No ticks, a faint frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#bbbbbb")


def draw_map(
    figure: Any, axes: Any, values: numpy.ndarray, label: str, signed: bool = False, over: Any = None, title: str = ""
) -> None:
    """A map (H, W) with its colour bar; `over` a picture (C, H, W), through which it is seen."""
    height, width = values.shape if over is None else over.shape[-2:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if over is not None:
        axes.imshow(shown(over.mean(0, keepdims=True)), cmap="gray", vmin=0, vmax=1, extent=extent)
    reach = max(float(numpy.nanmax(numpy.abs(values), initial=0.0)), 1e-30)
    limits = {"vmin": -reach, "vmax": reach} if signed else {}
    drawn = axes.imshow(
        values,
        cmap=SIGNED if signed else AMOUNT,
        alpha=1.0 if over is None else 0.65,
        extent=extent,
        interpolation="nearest",
        **limits,
    )
    bare(axes)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.solids.set_alpha(1)
    if title:
        axes.set_title(title, fontsize=10, pad=4)


def mosaic(tiles: numpy.ndarray, columns: int | None = None, gap: int = 1) -> numpy.ndarray:
    """Tiles (N, H, W) side by side in one array, nan between them."""
    count, height, width = tiles.shape
    columns = columns or math.ceil(math.sqrt(count * height / max(width, 1) * 1.6))
    columns = max(min(columns, count), 1)
    rows = math.ceil(count / columns)
    sheet = numpy.full((rows * (height + gap) - gap, columns * (width + gap) - gap), numpy.nan)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def name_of(number: int, classes: Sequence[str] | None) -> str:
    """A class by its name, or by its number where it has none."""
    return classes[number] if classes and number < len(classes) else f"class {number}"


def plain(axes: Any) -> None:
    """A chart with a faint grid and no box."""
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
