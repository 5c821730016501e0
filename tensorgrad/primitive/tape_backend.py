"""The tape as the backend of Tensors: `backend_of(tensor).exp(x)` applies the primitive Exp and records it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tensorgrad.backend import register
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.primitive.node import Primitive


class Tape:
    """The backend of Tensors: every kernel name applies the primitive of that name and records it."""

    name = "tape"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the tape has no operation {name!r}: no primitive and no composed rule bears that name")


tape = Tape()
register(tape, Tensor)


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a method's positional parameters after self."""
    code = inspect.unwrap(function).__code__  # twenty times as fast as inspect.signature, at every import
    return list(code.co_varnames[1 : code.co_argcount])


def put_class_on_tape(cls: type[Primitive], variadic: bool) -> None:
    """tape.name(*inputs, *settings); with any number of inputs tape.name(inputs, *settings).

    Refuses a name that another module's primitive has: the rules of others, which call it, would silently compute something
    else. The same module may define its class anew, as a notebook does.
    """
    count = len(cls.inputs)
    holder = getattr(tape, cls.name, None)
    if holder is not None and getattr(holder, "__module__", "") != cls.__module__:
        raise TypeError(
            f"primitive {cls.__name__}: {cls.name!r} is on the tape already, from {getattr(holder, '__module__', 'the tape')}, "
            "and its derivatives are computed with it by others; give the class another name"
        )

    def apply(*arguments: Any) -> Any:
        if variadic:
            return cls(*arguments[1:])(*arguments[0])
        return cls(*arguments[count:])(*arguments[:count])

    apply.__name__ = apply.__qualname__ = cls.name
    apply.__module__ = cls.__module__
    setattr(tape, cls.name, apply)
