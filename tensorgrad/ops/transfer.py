"""Moving Tensors between devices and dtypes."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.backend import backend_for, backend_of, is_device_name
from tensorgrad.cuda.pinned import is_pinned, pinned_copy, wait_for_copies
from tensorgrad.device import Device, as_device
from tensorgrad.errors import DeviceError, GraphError, OperandError
from tensorgrad.mode import mode
from tensorgrad.ops.operands import cast
from tensorgrad.primitive import Linear
from tensorgrad.tensor import Tensor


class ToDevice(Linear):
    """z = x on another device        dz = dx there"""

    __slots__ = ("device", "non_blocking", "source")

    def __init__(self, device: Device, non_blocking: bool = False) -> None:
        self.device = device
        self.non_blocking = non_blocking

    def forward(self, x: Any) -> Any:
        backend = backend_of(x)
        self.source = backend.device_of(x)
        if mode.capturing is not None:
            raise GraphError(
                f"cuda.graph: a Tensor is moved from '{self.source}' to '{self.device}' while a graph is captured; move it "
                "before, outside of the captured part"
            )
        z = backend_for(self.device).from_host(backend.to_host(x), self.device)
        if self.device.type == "cuda" and not self.non_blocking and is_pinned(x):
            wait_for_copies()  # from pinned memory the GPU fetches by itself, and the caller may write there next
        return z

    def vjp(self, dz: Any) -> Any:
        back = ToDevice(self.source)
        return back(dz) if isinstance(dz, Tensor) else back.forward(dz)


def to_device(x: Tensor, device: str | Device, non_blocking: bool = False) -> Tensor:
    """x on the device; x itself if it is there."""
    chosen = as_device(device)
    here = x.device
    if here.type == chosen.type and (chosen.index is None or (chosen.index or 0) == (here.index or 0)):
        return x
    return ToDevice(chosen, non_blocking)(x)


def to(
    x: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False
) -> Tensor:
    """x with another dtype, on another device, or like another Tensor; x itself where nothing changes.

    Positional arguments are those of PyTorch: [device] [dtype] or another Tensor, then non_blocking and copy.
    `non_blocking` lets the host go on while a GPU fetches from pinned memory (see pin_memory); nothing may be written there
    meanwhile. Every other copy is finished, or its values are set aside, when the call returns.

    >>> import tensorgrad
    >>> tensorgrad.tensor([1, 2]).to(tensorgrad.float64).dtype
    dtype('float64')
    """
    switches = [argument for argument in args if isinstance(argument, bool)]
    copy = copy or (len(switches) > 1 and switches[1])
    non_blocking = non_blocking or (len(switches) > 0 and switches[0])
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
    z = x if device is None else to_device(x, device, non_blocking)
    z = z if dtype is None else cast(z, dtype)
    return z.clone() if copy and z is x else z


def cpu(x: Tensor) -> Tensor:
    """x in the host's memory."""
    return to_device(x, "cpu")


def cuda(x: Tensor, device: int | str | Device | None = None, non_blocking: bool = False) -> Tensor:
    """x on a GPU, the first one unless named."""
    return to_device(x, f"cuda:{device}" if isinstance(device, int) else device or "cuda", non_blocking)


def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """x in memory pinned for a GPU, which fetches it without the host's help: `.to('cuda', non_blocking=True)` then does
    not wait. x itself where it is there. Raises DeviceError without a GPU, and for a Tensor that is not on the CPU."""
    if not isinstance(x.array, numpy.ndarray):
        raise DeviceError(f"pin_memory: the Tensor is on '{x.device}'; only memory of the CPU can be pinned")
    return x if in_pinned_memory(x) else Tensor(pinned_copy(x.array))


def in_pinned_memory(x: Tensor, device: Any = None) -> bool:
    """Whether it lies in memory pinned for a GPU; see pin_memory."""
    return is_pinned(x.array)
