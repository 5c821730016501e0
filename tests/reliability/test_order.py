"""The suite's own option --shuffle: an order that a seed brings back."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def collected(*arguments):
    """The tests of two small files, in the order in which they would run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
    command += ["-p", "no:randomly"]  # a plugin that shuffles too, where somebody has it
    files = ["tests/io/test_atomic.py", "tests/data/test_idx.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, env=environment, check=True)
    return [line for line in result.stdout.splitlines() if "::" in line]


def test_a_seed_is_an_order():
    plain, one, again, other = collected(), *(collected("--shuffle", seed) for seed in "112")
    assert sorted(one) == sorted(other) == sorted(plain)
    assert one == again and one != plain and one != other
    files = [line.partition("::")[0] for line in one]
    assert sum(a != b for a, b in zip(files, files[1:])) == 1  # file by file, so that what a file sets up serves once
