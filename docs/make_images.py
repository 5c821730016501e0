"""Draw the graphs that the README and docs/graph.md show:  python docs/make_images.py

Needs Graphviz's program `dot`. Writes docs/images/*.svg, the same files each time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.graph import Picture, draw
from tensorgrad.models import lenet5

IMAGES = Path(__file__).resolve().parent / "images"


def neuron() -> Picture:
    """One neuron, y = tanh(w x + b), from the tape behind y."""
    w = tg.tensor([0.5, -1.0, 2.0], requires_grad=True)
    b = tg.tensor(0.1, requires_grad=True)
    x = tg.tensor([1.0, 2.0, 3.0])
    y = ((w * x).sum() + b).tanh()
    return draw(y, names={"w": w, "b": b, "x": x, "y": y})


def mlp() -> Picture:
    """A small network, whole."""
    return draw(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), tg.zeros(5, 4))


def lenet() -> Picture:
    """LeNet-5, a layer a box."""
    return draw(lenet5(), tg.zeros(1, 1, 32, 32), depth=2)


def lenet_whole() -> Picture:
    """LeNet-5, every operation and parameter."""
    return draw(lenet5(), tg.zeros(1, 1, 32, 32))


class Residual(nn.Module):
    """z = relu(f(x) + x)"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        z: tg.Tensor = self.relu(self.bn2(self.conv2(y)) + x)
        return z


def residual() -> Picture:
    """A residual block: x takes two ways, and one ReLU works twice."""
    return draw(Residual(16), tg.zeros(2, 16, 8, 8))


def in_place() -> Picture:
    """Writing into a view: what its base becomes."""
    x = tg.ones(3, 4, requires_grad=True)
    y = x * 2.0
    y[0].mul_(3.0)
    z = (y * y).sum()
    return draw(z, names={"x": x, "z": z})


PICTURES: dict[str, Callable[[], Picture]] = {
    "neuron": neuron,
    "mlp": mlp,
    "lenet5": lenet,
    "lenet5-whole": lenet_whole,
    "residual": residual,
    "in-place": in_place,
}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for name, make in PICTURES.items():
        path = make().save(IMAGES / f"{name}.svg")
        print(f"{Path(path).name}: {Path(path).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
