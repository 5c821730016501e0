"""The contestants: each function sets up one side and returns a step. Imports stay inside, a side never sees the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]
CHAIN = 1000


def _chain(library: Any, size: int) -> Step:
    shape = (size,) if size else ()
    a = library.full(shape, 1.0001, requires_grad=True)
    b = library.full(shape, 0.5, requires_grad=True)

    def step() -> None:
        z = a
        for _ in range(CHAIN // 2):
            z = z * a
            z = z + b
        (z.sum() if size else z).backward()
        a.grad = b.grad = None

    return step


def chain_ours(size: int) -> Step:
    """1,000 multiplications and additions, forward and backward."""
    import tensorgrad

    return _chain(tensorgrad, size)


def chain_torch(size: int) -> Step:
    """The same in PyTorch."""
    import torch

    return _chain(torch, size)


def _images(seed: int, batch: int) -> tuple[Any, Any]:
    import numpy

    random = numpy.random.default_rng(seed)
    return random.standard_normal((batch, 1, 32, 32), dtype=numpy.float32), random.integers(0, 10, batch)


def _lenet(library: Any, nn: Any, optim: Any, tensor: Callable[[Any], Any], batch: int, train: bool, pool: str) -> Step:
    layer = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[pool]
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        layer(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        layer(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    loss_of = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = (tensor(values) for values in _images(0, batch))

    def train_step() -> None:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()

    def inference() -> None:
        with library.no_grad():
            model(images)

    return train_step if train else inference


def lenet_ours(batch: int, train: bool, pool: str) -> Step:
    """A LeNet-5 training step: forward, backward, SGD with momentum; or inference alone."""
    import tensorgrad
    import tensorgrad.nn
    import tensorgrad.optim

    return _lenet(tensorgrad, tensorgrad.nn, tensorgrad.optim, tensorgrad.from_numpy, batch, train, pool)


def lenet_torch(batch: int, train: bool, pool: str) -> Step:
    """The same in PyTorch, at its own thread policy."""
    import torch

    return _lenet(torch, torch.nn, torch.optim, torch.from_numpy, batch, train, pool)
