"""Draw what docs/gradcheck.md shows: how differences see a smooth function, a kink and a jump:  python docs/make_kink_image.py

Needs matplotlib. Writes docs/images/kink.svg and docs/images/steps.svg, the same files each time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt

IMAGES = Path(__file__).resolve().parent / "images"
LEFT, RIGHT, CENTRAL, DARK = "#d95f02", "#1b6ca8", "#4d9221", "#444444"


def kinks() -> Any:
    """On top a function and its secants, below the slopes that steps of every length see."""
    functions: list[tuple[str, Callable[[Any], Any]]] = [
        ("smooth: $\\exp(x)$", np.exp),
        ("a kink: $\\max(x, 0)$", lambda x: np.maximum(x, 0.0)),
        ("a jump: $x > 0$", lambda x: np.where(x > 0, 1.0, 0.0)),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), height_ratios=(3, 2))
    steps = np.logspace(-10, 0, 200)
    for column, (title, f) in enumerate(functions):
        top, bottom = axes[0][column], axes[1][column]
        x = np.linspace(-1, 1, 401)
        top.plot(x, f(x), color=DARK, linewidth=2)
        t = 0.7
        for ends, color in (((-t, 0.0), LEFT), ((0.0, t), RIGHT), ((-t, t), CENTRAL)):
            ends_x = np.array(ends)
            top.plot(ends_x, f(ends_x), color=color, marker="o", markersize=4, linewidth=1.4)
        top.set_title(title)
        here = f(np.array(0.0))
        slopes = (
            ((here - f(-steps)) / steps, LEFT, "left"),
            ((f(steps) - here) / steps, RIGHT, "right"),
            ((f(steps) - f(-steps)) / (2 * steps), CENTRAL, "central"),
        )
        for slope, color, label in slopes:
            bottom.plot(steps, slope, color=color, label=label, linewidth=1.4)
        bottom.set_xscale("log")
        bottom.invert_xaxis()
        bottom.set_xlabel("step $t$")
        if column == 2:
            bottom.set_yscale("symlog")
            bottom.set_ylim(-1, 3e10)
            bottom.set_yticks([0, 1e2, 1e5, 1e8])
        for axis in (top, bottom):
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("$f$ and secants at 0")
    axes[1][0].set_ylabel("their slopes")
    axes[1][0].legend(frameon=False)
    figure.tight_layout()
    return figure


def steps() -> Any:
    """The error of a central difference against the step: truncation on one side, rounding on the other."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    h = np.logspace(-12, 0, 400)
    x, exact = 1.0, np.cos(1.0)
    central = (np.sin(x + h) - np.sin(x - h)) / ((x + h) - (x - h))
    wide = (np.sin(x + 8 * h) - np.sin(x - 8 * h)) / ((x + 8 * h) - (x - 8 * h))
    extrapolated = central + (central - wide) / 63
    for values, color, label in (
        (central, RIGHT, "central difference"),
        (extrapolated, LEFT, "extrapolated once, with $8 h$"),
    ):
        axis.loglog(h, np.maximum(np.abs(values - exact), 1e-17), color=color, linewidth=0.9, label=label)
    axis.axvline(1e-6, color=DARK, linestyle=":", label="eps = 1e-6")
    axis.set_xlabel("step $h$")
    axis.set_ylabel("error of the slope of $\\sin$ at 1")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.tight_layout()
    return figure


PICTURES: dict[str, Callable[[], Any]] = {"kink": kinks, "steps": steps}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with plt.rc_context({"svg.hashsalt": "tensorgrad", "svg.fonttype": "none", "font.family": "sans-serif"}):
        for name, make in PICTURES.items():
            path = IMAGES / f"{name}.svg"
            make().savefig(path, metadata={"Date": None, "Creator": None})
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
