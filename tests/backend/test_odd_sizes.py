"""Sizes that fill no register, primes, one, none, and memory of any strides: float32 on the compiled kernels beside float64 on NumPy's
own, values and gradients. What they touch besides is looked at by test_guarded.py, which runs this file on guarded memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn.functional as F
from tensorgrad.backend import compiled, fast, fast_lines

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)

SIZES = (0, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 37, 67)
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda x: x,
    "the other way round": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "every second": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "axes in reverse": lambda x: np.ascontiguousarray(x.T).T,
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 2 else x,
    "one number on": lambda x: np.concatenate([x.reshape(-1)[:1], x.reshape(-1)])[min(1, x.size) :].reshape(x.shape),
}

#: name -> (function, the shapes of what it takes, for a size n)
Shapes = Callable[[int], tuple[tuple[int, ...], ...]]
OPERATIONS: dict[str, tuple[Callable[..., Any], Shapes]] = {
    **{
        name: (getattr(F, name), lambda n: ((3, n),))
        for name in (
            "relu leaky_relu elu gelu silu mish softplus logsigmoid hardtanh hardsigmoid hardswish softshrink".split()
        )
    },
    **{name: (getattr(tg, name), lambda n: ((3, n),)) for name in ("sigmoid", "tanh", "exp", "erf", "erfc", "abs")},
    "clamp": (lambda x: x.clamp(-0.5, 0.7), lambda n: ((n,),)),
    "prelu": (F.prelu, lambda n: ((3, max(n, 1), 2), (max(n, 1),))),
    "prelu of one": (F.prelu, lambda n: ((3, n), (1,))),
    "sum": (lambda x, y: x + y, lambda n: ((2, n, 3), (2, n, 3))),
    "sum with channels": (lambda x, y: x + y, lambda n: ((2, n, 3, 5), (n, 1, 1))),
    "channels' sums": (lambda x: x.sum((0, 2, 3)), lambda n: ((2, n, 3, 5),)),
    "softmax": (lambda x: F.softmax(x, -1), lambda n: ((3, n),)),
    "log softmax": (lambda x: F.log_softmax(x, -1), lambda n: ((3, n),)),
    "softmax of columns": (lambda x: F.softmax(x, 0), lambda n: ((3, n),)),
    "layer norm": (lambda x, w, b: F.layer_norm(x, w.shape, w, b), lambda n: ((3, n), (n,), (n,))),
    "rms norm": (lambda x, w: F.rms_norm(x, w.shape, w), lambda n: ((3, n), (n,))),
    "group norm": (lambda x, w, b: F.group_norm(x, 2, w, b), lambda n: ((2, 4, n, 3), (4,), (4,))),
    "batch norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        lambda n: ((3, max(n, 1), 5, 3), (max(n, 1),), (max(n, 1),)),
    ),
    "product": (lambda x, y: x @ y, lambda n: ((n, 19), (19, 7))),
    "product of n": (lambda x, y: x @ y, lambda n: ((5, n), (n, 11))),
    "product to n": (lambda x, y: x @ y, lambda n: ((6, 9), (9, n))),
    "linear": (F.linear, lambda n: ((4, 9), (n, 9), (n,))),
    "linear from n": (F.linear, lambda n: ((4, n), (5, n), (5,))),
    "convolution": (lambda x, w: F.conv2d(x, w, padding=1), lambda n: ((2, max(n, 1), 5, 7), (6, max(n, 1), 3, 3))),
    "convolution to n": (lambda x, w: F.conv2d(x, w, padding=1), lambda n: ((2, 3, 5, 7), (max(n, 1), 3, 3, 3))),
    "convolution, stride": (
        lambda x, w: F.conv2d(x, w, stride=2),
        lambda n: ((1, max(n, 1), 6, 5), (4, max(n, 1), 3, 2)),
    ),
    "convolution of a row": (lambda x, w: F.conv2d(x, w), lambda n: ((1, 2, 3, n + 3), (5, 2, 3, 3))),
    "convolution of points": (F.conv2d, lambda n: ((2, max(n, 1), 3, 3), (5, max(n, 1), 1, 1))),
    "convolution of n images": (F.conv2d, lambda n: ((n, 2, 5, 4), (3, 2, 3, 3))),
    "depthwise": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=len(w)),
        lambda n: ((2, max(n, 1), 5, 4), (max(n, 1), 1, 3, 3)),
    ),
    "transposed": (F.conv_transpose2d, lambda n: ((2, max(n, 1), 3, 4), (max(n, 1), 3, 2, 2))),
    "max pooling": (lambda x: F.max_pool2d(x, 3, 2, 1), lambda n: ((2, max(n, 1), 7, 5),)),
    "average pooling": (lambda x: F.avg_pool2d(x, 2), lambda n: ((2, max(n, 1), 7, 5),)),
    "running sums": (lambda x: x.cumsum(0), lambda n: ((n, 3),)),
    "running products": (lambda x: x.cumprod(-1), lambda n: ((3, n),)),
    "joined": (lambda x, y: tg.cat([x, y], 1), lambda n: ((2, n, 3, 2), (2, 3, 3, 2))),
    "rows": (lambda x: x[[0, 2, 0]], lambda n: ((3, n),)),
    "taken": (lambda x: x.gather(1, tg.tensor(np.arange(x.shape[1])[None, ::-1].copy())), lambda n: ((1, n),)),
    "loss": (lambda x: F.cross_entropy(x, tg.tensor(np.zeros(5, np.int64))), lambda n: ((5, n + 1),)),
    "grid": (lambda x, g: F.grid_sample(x, g.tanh(), align_corners=False), lambda n: ((1, 3, 4, 5), (1, n, 2, 2))),
}


@pytest.fixture(autouse=True)
def kernels_for_arrays_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    monkeypatch.setattr(fast, "FEWEST", dict.fromkeys(fast.FEWEST, 0))
    monkeypatch.setattr(fast, "LARGE", 0)
    monkeypatch.setattr(fast, "ALONE_IN_BLAS", 0)
    monkeypatch.setattr(fast_lines, "FEWEST", 0)


def results(function: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The value and the gradient of each array."""
    xs = [tg.Tensor(x, requires_grad=True) for x in arrays]
    z = function(*xs)
    z.backward(tg.Tensor(np.cos(np.arange(z.numel(), dtype=np.float64)).astype(arrays[0].dtype).reshape(z.shape)))
    return [z.detach().numpy(), *(x.grad.numpy() for x in xs)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_odd_sizes(name: str, size: int):
    function, shapes = OPERATIONS[name]
    random = np.random.default_rng(size)
    exact = [random.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in shapes(size)]
    with pytest.MonkeyPatch.context() as alone:  # float64 on NumPy's kernels
        alone.setattr(compiled, "numba_works", lambda: False)
        expected = results(function, exact)
    for layout, order in LAYOUTS.items():
        found = results(function, [order(x.astype(np.float32)) for x in exact])
        for place, (ours, wanted) in enumerate(zip(found, expected)):
            assert ours.dtype == np.float32 and ours.shape == wanted.shape
            scale = max(1.0, float(np.abs(wanted).max(initial=0)))
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=3e-5 * scale, err_msg=f"{layout}, result {place}")
