"""autograd.Function under autocast: forward and backward of the user's in the same dtypes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.autocasting import autocast, get_autocast_dtype, is_autocast_enabled
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float64, is_floating
from tensorgrad.ops.operands import cast
from tensorgrad.tensor import Tensor


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: Any = None
) -> Callable[..., Any]:
    """Decorates `forward` of an autograd.Function, so that `custom_bwd` knows how it ran.

    device_type  'cpu' or 'cuda'
    cast_inputs  in a region of autocast, the floating-point Tensors on such devices are cast to this dtype (but float64), and
                 forward runs outside of the region; None leaves them and the region as they are

    >>> import tensorgrad
    >>> class Cube(tensorgrad.autograd.Function):
    ...     @staticmethod
    ...     @custom_fwd(device_type="cpu", cast_inputs=tensorgrad.float32)
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     @custom_bwd(device_type="cpu")
    ...     def backward(ctx, dz):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x ** 2 * dz
    >>> with tensorgrad.autocast("cpu", tensorgrad.float16):
    ...     Cube.apply(tensorgrad.ones(2).half()).dtype
    dtype('float32')
    """
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        on = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type) if on else None
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        dtype = numpy.dtype(cast_inputs)
        with autocast(device_type, ctx._dtype, enabled=False):
            return fwd(ctx, *_converted(args, device_type, dtype), **_converted(kwargs, device_type, dtype))

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorates `backward` of an autograd.Function whose forward has `custom_fwd`: it runs under autocast if forward did."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        if not ctx._fwd_used_autocast:
            return bwd(ctx, *args, **kwargs)
        with autocast(device_type, ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward


def _converted(value: Any, device_type: str, dtype: Any) -> Any:
    """Arguments with their floating-point Tensors on such devices in the dtype, but those of float64."""
    if isinstance(value, Tensor):
        there = backend_of(value.array).name == device_type
        return cast(value, dtype) if there and is_floating(value.dtype) and value.dtype != float64 else value
    if type(value) in (tuple, list):
        return type(value)(_converted(part, device_type, dtype) for part in value)
    if type(value) is dict:
        return {key: _converted(part, device_type, dtype) for key, part in value.items()}
    return value
