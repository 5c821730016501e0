"""Convolution by cuDNN: what is asked of it, against a stand-in for its front end that computes what the graph describes; and the
same graphs with cuDNN itself, as far as it goes on this machine."""

from __future__ import annotations

import ctypes
import json
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import simulated
import standin

import tensorgrad as tg
from tensorgrad import backend, backends, nn
from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.cudnn_graphs import Cudnn, Problem, described, load, planned


class Numpy(ArrayBackend):
    name = "twin"
    array_type = np.ndarray


TWIN = Numpy(np)


class FakeTensor:
    """A tensor of a graph; what it was made of, if it is a result."""

    def __init__(
        self, name: str = "", dim: Any = None, stride: Any = None, data_type: Any = None, made: Any = None
    ) -> None:
        self.name, self.dim, self.stride, self.data_type, self.made = name, dim, stride, data_type, made

    def at(self, address: int) -> np.ndarray:
        """The array as it is described, at an address."""
        assert type(address) is int
        dtype = np.dtype(self.data_type)
        size = sum((n - 1) * step for n, step in zip(self.dim, self.stride)) + 1
        memory = np.frombuffer((ctypes.c_char * (size * dtype.itemsize)).from_address(address), dtype)
        return np.lib.stride_tricks.as_strided(memory, self.dim, [step * dtype.itemsize for step in self.stride])

    def set_output(self, on: bool) -> FakeTensor:
        return self

    def set_data_type(self, kind: Any) -> FakeTensor:
        self.data_type = kind
        return self

    def set_dim(self, dim: list[int]) -> FakeTensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> FakeTensor:
        self.stride = stride
        return self


class NotSupported(Exception):
    """As cuDNN's front end raises where no engine takes a graph."""


class FakeGraph:
    """A graph that computes with NumPy's kernels, on the memory that it is given, as it was described."""

    made: ClassVar[list[FakeGraph]] = []
    workspaces: ClassVar[list[int]] = []
    declines = False

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.steps: list[str] = []
        self.operations: list[str] = []
        self.refused: list[str] = []
        self.ran: list[int | None] = []
        FakeGraph.made.append(self)

    def tensor(self, *, name: str, dim: list[int], stride: list[int], data_type: Any) -> FakeTensor:
        return FakeTensor(name, dim, stride, data_type)

    def conv_fprop(self, *, image: Any, weight: Any, **window: Any) -> FakeTensor:
        return FakeTensor(made=("conv2d", image, weight, window))

    def conv_dgrad(self, *, loss: Any, filter: Any, **window: Any) -> FakeTensor:
        return FakeTensor(made=("conv2d_input_grad", loss, filter, window))

    def conv_wgrad(self, *, image: Any, loss: Any, **window: Any) -> FakeTensor:
        return FakeTensor(made=("conv2d_weight_grad", loss, image, window))

    def relu(self, *, input: Any) -> FakeTensor:
        self.operations.append("relu")
        return FakeTensor(made=("relu", input, None, None))

    def add(self, *, a: Any, b: Any) -> FakeTensor:
        return FakeTensor(made=("add", a, b, None))

    def validate(self) -> None:
        self.steps.append("validate")

    def build_operation_graph(self) -> None:
        self.steps.append("build_operation_graph")

    def create_execution_plans(self, heuristics: list[str]) -> None:
        self.steps.append("create_execution_plans")
        if FakeGraph.declines:
            raise NotSupported("no engine takes it")

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.refused += notes

    def check_support(self) -> None:
        self.steps.append("check_support")

    def build_plans(self, policy: str) -> None:
        self.steps.append(f"build_plans {policy}")

    def get_workspace_size(self) -> int:
        return 40

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        return 40 + index

    def get_execution_plan_count(self) -> int:
        return 3

    def execute_plan_at_index(self, pack: Any, workspace: Any, *, index: int, handle: Any) -> None:
        if index == 1:
            raise NotSupported("this plan does not run after all")
        assert type(workspace) is int and FakeGraph.workspaces[-1] == 40 + index
        self._run(pack, handle, index)

    def execute(self, pack: Any, workspace: Any, *, handle: Any) -> None:
        assert type(workspace) is int and FakeGraph.workspaces[-1] == 40
        self._run(pack, handle, None)

    def _run(self, pack: Any, handle: Any, index: int | None) -> None:
        assert handle.stream == 77
        self.ran.append(index)
        *_, result = pack
        arrays = {tensor: tensor.at(address) for tensor, address in pack.items()}
        arrays[result][...] = self._value(result, arrays)

    def _value(self, tensor: FakeTensor, pack: Any) -> np.ndarray:
        if tensor.made is None:
            return pack[tensor]
        kind, one, other, window = tensor.made
        x = self._value(one, pack)
        if kind == "relu":
            return np.maximum(x, 0)
        y = self._value(other, pack)
        if kind == "add":
            return x + y
        (top, left), (bottom, right) = window["pre_padding"], window["post_padding"]
        geometry = tuple(window["stride"]), (top, bottom, left, right), tuple(window["dilation"])
        if kind == "conv2d":
            return TWIN.conv2d(x, y, *geometry, x.shape[1] // y.shape[1])
        if kind == "conv2d_input_grad":
            return TWIN.conv2d_input_grad(x, y, tuple(tensor.dim[2:]), *geometry, tensor.dim[1] // y.shape[1])
        return TWIN.conv2d_weight_grad(x, y, tuple(tensor.dim[2:]), *geometry, y.shape[1] // tensor.dim[1])


def names(*every: str) -> Any:
    return types.SimpleNamespace(**{name: name for name in every})


def front_end() -> Any:
    return types.SimpleNamespace(
        pygraph=FakeGraph,
        data_type=types.SimpleNamespace(HALF=np.float16, FLOAT=np.float32, DOUBLE=np.float64),
        heur_mode=names("A", "FALLBACK"),
        numerical_note=names("DOWN_CONVERT_INPUTS", "TENSOR_CORE", "NONDETERMINISTIC"),
        build_plan_policy=names("ALL", "HEURISTICS_CHOICE"),
        cudnnGraphNotSupportedError=NotSupported,
        create_handle=lambda: types.SimpleNamespace(stream=None),
        set_stream=lambda handle, stream: setattr(handle, "stream", stream),
        backend_version=lambda: 91200,
    )


class FakeEvent:
    """Events whose distances shrink: the plan that is timed last is the fastest."""

    count = 0

    def record(self) -> None:
        FakeEvent.count += 1
        self.number = FakeEvent.count

    def synchronize(self) -> None:
        pass


@pytest.fixture
def gpu() -> Iterator[Any]:
    """The CuPy backend over the stand-in, with a cuDNN."""
    cuda = types.SimpleNamespace(
        get_current_stream=lambda: types.SimpleNamespace(ptr=77),
        Event=FakeEvent,
        get_elapsed_time=lambda start, stop: 100 - stop.number,
    )

    def empty(shape: Any, dtype: Any) -> Any:
        if dtype == np.uint8:
            FakeGraph.workspaces.append(*shape)
        return standin.standin.empty(shape, dtype)

    xp = types.SimpleNamespace(empty=empty, uint8=np.uint8, cuda=cuda)
    backend = standin.StandInBackend(standin.standin, Cudnn(xp, front_end()))
    FakeGraph.made.clear()
    FakeGraph.declines = False
    yield backend
    for name, state in {"enabled": True, "allow_tf32": True, "benchmark": False, "deterministic": False}.items():
        setattr(backends.cudnn, name, state)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


#: x, w, (stride, padding, dilation), groups
CONVOLUTIONS = {
    "plain": ((2, 3, 6, 7), (4, 3, 3, 2), ((1, 1), (0, 0, 0, 0), (1, 1)), 1),
    "everything": ((2, 4, 9, 8), (6, 2, 3, 2), ((2, 3), (1, 0, 2, 1), (2, 1)), 2),
    "a filter a channel": ((1, 4, 5, 5), (4, 1, 3, 3), ((1, 1), (1, 1, 1, 1), (1, 1)), 4),
}


def channels_last(backend: Any, x: np.ndarray) -> Any:
    return backend.from_host(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("last", [False, True], ids=["in order", "channels last"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_maps(gpu: Any, name: str, last: bool, dtype: str):
    x_shape, w_shape, geometry, groups = CONVOLUTIONS[name]
    x, w, bias = (draw(*shape).astype(dtype) for shape in (x_shape, w_shape, w_shape[:1]))
    z = TWIN.conv2d(x, w, *geometry, groups)
    dz = draw(*z.shape).astype(dtype)
    put = (lambda array: channels_last(gpu, array)) if last else gpu.from_host
    there = put(x), gpu.from_host(w), gpu.from_host(bias), put(dz)
    settings = (*geometry, groups)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    for found, wanted in [
        (gpu.conv2d(*there[:2], *settings), z),
        (gpu.conv2d_bias(*there[:3], *settings), z + bias.reshape(-1, 1, 1)),
        (gpu.conv2d_bias_relu(*there[:3], *settings), np.maximum(z + bias.reshape(-1, 1, 1), 0)),
        (
            gpu.conv2d_input_grad(there[3], there[1], x_shape[2:], *settings),
            TWIN.conv2d_input_grad(dz, w, x_shape[2:], *settings),
        ),
        (
            gpu.conv2d_weight_grad(there[3], there[0], w_shape[2:], *settings),
            TWIN.conv2d_weight_grad(dz, x, w_shape[2:], *settings),
        ),
    ]:
        np.testing.assert_allclose(gpu.to_host(found), wanted, rtol=rtol, atol=rtol)
        assert found.dtype == dtype
    assert len(FakeGraph.made) == 5 and all(graph.ran == [None] for graph in FakeGraph.made)
    assert FakeGraph.made[0].steps[-1] == "build_plans HEURISTICS_CHOICE"
    z = gpu.conv2d(*there[:2], *settings)
    assert z.flags.c_contiguous is not last or min(z.shape[1], z.shape[2] * z.shape[3]) == 1
    assert gpu.conv2d_weight_grad(there[3], there[0], w_shape[2:], *settings).flags.c_contiguous


@pytest.mark.parametrize("kind", ["training", "no_grad", "autocast", "hooked", "without a bias", "declined"])
def test_a_sequential_has_a_convolution_and_its_relu_in_one_graph(gpu: Any, kind: str, monkeypatch: pytest.MonkeyPatch):
    """The same numbers and gradients as one layer after the other; not where somebody listens, or cuDNN declines."""
    monkeypatch.setitem(backend._by_device, "standin", gpu)
    monkeypatch.setitem(backend._by_type, standin.StandInArray, gpu)
    FakeGraph.declines = kind == "declined"
    found = []
    for joined in (True, False):
        tg.manual_seed(0)
        layers = [nn.Conv2d(2, 4, 3, bias=kind != "without a bias"), nn.ReLU(), nn.Conv2d(4, 3, 3, groups=1), nn.ReLU()]
        network = nn.Sequential(*layers).to("standin")
        if kind == "hooked":
            layers[0].register_forward_hook(lambda *_: None)
        x = tg.tensor(draw(2, 2, 7, 7).astype("float32"), device="standin", requires_grad=True)
        FakeGraph.made.clear()
        with tg.set_grad_enabled(kind != "no_grad"), tg.autocast("standin", tg.float16, enabled=kind == "autocast"):
            z = network(x) if joined else layers[3](layers[2](layers[1](layers[0](x))))
        results = [z]
        if kind != "no_grad":
            z.float().square().sum().backward()
            results += [x.grad, *(p.grad for p in network.parameters())]
        found.append([one.detach().cpu().numpy() for one in results])
        rectified = sum("relu" in graph.operations for graph in FakeGraph.made)
        wanted = {"hooked": 1, "without a bias": 1}.get(kind, 2)
        assert rectified == (wanted if joined else 0)
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_plans_are_kept_by_shape_and_setting(gpu: Any):
    x, w = (gpu.from_host(draw(*shape).astype("float32")) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))
    geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    for _ in range(3):
        gpu.conv2d(x, w, *geometry)
    assert len(FakeGraph.made) == 1 and FakeGraph.made[0].ran == [None] * 3
    gpu.conv2d(x[:1], w, *geometry)
    assert len(FakeGraph.made) == 2
    assert FakeGraph.made[0].refused == ["DOWN_CONVERT_INPUTS"]
    backends.cudnn.allow_tf32 = False
    gpu.conv2d(x, w, *geometry)
    assert FakeGraph.made[-1].refused == ["DOWN_CONVERT_INPUTS", "TENSOR_CORE"]
    backends.cudnn.deterministic = True
    gpu.conv2d(gpu.from_host(draw(2, 3, 6, 6)), gpu.from_host(draw(4, 3, 3, 3)), *geometry)
    assert FakeGraph.made[-1].refused == ["DOWN_CONVERT_INPUTS", "NONDETERMINISTIC"]  # float64 has no TF32
    assert FakeGraph.made[-1].settings["compute_data_type"] is np.float64


def test_half_is_summed_in_float(gpu: Any):
    x, w = (gpu.from_host(draw(*shape).astype("float16")) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))
    z = gpu.conv2d(x, w, (1, 1), (0, 0, 0, 0), (1, 1), 1)
    assert z.dtype == np.float16
    settings = FakeGraph.made[0].settings
    assert (settings["io_data_type"], settings["compute_data_type"]) == (np.float16, np.float32)


def test_benchmark_keeps_the_fastest_plan(gpu: Any):
    backends.cudnn.benchmark = True
    x, w = (gpu.from_host(draw(*shape)) for shape in ((2, 3, 6, 6), (4, 3, 3, 3)))
    geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    z = gpu.conv2d(x, w, *geometry)
    graph = FakeGraph.made[0]
    assert graph.steps[-1] == "build_plans ALL"
    assert graph.ran == [0] * 4 + [2] * 4 + [2]  # the second cannot run, the third is timed last
    gpu.conv2d(x, w, *geometry)
    assert graph.ran[-2:] == [2, 2] and len(graph.ran) == 10
    np.testing.assert_allclose(gpu.to_host(z), TWIN.conv2d(draw(2, 3, 6, 6), draw(4, 3, 3, 3), *geometry), rtol=1e-12)


def test_what_cudnn_declines_is_computed_all_the_same(gpu: Any):
    FakeGraph.declines = True
    x, w, bias = draw(2, 3, 6, 6), draw(4, 3, 3, 3), draw(4)
    geometry = ((1, 1), (1, 0, 2, 0), (1, 1), 1)
    for _ in range(2):
        z = gpu.conv2d_bias(*(gpu.from_host(array) for array in (x, w, bias)), *geometry)
        np.testing.assert_allclose(gpu.to_host(z), TWIN.conv2d(x, w, *geometry) + bias.reshape(-1, 1, 1), rtol=1e-12)
    assert len(FakeGraph.made) == 2  # with the bias and without; asked once
    assert set(gpu.cudnn.declined.values()) == {"no engine takes it"}


def test_switched_off_or_not_for_it(gpu: Any):
    x, w = gpu.from_host(draw(2, 3, 6, 6)), gpu.from_host(draw(4, 3, 3, 3))
    geometry = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    backends.cudnn.enabled = False
    gpu.conv2d(x, w, *geometry)
    backends.cudnn.enabled = True
    assert gpu.conv2d(x[:0], w, *geometry).shape == (0, 4, 4, 4)
    assert FakeGraph.made == []
    with pytest.raises(RuntimeError, match="channels"):
        gpu.conv2d(x, w[:, :2], *geometry)


def test_without_the_front_end_there_is_a_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "cudnn", None)
    found = load(standin.standin)
    assert not found.usable and "cudnn12" in str(found.why_not)


def test_without_the_library_there_is_a_reason(monkeypatch: pytest.MonkeyPatch):
    broken = front_end()

    def version() -> int:
        raise RuntimeError("libcudnn.so.9: cannot open shared object file")

    broken.backend_version = version
    monkeypatch.setitem(__import__("sys").modules, "cudnn", broken)
    found = load(standin.standin)
    assert not found.usable and "libcudnn.so.9" in str(found.why_not) and "cudnn13" in str(found.why_not)


# the switches


def test_the_switches_have_pytorchs_names_and_defaults():
    assert repr(backends.cudnn) == "cudnn(enabled=True, allow_tf32=True, benchmark=False, deterministic=False)"
    assert backends.cuda.matmul.allow_tf32 is False
    with pytest.raises(AttributeError, match="benchmark"):
        backends.cudnn.bench = True
    with pytest.raises(TypeError, match="True or False"):
        backends.cudnn.enabled = 1


@pytest.mark.oracle
def test_the_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("enabled", "allow_tf32", "benchmark", "deterministic"):
        assert getattr(backends.cudnn, name) is getattr(torch.backends.cudnn, name)
    assert backends.cuda.matmul.allow_tf32 is torch.backends.cuda.matmul.allow_tf32


def test_matrix_products_follow_their_switch(monkeypatch: pytest.MonkeyPatch):
    set_to: list[Any] = []
    products = types.SimpleNamespace(
        COMPUTE_TYPE_TF32="tf32",
        COMPUTE_TYPE_DEFAULT="default",
        set_compute_type=lambda dtype, kind: set_to.append((dtype, kind)),
    )
    backend = standin.StandInBackend(standin.standin)
    backend.products = None  # by CuPy then
    core = types.SimpleNamespace(_routines_linalg=products)
    backend.xp = types.SimpleNamespace(_core=core, matmul=lambda x, y: (x, y))
    backend.matmul(1, 2)
    assert set_to == []
    monkeypatch.setitem(backends.cuda.matmul._states, "allow_tf32", True)
    backend.matmul(1, 2)
    backend.matmul(1, 2)
    assert set_to == [(np.float32, "tf32")]
    monkeypatch.setitem(backends.cuda.matmul._states, "allow_tf32", False)
    backend.matmul(1, 2)
    assert set_to[1:] == [(np.float32, "default")]


# with cuDNN itself

#: What cuDNN wants to know of a GPU that is not there: one of the generation sm_90, with 132 multiprocessors.
HOPPER = {
    "deviceName": "a Hopper GPU", "cudaDeviceId": 0, "deviceVer": 900, "driverVer": 12090, "totalGlobalMem": 85899345920,
    "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
    "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
    "maxSharedMemoryPerBlockOptin": 232448, "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024,
    "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0,
    "isTccDriver": 0, "supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "memoryBusWidth": 5120,
    "l2CacheSize": 52428800,
}  # fmt: skip


def problems() -> list[Problem]:
    """Every map of layers of the models, in every dtype and both memory orders."""
    layers = [
        ((64, 3, 224, 224), (64, 3, 7, 7), (2, 2), (3, 3, 3, 3), (1, 1), 112),
        ((64, 64, 56, 56), (64, 64, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 56),
        ((64, 256, 56, 56), (128, 256, 1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 28),
        ((32, 32, 56, 56), (32, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 56),
        ((8, 16, 20, 20), (32, 8, 3, 3), (2, 2), (2, 1, 2, 1), (2, 2), 10),
        ((128, 1, 28, 28), (6, 1, 5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 28),
    ]
    found = []
    for x, w, stride, padding, dilation, size in layers:
        z = (x[0], w[0], size, size)
        for dtype in ("float16", "float32", "float64"):
            for result, bias, relu in (
                ("z", False, False), ("z", True, False), ("z", True, True), ("dx", False, False), ("dw", False, False)
            ):  # fmt: skip
                for last in (False, True):
                    for tf32 in (True, False) if dtype == "float32" else (True,):
                        found.append(
                            Problem(
                                result,
                                dtype,
                                x,
                                w,
                                z,
                                stride,
                                padding,
                                dilation,
                                bias,
                                last,
                                tf32,
                                False,
                                False,
                                0,
                                relu,
                            )
                        )
    return found


def the_front_end() -> Any:
    """cuDNN's front end, or a skip."""
    found = load(standin.standin)
    if found.cudnn is None:
        pytest.skip(str(found.why_not))
    return found.cudnn


def test_cudnn_takes_every_graph_as_described():
    """Dimensions, strides and windows are consistent for cuDNN's front end."""
    cudnn = the_front_end()
    for problem in problems():
        graph, tensors = described(cudnn, problem)
        graph.validate()
        assert len(tensors) == len(problem.inputs) + 1


def test_cudnn_plans_every_graph_for_a_gpu_that_is_not_there():
    """For a Hopper GPU that is only described; cuDNN loads the driver's library for it."""
    cudnn = the_front_end()
    try:
        device = cudnn.create_device_properties(json.dumps(HOPPER))
    except RuntimeError as error:
        pytest.skip(f"cuDNN plans nothing on this machine: {error}")
    for problem in problems():
        graph, _ = described(cudnn, problem, device_property=device)
        planned(cudnn, graph, problem)
        assert graph.get_execution_plan_count() > 0 and graph.get_workspace_size() >= 0
        assert len(graph.serialize()) > 100


def test_the_simulated_kernels_have_no_cudnn():
    assert simulated.BACKEND.cudnn is None
