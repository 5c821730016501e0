"""The NumPy backend: the reference kernels, with what NumPy alone can do faster."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.backend.parallel import share
from tensorgrad.device import Device
from tensorgrad.errors import DeviceError

#: Multiplications of a matrix product: up to the first OpenBLAS uses one thread anyway, from the second on two are worth it
#: also on a machine that has other things to do.
ALONE_IN_BLAS, WORTH_THREADS = 1 << 18, 1 << 23


class CPUBackend(NumpyConvolutionKernels, NumpyPoolingKernels, NumpyNormalizationKernels, ArrayBackend):
    """Kernels on numpy.ndarray."""

    name = "cpu"
    array_type = numpy.ndarray

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        # infinities and nan are values here, not reasons for a warning: log(0), 1/0, e^1000
        for kernel in ("divide", "power", "exp", "log", "sqrt", "sin", "cos", "reciprocal"):
            setattr(self, kernel, numpy.errstate(all="ignore")(getattr(self, kernel)))

    def matmul(self, x: Any, y: Any) -> Any:
        """x y, where two threads of BLAS would wait for each other longer than they work: in one."""
        products = x.size * y.shape[-1] if y.ndim else 0
        if not ALONE_IN_BLAS < products < WORTH_THREADS:
            return numpy.matmul(x, y)
        result: list[Any] = []
        share(1, lambda _start, _stop: result.append(numpy.matmul(x, y)), worthwhile=False, matrix_products=True)
        return result[0]

    def check_device(self, device: Device) -> None:
        if device.index not in (None, 0):
            raise DeviceError(f"device: got '{device}'; there is one 'cpu'")

    def to_host(self, x: Any) -> numpy.ndarray:
        return x


CPU = CPUBackend(numpy)
