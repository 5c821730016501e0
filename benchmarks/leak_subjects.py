"""What benchmarks/leaks.py runs besides the rows of the table of cases: (name, function) pairs, made when they are asked for."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Subject = tuple[str, Callable[[], object]]


def everything() -> Iterator[Subject]:
    """All of them."""
    yield from layers()
    yield from losses()
    yield from optimizers()
    yield from steps()
    yield from loaders()
    yield from files()


def layers() -> Iterator[Subject]:
    """The layers of tests/reliability/test_engine.py, in training and in evaluation, up to the second derivative."""
    import test_engine

    import tensorgrad as tg
    from tensorgrad.autograd import grad

    for name, (make, shape) in test_engine.LAYERS.items():
        layer, x = make(), tg.randn(*shape, requires_grad=True)

        def run(layer: Any = layer, x: Any = x) -> None:
            for training in (True, False):
                y = layer.train(training)(x)
                (g,) = grad((y * y).sum(), x, create_graph=True)
                (g * g).sum().backward()
                layer.zero_grad()
                x.grad = None

        yield f"layer {name}", run


def losses() -> Iterator[Subject]:
    """The losses of tests/nn/test_more_losses.py."""
    import test_more_losses

    import tensorgrad as tg
    from tensorgrad import nn

    for position, (name, settings, inputs) in enumerate(test_more_losses.LOSSES):
        settings = {
            key: tg.tensor(value) if isinstance(value, np.ndarray) else value for key, value in settings.items()
        }
        loss, tensors = getattr(nn, name)(**settings), [tg.tensor(x) for x in inputs]
        tensors[0].requires_grad = True

        def run(loss: Any = loss, tensors: Any = tensors) -> None:
            loss(*tensors).sum().backward()
            tensors[0].grad = None

        yield f"loss {position} {name}", run


def optimizers() -> Iterator[Subject]:
    """The optimisers of tests/reliability/test_engine.py, and L-BFGS; their states go away and come back too."""
    import test_engine

    import tensorgrad as tg

    for name, settings in {**test_engine.OPTIMIZERS, "LBFGS": {"lr": 0.1, "history_size": 3}}.items():
        w = tg.ones(100, requires_grad=True)
        optimizer = getattr(tg.optim, name)([w], **settings)

        def closure(w: Any = w, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = (w * w).sum()
            loss.backward()
            return loss

        def run(optimizer: Any = optimizer, closure: Any = closure) -> None:
            optimizer.step(closure)
            optimizer.load_state_dict(optimizer.state_dict())

        yield f"optimiser {name}", run


def _batch(*shape: int) -> tuple[Any, Any]:
    import tensorgrad as tg

    random = np.random.default_rng(0)
    return tg.tensor(random.standard_normal(shape).astype("float32")), tg.tensor(random.integers(0, 10, shape[0]))


@functools.cache  # a class is a circle of references: one made at every building would count as left behind
def _attention() -> type:
    """The class of a network (N, 6, 16) -> (N, 10)."""
    from tensorgrad import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
            self.norm, self.scores = nn.LayerNorm(16), nn.Linear(96, 10)

        def forward(self, x: Any) -> Any:
            return self.scores(self.norm(x + self.attention(x, x, x)[0]).flatten(1))

    return Attention


def networks() -> dict[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    """name -> (what makes it, the shape of a batch)"""
    from tensorgrad import models, nn

    return {
        "perceptron": (
            lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10)),
            (7, 20),
        ),
        "LeNet-5": (models.lenet5, (4, 1, 32, 32)),
        "ResNet-20": (models.resnet20, (2, 3, 8, 8)),
        "attention": (_attention(), (3, 6, 16)),
    }


def steps() -> Iterator[Subject]:
    """Training steps: plain, compiled, under autocast, recomputed, with an error in the middle, in anomaly mode."""
    import tensorgrad as tg
    from benchmarks.leaks import failing
    from tensorgrad.nn.functional import cross_entropy
    from tensorgrad.utils.checkpoint import checkpoint

    for name, (make, shape) in networks().items():
        for way in ("plain", "compiled", "autocast", "recomputed", "anomaly", "evaluation"):
            model, (x, t) = make(), _batch(*shape)
            optimizer = tg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            scaler = tg.amp.GradScaler("cpu")

            def step(x: Any, t: Any, model: Any = model, optimizer: Any = optimizer, way: str = way) -> Any:
                optimizer.zero_grad()
                loss = cross_entropy(checkpoint(model, x) if way == "recomputed" else model(x), t)
                loss.backward()
                optimizer.step()
                return loss

            def under_autocast(
                x: Any, t: Any, model: Any = model, optimizer: Any = optimizer, scaler: Any = scaler
            ) -> None:
                optimizer.zero_grad()
                with tg.amp.autocast("cpu", dtype=tg.float16):
                    loss = cross_entropy(model(x), t)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()

            def watched(x: Any, t: Any, step: Any = step) -> None:
                with tg.autograd.detect_anomaly():
                    step(x, t)

            def scored(x: Any, t: Any, model: Any = model) -> Any:
                with tg.no_grad():
                    return model.eval()(x)

            ways = {"autocast": under_autocast, "anomaly": watched, "evaluation": scored}
            call = tg.compile(step) if way == "compiled" else ways.get(way, step)
            yield f"step of {name}, {way}", lambda call=call, x=x, t=t: call(x, t)
            if way in ("plain", "recomputed"):
                yield f"step of {name}, {way}: error in the middle", failing(lambda step=step, x=x, t=t: step(x, t))
        yield f"building {name}", make


def loaders() -> Iterator[Subject]:
    """Epochs of a loader."""
    from tensorgrad import data

    x, t = np.zeros((20, 3, 4, 4), np.float32), np.zeros(20, np.int64)
    for workers in (0, 2):
        loader = data.DataLoader(data.TensorDataset(*_tensors(x, t)), 3, shuffle=True, num_workers=workers)
        yield f"epoch of a loader, {workers} workers", lambda loader=loader: [None for _ in loader] and None
        yield f"epoch of a loader left early, {workers} workers", lambda loader=loader: next(iter(loader)) and None


def _tensors(*arrays: Any) -> list[Any]:
    import tensorgrad as tg

    return [tg.tensor(x) for x in arrays]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory()


def files() -> Iterator[Subject]:
    """Saving and loading."""
    import tensorgrad as tg
    from tensorgrad import models

    model = models.lenet5()
    folder = _folder().name
    for ending in ("safetensors", "npz", "pt"):
        path = Path(folder) / f"weights.{ending}"

        def run(path: Any = path) -> None:
            tg.save(model.state_dict(), path)
            model.load_state_dict(tg.load(path, map_location="cpu"))

        def refused(path: Any = path) -> None:
            damaged = path.with_name(f"damaged.{path.name}")
            damaged.write_bytes(path.read_bytes()[:-100])
            try:
                tg.load(damaged)
            except tg.errors.TensorgradError:
                return

        yield f"saving and loading .{ending}", run
        yield f"a damaged .{ending}", refused
    nested = Path(folder) / "nested.safetensors"

    def kept(path: Any = nested) -> None:
        tg.save({"epochs": [1, (2.5, "three")], "weights": [tg.ones(3), {"more": tg.zeros(2)}]}, path)
        tg.load(path, map_location="cpu")

    yield "saving and loading nested values", kept
