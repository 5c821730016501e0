"""Where arrays live: 'cpu' (NumPy) or 'cuda' (CuPy), and the default for new Tensors."""

from __future__ import annotations

from dataclasses import dataclass

from tensorgrad.errors import DeviceError


@dataclass(frozen=True)
class Device:
    """A place for arrays: its type and, for a GPU, its number.

    >>> Device("cpu")
    device('cpu')
    """

    type: str
    index: int | None = None

    def __repr__(self) -> str:
        return f"device('{self}')"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


def as_device(device: str | Device | None) -> Device:
    """Read 'cpu', 'cuda', 'cuda:1' or a Device; None is the default device.

    >>> as_device("cuda:1")
    device('cuda:1')
    """
    if device is None:
        return _default
    if isinstance(device, Device):
        return device
    kind, colon, number = str(device).partition(":")
    if not kind or (colon and not number.isdigit()):
        raise DeviceError(f"device: got {device!r}; use 'cpu', 'cuda' or 'cuda:N'")
    return Device(kind, int(number) if colon else None)


_default = Device("cpu")


def get_default_device() -> Device:
    """The device that new Tensors are made on when none is named."""
    return _default


def replace_default_device(device: Device) -> None:
    """What `tensorgrad.set_default_device` does once it knows that the device is there."""
    global _default
    _default = device
