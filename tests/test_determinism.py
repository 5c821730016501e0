"""Deterministic algorithms: the same bits whatever the number of threads, and what has none is refused."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy
import pytest
import standin

import tensorgrad
from tensorgrad import determinism, nn, optim
from tensorgrad.backend import cuda_scatter
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.errors import ArgumentError, OperandError, UnsupportedError


@pytest.fixture(autouse=True)
def as_before():
    threads = tensorgrad.get_num_threads()
    yield
    tensorgrad.use_deterministic_algorithms(False)
    tensorgrad.set_num_threads(threads)


def network(channels: int = 16) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.ReLU()),  # direct
        *(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.ReLU()),  # Winograd from 32 channels on
        nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),  # depthwise
        *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2 * channels * 64, 300), nn.Linear(300, 10)),
    )


def trained(threads: int, dtype: tensorgrad.dtype) -> list[numpy.ndarray]:
    """The parameters after two steps with so many threads."""
    tensorgrad.set_num_threads(threads)
    tensorgrad.manual_seed(0)
    model = network().to(dtype)
    x, target = tensorgrad.randn(24, 3, 32, 32, dtype=dtype), tensorgrad.randint(0, 10, (24,))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()
    return [parameter.detach().numpy().copy() for parameter in model.parameters()]


def equal(one: list[numpy.ndarray], other: list[numpy.ndarray]) -> bool:
    return all(numpy.array_equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [tensorgrad.float32, tensorgrad.float64])
def test_the_bits_do_not_depend_on_the_number_of_threads(dtype: tensorgrad.dtype):
    apart = [trained(threads, dtype) for threads in (1, 3)]
    assert not equal(*apart)  # else this test could not fail
    tensorgrad.use_deterministic_algorithms(True)
    first, *others = (trained(threads, dtype) for threads in (1, 2, 3, 5))
    assert all(equal(first, other) for other in others)
    for one, other in zip(first, apart[0], strict=True):
        numpy.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("images", [1, 20])
def test_numpys_convolutions(kernel: int, images: int):
    """Without compiled kernels."""
    random = numpy.random.default_rng(0)
    x = random.standard_normal((images, 24, 40, 40)).astype(numpy.float32)
    dz = random.standard_normal((images, 32, 41 - kernel, 41 - kernel)).astype(numpy.float32)
    settings = (kernel, kernel), (1, 1), (0, 0, 0, 0), (1, 1), 1
    kernels = type("Kernels", (NumpyConvolutionKernels,), {"xp": numpy})()
    tensorgrad.use_deterministic_algorithms(True)
    found = []
    for threads in (1, 2, 5):
        tensorgrad.set_num_threads(threads)
        found.append(kernels.conv2d_weight_grad(dz, x, *settings))
    assert equal(found[:1] * 2, found[1:])


@pytest.mark.parametrize(
    "compute", [lambda x: x @ x.T, lambda x: x.norm(), lambda x: x.std()], ids=["product", "norm", "std"]
)
def test_what_blas_computes(compute):
    x = tensorgrad.randn(700, 900, dtype=tensorgrad.float64)
    tensorgrad.use_deterministic_algorithms(True)
    found = []
    for threads in (1, 2, 4):
        tensorgrad.set_num_threads(threads)
        found.append(compute(x).numpy())
    assert equal(found[:1] * 2, found[1:])


# what has no deterministic algorithm


class Scatter(cuda_scatter.CudaScatterKernels):
    """On arrays that play a GPU's, without its kernels."""

    xp = standin.BACKEND.xp
    compiled = None


def scattered() -> None:
    x, index = standin.BACKEND.from_host(numpy.ones((2, 3))), standin.BACKEND.from_host(numpy.zeros((2, 3), int))
    Scatter().put_along_axis(x, index, 1, 3)


def test_what_adds_in_any_order_is_refused():
    scattered()
    tensorgrad.use_deterministic_algorithms(True)
    with pytest.raises(UnsupportedError, match=r"put_along_axis on a GPU.*warn_only=True"):
        scattered()
    tensorgrad.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match="in whatever order"):
        scattered()
    tensorgrad.use_deterministic_algorithms(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scattered()


# the names


@pytest.mark.parametrize(
    ("debug_mode", "number", "enabled", "warns"),
    [("default", 0, False, False), ("warn", 1, True, True), ("error", 2, True, False)],
)
def test_debug_modes(debug_mode: str, number: int, enabled: bool, warns: bool):
    for given in (debug_mode, number):
        tensorgrad.set_deterministic_debug_mode(given)
        assert tensorgrad.get_deterministic_debug_mode() == number
        assert tensorgrad.are_deterministic_algorithms_enabled() is enabled
        assert tensorgrad.is_deterministic_algorithms_warn_only_enabled() is warns


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tensorgrad.use_deterministic_algorithms(1), OperandError),
        (lambda: tensorgrad.use_deterministic_algorithms(True, warn_only="no"), OperandError),
        (lambda: tensorgrad.set_deterministic_debug_mode(3), ArgumentError),
        (lambda: tensorgrad.set_deterministic_debug_mode("loud"), ArgumentError),
        (lambda: tensorgrad.set_deterministic_debug_mode(True), OperandError),
        (lambda: tensorgrad.set_num_threads(0), ArgumentError),
        (lambda: tensorgrad.set_num_threads(2.0), OperandError),
        (lambda: tensorgrad.set_num_threads(True), OperandError),
    ],
)
def test_what_is_refused(call, error: type[Exception]):
    threads = tensorgrad.get_num_threads()
    with pytest.raises(error):
        call()
    assert not determinism.state.enabled and tensorgrad.get_num_threads() == threads


@pytest.mark.oracle
def test_the_names_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in (*determinism.__all__, "get_num_threads", "set_num_threads"):
        assert callable(getattr(torch, name)) and callable(getattr(tensorgrad, name))


def test_threads_of_blas_follow():
    """In a process of its own: here others may have brought a BLAS of their own."""
    program = """
import tensorgrad
from threadpoolctl import ThreadpoolController
tensorgrad.set_num_threads(1)
print({library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"
