"""The CuPy backend: the same kernels on an NVIDIA GPU. CuPy is imported here and nowhere else, when first asked for."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy

from tensorgrad.backend import cublas, cuda_errors, cudnn_graphs
from tensorgrad.backend.cuda_cudnn import CudnnKernels
from tensorgrad.backend.cuda_elementwise import CudaElementwiseKernels
from tensorgrad.backend.cuda_kernels import Compiled
from tensorgrad.backend.cuda_loss import CudaLossKernels
from tensorgrad.backend.cuda_normalization import CudaNormalizationKernels
from tensorgrad.backend.cuda_pooling import CudaPoolingKernels
from tensorgrad.backend.cuda_random import CudaRandomKernels
from tensorgrad.backend.cuda_scatter import CudaScatterKernels
from tensorgrad.backend.cuda_update import CudaUpdateKernels
from tensorgrad.backends import cuda as cuda_switches
from tensorgrad.device import Device
from tensorgrad.dtypes import is_bfloat16
from tensorgrad.errors import DeviceError, DtypeError
from tensorgrad.mode import mode

#: How many arrays CuPy joins by a launch for each of them.
AT_ONCE = 8


class CUDABackend(
    CudnnKernels,
    CudaPoolingKernels,
    CudaNormalizationKernels,
    CudaLossKernels,
    CudaScatterKernels,
    CudaUpdateKernels,
    CudaRandomKernels,
    CudaElementwiseKernels,
):
    """Kernels on cupy.ndarray: those of our own (cuda_*.cu) where they take the arrays, else those for every array library."""

    name = "cuda"

    def __init__(self, xp: Any, cudnn: cudnn_graphs.Cudnn | None = None, products: cublas.Cublas | None = None) -> None:
        super().__init__(xp)
        self.array_type = xp.ndarray
        self.compiled = Compiled(xp) if hasattr(xp, "RawModule") else None
        self.cudnn = cudnn
        self.products = products  # None: by CuPy, which captures none
        self.concatenate = functools.partial(self._joined, xp.concatenate)
        self.stack = functools.partial(self._joined, xp.stack)
        self._tf32 = False  # CuPy's own choice, but for CUPY_TF32=1

    def _joined(self, join: Any, arrays: Any, axis: int = 0) -> Any:
        """Of more arrays than AT_ONCE CuPy copies the addresses from the host, which no graph may hold: then some at a time."""
        if mode.capturing is None or len(arrays) <= AT_ONCE:
            return join(arrays, axis=axis)
        parts = [join(arrays[i : i + AT_ONCE], axis=axis) for i in range(0, len(arrays), AT_ONCE)]
        return self._joined(self.xp.concatenate, parts, axis)

    def check_device(self, device: Device) -> None:
        count = self.xp.cuda.runtime.getDeviceCount()
        if device.index is not None and device.index >= count:
            raise DeviceError(f"device: got '{device}'; this machine has {count} GPU(s), '{self.name}:0' the first")

    def on(self, device: Device | None) -> AbstractContextManager[Any]:
        if device is None or device.index is None:
            return nullcontext()
        return self.xp.cuda.Device(device.index)  # type: ignore[no-any-return]

    def device_of(self, x: Any) -> Device:
        return Device(self.name, int(x.device.id))

    def matmul(self, x: Any, y: Any) -> Any:
        """x y, with TensorFloat-32 where backends.cuda.matmul.allow_tf32 says so."""
        if self.products is not None:
            z = self.products.matmul(x, y, cuda_switches.matmul.allow_tf32)
            if z is not None:
                return z
        if cuda_switches.matmul.allow_tf32 is not self._tf32:
            self._tf32 = cuda_switches.matmul.allow_tf32
            products = self.xp._core._routines_linalg
            kind = products.COMPUTE_TYPE_TF32 if self._tf32 else products.COMPUTE_TYPE_DEFAULT
            products.set_compute_type(numpy.float32, kind)
        return self.xp.matmul(x, y)

    def to_host(self, x: Any) -> numpy.ndarray:
        return self.xp.asnumpy(x)

    def cast(self, x: Any, dtype: Any) -> Any:
        self._refuse_bfloat16(dtype)
        return super().cast(x, dtype)

    def _refuse_bfloat16(self, dtype: Any) -> None:
        if is_bfloat16(numpy.dtype(dtype)):
            raise DtypeError(f"bfloat16 is not there on '{self.name}': use float16 or float32, or the CPU")

    def from_host(self, x: numpy.ndarray, device: Device | None = None) -> Any:
        self._refuse_bfloat16(x.dtype)
        with self.on(device):
            return self.xp.asarray(x)


def load() -> CUDABackend:
    """The backend, or a DeviceError that says what is missing and what to do."""
    cupy = cuda_errors.cupy_with_a_gpu()
    return CUDABackend(cupy, cudnn_graphs.load(cupy), cublas.load(cupy))
