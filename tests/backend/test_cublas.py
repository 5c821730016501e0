"""Matrix products by cuBLAS: what it is asked for, against a library that computes what NVIDIA's manual says (host_cublas.py)."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np
import pytest
import standin
import standin_cuda
from host_cublas import HostCublas

import tensorgrad as tg
from tensorgrad import backends
from tensorgrad.backend.cublas import ARGUMENTS, MOST_LAUNCHES, WORKSPACE, load
from tensorgrad.cuda.graphs import Capture
from tensorgrad.errors import DeviceError, GraphError


def plain(*shape: int) -> Any:
    return lambda: draw(*shape)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype("float64")


#: name -> x, y, how often cuBLAS is called. Whole numbers, so that every dtype gives the same sums.
PRODUCTS: dict[str, tuple[Any, Any, int]] = {
    "matrices": (plain(3, 4), plain(4, 5), 1),
    "the left one transposed": (lambda: draw(4, 3).T, plain(4, 5), 1),
    "the right one transposed": (plain(3, 4), lambda: draw(5, 4).T, 1),
    "both": (lambda: draw(4, 3).T, lambda: draw(5, 4).T, 1),
    "a row and a column": (plain(1, 4), plain(4, 1), 1),
    "a column and a row": (plain(4, 1), plain(1, 5), 1),
    "a column of a matrix": (lambda: draw(4, 6)[:, 2:3], plain(1, 5), 1),
    "a row of a transposed matrix": (lambda: draw(6, 4).T[2:3], plain(6, 5), 1),
    "parts of larger ones": (lambda: draw(9, 9)[2:5, 1:5], lambda: draw(9, 9)[3:7, 4:9], 1),
    "every second column": (lambda: draw(3, 8)[:, ::2], plain(4, 5), 1),
    "upside down": (lambda: draw(3, 4)[::-1], plain(4, 5), 1),
    "one number for all": (lambda: np.broadcast_to(draw(1, 1), (3, 4)), plain(4, 5), 1),
    "stacks": (plain(6, 3, 4), plain(6, 4, 5), 1),
    "stacks of stacks": (plain(2, 3, 3, 4), plain(2, 3, 4, 5), 1),
    "a tall matrix": (plain(2, 3, 4), plain(4, 5), 1),
    "a tall matrix in disorder": (lambda: draw(3, 2, 4).transpose(1, 0, 2), plain(4, 5), 1),
    "one for all on the left": (plain(3, 4), plain(6, 4, 5), 1),
    "one of each group for all": (plain(2, 3, 4), plain(7, 2, 4, 5), 2),
    "heads of attention": (
        lambda: draw(2, 3, 4, 5).transpose(0, 2, 1, 3),
        lambda: draw(2, 3, 4, 5).transpose(0, 2, 3, 1),
        2,
    ),
    "crosswise": (plain(3, 1, 2, 4), plain(1, 5, 4, 2), 3),
    "more launches than are worth it": (plain(70, 1, 2, 3), plain(1, 80, 3, 2), 1),
    "a vector on the left": (plain(4), plain(4, 5), 1),
    "a vector on the right": (plain(6, 3, 4), plain(4), 1),
    "vectors": (plain(4), plain(4), 1),
    "stacks turned around": (lambda: draw(4, 3, 6).transpose(2, 1, 0), lambda: draw(5, 4, 6).transpose(2, 1, 0), 1),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str, dtype: str):
    x, y = (make() for make in PRODUCTS[name][:2])
    there = [standin.StandInArray(laid(one, dtype)) for one in (x, y)]
    cublas = HostCublas(standin.standin)
    z = cublas.matmul(*there, False)
    assert z is not None and z.dtype == dtype and z.flags.c_contiguous
    np.testing.assert_array_equal(z._values, np.matmul(x, y))
    calls = [what for what, _ in cublas.library.calls if what == "cublasGemmStridedBatchedEx"]
    assert len(calls) == PRODUCTS[name][2]
    assert MOST_LAUNCHES < 70


def laid(x: np.ndarray, dtype: str) -> np.ndarray:
    """x in another dtype with the same steps in elements, be they backwards or nothing."""
    steps = [step // x.itemsize for step in x.strides]
    before = sum((length - 1) * -step for length, step in zip(x.shape, steps) if step < 0)
    size = sum((length - 1) * abs(step) for length, step in zip(x.shape, steps)) + 1
    memory = np.zeros(size, dtype)
    strides = [step * memory.itemsize for step in steps]
    found = np.lib.stride_tricks.as_strided(memory[before:], x.shape, strides)
    found[...] = x
    return found


def test_what_is_left_to_cupy():
    cublas = HostCublas(standin.standin)
    put = lambda *shape, dtype="float32": standin.standin.ones(shape, dtype)  # noqa: E731
    for x, y in [
        (put(2, 2, dtype="int64"), put(2, 2, dtype="int64")),
        (put(2, 2), put(2, 2, dtype="float64")),
        (put(3), put(2, 2)),
        (put(2, 0), put(0, 3)),
        (put(2, 3), put(2, 3)),
        (put(2, 2, 3), put(3, 3, 2)),
    ]:
        assert cublas.matmul(x, y, False) is None
    assert cublas.library.calls == []


def test_the_switch_for_tensorfloat():
    assert backends.cuda.matmul.allow_tf32 is False
    cublas = HostCublas(standin.standin)
    found = {}
    for dtype in ("float16", "float32", "float64"):
        for tf32 in (False, True):
            x = standin.standin.ones((2, 2), dtype)
            cublas.matmul(x, x, tf32)
            found[dtype, tf32] = cublas.library.calls[-1][1][-2]
    assert found.pop(("float32", True)) == 77
    assert set(found.values()) == {68, 70} and found["float64", True] == 70


def test_a_failure_is_told():
    cublas = HostCublas(standin.standin)
    cublas.library._cublasGemmStridedBatchedEx = lambda *_: 13
    x = standin.standin.ones((2, 2), "float32")
    with pytest.raises(
        DeviceError,
        match=r"matmul: cublasGemmStridedBatchedEx of cuBLAS failed with status 13 .CUBLAS_STATUS_EXECUTION_FAILED",
    ):
        cublas.matmul(x, x, False)


def test_a_library_that_cannot_begin_while_capturing_is_a_refusal_of_the_capture():
    """The first product of a thread: its handle cannot be made then; a step before the capture makes it."""
    cublas = HostCublas(standin.standin)
    cublas.library._cublasCreate_v2 = lambda *_: 1
    x = standin.standin.ones((2, 2), "float32")
    with pytest.raises(GraphError, match=r"cannot be captured.*NOT_INITIALIZED"):
        with Capture(standin.standin, standin_cuda.MemoryPool()):
            cublas.matmul(x, x, False)


def test_arrays_on_two_devices_are_refused(monkeypatch: pytest.MonkeyPatch):
    x, y = standin.standin.ones((2, 2), "float32"), standin.standin.ones((2, 2), "float32")
    other = types.SimpleNamespace(id=1)
    monkeypatch.setattr(standin.StandInArray, "device", property(lambda self: other if self is y else x0))
    x0 = types.SimpleNamespace(id=0)
    with pytest.raises(DeviceError, match="'cuda:0' and 'cuda:1'"):
        HostCublas(standin.standin).matmul(x, y, False)


# graphs


def test_a_product_is_captured_with_memory_of_the_graphs():
    cublas = HostCublas(standin.standin)
    x, y = (standin.standin.asarray(draw(*shape)) for shape in ((3, 4), (4, 5)))
    wanted = x._values @ y._values
    with Capture(standin.standin, standin_cuda.MemoryPool()) as capture:
        z, again = (cublas.matmul(x, y, False) for _ in range(2))
        assert np.isnan(z._values).all()
    workspaces = {given[1:] for name, given in cublas.library.calls if name == "cublasSetWorkspace_v2"}
    assert workspaces == {(capture.workspace.data.ptr, WORKSPACE)}
    assert any(x is capture.workspace for x in capture.kept)
    capture.graph.launch()
    np.testing.assert_array_equal(z._values, wanted)
    np.testing.assert_array_equal(again._values, wanted)
    streams = [given[1] for name, given in cublas.library.calls if name == "cublasSetStream_v2"]
    assert capture.stream.ptr in streams


@pytest.mark.parametrize(
    ("x", "y"), [((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)), ((2, 3), (3, 2)), ((4, 2, 3), (3, 2))]
)
def test_every_product_of_tensors_can_be_captured(x: tuple[int, ...], y: tuple[int, ...]):
    """CuPy's own are refused by the stand-in as CuPy refuses them; forward, backward, a whole step."""
    v, w = (tg.tensor(draw(*shape)).to("standin").requires_grad_() for shape in (x, y))

    def step() -> None:
        v.grad = w.grad = None
        (v @ w).square().sum().backward()

    fast, found = tg.compile(step), []
    for _ in range(5):
        fast()
        found.append([one.grad.cpu().tolist() for one in (v, w)])
    assert found == [found[0]] * 5
    assert (fast.why(), fast.launches) == ([], 2)


def test_without_cublas_a_step_is_replayed_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standin.BACKEND, "products", None)
    w = tg.ones(3, 2, device="standin")
    fast = tg.compile(lambda x: x @ w)
    x = tg.ones(2, 3, device="standin")
    assert [fast(x).tolist() for _ in range(5)] == [[[3.0, 3.0], [3.0, 3.0]]] * 5
    assert fast.launches == 0 and "the library cuBLAS was not found" in fast.why()[0]


# the library


def test_the_library_is_that_of_cupys_cuda(monkeypatch: pytest.MonkeyPatch):
    asked = []
    runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 13010)
    xp = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime, cublas=None))

    def find(name: str) -> Any:
        asked.append(name)
        return types.SimpleNamespace(**{one: types.SimpleNamespace() for one in ARGUMENTS})

    monkeypatch.setattr(ctypes, "CDLL", find)
    found = load(xp)
    assert found is not None and asked == ["libcublas.so.13"]
    gemm = found.library.cublasGemmStridedBatchedEx
    assert gemm.restype is ctypes.c_int and len(gemm.argtypes) == 23
    del runtime.runtimeGetVersion
    assert load(xp) is None


def test_an_installed_cublas_has_the_functions():
    try:
        library = ctypes.CDLL("libcublas.so.12")
    except OSError:
        pytest.skip("cuBLAS is not installed")
    assert all(hasattr(library, name) for name in ARGUMENTS)
