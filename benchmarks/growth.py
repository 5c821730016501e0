"""How the cost grows: with the batch, with the depth of the tape, with the channels. `curves()` measures, `table` and `draw` show.

Linear is expected of the batch and of the depth, and of the channels squared; a jump would show in the time per unit.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from benchmarks.duel import Side, contest
from benchmarks.steps import Step

#: title -> (what is counted, contestant, setting that grows, its values, other settings, the unit's power)
CURVES: dict[str, tuple[str, str, str, tuple[int, ...], dict[str, Any], int]] = {
    "batch: LeNet-5 training step": (
        "image", "benchmarks.steps:network_ours", "batch", (1, 4, 16, 64, 256, 1024), {"name": "LeNet-5", "train": True}, 1,
    ),
    "depth: chain of operations on 0-d values": (
        "operation", "benchmarks.steps:chain_ours", "length", (10, 100, 1000, 10_000, 100_000), {"size": 0}, 1,
    ),
    "channels: 3x3 convolution of (8, C, 28, 28), forward and backward": (
        "channel squared", "benchmarks.growth:convolution", "channels", (8, 16, 32, 64, 128, 256, 512), {}, 2,
    ),
}  # fmt: skip


def convolution(channels: int) -> Step:
    """C to C channels, 3x3, with both gradients."""
    import numpy

    import tensorgrad
    from tensorgrad.nn.functional import conv2d

    random = numpy.random.default_rng(0)
    x = tensorgrad.from_numpy(random.standard_normal((8, channels, 28, 28), dtype=numpy.float32)).requires_grad_()
    w = tensorgrad.from_numpy(random.standard_normal((channels, channels, 3, 3), dtype=numpy.float32)).requires_grad_()

    def step() -> None:
        conv2d(x, w, padding=1).sum().backward()
        x.grad = w.grad = None

    return step


def curves(quick: bool) -> dict[str, list[tuple[int, float]]]:
    """title -> [(value, seconds a step)], the median of several rounds of all values in turn."""
    found = {}
    for title, (_, contestant, setting, values, settings, _) in CURVES.items():
        values = values[:4] if quick else values
        sides = [Side(f"{setting} {n}", contestant, {**settings, setting: n}, threads=1) for n in values]
        times = contest(sides, rounds=3 if quick else 7, seconds=0.05)
        found[title] = [(n, sorted(row)[len(row) // 2]) for n, row in zip(values, times)]
    return found


def table(found: dict[str, list[tuple[int, float]]]) -> list[str]:
    """Lines of Markdown: time, and time per unit, which should level off and never jump."""
    lines = []
    for title, points in found.items():
        unit, _, _, _, _, power = CURVES[title]
        lines += [f"| {title} | " + " | ".join(f"{n:,}" for n, _ in points) + " |"]
        lines += ["| --- |" + " ---: |" * len(points)]
        lines += ["| ms a step | " + " | ".join(f"{t * 1e3:.3f}" for _, t in points) + " |"]
        lines += [f"| us per {unit} | " + " | ".join(f"{t * 1e6 / n**power:.3g}" for n, t in points) + " |", ""]
    return lines


def draw(found: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """The curves as a picture, on logarithmic axes, each with the slope that is expected of it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(5 * len(found), 4), squeeze=False)
    for axis, (title, points) in zip(axes[0], found.items()):
        power = CURVES[title][5]
        sizes, times = [n for n, _ in points], [t * 1e3 for _, t in points]
        last = times[-1] / sizes[-1] ** power
        axis.loglog(
            sizes, [last * n**power for n in sizes], "--", color="gray", label=f"~ n^{power}" if power > 1 else "~ n"
        )
        axis.loglog(sizes, times, "o-", label="measured")
        lines = textwrap.wrap(title.replace(": ", ":\n", 1), 40, replace_whitespace=False)
        axis.set(title="\n".join(lines), xlabel=CURVES[title][2], ylabel="ms a step")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
