"""Lists and dicts of Parameters that count as a module's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.tensor import Tensor


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


class ParameterList(Module):
    """A list of Parameters; a Tensor that is put in becomes one.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> weights = nn.ParameterList([tensorgrad.ones(2), tensorgrad.zeros(3)])
    >>> len(weights), [tuple(w.shape) for w in weights.parameters()]
    (2, [(2,), (3,)])
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def _name(self, position: int) -> str:
        if not -self._size <= position < self._size:
            raise IndexError(f"ParameterList: got {position}; it holds {self._size}")
        return str(position % self._size)

    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return type(self)(list(self)[position])
        return getattr(self, self._name(position))

    def __setitem__(self, position: int, value: Any) -> None:
        setattr(self, self._name(position), _as_parameter(value))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([getattr(self, str(i)) for i in range(self._size)])

    def append(self, value: Any) -> ParameterList:
        """Put one more at the end."""
        self._size += 1
        setattr(self, str(self._size - 1), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Put several at the end."""
        for value in values:
            self.append(value)
        return self


class ParameterDict(Module):
    """A dict of Parameters; a Tensor that is put in becomes one.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> scales = nn.ParameterDict({"left": tensorgrad.ones(1), "right": tensorgrad.zeros(1)})
    >>> [name for name, _ in scales.named_parameters()]
    ['left', 'right']
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(f"ParameterDict: no parameter {key!r}; it holds {', '.join(self._keys) or 'none'}")
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        self[key]
        delattr(self, key)
        del self._keys[key]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._keys))

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._keys.keys()

    def values(self) -> Iterable[Any]:
        """The Parameters."""
        return [getattr(self, key) for key in self._keys]

    def items(self) -> Iterable[tuple[str, Any]]:
        """(name, Parameter)"""
        return [(key, getattr(self, key)) for key in self._keys]

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add Parameters by name."""
        for key, value in parameters.items() if isinstance(parameters, Mapping) else parameters:
            self[key] = value
