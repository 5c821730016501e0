"""CuPy's RawModule for the stand-in device: the CUDA sources compiled for the processor and run there (cuda_host.h).

What is checked besides the numbers: that every argument has the type that the kernel declares, is contiguous and given by
value or by address as CuPy would, and that no kernel writes beyond its arrays: each is copied into a larger piece of memory
whose edges must stay as they are. With TENSORGRAD_SANITIZE=1 the compiler's sanitizers watch besides (backend/test_sanitized.py): no
kernel reads there either, nor beyond its shared memory, and nothing is computed that C++ leaves undefined.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import standin
import standin_cuda

from tensorgrad.backend import cuda_kernels

HOST = Path(__file__).with_name("cuda_host.h")
EDGE = 256
SANITIZE = os.environ.get("TENSORGRAD_SANITIZE") == "1"
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wno-unused-function", "-Wno-unknown-pragmas"]
SANITIZERS = [
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
]
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

#: C's type of a pointer's target -> dtype; T and A are added by each source.
DTYPES = {"unsigned char": "uint8", "int": "int32", "long long": "int64", "unsigned long long": "uint64"}
KERNEL = re.compile(r"^KERNEL\s+(\w+)\(([^)]*)\)\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
FUNCTION = re.compile(r"^__device__ inline [\w ]*?(\w+)\([^)]*\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def why_not() -> str | None:
    """Why the CUDA sources cannot be run here, or None."""
    if os.name != "posix" or os.uname().sysname != "Linux":
        return "the stand-in for a GPU needs Linux (ucontext)"
    return None if COMPILER else "no C++ compiler is installed"


class Parameter(NamedTuple):
    kind: str
    pointer: bool
    constant: bool
    name: str

    @property
    def by_value(self) -> bool:
        """Whether it is a struct."""
        return not self.pointer and self.kind not in ("int", "double")


class Signature(NamedTuple):
    name: str
    parameters: list[Parameter]
    barriers: bool


def with_barriers(text: str) -> set[str]:
    """The names of the functions in which threads wait for each other."""
    found = {"__syncthreads"}
    for name, body in FUNCTION.findall(text):  # a function stands below those it calls
        if found & set(re.findall(r"\w+", body)):
            found.add(name)
    return found


def signatures(text: str) -> dict[str, Signature]:
    """Every kernel of a source with what it takes."""
    text = re.sub(r"//.*", "", text)
    found, barriers = {}, with_barriers(text)
    for name, declared, body in KERNEL.findall(text):
        parameters = []
        for part in declared.replace("\n", " ").split(","):
            match = re.fullmatch(r"\s*(const )?([\w ]+?)\s*(\*?)\s*(\w+)\s*", part)
            assert match, f"{name}: cannot read {part!r}"
            parameters.append(Parameter(match[2], bool(match[3]), bool(match[1]), match[4]))
        found[name] = Signature(name, parameters, bool(barriers & set(re.findall(r"\w+", body))))
    return found


def _host_source(text: str) -> str:
    """The source with an ordinary function `run_KERNEL` for every kernel."""
    parts = [f'#include "{HOST}"', text]
    for struct in sorted({p.kind for s in signatures(text).values() for p in s.parameters if p.by_value}):
        parts.append(f'extern "C" int size_of_{struct}() {{ return sizeof({struct}); }}')
    for signature in signatures(text).values():
        declared, passed = [], []
        for p in signature.parameters:
            constant = "const " if p.constant else ""
            declared.append(f"{constant}{p.kind} {'*' if p.pointer or p.by_value else ''}{p.name}")
            passed.append(f"*{p.name}" if p.by_value else p.name)
        parts.append(
            f'extern "C" void run_{signature.name}(int blocks, int threads, {", ".join(declared)}) {{\n'
            f"    run_on_host(blocks, threads, {str(signature.barriers).lower()}, [&] {{ "
            f"{signature.name}({', '.join(passed)}); }});\n}}"
        )
    return "\n".join(parts)


@functools.cache
def library(text: str) -> ctypes.CDLL:
    """The source compiled for the processor; kept in the system's folder for temporary files under the name of its text."""
    assert COMPILER is not None
    whole, flags = _host_source(text), [*FLAGS, *(SANITIZERS if SANITIZE else [])]
    name = hashlib.sha256("".join([whole, HOST.read_text(encoding="utf-8"), *flags]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"tensorgrad-cuda-on-host-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / f"{name}.so"
    if not built.exists():
        code, fresh = folder / f"{name}-{os.getpid()}.cpp", folder / f"{name}-{os.getpid()}.so"
        code.write_text(whole, encoding="utf-8")
        command = [COMPILER, *flags, "-Werror", "-shared", "-fPIC", "-o", str(fresh), str(code)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        fresh.replace(built)  # at once, as other processes may be building it too
        code.unlink()
    return ctypes.CDLL(str(built))


class Guarded:
    """A copy of an array between edges that nobody may touch."""

    def __init__(self, values: numpy.ndarray) -> None:
        self.values = values
        self.memory = numpy.full(values.nbytes + 2 * EDGE, 0xA5, numpy.uint8)
        self.memory[EDGE : EDGE + values.nbytes] = values.reshape(-1).view(numpy.uint8)
        self.address = self.memory.ctypes.data + EDGE
        self.edges("poison")

    def edges(self, what: str) -> None:
        """Nobody may read or write them (poison), or all may (unpoison)."""
        if SANITIZE:
            change = getattr(ctypes.CDLL(None), f"__asan_{what}_memory_region")
            for address in (self.address - EDGE, self.address + self.values.nbytes):
                change(ctypes.c_void_p(address), ctypes.c_size_t(EDGE))

    def back(self, name: str) -> None:
        """The values into the array they came from."""
        inside = self.memory[EDGE : EDGE + self.values.nbytes]
        assert (self.memory[:EDGE] == 0xA5).all(), f"{name} was written to before its beginning"
        assert (self.memory[EDGE + self.values.nbytes :] == 0xA5).all(), f"{name} was written to beyond its end"
        self.values[...] = inside.view(self.values.dtype).reshape(self.values.shape)


class SimulatedKernel:
    """One kernel, called as a RawKernel is."""

    def __init__(self, text: str, signature: Signature) -> None:
        self.signature = signature
        self.function = getattr(library(text), f"run_{signature.name}")
        self.function.restype = None
        self.sizes = {p.kind: getattr(library(text), f"size_of_{p.kind}")() for p in signature.parameters if p.by_value}
        typedefs = re.findall(r"^typedef (\w+) (T|A);", text, re.MULTILINE)
        names = {"half": "float16", "float": "float32", "double": "float64"}
        self.dtypes = {**DTYPES, **names, **{name: names[kind] for kind, name in typedefs}}

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        assert len(grid) == len(block) == 1 and 0 < grid[0] <= cuda_kernels.MOST_BLOCKS and 0 < block[0] <= 1024
        assert len(arguments) == len(self.signature.parameters), f"{self.signature.name}: {len(arguments)} arguments"
        # what is passed by value is what it was at the launch, also for a graph that is launched later
        given = [x.copy() if type(x) is numpy.ndarray else x for x in arguments]
        standin_cuda.changed(self.run, grid[0], block[0], given)

    def run(self, blocks: int, threads: int, arguments: list[Any]) -> None:
        """At once, whether a stream captures or not."""
        given = list(zip(self.signature.parameters, arguments))
        guarded: dict[int, Guarded] = {}
        try:
            passed = [self._passed(p, value, guarded) for p, value in given]
            self.function(ctypes.c_int(blocks), ctypes.c_int(threads), *passed)
        finally:
            for piece in guarded.values():  # NumPy uses its memory again
                piece.edges("unpoison")
        written = {id(v._values) for p, v in given if isinstance(v, standin.StandInArray) and not p.constant}
        for p, value in given:
            if isinstance(value, standin.StandInArray) and id(value._values) in written:
                guarded[value.data.ptr].back(f"{self.signature.name}: {p.name}")

    def _passed(self, p: Parameter, value: Any, guarded: dict[int, Guarded]) -> Any:
        where = f"{self.signature.name}({p.name})"
        if p.pointer:
            if type(value) is numpy.uint64 and value == 0:
                return ctypes.c_void_p(0)
            assert isinstance(value, standin.StandInArray), f"{where}: got {type(value)}"
            assert value.dtype == self.dtypes[p.kind], f"{where}: {value.dtype} for {p.kind}"
            assert value.flags.c_contiguous, f"{where} is not contiguous"
            if value.data.ptr not in guarded:
                guarded[value.data.ptr] = Guarded(value._values)
            return ctypes.c_void_p(guarded[value.data.ptr].address)
        if p.kind == "int":
            assert type(value) is numpy.int32, f"{where}: got {type(value)}"
            return ctypes.c_int(int(value))
        if p.kind == "double":
            assert type(value) is float, f"{where}: got {type(value)}"
            return ctypes.c_double(value)
        assert type(value) is numpy.ndarray and value.size == 1, f"{where}: a struct is a NumPy array of one value"
        assert value.itemsize == self.sizes[p.kind], f"{where}: {value.itemsize} bytes for {self.sizes[p.kind]}"
        return ctypes.c_void_p(value.ctypes.data)


class SimulatedModule:
    """CuPy's RawModule, as far as it is used."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        dtype = "float16" if "typedef half T;" in code else ""
        if dtype:  # the processor's own way to float16 in place of the GPU's
            code = code.replace((cuda_kernels.FOLDER / "cuda_half.cuh").read_text(encoding="utf-8"), "")
        self.code = code

    def get_function(self, name: str) -> SimulatedKernel:
        return SimulatedKernel(self.code, signatures(self.code)[name])


def elementwise_source(declared: tuple[str, str, str], name: str, dtype: str) -> str:
    """A kernel for arrays of one dtype that does what CuPy's ElementwiseKernel does with these declarations."""
    given = [part.split() for part in declared[0].split(",")]
    result = declared[1].split()[1]
    parameters = [f"const T *all_{x}" if kind == "T" else f"double {x}" for kind, x in given]
    values = " ".join(f"T {x} = all_{x}[i];" for kind, x in given if kind == "T")
    body = f"{values} T {result}; {declared[2]}; all_{result}[i] = {result};"
    head = cuda_kernels.source("scatter", dtype).partition("// Adding up")[0]
    arrays = ", ".join([*parameters, f"T *all_{result}"])
    return f"{head}\nKERNEL {name}({arrays}, int count) {{\n    FOR_EACH(i, count) {{ {body} }}\n}}\n"


class SimulatedElementwise:
    """CuPy's ElementwiseKernel for float32 and float64, with one result, which may be given as the last argument."""

    def __init__(self, inputs: str, outputs: str, operation: str, name: str) -> None:
        self.declared, self.name, self.calls = (inputs, outputs, operation), name, 0
        self.inputs = inputs.count(",") + 1

    def __call__(self, *given: Any) -> standin.StandInArray:
        self.calls += 1
        arguments, outs = given[: self.inputs], given[self.inputs :]
        arrays = [x for x in arguments if isinstance(x, standin.StandInArray)]
        shape = numpy.broadcast_shapes(*(x.shape for x in arrays))
        z = outs[0] if outs else standin.standin.empty(shape, arrays[0].dtype)
        standin_cuda.changed(self._run, arguments, z)
        return z

    def _run(self, arguments: tuple[Any, ...], z: standin.StandInArray) -> None:
        passed = []
        for x in arguments:
            if isinstance(x, standin.StandInArray):
                x = standin.StandInArray(numpy.array(numpy.broadcast_to(x._values, z.shape), order="C"))
            passed.append(x)
        text = elementwise_source(self.declared, self.name, z.dtype.name)
        SimulatedKernel(text, signatures(text)[self.name]).run(1, 32, [*passed, z, numpy.int32(z.size)])


def compiled() -> cuda_kernels.Compiled:
    """What CUDABackend compiles its kernels with, for the processor."""
    return cuda_kernels.Compiled(types.SimpleNamespace(RawModule=SimulatedModule))


#: The CuPy backend with its own kernels, over the stand-in's arrays.
BACKEND = standin.StandInBackend(standin.standin)
BACKEND.compiled = compiled()
