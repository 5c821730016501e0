"""What is measured of a run while it is watched: the line of the program, time, and figures about values and gradients."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.autodiff import grad
from tensorgrad.backend import backend_of, without_warnings
from tensorgrad.dtypes import is_floating
from tensorgrad.mode import mode, no_grad
from tensorgrad.primitive import Output, Primitive
from tensorgrad.primitive.saved import saved_arrays
from tensorgrad.tensor import Tensor


def line_of_program() -> str:
    """The innermost line on the stack that is not the library's own; the networks in tensorgrad.models count as a program's.

    Written as the module's path, 'tensorgrad/models/lenet.py:60', so that it is the same on every machine.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != "tensorgrad" or module.startswith("tensorgrad.models."):
            file = os.path.basename(frame.f_code.co_filename)
            folder = "" if module == "__main__" else "/".join(module.split(".")[:-1])
            return f"{folder}/{file}:{frame.f_lineno}" if folder else f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def statistics_of(array: Any) -> dict[str, float]:
    """Figures about an array: mean, std (of all values, no correction), min, max over its finite values; the share of
    zeros; how many nan and inf.

    >>> figures = statistics_of(numpy.array([0.0, 2.0, float("nan"), 4.0]))
    >>> figures["mean"], figures["zeros"], figures["nan"]
    (2.0, 0.25, 1.0)
    """
    values = numpy.asarray(backend_of(array).to_host(array), dtype=numpy.float64)
    finite = values[numpy.isfinite(values)]
    known = finite if finite.size else numpy.full(1, numpy.nan)
    return {
        "mean": float(known.mean()),
        "std": float(known.std()),
        "min": float(known.min()),
        "max": float(known.max()),
        "zeros": float((values == 0).mean()) if values.size else 0.0,
        "nan": float(numpy.isnan(values).sum()),
        "inf": float(numpy.isinf(values).sum()),
    }


def measure_gradients(output: Any, held: list[tuple[Any, Tensor]]) -> None:
    """Note for each node the figures of the gradient of `output` (its sum, where it has several values) at its result."""
    roots = [z for z in _flat(output) if isinstance(z, Tensor) and z.tracked]
    if not roots or not held:
        return
    starts = [Tensor(backend_of(z.array).ones(z.shape, z.dtype)) for z in roots]
    wanted = [x for _, x in held]
    for (node, _), gradient in zip(held, grad(roots, wanted, starts, allow_unused=True)):
        if gradient is not None:
            node.gradient = statistics_of(gradient.array)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in _flat(item)]
    return [value]


def time_forward(primitive: Primitive, inputs: tuple[Any, ...], repeats: int) -> float:
    """Seconds that its kernel takes: the fastest of so many repetitions."""
    arrays = [x.array if isinstance(x, Tensor) else x for x in inputs]
    return _fastest(lambda: primitive.forward(*arrays), arrays, repeats)


def time_backward(primitive: Primitive, outputs: tuple[Tensor, ...], repeats: int) -> float:
    """Seconds that its rule takes in first-order backward: the fastest of so many repetitions."""
    ones = [backend_of(z.array).ones(z.shape, z.dtype) if is_floating(z.dtype) else None for z in outputs]
    cotangent = ones if isinstance(outputs[0].node, Output) else ones[0]
    recording = mode.recording
    try:
        with without_warnings(), no_grad():
            return _fastest(lambda: primitive.vjp(cotangent, *saved_arrays(primitive)), ones, repeats)
    finally:
        mode.recording = recording


def _fastest(run: Callable[[], Any], arrays: list[Any], repeats: int) -> float:
    device = next((backend_of(x) for x in arrays if x is not None and hasattr(x, "dtype")), None)
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        result = run()
        _wait(device, result)
        best = min(best, time.perf_counter() - begun)
    return best


def _wait(backend: Any, result: Any) -> None:
    """Until a device that works on its own has finished."""
    wait = getattr(backend, "synchronize", None)
    if wait is not None:
        wait()
