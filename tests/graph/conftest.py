"""Fixtures of the tests of graphs."""

import pytest
from graph_networks import SmallNet

import tensorgrad as tg


@pytest.fixture
def small_net():
    """A fresh network; its input is (N, 3, 8, 8)."""
    return SmallNet()


@pytest.fixture
def image():
    """Two pictures for it."""
    tg.manual_seed(0)
    return tg.randn(2, 3, 8, 8)
