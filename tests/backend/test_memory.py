"""Freed memory is kept for the next array, measured by the page faults of a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy
from tensorgrad.backend.memory import keep_freed_memory
{asked}
def step():
    arrays = [numpy.ones(300_000, numpy.float32) for _ in range(3)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")


def faults_a_step(asked: str, **environment: str) -> float:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE.format(asked=asked)]
    done = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return float(done.stdout)


@on_glibc
def test_the_same_memory_is_used_again():
    # 3.6 MB in pages of 4 kB are 879; a choice in the environment, here the usual one, keeps things as they were
    assert faults_a_step("", MALLOC_TRIM_THRESHOLD_="131072") > 100
    assert faults_a_step("") < 10  # the import of tensorgrad has asked
    assert faults_a_step("assert keep_freed_memory()") < 10


@on_glibc
@pytest.mark.parametrize(
    "choice",
    [
        {"MALLOC_TRIM_THRESHOLD_": "100000"},
        {"MALLOC_MMAP_THRESHOLD_": "100000"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=100000"},
    ],
)
def test_a_choice_in_the_environment_is_left_alone(choice: dict[str, str]):
    assert faults_a_step("assert not keep_freed_memory()", **choice) > 100
