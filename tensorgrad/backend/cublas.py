"""Matrix products on a GPU by cuBLAS, called without CuPy in between.

CuPy refuses every product while a CUDA graph is captured ("calling cuBLAS API during stream capture is currently unsupported",
CuPy 13 and 14), and nearly every step has one. It also copies what is transposed in a stack of matrices, and widens float16
there. cuBLAS itself does none of that, so it is asked here, by the library that CuPy has loaded.

cuBLAS counts a matrix by columns: what lies in memory as M by rows is M^T to it. So z = x y is asked for as z^T = y^T x^T.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import threading
from typing import Any, NamedTuple

from tensorgrad.errors import DeviceError
from tensorgrad.mode import mode

Array = Any

#: dtype -> cuBLAS's names for it and for what is computed with; and the numbers 1 and 0 in that.
KINDS = {
    "float16": (2, 68, ctypes.c_float(1), ctypes.c_float(0)),
    "float32": (0, 68, ctypes.c_float(1), ctypes.c_float(0)),
    "float64": (1, 70, ctypes.c_double(1), ctypes.c_double(0)),
}
TF32, DEFAULT_ALGORITHM = 77, -1
STATUSES = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED, no memory",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
}
#: The memory that a captured product may use. cuBLAS would take some of its own, which a graph must not: 32 MiB is what NVIDIA
#: recommends for the newest GPUs.
WORKSPACE = 32 << 20
#: Launches that a product may take where its stacks cannot be walked through in one stride; else the operands are copied.
MOST_LAUNCHES = 64
LIMIT = 1 << 31

_handle, _pointer, _number, _long = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
#: What the functions of cuBLAS take; each gives a status.
ARGUMENTS: dict[str, list[Any]] = {
    "cublasCreate_v2": [ctypes.POINTER(ctypes.c_void_p)],
    "cublasSetStream_v2": [_handle, ctypes.c_void_p],
    "cublasSetWorkspace_v2": [_handle, _pointer, ctypes.c_size_t],
    "cublasGemmStridedBatchedEx": [
        *(_handle, _number, _number),  # whether the left and the right one are transposed
        *(_number, _number, _number, _pointer),  # rows, columns, depth; the factor of the product
        *(_pointer, _number, _number, _long),  # the left one: where, dtype, step between columns, step in the stack
        *(_pointer, _number, _number, _long),
        *(_pointer, _pointer, _number, _number, _long),  # the factor of what was there before; the result
        *(_number, _number, _number),  # matrices in the stack, what is computed with, the algorithm
    ],
}


class Readable(NamedTuple):
    """A matrix, or a stack of them, as cuBLAS can read it."""

    array: Array
    transposed: bool
    step: int


def readable(x: Array) -> Readable:
    """x (..., rows, columns) where it lies, if its rows or its columns lie in order there; else a copy."""
    rows, columns = x.shape[-2:]
    to_row, to_column = (step // x.itemsize for step in x.strides[-2:])
    if (to_column == 1 or columns == 1) and (LIMIT > to_row >= columns or rows == 1):
        return Readable(x, False, to_row if rows > 1 else columns)
    if (to_row == 1 or rows == 1) and (LIMIT > to_column >= rows or columns == 1):
        return Readable(x, True, to_column if columns > 1 else rows)
    return Readable(x.copy(order="C"), False, columns)


class Axis(NamedTuple):
    """A dimension of the stacks: its length, and the steps in elements from one matrix to the next, in x, y and z."""

    size: int
    x: int
    y: int
    z: int


def axes_of(shape: tuple[int, ...], x: Array, y: Array, matrix: int) -> list[Axis]:
    """The dimensions of stacks of this shape, those that can be walked through in one stride made one."""
    found: list[Axis] = []
    step = matrix
    for place in range(-1, -1 - len(shape), -1):
        size = shape[place]
        axis = Axis(size, _step(x, place), _step(y, place), step)
        step *= size
        if size == 1:
            continue
        inner = found[-1] if found else None
        if inner is not None and axis[1:] == tuple(inner.size * one for one in inner[1:]):
            found[-1] = inner._replace(size=inner.size * size)
        else:
            found.append(axis)
    return found


def _step(x: Array, place: int) -> int:
    """In elements, along a dimension of the stack; 0 where one matrix serves all."""
    place -= 2
    return 0 if -place > x.ndim or x.shape[place] == 1 else x.strides[place] // x.itemsize


class _Handles(threading.local):
    """cuBLAS's handles of a thread, by device."""

    def __init__(self) -> None:
        self.by_device: dict[int, Any] = {}


class Cublas:
    """cuBLAS for one array module (CuPy)."""

    def __init__(self, xp: Any, library: Any) -> None:
        self.xp = xp
        self.library = library
        self._handles = _Handles()

    def matmul(self, x: Array, y: Array, tf32: bool) -> Array | None:
        """x y for matrices and stacks of them, which broadcast, or vectors; None for what is left to CuPy (whole numbers, nothing).

        Raises DeviceError for arrays on two devices, and where cuBLAS cannot do it.
        """
        if x.dtype.name not in KINDS or x.dtype != y.dtype or not (x.size and y.size and x.ndim and y.ndim):
            return None
        if x.ndim == 1 or y.ndim == 1:
            z = self.matmul(x.reshape(1, -1) if x.ndim == 1 else x, y.reshape(-1, 1) if y.ndim == 1 else y, tf32)
            dropped = (-2,) * (x.ndim == 1) + (-1,) * (y.ndim == 1)
            return None if z is None else z.squeeze(dropped)
        if x.shape[-1] != y.shape[-2]:
            return None
        if x.device.id != y.device.id:
            raise DeviceError(
                f"matmul: got arrays on 'cuda:{x.device.id}' and 'cuda:{y.device.id}'; move one with .to(device)"
            )
        stack = _broadcast(x.shape[:-2], y.shape[:-2])
        if stack is None or max(*x.shape, *y.shape, math.prod(stack)) >= LIMIT:
            return None
        if x.ndim > 2 and y.ndim == 2 and x.flags.c_contiguous:  # one tall matrix
            tall = self.matmul(x.reshape(-1, x.shape[-1]), y, tf32) if x.size // x.shape[-1] < LIMIT else None
            return None if tall is None else tall.reshape(*x.shape[:-1], y.shape[-1])
        with x.device:
            return self._product(x, y, stack, tf32)

    def _product(self, x: Array, y: Array, stack: tuple[int, ...], tf32: bool) -> Array:
        rows, columns = x.shape[-2], y.shape[-1]
        z = self.xp.empty((*stack, rows, columns), x.dtype)
        left, right = readable(y), readable(x)
        axes = axes_of(stack, right.array, left.array, rows * columns)
        if math.prod(axis.size for axis in axes) > MOST_LAUNCHES * max((axis.size for axis in axes), default=1):
            left, right = (self._stacked(one.array, stack) for one in (left, right))
            axes = axes_of(stack, right.array, left.array, rows * columns)
        largest = max(axes, default=Axis(1, 0, 0, 0))
        others = [axis for axis in axes if axis is not largest]
        for places in itertools.product(*(range(axis.size) for axis in others)):
            starts = [sum(place * axis[kind] for place, axis in zip(places, others)) for kind in (1, 2, 3)]
            self.launch(left, right, z, starts, largest, tf32)
        return z

    def _stacked(self, x: Array, stack: tuple[int, ...]) -> Readable:
        """x with a matrix of its own for every place in the stack."""
        return readable(self.xp.broadcast_to(x, (*stack, *x.shape[-2:])).copy(order="C"))

    def launch(self, left: Readable, right: Readable, z: Array, starts: list[int], axis: Axis, tf32: bool) -> None:
        """One call: the matrices of an axis, from these places in x, y and z on."""
        dtype, computed, one, zero = KINDS[z.dtype.name]
        rows, columns = z.shape[-2:]
        x, y, result = (
            array.data.ptr + start * z.itemsize for array, start in zip((right.array, left.array, z), starts)
        )
        self._call(
            "cublasGemmStridedBatchedEx", self._handle(), int(left.transposed), int(right.transposed), columns, rows,
            right.array.shape[-1], ctypes.byref(one), y, dtype, left.step, axis.y, x, dtype, right.step, axis.x,
            ctypes.byref(zero), result, dtype, columns, axis.z, axis.size, TF32 if tf32 and dtype == 0 else computed,
            DEFAULT_ALGORITHM,
        )  # fmt: skip

    def _handle(self) -> Any:
        """The thread's handle for the present device, on the present stream."""
        cuda = self.xp.cuda
        device = int(cuda.Device().id)
        handle = self._handles.by_device.get(device)
        if handle is None:
            handle = ctypes.c_void_p()
            self._call("cublasCreate_v2", ctypes.byref(handle))
            self._handles.by_device[device] = handle
        self._call("cublasSetStream_v2", handle, cuda.get_current_stream().ptr)  # its workspace is its own again
        capture = mode.capturing
        if capture is not None:
            if capture.workspace is None:
                capture.workspace = self.xp.empty((WORKSPACE,), self.xp.uint8)
                capture.keep(capture.workspace)
            self._call("cublasSetWorkspace_v2", handle, capture.workspace.data.ptr, WORKSPACE)
        return handle

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status != 0:
            raise DeviceError(
                f"matmul: {name} of cuBLAS failed with status {status} ({STATUSES.get(status, 'unknown')})"
            )


def _broadcast(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, ...] | None:
    """The common shape of two stacks, None where there is none."""
    found = []
    for one, other in itertools.zip_longest(reversed(x), reversed(y), fillvalue=1):
        if one != other and 1 not in (one, other):
            return None
        found.append(max(one, other))
    return tuple(reversed(found))


def load(xp: Any) -> Cublas | None:
    """cuBLAS as CuPy has it; None where the system does not find that library by its name, as outside of Linux."""
    try:
        xp.cuda.cublas  # noqa: B018  (CuPy loads the library when first asked)
        library = ctypes.CDLL(f"libcublas.so.{xp.cuda.runtime.runtimeGetVersion() // 1000}")
        for name, arguments in ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
    except (ImportError, OSError, AttributeError):  # products go through CuPy then, and are not captured
        return None
    return Cublas(xp, library)
