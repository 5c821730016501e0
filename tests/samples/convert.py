"""From PyTorch's values to tensorgrad's and back."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad.tensor import Tensor


class NotOurs(Exception):
    """A sample with something that tensorgrad has no counterpart of."""


def ours(value: Any) -> Any:
    """PyTorch's argument as tensorgrad's; a Tensor keeps its layout and requires_grad."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.dtype.is_complex or value.layout is not torch.strided:
            raise NotOurs(f"{value.dtype}, {value.layout}")
        if value.ndim > 64:
            raise NotOurs("more dimensions than NumPy has")
        base = value.detach()
        array = bfloat16(base) if base.dtype is torch.bfloat16 else base.numpy()
        return Tensor(array.copy(order="K"), requires_grad=value.requires_grad)
    if isinstance(value, torch.dtype):
        return dtype(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (torch.layout, torch.memory_format)):
        if value in (torch.strided, torch.contiguous_format, torch.preserve_format):
            return None
        raise NotOurs(str(value))
    if isinstance(value, complex):
        raise NotOurs("a complex number")
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        kind = type(value)
        items = [ours(item) for item in value]
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    if isinstance(value, dict):
        return {
            name: ours(item) for name, item in value.items() if name not in ("layout", "memory_format", "pin_memory")
        }
    if callable(value):
        return _counterpart(value)
    return value


def _counterpart(function: Any) -> Any:
    """Our function or layer of the same name as PyTorch's; another function with our Tensors in it will do."""
    if not type(function).__module__.startswith("torch") and not getattr(function, "__module__", "").startswith(
        "torch"
    ):
        return function
    if hasattr(tg.nn.functional, getattr(function, "__name__", "")):
        return getattr(tg.nn.functional, function.__name__)
    if hasattr(tg.nn, type(function).__name__):
        return getattr(tg.nn, type(function).__name__)()
    raise NotOurs(str(function))


def bfloat16(x: Any) -> Any:
    import torch

    return x.view(torch.int16).numpy().view(tg.bfloat16)


def dtype(value: Any) -> Any:
    import torch

    if value.is_complex or str(value).startswith("torch.float8"):
        raise NotOurs(str(value))
    name = str(value).removeprefix("torch.")
    if not hasattr(tg, name):
        raise NotOurs(str(value))
    assert isinstance(value, torch.dtype)
    return getattr(tg, name)


def flat(out: Any) -> list[Any]:
    """The Tensors and numbers in a result, whatever lists and tuples they are in."""
    if isinstance(out, (list, tuple)):
        return [x for item in out for x in flat(item)]
    return [out]


def difference(z: Any, expected: Any, values: bool, rtol: float) -> str | None:
    """What is wrong with one of our results beside PyTorch's, or None."""
    import torch

    if not isinstance(expected, torch.Tensor):
        if isinstance(z, Tensor):
            return f"a Tensor, not the {type(expected).__name__} {expected!r}"
        if isinstance(expected, torch.dtype):
            expected = dtype(expected)
        return None if z == expected or (z != z and expected != expected) else f"{z!r}, not {expected!r}"
    if not isinstance(z, Tensor):
        return f"a {type(z).__name__}, not a Tensor"
    if tuple(z.shape) != tuple(expected.shape):
        return f"shape {tuple(z.shape)}, not {tuple(expected.shape)}"
    name = str(expected.dtype).removeprefix("torch.")
    if str(z.dtype) != name:
        return f"dtype {z.dtype}, not {name}"
    if not values:
        return None
    rtol = max(rtol, 2e-4 if name in ("float16", "bfloat16", "float32") else 0)
    return far(z.array, expected.detach().to(torch.float64).numpy(), rtol)


def far(x: Any, y: Any, rtol: float) -> str | None:
    """How far two arrays are apart, or None if they agree."""
    x = np.asarray(x, np.float64)
    if np.allclose(
        x, y, rtol=rtol, atol=rtol * (1 + np.nanmax(np.abs(y[np.isfinite(y)]), initial=0)) * 0.1, equal_nan=True
    ):
        return None
    with np.errstate(invalid="ignore"):
        return f"values differ by up to {np.nanmax(np.abs(x - y), initial=0):.3g}"
