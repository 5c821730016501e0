"""Kernels written once for every array library that speaks NumPy's names: the complete reference set.

`ArrayBackend(xp)` is the backend over the module xp. Only names that NumPy and CuPy share are used, and no array is ever
turned into a Python number on the way (on a GPU that would wait for the device). What one library can do faster
is overridden in cpu.py or cuda.py.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy

from tensorgrad.backend.convolution import ConvolutionKernels, summable
from tensorgrad.backend.loss import LossKernels
from tensorgrad.backend.normalization import NormalizationKernels
from tensorgrad.backend.pooling import PoolingKernels
from tensorgrad.backend.resampling import ResamplingKernels
from tensorgrad.backend.selection import ScanKernels
from tensorgrad.backend.sliding import SlidingKernels
from tensorgrad.backend.special import SpecialKernels
from tensorgrad.backend.update import UpdateKernels
from tensorgrad.device import Device

Array = Any

# Our name -> the array library's. Functions of a fixed number of arrays, element by element.
ELEMENTWISE = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "true_divide",
    "negative": "negative",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "sin": "sin",
    "cos": "cos",
    "tanh": "tanh",
    "abs": "absolute",
    "sign": "sign",
    "square": "square",
    "reciprocal": "reciprocal",
    "maximum": "maximum",
    "minimum": "minimum",
    "fmax": "fmax",
    "fmin": "fmin",
    "where": "where",
    # more functions of real numbers
    **{name: name for name in ("exp2", "expm1", "log1p", "log2", "log10", "tan", "sinh", "cosh")},
    **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")},
    **{name: name for name in ("floor", "ceil", "trunc", "hypot", "logaddexp", "logaddexp2", "heaviside", "copysign")},
    "fmod": "fmod",
    "remainder": "remainder",
    "floor_divide": "floor_divide",
    # whole numbers and their bits
    **{name: name for name in ("gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor")},
    "bitwise_not": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
    # truths
    "equal": "equal",
    "not_equal": "not_equal",
    "less": "less",
    "less_equal": "less_equal",
    "greater": "greater",
    "greater_equal": "greater_equal",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "logical_xor": "logical_xor",
    "logical_not": "logical_not",
    "isnan": "isnan",
    "isinf": "isinf",
    "isfinite": "isfinite",
    "signbit": "signbit",
}

# Powers that are products and quotients of few numbers.
SIMPLE_POWERS: dict[float, Any] = {
    1: lambda x: x + 0,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    4: lambda x: (x * x) * (x * x),
    -1: lambda x: 1 / x,
    -2: lambda x: 1 / (x * x),
}

# Functions of an array and settings, with the same arguments here and there.
STRUCTURAL = (
    "argmax",
    "argmin",
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "flip",
    "may_share_memory",
    "ones_like",
    "reshape",
    "stack",
    "take_along_axis",
    "transpose",
    "zeros_like",
)


class ArrayBackend(
    ConvolutionKernels,
    PoolingKernels,
    NormalizationKernels,
    ResamplingKernels,
    SlidingKernels,
    ScanKernels,
    SpecialKernels,
    LossKernels,
    UpdateKernels,
):
    """The kernels over one array library. `name` is the device type; `array_type` the type of its arrays."""

    name: str
    array_type: type

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        for ours, theirs in {**ELEMENTWISE, **{name: name for name in STRUCTURAL}}.items():
            if not hasattr(type(self), ours):  # else the class has a better one
                setattr(self, ours, getattr(xp, theirs))

    def __getattr__(self, name: str) -> Any:  # only for names that are nowhere: say which kernel is missing
        raise AttributeError(f"the {type(self).__name__} has no kernel {name!r}")

    # devices and hosts

    def check_device(self, device: Device) -> None:
        """Refuse a device number that is not there."""

    def on(self, device: Device | None) -> AbstractContextManager[Any]:
        """Inside, new arrays are made on this device; without a number on the current one."""
        return nullcontext()

    def device_of(self, x: Array) -> Device:
        """Where the array lives."""
        return Device(self.name)

    def to_host(self, x: Array) -> numpy.ndarray:
        """The values as a NumPy array."""
        raise NotImplementedError

    def from_host(self, x: numpy.ndarray, device: Device | None = None) -> Array:
        """A NumPy array's values as an array here."""
        return self.xp.asarray(x)

    def address(self, x: Array) -> int:
        """Of the first value in memory."""
        return int(x.data.ptr)

    def from_dlpack(self, x: Any) -> Array:
        """An array on the memory of another library's."""
        return self.xp.from_dlpack(x)

    def to_dlpack(self, x: Array, **settings: Any) -> Any:
        """The memory as a DLPack capsule."""
        return x.__dlpack__(**settings)

    # creation

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        return self.xp.asarray(x, dtype=dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype)

    def ones(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.ones(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Array:
        return self.xp.full(shape, value, dtype)

    def arange(self, start: Any, stop: Any, step: Any, dtype: Any) -> Array:
        return self.xp.arange(start, stop, step, dtype=dtype)

    # random numbers; a backend that draws itself has draw_uniform and draw_kept

    def draws(self, streams: list[Any], shape: tuple[int, ...], dtype: Any) -> bool:
        """Whether numbers are drawn here from the host's streams; else the host draws them."""
        return False

    # element by element

    def cast(self, x: Array, dtype: Any) -> Array:
        return x.astype(dtype)

    def copy(self, x: Array) -> Array:
        return x.copy(order="K")

    def contiguous(self, x: Array) -> Array:
        """A copy whose values lie in the order of its dimensions."""
        return x.copy(order="C")

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + e^-x), without overflow: the exponential is only ever taken of -|x|."""
        xp = self.xp
        e = xp.exp(-xp.absolute(x))
        return xp.where(x >= 0, 1, e) / (1 + e)

    def power(self, x: Array, y: Any) -> Array:
        """x^y. Of whole numbers a negative power is 0 (but for a base of 1 or -1), as in PyTorch; NumPy refuses it."""
        xp = self.xp
        if x.dtype.kind == "b" and (isinstance(y, bool) or y.dtype.kind == "b"):
            return xp.power(x, y).astype(x.dtype)
        if isinstance(y, (int, float)) and x.dtype.kind == "f" and y in SIMPLE_POWERS:
            return SIMPLE_POWERS[y](x)  # an array library takes a logarithm and an exponential: up to 200 times as long
        if x.dtype.kind not in "iu" or isinstance(y, (int, float)) or y.dtype.kind != "i":
            return xp.power(x, y)
        upward = xp.power(x, xp.maximum(y, 0))
        downward = xp.where(x == 1, 1, xp.where(x == -1, 1 - 2 * (y % 2), 0)).astype(upward.dtype)
        return xp.where(y < 0, downward, upward)

    def round(self, x: Array, decimals: int) -> Array:
        """To the nearest multiple of 10^-decimals, halves to the even one."""
        if not decimals:
            return self.xp.rint(x)
        scale = 10.0 ** abs(decimals)
        return self.xp.rint(x * scale) / scale if decimals > 0 else self.xp.rint(x / scale) * scale

    def value(self, curve: Any, x: Array) -> Array:
        """A function of one element, by its formula; a backend that has it as one pass over memory takes that."""
        return curve.formula(self, x)

    def along(self, curve: Any, d: Array, *kept: Array) -> Array:
        """d times the derivative of such a function, by its formula."""
        return curve.times_slope(self, d, *kept)

    def relu_grad(self, dz: Array, z: Array) -> Array:
        """dz where z > 0, else a true zero (also where dz is not finite)."""
        return self.xp.where(z > 0, dz, 0)

    def prelu(self, x: Array, weight: Array) -> Array:
        """x where x > 0, else weight x; weight (1), or (C) for dimension 1."""
        return self.xp.where(x > 0, x, x * _over_channels(weight, x))

    def prelu_grad(self, dz: Array, x: Array, weight: Array) -> tuple[Array, Array]:
        """(dx, dw) for the cotangent dz of prelu's result; sums of float16 are taken in float32."""
        xp, positive = self.xp, x > 0
        dx = xp.where(positive, dz, dz * _over_channels(weight, x))
        along = xp.where(positive, 0, dz * x)
        axes = None if weight.size == 1 else (0, *range(2, x.ndim))
        dw = along.sum(axis=axes, dtype=xp.float32 if x.dtype == xp.float16 else x.dtype)
        return dx, dw.reshape(weight.shape).astype(weight.dtype)

    def clamp(self, x: Array, low: Any, high: Any) -> Array:
        if low is not None:
            x = self.xp.maximum(x, low)
        if high is not None:
            x = self.xp.minimum(x, high)
        return x

    def inner_product_bias(self, x: Array, w: Array, b: Array) -> Array:
        """x w^T + b for x (..., n), w (m, n), b (m)."""
        z = self.matmul(x, w.T)
        z += b
        return z

    # reductions; `axis` is a tuple of axes, None means all

    def sum(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.sum(axis=axis, keepdims=keepdims)

    def sum_of_squares(self, x: Array, axis: Any, keepdims: bool) -> Array:
        """The sum of x^2; of float16 in float32, where 256^2 is still a number, and as float32."""
        wide = summable(self.xp, x)
        return (wide * wide).sum(axis=axis, keepdims=keepdims)

    def length(self, x: Array, axis: Any, keepdims: bool) -> Array:
        """The root of the sum of squares."""
        z = self.xp.sqrt(self.sum_of_squares(x, axis, keepdims))
        return z if z.dtype == x.dtype else z.astype(x.dtype)

    def mean(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.mean(axis=axis, keepdims=keepdims)

    def amax(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.max(axis=axis, keepdims=keepdims)

    def amin(self, x: Array, axis: Any, keepdims: bool) -> Array:
        return x.min(axis=axis, keepdims=keepdims)

    def var(self, x: Array, axis: Any, correction: int, keepdims: bool) -> Array:
        return x.var(axis=axis, ddof=correction, keepdims=keepdims)

    # indexing: `index` is anything NumPy takes; arrays in it live on this device

    def getitem(self, x: Array, index: Any) -> Array:
        return x[index]

    def unslice(self, dz: Array, index: Any, shape: tuple[int, ...]) -> Array:
        """z = 0 of `shape`, then z[index] = dz, for an index of slices and numbers: its adjoint."""
        z = self.xp.zeros(shape, dz.dtype)
        z[index] = dz
        return z

    def nonzero(self, mask: Array) -> tuple[Array, ...]:
        """The positions of the true values, an array of indices a dimension."""
        found: tuple[Array, ...] = self.xp.nonzero(mask)
        return found

    def pad(self, x: Array, widths: tuple[tuple[int, int], ...], value: float) -> Array:
        """x with a border of `value`; keeps the order in which x lies in memory."""
        shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
        z = self.empty_like(x, shape)
        z[...] = value
        inside = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, widths))
        z[inside] = x
        return z

    def empty_like(self, x: Array, shape: tuple[int, ...] | None = None) -> Array:
        """An array of x's dtype and `shape`, its axes ordered in memory as those of x (channels-last stays so)."""
        if shape is None or len(shape) != x.ndim:
            return self.xp.empty(x.shape if shape is None else shape, x.dtype)
        order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
        place = [0] * x.ndim
        for position, axis in enumerate(order):
            place[axis] = position
        return self.xp.empty(tuple(shape[axis] for axis in order), x.dtype).transpose(place)


def _over_channels(weight: Array, x: Array) -> Array:
    """(1) or (C), to be broadcast against x (N, C, ...)."""
    return weight.reshape((-1, *(1,) * (x.ndim - 2)) if weight.size > 1 else (1,) * x.ndim)
