"""The colours of pictures, light and dark, their outlines, and the legend.

The hues are Okabe and Ito's, which colour-blind people tell apart; the outlines alone tell the kinds apart in print. Costs go
from pale to dark in one hue (ColorBrewer's YlOrBr), which is read by its lightness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FONT = "Helvetica,Arial,sans-serif"

#: kind -> (outline, hue, other attributes)
OUTLINES: dict[str, tuple[str, str, dict[str, str]]] = {
    "operation": ("box", "#0072B2", {"style": "filled"}),
    "module": ("box", "#0072B2", {"style": "filled", "penwidth": "2"}),
    "input": ("box", "#009E73", {"style": "filled,rounded", "penwidth": "2"}),
    "output": ("box", "#D55E00", {"style": "filled,rounded", "peripheries": "2"}),
    "parameter": ("ellipse", "#E69F00", {"style": "filled", "margin": "0.02"}),
    "buffer": ("ellipse", "#CC79A7", {"style": "filled,dashed", "margin": "0.02"}),
    "constant": ("ellipse", "#8C8C8C", {"style": "filled,dotted", "margin": "0.02"}),
    "backward": ("box", "#CC79A7", {"style": "filled,diagonals"}),
    "gradient": ("hexagon", "#CC79A7", {"style": "filled", "margin": "0.02"}),
    "failed": ("octagon", "#C00000", {"style": "filled", "penwidth": "3"}),
}

#: What the legend says of each kind.
MEANINGS = {
    "operation": "operation",
    "module": "module, closed",
    "input": "input",
    "output": "result",
    "parameter": "parameter",
    "buffer": "buffer",
    "constant": "constant",
    "backward": "backward of an operation",
    "gradient": "gradient",
    "failed": "where it failed",
}

#: From the palest to the darkest step of a scale of costs, and the ink that is read on each.
SCALE = ("#FFFFE5", "#FEE391", "#FEC44F", "#EC7014", "#993404")
SCALE_INK = ("#1A1A1A", "#1A1A1A", "#1A1A1A", "#1A1A1A", "#FFFFFF")
#: Each step of the scale begins at this share of the largest value.
SCALE_FROM = (0.0, 0.02, 0.1, 0.3, 0.7)
WORDS = {"macs": "MACs", "flops": "FLOPs", "activation": "activation memory", "kept": "memory kept for backward"}


@dataclass(frozen=True)
class Theme:
    """Paper, ink and lines; how far the hues are mixed into the paper."""

    name: str
    paper: str
    ink: str
    grey: str
    line: str
    frame: str
    tint: float

    def look(self, kind: str) -> dict[str, str]:
        """The attributes of a box of a kind."""
        shape, hue, others = OUTLINES[kind]
        mixed = 0.5 if kind == "failed" else self.tint * (1.6 if kind == "module" else 1.0)
        return {"shape": shape, "color": hue, "fillcolor": mix(self.paper, hue, mixed), **others}


THEMES = {
    "light": Theme("light", "#FFFFFF", "#1A1A1A", "#595959", "#404040", "#8C8C8C", 0.1),
    "dark": Theme("dark", "#16181D", "#F2F2F2", "#B5B5B5", "#C8C8C8", "#7A7A7A", 0.28),
}


def mix(paper: str, hue: str, share: float) -> str:
    """A colour between two, `share` of the way to the second.

    >>> mix("#FFFFFF", "#000000", 0.5)
    '#808080'
    """
    pairs = [(int(paper[i : i + 2], 16), int(hue[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{math.floor(a + (b - a) * share + 0.5):02X}" for a, b in pairs)


def step_of(value: float, largest: float) -> int:
    """Which step of the scale a value takes.

    >>> [step_of(value, 100) for value in (0, 2, 9, 30, 100)]
    [0, 1, 1, 3, 4]
    """
    share = value / largest if largest > 0 else 0.0
    return max(i for i, start in enumerate(SCALE_FROM) if share >= start)


def legend_rows(
    kinds: list[str], theme: Theme, *, saved: bool, color_by: str | None, largest: str
) -> list[list[tuple[str, str, str]]]:
    """The legend as rows of (text, fill, ink)."""
    cells = [(MEANINGS[kind], theme.look(kind)["fillcolor"], theme.ink) for kind in OUTLINES if kind in kinds]
    if saved:
        cells.append(("- - - saved for backward", theme.paper, theme.ink))
    rows = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    if color_by:
        name = WORDS.get(color_by, color_by)
        if color_by == "gradient":
            texts = ["root mean square of the gradient: less", *[f"from 1e{low}" for low in GRADIENT_FROM[1:]]]
            rows.append([(text, SCALE[i], SCALE_INK[i]) for i, text in enumerate(texts)])
        else:
            steps = [f"{name} below 2 %", "from 2 %", "from 10 %", "from 30 %", f"from 70 % of {largest}"]
            rows.append([(text, SCALE[i], SCALE_INK[i]) for i, text in enumerate(steps)])
    return rows


#: Each step of the scale for gradients begins at this power of ten of their root mean square.
GRADIENT_FROM = (-99, -8, -6, -4, -2)


def gradient_step(figures: dict[str, float]) -> int:
    """Which step of the scale a gradient of these figures takes; the first where it has vanished, or is no number.

    >>> [gradient_step({"mean": 0.0, "std": std}) for std in (0.0, 1e-7, 0.5)]
    [0, 1, 4]
    """
    size = math.hypot(figures["mean"], figures["std"])
    power = math.log10(size) if size > 0 and math.isfinite(size) else -99.0
    return max(i for i, start in enumerate(GRADIENT_FROM) if power >= start)
