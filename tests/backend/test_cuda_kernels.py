"""The CUDA kernels (tensorgrad/backend/cuda_*.cu) compared with NumPy's: run by the processor (simulated.py), and by a GPU where
there is one. The tests of the families (test_pooling.py, test_convolution.py, ...) run on both too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simulated
import standin

import tensorgrad
from tensorgrad import backends, nn, optim
from tensorgrad.backend import backend_for, cublas, cuda_kernels
from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.cuda_elementwise import OPERATIONS
from tensorgrad.backend.cuda_update import MOST_PARAMETERS
from tensorgrad.backend.update import UpdateKernels

played = pytest.mark.skipif(simulated.why_not() is not None, reason=str(simulated.why_not()))
PLACES = [pytest.param("standin", marks=played), pytest.param("cuda", marks=pytest.mark.gpu)]

DTYPES = ("float16", "float32", "float64")
#: What a result may be off, relative to its largest number, with inputs that the dtype holds exactly.
TOLERANCES = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-12}


class Numpy(ArrayBackend):
    """The kernels for every array library, over NumPy: the twins."""

    name = "twin"
    array_type = np.ndarray


TWIN = Numpy(np)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device with CUDA kernels: the stand-in, on which the processor runs them, or a GPU."""
    monkeypatch.setattr(standin.BACKEND, "compiled", simulated.compiled())
    monkeypatch.setitem(backends.cudnn._states, "enabled", False)  # type: ignore[attr-defined]
    name: str = request.param
    return name


@pytest.fixture
def gpu(place: str) -> Any:
    """Its backend."""
    return backend_for(place)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels started, in order."""
    names: list[str] = []
    launch = cuda_kernels.Compiled.launch

    def noted(self: Any, name: str, kernel: str, *arguments: Any, **settings: Any) -> None:
        names.append(f"{name}.{kernel}")
        launch(self, name, kernel, *arguments, **settings)

    monkeypatch.setattr(cuda_kernels.Compiled, "launch", noted)
    return names


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers that float16 holds exactly."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float16).astype(np.float64)


def whole(high: int, *shape: int, low: int = 0) -> np.ndarray:
    return np.random.default_rng(high).integers(low, high, shape)


ONE, NONE = (1, 1), (0, 0, 0, 0)
POOL = ((3, 2), (2, 1), (1, 1, 0, 1), (1, 2))
LARGE = ((17, 16), (2, 3), (3, 8, 0, 5), ONE)  # more taps than a byte can number
AVG = ((3, 2), (2, 1), (1, 0, 0, 1))
TARGET = np.array([2, 0, -100, 4, 1, 7, -1, 2])  # ignored, and two that are no classes

#: Calls by the kernels they start: (kernel, arguments), the arrays among them in float64.
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "pooling.max_pool_bytes": ("max_pool2d", (draw(2, 3, 9, 7), *POOL, True)),
    "pooling.max_pool_ints": ("max_pool2d", (draw(1, 2, 21, 20), *LARGE, False)),
    "pooling.max_scatter_bytes": ("max_pool2d_scatter", (draw(2, 3, 5, 7), whole(6, 2, 3, 5, 7).astype("u1"), (9, 7), *POOL)),
    "pooling.max_scatter_ints": ("max_pool2d_scatter", (draw(1, 2, 8, 4), whole(272, 1, 2, 8, 4).astype("i4"), (21, 20), *LARGE)),
    "pooling.max_gather_bytes": ("max_pool2d_gather", (draw(2, 3, 9, 7), whole(6, 2, 3, 5, 7).astype("u1"), *POOL)),
    "pooling.max_gather_ints": ("max_pool2d_gather", (draw(1, 2, 21, 20), whole(272, 1, 2, 8, 4).astype("i4"), *LARGE)),
    "pooling.avg_pool": ("avg_pool2d", (draw(2, 3, 8, 7), *AVG, True, True, None)),
    "pooling.avg_spread": ("avg_pool2d_input_grad", (draw(2, 3, 5, 7), (8, 7), *AVG, True, False, None)),
    "normalization.channel_statistics": ("batch_norm", (draw(5, 3, 40, 33), draw(3), draw(3, seed=1), 1e-3)),
    "normalization.normalize_by_parts": ("batch_norm", (draw(6, 4), None, draw(4), 1e-3)),
    "normalization.normalize": ("normalize", (draw(4, 3, 5), draw(3), draw(3, seed=2) ** 2, None, draw(3, seed=1))),
    "normalization.gradient_sums": ("batch_norm_grad", (draw(5, 3, 9), draw(5, 3, 9, seed=1), None, draw(3), draw(3, seed=1))),
    "normalization.gradient_by_parts": (
        "batch_norm_grad",
        (draw(5, 3, 40, 33), draw(5, 3, 40, 33, seed=1), draw(3, seed=2), draw(3), draw(3, seed=1)),
    ),
    "rows.softmax": ("softmax", (draw(4, 300, 3), 1)),
    "rows.log_softmax": ("log_softmax", (draw(4, 5, 3), 0)),
    "rows.logsumexp": ("logsumexp", (draw(4, 5, 300), -1, False)),
    "rows.softmax_grad": ("softmax_grad", (draw(4, 300, 3), draw(4, 300, 3, seed=1) ** 2, 1)),
    "rows.log_softmax_grad": ("log_softmax_grad", (draw(4, 5, 3), -(draw(4, 5, 3, seed=1) ** 2), -1)),
    "rows.cross_entropy_rows": ("cross_entropy", (draw(8, 5), TARGET, -100, "none")),
    "rows.cross_entropy_total": ("cross_entropy", (draw(70, 5), whole(5, 70), 2, "mean")),
    "rows.count_targets": ("cross_entropy_grad", (draw(), draw(70, 5) ** 2, whole(5, 70), 2, "mean")),
    "rows.cross_entropy_grad": ("cross_entropy_grad", (draw(8), draw(8, 5) ** 2, TARGET, -100, "none")),
    "scatter.add_rows": ("scatter_add", (draw(7, 5, 6), (whole(4, 7, 5, low=-4), slice(None)), (4, 6))),
    "scatter.add_along": ("put_along_axis", (draw(3, 7, 2), whole(4, 3, 7, 2, low=-4), 1, 4)),
    "convolution.to_columns": ("conv2d", (draw(2, 10, 8, 9), draw(6, 5, 3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 2)),
    "convolution.from_columns": (
        "conv2d_input_grad",
        (draw(2, 6, 4, 10), draw(6, 5, 3, 2), (8, 9), (2, 1), (1, 0, 2, 1), (1, 2), 2),
    ),
    "convolution.convolve": ("conv2d", (draw(2, 12, 8, 9), draw(12, 1, 3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 12)),
    "convolution.convolve_back": (
        "conv2d_input_grad",
        (draw(2, 24, 4, 10), draw(24, 1, 3, 2), (8, 9), (2, 1), (1, 0, 2, 1), (1, 2), 12),
    ),
    "convolution.convolve_weight": (
        "conv2d_weight_grad",
        (draw(2, 24, 4, 10), draw(2, 12, 8, 9), (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 12),
    ),
    "update.sgd": ("sgd_update", (draw(70, 50), draw(70, 50, seed=1), draw(70, 50, seed=2), 0.1, 0.9, 0.5, 0.01, True, True)),
    "update.adam": (
        "adam_update",
        (*(draw(9, seed=i) for i in range(3)), draw(9, seed=3) ** 2, draw(9, seed=4) ** 2,
         0.1, (0.9, 0.99), 1.5, 1e-3, 0.01, False, False),
    ),
}  # fmt: skip


def converted(value: Any, convert: Any) -> Any:
    if isinstance(value, np.ndarray):
        return convert(value)
    return tuple(converted(part, convert) for part in value) if isinstance(value, tuple) else value


def results(backend: Any, kernel: str, arguments: tuple[Any, ...]) -> list[Any]:
    """What a kernel gives, or what it leaves in the arrays it changes."""
    found = getattr(backend, kernel)(*arguments)
    if found is None:
        return [x for x in arguments if hasattr(x, "dtype")]
    return list(found) if isinstance(found, tuple) else [found]


def test_every_kernel_has_a_call():
    kernels = {
        f"{name}.{kernel}"
        for name in cuda_kernels.source_names()
        for kernel in simulated.signatures(cuda_kernels.source(name, "float32"))
    }
    assert kernels == set(CALLS) | {"random.uniform", "random.kept", "update.unscale"}  # tested by themselves


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_equal_to_numpy_s_kernels(name: str, dtype: str, gpu: Any, launched: list[str]):
    """In every dtype, against the twin in float64; float16's results have the dtypes that the twin gives for float16."""
    kernel, arguments = CALLS[name]

    def here(x: np.ndarray) -> np.ndarray:
        return x.copy()

    def narrow(x: np.ndarray) -> np.ndarray:
        return x.astype(dtype) if x.dtype == np.float64 else x.copy()

    given = converted(arguments, narrow)
    if kernel == "batch_norm_grad" and dtype == "float16":
        given = (*given[:3], *(x.astype(np.float32) for x in given[3:]))  # as batch_norm gives them
    with np.errstate(all="ignore"):
        wanted = results(TWIN, kernel, converted(arguments, here))
        like = results(TWIN, kernel, converted(given, here))
    found = results(gpu, kernel, converted(given, gpu.from_host))
    assert name in launched
    assert len(found) == len(wanted)
    for ours, theirs, twin in zip(found, wanted, like):
        assert type(ours) is gpu.array_type
        assert ours.dtype == twin.dtype and ours.shape == theirs.shape
        scale = max(1.0, np.nanmax(np.abs(theirs), initial=0))
        np.testing.assert_allclose(gpu.to_host(ours), theirs, rtol=0, atol=TOLERANCES[dtype] * scale)


@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith("update")])
def test_of_any_strides(name: str, gpu: Any):
    """Arrays with gaps give the same numbers."""
    kernel, arguments = CALLS[name]

    def apart(x: np.ndarray) -> Any:
        """Every other element of a larger array."""
        wide = gpu.from_host(np.full(tuple(2 * n for n in x.shape), 99).astype(x.dtype))
        view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        view[...] = gpu.from_host(x)
        assert not view.flags.c_contiguous or x.size == 1
        return view

    together = results(gpu, kernel, converted(arguments, gpu.from_host))
    for x, y in zip(results(gpu, kernel, converted(arguments, apart)), together):
        np.testing.assert_allclose(gpu.to_host(x), gpu.to_host(y), rtol=1e-12)  # sums may come in another order


def test_too_large_or_empty_is_left_to_the_others(gpu: Any, launched: list[str], monkeypatch: pytest.MonkeyPatch):
    x = gpu.from_host(draw(2, 3, 4))
    assert gpu.takes(x)
    assert not gpu.takes(x, gpu.from_host(draw(2).astype(np.float32)))
    assert not gpu.takes(gpu.from_host(np.zeros((0, 3))))
    assert not gpu.takes(gpu.from_host(np.zeros(3, np.int64)))
    assert gpu.softmax(gpu.from_host(np.zeros((0, 3))), 1).shape == (0, 3)
    monkeypatch.setattr(cuda_kernels, "MOST_ELEMENTS", 8)
    assert not gpu.takes(x)
    gpu.softmax(x, 1)
    assert launched == []


# element by element


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_operations(dtype: str, gpu: Any, monkeypatch: pytest.MonkeyPatch):
    if gpu is standin.BACKEND:
        monkeypatch.setattr(gpu, "fused", gpu.fuse(simulated.SimulatedElementwise))
    assert set(gpu.fused) == set(OPERATIONS)
    x = np.array([-np.inf, -1e4, -2.5, -0.0, 0.0, 1e-3, 3.0, 900.0, np.inf, np.nan], dtype)
    dz = np.arange(1, 11).astype(dtype)
    dz[2] = np.nan
    for name, arguments in (("relu_grad", (dz, x)), ("sigmoid", (x,)), ("relu_grad", (dz[:, None], x))):
        found = getattr(gpu, name)(*(gpu.from_host(array) for array in arguments))
        with np.errstate(all="ignore"):
            wanted = getattr(TWIN, name)(*arguments)
        assert found.dtype == dtype
        np.testing.assert_allclose(gpu.to_host(found), wanted, rtol=1e-6 if dtype == "float32" else 1e-15)
    running = gpu.from_host(np.arange(3).astype(dtype))
    gpu.move_running(running, gpu.from_host(np.ones(3, dtype)), 0.25, 2.0)
    assert gpu.to_host(running).tolist() == [0.5, 1.25, 2.0]
    if gpu is standin.BACKEND:
        assert gpu.fused["move_running"].calls == 1
        assert (gpu.fused["relu_grad"].calls, gpu.fused["sigmoid"].calls) == (2, 1)
    assert gpu.sigmoid(gpu.from_host(np.arange(3))).dtype == np.float64


# random numbers


@pytest.mark.parametrize("left_over", [False, True], ids=["fresh", "32 bits left over"])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 5001, (1 << 20) + 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numbers_drawn_are_those_of_the_host(
    dtype: str, count: int, left_over: bool, place: str, launched: list[str], monkeypatch: pytest.MonkeyPatch
):
    """To the last bit, one call after the other, whatever was drawn before."""
    streams = {device: tensorgrad.Generator(5) for device in ("cpu", place)}
    found = {}
    for device, stream in streams.items():
        if left_over:
            stream.numpy.random(dtype=np.float32)
        calls = [stream.uniform((count,), dtype, device) for _ in range(2)]
        calls.append(stream.kept((count,), 0.3, 1 / 0.7, np.dtype(dtype), device))
        calls.append(stream.normal((3,), np.float64, device))
        found[device] = [backend_for(device).to_host(x) for x in calls]
    for ours, theirs in zip(found[place], found["cpu"]):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    states = [stream.get_state()["state"] for stream in streams.values()]
    for state in states:
        state["uinteger"] *= state["has_uint32"]  # what was left over and used means nothing any more
    assert states[0] == states[1]
    assert launched == ["random.uniform", "random.uniform", "random.kept"]


def test_other_generators_draw_on_the_host(place: str, launched: list[str]):
    stream = tensorgrad.Generator(1)
    stream.numpy = np.random.Generator(np.random.Philox(3))
    expected = np.random.Generator(np.random.Philox(3)).random(4, dtype=np.float32)
    np.testing.assert_array_equal(backend_for(place).to_host(stream.uniform((4,), np.float32, place)), expected)
    assert launched == []


def test_dropout_drops_the_same_on_both(place: str, launched: list[str]):
    masks = []
    for device in ("cpu", place):
        tensorgrad.manual_seed(11)
        masks.append(nn.functional.dropout(tensorgrad.ones(4, 9, device=device), 0.4).cpu().numpy())
    np.testing.assert_array_equal(*masks)
    assert launched == ["random.kept"] and 0 < (masks[0] == 0).sum() < 36


# optimisers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3, MOST_PARAMETERS + 5])
def test_many_parameters_in_one_launch(dtype: str, count: int, gpu: Any, launched: list[str]):
    """What the formula gives for each, on the processor to the last bit; sizes 1, a chunk, a chunk and one more, and others."""
    twin = UpdateKernels()
    twin.xp = np
    sizes = [(1, 2048, 2049, 5000, 7, 30)[i % 6] for i in range(count)]
    for kernel, kept, settings in [
        ("sgd_update", 1, (0.1, 0.9, 1.0, 0.01, False, False)),
        ("sgd_update", 0, (0.1, 0.0, 1.0, 0.0, False, True)),
        ("adam_update", 2, (0.01, (0.9, 0.999), 1.2, 1e-8, 0.999, True, False)),
        ("adam_update", 3, (0.01, (0.9, 0.999), 1.2, 1e-8, 0.1, False, False)),
    ]:
        launched.clear()
        slots = 1 if kernel == "sgd_update" else 3
        parameters = []
        with gpu.gathering():
            for size in sizes:
                arrays = [np.abs(draw(size, seed=i)).astype(dtype) if i < 2 + kept else None for i in range(2 + slots)]
                there = [None if x is None else gpu.from_host(x) for x in arrays]
                getattr(gpu, kernel)(*there, *settings)
                getattr(twin, kernel)(*arrays, *settings)
                parameters.append((arrays, there))
            assert launched == []
        assert len(launched) == -(-count // MOST_PARAMETERS)
        for arrays, there in parameters:
            for x, y in zip(arrays, there):
                if x is not None:  # a GPU multiplies and adds with one rounding
                    rtol = 0 if gpu is standin.BACKEND else TOLERANCES[dtype]
                    np.testing.assert_allclose(gpu.to_host(y), x, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("bad", [None, np.inf, np.nan, 60000.0], ids=str)
def test_gradients_are_unscaled_in_one_launch_a_dtype(bad: Any, gpu: Any, launched: list[str]):
    """Many, of two dtypes and one with gaps; infinite, nan or, in float16, too large afterwards."""
    here = [draw(7 + i, 3, seed=i).astype("float16" if i % 2 else "float32") for i in range(9)]
    if bad is not None:
        here[5][3, 1] = bad
    scale = 0.5 if bad == 60000.0 else 8.0
    there = [gpu.from_host(x) for x in here]
    there[0] = gpu.from_host(np.repeat(here[0], 2, axis=1))[:, ::2]
    assert not there[0].flags.c_contiguous
    finite = gpu.unscale(there, gpu.from_host(np.array(scale, np.float32)))
    with np.errstate(all="ignore"):
        wanted = TWIN.unscale(here, np.array(scale, np.float32))
    assert finite.shape == () and bool(gpu.to_host(finite)) is bool(wanted) is (bad is None)
    for x, y in zip(here, there):
        np.testing.assert_array_equal(gpu.to_host(y), x)
    assert launched == ["update.unscale"] * 2


def test_an_error_on_the_way_leaves_no_update_waiting(gpu: Any, launched: list[str]):
    w, dw = gpu.from_host(draw(4)), gpu.from_host(draw(4, seed=1))
    with pytest.raises(KeyError):
        with gpu.gathering():
            gpu.sgd_update(w, dw, None, 1.0, 0.0, 1.0, 0.0, False, False)
            raise KeyError
    assert launched == ["update.sgd"]
    np.testing.assert_array_equal(gpu.to_host(w), draw(4) - draw(4, seed=1))


# the whole library on them (the table of cases: tests/ops/test_cuda_cases.py)


class Small(nn.Module):
    """A network with every family of kernels in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.apart, self.last = nn.Conv2d(6, 6, 3, groups=6, stride=2), nn.Linear(6 * 2 * 2, 5)
        self.words = nn.Embedding(11, 24)

    def forward(self, x: Any, words: Any) -> Any:
        x = nn.functional.max_pool2d(self.norm(self.first(x)).relu(), 3, 2, 1)
        x = nn.functional.avg_pool2d(self.apart(x), 2, 1, 1)[:, :, :2, :2]
        return self.last(x.flatten(1) + self.words(words))


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_a_training_is_that_of_numpy(kind: Any, place: str, launched: list[str]):
    losses = {}
    for device in ("cpu", place):
        tensorgrad.manual_seed(3)
        network = Small().double().to(device)
        settings = {"momentum": 0.9} if kind is optim.SGD else {}
        optimizer = kind(network.parameters(), lr=0.05, **settings)
        x = tensorgrad.tensor(draw(7, 1, 8, 8)).to(device)
        words, target = (tensorgrad.tensor(whole(n, 7)).to(device) for n in (11, 5))
        losses[device] = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x, words), target)
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
        network.eval()
        losses[device].append(network(x, words).sum().item())
    np.testing.assert_allclose(losses[place], losses["cpu"], rtol=1e-9)
    assert losses["cpu"][3] < losses["cpu"][0]
    assert launched.count("update.sgd" if kind is optim.SGD else "update.adam") == 4


#: What makes no launch: views, and memory that is not written.
FREE = ("empty", "transpose", "reshape", "broadcast_to", "expand_dims", "may_share_memory")
METHODS = "astype copy fill sum mean prod var max min any all __setitem__".split()
OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor".split()
IN_PLACE = "iadd isub imul itruediv ipow iand ior eq ne lt le gt ge neg abs invert".split()


@pytest.fixture
def computations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that the stand-in computes, each of which is a launch or more on a GPU."""
    found: list[str] = []

    def watch(owner: Any, name: str, named: Any) -> None:
        method = getattr(owner, name)

        def watched(self: Any, *arguments: Any, **settings: Any) -> Any:
            result = method(self, *arguments, **settings)
            if not (name == "astype" and result is self) and named(self, arguments) not in FREE:
                found.append(named(self, arguments))
            return result

        monkeypatch.setattr(owner, name, watched)

    names = [*OPERATORS, *(f"r{name}" for name in OPERATORS), *IN_PLACE]
    for name in [*METHODS, *(f"__{name}__" for name in names)]:
        watch(standin.StandInArray, name, lambda self, arguments, name=name: name)
    watch(standin.Function, "__call__", lambda self, arguments: self.__name__)
    watch(cuda_kernels.Compiled, "launch", lambda self, arguments: arguments[1])
    watch(cublas.Cublas, "launch", lambda self, arguments: "product")
    watch(simulated.SimulatedElementwise, "__call__", lambda self, arguments: self.name)
    return found


@played
@pytest.mark.parametrize("kernels", [False, True], ids=["for every library", "of our own"])
def test_few_launches(kernels: bool, computations: list[str], monkeypatch: pytest.MonkeyPatch):
    """A training step of LeNet-5."""
    if kernels:
        monkeypatch.setattr(standin.BACKEND, "compiled", simulated.compiled())
        monkeypatch.setattr(standin.BACKEND, "fused", standin.BACKEND.fuse(simulated.SimulatedElementwise))
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).to("standin")
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, target = tensorgrad.rand(2, 1, 32, 32).to("standin"), tensorgrad.tensor([3, 1]).to("standin")
    for _ in range(2):
        computations.clear()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()
    assert len(computations) == 50 if kernels else len(computations) > 300, computations


# the processor that plays a GPU finds mistakes

WRONG = {
    "beyond its end": "KERNEL k(T *x, int n) { FOR_EACH(i, n + 1) x[i] = 0;",
    "before its beginning": "KERNEL k(T *x, int n) { FOR_EACH(i, n) x[i - 1] = 0;",
}


def started(body: str, *arguments: Any, dtype: str = "float32", blocks: int = 1, threads: int = 32) -> None:
    """Start a kernel `k` whose text is a single line."""
    before = cuda_kernels.source("scatter", dtype).partition("// Adding up")[0]
    text = before + body.replace(") { ", ") {\n", 1) + "\n}\n"
    simulated.SimulatedModule(code=text).get_function("k")((blocks,), (threads,), arguments)


@played
@pytest.mark.parametrize("mistake", WRONG)
def test_writing_outside_of_an_array_is_found(mistake: str):
    x = standin.standin.zeros((8,), np.float32)
    with pytest.raises(AssertionError, match=mistake):
        started(WRONG[mistake], x, np.int32(8))


@played
@pytest.mark.parametrize(
    "given",
    [
        (lambda: standin.standin.zeros((8,), np.float64), np.int32(8)),
        (lambda: standin.standin.zeros((8, 2), np.float32)[:, 0], np.int32(8)),
        (lambda: np.zeros(8, np.float32), np.int32(8)),
        (lambda: standin.standin.zeros((8,), np.float32), 8),
        (lambda: standin.standin.zeros((8,), np.float32), np.int64(8)),
    ],
    ids=["dtype", "strides", "host", "int", "long"],
)
def test_arguments_of_other_types_are_refused(given: Any):
    make, number = given
    with pytest.raises(AssertionError):
        started("KERNEL k(T *x, int n) { FOR_EACH(i, n) x[i] = 0;", make(), number)


@played
def test_threads_meet_at_barriers():
    """Every thread reads what its neighbour wrote; without the barrier in between the first one reads what was there before."""
    body = (
        "KERNEL k(T *x, int n) { __shared__ T room[32]; room[threadIdx.x] = threadIdx.x; "
        "BARRIER x[threadIdx.x] = room[(threadIdx.x + 1) % n];"
    )
    x = standin.standin.zeros((32,), np.float32)
    started(body.replace("BARRIER", "__syncthreads();"), x, np.int32(32))
    assert standin.standin.asnumpy(x).tolist() == [*range(1, 32), 0]
    y = standin.standin.zeros((32,), np.float32)
    started(body.replace("BARRIER", ""), y, np.int32(32))
    assert standin.standin.asnumpy(y).tolist() != [*range(1, 32), 0]


@played
def test_float16_of_the_processor_rounds_as_numpy_does():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x, z = standin.standin.asarray(every), standin.standin.zeros(every.shape, np.float16)
    body = "KERNEL k(const half *x, half *z, int n) { FOR_EACH(i, n) set(z, i, get(x, i));"
    started(body, x, z, np.int32(every.size), dtype="float16", blocks=256)
    found, number = standin.standin.asnumpy(z), ~np.isnan(every)
    np.testing.assert_array_equal(found[number].view(np.uint16), every[number].view(np.uint16))
    assert np.isnan(found[~number]).all()
    random = np.random.default_rng(0)
    wide = (random.standard_normal(1 << 15) * 10.0 ** random.integers(-9, 6, 1 << 15)).astype(np.float32)
    x, z = standin.standin.asarray(wide), standin.standin.zeros(wide.shape, np.float16)
    body = "KERNEL k(const float *x, half *z, int n) { FOR_EACH(i, n) set(z, i, x[i]);"
    started(body, x, z, np.int32(wide.size), dtype="float16", blocks=256)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(standin.standin.asnumpy(z), wide.astype(np.float16))


def test_a_recorded_step_draws_and_updates_as_one_that_is_not(place: str, launched: list[str]):
    """Dropout, a loss and an optimiser on the kernels, run as they are and replayed: the same numbers."""
    found = []
    for wrap in (lambda step: step, tensorgrad.compile):
        tensorgrad.manual_seed(2)
        layer = nn.Linear(6, 4).double().to(place)
        optimizer = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)

        def step(x: Any, target: Any, layer: Any = layer, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(nn.functional.dropout(layer(x), 0.5), target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = wrap(step)
        x, target = tensorgrad.tensor(draw(5, 6)).to(place), tensorgrad.tensor(whole(4, 5)).to(place)
        found.append([run(x, target).item() for _ in range(5)])
        if wrap is tensorgrad.compile:
            assert run.replays == 3 and run.why() == []
    assert found[0] == found[1]
    assert launched.count("random.kept") == launched.count("update.sgd") == 10
