"""Modules that are a function with its settings: `class Mish(FunctionModule): function = mish` is a whole layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from tensorgrad.nn.module import Module


class FunctionModule(Module):
    """A layer without parameters: its constructor takes the function's settings, with the function's defaults.

    `inputs` says how many of the function's first parameters come with the call.

    >>> class Scale(FunctionModule):
    ...     function = lambda input, factor=2: input * factor
    >>> Scale(factor=3)
    Scale(factor=3)
    >>> Scale(3)(5)
    15
    """

    function: ClassVar[Callable[..., Any]]
    inputs: ClassVar[int] = 1
    buffers_named: ClassVar[tuple[str, ...]] = ()  # settings that are Tensors, which move with the module
    hidden: ClassVar[tuple[str, ...]] = ()  # settings that repr does not show
    _settings: ClassVar[inspect.Signature]
    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        parameters = list(inspect.signature(cls.function).parameters.values())[cls.inputs :]
        cls._settings = cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        cls._names = tuple(cls._settings.parameters)
        cls.function = staticmethod(cls.function)  # type: ignore[assignment]
        cls.__doc__ = cls.__doc__ or inspect.getdoc(cls.function)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        try:
            given = self._settings.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}{self._settings}: {error}") from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            self.set(name, value)

    def set(self, name: str, value: Any) -> None:
        """Keep a setting under its name."""
        if name in self.buffers_named:
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        settings = {}
        for name in self._names:
            settings[name] = getattr(self, name)
        return type(self).function(*inputs, **named, **settings)

    def extra_repr(self) -> str:
        hidden = {*self.hidden, *self.buffers_named, *(() if getattr(self, "inplace", True) else ("inplace",))}
        shown = [name for name in self._names if name not in hidden]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
