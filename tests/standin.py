"""A strict stand-in for CuPy, backed by NumPy, so that the switch between NumPy and CuPy is proven without a GPU.

`StandInArray` keeps its values where nobody gets at them by accident: whatever would silently read them on the host, or mix
them with NumPy arrays, raises HostAccess. The module-like object `standin` has exactly the names of NumPy that our kernels
call, each checked against CuPy itself in tests/backend/test_cupy_names.py; any other name is an AttributeError.

Stricter than CuPy on purpose: bool(), float(), int() and iteration, which CuPy allows, make a GPU wait for the host.
As in CuPy, and unlike NumPy, a result without dimensions is an array too.

`StandInBackend` is the CuPy backend over this module, as device 'standin'; nothing of its code is replaced.
"""

from __future__ import annotations

import types
from typing import Any

import host_cublas
import numpy
import standin_cuda
from standin_cuda import CUDA, changed, computed

from tensorgrad.backend import register
from tensorgrad.backend.cuda import CUDABackend


class HostAccess(TypeError):
    """Values on the device were about to be read on the host, or mixed with values on the host."""


def _refused(what: str) -> Any:
    def refuse(self: Any, *arguments: Any, **settings: Any) -> Any:
        raise HostAccess(f"{what} of an array on the device reads its values on the host")

    return refuse


def _inside(value: Any, where: str, lists: bool = False) -> Any:
    """What NumPy is called with for `value`: NumPy's array for ours, numbers and settings as they are."""
    if isinstance(value, StandInArray):
        return value._values
    if isinstance(value, numpy.ndarray):
        raise HostAccess(f"{where}: got a NumPy array; values on the device do not mix with values on the host")
    if isinstance(value, (tuple, list)):
        if not lists and _holds_arrays(value):
            raise HostAccess(f"{where}: got a list of arrays; CuPy takes one array")
        return type(value)(_inside(part, where, lists) for part in value)
    return value


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_holds_arrays(part) for part in value)
    return isinstance(value, (StandInArray, numpy.ndarray))


def _outside(value: Any) -> Any:
    """NumPy's result as ours: also a scalar becomes an array, without dimensions."""
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return StandInArray(numpy.asarray(value))
    return tuple(_outside(part) for part in value) if isinstance(value, tuple) else value


class Flags:
    """The three flags that a CuPy array has."""

    def __init__(self, flags: Any) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata


class StandInArray:
    """An array on the device 'standin'."""

    __slots__ = ("__weakref__", "_values")
    __array_priority__ = 100
    __array_ufunc__ = None  # an operator with a NumPy array on the left comes to us, and is refused
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: numpy.ndarray) -> None:
        assert type(values) is numpy.ndarray
        self._values = values

    def __repr__(self) -> str:
        return f"<array on the stand-in device, shape {self.shape}, {self.dtype}>"

    shape = property(lambda self: self._values.shape)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    dtype = property(lambda self: self._values.dtype)
    itemsize = property(lambda self: self._values.itemsize)
    nbytes = property(lambda self: self._values.nbytes)
    strides = property(lambda self: self._values.strides)
    flags = property(lambda self: Flags(self._values.flags))
    T = property(lambda self: _outside(self._values.T))
    device = property(lambda self: CUDA.Device(0))
    data = property(lambda self: types.SimpleNamespace(ptr=self._values.__array_interface__["data"][0]))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> StandInArray:
        return _outside(computed(self._values.__getitem__, _index(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        changed(self._values.__setitem__, _index(index), _inside(value, "x[index] = value"))

    # the methods, with CuPy's arguments (out= and order= left out where we never pass them)

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> StandInArray:
        values = computed(self._values.astype, dtype, order=order, copy=copy)
        return self if values is self._values else StandInArray(values)

    def copy(self, order: str = "C") -> StandInArray:
        return StandInArray(computed(self._values.copy, order=order))

    def fill(self, value: Any) -> None:
        changed(self._values.fill, _inside(value, "fill"))

    def reshape(self, *shape: Any, order: str = "C") -> StandInArray:
        return _outside(computed(self._values.reshape, *_inside(shape, "reshape"), order=order))

    def transpose(self, *axes: Any) -> StandInArray:
        return _outside(self._values.transpose(*_inside(axes, "transpose")))

    def squeeze(self, axis: Any = None) -> StandInArray:
        return _outside(self._values.squeeze(axis=axis))

    def ravel(self, order: str = "C") -> StandInArray:
        return _outside(computed(self._values.ravel, order=order))

    def sum(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("sum", axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("mean", axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(self, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("prod", axis=axis, dtype=dtype, keepdims=keepdims)

    def var(self, axis: Any = None, dtype: Any = None, *, ddof: int = 0, keepdims: bool = False) -> StandInArray:
        return self._reduced("var", axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("max", axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("min", axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("any", axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> StandInArray:
        return self._reduced("all", axis=axis, keepdims=keepdims)

    def _reduced(self, name: str, **settings: Any) -> StandInArray:
        return _outside(computed(getattr(self._values, name), **settings))


def _operator(name: str) -> Any:
    method = getattr(numpy.ndarray, f"__{name}__")
    in_place = name.startswith("i") and name != "invert"

    def operator(self: StandInArray, *others: Any) -> Any:
        for other in others:
            if not isinstance(other, (StandInArray, bool, int, float, numpy.generic, numpy.ndarray)):
                return NotImplemented
        if name in ("matmul", "rmatmul"):
            standin_cuda.product_by_cupy((self, *others))
        inside = [_inside(other, name) for other in others]
        if in_place:
            changed(method, self._values, *inside)
            return self
        return _outside(computed(method, self._values, *inside))

    return operator


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
for _name in ("array", "bool", "float", "int", "index", "complex", "iter", "contains"):
    setattr(StandInArray, f"__{_name}__", _refused(f"__{_name}__"))
for _name in ("item", "tolist", "tobytes"):
    setattr(StandInArray, _name, _refused(f"{_name}()"))
for _name in (
    *_BINARY,
    *(f"r{name}" for name in _BINARY),
    *("iadd", "isub", "imul", "itruediv", "ipow", "iand", "ior"),
    *("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"),
):
    setattr(StandInArray, f"__{_name}__", _operator(_name))


def _index(index: Any) -> Any:
    """An index as NumPy takes it; one tuple of parts is no list of arrays."""
    if isinstance(index, tuple):
        return tuple(_inside(part, "index") for part in index)
    return _inside(index, "index")


# The allow-list: functions of NumPy that CuPy has too, by what stands behind them here.
FUNCTIONS = (
    "arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor ceil copysign cosh exp2 expm1 "
    "floor floor_divide fmax fmin fmod gcd heaviside hypot invert isinf lcm left_shift log10 log1p log2 logaddexp2 "
    "logical_xor remainder right_shift rint signbit sinh tan trunc "
    "absolute add cos divide equal exp greater greater_equal isfinite isnan less less_equal log logical_and logical_not "
    "logical_or maximum minimum multiply negative not_equal power reciprocal sign sin sqrt square subtract tanh true_divide "
    "argmax argmin argsort bincount broadcast_to cumprod cumsum expand_dims flip logaddexp matmul may_share_memory nonzero "
    "ones_like reshape searchsorted take take_along_axis transpose where zeros_like"
).split()
OF_LISTS = ("concatenate", "stack")
CREATION = ("arange", "empty", "full", "ones", "zeros")
CONSTANTS = ("float16", "float32", "float64", "inf", "int32", "int64", "nan", "newaxis", "pi", "uint8")
#: The arguments we pass by name, for CuPy's names of some differ from NumPy's.
KEYWORDS = {
    "arange": ("dtype",),
    "argmax": ("axis", "keepdims"),
    "argmin": ("axis", "keepdims"),
    "argsort": ("axis", "kind"),
    "bincount": ("weights", "minlength"),
    "cumprod": ("axis",),
    "cumsum": ("axis",),
    "searchsorted": ("side",),
    "concatenate": ("axis",),
    "stack": ("axis",),
}
#: What cupyx.scatter_add, and so cupy.add.at, can add up.
ADD_AT_DTYPES = ("int32", "uint32", "uint64", "float16", "float32", "float64")


class Function:
    """One function of the module; `add`, `maximum` and `minimum` have CuPy's `.at` besides."""

    def __init__(self, name: str, lists: bool = False) -> None:
        self.__name__ = name
        self.function = getattr(numpy, name)
        self.lists = lists
        self.__doc__ = self.function.__doc__

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        name = self.__name__
        unknown = set(settings) - set(KEYWORDS.get(name, ()))
        if unknown:
            raise TypeError(f"{name}: {', '.join(unknown)} is not among the arguments checked against CuPy")
        if name not in CREATION and not any(_holds_arrays(value) for value in arguments):
            raise HostAccess(f"{name}: got no array on the device among {arguments}")
        if name == "matmul":
            standin_cuda.product_by_cupy(arguments)
        if name in OF_LISTS and len(arguments[0]) > 8:  # CuPy makes a table of the arrays' addresses on the host
            standin_cuda.from_host(8 * len(arguments[0]))
        inside = [_inside(value, name, self.lists and position == 0) for position, value in enumerate(arguments)]
        named = {key: _inside(value, name) for key, value in settings.items()}
        found = computed(self.function, *inside, **named)
        if name == "broadcast_to":  # NumPy's cannot be written, CuPy's can
            found = numpy.lib.stride_tricks.as_strided(inside[0], found.shape, found.strides)
        return _outside(found)

    def at(self, x: StandInArray, index: Any, values: Any) -> None:
        """x[index] = x[index] o values, repeated indices counting all; CuPy has it for these three."""
        name = self.__name__
        if name not in ("add", "maximum", "minimum"):
            raise AttributeError(f"{name}.at is not among the names we call")
        if x.dtype not in ADD_AT_DTYPES:
            raise TypeError(f"{name}.at: CuPy cannot take {x.dtype}")
        changed(self.function.at, x._values, _index(index), _inside(values, f"{name}.at"))


class Random:
    """standin.random"""

    class Generator:
        """The methods that CuPy's Generator shares with NumPy's, as far as we call them."""

        def __init__(self, seed: Any = None) -> None:
            self._generator = numpy.random.default_rng(seed)

        def random(self, size: Any = None, dtype: Any = numpy.float64) -> StandInArray:
            return _outside(self._generator.random(size, dtype))

        def standard_normal(self, size: Any = None, dtype: Any = numpy.float64) -> StandInArray:
            return _outside(self._generator.standard_normal(size, dtype))

    @staticmethod
    def default_rng(seed: Any = None) -> Random.Generator:
        return Random.Generator(seed)


class Lib:
    """standin.lib"""

    class stride_tricks:
        @staticmethod
        def as_strided(x: StandInArray, shape: Any = None, strides: Any = None) -> StandInArray:
            if not isinstance(x, StandInArray):
                raise HostAccess(f"as_strided: got a {type(x).__name__}")
            return _outside(numpy.lib.stride_tricks.as_strided(x._values, shape, strides))


class StandIn:
    """The module. A name that is not here is not in CuPy, or nobody has checked that it is."""

    ndarray = StandInArray
    lib = Lib
    random = Random
    cuda = CUDA

    def __init__(self) -> None:
        for name in (*FUNCTIONS, *CREATION):
            setattr(self, name, Function(name))
        for name in OF_LISTS:
            setattr(self, name, Function(name, lists=True))
        for name in CONSTANTS:
            setattr(self, name, getattr(numpy, name))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name!r} is not on the stand-in's list of names that NumPy and CuPy share")

    @staticmethod
    def asarray(x: Any, dtype: Any = None) -> StandInArray:
        """The one way from the host to the device, always into memory of the device's own."""
        if isinstance(x, StandInArray):
            return x if dtype is None else x.astype(dtype, copy=False)
        if isinstance(x, (list, tuple)) and _holds_arrays(x):
            raise HostAccess("asarray: got a list of arrays")
        values = numpy.array(x, dtype=dtype, copy=True, order="K")
        standin_cuda.from_host(values.nbytes)
        return StandInArray(values)

    @staticmethod
    def get_default_memory_pool() -> standin_cuda.MemoryPool:
        return standin_cuda.default_pool

    @staticmethod
    def get_default_pinned_memory_pool() -> standin_cuda.MemoryPool:
        return standin_cuda.pinned_pool

    @staticmethod
    def from_dlpack(x: Any) -> StandInArray:
        """An array on the memory of another of the device's arrays."""
        return StandInArray(numpy.from_dlpack(x._values))

    @staticmethod
    def asnumpy(x: Any) -> numpy.ndarray:
        """The one way back, a copy."""
        standin_cuda.to_host()
        return x._values.copy(order="K") if isinstance(x, StandInArray) else numpy.asarray(x)


standin = StandIn()


class StandInBackend(CUDABackend):
    """The CuPy backend over the stand-in; only its name differs."""

    name = "standin"

    def __init__(self, xp: Any, cudnn: Any = None) -> None:
        super().__init__(xp, cudnn, host_cublas.HostCublas(xp))


BACKEND = StandInBackend(standin)
register(BACKEND, StandInArray, device="standin")
