"""Single operations on the tape, forward and backward, against PyTorch's: what one call of each costs in all.

The same lines of code run with either library, so that they compute the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.steps import Step

#: name -> (shapes of the operands, function of the library and the operands); the gradient of the result's sum is taken.
OPERATIONS: dict[str, tuple[tuple[tuple[int, ...], ...], Callable[..., Any]]] = {
    "x + y": (((256, 1024),) * 2, lambda lib, x, y: x + y),
    "x * y": (((256, 1024),) * 2, lambda lib, x, y: x * y),
    "x + b, broadcast": (((256, 1024), (1024,)), lambda lib, x, b: x + b),
    "x / y": (((256, 1024),) * 2, lambda lib, x, y: x / y),
    "exp": (((256, 1024),), lambda lib, x: lib.exp(x)),
    "tanh": (((256, 1024),), lambda lib, x: lib.tanh(x)),
    "sigmoid": (((256, 1024),), lambda lib, x: lib.sigmoid(x)),
    "relu": (((256, 1024),), lambda lib, x: lib.relu(x)),
    "sum over a dimension": (((256, 1024),), lambda lib, x: x.sum(1)),
    "mean over a dimension": (((256, 1024),), lambda lib, x: x.mean(0)),
    "max over a dimension": (((256, 1024),), lambda lib, x: lib.amax(x, 1)),
    "log_softmax": (((256, 1024),), lambda lib, x: lib.log_softmax(x, 1)),
    "matmul 256": (((256, 256),) * 2, lambda lib, x, y: x @ y),
    "matmul 16": (((16, 16),) * 2, lambda lib, x, y: x @ y),
    "transpose and reshape": (((256, 1024),), lambda lib, x: x.T.reshape(-1)),
    "cat": (((256, 1024),) * 2, lambda lib, x, y: lib.cat([x, y], 1)),
    "x[:, 100:200]": (((256, 1024),), lambda lib, x: x[:, 100:200]),
}


def _operation(library: Any, from_numpy: Callable[[Any], Any], name: str) -> Step:
    import numpy

    shapes, function = OPERATIONS[name]
    random = numpy.random.default_rng(0)
    operands = [from_numpy(random.random(shape, dtype=numpy.float32) + 0.5).requires_grad_() for shape in shapes]

    def step() -> None:
        function(library, *operands).sum().backward()
        for x in operands:
            x.grad = None

    return step


def ours(name: str) -> Step:
    """In tensorgrad."""
    import tensorgrad

    return _operation(tensorgrad, tensorgrad.from_numpy, name)


def theirs(name: str) -> Step:
    """In PyTorch."""
    import torch

    return _operation(torch, torch.from_numpy, name)
