"""The kernels of the extra `fast`: the tests of the NumPy kernels once more, with every case on the compiled loops that can be;
then when loops are used, when they are not, and what a program gets to know about it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy
import oracles
import pytest
import test_convolution
import test_pooling
from kernels import LAYOUTS, ForNumpy, OnHost, channels_last
from test_convolution import (  # noqa: F401  (they run here with the kernels of this file)
    test_equals_pytorch,
    test_equals_the_loops,
    test_float16_is_summed_in_float32,
    test_inputs_are_left_alone,
    test_linear_in_both_arguments,
    test_the_three_maps_are_adjoint,
)
from test_convolution import test_keeps_the_dtype as test_convolution_keeps_the_dtype  # noqa: F401
from test_normalization import (  # noqa: F401
    test_a_constant_channel,
    test_a_huge_mean_is_taken_out_exactly,
    test_a_large_mean_costs_no_digits,
    test_batch_norm_equals_pytorch,
    test_batch_norm_equals_the_loops,
    test_batch_norm_grad_equals_the_full_jacobian,
    test_batch_norm_leaves_its_inputs_alone,
    test_float16_has_statistics_in_float32,
    test_no_images,
    test_normalize_with_given_statistics,
)
from test_pooling import (  # noqa: F401
    test_a_window_without_elements_is_minus_infinity_and_has_no_gradient,
    test_an_infinite_gradient_stays_with_the_winner,
    test_average_divisors_worked_by_hand,
    test_average_equals_the_loops_and_its_gradient_is_adjoint,
    test_max_equals_the_loops,
    test_max_of_equal_values_is_the_first,
    test_nan_wins_the_last_of_several,
    test_scatter_and_gather_equal_the_loops_and_are_adjoint,
)
from test_pooling import test_inputs_are_left_alone as test_pooling_leaves_its_inputs_alone  # noqa: F401
from test_pooling import test_keeps_the_dtype as test_pooling_keeps_the_dtype  # noqa: F401

from tensorgrad.backend import choice, compiled, fast
from tensorgrad.backend.fast_convolution import FastConvolutionKernels
from tensorgrad.backend.fast_normalization import FastNormalizationKernels
from tensorgrad.backend.fast_pooling import FastPoolingKernels
from tensorgrad.backend.parallel import set_thread_count, thread_count
from tensorgrad.ops.grid_sampling import GridSample

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
pytestmark = needs_numba

EPS = 1e-5
FAST_ELEMENTS = compiled.FAST_ELEMENTS
ROOT = Path(__file__).resolve().parents[2]


class Fast(OnHost, FastConvolutionKernels, FastPoolingKernels, FastNormalizationKernels):
    pass


@pytest.fixture(autouse=True)
def loops_for_arrays_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", 0)
    monkeypatch.setattr(choice, "_chosen", "loops")
    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says


@pytest.fixture(params=["alone", "shared"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Compiled kernels, in the caller's thread, or shared among three whatever the size."""
    if request.param == "alone":
        yield Fast()
        return
    monkeypatch.setattr(compiled, "SHARED_OPERATIONS", 0)
    before = thread_count()
    set_thread_count(3)
    yield Fast()
    set_thread_count(before)


def draw(shape: tuple[int, ...], seed: int = 3, dtype: Any = numpy.float32) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(dtype)


# the tables of the NumPy kernels once more, in every memory order

each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


@each_layout
@test_convolution.each_layer
def test_convolution_of_any_strides(layer: Any, layout: Any):
    values = layer.draw()
    found = test_convolution.three_maps(Fast(), layer, *(layout(array) for array in values))
    test_convolution.compare(found, test_convolution.expected(layer, *values), numpy.float64, 1e-13)


@each_layout
@test_pooling.each_max_pool
def test_max_pooling_of_any_strides(pool: Any, layout: Any):
    """To the last bit what the NumPy kernels give, winners in their memory format included."""
    x, dx, dz = draw(pool.x), draw(pool.x, 8), draw((*pool.x[:2], *pool.outputs), 9)
    z, winners = Fast().max_pool2d(layout(x), *pool.windows, pool.ceil_mode)
    wanted_z, wanted_winners = ForNumpy().max_pool2d(layout(x), *pool.windows, pool.ceil_mode)
    numpy.testing.assert_array_equal(z, wanted_z)
    numpy.testing.assert_array_equal(winners, wanted_winners)
    assert winners.dtype == wanted_winners.dtype
    for one, other in ((Fast(), ForNumpy()), (ForNumpy(), Fast())):  # each takes the other's winners
        _, theirs = other.max_pool2d(layout(x), *pool.windows, pool.ceil_mode)
        scattered = one.max_pool2d_scatter(layout(dz), theirs, pool.x[2:], *pool.windows)
        gathered = one.max_pool2d_gather(layout(dx), theirs, *pool.windows)
        indices = ForNumpy().max_pool2d_indices(wanted_winners, pool.x[2:], *pool.windows)
        wanted = oracles.max_pool2d_scatter(dz, indices, pool.x[2:])
        numpy.testing.assert_allclose(scattered, wanted, atol=2e-6)
        numpy.testing.assert_array_equal(gathered, oracles.max_pool2d_gather(dx, indices))


@each_layout
@test_pooling.each_pool
def test_average_pooling_of_any_strides(pool: Any, layout: Any):
    settings = pool.kernel, pool.stride, pool.padding, pool.ceil_mode, False, None
    x, dz = draw(pool.x, 3, numpy.float64), draw((*pool.x[:2], *pool.outputs), 9, numpy.float64)
    z = Fast().avg_pool2d(layout(x), *settings)
    numpy.testing.assert_allclose(z, oracles.avg_pool2d(x, *settings), atol=1e-13)
    dx = Fast().avg_pool2d_input_grad(layout(dz), pool.x[2:], *settings)
    numpy.testing.assert_allclose(dx, oracles.avg_pool2d_input_grad(dz, pool.x[2:], *settings), atol=1e-13)


@pytest.mark.parametrize("layout_of_gradient", LAYOUTS.values(), ids=LAYOUTS.keys())
@each_layout
def test_batch_norm_of_any_strides(layout: Any, layout_of_gradient: Any):
    x, dz = (draw((3, 4, 15, 16), seed, numpy.float64) for seed in (3, 6))
    weight, bias = (draw((4,), seed, numpy.float64) for seed in (4, 5))
    y, mean, var, inv_std = Fast().batch_norm(layout(x), weight, bias, EPS)
    for ours, theirs in zip((y, mean, var, inv_std), oracles.batch_norm(x, weight, bias, EPS)):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-12)
    found = Fast().batch_norm_grad(layout_of_gradient(dz), layout(x), weight, mean, inv_std)
    for ours, theirs in zip(found, oracles.batch_norm_grad(dz, x, weight, EPS)):
        numpy.testing.assert_allclose(ours, theirs, atol=1e-11)


@pytest.mark.parametrize("channels", [1, 3, 5, 16])
@pytest.mark.parametrize("layout", [numpy.ascontiguousarray, channels_last], ids=["contiguous", "channels last"])
def test_sums_over_many_parts_stay_exact(layout: Any, channels: int):
    """Several blocks of rows, the last one shorter; a mean far from 0."""
    x = (100 + draw((37, channels, 31, 29), 3)).astype(numpy.float32)
    _, mean, var, _ = Fast().batch_norm(layout(x), None, None, EPS)
    values = x.astype(numpy.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
    numpy.testing.assert_allclose(mean, values.mean(1), rtol=1e-7)
    numpy.testing.assert_allclose(var, values.var(1), rtol=2e-6)


# beyond the tables


def test_an_infinity_reaches_only_the_weights_that_saw_it():
    """The loops run over columns where windows wrap around, with gradients of zero; zero times infinity must not count."""
    layer = test_convolution.Layer((2, 1, 6, 7), (2, 1, 3, 3))
    x, _, dz = layer.draw(numpy.float32)
    x[0, 0, 0, 0] = numpy.inf  # only ever seen by the first tap
    dw = Fast().conv2d_weight_grad(dz, x, layer.w[2:], *layer.settings)
    seen = numpy.zeros(layer.w, bool)
    seen[:, :, 0, 0] = True
    numpy.testing.assert_array_equal(numpy.isfinite(dw), ~seen)


def test_nothing_of_an_image_shows_in_the_next():
    """Results for images together and one by one are the same bits, though scratch memory is used again."""
    layer = test_convolution.Layer((6, 3, 8, 9), (7, 3, 3, 4), padding=(1, 2, 0, 1))
    x, w, dz = layer.draw(numpy.float32)
    z, dx, _ = test_convolution.three_maps(Fast(), layer, x, w, dz)
    for n in range(6):
        one = layer._replace(x=(1, *layer.x[1:]))
        z_of_one, dx_of_one, _ = test_convolution.three_maps(Fast(), one, x[n : n + 1], w, dz[n : n + 1])
        numpy.testing.assert_array_equal(z[n : n + 1], z_of_one)
        numpy.testing.assert_array_equal(dx[n : n + 1], dx_of_one)


@pytest.mark.parametrize("layout", [numpy.ascontiguousarray, channels_last], ids=["contiguous", "channels last"])
@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64])
def test_relu_grad(dtype: Any, layout: Any):
    backend = fast.FastBackend(numpy)
    z, dz = layout(draw((3, 4, 5, 6), 3, dtype)), layout(draw((3, 4, 5, 6), 4, dtype))
    z[0, 0, 0, :4] = 0, -0.0, numpy.nan, -numpy.inf
    dz[0, 0, 0, :4] = numpy.inf, numpy.nan, 1, numpy.nan
    dz[1, 0, 0, 0], z[1, 0, 0, 0] = numpy.inf, 1
    dx = backend.relu_grad(dz, z)
    for place in numpy.ndindex(z.shape):
        wanted = dz[place] if z[place] > 0 else 0
        assert dx[place] == wanted or (numpy.isnan(dx[place]) and numpy.isnan(wanted)), place
    assert dx.dtype == dtype and dx.strides == dz.strides


def test_relu_grad_of_other_memory_orders_and_dtypes():
    backend = fast.FastBackend(numpy)
    z, dz = draw((3, 4, 5, 6)), draw((3, 4, 5, 6), 4)
    wanted = numpy.where(z > 0, dz, 0)
    for order in LAYOUTS.values():
        for order_of_gradient in LAYOUTS.values():
            dx = backend.relu_grad(order_of_gradient(dz), order(z))
            numpy.testing.assert_array_equal(dx, wanted)
    of_one = backend.relu_grad(numpy.broadcast_to(numpy.float32(2), z.shape), z)
    numpy.testing.assert_array_equal(of_one, numpy.where(z > 0, 2, 0))
    numpy.testing.assert_array_equal(backend.relu_grad(dz[:, :1], z), numpy.where(z > 0, dz[:, :1], 0))
    assert backend.relu_grad(dz.astype(numpy.float16), z.astype(numpy.float16)).dtype == numpy.float16
    numpy.testing.assert_array_equal(dz, draw((3, 4, 5, 6), 4))


def all_maps(x: Any, dz: Any, w: Any) -> list[numpy.ndarray]:
    """What can be computed of these, by every loop."""
    kernels, windows = Fast(), ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1))
    layer = (1, 1), (1, 1, 1, 1), (1, 1), 1
    z, winners = kernels.max_pool2d(x, *windows, False)
    average = *windows[:3], False, True, None
    y, mean, var, inv_std = kernels.batch_norm(x, None, None, EPS)
    return [
        z,
        winners,
        kernels.max_pool2d_scatter(z, winners, x.shape[2:], *windows),
        kernels.max_pool2d_gather(x, winners, *windows),
        kernels.max_pool2d(x, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)[0],
        kernels.avg_pool2d(x, *average),
        kernels.avg_pool2d_input_grad(z, x.shape[2:], *average),
        y,
        mean,
        var,
        *kernels.batch_norm_grad(dz, x, None, mean, inv_std),
        kernels.conv2d(x, w, *layer),
        kernels.conv2d_input_grad(dz, w, x.shape[2:], *layer),
        kernels.conv2d_weight_grad(dz, x, (3, 3), *layer),
        fast.FastBackend(numpy).relu_grad(dz, x),
    ]


@pytest.mark.parametrize("layout", [numpy.ascontiguousarray, channels_last], ids=["contiguous", "channels last"])
def test_threads_do_not_change_a_bit(layout: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "SHARED_OPERATIONS", 0)
    x, dz, w = layout(draw((21, 6, 14, 15))), layout(draw((21, 6, 14, 15), 4)), draw((6, 6, 3, 3), 5)
    before = thread_count()
    try:
        set_thread_count(1)
        wanted = all_maps(x, dz, w)
        for threads in (2, 3, 8):
            set_thread_count(threads)
            for ours, theirs in zip(all_maps(x, dz, w), wanted):
                numpy.testing.assert_array_equal(ours, theirs)
    finally:
        set_thread_count(before)


def test_threads_of_the_user_may_call_at_once():
    x, dz, w = draw((8, 6, 14, 15)), draw((8, 6, 14, 15), 4), draw((6, 6, 3, 3), 5)
    wanted = all_maps(x, dz, w)
    found: dict[int, list[numpy.ndarray]] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: all_maps(x, dz, w)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for results in found.values():
        for ours, theirs in zip(results, wanted):
            numpy.testing.assert_array_equal(ours, theirs)


# when loops are used


def test_every_loop_is_used_by_some_kernel():
    backend, x = fast.FastBackend(numpy), draw((6, 5))
    for layout in (numpy.ascontiguousarray, channels_last):
        images, dz, w = layout(draw((2, 3, 8, 8))), layout(draw((2, 3, 8, 8), 4)), draw((3, 3, 3, 3), 5)
        for dtype in (numpy.float32, numpy.float64):
            all_maps(images.astype(dtype), dz.astype(dtype), w.astype(dtype))
        backend.relu_grad(dz.astype(dtype), images.astype(dtype))
    for moved in (backend.cumsum(x, 1), backend.cumprod(x, 1)):
        order = numpy.argsort(moved, 1)
        backend.put_along_axis(backend.take_along_axis(x, order, 1), order, 1, 5)
    backend.scatter_add(x, (numpy.arange(6),), (6, 5))
    lookup, grid, images = GridSample("bilinear", "zeros", False), draw((1, 4, 4, 2)), draw((1, 2, 4, 4))
    backend.sampled_grad(lookup, backend.sampled(lookup, images, grid), images, grid, True, True)
    written = set()
    for path in (ROOT / "tensorgrad" / "backend").glob("numba_*.py"):
        code = path.read_text(encoding="utf-8").split("@compiled")[1:]
        written |= {f"{path.stem}.{part.split('def ', 1)[1].split('(')[0]}" for part in code}
    assert len(written) > 10
    assert {name for name in written if "._" not in name} <= set(fast.loops_in_use())


def test_small_arrays_stay_with_numpy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "FAST_ELEMENTS", FAST_ELEMENTS)
    assert not compiled.takes(draw((1, 1, 8, 8)))
    assert compiled.takes(draw((4, 4, 32, 32)))


@pytest.mark.parametrize(
    "array",
    [
        numpy.zeros((4, 4, 32, 32), numpy.float16),
        numpy.zeros((4, 4, 32, 32), numpy.int64),
        numpy.zeros((4, 4, 32, 32), numpy.dtype(numpy.float32).newbyteorder()),
        numpy.zeros((4, 0, 32, 32), numpy.float32),
    ],
    ids=["float16", "int64", "bytes the other way round", "empty"],
)
def test_other_arrays_stay_with_numpy(array: numpy.ndarray):
    assert not compiled.takes(array)
    assert not compiled.takes(draw((4, 4, 32, 32)), array)


def run(program: str, **environment: str) -> str:
    """What a fresh Python prints."""
    start = "import numpy\nfrom tensorgrad.backend import fast\nx = numpy.ones((64, 6, 28, 28), numpy.float32)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", start + program],
        cwd=ROOT,
        env={**os.environ, "TENSORGRAD_FAST": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


POOL = "fast.cpu_backend().max_pool2d(x, (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)\n"


def test_numba_is_imported_when_a_loop_is_first_needed():
    program = f"import sys\nprint('numba' in sys.modules)\n{POOL}print('numba' in sys.modules, fast.loops_in_use())"
    assert run(program).split("\n") == ["False", "True ['numba_pooling.max_planes_2x2']"]


def test_the_environment_switches_it_off():
    program = f"import sys\n{POOL}print('numba' in sys.modules, fast.loops_in_use(), fast.why_not())"
    assert run(program, TENSORGRAD_FAST="0") == "False [] TENSORGRAD_FAST is 0"


def test_without_numba_the_numpy_kernels_serve():
    program = f"import sys\nsys.modules['numba'] = None\n{POOL}print(type(fast.cpu_backend()).__name__, fast.why_not())"
    # the import of tensorgrad has asked already, and must ask again
    ask_again = "import importlib.util as u\nu.find_spec = lambda name: None\n"
    ask_again += "from tensorgrad.backend import compiled\ncompiled.why_not.cache_clear()\n"
    printed = run(ask_again + program)
    assert printed.startswith("CPUBackend Numba is not installed")


def test_the_loops_are_plain_python_without_numba():
    """So that tools which import every module, as pytest does for doctests, can do so anywhere."""
    program = (
        "import sys\nsys.modules['numba'] = None\nimport tensorgrad.backend.numba_elementwise as loops\n"
        "dx = numpy.full(3, 9.0)\nloops.relu_grad(numpy.ones(3), numpy.array([-1.0, 0, 1]), dx, 0, 3)\nprint(dx)"
    )
    assert run(program) == "[0. 0. 1.]"


def test_a_numba_that_does_not_import_costs_a_warning():
    program = "import sys, warnings\nsys.modules['numba.core'] = None\n"
    program += f"with warnings.catch_warnings(record=True) as caught:\n    warnings.simplefilter('always')\n    {POOL}    {POOL}"
    assert run(program + "print(len(caught), caught[0].message)").startswith(
        "1 Numba does not import, so kernels run on NumPy alone"
    )


def test_a_numba_that_must_not_compile_is_left_alone():
    assert run(f"{POOL}print(fast.loops_in_use())", NUMBA_DISABLE_JIT="1") == "[]"


def test_a_folder_that_cannot_be_written_costs_only_the_cache():
    """Numba finds no place to keep machine code: it compiles, and goes on."""
    program = (
        "import numba.core.caching as caching\n"
        "kind = getattr(caching, 'CacheImpl', None) or caching._CacheImpl\n"
        "kind._locator_classes = []\n"
        f"{POOL}print(fast.loops_in_use())"
    )
    assert run(program) == "['numba_pooling.max_planes_2x2']"


def test_machine_code_is_kept_and_found_again(tmp_path: Path):
    program = f"{POOL}from tensorgrad.backend.numba_pooling import max_planes_2x2 as loop\n"
    program += "print(len(loop.stats.cache_hits), len(loop.stats.cache_misses))"
    first = run(program, NUMBA_CACHE_DIR=str(tmp_path))
    again = run(program, NUMBA_CACHE_DIR=str(tmp_path))
    assert (first, again) == ("0 1", "1 0")
    assert list(tmp_path.rglob("*.nbi"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_with_loops_too():
    program = (
        "import os, warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
        "backend = fast.cpu_backend()\nx = numpy.ones((256, 6, 28, 28), numpy.float32)\n"
        f"{POOL}child = os.fork()\n"
        "if child == 0:\n"
        f"    {POOL}    os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert run(program) == "7"
