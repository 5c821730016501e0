"""What the markers `gpu` and `oracle` mean where a GPU or PyTorch is missing (`slow` and `oracle` are deselected by
default, in pyproject.toml)."""

import importlib.util
import random
import signal
from functools import cache

import pytest
import standin  # registers the device 'standin', CuPy's stand-in

# rows are read by tests/ops/cases.py, once, under their own names
collect_ignore = ["ops/rows"]

# A shell starts background jobs with Ctrl-C ignored, and so would be every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@cache
def why_no_gpu() -> str | None:
    """Why tests marked `gpu` cannot run here, or None if they can."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    import cupy

    return None if cupy.cuda.is_available() else "CuPy finds no CUDA GPU"


@cache
def why_no_oracle() -> str | None:
    """Why tests marked `oracle` cannot run here, or None if they can."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: `python3 run.py setup oracle`"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the files, and the tests in each, in an order drawn"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --shuffle: a test that needs another one before it is found out; the seed brings the order back."""
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    draw = random.Random(seed)
    files: dict[object, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = list(files)
    draw.shuffle(order)
    for path in order:
        draw.shuffle(files[path])
    items[:] = [item for path in order for item in files[path]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, why_not in (("gpu", why_no_gpu), ("oracle", why_no_oracle)):
        if item.get_closest_marker(marker) is not None:
            reason = why_not()
            if reason is not None:
                pytest.skip(reason)


#: Every device that a test taking `device` runs on.
DEVICES = ["cpu", standin.StandInBackend.name, pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The name of a device: NumPy's, the stand-in for CuPy, and CuPy's where there is a GPU."""
    name: str = request.param
    return name


# tests/graph; in a conftest.py of its own they would clash with tests/cuda's where both folders are named


@pytest.fixture
def small_net():
    """A fresh network; its input is (N, 3, 8, 8)."""
    from graph_networks import SmallNet

    return SmallNet()


@pytest.fixture
def image():
    """Two pictures for it."""
    import tensorgrad as tg

    tg.manual_seed(0)
    return tg.randn(2, 3, 8, 8)
