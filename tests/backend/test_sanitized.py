"""The CUDA sources compiled for the processor with the compiler's sanitizers: the comparisons of the kernels in a process where
AddressSanitizer finds every access outside of an array, of shared memory or of a variable, and UBSan whatever C++ leaves undefined."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import simulated

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
#: What runs CUDA kernels on the processor: files, and which tests.
COMPARISONS = {
    "backend/test_cuda_kernels.py": "not outside_of_an_array",
    "backend/test_convolution.py": "compiled",
    "backend/test_pooling.py": "compiled",
    "backend/test_normalization.py": "compiled",
    "ops/test_cuda_cases.py": "",
}


@functools.cache
def runtime() -> str | None:
    """Where the compiler's AddressSanitizer is, which has to be loaded before everything else; None where it has none."""
    if simulated.why_not() is not None:
        return None
    said = subprocess.run(
        [simulated.COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return os.path.realpath(said) if os.path.isabs(said) and os.path.exists(said) else None


def sanitized(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of Python in which CUDA sources are compiled with the sanitizers."""
    library = runtime()
    if library is None:
        pytest.skip(simulated.why_not() or "the C++ compiler comes without sanitizers")
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "TENSORGRAD_SANITIZE": "1",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python leaves memory to the system at its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_under_the_sanitizers(name: str):
    chosen = ["-k", COMPARISONS[name]] if COMPARISONS[name] else []
    deselected = "not oracle and not gpu and not slow"
    done = sanitized("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{name}", "-m", deselected, *chosen)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]


# that they would find it

PLANTED = """
import numpy as np, simulated, standin
from tensorgrad.backend import cuda_kernels
head = cuda_kernels.source("scatter", "float32").partition("// Adding up")[0]
text = head + "KERNEL k(const T *x, T *z, int n) {{\\n{body}\\n}}\\n"
x, z = standin.standin.zeros((8,), np.float32), standin.standin.zeros((8,), np.float32)
simulated.SimulatedModule(code=text).get_function("k")((1,), (32,), (x, z, np.int32(8)))
print("nothing happened")
"""
#: Which of the two finds a mistake differs from compiler to compiler.
SAID = ("AddressSanitizer: ", "runtime error: ")
WRONG = {
    "read behind": "FOR_EACH(i, n) z[i] = x[i + 1];",
    "read before": "FOR_EACH(i, n) z[i] = x[i - 1];",
    "written behind": "FOR_EACH(i, n + 1) z[i] = 0;",
    "shared memory": (
        "__shared__ T both[8]; FOR_EACH(i, n) both[i + 1] = x[i]; __syncthreads(); FOR_EACH(i, n) z[i] = both[i];"
    ),
    "a variable": "T own[4] = {0}; FOR_EACH(i, n) z[i] = own[i % 4 + n / 8];",
    "whole numbers too large": "FOR_EACH(i, n) z[i] = (2147483640 + n) * (i + 1);",
    "a float too large": "FOR_EACH(i, n) z[i] = (int)(x[i] + 1e10f);",
}


def test_the_sanitizers_leave_what_is_right_alone():
    done = sanitized("-c", PLANTED.format(body="FOR_EACH(i, n) z[i] = x[i];"))
    assert (done.returncode, done.stdout.strip()) == (0, "nothing happened"), done.stderr


@pytest.mark.parametrize("mistake", WRONG)
def test_the_sanitizers_find(mistake: str):
    done = sanitized("-c", PLANTED.format(body=WRONG[mistake]))
    assert done.returncode != 0 and any(words in done.stderr for words in SAID), done.stdout + done.stderr
