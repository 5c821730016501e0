"""The CuPy backend: the same kernels on an NVIDIA GPU. CuPy is imported here and nowhere else, when first asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy

from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.cuda_convolution import CudaConvolutionKernels
from tensorgrad.backend.cuda_kernels import Compiled
from tensorgrad.backend.cuda_loss import CudaLossKernels
from tensorgrad.backend.cuda_normalization import CudaNormalizationKernels
from tensorgrad.backend.cuda_pooling import CudaPoolingKernels
from tensorgrad.backend.cuda_scatter import CudaScatterKernels
from tensorgrad.backend.cuda_update import CudaUpdateKernels
from tensorgrad.device import Device
from tensorgrad.dtypes import is_bfloat16
from tensorgrad.errors import DeviceError, DtypeError


class CUDABackend(
    CudaConvolutionKernels,
    CudaPoolingKernels,
    CudaNormalizationKernels,
    CudaLossKernels,
    CudaScatterKernels,
    CudaUpdateKernels,
    ArrayBackend,
):
    """Kernels on cupy.ndarray: those of our own (cuda_*.cu) where they take the arrays, else those for every array library."""

    name = "cuda"

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        self.array_type = xp.ndarray
        self.compiled = Compiled(xp) if hasattr(xp, "RawModule") else None

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
    """The backend, or a DeviceError that says what is missing: CuPy itself or a GPU."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda': CuPy is not installed; install the extra gpu12 or gpu13 (for CUDA 12 or 13): pip install 'tapegrad[gpu12]'"
        ) from error
    if not cupy.cuda.is_available():
        raise DeviceError("device 'cuda': CuPy finds no NVIDIA GPU on this machine; use device='cpu'")
    return CUDABackend(cupy)
