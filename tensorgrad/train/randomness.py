"""The state of everything that draws random numbers in a run, to be saved and restored."""

from __future__ import annotations

import copy
import random as python_random
from collections.abc import Iterable
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError, StateError, TensorgradError
from tensorgrad.random import Generator, default_generator


def generators_of(*holders: Any) -> list[Any]:
    """The generators that loaders and their samplers were given, each once; the library's own is not among them."""
    found: list[Any] = []
    for holder in holders:
        for place in (holder, getattr(holder, "sampler", None), getattr(holder, "batch_sampler", None)):
            generator = getattr(place, "generator", None)
            known = any(generator is other for other in (*found, default_generator))
            if isinstance(generator, (Generator, numpy.random.Generator)) and not known:
                found.append(generator)
    return found


def get_states(generators: Iterable[Any] = ()) -> dict[str, Any]:
    """What decides the numbers to come: tensorgrad's, these generators', NumPy's old global ones, Python's."""
    return {
        "tensorgrad": default_generator.get_state(),
        "generators": [_state_of(generator) for generator in generators],
        "numpy": numpy.random.get_state(legacy=False),  # noqa: NPY002  (datasets may still draw from it)
        "python": python_random.getstate(),
    }


def set_states(states: dict[str, Any], generators: Iterable[Any] = ()) -> None:
    """Continue from the states of `get_states`, of the same generators in the same order."""
    generators = list(generators)
    try:
        theirs = len(states["generators"])
        if len(generators) != theirs:
            raise StateError(
                f"set_states: the states are of {theirs} generators, but there are {len(generators)} now; give the loader and "
                "its sampler the generators they had"
            )
        default_generator.set_state(states["tensorgrad"])
        for generator, state in zip(generators, states["generators"]):
            if isinstance(generator, Generator):
                generator.set_state(state)
            else:
                generator.bit_generator.state = copy.deepcopy(state)
        numpy.random.set_state(states["numpy"])  # noqa: NPY002
        version, words, rest = states["python"]
        python_random.setstate((version, tuple(words), rest))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, TensorgradError):
            raise
        raise StateError(f"set_states: these are no states of random numbers ({error!r}); they are damaged") from error


def _state_of(generator: Any) -> dict[str, Any]:
    if isinstance(generator, Generator):
        return generator.get_state()
    if isinstance(generator, numpy.random.Generator):
        return copy.deepcopy(dict(generator.bit_generator.state))
    raise ArgumentError(f"get_states: a generator is a {type(generator).__name__}; use a Generator, also NumPy's")
