"""Moving Tensors between devices and dtypes."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_for, backend_of, is_device_name
from tensorgrad.device import Device, as_device
from tensorgrad.errors import OperandError
from tensorgrad.ops.operands import cast
from tensorgrad.primitive import Linear
from tensorgrad.tensor import Tensor


class ToDevice(Linear):
    """z = x on another device        dz = dx there"""

    __slots__ = ("device", "source")

    def __init__(self, device: Device) -> None:
        self.device = device

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        self.source = backend.device_of(x)
        return backend_for(self.device).from_host(backend.to_host(x), self.device)

    def vjp(self, dz: Any) -> Any:
        back = ToDevice(self.source)
        return back(dz) if isinstance(dz, Tensor) else back.forward(dz)


def to_device(x: Tensor, device: str | Device) -> Tensor:
    """x on the device; x itself if it is there."""
    chosen = as_device(device)
    here = x.device
    if here.type == chosen.type and (chosen.index is None or (chosen.index or 0) == (here.index or 0)):
        return x
    return ToDevice(chosen)(x)


def to(
    x: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
) -> Tensor:
    """x with another dtype, on another device, or like another Tensor; x itself where nothing changes.

    Positional arguments are those of PyTorch: [device] [dtype] or another Tensor, then non_blocking and copy. `non_blocking` is
    taken and means nothing: a copy between host and GPU is always finished when the call returns.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1, 2]).to(tensorgrad.float64).dtype
    dtype('float64')
    """
    switches = [argument for argument in args if isinstance(argument, bool)]
    copy = copy or (len(switches) > 1 and switches[1])
    for argument in args:
        if isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, Device):
            device = argument
        elif isinstance(argument, str) and is_device_name(argument):
            device = argument
        elif isinstance(argument, bool):
            continue
        else:
            try:
                dtype = numpy.dtype(argument)
            except TypeError:
                raise OperandError(f"to: got {argument!r}; it takes a dtype, a device or a Tensor") from None
    z = x if device is None else to_device(x, device)
    z = z if dtype is None else cast(z, dtype)
    return z.clone() if copy and z is x else z


def cpu(x: Tensor) -> Tensor:
    """x in the host's memory."""
    return to_device(x, "cpu")


def cuda(x: Tensor, device: int | str | Device | None = None, non_blocking: bool = False) -> Tensor:
    """x on a GPU, the first one unless named."""
    return to_device(x, f"cuda:{device}" if isinstance(device, int) else device or "cuda")
