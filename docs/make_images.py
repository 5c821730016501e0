"""Draw the graphs that the README, docs/graph.md and docs/gallery.md show:

    python docs/make_images.py             the small ones, and the gallery of the networks
    python docs/make_images.py small       only the small ones
    python docs/make_images.py resnet152   only this one of the gallery

Needs Graphviz's program `dot`. Writes docs/images/*.svg and docs/images/gallery/*.svg, the same files each time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.commands.networks import quickly
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


def both() -> Picture:
    """A residual block forward and backward, with what is saved between them."""
    return draw(Residual(16), tg.zeros(2, 16, 8, 8), passes="both", depth="layers")


def vanishing() -> Picture:
    """Sigmoids one after the other, and what is left of the gradient."""
    tg.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
    return draw(
        nn.Sequential(*layers),
        tg.randn(8, 16),
        statistics=True,
        color_by="gradient",
        depth="layers",
        show_parameters=False,
    )


class Mistaken(nn.Module):
    """Its linear layer expects another size."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.classifier = nn.Linear(1568, 10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        scores: tg.Tensor = self.classifier(self.features(x))
        return scores


def failure() -> Picture:
    """A forward pass that fails, up to where it does."""
    return draw(Mistaken(), tg.zeros(1, 3, 32, 32), failure="draw", depth="layers")


PICTURES.update(both=both, vanishing=vanishing, failure=failure)

#: The networks of the gallery, each with how it is drawn; all with repeats folded and innermost modules closed.
GALLERY: dict[str, dict[str, Any]] = {
    "lenet5": {"depth": None, "costs": True},
    "alexnet": {"depth": None, "costs": True},
    "zfnet": {"depth": None, "costs": True},
    "vgg16": {"depth": None, "costs": True, "color_by": "macs"},
    "googlenet": {"depth": 2},
    "inception_v3": {"depth": 2},
    "resnet18": {"depth": 2, "costs": True},
    "resnet34": {"depth": 2, "costs": True},
    "resnet50": {"depth": None},
    "resnet152": {"depth": 2, "costs": True, "passes": "both"},
    "resnet20": {"depth": 2},
    "plain34": {"depth": 2},
    "preact_resnet50": {"depth": 2},
    "resnext50_32x4d": {"depth": 2, "costs": True},
    "wide_resnet50_2": {"depth": 2, "costs": True},
    "densenet121": {"depth": 2, "costs": True},
    "squeezenet1_0": {"depth": 2, "costs": True},
    "mobilenet_v2": {"depth": 2, "costs": True},
}


def network(name: str) -> Picture:
    """One picture of the gallery."""
    model, x = quickly(argparse.Namespace(model=name, input=None, train=False))
    return draw(model, x, fold=True, close_layers=True, show_parameters=False, title=None, **GALLERY[name])


def main(chosen: list[str]) -> None:
    (IMAGES / "gallery").mkdir(parents=True, exist_ok=True)
    makers: dict[Path, Callable[[], Picture]] = {}
    if not chosen or "small" in chosen:
        makers.update({IMAGES / f"{name}.svg": make for name, make in PICTURES.items()})
    for name in GALLERY:
        if not chosen or name in chosen:
            makers[IMAGES / "gallery" / f"{name}.svg"] = lambda name=name: network(name)  # type: ignore[misc]
    for path, make in makers.items():
        make().save(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
