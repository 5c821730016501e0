"""The operation at which a run ended in an error, as the last node of the graph up to there.

The error may come from the kernel of a primitive or from a check before one was applied. Both leave the same trace: the
frames of the exception, which hold the calls of modules, and below the innermost of them the function that was called
with Tensors.
"""

from __future__ import annotations

import types
from typing import Any

from tensorgrad.tensor import Tensor

#: Frames between a module's call and the operation that it applied.
_OF_MODULES = ("__call__", "forward", "call_with_hooks")


def add_failure(builder: Any, error: Exception) -> None:
    """Add the failing operation to a graph: its name, its Tensors and their shapes, its module, what went wrong."""
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append((at.tb_frame, at.tb_lineno))
        at = at.tb_next
    call, below = _innermost_call(builder, frames)
    said = str(error).partition(":")[0]  # the library's errors begin with the name of the operation
    candidates = [frame for frame, _ in frames[below:] if _is_operation(frame)]
    named = [frame for frame in candidates if frame.f_code.co_name == said]
    operation = next(iter([*named, *candidates]), None)
    operands = [] if operation is None else _tensors_among_arguments(operation)
    places = [(name, builder.place_of(x, call)) for name, x in operands]
    name = type(error).__name__ if operation is None else operation.f_code.co_name.strip("_")
    node = builder.add("operation", name, call)
    node.failed = str(error) or type(error).__name__
    node.source = _line(frames)
    for (argument, x), (_, place) in zip(operands, places):
        node.settings[argument] = f"{x.dtype} {tuple(x.shape)}"
        if isinstance(place, tuple):
            builder.connect(place, node, argument)


def _innermost_call(builder: Any, frames: list[tuple[types.FrameType, int]]) -> tuple[int | None, int]:
    """The number of the innermost call of a module that the error passed, and the first frame inside of it."""
    scope: Any = None
    below = 0
    for position, (frame, _) in enumerate(frames):
        values = frame.f_locals
        if frame.f_code.co_name == "__call__" and hasattr(values.get("self"), "_modules") and "outer" in values:
            scope, below = builder.scope_of(values["outer"], values["self"]), position + 1
    return builder.call_of(scope), below


def _is_operation(frame: types.FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    ours = module.partition(".")[0] == "tensorgrad" and not module.startswith(("tensorgrad.models", "tensorgrad.graph"))
    return ours and frame.f_code.co_name not in _OF_MODULES and bool(_tensors_among_arguments(frame))


def _tensors_among_arguments(frame: types.FrameType) -> list[tuple[str, Tensor]]:
    code = frame.f_code
    names = code.co_varnames[
        : code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 0x04)
    ]  # with *arguments
    found = []
    for name in names:
        value = frame.f_locals.get(name)
        if isinstance(value, Tensor):
            found.append((name, value))
        elif isinstance(value, (list, tuple)):
            found += [(f"{name}[{i}]", part) for i, part in enumerate(value) if isinstance(part, Tensor)]
    return found


def _line(frames: list[tuple[types.FrameType, int]]) -> str:
    """The innermost line of the program, as `line_of_program` writes it."""
    for frame, line in reversed(frames):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] != "tensorgrad" or module.startswith("tensorgrad.models."):
            file = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
            folder = "" if module == "__main__" else "/".join(module.split(".")[:-1])
            return f"{folder}/{file}:{line}" if folder else f"{file}:{line}"
    return ""
