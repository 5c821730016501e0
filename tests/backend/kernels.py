"""The kernels under test, each with its way to the device and back: the shared ones on NumPy and on the stand-in, NumPy's own
faster ones, and those of a GPU, there and on the processor."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import simulated
import standin

from tensorgrad.backend import backend_for
from tensorgrad.backend.convolution import ConvolutionKernels
from tensorgrad.backend.cuda import CUDABackend
from tensorgrad.backend.normalization import NormalizationKernels
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.backend.pooling import PoolingKernels


class OnHost:
    xp: Any = numpy

    def from_host(self, x: numpy.ndarray) -> numpy.ndarray:
        return x

    def to_host(self, x: Any) -> numpy.ndarray:
        assert isinstance(x, numpy.ndarray)  # never a NumPy scalar
        return x


class Shared(OnHost, ConvolutionKernels, PoolingKernels, NormalizationKernels):
    pass


class ForNumpy(OnHost, NumpyConvolutionKernels, NumpyPoolingKernels, NumpyNormalizationKernels):
    pass


#: The CUDA kernels of our own, run by the processor: see simulated.py.
COMPILED = pytest.param(
    "compiled", marks=pytest.mark.skipif(simulated.why_not() is not None, reason=str(simulated.why_not()))
)
KERNELS = [
    *("shared", "numpy", "standin"),
    COMPILED,
    pytest.param("cuda", marks=pytest.mark.gpu),
    pytest.param("cuda without cuDNN", marks=pytest.mark.gpu),
]


def kernels_named(name: str) -> Any:
    """The kernels by their name in KERNELS."""
    if name == "shared":
        return Shared()
    if name == "numpy":
        return ForNumpy()
    if name == "compiled":
        return simulated.BACKEND
    if name == "cuda without cuDNN":
        return CUDABackend(backend_for("cuda").xp)
    return standin.BACKEND if name == "standin" else backend_for(name)


def channels_last(x: numpy.ndarray) -> numpy.ndarray:
    """The same values with NHWC memory."""
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def batch_last(x: numpy.ndarray) -> numpy.ndarray:
    """The same values (N, ...) with memory (..., N)."""
    return numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(x, 0, -1)), -1, 0)


def every_other(x: numpy.ndarray) -> numpy.ndarray:
    """The same values as every other element of a larger array, with nan between: no stride is what it seems."""
    wide = numpy.full(tuple(2 * n for n in x.shape), numpy.nan, x.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view


LAYOUTS = {"contiguous": numpy.ascontiguousarray, "channels last": channels_last, "strided": every_other}
