"""Arrays that write down what is done with them.

While a step is recorded, every array in it is a Recorded: it holds the real array, computes with it at once, and enters the
operation into the Program. It has a backend of its own, so that kernels are entered as one operation each. Whatever would
read values on the host, or bring values from outside, works too, but spoils the recording: the program says why.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy

from tensorgrad.backend import array_types, backend_of, register
from tensorgrad.mode import mode

if TYPE_CHECKING:
    from tensorgrad.replay.program import Program


class Recorded:
    """A real array, and the number it has in a program."""

    __slots__ = ("__weakref__", "array", "number", "program")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, number: int, program: Program) -> None:
        self.array = array
        self.number = number
        self.program = program

    def __repr__(self) -> str:
        return f"<recorded array {self.number}, shape {self.shape}, {self.dtype}>"

    # what the guards hold fixed may be read

    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    dtype = property(lambda self: self.array.dtype)
    itemsize = property(lambda self: self.array.itemsize)
    nbytes = property(lambda self: self.array.nbytes)
    strides = property(lambda self: self.array.strides)
    flags = property(lambda self: self.array.flags)
    T = property(lambda self: self.transpose())

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        if index == () and type(index) is tuple:
            return self
        return self.program.enter(operator.getitem, (self, index), text="{0}[{1}]")

    def __setitem__(self, index: Any, value: Any) -> None:
        self.program.enter(operator.setitem, (self, index, value), text="{0}[{1}] = {2}", changes=True)

    def fill(self, value: Any) -> None:
        self[...] = value

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        """A function of NumPy was called with it, as by an operator with an array on the left."""
        if method == "__call__" and not settings and out is not None and len(inputs) == 2 and out[0] is inputs[0]:
            self.program.spoil("an array that was not recorded is changed")
        if method != "__call__" or out is not None or settings:
            self.program.spoil(f"numpy.{function.__name__} with {method}")
            inputs = tuple(raw(x) for x in inputs)
            if out is not None:
                settings["out"] = tuple(raw(x) for x in out)
            return getattr(function, method)(*inputs, **settings)
        return self.program.enter(function, inputs)

    # reading values: right, but no recording any more

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> numpy.ndarray:
        self.program.spoil("values are read on the host")
        return numpy.asarray(self.array, dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.program.spoil(f"an array's {name} is used")
        return getattr(self.array, name)


def raw(x: Any) -> Any:
    """The real arrays in place of recorded ones, also inside tuples, lists, dicts and slices."""
    if isinstance(x, Recorded):
        return x.array
    if type(x) in (tuple, list):
        return type(x)(raw(part) for part in x)
    if type(x) is dict:
        return {key: raw(part) for key, part in x.items()}
    if type(x) is slice:
        return slice(raw(x.start), raw(x.stop), raw(x.step))
    return x


def _binary(name: str, sign: str) -> None:
    function = getattr(operator, name)

    def forward(self: Recorded, other: Any) -> Any:
        return self.program.enter(function, (self, other), text=f"{{0}} {sign} {{1}}")

    def backward(self: Recorded, other: Any) -> Any:
        return self.program.enter(function, (other, self), text=f"{{0}} {sign} {{1}}")

    def in_place(self: Recorded, other: Any) -> Any:
        in_place_function = getattr(operator, f"i{name.strip('_')}")
        self.program.enter(in_place_function, (self, other), text=f"{{0}} {sign}= {{1}}", changes=True)
        return self

    bare = name.strip("_")
    setattr(Recorded, f"__{bare}__", forward)
    if sign not in ("<", "<=", ">", ">=", "==", "!="):
        setattr(Recorded, f"__r{bare}__", backward)
        setattr(Recorded, f"__i{bare}__", in_place)


def _unary(name: str, sign: str) -> None:
    function = getattr(operator, name)
    setattr(
        Recorded,
        f"__{name}__",
        lambda self: self.program.enter(function, (self,), text=sign + "{0}" if sign else None),
    )


def _method(name: str) -> None:
    def method(self: Recorded, *arguments: Any, **settings: Any) -> Any:
        function = operator.methodcaller(name, *raw(arguments), **raw(settings))
        return self.program.enter(function, (self, *arguments), settings, text=f"{{0}}.{name}")

    setattr(Recorded, name, method)


def _reading(name: str) -> None:
    def read(self: Recorded, *arguments: Any) -> Any:
        self.program.spoil(f"values are read on the host by {name}")
        return getattr(self.array, name)(*arguments)

    setattr(Recorded, name, read)


for _name, _sign in (
    *(("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("floordiv", "//"), ("mod", "%"), ("pow", "**")),
    *(("matmul", "@"), ("and_", "&"), ("or_", "|"), ("xor", "^")),
    *(("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!=")),
):
    _binary(_name, _sign)
for _name, _sign in (("neg", "-"), ("pos", "+"), ("invert", "~"), ("abs", "")):
    _unary(_name, _sign)
for _name in ("astype copy reshape transpose squeeze ravel swapaxes sum mean prod var std max min any all").split():
    _method(_name)
for _name in ("__bool__", "__float__", "__int__", "__index__", "__iter__", "__contains__", "item", "tolist"):
    _reading(_name)


class RecordingBackend:
    """The kernels of another backend, each entered into the program as one operation."""

    #: Kernels that tell about arrays nothing but what the guards hold fixed.
    ABOUT_ARRAYS = ("check_device", "device_of", "may_share_memory", "on")
    #: Kernels whose results' shapes depend on values.
    OF_UNKNOWN_SHAPE = ("nonzero", "unique")

    def __init__(self, inner: Any, array_type: type[Recorded]) -> None:
        self.inner = inner
        self.name = inner.name
        self.array_type = array_type

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.inner, name)
        if not callable(kernel):
            return kernel
        entered = self._about(kernel) if name in self.ABOUT_ARRAYS else self._entered(name, kernel)
        setattr(self, name, entered)
        return entered

    @staticmethod
    def _about(kernel: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: kernel(*raw(arguments))

    def _entered(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        # NumPy's own function, where the kernel only silences its warnings: a replay silences them once for all
        plain = getattr(kernel, "__wrapped__", None)
        function = plain if isinstance(plain, numpy.ufunc) else kernel

        def enter(*arguments: Any, **settings: Any) -> Any:
            program = mode.recorder
            if program is None:
                return kernel(*raw(arguments), **raw(settings))
            if name in self.OF_UNKNOWN_SHAPE:
                program.spoil(f"{name}: the shape of its result depends on values")
            return program.enter(kernel, arguments, settings, name=name, replayed=function)

        return enter

    def to_host(self, x: Any) -> Any:
        if isinstance(x, Recorded):
            x.program.spoil("values are read on the host")
        return self.inner.to_host(raw(x))

    def from_host(self, x: Any, device: Any = None) -> Any:
        program = mode.recorder
        if program is not None:
            program.spoil("a Tensor is made of the host's values")
        return self.inner.from_host(raw(x), device)


_backends: dict[int, RecordingBackend] = {}


def recording_backend(inner: Any) -> RecordingBackend:
    """What takes the place of a backend in a thread that records; registered when first asked for."""
    if isinstance(inner, RecordingBackend):
        return inner
    backend = _backends.get(id(inner))
    if backend is None:
        kind = type("Recorded", (Recorded,), {"__slots__": (), "__hash__": None})
        backend = _backends[id(inner)] = RecordingBackend(inner, kind)
        register(backend, kind)
        array_types.add(kind)
    return backend


def recorded_kind(array: Any) -> type[Recorded]:
    """The class of Recorded for arrays of this type."""
    return recording_backend(backend_of(array)).array_type


@contextmanager
def recording_into(program: Program, arrays: Iterable[Any]) -> Iterator[None]:
    """Inside, in this thread, what is done with Recorded arrays goes into the program.

    Real arrays of the same types then have the recording backend too: where one turns up, the recording is spoiled, but a
    kernel may be given both.
    """
    inner = {type(array): backend_of(array) for array in arrays}
    for kind, backend in inner.items():
        register(recording_backend(backend), kind)
    mode.recorder = program
    try:
        yield
    finally:
        mode.recorder = None
        for kind, backend in inner.items():
            register(backend, kind)
