"""Random numbers drawn on a GPU, those that NumPy draws on the host from the same streams, by the kernels of cuda_random.cu."""

from __future__ import annotations

import math
from typing import Any

import numpy

from tensorgrad.backend.cuda_kernels import MOST_ELEMENTS, TYPES, CompiledKernels, blocks_for

Array = Any

#: As in cuda_random.cu.
PIECE, MOST_STREAMS, RUN = 1 << 20, 64, 16
#: The struct Streams.
STREAMS = numpy.dtype(
    [
        *(
            (name, numpy.uint64, (MOST_STREAMS,))
            for name in ("state_high", "state_low", "increment_high", "increment_low")
        ),
        ("has_rest", numpy.int32),
        ("rest", numpy.uint32),
    ]
)
LOW = (1 << 64) - 1


class CudaRandomKernels(CompiledKernels):
    """What a generator asks for first; None where the host must draw."""

    def draws(self, streams: list[Any], shape: tuple[int, ...], dtype: Any) -> bool:
        """Whether numbers of this dtype can be drawn here from these streams, one for every PIECE of them."""
        size = math.prod(shape)
        ours = self.compiled is not None and numpy.dtype(dtype).name in TYPES and 0 < size < MOST_ELEMENTS
        return ours and all(type(stream.bit_generator) is numpy.random.PCG64 for stream in streams)

    def draw_uniform(self, streams: list[Any], shape: tuple[int, ...], dtype: Any) -> Array:
        """Numbers evenly from [0, 1), and the streams are where the host would have left them."""
        return self._draw("uniform", streams, shape, numpy.dtype(dtype))

    def draw_kept(self, streams: list[Any], shape: tuple[int, ...], dtype: Any, chance: float, factor: float) -> Array:
        """`factor` with probability 1 - chance, else 0. The numbers are drawn as float32, whatever the dtype."""
        kind = numpy.dtype(dtype)
        drawn = kind if kind.itemsize < 8 else numpy.dtype(numpy.float32)
        z = self._draw("kept", streams, shape, drawn, float(chance), float(factor))
        # a double's factor has more digits than a float's
        return z if drawn == kind else (z != 0).astype(kind) * factor

    def _draw(self, kernel: str, streams: list[Any], shape: tuple[int, ...], dtype: Any, *settings: float) -> Array:
        z = self.xp.empty(shape, dtype)
        numbers = z.reshape(-1)
        for start in range(0, len(streams), MOST_STREAMS):
            some = streams[start : start + MOST_STREAMS]
            part = numbers[start * PIECE : (start + len(some)) * PIECE]
            given = part, part.size, _states(some), *settings
            self.launch("random", kernel, part, blocks_for(-(-part.size // RUN)), *given)
        if len(streams) == 1:  # others are used once
            _advance(streams[0], z.size, dtype.itemsize)
        return z


def _states(streams: list[Any]) -> numpy.ndarray:
    """The struct Streams."""
    struct = numpy.zeros(1, STREAMS)
    for number, stream in enumerate(streams):
        state = stream.bit_generator.state
        for name, value in (("state", state["state"]["state"]), ("increment", state["state"]["inc"])):
            struct[f"{name}_high"][0, number], struct[f"{name}_low"][0, number] = value >> 64, value & LOW
        if number == 0:
            struct["has_rest"], struct["rest"] = state["has_uint32"], state["uinteger"]
    return struct


def _advance(stream: Any, count: int, itemsize: int) -> None:
    """As if `count` numbers had been drawn on the host: of 64 bits each for double, else two of every 64 bits."""
    bits = stream.bit_generator
    state = bits.state
    if itemsize == 8:
        bits.advance(count)
        bits.state = {**bits.state, "has_uint32": state["has_uint32"], "uinteger": state["uinteger"]}
        return
    count -= state["has_uint32"]
    bits.advance(count // 2)  # and forgets what was left over
    if count % 2:
        stream.random(dtype=numpy.float32)
