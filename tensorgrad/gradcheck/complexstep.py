"""The complex step: f'(x) v = Im f(x + i h v) / h. No difference is taken, so h may be 1e-20 and nothing is rounded away.

Squire & Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions", SIAM Review 40(1), 1998. It is right for
functions that are analytic as they are computed: no abs, comparison, maximum, cast. Tensors hold real numbers only, so the
function is run once, its primitives are noted, and their kernels are run again on complex arrays.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy

from tensorgrad.backend import without_warnings
from tensorgrad.gradcheck.report import GradcheckUsageError
from tensorgrad.gradcheck.target import Target
from tensorgrad.mode import enable_grad
from tensorgrad.primitive import Primitive, observers
from tensorgrad.tensor import Tensor

Array = numpy.ndarray

STEP = 1e-20


class Program:
    """The primitives that a target applies at its point, in order; they run again on other arrays."""

    def __init__(self, target: Target) -> None:
        self.calls: list[tuple[Primitive, tuple[Any, ...], tuple[Tensor, ...]]] = []
        self.inputs = target.leaves()

        def observe(primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
            self.calls.append((primitive, inputs, outputs))

        observers.append(observe)
        try:
            with enable_grad():
                self.outputs = target.call(*self.inputs)
        finally:
            observers.remove(observe)

    def run(self, arrays: list[Array]) -> list[Array]:
        """The outputs where the inputs are these arrays."""
        # by identity of the arrays, which a detached Tensor shares; self.calls keeps them alive, so that no two have the same
        values = {id(x.array): array for x, array in zip(self.inputs, arrays)}
        for primitive, inputs, outputs in self.calls:
            given = [values.get(id(x.array), x.array) if isinstance(x, Tensor) else x for x in inputs]
            results = primitive.again(*given)
            for z, array in zip(outputs, results if isinstance(results, tuple) else (results,)):
                values[id(z.array)] = array
        return [values.get(id(z.array), z.array) for z in self.outputs]


def complex_slope(target: Target, points: list[Array], directions: list[Array | None]) -> Array:
    """The slope of all outputs, one vector, along directions in the inputs (None for those that stay)."""
    arrays = [x + 0j if v is None else x + 1j * STEP * v for x, v in zip(points, directions)]
    try:
        with without_warnings(), warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns where an imaginary part is thrown away
            found = Program(target).run(arrays)
        return numpy.concatenate([numpy.imag(z).reshape(-1) / STEP for z in found])
    except Exception as error:
        raise GradcheckUsageError(
            f"gradcheck: step='complex': the function's kernels do not take complex arrays ({error}); use step='auto'"
        ) from error
