"""The contestants: each function sets up one side and returns a step. Imports stay inside, a side never sees the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.networks import CASES, Framework, build, fill

Step = Callable[[], Any]
CHAIN = 1000


def chain(library: Any, size: int, length: int = CHAIN) -> Step:
    """Multiplications and additions in turn, forward and backward."""
    shape = (size,) if size else ()
    a = library.full(shape, 1.0001, requires_grad=True)
    b = library.full(shape, 0.5, requires_grad=True)

    def step() -> None:
        z = a
        for _ in range(length // 2):
            z = z * a
            z = z + b
        (z.sum() if size else z).backward()
        a.grad = b.grad = None

    return step


def chain_ours(size: int, length: int = CHAIN, compiled: bool = False) -> Step:
    """The chain in tensorgrad, as it is or through `tensorgrad.compile`."""
    import tensorgrad

    step = chain(tensorgrad, size, length)
    return tensorgrad.compile(step) if compiled else step


def chain_torch(size: int, length: int = CHAIN) -> Step:
    """The chain in PyTorch."""
    import torch

    return chain(torch, size, length)


def batch_of(name: str, batch: int | None = None) -> tuple[Any, Any]:
    """Images and labels of a network's case, in another batch size if one is given."""
    import numpy

    case = CASES[name]
    random = numpy.random.default_rng(0)
    images = random.standard_normal((batch or case.batch, *case.image), dtype=numpy.float32)
    return images, random.integers(0, case.classes, batch or case.batch)


def network_ours(name: str, train: bool, batch: int | None = None, compiled: bool = False) -> Step:
    """A training step (forward, backward, SGD with momentum) or inference in tensorgrad."""
    import tensorgrad
    import tensorgrad.nn as nn
    import tensorgrad.optim as optim

    model = build(name, Framework(tensorgrad, nn, False))

    def assign(parameter: Any, values: Any) -> None:
        parameter.data = tensorgrad.from_numpy(values)

    fill(model, assign)
    images, labels = (tensorgrad.from_numpy(values) for values in batch_of(name, batch))
    step = _step(tensorgrad, nn, optim, model, images, labels, train)
    return tensorgrad.compile(step) if compiled else step


def network_torch(name: str, train: bool, batch: int | None = None, channels_last: bool = False) -> Step:
    """The same in PyTorch, at its own thread policy."""
    import torch

    model = build(name, Framework(torch, torch.nn, True))

    def assign(parameter: Any, values: Any) -> None:
        parameter.data = torch.from_numpy(values)

    fill(model, assign)
    images, labels = (torch.from_numpy(values) for values in batch_of(name, batch))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    return _step(torch, torch.nn, torch.optim, model, images, labels, train)


def _step(library: Any, nn: Any, optim: Any, model: Any, images: Any, labels: Any, train: bool) -> Step:
    loss_of = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def train_step() -> None:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()

    def inference() -> None:
        with library.no_grad():
            model(images)

    if not train:
        model.eval()
    return train_step if train else inference
