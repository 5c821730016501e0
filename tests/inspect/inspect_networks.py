"""Networks for the tests of tensorgrad.inspect: one small classifier, its rectifiers written in every way there is."""

import os
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TENSORGRAD_DATA") or ROOT / ".." / "shared" / "data")
WAYS = (
    "module",
    "module in place",
    "one module",
    "function",
    "function in place",
    "method",
    "method in place",
    "clamp",
)


def data(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not in {DATA}; name its folder by TENSORGRAD_DATA")
    return path


class Rectified(nn.Module):
    """conv, relu, conv, relu, linear, relu, linear on (N, 1, 8, 8): the same mathematics whichever way relu is called."""

    def __init__(self, way):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 4, 3, stride=2)
        self.fc1 = nn.Linear(36, 6)
        self.fc2 = nn.Linear(6, 3)
        self.drop = nn.Dropout(0.5)
        self.way = way
        if way == "one module":
            self.relu = nn.ReLU()
        if way in ("module", "module in place"):
            self.relus = nn.ModuleList([nn.ReLU(inplace="place" in way) for _ in range(3)])

    def rectify(self, x, number):
        if self.way.startswith("module"):
            return self.relus[number](x)
        return {
            "one module": lambda: self.relu(x),
            "function": lambda: nn.functional.relu(x),
            "function in place": lambda: nn.functional.relu(x, inplace=True),
            "method": lambda: x.relu(),
            "method in place": lambda: x.relu_(),
            "clamp": lambda: x.clamp(min=0),
        }[self.way]()

    def forward(self, x):
        x = self.rectify(self.norm(self.conv1(x)), 0)
        x = self.rectify(self.conv2(x), 1)
        x = self.rectify(self.fc1(x.flatten(1)), 2)
        return self.fc2(self.drop(x))


def rectified(way="module", dtype=tg.float64):
    """One of them, trained as far as a test can tell; in training mode, which must not matter."""
    tg.manual_seed(3)
    net = Rectified(way).to(dtype)
    for p in net.parameters():
        p.data = p.data * 2
    net.norm.running_mean[...] = 0.1
    net.norm.running_var[...] = 1.3
    return net


def picture(count=None, size=8, channels=1, seed=0, dtype="float64"):
    shape = (channels, size, size) if count is None else (count, channels, size, size)
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
