"""Random numbers: one seed governs initialisation, dropout, shuffling and augmentation, on every device.

A `Generator` is a NumPy Generator whose state can be read and set. Values are drawn on the host and moved, so that the
same seed gives the same numbers on the CPU and on a GPU; even numbers are drawn on the GPU itself, the same ones.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from tensorgrad.backend import backend_for
from tensorgrad.backend.parallel import share
from tensorgrad.device import Device, as_device
from tensorgrad.errors import GraphError
from tensorgrad.mode import mode

_PIECE = 1 << 20  # numbers drawn from one stream
_PART = 1 << 15  # that lie in the processor's cache


def _moved(values: numpy.ndarray, device: str | Device | None) -> Any:
    chosen = as_device(device)
    return backend_for(chosen).from_host(values, chosen)


def _normal_by_parts(stream: numpy.random.Generator, piece: numpy.ndarray) -> None:
    """Normal float32 numbers, part by part in the cache: Box and Muller, 1958, a quarter of the time of NumPy's own.

    sqrt(-2 log u) times the cosine and the sine of 2 pi v, with u even over (0, 1] and v over [0, 1), are two independent
    ones. u has 24 bits, so none is beyond 5.77; one of 10^8 would be.
    """
    lengths, angles = numpy.empty((2, _PART // 2), numpy.float32)
    for start in range(0, piece.size, _PART):
        part = piece[start : start + _PART]
        half = (part.size + 1) // 2
        length, angle = lengths[:half], angles[:half]
        for values in (length, angle):
            stream.random(out=values, dtype=numpy.float32)
        numpy.subtract(1, length, out=length)
        numpy.log(length, out=length)
        length *= -2
        numpy.sqrt(length, out=length)
        angle *= 2 * math.pi
        for turn, numbers in ((numpy.cos, part[:half]), (numpy.sin, part[half:])):
            turn(angle[: numbers.size], out=numbers)
            numbers *= length[: numbers.size]


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A method that draws: where a step is recorded, every replay draws anew."""

    @functools.wraps(draw)
    def drawn(self: Generator, *arguments: Any, **named: Any) -> Any:
        if mode.capturing is not None:
            raise GraphError(
                "cuda.graph: random numbers are drawn on the host, and a graph would repeat them; draw them before, or use "
                "tensorgrad.compile, which draws anew at every replay"
            )
        if mode.recorder is None:
            return draw(self, *arguments, **named)
        return mode.recorder.host(functools.partial(draw, self, **named), arguments, draw.__name__, gives=True)

    return drawn


class Generator:
    """A stream of random numbers.

    >>> g = Generator(0)
    >>> state = g.get_state()
    >>> first = g.numpy.random()
    >>> g.set_state(state)
    >>> g.numpy.random() == first
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = 0
        self.numpy = numpy.random.default_rng()
        self.manual_seed(self.seed() if seed is None else seed)

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed})"

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, a whole number (negative ones are taken modulo 2^64)."""
        self._seed = int(seed)
        self.numpy = numpy.random.default_rng(self._seed % 2**64)
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system's, and return it."""
        seed = int(numpy.random.SeedSequence().generate_state(1, numpy.uint64)[0])
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed this stream was started from."""
        return self._seed

    def spawn_seed(self) -> int:
        """Draw a 63-bit seed for another generator (a loader's worker, say) from this stream."""
        return int(self.numpy.integers(0, 2**63, dtype=numpy.int64))

    def get_state(self) -> dict[str, Any]:
        """A copy of everything that decides the numbers to come, made of plain dicts, strings and integers."""
        return {"seed": self._seed, "state": copy.deepcopy(self.numpy.bit_generator.state)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a state that `get_state` returned."""
        self._seed = state["seed"]
        self.numpy.bit_generator.state = copy.deepcopy(state["state"])

    @_drawn
    def uniform(self, shape: tuple[int, ...], dtype: Any, device: str | Device | None = None) -> Any:
        """An array of numbers drawn evenly from [0, 1)."""
        chosen = as_device(device)
        backend = backend_for(chosen)
        streams = self._streams(math.prod(shape)) if chosen.type != "cpu" else []
        if streams and backend.draws(streams, shape, dtype):
            with backend.on(chosen):
                return backend.draw_uniform(streams, shape, dtype)
        return _moved(self._new(shape, dtype, "random", streams), device)

    @_drawn
    def kept(
        self, shape: tuple[int, ...], chance: float, factor: float, dtype: Any, device: str | Device | None = None
    ) -> Any:
        """An array of `factor` with probability 1 - chance, else 0: which of the float32 numbers of `uniform` are not below chance."""
        chosen = as_device(device)
        backend = backend_for(chosen)
        streams = self._streams(math.prod(shape)) if chosen.type != "cpu" else []
        if streams and backend.draws(streams, shape, dtype):
            with backend.on(chosen):
                return backend.draw_kept(streams, shape, dtype, chance, factor)
        numbers = _moved(self._new(shape, numpy.float32, "random", streams), device)
        kept = backend.cast(numbers >= chance, dtype)
        if factor != 1.0:
            kept *= factor
        return kept

    @_drawn
    def normal(self, shape: tuple[int, ...], dtype: Any, device: str | Device | None = None) -> Any:
        """An array of numbers drawn from the standard normal distribution."""
        return _moved(self._new(shape, dtype, "standard_normal"), device)

    def _new(self, shape: tuple[int, ...], dtype: Any, kind: str, streams: Any = None) -> numpy.ndarray:
        values = numpy.empty(shape, numpy.float64 if numpy.dtype(dtype).itemsize > 4 else numpy.float32)
        self.fill(values, kind, streams=streams)
        return values.astype(dtype, copy=False)

    def _streams(self, size: int) -> list[numpy.random.Generator]:
        """What so many numbers are drawn from: this stream itself, or a stream of its own for every piece."""
        pieces = -(-size // _PIECE)
        if pieces <= 1:
            return [self.numpy]
        seeds = self.numpy.integers(0, 2**63, size=pieces, dtype=numpy.int64)
        return [numpy.random.default_rng(int(seed)) for seed in seeds]

    def fill(
        self, values: numpy.ndarray, kind: str, factor: float = 1.0, shift: float = 0.0, streams: Any = None
    ) -> None:
        """Draw into a contiguous host array of float32 or float64: factor x + shift, x 'random' or 'standard_normal'.

        A large one is drawn in pieces, each from a stream of its own, side by side: a network's weights are drawn in the
        time that their memory takes. The numbers do not depend on how many threads there are; the last digits of many normal
        float32 ones may be another processor's, where NumPy's logarithms and sines are.
        """
        flat = values.reshape(-1)
        streams = streams or self._streams(flat.size)
        pieces = len(streams)

        def draw(start: int, stop: int) -> None:
            for number in range(start, stop):
                piece = flat[number * _PIECE : (number + 1) * _PIECE]
                if pieces > 1 and kind == "standard_normal" and piece.itemsize == 4:
                    _normal_by_parts(streams[number], piece)
                else:
                    getattr(streams[number], kind)(out=piece, dtype=piece.dtype.type)
                if factor != 1.0:
                    piece *= factor
                if shift != 0.0:
                    piece += shift

        share(pieces, draw, worthwhile=pieces > 1)


class _Standing(threading.local):
    stream: numpy.random.Generator | None = None


_standing = _Standing()


class _LibraryGenerator(Generator):
    """The library's own. In a thread that loads a batch, that batch's stream stands in for it."""

    _own: numpy.random.Generator

    @property  # type: ignore[override]
    def numpy(self) -> numpy.random.Generator:
        return self._own if _standing.stream is None else _standing.stream

    @numpy.setter
    def numpy(self, stream: numpy.random.Generator) -> None:
        self._own = stream


@contextmanager
def standing_in(stream: numpy.random.Generator) -> Iterator[None]:
    """Inside, and in this thread only, whatever draws from the default generator draws from `stream`."""
    before = _standing.stream
    _standing.stream = stream
    try:
        yield
    finally:
        _standing.stream = before


default_generator = _LibraryGenerator(0)
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Seed everything random in tensorgrad; returns the default generator.

    >>> import tensorgrad
    >>> _ = tensorgrad.manual_seed(0)
    >>> a = tensorgrad.rand(3)
    >>> _ = tensorgrad.manual_seed(0)
    >>> bool((a == tensorgrad.rand(3)).all())
    True
    """
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed the default generator was started from."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """The default generator's state, for a checkpoint."""
    return default_generator.get_state()


def set_rng_state(state: dict[str, Any]) -> None:
    """Continue the default generator from a state of `get_rng_state`."""
    default_generator.set_state(state)
