"""The NumPy backend: the reference kernels, with what NumPy alone can do faster."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.device import Device
from tensorgrad.errors import DeviceError


class CPUBackend(NumpyConvolutionKernels, NumpyPoolingKernels, NumpyNormalizationKernels, ArrayBackend):
    """Kernels on numpy.ndarray."""

    name = "cpu"
    array_type = numpy.ndarray

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        # infinities and nan are values here, not reasons for a warning: log(0), 1/0, e^1000
        for kernel in ("divide", "power", "exp", "log", "sqrt", "sin", "cos", "reciprocal"):
            setattr(self, kernel, numpy.errstate(all="ignore")(getattr(self, kernel)))

    def check_device(self, device: Device) -> None:
        if device.index not in (None, 0):
            raise DeviceError(f"device: got '{device}'; there is one 'cpu'")

    def to_host(self, x: Any) -> numpy.ndarray:
        return x

    def address(self, x: Any) -> int:
        return int(x.__array_interface__["data"][0])


CPU = CPUBackend(numpy)
