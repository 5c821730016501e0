"""How weights and gradients are spread, over the course of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import AMOUNT, BLUE, Result, new_figure
from tensorgrad.inspect.running import to_host
from tensorgrad.nn.module import Module


@dataclass(frozen=True)
class Spread:
    """The values of a parameter, or of its gradient, at one step: counts (B,) between edges (B + 1,), and figures."""

    step: int
    edges: numpy.ndarray
    counts: numpy.ndarray
    mean: float
    deviation: float
    strange: int  # values that are nan or infinite; not counted


class Histograms(Result):
    """Records histograms of the weights and gradients of a model while it is trained.

    bins  how many for each histogram

        histograms = Histograms(model)
        for step, (x, y) in enumerate(batches):
            optimizer.zero_grad(); loss(model(x), y).backward()
            if step % 50 == 0: histograms.record(step)      # between backward and step
            optimizer.step()
        histograms.save("histograms.png")

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Linear(3, 2)
    >>> net(tensorgrad.ones(1, 3)).sum().backward()
    >>> histograms = Histograms(net)
    >>> histograms.record(0)
    >>> histograms.gradients["weight"][0].mean, int(histograms.weights["weight"][0].counts.sum())
    (1.0, 6)
    """

    def __init__(self, model: Module, bins: int = 64) -> None:
        if bins < 1:
            raise ArgumentError(f"Histograms: got bins {bins}; it must be 1 or more")
        self.model = model
        self.bins = bins
        self.weights: dict[str, list[Spread]] = {}
        self.gradients: dict[str, list[Spread]] = {}

    def record(self, step: int) -> None:
        """Note how the parameters, and the gradients that are there, are spread now."""
        for name, parameter in self.model.named_parameters():
            self.weights.setdefault(name, []).append(spread_of(to_host(parameter.detach()), step, self.bins))
            if parameter.grad is not None:
                self.gradients.setdefault(name, []).append(spread_of(to_host(parameter.grad.detach()), step, self.bins))

    def figure(self) -> Any:
        """A row for each weight (parameters of one dimension are left out), its values left, its gradients right: over
        the steps how many values lie where. The first 8 layers."""
        steps = max((len(rows) for rows in self.weights.values()), default=0)
        if not steps:
            raise ArgumentError("Histograms: nothing was recorded; call record(step) between backward and step")
        shapes = {name: p.ndim for name, p in self.model.named_parameters()}
        names = [name for name in self.weights if shapes.get(name, 0) > 1] or list(self.weights)
        names = names[:8]
        title = "weights (left) and gradients (right)" + (" over training" if steps > 1 else "")
        figure = new_figure(9.6, 1.55 * len(names) + 1.0, title)
        grid = figure.subplots(len(names), 2, squeeze=False)
        for row, name in enumerate(names):
            for axes, rows, what in (
                (grid[row, 0], self.weights[name], ""),
                (grid[row, 1], self.gradients.get(name, []), "gradient of "),
            ):
                axes.set_title(f"{what}{name}", fontsize=9, pad=3)
                axes.tick_params(labelsize=7)
                if len(rows) == 1:
                    axes.stairs(rows[0].counts / max(rows[0].counts.sum(), 1), rows[0].edges, fill=True, color=BLUE)
                    axes.set_ylabel("share", fontsize=7)
                elif rows:
                    drawn = _draw(axes, rows)
                    bar = figure.colorbar(drawn, ax=axes)
                    bar.set_label("share", fontsize=7)
                    bar.ax.tick_params(labelsize=7)
                else:
                    axes.text(0.5, 0.5, "no gradient was there", ha="center", transform=axes.transAxes, fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("step" if steps > 1 else "value", fontsize=8)
        return figure


def _draw(axes: Any, rows: list[Spread]) -> Any:
    """Time to the right, values upward; the colour is the share of the values of that step."""
    reach = max(float(numpy.abs(row.edges).max()) for row in rows) or 1.0
    grid = numpy.linspace(-reach, reach, 81)
    middles = (grid[1:] + grid[:-1]) / 2
    shares = numpy.zeros((len(middles), len(rows)))
    for column, row in enumerate(rows):
        whole = numpy.concatenate([[0], numpy.cumsum(row.counts)]) / max(row.counts.sum(), 1)
        below = numpy.interp(grid, row.edges, whole, left=0, right=1)
        shares[:, column] = numpy.diff(below)
    steps = numpy.array([row.step for row in rows], float)
    half = numpy.diff(steps).min() / 2 if len(steps) > 1 else 0.5
    borders = numpy.concatenate([[steps[0] - half], (steps[1:] + steps[:-1]) / 2, [steps[-1] + half]])
    return axes.pcolormesh(borders, grid, shares, cmap=AMOUNT, rasterized=True)


def spread_of(values: numpy.ndarray, step: int, bins: int = 64) -> Spread:
    """The histogram of some values from the smallest to the largest.

    >>> spread_of(numpy.array([0.0, 1.0, 1.0, 2.0]), 7, bins=2).counts
    array([1, 3])
    """
    flat = numpy.asarray(values, numpy.float64).reshape(-1)
    finite = flat[numpy.isfinite(flat)]
    if not len(finite):
        return Spread(step, numpy.linspace(0, 1, bins + 1), numpy.zeros(bins, int), 0.0, 0.0, len(flat))
    counts, edges = numpy.histogram(finite, bins)
    return Spread(step, edges, counts, float(finite.mean()), float(finite.std()), len(flat) - len(finite))
