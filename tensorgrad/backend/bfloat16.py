"""bfloat16 on the processor: stored in 16 bits, computed in float32, as PyTorch does it.

NumPy knows the dtype (from the package ml_dtypes) but mixes it badly: beside a Python number it becomes float32, and a long
sum stands still once it is 256 times its next term. So arrays of it have a type of their own, `BFloat16Array`, and with it
a backend of their own: its kernels widen what goes in, and narrow what comes out. Operators between arrays do the same.
The mathematics above never notices, and arrays of other dtypes pay nothing.
"""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.device import Device
from tensorgrad.dtypes import is_bfloat16

Array = Any

#: Kernels that move values and do not compute: they work on bfloat16 as it is.
MOVING = (
    "as_strided broadcast_to concatenate copy empty_like expand_dims flip getitem may_share_memory ones_like reshape stack "
    "take_along_axis transpose unslice windows zeros_like"
).split()


class BFloat16Array(numpy.ndarray[Any, Any]):
    """A NumPy array of dtype bfloat16."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **settings: Any) -> Any:
        found = getattr(ufunc, method)(*[widened(x) for x in inputs], **settings)
        if out is None:
            return narrowed(found)
        (target,) = out
        target[...] = found
        return target

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        if function is numpy.where:  # found by the type of the condition, not by ours
            return narrowed(numpy.where(*widened(tuple(arguments))))
        return numpy.ndarray.__array_function__(self, function, types, arguments, settings)

    def __array_finalize__(self, source: Any) -> None:
        """Nothing to hand on: the dtype says it all."""

    def __getitem__(self, index: Any) -> Any:
        found = numpy.ndarray.__getitem__(self, index)
        return found if isinstance(found, numpy.ndarray) else _viewed(numpy.asarray(found, self.dtype))

    def astype(self, dtype: Any, *arguments: Any, **settings: Any) -> Any:
        found = self.view(numpy.ndarray).astype(dtype, *arguments, **settings)
        return stored(found)


def _viewed(x: numpy.ndarray) -> Array:
    return x.view(BFloat16Array)


def stored(x: Any) -> Any:
    """A NumPy array as it stands on a Tensor: one of dtype bfloat16 in its own type, others as they are.

    A number of NumPy's, which arrays without dimensions turn into, counts as an array.
    """
    if (type(x) is numpy.ndarray or isinstance(x, numpy.generic)) and is_bfloat16(x.dtype):
        return _viewed(numpy.asarray(x))
    return x


def widened(x: Any) -> Any:
    """Arrays of bfloat16 as float32, also inside of lists and tuples; everything else as it is."""
    if isinstance(x, BFloat16Array):
        return x.view(numpy.ndarray).astype(numpy.float32)
    if isinstance(x, (list, tuple)):
        parts = [widened(part) for part in x]
        return parts if type(x) is list else tuple(parts)
    return x


def narrowed(x: Any) -> Any:
    """What a kernel computed in float32, in bfloat16 again."""
    if isinstance(x, tuple):
        return tuple(narrowed(part) for part in x)
    if isinstance(x, (numpy.ndarray, numpy.generic)) and x.dtype == numpy.float32:
        import ml_dtypes

        return _viewed(numpy.asarray(x).astype(ml_dtypes.bfloat16))
    return x


class BFloat16Backend:
    """The kernels of another backend on arrays of bfloat16: widened, computed, narrowed."""

    name = "cpu"
    array_type = BFloat16Array

    def __init__(self, wide: Any) -> None:
        self.wide = wide

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self.wide, name)
        if not callable(kernel):
            return kernel

        def narrow_kernel(*arguments: Any, **settings: Any) -> Any:
            wide_settings = {key: widened(value) for key, value in settings.items()}
            return narrowed(kernel(*[widened(x) for x in arguments], **wide_settings))

        chosen = self._moving(kernel) if name in MOVING else narrow_kernel
        setattr(self, name, chosen)  # made once
        return chosen

    @staticmethod
    def _moving(kernel: Any) -> Any:
        def move(*arguments: Any, **settings: Any) -> Any:
            return stored(kernel(*arguments, **settings))

        return move

    # kernels that change arrays in place: what they made of the wide copies goes back into the arrays

    def sgd_update(self, w: Array, dw: Array, velocity: Array | None, *settings: Any) -> None:
        self._in_place(self.wide.sgd_update, (w, dw, velocity), settings)

    def adam_update(self, w: Array, dw: Array, m: Array, v: Array, largest: Array | None, *settings: Any) -> None:
        self._in_place(self.wide.adam_update, (w, dw, m, v, largest), settings)

    def move_running(self, running: Array, value: Array, *settings: Any) -> None:
        self._in_place(self.wide.move_running, (running, value), settings)

    @staticmethod
    def _in_place(kernel: Any, arrays: tuple[Any, ...], settings: tuple[Any, ...]) -> None:
        wide = widened(arrays)
        kernel(*wide, *settings)
        for place, (narrow, computed) in enumerate(zip(arrays, wide)):
            if narrow is not None and place != 1:  # the second is what they go by, a gradient or a value: not changed
                narrow[...] = computed

    def where(self, condition: Array, x: Any, y: Any) -> Array:
        return narrowed(self.wide.where(condition, widened(x), widened(y)))

    # of norms the statistics stay in float32, as those of float16 do, and gradients of weights in the weights' dtype

    def batch_norm(self, *arguments: Any) -> tuple[Array, ...]:
        z, *statistics = self.wide.batch_norm(*widened(arguments))
        return narrowed(z), *statistics

    def batch_norm_relu(self, *arguments: Any) -> tuple[Array, ...]:
        z, *statistics = self.wide.batch_norm_relu(*widened(arguments))
        return narrowed(z), *statistics

    def batch_norm_relu_grad(
        self, dz: Any, x: Any, weight: Any, bias: Any, mean: Any, inv_std: Any
    ) -> tuple[Array, ...]:
        y = self.normalize(x, mean, inv_std, weight, bias)
        return self.batch_norm_grad(self.where(y > 0, dz, 0), x, weight, mean, inv_std)

    def layer_norm(self, *arguments: Any) -> tuple[Array, ...]:
        z, *statistics = self.wide.layer_norm(*widened(arguments))
        return narrowed(z), *statistics

    def group_norm(self, *arguments: Any) -> tuple[Array, ...]:
        z, *statistics = self.wide.group_norm(*widened(arguments))
        return narrowed(z), *statistics

    def rms_norm(self, *arguments: Any) -> tuple[Array, ...]:
        z, inv_rms = self.wide.rms_norm(*widened(arguments))
        return narrowed(z), inv_rms

    def group_norm_grad(self, *arguments: Any) -> tuple[Array, ...]:
        return self._norm_grad(self.wide.group_norm_grad, arguments)

    def batch_norm_grad(self, *arguments: Any) -> tuple[Array, ...]:
        return self._norm_grad(self.wide.batch_norm_grad, arguments)

    def layer_norm_grad(self, *arguments: Any) -> tuple[Array, ...]:
        return self._norm_grad(self.wide.layer_norm_grad, arguments)

    @staticmethod
    def _norm_grad(kernel: Any, arguments: tuple[Any, ...]) -> tuple[Array, ...]:
        dx, dw, db = kernel(*widened(arguments))
        weight = arguments[2]
        return (
            (narrowed(dx), narrowed(dw), narrowed(db)) if isinstance(weight, BFloat16Array) else (narrowed(dx), dw, db)
        )

    def cast(self, x: Array, dtype: Any) -> Array:
        return stored(x.astype(dtype))  # x may be what a comparison gave

    def device_of(self, x: Array) -> Device:
        return Device("cpu")

    def to_host(self, x: Array) -> numpy.ndarray:
        return x.view(numpy.ndarray)
