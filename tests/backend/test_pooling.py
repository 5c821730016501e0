"""Pooling kernels: against the loops of oracles.py, against each other as adjoints, and against PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
import oracles
import pytest
from kernels import KERNELS, LAYOUTS, ForNumpy, kernels_named

from tensorgrad.backend import numpy_pooling
from tensorgrad.backend.parallel import set_thread_count, thread_count
from tensorgrad.errors import ShapeError

NONE = (0, 0, 0, 0)


class Pool(NamedTuple):
    x: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = NONE
    dilation: tuple[int, int] = (1, 1)
    ceil_mode: bool = False

    @property
    def windows(self) -> tuple[Any, ...]:
        return self.kernel, self.stride, self.padding, self.dilation

    @property
    def outputs(self) -> tuple[int, int]:
        size: tuple[int, int] = oracles.output_size(self.x, *self.windows, self.ceil_mode)
        return size


POOLS = {
    "halves": Pool((2, 3, 6, 8), (2, 2), (2, 2)),
    "no images": Pool((0, 3, 6, 8), (2, 2), (2, 2)),
    "one channel": Pool((3, 1, 5, 4), (2, 2), (2, 2)),
    "overlapping": Pool((2, 3, 7, 7), (3, 3), (2, 2)),
    "overlapping, padded": Pool((2, 3, 8, 7), (3, 3), (2, 2), (1, 1, 1, 1)),
    "stride 1": Pool((2, 3, 5, 6), (3, 3), (1, 1), (1, 1, 1, 1)),
    "overlapping in rows only": Pool((2, 3, 7, 8), (3, 2), (1, 2)),
    "padded unevenly": Pool((2, 3, 7, 6), (3, 4), (2, 2), (0, 1, 2, 1)),
    "stride leaves a rest": Pool((2, 3, 8, 10), (2, 3), (3, 3)),
    "stride larger than the window": Pool((2, 3, 9, 9), (2, 2), (4, 3)),
    "not square": Pool((2, 3, 9, 6), (3, 2), (2, 1), (1, 1, 0, 1)),
    "ceil": Pool((2, 3, 5, 7), (2, 2), (2, 2), ceil_mode=True),
    "ceil, padded": Pool((2, 3, 6, 6), (3, 3), (2, 2), (1, 1, 1, 1), ceil_mode=True),
    "ceil, last window dropped": Pool((2, 3, 5, 4), (2, 2), (3, 3), (1, 1, 1, 1), ceil_mode=True),
    "as large as the input": Pool((2, 5, 4, 3), (4, 3), (1, 1)),
    "single elements": Pool((2, 3, 4, 5), (1, 1), (1, 1)),
    "many taps": Pool((1, 2, 19, 20), (17, 16), (2, 4)),
}

DILATED = {
    "dilated": Pool((2, 3, 8, 9), (3, 2), (2, 2), dilation=(2, 3)),
    "dilated, padded, ceil": Pool((2, 3, 8, 9), (3, 3), (2, 2), (2, 1, 2, 0), (2, 2), True),
}

#: With dilation a window can have no element inside the input at all.
STRADDLING = Pool((1, 2, 3, 3), (2, 2), (1, 1), (2, 2, 2, 2), (4, 3))

each_pool = pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
each_max_pool = pytest.mark.parametrize("pool", [*POOLS.values(), *DILATED.values()], ids=[*POOLS, *DILATED])


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Any:
    return kernels_named(request.param)


def draw(shape: tuple[int, ...], dtype: Any = numpy.float64, seed: int = 3) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(dtype)


def max_pool(kernels: Any, pool: Pool, x: numpy.ndarray) -> tuple[numpy.ndarray, Any, numpy.ndarray]:
    """(z, winners on the device, flat indices)."""
    z, winners = kernels.max_pool2d(kernels.from_host(x), *pool.windows, pool.ceil_mode)
    indices = kernels.max_pool2d_indices(winners, pool.x[2:], *pool.windows)
    return kernels.to_host(z), winners, kernels.to_host(indices)


@each_max_pool
def test_max_equals_the_loops(kernels: Any, pool: Pool):
    x = draw(pool.x)
    z, winners, indices = max_pool(kernels, pool, x)
    wanted_z, wanted_indices = oracles.max_pool2d(x, *pool.windows, pool.ceil_mode)
    numpy.testing.assert_array_equal(z, wanted_z)
    numpy.testing.assert_array_equal(indices, wanted_indices)
    assert z.dtype == x.dtype and indices.dtype == numpy.int64
    assert winners.dtype == (numpy.uint8 if pool is not POOLS["many taps"] else numpy.int32)


@each_max_pool
def test_max_of_equal_values_is_the_first(kernels: Any, pool: Pool):
    """Values 0, 1 and 2 tie in nearly every window; then all are equal; then all are -inf."""
    ties = numpy.random.default_rng(5).integers(0, 3, pool.x).astype(numpy.float64)
    for x in (ties, numpy.ones(pool.x), numpy.full(pool.x, -numpy.inf)):
        z, _, indices = max_pool(kernels, pool, x)
        wanted_z, wanted_indices = oracles.max_pool2d(x, *pool.windows, pool.ceil_mode)
        numpy.testing.assert_array_equal(z, wanted_z)
        numpy.testing.assert_array_equal(indices, wanted_indices)


@pytest.mark.parametrize("name", ["overlapping, padded", "stride 1", "halves", "many taps"])
def test_nan_wins_the_last_of_several(kernels: Any, name: str):
    pool = POOLS[name]
    x = draw(pool.x)
    if name == "many taps":
        x[0, 0, 0, 1], x[0, 0, 1, 2], x[0, 1, 18, 19] = numpy.nan, numpy.nan, numpy.inf
    else:
        x[draw(pool.x, seed=4) > 1] = numpy.nan
        x[draw(pool.x, seed=5) > 1] = numpy.inf
    z, _, indices = max_pool(kernels, pool, x)
    wanted_z, wanted_indices = oracles.max_pool2d(x, *pool.windows, pool.ceil_mode)
    assert numpy.isnan(wanted_z).any() and numpy.isinf(wanted_z).any()
    numpy.testing.assert_array_equal(z, wanted_z)
    numpy.testing.assert_array_equal(indices, wanted_indices)


def test_a_window_without_elements_is_minus_infinity_and_has_no_gradient(kernels: Any):
    pool = STRADDLING
    x = draw(pool.x)
    z, winners, _ = max_pool(kernels, pool, x)
    # windows begin at -2 .. 0 by rows and -2 .. 1 by columns; the second element is 4 rows, 3 columns further
    rows = [[2], [], [0]]
    columns = [[1], [2], [0], [1]]
    wanted = numpy.full(z.shape, -numpy.inf)
    for i, j in numpy.ndindex(3, 4):
        for h in rows[i]:
            wanted[:, :, i, j] = numpy.maximum(wanted[:, :, i, j], x[:, :, h, columns[j]].max(axis=-1))
    numpy.testing.assert_array_equal(z, wanted)
    dx = kernels.max_pool2d_scatter(kernels.from_host(numpy.ones(z.shape)), winners, pool.x[2:], *pool.windows)
    assert kernels.to_host(dx).sum() == numpy.isfinite(wanted).sum()


@each_max_pool
def test_scatter_and_gather_equal_the_loops_and_are_adjoint(kernels: Any, pool: Pool):
    x, dx = draw(pool.x), draw(pool.x, seed=8)
    _, winners, indices = max_pool(kernels, pool, x)
    dz = draw(indices.shape, seed=9)
    scattered = kernels.max_pool2d_scatter(kernels.from_host(dz), winners, pool.x[2:], *pool.windows)
    gathered = kernels.max_pool2d_gather(kernels.from_host(dx), winners, *pool.windows)
    scattered, gathered = kernels.to_host(scattered), kernels.to_host(gathered)
    numpy.testing.assert_allclose(scattered, oracles.max_pool2d_scatter(dz, indices, pool.x[2:]), atol=1e-14)
    numpy.testing.assert_array_equal(gathered, oracles.max_pool2d_gather(dx, indices))
    assert abs(numpy.vdot(scattered, dx) - numpy.vdot(dz, gathered)) < 1e-12


def test_an_infinite_gradient_stays_with_the_winner(kernels: Any):
    """Nothing is masked by a product with 0, which would make inf into nan."""
    pool = POOLS["overlapping, padded"]
    x = draw(pool.x)
    _, winners, indices = max_pool(kernels, pool, x)
    dz = numpy.zeros(indices.shape)
    dz[0, 0, 1, 1], dz[1, 2, 0, 0] = numpy.inf, numpy.nan
    dx = kernels.to_host(kernels.max_pool2d_scatter(kernels.from_host(dz), winners, pool.x[2:], *pool.windows))
    numpy.testing.assert_array_equal(dx, oracles.max_pool2d_scatter(dz, indices, pool.x[2:]))
    assert numpy.isinf(dx).sum() == 1 and numpy.isnan(dx).sum() == 1
    dx = numpy.where(numpy.arange(dx.size).reshape(dx.shape) % 5, dx, numpy.inf)
    dz = kernels.to_host(kernels.max_pool2d_gather(kernels.from_host(dx), winners, *pool.windows))
    numpy.testing.assert_array_equal(dz, oracles.max_pool2d_gather(dx, indices))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("layout_of_gradient", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("name", ["overlapping, padded", "ceil, padded", "one channel", "no images"])
def test_max_of_any_strides(name: str, layout: Any, layout_of_gradient: Any):
    pool, kernels = POOLS[name], ForNumpy()
    x, dx = draw(pool.x), draw(pool.x, seed=8)
    z, winners, indices = max_pool(kernels, pool, layout(x))
    wanted_z, wanted_indices = oracles.max_pool2d(x, *pool.windows, pool.ceil_mode)
    numpy.testing.assert_array_equal(z, wanted_z)
    numpy.testing.assert_array_equal(indices, wanted_indices)
    dz = draw(z.shape, seed=9)
    scattered = kernels.max_pool2d_scatter(layout_of_gradient(dz), winners, pool.x[2:], *pool.windows)
    numpy.testing.assert_allclose(scattered, oracles.max_pool2d_scatter(dz, indices, pool.x[2:]), atol=1e-14)
    gathered = kernels.max_pool2d_gather(layout_of_gradient(dx), winners, *pool.windows)
    numpy.testing.assert_array_equal(gathered, oracles.max_pool2d_gather(dx, indices))


COUNTING = [(True, None), (False, None), (True, 7), (False, -2)]


@pytest.mark.parametrize(("count_include_pad", "divisor"), COUNTING)
@each_pool
def test_average_equals_the_loops_and_its_gradient_is_adjoint(
    kernels: Any, pool: Pool, count_include_pad: bool, divisor: int | None
):
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, count_include_pad, divisor
    x = draw(pool.x)
    z = kernels.to_host(kernels.avg_pool2d(kernels.from_host(x), *settings))
    dz = draw(z.shape, seed=9)
    dx = kernels.to_host(kernels.avg_pool2d_input_grad(kernels.from_host(dz), pool.x[2:], *settings))
    numpy.testing.assert_allclose(z, oracles.avg_pool2d(x, *settings), atol=1e-13)
    numpy.testing.assert_allclose(dx, oracles.avg_pool2d_input_grad(dz, pool.x[2:], *settings), atol=1e-13)
    assert z.dtype == dx.dtype == x.dtype
    assert abs(numpy.vdot(dz, z) - numpy.vdot(dx, x)) < 1e-12


def test_average_divisors_worked_by_hand(kernels: Any):
    """What hangs over the end in ceil_mode never counts; padding counts only if asked."""
    x = kernels.from_host(numpy.array([1.0, 2, 3, 4, 5]).reshape(1, 1, 1, 5))
    z = kernels.avg_pool2d(x, (1, 2), (1, 2), NONE, True, True, None)
    numpy.testing.assert_array_equal(kernels.to_host(z), [[[[1.5, 3.5, 5]]]])
    ones = kernels.from_host(numpy.ones((1, 1, 6, 6)))
    z = kernels.to_host(kernels.avg_pool2d(ones, (3, 3), (2, 2), (1, 1, 1, 1), True, True, None))[0, 0]
    # windows begin at -1, 1, 3, 5; padded, the input ends at 7, so the last is 2 long, 1 of it inside
    numpy.testing.assert_allclose(z[0], [4 / 9, 6 / 9, 6 / 9, 2 / 6])
    numpy.testing.assert_allclose(z[3, 1:], [3 / 6, 3 / 6, 1 / 4])
    z = kernels.to_host(kernels.avg_pool2d(ones, (3, 3), (2, 2), (1, 1, 1, 1), True, False, None))
    numpy.testing.assert_allclose(z, 1)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_pool
def test_average_of_any_strides(pool: Pool, layout: Any):
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, False, None
    x = draw(pool.x)
    z = ForNumpy().avg_pool2d(layout(x), *settings)
    numpy.testing.assert_allclose(z, oracles.avg_pool2d(x, *settings), atol=1e-13)
    dz = draw(z.shape, seed=9)
    dx = ForNumpy().avg_pool2d_input_grad(layout(dz), pool.x[2:], *settings)
    numpy.testing.assert_allclose(dx, oracles.avg_pool2d_input_grad(dz, pool.x[2:], *settings), atol=1e-13)


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float32])
def test_keeps_the_dtype(kernels: Any, dtype: Any):
    pool = POOLS["overlapping, padded"]
    x = draw(pool.x, dtype)
    z, winners, indices = max_pool(kernels, pool, x)
    dz = kernels.from_host(draw(z.shape, dtype))
    dx = kernels.to_host(kernels.max_pool2d_scatter(dz, winners, pool.x[2:], *pool.windows))
    assert z.dtype == dx.dtype == dtype
    assert kernels.max_pool2d_gather(kernels.from_host(x), winners, *pool.windows).dtype == dtype
    numpy.testing.assert_array_equal(z, oracles.max_pool2d(x, *pool.windows, pool.ceil_mode)[0])
    wanted = oracles.max_pool2d_scatter(kernels.to_host(dz), indices, pool.x[2:])
    numpy.testing.assert_allclose(dx, wanted, rtol=4 * numpy.finfo(dtype).eps, atol=4 * numpy.finfo(dtype).eps)
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, True, None
    average = kernels.to_host(kernels.avg_pool2d(kernels.from_host(x), *settings))
    spread = kernels.to_host(kernels.avg_pool2d_input_grad(dz, pool.x[2:], *settings))
    assert average.dtype == spread.dtype == dtype
    numpy.testing.assert_allclose(average, oracles.avg_pool2d(x, *settings), atol=numpy.finfo(dtype).eps)
    wanted = oracles.avg_pool2d_input_grad(kernels.to_host(dz), pool.x[2:], *settings)
    numpy.testing.assert_allclose(spread, wanted, atol=numpy.finfo(dtype).eps)


def test_average_of_float16_is_summed_in_float32(kernels: Any):
    """The sum of 1024 times 100 is over float16's largest number, the mean is not."""
    x = kernels.from_host(numpy.full((1, 1, 32, 32), 100, numpy.float16))
    assert kernels.to_host(kernels.avg_pool2d(x, (32, 32), (1, 1), NONE, False, True, None)).item() == 100


@each_max_pool
def test_blocks_and_threads(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    """One image a block, and two or eight threads, give the same bits as all in one."""
    pool = pool._replace(x=(5, *pool.x[1:]))
    x, dx = draw(pool.x), draw(pool.x, seed=8)
    dz = draw((*pool.x[:2], *pool.outputs), seed=9)
    average = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, False, None

    def all_kernels() -> list[numpy.ndarray]:
        kernels = ForNumpy()
        z, winners = kernels.max_pool2d(x, *pool.windows, pool.ceil_mode)
        found = [
            z,
            winners,
            kernels.max_pool2d_scatter(dz, winners, pool.x[2:], *pool.windows),
            kernels.max_pool2d_gather(dx, winners, *pool.windows),
        ]
        if pool.dilation == (1, 1):
            found += [kernels.avg_pool2d(x, *average), kernels.avg_pool2d_input_grad(dz, pool.x[2:], *average)]
        return found

    wanted = all_kernels()
    monkeypatch.setattr(numpy_pooling, "BLOCK_ELEMENTS", 1)
    monkeypatch.setattr(numpy_pooling, "SHARED_ELEMENTS", 0)
    before = thread_count()
    try:
        for threads in (1, 2, 8):
            set_thread_count(threads)
            for ours, theirs in zip(all_kernels(), wanted):
                numpy.testing.assert_array_equal(ours, theirs)
    finally:
        set_thread_count(before)


def test_inputs_are_left_alone(kernels: Any):
    pool = POOLS["stride 1"]
    x, dz = draw(pool.x), draw(pool.x, seed=9)
    copies = x.copy(), dz.copy()
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, True, None
    on_device = kernels.from_host(x), kernels.from_host(dz)
    _, winners = kernels.max_pool2d(on_device[0], *pool.windows, pool.ceil_mode)
    copy_of_winners = kernels.to_host(winners).copy()
    kernels.max_pool2d_scatter(on_device[1], winners, pool.x[2:], *pool.windows)
    kernels.max_pool2d_gather(on_device[0], winners, *pool.windows)
    kernels.avg_pool2d(on_device[0], *settings)
    kernels.avg_pool2d_input_grad(on_device[1], pool.x[2:], *settings)
    numpy.testing.assert_array_equal(kernels.to_host(winners), copy_of_winners)
    for array, copy in zip(on_device, copies):
        numpy.testing.assert_array_equal(kernels.to_host(array), copy)


REFUSED = [
    (Pool((1, 1, 4, 4), (2, 2), (1, 1), (2, 0, 0, 0)), r"at most half of the window's span \(2, 2\)"),
    (Pool((1, 1, 4, 4), (3, 3), (1, 1), (1, 1, 1, 2)), r"at most half of the window's span \(3, 3\)"),
    (Pool((1, 1, 4, 4), (5, 5), (1, 1)), "does not fit"),
    (Pool((1, 1, 4, 4), (2, 2), (1, 0)), "stride"),
    (Pool((1, 1, 4, 4), (0, 2), (1, 1)), "kernel_size"),
    (Pool((1, 4, 4), (2, 2), (1, 1)), r"needs an input \(N, C, H, W\)"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("pool", "message"), REFUSED)
def test_refuses_what_does_not_fit(kernels: Any, pool: Pool, message: str):
    x = kernels.from_host(numpy.zeros(pool.x))
    with pytest.raises(ShapeError, match=f"max_pool2d: .*{message}"):
        kernels.max_pool2d(x, *pool.windows, False)
    with pytest.raises(ShapeError, match=f"avg_pool2d: .*{message}"):
        kernels.avg_pool2d(x, pool.kernel, pool.stride, pool.padding, False, True, None)


def test_refuses_a_divisor_of_zero(kernels: Any):
    with pytest.raises(ShapeError, match="divisor_override is 0"):
        kernels.avg_pool2d(kernels.from_host(numpy.zeros((1, 1, 2, 2))), (2, 2), (1, 1), NONE, False, True, 0)


SYMMETRIC = {
    name: pool
    for name, pool in {**POOLS, **DILATED}.items()
    if pool.padding[0] == pool.padding[1] and pool.padding[2] == pool.padding[3]
}


@pytest.mark.oracle
@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
@pytest.mark.parametrize("pool", SYMMETRIC.values(), ids=SYMMETRIC.keys())
def test_max_equals_pytorch(kernels: Any, pool: Pool, values: str):
    torch = pytest.importorskip("torch")
    x = draw(pool.x)
    if values == "ties":
        x = x.round()
    if values == "nan":
        x[draw(pool.x, seed=4) > 1] = numpy.nan
    tx = torch.from_numpy(x).requires_grad_()
    padding = pool.padding[0], pool.padding[2]
    tz, indices = torch.nn.functional.max_pool2d(
        tx, pool.kernel, pool.stride, padding, pool.dilation, pool.ceil_mode, return_indices=True
    )
    z, winners, flat = max_pool(kernels, pool, x)
    numpy.testing.assert_array_equal(z, tz.detach().numpy())
    numpy.testing.assert_array_equal(flat, indices.numpy())
    dz = draw(z.shape, seed=9)
    (tdx,) = torch.autograd.grad(tz, tx, torch.from_numpy(dz))
    dx = kernels.max_pool2d_scatter(kernels.from_host(dz), winners, pool.x[2:], *pool.windows)
    numpy.testing.assert_allclose(kernels.to_host(dx), tdx.numpy(), atol=1e-14)


@pytest.mark.oracle
@pytest.mark.parametrize(("count_include_pad", "divisor"), COUNTING)
@pytest.mark.parametrize("pool", [pool for pool in SYMMETRIC.values() if pool.dilation == (1, 1)], ids=str)
def test_average_equals_pytorch(kernels: Any, pool: Pool, count_include_pad: bool, divisor: int | None):
    torch = pytest.importorskip("torch")
    x = draw(pool.x)
    tx = torch.from_numpy(x).requires_grad_()
    padding = pool.padding[0], pool.padding[2]
    tz = torch.nn.functional.avg_pool2d(
        tx, pool.kernel, pool.stride, padding, pool.ceil_mode, count_include_pad, divisor
    )
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, count_include_pad, divisor
    z = kernels.to_host(kernels.avg_pool2d(kernels.from_host(x), *settings))
    numpy.testing.assert_allclose(z, tz.detach().numpy(), atol=1e-13)
    dz = draw(z.shape, seed=9)
    (tdx,) = torch.autograd.grad(tz, tx, torch.from_numpy(dz))
    dx = kernels.to_host(kernels.avg_pool2d_input_grad(kernels.from_host(dz), pool.x[2:], *settings))
    numpy.testing.assert_allclose(dx, tdx.numpy(), atol=1e-13)
