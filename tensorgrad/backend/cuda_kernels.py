"""CUDA kernels of our own: from the sources beside this file, compiled by CuPy when first asked for, once for every dtype.

A source `cuda_NAME.cu` holds kernels for numbers of a type T that are computed with as type A; which these are is written in
front of it (`source`), so one text serves float16, float32 and float64. The tests compile the same texts for processors, through a
header that plays a GPU, and for several generations of GPUs, so what runs is what was compared with NumPy's kernels.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.errors import DeviceError

Array = Any

FOLDER = Path(__file__).parent
#: dtype -> how its numbers are read and computed with.
TYPES = {
    "float16": ("half", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
}
#: Threads of a block; TEAM in cuda_common.cuh.
THREADS = 256
#: Blocks of one launch, whose threads take several elements each where there are more.
MOST_BLOCKS = 1 << 16
#: Elements of an array up to which the kernels' whole numbers reach, with a launch's threads to spare.
MOST_ELEMENTS = 1 << 30
#: What stands for an array that is not there.
NOTHING = numpy.uint64(0)
#: Rounding as IEEE 754 wants it is the compiler's default. CuPy adds -ftz=true: float32 below 1.2e-38 counts as 0.
OPTIONS = ("-std=c++17",)


@functools.cache
def source(name: str, dtype: str, half: str = "cuda_half.cuh") -> str:
    """The whole text of cuda_NAME.cu for numbers of a dtype; `half` is the file that reads and writes float16."""
    kept, computed = TYPES[dtype]
    in_half = kept == "half"
    parts = [_text(half)] if in_half else []
    parts.append(f"typedef {kept} T;\ntypedef {computed} A;\n#define IN_HALF {int(in_half)}\n")
    parts += [_text("cuda_common.cuh"), _text(f"cuda_{name}.cu")]
    return "\n".join(parts)


def _text(name: str) -> str:
    """A file with the files of ours that it includes put in, as the compiler is given one text."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r'^#include "(\w+\.cuh)"$', lambda match: _text(match[1]), text, flags=re.MULTILINE)


def source_names() -> list[str]:
    """The NAME of every source cuda_NAME.cu."""
    return sorted(path.stem.removeprefix("cuda_") for path in FOLDER.glob("cuda_*.cu"))


def blocks_for(count: int) -> int:
    """Blocks that give each of `count` elements a thread, as far as MOST_BLOCKS reach."""
    return min(MOST_BLOCKS, -(-count // THREADS))


class Compiled:
    """The compiled kernels of one array module (CuPy)."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._kernels: dict[tuple[str, str, str], Any] = {}
        self._modules: dict[tuple[str, str], Any] = {}

    def launch(self, name: str, kernel: str, like: Array, blocks: int, *arguments: Any, threads: int = THREADS) -> None:
        """Start a kernel of cuda_NAME.cu, compiled for the dtype of `like`, on the device where that lies.

        Arguments are as the kernel declares them: arrays (contiguous), None for one that is not there, Python's whole numbers
        (int), Python's floats (double), a NumPy array for a struct that is passed by value.
        """
        key = (name, kernel, like.dtype.name)
        function = self._kernels.get(key)
        if function is None:
            function = self._kernels[key] = self._module(name, like.dtype.name).get_function(kernel)
        device = like.device
        given = tuple(_argument(x, kernel, device.id) for x in arguments)
        with device:
            function((blocks,), (threads,), given)

    def _module(self, name: str, dtype: str) -> Any:
        key = (name, dtype)
        if key not in self._modules:
            self._modules[key] = self.xp.RawModule(code=source(name, dtype), options=OPTIONS)
        return self._modules[key]


def _argument(x: Any, kernel: str, device: int) -> Any:
    """As CuPy hands it to the kernel: it would make a Python int a long long, and may take None for no argument at all.

    Raises DeviceError for an array on another GPU, whose memory the kernel could not reach.
    """
    if x is None:
        return NOTHING
    if isinstance(x, int):
        return numpy.int32(x)
    place = getattr(getattr(x, "device", None), "id", device)  # what NumPy calls a device has no number
    if place != device:
        raise DeviceError(
            f"{kernel}: got arrays on 'cuda:{device}' and 'cuda:{place}'; all must be on one device, move one with .to(device)"
        )
    return x


class CompiledKernels:
    """What the families of kernels share: whether a compiled one takes an array."""

    xp: Any
    #: None on an array module that cannot compile; then the kernels written for every array library do the work.
    compiled: Compiled | None

    def takes(self, *arrays: Array | None) -> bool:
        """Whether all of these (None is left out) have one dtype that kernels are compiled for, and sizes within their reach."""
        if self.compiled is None:
            return False
        dtype = None
        for x in arrays:
            if x is None:
                continue
            if dtype is None:
                dtype = x.dtype
            if x.dtype != dtype or not 0 < x.size < MOST_ELEMENTS:
                return False
        return dtype is not None and dtype.name in TYPES

    def computed(self, x: Array) -> Any:
        """The dtype in which numbers of x are summed: A."""
        return self.xp.float32 if x.dtype.name == "float16" else x.dtype

    def launch(self, name: str, kernel: str, like: Array, blocks: int, *arguments: Any, threads: int = THREADS) -> None:
        assert self.compiled is not None
        self.compiled.launch(name, kernel, like, blocks, *arguments, threads=threads)


def contiguous(x: Array) -> Array:
    """x itself where it lies in order, else a copy that does."""
    return x if x.flags.c_contiguous else x.copy(order="C")
