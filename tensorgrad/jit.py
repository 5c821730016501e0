"""torch.jit's names as code written for PyTorch uses them: there is no compiler of that kind here, so nothing is scripted.

The decorators give back what they are given and the questions answer no; `script` and `trace` refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tensorgrad.errors import UnsupportedError

_Function = TypeVar("_Function", bound=Callable[..., Any])


def is_scripting() -> bool:
    """Whether the code is being compiled: never."""
    return False


def is_tracing() -> bool:
    """Whether the code is being traced: never."""
    return False


def unused(fn: _Function) -> _Function:
    """Marks what PyTorch's compiler leaves out; here it has no effect."""
    return fn


ignore = export = interface = script_if_tracing = unused
_overload_method = unused


def script(obj: Any, **_: Any) -> Any:
    """Refused: there is no such compiler here."""
    raise UnsupportedError("jit.script: tensorgrad compiles no Python code; tensorgrad.compile replays a recorded step")


trace = script

__all__ = [
    "export",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "script",
    "script_if_tracing",
    "trace",
    "unused",
]
