"""The optimisers' kernels: in blocks and threads they compute what the formula computes at once, to the last bit, or to the last
digit where vector registers compute it in one pass."""

from __future__ import annotations

import numpy as np
import pytest

from tensorgrad.backend import backend_for, compiled, parallel
from tensorgrad.backend.update import BLOCK, UpdateKernels

FORMULA = UpdateKernels()
FORMULA.xp = np
CPU = backend_for("cpu")

SGD = [
    # lr, momentum, factor, decay, nesterov, maximize
    (0.1, 0.0, 1.0, 0.0, False, False),
    (0.1, 0.9, 1.0, 0.0, False, False),
    (0.1, 0.9, 0.7, 0.01, False, True),
    (0.1, 0.9, 1.0, 0.01, True, False),
]
ADAM = [
    # lr, betas, root, eps, decay, decoupled, maximize
    (0.01, (0.9, 0.999), 1.5, 1e-8, 0.0, False, False),
    (0.01, (0.8, 0.95), 1.2, 1e-3, 0.1, False, True),
    (0.01, (0.9, 0.999), 1.5, 1e-8, 0.999, True, False),
]
ORDERS = {
    "as-it-is": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "every-second": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.fixture(params=[1, 3])
def threads(request):
    before = parallel.thread_count()
    parallel.set_thread_count(request.param)
    yield request.param
    parallel.set_thread_count(before)


def arrays(count, shape, dtype):
    random = np.random.default_rng(0)
    return [np.abs(random.standard_normal(shape)).astype(dtype) for _ in range(count)]


def both(kernel, given, settings, order):
    """What the backend and the formula make of equal copies of the arrays, laid out alike."""
    results = []
    for kernels in (CPU, FORMULA):
        own = [None if x is None else ORDERS[order](x.copy()) for x in given]
        getattr(kernels, kernel)(*own, *settings)
        results.append(own)
    return results


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "shape", [(0, 3), (1, 1), (7, 5), (BLOCK, 1), (BLOCK + 1, 1), (37, 10 * BLOCK // 20 + 1)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_change_nothing(shape, order, dtype, threads):
    in_registers = dtype == "float32" and compiled.numba_works() and np.prod(shape) >= compiled.FAST_ELEMENTS

    def compare(x, y):
        if x is None:
            assert y is None
        elif in_registers:
            np.testing.assert_allclose(x, y, rtol=2e-6, atol=2e-7, strict=True)
        else:
            np.testing.assert_array_equal(x, y, strict=True)

    for settings in SGD:
        w, dw, velocity = arrays(3, shape, dtype)
        blocked, plain = both("sgd_update", (w, dw, velocity if settings[1] else None), settings, order)
        for x, y in zip(blocked, plain):
            compare(x, y)
    for settings in ADAM:
        w, dw, m, v, largest = arrays(5, shape, dtype)
        for given in ((w, dw, m, v, None), (w, dw, m, v, largest)):
            blocked, plain = both("adam_update", given, settings, order)
            for x, y in zip(blocked, plain):
                compare(x, y)


def test_the_gradient_stays_as_it_is(threads):
    w, dw, velocity = arrays(3, (300, 200), "float32")
    before = dw.copy()
    CPU.sgd_update(w, dw, velocity, *SGD[2])
    np.testing.assert_array_equal(dw, before)


def test_by_hand():
    w, dw, v = np.array([1.0, 2.0]), np.array([0.5, 1.0]), np.array([2.0, 0.0])
    CPU.sgd_update(w, dw, v, 0.5, 0.5, 2.0, 0.5, False, False)  # g = dw + 0.5 w, v = 0.5 v + 2 g
    assert v.tolist() == [3.0, 4.0] and w.tolist() == [-0.5, 0.0]
    w, dw, m, v = np.array([1.0]), np.array([2.0]), np.array([0.0]), np.array([0.0])
    CPU.adam_update(w, dw, m, v, None, 1.0, (0.5, 0.75), 2.0, 1.0, 0.5, True, False)
    # m = 1, v = 1, w = 0.5 - 1 / (2 sqrt(1) + 1)
    assert m.tolist() == [1.0] and v.tolist() == [1.0]
    np.testing.assert_allclose(w, 0.5 - 1 / 3, rtol=1e-15)
