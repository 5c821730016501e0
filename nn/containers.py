"""Modules that hold others: one after the other, in a list, in a dict."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tensorgrad.errors import ArgumentError, DimensionError, OperandError
from tensorgrad.nn.chain import through
from tensorgrad.nn.module import Module

_Self = TypeVar("_Self", bound="_Numbered")


class _Numbered(Module):
    """Modules under the names '0', '1', ..."""

    def _place(self, index: Any) -> int:
        """A whole-number index counted from the front."""
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise DimensionError(f"{type(self).__name__}: got index {number}; it holds {len(self)} modules")
        return number % len(self)

    def _refill(self, modules: Iterable[Module]) -> None:
        kept = list(modules)
        self._modules.clear()
        for position, module in enumerate(kept):
            self.add_module(str(position), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        held = list(self._modules.values())
        if isinstance(index, slice):
            return self._of(held[index])
        return held[self._place(index)]

    def _of(self, modules: list[Any]) -> Any:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[self._place(index)]
        if not isinstance(module, Module):
            raise OperandError(f"{type(self).__name__}: got a {type(module).__name__}; it holds Modules")
        self._modules[name] = module

    def __delitem__(self, index: Any) -> None:
        held = list(self._modules.values())
        if isinstance(index, slice):
            del held[index]
        else:
            del held[self._place(index)]
        self._refill(held)  # type: ignore[arg-type]

    def append(self: _Self, module: Module) -> _Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self: _Self, index: int, module: Module) -> _Self:
        """Put a module in before position `index`."""
        if not isinstance(module, Module):
            raise OperandError(f"{type(self).__name__}.insert: got a {type(module).__name__}; it holds Modules")
        held: list[Any] = list(self._modules.values())
        held.insert(index, module)
        self._refill(held)
        return self

    def extend(self: _Self, modules: Iterable[Module]) -> _Self:
        """Add modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take a module out."""
        module: Module = self[index]
        del self[index]
        return module


class Sequential(_Numbered):
    """Modules called one after the other, each on what the one before it gave.

    Takes the modules one by one, or a dict of them by name. A slice is a Sequential of the same modules.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> net(tensorgrad.ones(1, 4)).shape
    (1, 2)
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for position, module in enumerate(args):
                self.add_module(str(position), module)

    def forward(self, input: Any) -> Any:
        return through(list(self._modules.values()), input)

    def _of(self, modules: list[Any]) -> Sequential:
        names = {id(module): name for name, module in self._modules.items()}
        if any(not name.isdigit() for name in self._modules):
            return type(self)({names[id(module)]: module for module in modules})
        return type(self)(*modules)


class ModuleList(_Numbered):
    """A list of modules whose parameters count; it is not called, but iterated over or indexed.

    >>> import tensorgrad.nn as nn
    >>> layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    >>> len(layers), len(list(layers.parameters()))
    (3, 6)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _of(self, modules: list[Any]) -> ModuleList:
        return type(self)(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def _child_lines(self) -> list[str]:
        """Runs of modules that look alike on one line: (0-2): 3 x Linear(...)."""
        lines: list[str] = []
        texts = [repr(module) for module in self]
        start = 0
        for position in range(1, len(texts) + 1):
            if position < len(texts) and texts[position] == texts[start]:
                continue
            count = position - start
            lines.append(
                f"({start}): {texts[start]}" if count == 1 else f"({start}-{position - 1}): {count} x {texts[start]}"
            )
            start = position
        return lines


class ModuleDict(Module):
    """A dict of modules whose parameters count, in the order of insertion.

    >>> import tensorgrad.nn as nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "parity": nn.Linear(8, 2)})
    >>> heads["parity"].out_features
    2
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        if key not in self._modules:
            raise KeyError(f"ModuleDict: no module {key!r}; it holds {', '.join(self._modules) or 'none'}")
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self[key]
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """(name, module)"""
        return self._modules.items()

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Take a module out."""
        module = self[key]
        del self._modules[key]
        return module

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules by name; a name that is there already gets the new one."""
        pairs = list(modules.items() if isinstance(modules, Mapping) else modules)
        for found in pairs:
            if not isinstance(found, tuple) or len(found) != 2:
                raise ArgumentError(f"ModuleDict.update: got {found!r}; give a dict, or pairs (name, module)")
        for key, module in pairs:
            self[key] = module
