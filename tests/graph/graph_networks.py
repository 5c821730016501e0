"""What the tests of graphs share: small networks, the programs `dot` and Chromium."""

import shutil

import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.graph import dot_is_here

needs_dot = pytest.mark.skipif(
    not dot_is_here(), reason="Graphviz's program `dot` is not installed: apt install graphviz"
)


class Residual(nn.Module):
    """z = relu(f(x) + x), f of two 3x3 convolutions."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + x)


class Inception(nn.Module):
    """1x1, 3x3, 5x5 and a pooled branch, side by side."""

    def __init__(self, channels, width):
        super().__init__()
        self.one = nn.Conv2d(channels, width, 1)
        self.three = nn.Conv2d(channels, width, 3, padding=1)
        self.five = nn.Conv2d(channels, width, 5, padding=2)
        self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(channels, width, 1))

    def forward(self, x):
        return tg.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class SmallNet(nn.Module):
    """A stem, residual blocks, an Inception module, a classifier."""

    def __init__(self, blocks=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.stage = nn.Sequential(*[Residual(8) for _ in range(blocks)])
        self.inception = Inception(8, 4)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        y = self.inception(self.stage(self.stem(x)))
        return self.classifier(self.flatten(y))


def chromium():
    """The path of a Chromium or Chrome, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name)) is not None), None)
