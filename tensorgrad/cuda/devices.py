"""The GPUs that CuPy finds: how many, which one 'cuda' means, what they are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tensorgrad.backend import backend_for
from tensorgrad.device import Device, as_device
from tensorgrad.errors import DeviceError, DtypeError, OperandError
from tensorgrad.random import default_generator
from tensorgrad.random import manual_seed as _manual_seed

DeviceLike = int | str | Device | None


def is_available() -> bool:
    """Whether CuPy is installed and finds a GPU."""
    return device_count() > 0


@functools.cache
def device_count() -> int:
    """How many GPUs CuPy finds; 0 without CuPy."""
    try:
        return int(backend_for("cuda").xp.cuda.runtime.getDeviceCount())
    except DeviceError:
        return 0


def on_device(device: DeviceLike = None) -> Any:
    """CuPy's device of that number or name; the present one for None. Raises DeviceError where it is not there."""
    cuda = backend_for("cuda").xp.cuda
    if device is None:
        return cuda.Device()
    if isinstance(device, int) and not isinstance(device, bool):
        number: int | None = device
    elif isinstance(device, (str, Device)):
        chosen = as_device(device)
        if chosen.type != "cuda":
            raise DeviceError(f"cuda: got device '{chosen}'; give 'cuda', 'cuda:N' or a number")
        number = chosen.index
    else:
        raise OperandError(f"cuda: device is a {type(device).__name__}; give 'cuda', 'cuda:N' or a number")
    if number is None:
        return cuda.Device()
    if not 0 <= number < device_count():
        raise DeviceError(f"cuda: got device {device}; this machine has {device_count()} GPU(s), number 0 the first")
    return cuda.Device(number)


def current_device() -> int:
    """The number of the GPU that 'cuda' means."""
    return int(on_device().id)


def set_device(device: DeviceLike) -> None:
    """Let 'cuda' mean this GPU in this thread."""
    on_device(device).use()


class device:
    """Inside of its `with` block 'cuda' means this GPU; with None or a negative number nothing changes."""

    def __init__(self, device: DeviceLike) -> None:
        self.idx = -1 if device is None or (isinstance(device, int) and device < 0) else int(on_device(device).id)
        self._entered: list[Any] = []

    def __enter__(self) -> None:
        found = on_device(None if self.idx < 0 else self.idx)
        self._entered.append(found)
        found.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)


@dataclass(frozen=True)
class DeviceProperties:
    """What a GPU is: its name, the version of its instruction set, its memory in bytes, its multiprocessors."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def get_device_properties(device: DeviceLike = None) -> DeviceProperties:
    """What the maker says of a GPU."""
    found = backend_for("cuda").xp.cuda.runtime.getDeviceProperties(on_device(device).id)
    name = found["name"]
    return DeviceProperties(
        name.decode() if isinstance(name, bytes) else str(name),
        int(found["major"]),
        int(found["minor"]),
        int(found["totalGlobalMem"]),
        int(found["multiProcessorCount"]),
    )


def get_device_name(device: DeviceLike = None) -> str:
    """The maker's name of a GPU."""
    return get_device_properties(device).name


def get_device_capability(device: DeviceLike = None) -> tuple[int, int]:
    """The version of a GPU's instruction set: (8, 0) for an A100, (9, 0) for an H100 or H200."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether Tensors on a GPU can be of dtype bfloat16 here."""
    if not is_available():
        return False
    backend = backend_for("cuda")
    try:
        from tensorgrad.dtypes import bfloat16

        backend.cast(backend.zeros((1,), "float32"), bfloat16)
    except (DtypeError, ImportError):  # the backend refuses it, or the package that has it is not installed
        return False
    return True


def synchronize(device: DeviceLike = None) -> None:
    """Wait until a GPU has done all it was given."""
    on_device(device).synchronize()


def manual_seed(seed: int) -> None:
    """Seed everything random: one stream serves every device."""
    _manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Start everything random from a seed of the operating system's."""
    default_generator.seed()


seed_all = seed


def initial_seed() -> int:
    """The seed that the library's generator was started from."""
    return default_generator.initial_seed()
