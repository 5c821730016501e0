"""Mixed precision: inside of `autocast`, operations get their Tensors in the dtype that suits them.

Every operation of `tensorgrad.autocast_table` is decorated with `under_autocast`. Outside of a region that is one call and one look.
Inside, the operation's Tensors are cast as the table says, by recorded casts, so that gradients come back in
the dtypes of what was given: weights stay in float32, and so do their gradients.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy

from tensorgrad import dtypes
from tensorgrad.autocast_table import LISTED, TABLE
from tensorgrad.backend import backend_for, backend_of, is_device_name, without_warnings
from tensorgrad.dtypes import DType, float16, float32, float64, is_bfloat16, is_floating
from tensorgrad.errors import ArgumentError, DeviceError, OperandError, UnsupportedError
from tensorgrad.mode import mode
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Kept(NamedTuple):
    """A weight's cast, good for as long as the weight is what it was."""

    weight: Tensor
    array: Any
    version: int
    cast: Tensor


class Casting:
    """What is on in a region.

    dtypes  device type -> (whether it is on there, the low precision)
    keeps   whether a weight is cast once for all its uses
    kept    the casts of weights, shared by the regions inside of one another
    """

    __slots__ = ("dtypes", "keeps", "kept")

    def __init__(
        self, dtypes: dict[str, tuple[bool, DType]], keeps: bool, kept: dict[tuple[int, DType], _Kept]
    ) -> None:
        self.dtypes = dtypes
        self.keeps = keeps
        self.kept = kept

    def key(self) -> tuple[Any, ...]:
        """What a recording of operations depends on."""
        return tuple((name, str(dtype)) for name, (on, dtype) in sorted(self.dtypes.items()) if on)

    def call(self, operation: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function on arguments that were cast as the table says; what it calls itself casts nothing more."""
        found = [x for x in _tensors((args, kwargs)) if self._low(x) is not None]
        rule = TABLE[_column(found[0])].get(operation) if found else None
        if rule is None:
            return function(*args, **kwargs)
        if rule == "refused":
            raise UnsupportedError(
                f"{operation}: probabilities in low precision are unsafe under autocast, their logarithms overflow; use "
                "binary_cross_entropy_with_logits on the scores, or autocast(..., enabled=False) around it"
            )
        dtype = self._low(found[0])
        assert dtype is not None
        if rule == "float32":
            if _has_dtype(args, kwargs):  # as in softmax(x, 0, dtype=float64): the caller has chosen
                return function(*args, **kwargs)
            dtype = float32
        elif rule == "widest" and any(x.array.dtype == float32 for x in found):
            dtype = float32
        mode.autocast = None
        try:
            return function(*self._cast(args, dtype), **self._cast(kwargs, dtype))
        finally:
            mode.autocast = self

    def _low(self, x: Tensor) -> DType | None:
        """The low precision for a Tensor; None if it is to be left alone."""
        dtype = x.array.dtype
        if dtype == float64 or not is_floating(dtype):
            return None
        on, low = self.dtypes.get(backend_of(x.array).name, (False, None))
        return low if on else None

    def _cast(self, value: Any, dtype: DType) -> Any:
        if isinstance(value, Tensor):
            return value if self._low(value) is None or value.array.dtype == dtype else self._cast_tensor(value, dtype)
        if type(value) in (tuple, list):
            return type(value)(self._cast(part, dtype) for part in value)
        if type(value) is dict:
            return {key: self._cast(part, dtype) for key, part in value.items()}
        return value

    def _cast_tensor(self, x: Tensor, dtype: DType) -> Tensor:
        is_weight = x.tracked and x.node is None and dtype != float32 and (x.extra is None or x.extra.view is None)
        if not (is_weight and self.keeps):
            return tape.cast(x, dtype)  # type: ignore[no-any-return]
        known = self.kept.get((id(x), dtype))
        if (
            known is not None
            and known.array is x.array
            and known.version == x._version
            and known.cast.tracked is mode.recording
            and (x.extra is None or not x.extra.tangents)
        ):
            return known.cast
        z: Tensor = tape.cast(x, dtype)
        self.kept[id(x), dtype] = _Kept(x, x.array, x._version, z)
        return z


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif type(value) in (tuple, list):
        for part in value:
            yield from _tensors(part)
    elif type(value) is dict:
        yield from _tensors(tuple(value.values()))


def _column(x: Tensor) -> str:
    return "cpu" if backend_of(x.array).name == "cpu" else "gpu"


def _has_dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return kwargs.get("dtype") is not None or any(isinstance(x, numpy.dtype) for x in args)


#: As many entries as regions are open, in all threads: while there is none, an operation need not look at its own thread.
OPEN: list[None] = []

_OPERATION = """
def made(_function, _name, _mode, _open):
    def operation({parameters}):
        if _open and _mode.autocast is not None:
            return _mode.autocast.call(_name, _function, ({positional}), {{{named}}})
        return _function({arguments})
    return operation
"""


@functools.cache
def _operation(positional: tuple[str, ...], spread: str, named: tuple[str, ...]) -> Callable[..., Any]:
    """Makes an operation of these parameters; written out, for `*args, **kwargs` would cost each call a quarter microsecond."""
    star = [f"*{spread}"] if spread else ["*"] if named else []
    parts = {
        "parameters": ", ".join([*positional, *star, *named]),
        "positional": "".join(f"{name}, " for name in (*positional, *([f"*{spread}"] if spread else []))),
        "named": ", ".join(f"{name!r}: {name}" for name in named),
        "arguments": ", ".join(
            [*positional, *([f"*{spread}"] if spread else []), *(f"{name}={name}" for name in named)]
        ),
    }
    # as a part of this module: whoever looks for the line of the program that called an operation passes it over
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(_OPERATION.format(**parts), __file__, "exec"), space)
    made: Callable[..., Any] = space["made"]
    return made


def under_autocast(function: _Function) -> _Function:
    """An operation of the table: inside of a region it gets its Tensors in the dtype that the table says."""
    name = function.__name__
    if name not in LISTED:
        raise ValueError(f"under_autocast: {name} is in no list of tensorgrad.autocast_table")
    code = function.__code__
    count, only = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    spread = names[count + only] if code.co_flags & inspect.CO_VARARGS else ""
    operation = _operation(names[:count], spread, names[count : count + only])(function, name, mode, OPEN)
    operation.__defaults__ = function.__defaults__  # type: ignore[attr-defined]
    operation.__kwdefaults__ = function.__kwdefaults__  # type: ignore[attr-defined]
    return functools.wraps(function)(operation)  # type: ignore[return-value]


def _device_type(operation: str, device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ArgumentError(
            f"{operation}: device_type is a {type(device_type).__name__}; give a name as 'cpu' or 'cuda'"
        )
    if ":" in device_type or not is_device_name(device_type):
        raise DeviceError(f"{operation}: got device_type {device_type!r}; give the kind of device, 'cpu' or 'cuda'")
    return device_type


def _usual_dtype(device_type: str) -> DType:
    """bfloat16 on the CPU, float16 on a GPU."""
    if device_type != "cpu":
        return float16
    try:
        return dtypes.bfloat16  # type: ignore[no-any-return]
    except AttributeError as error:
        raise UnsupportedError(f"autocast: {error}") from None


class autocast:
    """A region in which operations choose their dtypes: a `with` block or a decorator.

    device_type    'cpu' or 'cuda': of the Tensors that it means; others are left alone
    dtype          the low precision, float16 or bfloat16; None is bfloat16 on the CPU and float16 on a GPU
    enabled        False: within another region, everything runs in the dtypes of what it is given
    cache_enabled  whether a weight is cast once for all its uses in the outermost region; None is as around it, else True

    Products of matrices and convolutions run in the low precision, losses, exponentials and norms in float32; the lists are
    in tensorgrad.autocast_table. Weights stay in float32, and so do their gradients. Only the forward pass belongs in the
    region; backward runs in the dtypes that it chose. Each thread has its own. With float16 small gradients become 0:
    see GradScaler.

    Where the device is not there, or the dtype is not one of the two, it warns and is off, as in PyTorch.

    >>> import tensorgrad
    >>> w = tensorgrad.ones(3, 2, requires_grad=True)
    >>> with tensorgrad.autocast("cpu", tensorgrad.float16):
    ...     z = tensorgrad.ones(4, 3) @ w
    >>> z.dtype, w.dtype
    (dtype('float16'), dtype('float32'))
    >>> z.sum().backward()
    >>> w.grad.dtype
    dtype('float32')
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.device = _device_type("autocast", device_type)
        self.cache_enabled = cache_enabled
        self._enabled = bool(enabled)
        if dtype is None:
            self.fast_dtype = get_autocast_dtype(self.device) if enabled or self.device != "cpu" else float16
        else:
            self.fast_dtype = numpy.dtype(dtype)
        if self._enabled and not (self.fast_dtype == float16 or is_bfloat16(self.fast_dtype)):
            self._off(f"dtype {self.fast_dtype} is not a low precision; give float16 or bfloat16")
        if self._enabled and self.device != "cpu":
            try:
                backend_for(self.device)
            except DeviceError as error:
                self._off(str(error))

    def _off(self, reason: str) -> None:
        warnings.warn(f"autocast is off: {reason}", stacklevel=3)
        self._enabled = False

    def __enter__(self) -> autocast:
        around = mode.autocast
        quiet = without_warnings()  # float16 overflows at 65504: that is for GradScaler, not for NumPy to tell
        quiet.__enter__()
        mode.regions.append([self, around, quiet])
        keeps = self.cache_enabled
        if keeps is None:
            keeps = True if around is None else around.keeps
        known = {} if around is None else around.dtypes
        OPEN.append(None)
        mode.autocast = Casting(
            {**known, self.device: (self._enabled, self.fast_dtype)}, keeps, {} if around is None else around.kept
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        regions = mode.regions  # of this thread, each with what was on around it; see tensorgrad.mode
        position = next((i for i in reversed(range(len(regions))) if regions[i][0] is self), None)
        if position is None:
            return  # entered in another thread, by a generator that is closed in this one
        _, around, quiet = regions[position]
        if position == len(regions) - 1 or kind not in (None, GeneratorExit):
            mode.autocast = around
            gone = regions[position:]
        else:  # a generator is left out of turn: the region inside of it is still on, and gives back what was around this one
            regions[position + 1][1] = around
            gone = regions[position : position + 1]
        del regions[position : position + len(gone)]
        del OPEN[: len(gone)]
        quiet.__exit__(None, None, None)

    def __call__(self, function: _Function) -> _Function:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is in a region of autocast that means Tensors on such devices.

    >>> is_autocast_enabled("cpu")
    False
    """
    name = _device_type("is_autocast_enabled", device_type)
    return mode.autocast is not None and mode.autocast.dtypes.get(name, (False, None))[0]


def get_autocast_dtype(device_type: str) -> DType:
    """The low precision of autocast on such devices: of the region around, or the usual one.

    >>> get_autocast_dtype("cuda")
    dtype('float16')
    """
    name = _device_type("get_autocast_dtype", device_type)
    if mode.autocast is not None and name in mode.autocast.dtypes:
        return mode.autocast.dtypes[name][1]  # type: ignore[no-any-return]
    return _usual_dtype(name)


def is_autocast_cache_enabled() -> bool:
    """Whether a region entered now casts a weight once for all its uses."""
    return mode.autocast is None or mode.autocast.keeps


def clear_autocast_cache() -> None:
    """Forget the casts of weights that the region around has kept."""
    if mode.autocast is not None:
        mode.autocast.kept.clear()


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows devices of that name, be they there or not.

    >>> is_autocast_available("cuda"), is_autocast_available("toaster")
    (True, False)
    """
    if not isinstance(device_type, str):
        raise OperandError(
            f"is_autocast_available: device_type is a {type(device_type).__name__}; give a name as 'cpu'"
        )
    return is_device_name(device_type)


@contextmanager
def same_autocast(casting: Casting | None) -> Iterator[None]:
    """Inside, the region is what it was when `casting` was noted, with weights cast anew: for what is computed again."""
    before = mode.autocast
    OPEN.append(None)
    mode.autocast = None if casting is None else Casting(casting.dtypes, casting.keeps, {})
    try:
        yield
    finally:
        mode.autocast = before
        OPEN.pop()
