"""The NumPy backend: the reference kernels, with what NumPy alone can do faster."""

from __future__ import annotations

import math
from typing import Any

import numpy

from tensorgrad.backend.array import ArrayBackend
from tensorgrad.backend.bfloat16 import stored
from tensorgrad.backend.loss import NumpyLossKernels
from tensorgrad.backend.numpy_convolution import NumpyConvolutionKernels
from tensorgrad.backend.numpy_normalization import NumpyNormalizationKernels
from tensorgrad.backend.numpy_pooling import NumpyPoolingKernels
from tensorgrad.backend.parallel import product, share
from tensorgrad.backend.selection import NumpyScanKernels
from tensorgrad.backend.update import BlockedUpdateKernels
from tensorgrad.device import Device
from tensorgrad.dtypes import is_bfloat16
from tensorgrad.errors import DeviceError, DtypeError

#: Multiplications of a matrix product: up to the first OpenBLAS uses one thread anyway, and its call costs half of a kernel's;
#: from the second on two threads are worth it also on a machine that has other things to do.
ALONE_IN_BLAS, WORTH_THREADS = 1 << 18, 1 << 23


#: Numbers up to which Python's own erf, one after the other, takes less time than forty functions of arrays.
FEW = 256


def _each(function: Any, x: Any) -> Any:
    return numpy.array([function(number) for number in x.reshape(-1).tolist()], x.dtype).reshape(x.shape)


#: Kernels that meet infinities and nan in earnest, where NumPy would warn.
SILENT = (
    *("divide", "power", "reciprocal", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt"),
    *(
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan2",
        "sinh",
        "cosh",
        "acosh",
        "atanh",
        "hypot",
        "logaddexp",
        "logaddexp2",
    ),
    *("xlogy", "rsqrt", "sinc", "erf", "erfc", "erfcx", "entr", "log_ndtr", "xlog1py", "erfinv", "round", "cast"),
)


def _division(name: str, kernel: Any) -> Any:
    """Whole numbers cannot be divided by 0, as in PyTorch; a GPU, there as here, does not look."""

    def divide(x: Any, y: Any) -> Any:
        try:
            with numpy.errstate(all="ignore", divide="raise" if x.dtype.kind in "iu" else "ignore"):
                return kernel(x, y)
        except FloatingPointError:
            raise DtypeError(f"{name}: a whole number is divided by 0; use floating-point numbers") from None

    return divide


# called with all arguments by position, which NumPy's stubs do not know
_add_up: Any = numpy.add.reduce
#: Numbers of which BLAS adds up the products in one go: of 2^26 equal ones its sum would be 3 % off.
PIECE = 1 << 12
_largest: Any = numpy.maximum.reduce
_smallest: Any = numpy.minimum.reduce


#: Before NumPy 2.1 DLPack said nothing of who may write, and NumPy let nobody.
READS_ONLY = numpy.lib.NumpyVersion(numpy.__version__) < "2.1.0"


class _Writable:
    """What numpy.asarray makes an array from that has the memory of x and may be written to; it keeps x alive."""

    def __init__(self, x: numpy.ndarray) -> None:
        self.x = x
        self.__array_interface__ = {**x.__array_interface__, "data": (x.ctypes.data, False)}


class CPUBackend(
    NumpyConvolutionKernels,
    NumpyPoolingKernels,
    NumpyNormalizationKernels,
    NumpyScanKernels,
    NumpyLossKernels,
    BlockedUpdateKernels,
    ArrayBackend,
):
    """Kernels on numpy.ndarray."""

    name = "cpu"
    array_type = numpy.ndarray

    def __init__(self, xp: Any) -> None:
        super().__init__(xp)
        # infinities and nan are values here, not reasons for a warning: log(0), 1/0, e^1000
        for kernel in SILENT:
            setattr(self, kernel, numpy.errstate(all="ignore")(getattr(self, kernel)))
        for kernel in ("floor_divide", "fmod", "remainder"):
            setattr(self, kernel, _division(kernel, getattr(self, kernel)))

    def matmul(self, x: Any, y: Any) -> Any:
        """x y, where two threads of BLAS would wait for each other longer than they work: in one.

        float16 is multiplied and summed in float32, as PyTorch does it; BLAS knows no float16, and NumPy's own loop is slow.
        """
        if x.dtype == y.dtype == numpy.float16:
            return self.cast(self.matmul(x.astype(numpy.float32), y.astype(numpy.float32)), numpy.float16)
        products = x.size * y.shape[-1] if y.ndim > 1 else 0
        if not ALONE_IN_BLAS < products < WORTH_THREADS:
            return product(x, y)
        result: list[Any] = []
        share(1, lambda _start, _stop: result.append(numpy.matmul(x, y)), worthwhile=False, matrix_products=True)
        return result[0]

    def erf(self, x: Any) -> Any:
        return _each(math.erf, x) if 0 < x.size <= FEW and x.dtype == numpy.float32 else super().erf(x)

    def erfc(self, x: Any) -> Any:
        return _each(math.erfc, x) if 0 < x.size <= FEW and x.dtype == numpy.float32 else super().erfc(x)

    def sum_of_squares(self, x: Any, axis: Any, keepdims: bool) -> Any:
        """Over all of an array products of BLAS, in one pass over memory; in pieces, since BLAS adds up one after the other."""
        if len(axis) != x.ndim or not x.flags.c_contiguous or x.dtype.kind != "f" or x.itemsize <= 2:
            return super().sum_of_squares(x, axis, keepdims)
        line = x.reshape(-1)
        whole = x.size - x.size % PIECE
        z = numpy.dot(line[whole:], line[whole:])
        if whole:
            pieces = line[:whole].reshape(-1, PIECE)
            z = z + _add_up(numpy.vecdot(pieces, pieces))
        return z.reshape((1,) * x.ndim) if keepdims else z

    # an array's own methods, and those of ufuncs: NumPy's functions call them in the end, half a microsecond later

    def reshape(self, x: Any, shape: Any) -> Any:
        return x.reshape(shape)

    def transpose(self, x: Any, axes: Any = None) -> Any:
        return x.transpose(axes)

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any:
        """x repeated without copying, not to be written; one number, as every sum sends back, in a sixth of NumPy's time."""
        if x.size != 1 or x.ndim > len(shape):
            return numpy.broadcast_to(x, shape)
        z: Any = numpy.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
        z.flags.writeable = False
        return z

    def argmax(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return x.argmax(axis, keepdims=keepdims)

    def argmin(self, x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        return x.argmin(axis, keepdims=keepdims)

    def sum(self, x: Any, axis: Any, keepdims: bool) -> Any:
        """The sum; of float16 in float32, in which NumPy adds only numbers that lie side by side: 2048 + 1 is 2048 else."""
        if x.dtype.char == "e":
            return _add_up(x, axis, numpy.float32, None, keepdims).astype(x.dtype)
        return _add_up(x, axis, None, None, keepdims)

    def mean(self, x: Any, axis: Any, keepdims: bool) -> Any:
        if x.dtype.kind != "f" or x.itemsize < 4 or not x.size:
            return super().mean(x, axis, keepdims)
        total = self.sum(x, axis, keepdims)
        return total / (x.size // total.size)

    def amax(self, x: Any, axis: Any, keepdims: bool) -> Any:
        return _largest(x, axis, None, None, keepdims)

    def amin(self, x: Any, axis: Any, keepdims: bool) -> Any:
        return _smallest(x, axis, None, None, keepdims)

    def address(self, x: Any) -> int:
        return int(x.__array_interface__["data"][0])

    # bfloat16 has an array type of its own, from the moment it is made

    def from_host(self, x: numpy.ndarray, device: Device | None = None) -> Any:
        return stored(x)

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        return stored(super().asarray(x, dtype))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return stored(super().empty(shape, dtype))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return stored(super().zeros(shape, dtype))

    def ones(self, shape: tuple[int, ...], dtype: Any) -> Any:
        z = numpy.empty(shape, dtype)
        z.fill(1)
        return stored(z)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        return stored(super().full(shape, value, dtype))

    def arange(self, start: Any, stop: Any, step: Any, dtype: Any) -> Any:
        if is_bfloat16(dtype):
            return stored(super().arange(start, stop, step, numpy.float32).astype(dtype))
        return super().arange(start, stop, step, dtype)

    def cast(self, x: Any, dtype: Any) -> Any:
        return stored(super().cast(x, dtype))

    def check_device(self, device: Device) -> None:
        if device.index not in (None, 0):
            raise DeviceError(f"device: got '{device}'; there is one 'cpu'")

    def to_host(self, x: Any) -> numpy.ndarray:
        return x

    def from_dlpack(self, x: Any) -> Any:
        z = super().from_dlpack(x)
        return numpy.asarray(_Writable(z)) if READS_ONLY else z


CPU = CPUBackend(numpy)
