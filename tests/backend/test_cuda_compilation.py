"""NVIDIA's own compilers take every kernel, in every dtype, for several generations of GPUs. No GPU is needed.

NVRTC is what CuPy compiles with; it comes with the extra `dev` (nvidia-cuda-nvrtc-cu12, on Linux) or with CuPy. nvcc is used too
where it is installed. What is made is machine code for the generation named, so that registers and shared memory are seen to suffice.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import simulated

from tensorgrad.backend import cuda_elementwise, cuda_kernels

pytestmark = pytest.mark.slow

#: Volta, Turing, Ampere (A100, then GeForce), Ada, Hopper, Blackwell (data centre, then GeForce).
GENERATIONS = (70, 75, 80, 86, 89, 90, 100, 120)
#: What CuPy adds to our options.
OF_CUPY = ("-ftz=true", "--device-as-default-execution-space")
SOURCES = [(name, dtype) for name in cuda_kernels.source_names() for dtype in cuda_kernels.TYPES]


def nvidia_folders(pattern: str) -> list[Path]:
    """What NVIDIA's wheels have installed."""
    found = importlib.util.find_spec("nvidia")
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found is not None else []
    return [path for folder in folders for path in sorted(folder.glob(pattern))]


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """The library, from the wheels nvidia-cuda-nvrtc-cu12 or -cu13, or from the system's folders."""
    libraries = nvidia_folders("*/lib/libnvrtc.so.1[23]")
    for name in (*map(str, libraries), "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue  # not there: the next place
    return None


def generations_of_nvrtc(library: ctypes.CDLL) -> list[int]:
    count = ctypes.c_int()
    assert library.nvrtcGetNumSupportedArchs(ctypes.byref(count)) == 0
    numbers = (ctypes.c_int * count.value)()
    assert library.nvrtcGetSupportedArchs(numbers) == 0
    return [number for number in GENERATIONS if number in numbers]


def compile_by_nvrtc(
    library: ctypes.CDLL, text: str, generation: int, folders: tuple[Path, ...] = ()
) -> tuple[int, str, bytes]:
    """(status, what the compiler says, machine code)."""
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None) == 0
    options = [
        f"--gpu-architecture=sm_{generation}".encode(),
        *(option.encode() for option in (*cuda_kernels.OPTIONS, *OF_CUPY)),
    ]
    options += [f"-I{folder}".encode() for folder in folders]
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    assert library.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
    log = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetProgramLog(program, log) == 0
    code = b""
    if status == 0:
        assert library.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert library.nvrtcGetCUBIN(program, buffer) == 0
        code = buffer.raw
    assert library.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    return status, log.value.decode(), code


@pytest.mark.parametrize(("name", "dtype"), SOURCES, ids=lambda value: value)
def test_nvrtc_compiles(name: str, dtype: str):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed: `python3 run.py setup dev` brings it on Linux")
    text = cuda_kernels.source(name, dtype)
    kernels = re.findall(r"^KERNEL (\w+)\(", text, re.MULTILINE)
    generations = generations_of_nvrtc(library)
    assert {80, 90} <= set(generations) and kernels
    for generation in generations:
        status, said, code = compile_by_nvrtc(library, text, generation)
        remarks = [line for line in said.split("\n") if line.strip() and "deprecated" not in line]  # of old generations
        assert (status, remarks) == (0, []), f"sm_{generation}: {said}"
        for kernel in kernels:
            assert f".text.{kernel}\0".encode() in code, f"sm_{generation}: {kernel} is not in the machine code"


@pytest.mark.parametrize("name", cuda_elementwise.OPERATIONS)
def test_nvrtc_compiles_fused_operations(name: str):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed: `python3 run.py setup dev` brings it on Linux")
    for dtype in ("float32", "float64"):
        text = simulated.elementwise_source(cuda_elementwise.OPERATIONS[name], name, dtype)
        status, said, code = compile_by_nvrtc(library, text, 80)
        assert (status, said.strip("\0\n ")) == (0, "") and f".text.{name}\0".encode() in code


@pytest.mark.parametrize("dtype", ["float16", "float", "double"])
@pytest.mark.parametrize("name", cuda_elementwise.OPERATIONS)
def test_fused_operations_are_of_cupys_own_types(name: str, dtype: str):
    """CuPy's float16 is a class; among its headers, operations must not be ambiguous."""
    cupy = importlib.util.find_spec("cupy")
    library = nvrtc()
    headers = [Path("/usr/local/cuda/include"), *nvidia_folders("cuda_runtime/include")]
    headers = [folder for folder in headers if (folder / "cuda_fp16.h").exists()]
    if cupy is None or cupy.origin is None or library is None or not headers:
        pytest.skip("needs CuPy's headers, CUDA's and NVRTC")
    include = Path(cupy.origin).parent / "_core" / "include"
    parts = [include, *((include / "cupy" / "_cccl" / part) for part in ("libcudacxx", "thrust", "cub")), *headers]
    inputs, outputs, operation = cuda_elementwise.OPERATIONS[name]
    given, result = [part.split() for part in inputs.split(",")], outputs.split()[1]
    declared = [f"const {dtype} *all_{x}" if kind == "T" else f"double {x}" for kind, x in given]
    values = " ".join(f"const T &{x} = all_{x}[i];" for kind, x in given if kind == "T")
    text = (
        "#include <cupy/complex.cuh>\n#include <cupy/carray.cuh>\n#include <cupy/float16.cuh>\n"
        f'typedef {dtype} T;\nextern "C" __global__ void k({", ".join(declared)}, {dtype} *all_{result}) {{\n'
        f"    int i = threadIdx.x; {values} T &{result} = all_{result}[i]; {operation};\n}}\n"
    )
    status, said, _ = compile_by_nvrtc(library, text, 80, tuple(parts))
    assert status == 0, said


def test_a_mistake_in_a_kernel_is_told():
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed: `python3 run.py setup dev` brings it on Linux")
    wrong = cuda_kernels.source("scatter", "float32").replace("int rows", "int row_count", 1)
    status, said, _ = compile_by_nvrtc(library, wrong, 80)
    assert status != 0 and '"rows" is undefined' in said


@pytest.mark.parametrize("name", cuda_kernels.source_names())
def test_nvcc_compiles(name: str, tmp_path: Path):
    """Without spills: every thread's numbers stay in its registers. For the newest generations that it knows, in float16 and float64."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    generations = [number for number in GENERATIONS if f"compute_{number}\n" in known]
    assert generations
    for dtype in ("float16", "float64"):
        code = tmp_path / f"{dtype}.cu"
        code.write_text(cuda_kernels.source(name, dtype), encoding="utf-8")
        command = [
            nvcc,
            "-cubin",
            "-o",
            str(tmp_path / "out"),
            f"-arch=sm_{generations[-1]}",
            "-std=c++17",
            "-Xptxas=-v",
        ]
        done = subprocess.run([*command, str(code)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not [line for line in re.findall(r"(\d+) bytes spill", done.stderr) if line != "0"], done.stderr
