"""torch.backends' names: switches for how a GPU computes, and whether there is an Apple GPU.

    backends.cudnn.enabled          True    convolutions by cuDNN where it is installed, else by kernels of our own
    backends.cudnn.allow_tf32       True    float32 convolutions may round their factors to 10 bits (TensorFloat-32)
    backends.cudnn.benchmark        False   time cuDNN's ways to compute a convolution at its first call, and keep the fastest
    backends.cudnn.deterministic    False   only ways that give the same bits every time
    backends.cuda.matmul.allow_tf32 False   float32 matrix products may use TensorFloat-32

They have PyTorch's names and defaults, and may be set at any time. On a processor they change nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace
from typing import Any

__all__ = ["cuda", "cudnn", "mps"]


class Switches:
    """Names that are on or off; setting another name, or to something else, is an error.

    >>> switches = Switches("cudnn", enabled=True)
    >>> switches.enabled = False
    >>> switches
    cudnn(enabled=False)
    """

    def __init__(self, name: str, **states: bool) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_states", states)

    def __getattr__(self, name: str) -> bool:
        states: dict[str, bool] = object.__getattribute__(self, "_states")
        if name not in states:
            raise AttributeError(f"backends.{self._name} has no {name!r}; there are {', '.join(states)}")
        return states[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.__getattr__(name)
        if not isinstance(value, bool):
            raise TypeError(f"backends.{self._name}.{name}: got {value!r}; it must be True or False")
        self._states[name] = value  # type: ignore[index]

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{name}={state}' for name, state in self._states.items())})"  # type: ignore[attr-defined]


class CuDNN(Switches):
    """The switches of cuDNN, and what there is of it."""

    def __init__(self) -> None:
        super().__init__("cudnn", enabled=True, allow_tf32=True, benchmark=False, deterministic=False)

    def version(self) -> int | None:
        """cuDNN's version, 91200 for 9.12.0; None where it, or its Python front end, is not installed."""
        if importlib.util.find_spec("cudnn") is None:
            return None
        try:
            return int(importlib.import_module("cudnn").backend_version())
        except (
            Exception
        ):  # the front end is there, the library that it loads is not: its kinds of errors differ by version
            return None

    def is_available(self) -> bool:
        """Whether convolutions can run on cuDNN: CuPy, a GPU, and cuDNN with its Python front end."""
        if importlib.util.find_spec("cupy") is None or self.version() is None:
            return False
        return bool(importlib.import_module("cupy").cuda.is_available())


cudnn = CuDNN()
cuda = SimpleNamespace(matmul=Switches("cuda.matmul", allow_tf32=False))
mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)
