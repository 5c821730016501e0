"""Normalisation and softmax kernels: against the loops of oracles.py, at the edges of float32, and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy
import oracles
import pytest
from kernels import KERNELS, LAYOUTS, ForNumpy, Shared, channels_last, kernels_named

from tensorgrad.backend import numpy_normalization
from tensorgrad.backend.parallel import set_thread_count, thread_count

EPS = 1e-5

SHAPES = {
    "images": (3, 4, 5, 6),
    "one channel": (3, 1, 2, 4),
    "one image": (1, 4, 3, 3),
    "points without extent": (5, 4, 1, 1),
    "vectors": (7, 5),
    "sequences": (3, 4, 6),
    "volumes": (2, 3, 2, 3, 4),
    "prime sizes": (1, 3, 7, 13),
}

each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
affine = pytest.mark.parametrize(("weighted", "biased"), [(True, True), (False, False), (True, False), (False, True)])


@pytest.fixture(params=[*KERNELS, "numpy, few numbers"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of few numbers the NumPy kernels take the plain formulas; here blocks, too."""
    if request.param == "numpy, few numbers":
        return kernels_named("numpy")
    monkeypatch.setattr(numpy_normalization, "FEW", 0)
    return kernels_named(request.param)


def draw(shape: tuple[int, ...], seed: int = 3, dtype: Any = numpy.float64) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(dtype)


def on_device(kernels: Any, *arrays: Any) -> list[Any]:
    return [None if array is None else kernels.from_host(array) for array in arrays]


def back(kernels: Any, arrays: Any) -> list[numpy.ndarray]:
    return [kernels.to_host(array) for array in arrays]


@affine
@each_shape
def test_batch_norm_equals_the_loops(kernels: Any, shape: tuple[int, ...], weighted: bool, biased: bool):
    x = 2 * draw(shape) + 1
    weight = draw((shape[1],), 4) if weighted else None
    bias = draw((shape[1],), 5) if biased else None
    found = back(kernels, kernels.batch_norm(*on_device(kernels, x, weight, bias), EPS))
    for name, ours, theirs in zip(("y", "mean", "var", "inv_std"), found, oracles.batch_norm(x, weight, bias, EPS)):
        assert ours.shape == theirs.shape and ours.dtype == numpy.float64, name
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=name)


@affine
@each_shape
def test_batch_norm_grad_equals_the_full_jacobian(kernels: Any, shape: tuple[int, ...], weighted: bool, biased: bool):
    x, dz = 2 * draw(shape) + 1, draw(shape, 6)
    weight = draw((shape[1],), 4) if weighted else None
    bias = draw((shape[1],), 5) if biased else None
    x_there, dz_there, weight_there, bias_there = on_device(kernels, x, dz, weight, bias)
    _, mean, _, inv_std = kernels.batch_norm(x_there, weight_there, bias_there, EPS)
    found = back(kernels, kernels.batch_norm_grad(dz_there, x_there, weight_there, mean, inv_std))
    for name, ours, theirs in zip(("dx", "dw", "db"), found, oracles.batch_norm_grad(dz, x, weight, EPS)):
        assert ours.shape == theirs.shape and ours.dtype == numpy.float64, name
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11, err_msg=name)


@affine
@each_shape
def test_normalize_with_given_statistics(kernels: Any, shape: tuple[int, ...], weighted: bool, biased: bool):
    x, channels = draw(shape), shape[1]
    mean, inv_std = draw((channels,), 7), numpy.abs(draw((channels,), 8))
    weight = draw((channels,), 4) if weighted else None
    bias = draw((channels,), 5) if biased else None
    y = kernels.to_host(kernels.normalize(*on_device(kernels, x, mean, inv_std, weight, bias)))
    for c in range(channels):
        scale, shift = 1 if weight is None else weight[c], 0 if bias is None else bias[c]
        wanted = (x[:, c] - mean[c]) * inv_std[c] * scale + shift
        numpy.testing.assert_allclose(y[:, c], wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("layout_of_gradient", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_batch_norm_of_any_strides(layout: Any, layout_of_gradient: Any):
    x, dz, weight, bias = draw((3, 4, 5, 6)), draw((3, 4, 5, 6), 6), draw((4,), 4), draw((4,), 5)
    kernels = ForNumpy()
    y, mean, var, inv_std = kernels.batch_norm(layout(x), weight, bias, EPS)
    for ours, theirs in zip((y, mean, var, inv_std), oracles.batch_norm(x, weight, bias, EPS)):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-12)
    found = kernels.batch_norm_grad(layout_of_gradient(dz), layout(x), weight, mean, inv_std)
    for ours, theirs in zip(found, oracles.batch_norm_grad(dz, x, weight, EPS)):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-11)
    y_again = kernels.normalize(layout(x), mean, inv_std, weight, bias)
    numpy.testing.assert_allclose(y_again, y, atol=1e-13)


def test_channels_last_stays_channels_last():
    x = channels_last(draw((3, 4, 5, 6)))
    y, mean, _, inv_std = ForNumpy().batch_norm(x, None, None, EPS)
    dx, _, _ = ForNumpy().batch_norm_grad(x, x, None, mean, inv_std)
    assert y.strides == dx.strides == x.strides


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_a_large_mean_costs_no_digits(kernels: Any, layout: str):
    """Mean 1e4 and deviation 1 in float32: E[x^2] - E[x]^2 would be wrong by several units, the variance being 1."""
    x = LAYOUTS[layout]((1e4 + draw((16, 3, 24, 24))).astype(numpy.float32))
    weight, bias, dz = draw((3,), 4, numpy.float32), draw((3,), 5, numpy.float32), draw(x.shape, 6, numpy.float32)
    x_there, weight_there, bias_there, dz_there = on_device(kernels, x, weight, bias, dz)
    y, mean, var, inv_std = kernels.batch_norm(x_there, weight_there, bias_there, EPS)
    wanted_y, wanted_mean, wanted_var, wanted_inv_std = oracles.batch_norm(x, weight, bias, EPS)
    numpy.testing.assert_allclose(kernels.to_host(var), wanted_var, rtol=1e-6)
    numpy.testing.assert_allclose(kernels.to_host(inv_std), wanted_inv_std, rtol=1e-6)
    numpy.testing.assert_allclose(kernels.to_host(mean), wanted_mean, rtol=1e-7)
    # the mean itself is rounded to float32, by at most 5e-4 at 1e4
    numpy.testing.assert_allclose(kernels.to_host(y), wanted_y, atol=2e-3)
    dx, dw, db = back(kernels, kernels.batch_norm_grad(dz_there, x_there, weight_there, mean, inv_std))
    centred = x.astype(numpy.float64) - 1e4
    values = centred.transpose(1, 0, 2, 3).reshape(3, -1)
    cotangents = dz.astype(numpy.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    t = (values - values.mean(1, keepdims=True)) * wanted_inv_std[:, None]
    wanted_dw = (cotangents * t).sum(1)
    rest = cotangents - cotangents.mean(1, keepdims=True) - t * wanted_dw[:, None] / t.shape[1]
    wanted_dx = rest * (wanted_inv_std * weight)[:, None]
    numpy.testing.assert_allclose(dx.transpose(1, 0, 2, 3).reshape(3, -1), wanted_dx, atol=1e-4)
    numpy.testing.assert_allclose(dw, wanted_dw, atol=0.1)  # of a sum of 9,216 terms, with the mean off by 5e-4
    numpy.testing.assert_allclose(db, cotangents.sum(1), atol=1e-3)


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_a_huge_mean_is_taken_out_exactly(kernels: Any, layout: str):
    """At 1e6 float32 goes in steps of 1/16: the sums round far more than the deviations of 1, and must not show."""
    x = LAYOUTS[layout]((1e6 + draw((16, 3, 24, 24))).astype(numpy.float32))
    _, mean, var, _ = back(kernels, kernels.batch_norm(kernels.from_host(x), None, None, EPS))
    _, wanted_mean, wanted_var, _ = oracles.batch_norm(x, None, None, EPS)
    numpy.testing.assert_allclose(var, wanted_var, rtol=3e-5)
    numpy.testing.assert_array_equal(mean, wanted_mean.astype(numpy.float32))


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_sums_of_many_values_stay_exact(layout: str):
    """131,072 values a channel, as in the first layers of a ResNet; added one by one in float32, 5 digits are left."""
    x = LAYOUTS[layout](draw((128, 4, 32, 32), dtype=numpy.float32))
    _, mean, var, _ = ForNumpy().batch_norm(x, None, None, EPS)
    values = x.astype(numpy.float64).transpose(1, 0, 2, 3).reshape(4, -1)
    numpy.testing.assert_allclose(mean, values.mean(1), atol=1e-7)
    numpy.testing.assert_allclose(var, values.var(1), rtol=3e-7)


def test_a_constant_channel(kernels: Any):
    """Variance 0: inv_std is 1 / sqrt(eps), y the bias, and nothing is nan."""
    x = kernels.from_host(numpy.full((2, 2, 3, 3), 7, numpy.float32))
    bias = kernels.from_host(numpy.array([1, -1], numpy.float32))
    y, mean, var, inv_std = back(kernels, kernels.batch_norm(x, None, bias, 1e-4))
    numpy.testing.assert_array_equal(mean, [7, 7])
    numpy.testing.assert_array_equal(var, [0, 0])
    numpy.testing.assert_allclose(inv_std, 100, rtol=1e-6)
    numpy.testing.assert_array_equal(y[:, 0], 1)
    numpy.testing.assert_array_equal(y[:, 1], -1)


def test_no_images(kernels: Any):
    x, mean, inv_std = on_device(kernels, numpy.zeros((0, 3, 2, 2)), numpy.zeros(3), numpy.ones(3))
    assert kernels.normalize(x, mean, inv_std, None, None).shape == (0, 3, 2, 2)
    dx, dw, db = back(kernels, kernels.batch_norm_grad(x, x, None, mean, inv_std))
    assert dx.shape == (0, 3, 2, 2) and dw.tolist() == db.tolist() == [0, 0, 0]


@pytest.mark.parametrize("weights_dtype", [numpy.float16, numpy.float32])
def test_float16_has_statistics_in_float32(kernels: Any, weights_dtype: Any):
    x = (300 + 20 * draw((6, 2, 8, 8))).astype(numpy.float16)  # the sum of squares is far over float16's largest number
    weight, bias = draw((2,), 4, weights_dtype), draw((2,), 5, weights_dtype)
    dz = draw(x.shape, 6, numpy.float16)
    x_there, weight_there, bias_there, dz_there = on_device(kernels, x, weight, bias, dz)
    y, mean, var, inv_std = kernels.batch_norm(x_there, weight_there, bias_there, EPS)
    found = back(kernels, (y, mean, var, inv_std))
    assert [array.dtype for array in found] == [numpy.float16, numpy.float32, numpy.float32, numpy.float32]
    for ours, theirs, tolerance in zip(found, oracles.batch_norm(x, weight, bias, EPS), (5e-3, 1e-3, 1e-3, 1e-5)):
        numpy.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=tolerance)
    dx, dw, db = back(kernels, kernels.batch_norm_grad(dz_there, x_there, weight_there, mean, inv_std))
    assert [array.dtype for array in (dx, dw, db)] == [numpy.float16, weights_dtype, weights_dtype]
    for ours, theirs in zip((dx, dw, db), oracles.batch_norm_grad(dz, x, weight, EPS)):
        numpy.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    assert kernels.normalize(x_there, mean, inv_std, weight_there, bias_there).dtype == numpy.float16


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@each_shape
def test_blocks_and_threads(shape: tuple[int, ...], layout: str, monkeypatch: pytest.MonkeyPatch):
    """Blocks of one row or one channel, short rows, and several threads."""
    x, dz, weight, bias = draw(shape), draw(shape, 6), draw((shape[1],), 4), draw((shape[1],), 5)
    if len(shape) == 4:
        x, dz = LAYOUTS[layout](x), LAYOUTS[layout](dz)
    wanted = *oracles.batch_norm(x, weight, bias, EPS), *oracles.batch_norm_grad(dz, x, weight, EPS)
    monkeypatch.setattr(numpy_normalization, "SHARED_ELEMENTS", 0)
    monkeypatch.setattr(numpy_normalization, "FEW", 0)
    before = thread_count()
    try:
        for threads, elements in ((1, 1), (2, 1), (8, 50), (3, 1 << 15)):
            set_thread_count(threads)
            monkeypatch.setattr(numpy_normalization, "BLOCK_ELEMENTS", elements)
            monkeypatch.setattr(numpy_normalization, "ROW_ELEMENTS", elements)
            y, mean, var, inv_std = ForNumpy().batch_norm(x, weight, bias, EPS)
            gradients = ForNumpy().batch_norm_grad(dz, x, weight, mean, inv_std)
            for ours, theirs in zip((y, mean, var, inv_std, *gradients), wanted):
                numpy.testing.assert_allclose(ours, theirs, atol=1e-11)
    finally:
        set_thread_count(before)


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch):
    x, dz = draw((8, 16, 30, 30), dtype=numpy.float32), draw((8, 16, 30, 30), 6, numpy.float32)
    monkeypatch.setattr(numpy_normalization, "SHARED_ELEMENTS", 0)
    monkeypatch.setattr(numpy_normalization, "FEW", 0)
    before = thread_count()
    found = []
    try:
        for threads in (1, 2, 5):
            set_thread_count(threads)
            for layout in (numpy.ascontiguousarray, channels_last):
                y, mean, var, inv_std = ForNumpy().batch_norm(layout(x), None, None, EPS)
                found.append(
                    (y, mean, var, inv_std, *ForNumpy().batch_norm_grad(layout(dz), layout(x), None, mean, inv_std))
                )
    finally:
        set_thread_count(before)
    for later in range(2, 6):
        for ours, theirs in zip(found[later], found[later % 2]):
            numpy.testing.assert_array_equal(ours, theirs)


def test_batch_norm_leaves_its_inputs_alone(kernels: Any):
    arrays = draw((3, 4, 5, 6)), draw((4,), 4), draw((4,), 5), draw((3, 4, 5, 6), 6)
    copies = [array.copy() for array in arrays]
    x, weight, bias, dz = on_device(kernels, *arrays)
    y, mean, var, inv_std = kernels.batch_norm(x, weight, bias, EPS)
    kept = [array.copy() for array in back(kernels, (y, mean, var, inv_std))]
    kernels.batch_norm_grad(dz, x, weight, mean, inv_std)
    kernels.normalize(x, mean, inv_std, weight, bias)
    for array, copy in zip((x, weight, bias, dz, y, mean, var, inv_std), (*copies, *kept)):
        numpy.testing.assert_array_equal(kernels.to_host(array), copy)


# softmax, log_softmax, logsumexp

inf, nan = numpy.inf, numpy.nan

ROWS = {
    "ordinary": [0.3, -1.2, 2.5, 0.0],
    "large": [1e4, -1e4, 9999.0, 0.0],
    "very negative": [-1e4, -1e4, -9999.0, -1e4],
    "equal": [5.0, 5.0, 5.0, 5.0],
    "some -inf": [-inf, 1.0, -inf, 2.0],
    "one finite": [-inf, -inf, -inf, -3.0],
    "nothing but -inf": [-inf, -inf, -inf, -inf],
    "an inf": [1.0, inf, 2e3, -inf],
    "two inf": [inf, inf, 0.0, 1.0],
    "a nan": [1.0, nan, 2.0, inf],
}


def test_logsumexp_of_rows(kernels: Any):
    x = numpy.array(list(ROWS.values()), numpy.float32)
    found = kernels.to_host(kernels.logsumexp(kernels.from_host(x), 1, False))
    wanted = [oracles.logsumexp_of([float(v) for v in row]) for row in x]
    assert found.dtype == numpy.float32
    numpy.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.tolist()[1] == 10000.3134765625  # log(e^1e4 + e^9999) to the nearest float32
    assert found[6] == -inf and found[7] == found[8] == inf


def test_softmax_and_log_softmax_of_rows(kernels: Any):
    """With L = logsumexp they are e^(x - L) and x - L; without a finite maximum there is no answer."""
    x = numpy.array(list(ROWS.values()), numpy.float32)
    logs = kernels.to_host(kernels.log_softmax(kernels.from_host(x), 1))
    shares = kernels.to_host(kernels.softmax(kernels.from_host(x), 1))
    assert logs.dtype == shares.dtype == numpy.float32
    for name, row, log, share in zip(ROWS, x.astype(numpy.float64), logs, shares):
        if not numpy.isfinite(row.max()):
            assert numpy.isnan(log).all() and numpy.isnan(share).all(), name
            continue
        wanted = row - oracles.logsumexp_of(list(row))
        numpy.testing.assert_allclose(log, wanted, rtol=1e-6, atol=1e-6, err_msg=name)
        numpy.testing.assert_allclose(share, numpy.exp(wanted), rtol=1e-6, atol=1e-30, err_msg=name)
        numpy.testing.assert_allclose(share.sum(dtype=numpy.float64), 1, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_along_any_axis(kernels: Any, axis: int):
    x = 3 * draw((3, 4, 5))
    x_there = kernels.from_host(x)
    total = oracles.logsumexp(x, axis, keepdims=True)
    numpy.testing.assert_allclose(
        kernels.to_host(kernels.log_softmax(x_there, axis)), x - total, rtol=1e-13, atol=1e-13
    )
    numpy.testing.assert_allclose(kernels.to_host(kernels.softmax(x_there, axis)), numpy.exp(x - total), rtol=1e-12)
    for keepdims in (True, False):
        found = kernels.to_host(kernels.logsumexp(x_there, axis, keepdims))
        wanted = oracles.logsumexp(x, axis, keepdims)
        assert found.shape == wanted.shape
        numpy.testing.assert_allclose(found, wanted, rtol=1e-13)
    numpy.testing.assert_array_equal(kernels.to_host(x_there), 3 * draw((3, 4, 5)))


def test_logsumexp_over_several_axes(kernels: Any):
    x = 3 * draw((3, 4, 5))
    wanted = [oracles.logsumexp_of(list(x[:, i].ravel())) for i in range(4)]
    numpy.testing.assert_allclose(
        kernels.to_host(kernels.logsumexp(kernels.from_host(x), (0, 2), False)), wanted, rtol=1e-13
    )
    kept = kernels.to_host(kernels.logsumexp(kernels.from_host(x), (0, -1), True))
    numpy.testing.assert_allclose(kept, numpy.reshape(wanted, (1, 4, 1)), rtol=1e-13)
    everything = kernels.to_host(kernels.logsumexp(kernels.from_host(x), (0, 1, 2), False))
    assert everything.shape == ()
    numpy.testing.assert_allclose(everything, oracles.logsumexp_of(list(x.ravel())), rtol=1e-13)


def test_softmax_of_nothing(kernels: Any):
    x = kernels.from_host(numpy.zeros((2, 0), numpy.float32))
    assert kernels.softmax(x, 1).shape == kernels.log_softmax(x, 1).shape == (2, 0)
    assert kernels.softmax(x, 0).shape == (2, 0)
    numpy.testing.assert_array_equal(kernels.to_host(kernels.logsumexp(x, 1, False)), [-inf, -inf])
    assert kernels.logsumexp(x, 0, False).shape == (0,)


def test_softmax_of_float16_is_summed_in_float32(kernels: Any):
    """e^0 four thousand times: in float16 the sum would stop at 2048."""
    x = kernels.from_host(numpy.zeros((1, 4096), numpy.float16))
    logs, shares = back(kernels, (kernels.log_softmax(x, 1), kernels.softmax(x, 1)))
    total = kernels.to_host(kernels.logsumexp(x, 1, False))
    assert logs.dtype == shares.dtype == total.dtype == numpy.float16
    assert (shares == 1 / 4096).all()
    assert (logs == numpy.float16(-numpy.log(4096))).all() and (total == numpy.float16(numpy.log(4096))).all()


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64])
def test_softmax_family_equals_pytorch(kernels: Any, dtype: Any):
    torch = pytest.importorskip("torch")
    x = numpy.array(list(ROWS.values()), dtype)
    tx, x_there = torch.from_numpy(x), kernels.from_host(x)
    for axis in (0, 1):
        for ours, theirs in (
            (kernels.softmax(x_there, axis), torch.softmax(tx, axis)),
            (kernels.log_softmax(x_there, axis), torch.log_softmax(tx, axis)),
            (kernels.logsumexp(x_there, axis, True), torch.logsumexp(tx, axis, True)),
        ):
            numpy.testing.assert_allclose(kernels.to_host(ours), theirs.numpy(), rtol=1e-6, atol=1e-30)
    empty = torch.zeros(2, 0)
    numpy.testing.assert_array_equal(torch.logsumexp(empty, 1).numpy(), Shared().logsumexp(empty.numpy(), 1, False))


@pytest.mark.oracle
@pytest.mark.parametrize(("dtype", "tolerance"), [(numpy.float32, 2e-6), (numpy.float64, 1e-13)])
@each_shape
def test_batch_norm_equals_pytorch(kernels: Any, shape: tuple[int, ...], dtype: Any, tolerance: float):
    torch = pytest.importorskip("torch")
    x, dz = draw(shape, 3, dtype), draw(shape, 6, dtype)
    weight, bias = draw((shape[1],), 4, dtype), draw((shape[1],), 5, dtype)
    tx, tweight, tbias = (torch.from_numpy(array).requires_grad_() for array in (x, weight, bias))
    running_mean, running_var = torch.zeros(shape[1], dtype=tx.dtype), torch.zeros(shape[1], dtype=tx.dtype)
    ty = torch.nn.functional.batch_norm(tx, running_mean, running_var, tweight, tbias, True, 1.0, EPS)
    gradients = torch.autograd.grad(ty, (tx, tweight, tbias), torch.from_numpy(dz))
    x_there, dz_there, weight_there, bias_there = on_device(kernels, x, dz, weight, bias)
    y, mean, var, inv_std = kernels.batch_norm(x_there, weight_there, bias_there, EPS)
    found = back(kernels, kernels.batch_norm_grad(dz_there, x_there, weight_there, mean, inv_std))
    count = x.size // shape[1]
    pairs = [
        (kernels.to_host(y), ty.detach()),
        (kernels.to_host(mean), running_mean),
        (kernels.to_host(var) * count / (count - 1), running_var),
        *zip(found, gradients),
    ]
    for ours, theirs in pairs:
        scale = max(1.0, float(theirs.abs().max()))
        numpy.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=10 * tolerance * scale)
