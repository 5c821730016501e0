"""What is missing on the way to a GPU is said in one sentence with its remedy; a module that plays CuPy fails as CuPy does."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest
import simulated
import standin

import tensorgrad
from tensorgrad.backend import backend_for, cuda, cuda_errors
from tensorgrad.backend.cuda_kernels import Compiled
from tensorgrad.errors import DeviceError, OutOfMemoryError


class CUDARuntimeError(RuntimeError):
    pass


class CuPysOutOfMemoryError(MemoryError):
    pass


class FakeCuPy(types.ModuleType):
    """As much of CuPy as is asked before the first array."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.allocator: Any = lambda size: f"{size} bytes"
        self.cuda = types.SimpleNamespace(
            is_available=lambda: True,
            runtime=types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=lambda: 1),
            nvrtc=types.SimpleNamespace(getVersion=lambda: (12, 4)),
            memory=types.SimpleNamespace(OutOfMemoryError=CuPysOutOfMemoryError),
            get_allocator=lambda: self.allocator,
            set_allocator=lambda allocator: setattr(self, "allocator", allocator),
            Device=lambda: types.SimpleNamespace(id=1),
        )


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> FakeCuPy:
    fake = FakeCuPy()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    return fake


class Broken:
    """Imports of CuPy fail with this."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, *rest: Any) -> None:
        if name == "cupy":
            raise self.error


def said(function: Any, *arguments: Any) -> str:
    with pytest.raises(DeviceError) as caught:
        function(*arguments)
    assert isinstance(caught.value, RuntimeError)
    message = str(caught.value)
    assert message.startswith("device 'cuda': ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ModuleNotFoundError("No module named 'cupy'", name="cupy"),
            ("CuPy is not installed", "gpu12 or gpu13", "tapegrad[gpu12]"),
        ),
        (ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"), ("needs 'fastrlock'", "gpu12")),
        (
            ImportError("\n====\nlibcudart.so.12: cannot open shared object file\nmore\n"),
            ("for another CUDA", "libcudart.so.12", "uninstall", "gpu13"),
        ),
    ],
    ids=["not installed", "half installed", "another CUDA"],
)
def test_cupy_that_cannot_be_imported(error: Exception, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    message = said(cuda_errors.cupy_with_a_gpu)
    assert all(word in message for word in words), message


def test_a_driver_that_is_too_old(cupy: FakeCuPy):
    def is_available() -> bool:
        raise CUDARuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
        )

    cupy.cuda.is_available = is_available
    message = said(cuda_errors.cupy_with_a_gpu)
    assert "driver is too old" in message and "update the driver" in message and "tapegrad[gpu12]" in message


def test_a_driver_that_does_not_start(cupy: FakeCuPy):
    def is_available() -> bool:
        raise CUDARuntimeError("cudaErrorSystemDriverMismatch: system has unsupported display driver")

    cupy.cuda.is_available = is_available
    message = said(cuda_errors.cupy_with_a_gpu)
    assert "cudaErrorSystemDriverMismatch" in message and "nvidia-smi" in message


def test_no_gpu(cupy: FakeCuPy):
    cupy.cuda.is_available = lambda: False
    message = said(cuda_errors.cupy_with_a_gpu)
    assert "no NVIDIA GPU" in message and "device='cpu'" in message


def test_no_compiler(cupy: FakeCuPy):
    def version() -> Any:
        raise RuntimeError('Failure finding "libnvrtc.so.12": No such file')

    cupy.cuda.nvrtc.getVersion = version
    message = said(cuda_errors.cupy_with_a_gpu)
    assert "cannot compile" in message and "libnvrtc.so.12" in message and "cupy-cuda12x[ctk]" in message


def test_memory_that_is_used_up(cupy: FakeCuPy):
    free = 1 << 20

    def allocate(size: int) -> str:
        if size > free:
            raise CuPysOutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: 0 bytes).")
        return f"{size} bytes"

    cupy.allocator = allocate
    assert cuda_errors.cupy_with_a_gpu() is cupy
    assert cupy.allocator(100) == "100 bytes"
    with pytest.raises(
        OutOfMemoryError, match=r"'cuda:1': no memory for 3\.0 MiB more .*smaller batch.*no_grad"
    ) as caught:
        cupy.allocator(3 << 20)
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value.__cause__, CuPysOutOfMemoryError)
    assert tensorgrad.OutOfMemoryError is tensorgrad.cuda.OutOfMemoryError is OutOfMemoryError


def test_arrays_on_two_devices():
    """On the tape, where one is on no GPU at all, and in a kernel, where both are on one each."""
    x, w = tensorgrad.ones(1, 1, 4, 4, device="standin"), tensorgrad.ones(1, 1, 3, 3)
    with pytest.raises(DeviceError, match=r"'standin:0'.*'cpu'.*one device.*\.to\(device\)"):
        tensorgrad.nn.functional.conv2d(x, w)

    class OnAnother:
        device = types.SimpleNamespace(id=1)

    compiled = Compiled(types.SimpleNamespace(RawModule=lambda **_: types.SimpleNamespace(get_function=lambda _: None)))
    like = standin.standin.zeros((3,), np.float32)
    with pytest.raises(DeviceError, match=r"max_pool: got arrays on 'cuda:0' and 'cuda:1'.*\.to\(device\)"):
        compiled.launch("pooling", "max_pool", like, 1, like, OnAnother())


def test_the_number_of_a_gpu_that_is_not_there():
    backend = standin.BACKEND
    with pytest.raises(DeviceError, match=r"got 'standin:3'; this machine has 2 GPU\(s\), 'standin:0' the first"):
        backend.check_device(tensorgrad.device("standin", 3))


def test_the_backend_is_made_of_what_was_found(cupy: FakeCuPy, monkeypatch: pytest.MonkeyPatch):
    for name in dir(standin.standin):
        if not name.startswith("_") and name != "cuda":
            setattr(cupy, name, getattr(standin.standin, name))
    cupy.RawModule = simulated.SimulatedModule
    monkeypatch.setitem(sys.modules, "cudnn", None)
    backend = cuda.load()
    assert backend.compiled is not None and backend.cudnn is not None
    assert not backend.cudnn.usable and "cudnn12" in str(backend.cudnn.why_not)


def test_this_machine_says_what_is_missing():
    """Whatever it is, asking for 'cuda' gives a backend or one of the sentences above."""
    try:
        assert backend_for("cuda").name == "cuda"
    except DeviceError as error:
        assert str(error).startswith("device 'cuda': ")
