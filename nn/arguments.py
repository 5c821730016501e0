"""Reading the settings of layers: an int or a pair, as PyTorch takes them."""

from __future__ import annotations

from typing import Any

import numpy

from tensorgrad.errors import ArgumentError, OperandError

Pair = tuple[int, int]
IntOrPair = int | tuple[int, int]


def pair(operation: str, name: str, value: Any) -> Pair:
    """(rows, columns) from one whole number or two.

    >>> pair("conv2d", "stride", 2)
    (2, 2)
    """
    if type(value) is int:
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is int and type(value[1]) is int:
        return value
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = (value[0], value[0])
        if len(value) != 2:
            raise ArgumentError(f"{operation}: {name} is {value}; it must be one whole number or two (rows, columns)")
        return whole(operation, name, value[0]), whole(operation, name, value[1])
    number = whole(operation, name, value)
    return number, number


def several(operation: str, name: str, value: Any, count: int) -> tuple[int, ...]:
    """`count` whole numbers, from as many or from one that stands for all.

    >>> several("conv3d", "stride", 2, 3)
    (2, 2, 2)
    """
    if isinstance(value, (tuple, list)):
        if len(value) == 1:
            value = tuple(value) * count
        if len(value) != count:
            words = {2: "two", 3: "three", 4: "four", 6: "six"}
            more = f" or {words.get(count, count)}" if count > 1 else ""
            raise ArgumentError(f"{operation}: {name} is {value}; it must be one whole number{more}")
        return tuple(whole(operation, name, number) for number in value)
    return (whole(operation, name, value),) * count


def whole(operation: str, name: str, value: Any) -> int:
    """A whole number, NumPy's included; a bool or a float is refused."""
    if isinstance(value, (bool, numpy.bool_)) or not isinstance(value, (int, numpy.integer)):
        raise OperandError(f"{operation}: {name} is {value!r}; it must be a whole number (or a pair of them)")
    return int(value)


def at_least(operation: str, name: str, value: Any, least: int) -> int:
    """A whole number not below `least`."""
    number = whole(operation, name, value)
    if number < least:
        raise ArgumentError(f"{operation}: {name} is {number}; it must be at least {least}")
    return number


def one_of(operation: str, name: str, value: Any, choices: tuple[str, ...]) -> Any:
    """One of the given words."""
    if value not in choices:
        raise ArgumentError(f"{operation}: {name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
    return value


def probability(operation: str, name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, (int, float, numpy.number)) or isinstance(value, bool):
        raise OperandError(f"{operation}: {name} is {value!r}; it must be a number from 0 to 1")
    if not 0 <= value <= 1:
        raise ArgumentError(f"{operation}: {name} is {value}; it must be from 0 to 1")
    return float(value)
